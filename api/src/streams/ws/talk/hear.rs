//! What the client says.

use scrollback_log::Offset;

use super::super::frames::About;
use super::super::messages::{self, Message, Refused};
use super::super::sessions::SessionId;
use super::super::wire::Said;
use super::super::{Hold, frames};
use super::Talk;
use super::telling::sayable;
use crate::http::problem::{Code, Problem};
use crate::streams::line::End;

impl Talk {
    /// Hears what the client says, and does it. Returns whether there may be more.
    pub(super) async fn hear(&mut self) -> Result<bool, End> {
        while self.work.has_room() {
            match self.wire.hear(&mut self.seats).await? {
                Said::Text(text, hold) => {
                    self.messages += 1;
                    self.take(&text, hold).await?;
                }
                Said::Nothing(more) => return Ok(more),
                Said::Close => {
                    for seated in &self.seats.all {
                        self.streams.sessions.end(&seated.seat);
                    }
                    return Err(self.close_in_answer().await);
                }
            }
        }
        self.wire.answer(&mut self.seats).await.map(|()| false)
    }

    /// Does what one message says. `hold` is the memory that a large one has.
    async fn take(&mut self, text: &str, hold: Option<Box<dyn Hold>>) -> Result<(), End> {
        let (id, problem) = match messages::read(text) {
            Ok(Message::Send { id, channel, body, idempotency_key }) => {
                self.post(id, (channel, body, idempotency_key), text.len(), hold);
                return Ok(());
            }
            Ok(Message::Ack { session, offset }) => match self.acknowledge(&session, Offset(offset)) {
                Ok(()) => return Ok(()),
                Err(problem) => {
                    // The only thing by which its client can know it again.
                    let about = SessionId::parse(&session).map(About::Session);
                    return self.send(frames::refusal(None, about, &problem)).await;
                }
            },
            Ok(Message::Close { id, session }) => match self.seats.find(&session) {
                Some(place) => {
                    let seated = self.seats.all.remove(place);
                    self.streams.sessions.end(&seated.seat);
                    return self.send(frames::closed(id.as_deref(), &seated.seat.session.id)).await;
                }
                None => (id, not_here()),
            },
            Ok(Message::Open(wanted)) => {
                let id = wanted.id.clone();
                match self.open(wanted) {
                    Ok(()) => return Ok(()),
                    Err(problem) => (id, problem),
                }
            }
            Ok(Message::Watch(wanted)) => {
                let (id, watch) = (wanted.id.clone(), wanted.watch.clone());
                let Err(problem) = self.watch(wanted, hold) else { return Ok(()) };
                return self.send(frames::refusal(id.as_deref(), sayable(&watch), &problem)).await;
            }
            Ok(Message::Unwatch { id, watch }) => {
                let told = self.unwatch(id.as_deref(), &watch);
                let refusal = |problem| frames::refusal(id.as_deref(), sayable(&watch), &problem);
                return self.send(told.unwrap_or_else(refusal)).await;
            }
            Err(Refused { id, problem }) => (id, problem),
        };
        self.send(frames::refusal(id.as_deref(), None, &problem)).await
    }

    fn acknowledge(&mut self, session: &str, offset: Offset) -> Result<(), Problem> {
        let place = self.seats.find(session).ok_or_else(not_here)?;
        let seated = &mut self.seats.all[place];
        // With a past that is another log's there is no session.
        let stands = seated.subscription.given().map_or(Offset::BEGINNING, |given| given.offset);
        if offset > stands {
            return Err(Problem::new(Code::BadAck, format!("the session was sent nothing beyond {stands}")));
        }
        seated.flight.acknowledge(offset);
        seated.seat.acknowledge(offset);
        Ok(())
    }
}

/// A session is named that this socket has not, or has no more.
fn not_here() -> Problem {
    Problem::new(Code::UnknownSession, "this socket has no such session")
}
