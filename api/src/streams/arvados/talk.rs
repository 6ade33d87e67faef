//! One socket: what its client asks for, and what it is told, in turn.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use scrollback_log::Offset;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until};

use super::ask::{self, Ask, Asked};
use super::subscriptions::{NotSubscribed, Subscriptions};
use super::{filters, row};
use crate::socket::Socket as Connection;
use crate::streams::cut::{Cut, Form, Taken};
use crate::streams::ended::Talked;
use crate::streams::identity::Identity;
use crate::streams::line::{End, Waiter};
use crate::streams::resume::Resume;
use crate::streams::subscription::{Step, Subscription};
use crate::streams::ws::{Due, Holds, Said, Wire, close_code, texts};
use crate::streams::{Bye, Counted, Ending, Pulse, Reader, Streams};

/// How long after a subscription nothing is told: a client that comes back asks for all it had one after the other, each from
/// the same place, and is to be told all of it in one order.
const SETTLE: Duration = Duration::from_millis(200);
/// A connection that is ended is held this long since its beginning: the real client comes back at once, however often.
const HOLD: Duration = Duration::from_secs(1);
/// How long a client that came without a token may take to send one.
const AUTHENTICATE_WITHIN: Duration = Duration::from_secs(10);
/// The close code for a client that does not.
const UNAUTHENTICATED: u16 = 4401;

/// Finds whoever a token belongs to.
pub(crate) type Door = Box<dyn Fn(&str) -> Option<Arc<dyn Reader>> + Send + Sync>;

/// A socket that is about to begin.
pub(crate) struct Socket {
    streams: Arc<Streams>,
    reader: Option<Arc<dyn Reader>>,
    door: Door,
    holds: Holds,
}

/// A running one.
struct Talk {
    streams: Arc<Streams>,
    door: Door,
    wire: Wire,
    source: Source,
    subscriptions: Subscriptions,
    began: Instant,
    /// Until when nothing is told.
    settles: Option<Instant>,
    told: Told,
    /// How many messages its client has sent, and how many times it has subscribed.
    talked: Talked,
    beat: u64,
    /// Whether it is a pulse that has woken it.
    pulsed: bool,
}

/// What the client was told.
#[derive(Default)]
struct Told {
    /// How many events.
    count: u64,
    /// The newest event that was sent, and that is being sent.
    sent: Option<Offset>,
    sending: Option<Offset>,
}

/// Where what is told comes from.
struct Source {
    /// None until the client has said who it is.
    identity: Option<Identity>,
    /// None while it wants nothing.
    way: Option<Subscription>,
    pulses: watch::Receiver<Pulse>,
}

impl Source {
    /// Looks for what ends all at once.
    fn check(&mut self, pulse: &Pulse) -> Result<(), Bye> {
        match &mut self.identity {
            Some(identity) => identity.look(pulse)?,
            None if pulse.ending == Some(Ending::Storage) => return Err(Bye::Storage),
            None => {}
        }
        self.way.as_mut().and_then(|way| way.interrupt(pulse)).map_or(Ok(()), Err)
    }
}

impl Waiter for Source {
    async fn look(&mut self) -> Result<(), End> {
        self.pulses.changed().await.map_err(|_| End::Gone)?;
        let pulse = *self.pulses.borrow_and_update();
        self.check(&pulse).map_err(End::Told)
    }

    fn by_right<T>(&self, send: impl FnOnce() -> T) -> Option<T> {
        Some(send())
    }

    fn slow(&mut self) {
        if let Some(way) = &mut self.way {
            way.slow();
        }
    }
}

impl Socket {
    /// One for `reader`; or, if that is none, for whoever the client's first message says.
    pub(crate) fn new(
        streams: Arc<Streams>,
        reader: Option<Arc<dyn Reader>>,
        door: Door,
        holds: Holds,
    ) -> Socket {
        Socket { streams, reader, door, holds }
    }

    /// Sends `head`, the answer's head, and talks until client or server ends it. `early` is what the client has said
    /// before.
    pub(crate) async fn run(self, connection: Connection, head: Vec<u8>, early: Bytes) {
        let Socket { streams, reader, door, holds } = self;
        let _counted = Counted::new(&streams, &streams.figures.arvados_open);
        let pulses = streams.pulse.clone();
        let beat = pulses.borrow().beat;
        let wire = Wire::new(Arc::clone(&streams), connection, &early, holds);
        let mut talk = Talk {
            wire,
            source: Source { identity: reader.map(Identity::new), way: None, pulses },
            subscriptions: Subscriptions::default(),
            began: Instant::now(),
            settles: None,
            told: Told::default(),
            talked: Talked { sessions: 0, watches: 0, messages: 0 },
            beat,
            pulsed: false,
            streams,
            door,
        };
        let Err(end) = talk.run(head.into()).await;
        talk.finish(&end).await;
        talk.wire.line.tally.tell(&end, Some(talk.talked));
    }
}

impl Talk {
    async fn run(&mut self, head: Bytes) -> Result<Infallible, End> {
        self.wire.line.send(head, &mut self.source).await?;
        loop {
            let pulse = *self.source.pulses.borrow_and_update();
            if pulse.ending == Some(Ending::Shutdown) {
                self.streams.wait_for_turn().await;
                return Err(End::Told(Bye::Shutdown));
            }
            self.source.check(&pulse).map_err(End::Told)?;
            // Not where it is waited for: a client that always has more to say never is.
            if self.authenticate_until().is_some_and(|until| until <= Instant::now()) {
                return Err(End::Refused(UNAUTHENTICATED, "nobody has said who this is"));
            }
            if pulse.beat != self.beat {
                self.beat = pulse.beat;
                if let Some(identity) = &self.source.identity {
                    identity.reader.touch();
                }
                let signs = self.wire.with_ping(texts([b"{}".as_slice()]))?;
                self.wire.line.send(signs, &mut self.source).await?;
            }
            let mut busy = self.hear().await?;
            self.settles = self.settles.filter(|until| *until > Instant::now());
            if self.settles.is_none() {
                busy |= self.tell().await?;
            }
            if busy {
                // A client that always has more to say, or takes all it gets, must not keep others from their turns.
                consume_budget().await;
            } else if *self.source.pulses.borrow() == pulse {
                self.wait().await?;
            }
        }
    }

    /// Does all that the client says. Returns whether there may be more.
    async fn hear(&mut self) -> Result<bool, End> {
        loop {
            match self.wire.hear(&mut self.source).await? {
                Said::Text(text, hold) => {
                    self.talked.messages += 1;
                    let known = self.source.identity.is_some();
                    let answer = self.answer(ask::read(&text, known)).await?;
                    drop((text, hold));
                    self.say(&answer).await?;
                    if self.source.identity.is_none() {
                        return Err(End::Refused(UNAUTHENTICATED, "the first message must say who you are"));
                    }
                }
                Said::Nothing(more) => return Ok(more),
                Said::Close => {
                    self.wire.close_in_answer(Vec::new()).await;
                    return Err(End::Closed);
                }
            }
        }
    }

    /// Carries out what was asked for. Returns what the client is told of that.
    async fn answer(&mut self, Asked { id, ask }: Asked) -> Result<Value, End> {
        let mut answer = Map::new();
        let (status, message) = match ask {
            // Whoever says it: who it is is asked of what was understood.
            Err(why) => (400, why.to_owned()),
            Ok(ask) if self.source.identity.is_none() => match ask {
                Ask::Authenticate { token } => match (self.door)(&token) {
                    Some(reader) => {
                        self.source.identity = Some(Identity::new(reader));
                        (200, "authenticated".to_owned())
                    }
                    None => (401, "the token is not, or no longer, valid".to_owned()),
                },
                _ => (401, "say first who you are: {\"method\":\"auth\",\"api_token\":...}".to_owned()),
            },
            Ok(Ask::Authenticate { .. }) => (400, "the connection knows already who you are".to_owned()),
            Ok(Ask::Unsubscribe(which)) => match self.subscriptions.remove(&which) {
                true => {
                    self.go_on_from(None).await?;
                    (200, "unsubscribed".to_owned())
                }
                false => (400, "there is no such subscription on this connection".to_owned()),
            },
            Ok(Ask::Subscribe { filters, last_log_id, bookmarks }) => {
                match self.subscribe(filters, last_log_id, bookmarks).await? {
                    Ok(number) => {
                        answer.insert("subscription".to_owned(), number.into());
                        (200, "subscribed".to_owned())
                    }
                    Err((status, why)) => (status, why),
                }
            }
        };
        answer.insert("status".to_owned(), status.into());
        answer.insert("message".to_owned(), message.into());
        if let Some(id) = id {
            answer.insert("id".to_owned(), id);
        }
        Ok(Value::Object(answer))
    }

    /// Adds a subscription. Fails inside with a status and why.
    async fn subscribe(
        &mut self,
        asked: Value,
        last_log_id: Option<u64>,
        bookmarks: bool,
    ) -> Result<Result<u64, (u16, String)>, End> {
        let filter = match filters::read(&asked, &self.streams.origins()) {
            Ok(filter) => filter,
            Err(error) => return Ok(Err((400, error.to_string()))),
        };
        let head = self.streams.log.head().offset;
        let after = last_log_id.map_or(head, Offset);
        if after > head {
            let why = format!(
                "last_log_id lies beyond {head}, the newest there is: this log is not the one you knew"
            );
            return Ok(Err((400, why)));
        }
        let number = match self.subscriptions.add(&asked, filter, after, bookmarks) {
            Ok(number) => number,
            Err(NotSubscribed::Full) => return Ok(Err((403, NotSubscribed::Full.to_string()))),
            Err(error) => return Ok(Err((400, error.to_string()))),
        };
        self.talked.sessions += 1;
        self.settles = Some(Instant::now() + SETTLE);
        self.go_on_from(Some(after)).await?;
        Ok(Ok(number))
    }

    /// Begins a new way for the subscriptions of now: from where the old one stands, or from `after` if that is earlier or
    /// there is none.
    async fn go_on_from(&mut self, after: Option<Offset>) -> Result<(), End> {
        let stands = self.source.way.as_ref().and_then(Subscription::given);
        let from = Subscriptions::earlier(stands.map(|place| place.offset), after);
        let place = match (stands, from) {
            (Some(stands), Some(from)) if stands.offset == from => Some(stands),
            (_, Some(from)) => self.streams.position(from).await.map_err(|error| End::damaged(&error))?,
            (_, None) => None,
        };
        // A new way begins by the rights of now: whether some were lost on the old one is seen before it goes.
        let pulse = *self.source.pulses.borrow();
        self.source.check(&pulse).map_err(End::Told)?;
        let filters = match place {
            Some(place) => self.subscriptions.filters(place.offset).map_err(|error| End::damaged(&error))?,
            None => None,
        };
        self.source.way = match (place, filters, &self.source.identity) {
            (Some(place), Some(filters), Some(identity)) => {
                let reader = Arc::clone(&identity.reader);
                Some(Subscription::begin(&self.streams, reader, Resume::Ok(place), filters))
            }
            _ => None,
        };
        Ok(())
    }

    /// Tells a part of what there is. Returns whether there may be more.
    async fn tell(&mut self) -> Result<bool, End> {
        let Source { way, pulses, .. } = &mut self.source;
        let Some(way) = way else { return Ok(false) };
        let bytes_max = self.streams.limits.write_bytes_max;
        let cut = Cut { form: Form::Json, bytes_max, events_max: usize::MAX, shared: true };
        match way.step(pulses, cut).await {
            Ok(Step::Events(taken)) => {
                let (frames, count) = self.rows(&taken)?;
                // While a client takes nothing only what is sent is kept.
                drop(taken);
                self.wire.line.send(frames, &mut self.source).await?;
                self.wire.line.tally.events += count;
                self.told.sent = self.told.sending;
                if let Some(way) = &mut self.source.way {
                    way.confirm();
                }
                Ok(true)
            }
            Ok(Step::Checkpoint(place)) if self.subscriptions.want_bookmarks() => {
                self.say(&json!({"bookmark": place.offset.0})).await.map(|()| true)
            }
            Ok(Step::CaughtUp(_) | Step::Checkpoint(_) | Step::Heartbeat) => Ok(true),
            // It has its turn in the next round.
            Ok(Step::Ended(Bye::Shutdown)) => Ok(true),
            Ok(Step::Wait) => Ok(false),
            Ok(Step::Ended(reason)) => Err(End::Told(reason)),
            Err(error) => Err(End::damaged(&error)),
        }
    }

    /// What is told of these events, as it is sent, and how many are.
    fn rows(&mut self, taken: &Taken) -> Result<(Bytes, u64), End> {
        let origins = self.streams.origins();
        let mut rows = Vec::with_capacity(taken.events);
        for event in row::events(&taken.chunk.bare()).map_err(|error| End::damaged(&error))? {
            if self.subscriptions.was_told(Offset(event.offset)) {
                continue;
            }
            self.subscriptions.tell(Offset(event.offset));
            self.told.count += 1;
            self.told.sending = Some(Offset(event.offset));
            let mut row = event.row(&origins).map_err(|error| End::damaged(&error))?;
            row.message_number = Some(self.told.count);
            rows.push(serde_json::to_vec(&row).map_err(|error| End::damaged(&error))?);
        }
        Ok((texts(rows.iter().map(Vec::as_slice)), rows.len() as u64))
    }

    async fn say(&mut self, message: &Value) -> Result<(), End> {
        let text = texts([message.to_string().as_bytes()]);
        self.wire.line.send(text, &mut self.source).await
    }

    /// Waits until there is something to do.
    async fn wait(&mut self) -> Result<(), End> {
        if std::mem::take(&mut self.pulsed) {
            self.streams.passes.handled();
        }
        let streams = Arc::clone(&self.streams);
        let waiting = streams.passes.wait();
        let authenticate_until = self.authenticate_until();
        tokio::select! {
            changed = self.source.pulses.changed() => {
                self.pulsed = true;
                return changed.map_err(|_| End::Gone);
            }
            due = self.wire.wait(true) => match due? {
                Due::Hear => return Ok(()),
                Due::Ping => {}
            },
            () = at(self.settles) => return Ok(()),
            () = at(authenticate_until) => return Ok(()),
        }
        drop(waiting);
        // The answer to the last ping may have come at this very moment.
        self.hear().await?;
        self.wire.ping(true, &mut self.source).await
    }

    /// Until when the client must have said who it is; none once it has.
    fn authenticate_until(&self) -> Option<Instant> {
        self.source.identity.is_none().then(|| self.began + AUTHENTICATE_WITHIN)
    }

    /// Tells the client why it is over.
    async fn finish(&mut self, end: &End) {
        let (code, why) = match end {
            End::Gone | End::Closed | End::Withdrawn => return,
            End::Refused(code, why) => (*code, (*why).to_owned()),
            End::Told(reason) => {
                self.streams.figures.stream_ended(*reason);
                (close_code(*reason), self.why(*reason))
            }
        };
        let stops = matches!(end, End::Told(Bye::Shutdown | Bye::Storage));
        if !stops {
            // Unless the server itself goes meanwhile.
            let mut pulses = self.source.pulses.clone();
            tokio::select! {
                () = sleep_until(self.began + HOLD) => {}
                _ = pulses.wait_for(|pulse| pulse.ending.is_some()) => {}
            }
        }
        let is_slow = matches!(end, End::Told(Bye::Slow));
        self.wire.close(Vec::new(), (code, &why), is_slow, self.source.pulses.clone()).await;
    }

    /// Why the server ends it, and where to go on.
    fn why(&mut self, reason: Bye) -> String {
        let mut newest = self.told.sent;
        if self.wire.line.is_torn() {
            // What was begun to be sent is sent to its end.
            newest = self.told.sending;
            if let Some(way) = &mut self.source.way {
                way.confirm();
            }
        }
        // Whoever has looked back stands before what was told earlier; whoever was told nothing, behind what there was to look at.
        let stands = self.source.way.as_ref().and_then(Subscription::given).map(|place| place.offset);
        let newest = newest.into_iter().chain(stands).min();
        match (reason, newest) {
            (Bye::Slow, Some(newest)) => format!("slow consumer: resume from {newest}"),
            (Bye::Shutdown, _) => {
                format!("shutdown: come back in {} ms", self.streams.retry().as_millis())
            }
            (other, _) => other.code().unwrap_or(other.name()).to_owned(),
        }
    }
}

/// Waits until then; for ever if that is never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
