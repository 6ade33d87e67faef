//! One socket: what the client says and what its sessions bring, in turn.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use scrollback_log::Offset;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::super::cut::{Cut, Form};
use super::super::line::{End, Line};
use super::super::subscription::{Phase, Step};
use super::super::{Bye, Ending, Reader, Streams};
use super::messages::{self, Message, Refused};
use super::protocol::{Heard, Protocol};
use super::seats::Seats;
use super::{Hold, Post, close_code, frames, open};
use crate::http::problem::{Code, Problem};
use crate::http::requests;
use crate::socket::Socket;

/// What is read of a socket before its sessions have a turn.
const READ_BYTES_MAX: usize = 16 << 10;
/// What is read at once.
const READ_BYTES: usize = 4 << 10;
/// The most messages of a socket that are being sent to channels, and the most bytes of them: nothing more is read meanwhile.
const SENDS_MAX: usize = 256;
const SEND_BYTES_MAX: usize = 1 << 20;
/// How long a client that was told of the end may take to close the socket from its side; and one that was told that it is
/// slow, to have read that.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
const SLOW_CLOSE_WITHIN: Duration = Duration::from_secs(60);
/// A message of up to so many bytes is not counted, so that one can always be sent.
const SMALL_BYTES_MAX: usize = 8 << 10;
/// How long a message may take to come, looked at as often as a ping is due.
const MESSAGE_WITHIN: Duration = Duration::from_secs(30);

/// A socket that is about to begin.
pub struct Ws {
    streams: Arc<Streams>,
    reader: Arc<dyn Reader>,
    post: Arc<dyn Post>,
}

/// A message of the client's that was sent to a channel: its frame, and how many bytes the message had.
type Sending = Pin<Box<dyn Future<Output = (Bytes, usize)> + Send>>;

/// A running socket.
struct Talk {
    streams: Arc<Streams>,
    post: Arc<dyn Post>,
    line: Line,
    protocol: Protocol,
    seats: Seats,
    sends: FuturesUnordered<Sending>,
    send_bytes: usize,
    /// A message that has begun to come: since when, and the memory of a large one.
    partial: Option<Partial>,
    beat: u64,
    pings: Pings,
}

/// A message that is not whole yet.
struct Partial {
    since: Instant,
    hold: Option<Box<dyn Hold>>,
    counted: usize,
}

/// Whether the client still answers.
struct Pings {
    sleep: Pin<Box<Sleep>>,
    /// Set while a ping waits for any sign of life.
    waits: bool,
}

impl Ws {
    /// One for `reader`, whose messages `post` sends.
    #[must_use]
    pub fn new(streams: Arc<Streams>, reader: Arc<dyn Reader>, post: Arc<dyn Post>) -> Ws {
        Ws { streams, reader, post }
    }

    /// Sends `head`, the answer's head, and talks until client or server ends it. `early` is what the client has said
    /// before.
    pub async fn run(self, socket: Socket, head: Vec<u8>, early: Bytes) {
        let Ws { streams, reader, post } = self;
        streams.open.fetch_add(1, Ordering::Relaxed);
        streams.figures.ws_open.increment(1);
        let pulses = streams.pulse.clone();
        let beat = pulses.borrow().beat;
        let mut protocol = Protocol::new(streams.limits.message_bytes_max);
        protocol.feed(&early);
        let seats = Seats {
            all: Vec::new(),
            pulses,
            nudge: Arc::new(Notify::new()),
            reader,
            revocations: None,
            sending: None,
        };
        let mut talk = Talk {
            line: Line::new(Arc::clone(&streams), socket),
            pings: Pings { sleep: Box::pin(sleep(streams.limits.ping_every)), waits: false },
            streams,
            post,
            protocol,
            seats,
            sends: FuturesUnordered::new(),
            send_bytes: 0,
            partial: None,
            beat,
        };
        let Err(end) = talk.run(head.into()).await;
        if let End::Told(reason) = end {
            talk.say_goodbye(reason).await;
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.streams.open.fetch_sub(1, Ordering::Relaxed);
        self.streams.figures.ws_open.decrement(1);
    }
}

impl Talk {
    async fn run(&mut self, head: Bytes) -> Result<Infallible, End> {
        self.send(head).await?;
        loop {
            let pulse = self.seats.check().map_err(End::Told)?;
            if pulse.ending == Some(Ending::Shutdown) {
                self.streams.wait_for_turn().await;
                return Err(End::Told(Bye::Shutdown));
            }
            if pulse.beat != self.beat {
                self.beat = pulse.beat;
                self.seats.reader.touch();
                self.send(frames::heartbeat()).await?;
            }
            let mut busy = self.hear().await?;
            let mut place = 0;
            while place < self.seats.all.len() {
                match self.advance(place).await? {
                    Advanced::Waits => place += 1,
                    Advanced::Moved => (busy, place) = (true, place + 1),
                    Advanced::Ended => busy = true,
                }
            }
            // A pulse that came while one session was at work has not been looked at by those before it.
            if !busy && *self.seats.pulses.borrow() == pulse {
                self.wait().await?;
            }
        }
    }

    /// Waits until there is something to do, and does what is not for the next round.
    async fn wait(&mut self) -> Result<(), End> {
        self.streams.passes.handled();
        let may_hear = self.may_hear();
        let woken = {
            let _waiting = self.streams.passes.wait();
            tokio::select! {
                changed = self.seats.pulses.changed() => {
                    changed.map_err(|_| End::Gone)?;
                    Woken::Round
                }
                () = self.seats.nudge.notified() => Woken::Round,
                readable = self.line.socket.tcp().readable(), if may_hear => {
                    readable.map_err(|_| End::Gone)?;
                    Woken::Round
                }
                Some((frame, bytes)) = self.sends.next(), if !self.sends.is_empty() => Woken::Sent(frame, bytes),
                () = &mut self.pings.sleep => Woken::Ping,
            }
        };
        match woken {
            Woken::Round => Ok(()),
            Woken::Sent(frame, bytes) => self.answer(frame, bytes).await,
            Woken::Ping => self.ping().await,
        }
    }

    /// Sends the answer to a message that was sent to a channel, with those that are ready beside it.
    async fn answer(&mut self, first: Bytes, bytes: usize) -> Result<(), End> {
        self.send_bytes -= bytes;
        let mut frames = first;
        if let Some(Some((second, bytes))) = self.sends.next().now_or_never() {
            self.send_bytes -= bytes;
            let mut all = Vec::from(frames);
            all.extend_from_slice(&second);
            while let Some(Some((another, bytes))) = self.sends.next().now_or_never() {
                self.send_bytes -= bytes;
                all.extend_from_slice(&another);
            }
            frames = all.into();
        }
        self.send(frames).await
    }

    fn may_hear(&self) -> bool {
        self.sends.len() < SENDS_MAX && self.send_bytes < SEND_BYTES_MAX
    }

    /// Sends a ping, or gives up a client that has not answered the one before.
    async fn ping(&mut self) -> Result<(), End> {
        let limits = &self.streams.limits;
        if self.pings.waits {
            return Err(End::Gone);
        }
        if self.partial.as_ref().is_some_and(|partial| partial.since.elapsed() >= MESSAGE_WITHIN) {
            self.close(1008, "the message takes too long").await;
            return Err(End::Gone);
        }
        self.pings.waits = true;
        self.pings.sleep.as_mut().reset(Instant::now() + limits.pong_within);
        self.send(Bytes::from_static(frames::PING_FRAME)).await
    }

    /// Takes note that the client lives.
    fn heard(&mut self) {
        if self.pings.waits {
            self.pings.waits = false;
            self.pings.sleep.as_mut().reset(Instant::now() + self.streams.limits.ping_every);
        }
    }

    /// Reads what the client says, and does it. Returns whether there may be more.
    async fn hear(&mut self) -> Result<bool, End> {
        let mut read = 0;
        loop {
            while self.may_hear() {
                match self.protocol.read() {
                    Heard::Text(text) => {
                        let hold = self.partial.take().and_then(|partial| partial.hold);
                        self.take(&text, hold).await?;
                    }
                    Heard::Nothing => break,
                    Heard::Close => {
                        for seated in &self.seats.all {
                            self.streams.sessions.end(&seated.seat.session);
                        }
                        self.answer_protocol().await?;
                        return Err(End::Gone);
                    }
                    Heard::Broken(code, why) => {
                        self.close(code, why).await;
                        return Err(End::Gone);
                    }
                }
            }
            self.answer_protocol().await?;
            if !self.count_partial() {
                self.close(1013, "too many large messages are under way").await;
                return Err(End::Gone);
            }
            if !self.may_hear() || read >= READ_BYTES_MAX {
                return Ok(self.may_hear());
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
    async fn answer_protocol(&mut self) -> Result<(), End> {
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
                Err(problem) => (None, problem),
            },
            Ok(Message::Close { id, session }) => match self.seats.find(&session) {
                Some(place) => {
                    let seated = self.seats.all.remove(place);
                    self.streams.sessions.end(&seated.seat.session);
                    return self.send(frames::closed(id.as_deref(), &seated.seat.session.id)).await;
                }
                None => (id, Problem::plain(Code::UnknownSession)),
            },
            Ok(Message::Open(wanted)) => {
                let id = wanted.id.clone();
                match open::open(&self.streams, &mut self.seats, wanted).await {
                    Ok(hello) => return self.send(hello).await,
                    Err(problem) => (id, problem),
                }
            }
            Err(Refused { id, problem }) => (id, problem),
        };
        self.send(frames::answer(id.as_deref(), problem.code().status(), &problem.to_json())).await
    }

    fn acknowledge(&mut self, session: &str, offset: Offset) -> Result<(), Problem> {
        let place = self.seats.find(session).ok_or(Problem::plain(Code::UnknownSession))?;
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

    fn post(
        &mut self,
        id: String,
        (channel, body, key): (String, String, Option<String>),
        bytes: usize,
        hold: Option<Box<dyn Hold>>,
    ) {
        let posted = self.post.post(channel, body, key);
        self.send_bytes += bytes;
        self.sends.push(Box::pin(async move {
            let (status, body) = posted.await;
            drop(hold);
            (frames::answer(Some(&id), status, &body), bytes)
        }));
    }

    /// Gives one session a turn.
    async fn advance(&mut self, place: usize) -> Result<Advanced, End> {
        let Seats { all, pulses, .. } = &mut self.seats;
        let seated = &mut all[place];
        let pulse = *pulses.borrow();
        let room = seated.flight.room();
        if seated.look(&pulse).is_none() && room == 0 {
            return Ok(Advanced::Waits);
        }
        let bytes_max = self.streams.limits.write_bytes_max;
        let cut = Cut { form: Form::Json, bytes_max, events_max: room.max(1), shared: true };
        let step = seated.subscription.step(pulses, cut).await;
        let id = &seated.seat.session.id;
        match step {
            Ok(Step::Events(taken)) => {
                seated.flight.add(taken.newest.unwrap_or(taken.through.offset), taken.events);
                let mut bytes = frames::events(id, &taken);
                // Nobody can take the session between the look and the write.
                let Some(turn) = seated.seat.turn() else {
                    seated.subscription.end(Bye::Replaced);
                    return Ok(Advanced::Moved);
                };
                let begun = self.line.begin(&mut bytes)?;
                drop(turn);
                if !begun {
                    self.seats.sending = Some(place);
                    let sent = self.line.go_on(bytes, &mut self.seats).await;
                    self.seats.sending = None;
                    sent?;
                }
                self.seats.all[place].subscription.confirm();
                Ok(Advanced::Moved)
            }
            Ok(Step::CaughtUp(at)) => {
                let frame = frames::caught_up(id, at);
                self.send(frame).await.map(|()| Advanced::Moved)
            }
            Ok(Step::Checkpoint(at)) => {
                let frame = frames::checkpoint(id, at);
                self.send(frame).await.map(|()| Advanced::Moved)
            }
            // The socket has one of its own.
            Ok(Step::Heartbeat) => Ok(Advanced::Moved),
            Ok(Step::Wait) => Ok(Advanced::Waits),
            Ok(Step::Ended(reason)) => self.end(place, reason).await,
            Err(error) => {
                requests::of_stream(|| tracing::error!(%error, "a session met damage"));
                self.end(place, Bye::Damaged).await
            }
        }
    }

    /// Ends one session; the socket with it if it was the last and its user lost what it could show.
    async fn end(&mut self, place: usize, reason: Bye) -> Result<Advanced, End> {
        if matches!(reason, Bye::Shutdown | Bye::Storage | Bye::Revoked) {
            return Err(End::Told(reason));
        }
        let seated = self.seats.all.remove(place);
        self.streams.figures.stream_ended(reason);
        if reason != Bye::Replaced {
            self.streams.sessions.end(&seated.seat.session);
        }
        let bye = frames::bye(&seated.seat.session.id, reason, seated.subscription.given(), None);
        self.send(bye).await?;
        if reason == Bye::Excluded && self.seats.all.is_empty() {
            self.close(close_code(reason), reason.name()).await;
            return Err(End::Gone);
        }
        Ok(Advanced::Ended)
    }

    async fn send(&mut self, bytes: impl Buf + Send) -> Result<(), End> {
        self.line.send(bytes, &mut self.seats).await
    }

    /// Tells the client why the socket ends, session by session.
    async fn say_goodbye(&mut self, reason: Bye) {
        let limits = &self.streams.limits;
        let retry = (reason == Bye::Shutdown)
            .then(|| rand::random_range(limits.retry_min..=limits.retry_max.max(limits.retry_min)));
        let mut bytes = Vec::new();
        for seated in &self.seats.all {
            self.streams.figures.stream_ended(reason);
            let (id, at) = (&seated.seat.session.id, seated.subscription.given());
            let replaced = seated.subscription.phase() == Phase::Ended(Bye::Replaced);
            let reason = if replaced { Bye::Replaced } else { reason };
            bytes.extend_from_slice(&frames::bye(id, reason, at, retry));
        }
        bytes.extend_from_slice(&frames::close(close_code(reason), reason.name()));
        self.line.finish(reason, bytes);
        let within = if reason == Bye::Slow { SLOW_CLOSE_WITHIN } else { CLOSE_WITHIN };
        self.wait_for_the_end(within).await;
    }

    /// Says that the socket ends.
    async fn close(&mut self, code: u16, why: &str) {
        self.line.finish(Bye::Replaced, frames::close(code, why));
        self.wait_for_the_end(CLOSE_WITHIN).await;
    }

    /// Waits a little for the client to have read that: closing while it still sends would reset the connection, and what it
    /// has not read would be lost. A stop of the server does not wait for the slow.
    async fn wait_for_the_end(&mut self, within: Duration) {
        let mut pulses = self.seats.pulses.clone();
        let stops = pulses.wait_for(|pulse| pulse.ending.is_some() && within > CLOSE_WITHIN);
        let _ = timeout(within, async {
            tokio::select! {
                () = self.hear_the_end() => {}
                _ = stops => {}
            }
        })
        .await;
    }

    /// Reads until the client closes, too, and throws away what it says before that.
    async fn hear_the_end(&mut self) {
        while self.line.socket.tcp().readable().await.is_ok() {
            let mut buffer = [0; READ_BYTES];
            match self.line.socket.try_read(&mut buffer) {
                Ok(length) => self.protocol.feed(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => return,
            }
            loop {
                match self.protocol.read() {
                    Heard::Text(_) => {}
                    Heard::Nothing => break,
                    Heard::Close | Heard::Broken(..) => return,
                }
            }
        }
    }
}

/// What a wait came to.
enum Woken {
    /// There may be something for any part of a round.
    Round,
    /// A message was sent to its channel.
    Sent(Bytes, usize),
    /// It is time to ask, or to have been answered.
    Ping,
}

/// What became of a session's turn.
enum Advanced {
    /// There is nothing for it to do.
    Waits,
    /// It has done something, and there may be more.
    Moved,
    /// It is over, and gone from its place.
    Ended,
}
