//! What the client says.

use std::io;

use bytes::Bytes;
use scrollback_log::Offset;
use tokio::time::Instant;

use super::super::frames::About;
use super::super::messages::{self, Message, Refused};
use super::super::protocol::Heard;
use super::super::sessions::SessionId;
use super::super::{Hold, frames};
use super::telling::sayable;
use super::{Partial, READ_BYTES, Talk};
use crate::http::problem::{Code, Problem};
use crate::streams::line::End;

/// What is read of a socket before its sessions have a turn.
const READ_BYTES_MAX: usize = 16 << 10;
/// A message of up to so many bytes is not counted, so that one can always be sent.
const SMALL_BYTES_MAX: usize = 8 << 10;

impl Talk {
    /// Reads what the client says, and does it. Returns whether there may be more.
    pub(super) async fn hear(&mut self) -> Result<bool, End> {
        let mut read = 0;
        loop {
            while self.work.has_room() {
                match self.protocol.read() {
                    Heard::Text(text) => {
                        self.messages += 1;
                        let hold = self.partial.take().and_then(|partial| partial.hold);
                        self.take(&text, hold).await?;
                    }
                    Heard::Nothing => break,
                    Heard::Close => {
                        for seated in &self.seats.all {
                            self.streams.sessions.end(&seated.seat);
                        }
                        return Err(self.close_in_answer().await);
                    }
                    Heard::Broken(code, why) => return Err(End::Refused(code, why)),
                }
            }
            self.answer_protocol().await?;
            if !self.count_partial() {
                return Err(End::Refused(1013, "too many large messages are under way"));
            }
            if !self.work.has_room() || read >= READ_BYTES_MAX {
                return Ok(self.work.has_room());
            }
            let mut buffer = [0; READ_BYTES];
            match self.line.socket.try_read(&mut buffer) {
                Ok(length) => {
                    read += length;
                    self.heard();
                    self.protocol.feed(&buffer[..length]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(_) => return Err(End::Gone),
            }
        }
    }

    /// Counts the memory of a message that is not whole yet; says no if there is no room for it.
    fn count_partial(&mut self) -> bool {
        let bytes = self.protocol.partial_bytes();
        if bytes == 0 {
            self.partial = None;
            return true;
        }
        let partial =
            self.partial.get_or_insert_with(|| Partial { since: Instant::now(), hold: None, counted: 0 });
        let more = bytes.saturating_sub(partial.counted);
        if bytes <= SMALL_BYTES_MAX || more == 0 {
            return true;
        }
        partial.counted = bytes;
        partial.hold.get_or_insert_with(|| self.post.hold()).take(more)
    }

    /// Sends what the protocol itself has to say.
    pub(super) async fn answer_protocol(&mut self) -> Result<(), End> {
        let bytes = self.protocol.take_outgoing();
        if bytes.is_empty() { Ok(()) } else { self.send(Bytes::from(bytes)).await }
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
