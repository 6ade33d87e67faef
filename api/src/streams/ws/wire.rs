//! A WebSocket apart from what is said on it: it reads messages, bounds what one that is not whole may take, asks whether
//! its client is still there, and ends in an orderly way. Whatever protocol is spoken over it, it writes through the same
//! [`Line`] as every stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::protocol::{Heard, Protocol};
use super::{Hold, frames};
use crate::socket::Socket;
use crate::streams::line::{End, Line, Waiter};
use crate::streams::{Bye, Pulse, Streams};

/// What is read at once.
const READ_BYTES: usize = 4 << 10;
/// What is read of a socket before something else has a turn.
const READ_BYTES_MAX: usize = 16 << 10;
/// A message of up to so many bytes is not counted, so that one can always be sent.
const SMALL_BYTES_MAX: usize = 8 << 10;
/// How long a message may take to come, looked at as often as a ping is due.
const MESSAGE_WITHIN: Duration = Duration::from_secs(30);
/// How long a client that was told of the end may take to close the socket from its side; and one that was told that it is
/// slow, to have read that. One that does not answer a ping is not waited for so long: it is hardly there.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
const SLOW_CLOSE_WITHIN: Duration = Duration::from_secs(60);

/// Begins to count what large messages of a client have in memory.
pub(crate) type Holds = Box<dyn Fn() -> Box<dyn Hold> + Send + Sync>;

/// An open socket.
pub(in crate::streams) struct Wire {
    streams: Arc<Streams>,
    pub(in crate::streams) line: Line,
    protocol: Protocol,
    holds: Holds,
    /// A message that has begun to come.
    partial: Option<Partial>,
    pings: Pings,
    /// What was read in this round.
    read: usize,
}

/// A message that is not whole yet: since when, and the memory of a large one.
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
    /// Set when none came in time.
    unanswered: bool,
}

/// What the client says next.
pub(in crate::streams) enum Said {
    /// A message, and the memory that a large one has.
    Text(String, Option<Box<dyn Hold>>),
    /// Nothing for now; whether there may be more at once, after others had their turn.
    Nothing(bool),
    /// It closes the socket in an orderly way.
    Close,
}

/// What a wire waits for.
pub(in crate::streams) enum Due {
    /// [`Wire::hear`]
    Hear,
    /// [`Wire::ping`], after all that came was heard.
    Ping,
}

impl Wire {
    /// On this socket, whose client has said `early` already.
    pub(in crate::streams) fn new(streams: Arc<Streams>, socket: Socket, early: &[u8], holds: Holds) -> Wire {
        let mut protocol = Protocol::new(streams.limits.message_bytes_max);
        protocol.feed(early);
        Wire {
            line: Line::new(Arc::clone(&streams), socket),
            protocol,
            holds,
            partial: None,
            pings: Pings {
                sleep: Box::pin(sleep(streams.limits.ping_every)),
                waits: false,
                unanswered: false,
            },
            read: 0,
            streams,
        }
    }

    /// What the client says next, as far as it is there.
    pub(in crate::streams) async fn hear(&mut self, waiter: &mut impl Waiter) -> Result<Said, End> {
        loop {
            match self.protocol.read() {
                Heard::Text(text) => {
                    let hold = self.partial.take().and_then(|partial| partial.hold);
                    return Ok(Said::Text(text, hold));
                }
                Heard::Nothing => {}
                Heard::Close => return Ok(Said::Close),
                Heard::Broken(code, why) => return Err(End::Refused(code, why)),
            }
            self.answer(waiter).await?;
            if !self.count_partial() {
                return Err(End::Refused(1013, "too many large messages are under way"));
            }
            if self.read >= READ_BYTES_MAX {
                self.read = 0;
                return Ok(Said::Nothing(true));
            }
            let mut buffer = [0; READ_BYTES];
            match self.line.socket.try_read(&mut buffer) {
                Ok(length) => {
                    self.read += length;
                    self.alive();
                    self.protocol.feed(&buffer[..length]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.read = 0;
                    return Ok(Said::Nothing(false));
                }
                Err(_) => return Err(End::Gone),
            }
        }
    }

    /// Sends what the protocol itself has to say.
    pub(super) async fn answer(&mut self, waiter: &mut impl Waiter) -> Result<(), End> {
        let answers = self.protocol.take_outgoing();
        if answers.is_empty() { Ok(()) } else { self.line.send(Bytes::from(answers), waiter).await }
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
        partial.hold.get_or_insert_with(&self.holds).take(more)
    }

    /// Waits until the client may have said something that `may_hear`, or until it is time to ask whether it is there, or to
    /// have been answered.
    pub(in crate::streams) async fn wait(&mut self, may_hear: bool) -> Result<Due, End> {
        tokio::select! {
            readable = self.line.socket.tcp().readable(), if may_hear => {
                readable.map(|()| Due::Hear).map_err(|_| End::Gone)
            }
            () = &mut self.pings.sleep => Ok(Due::Ping),
        }
    }

    /// Sends a ping, or gives up a client that has not answered the one before, if all that came was `heard`: what is not read
    /// cannot be missed. Nothing, if an answer was heard at the last moment.
    pub(in crate::streams) async fn ping(
        &mut self,
        heard: bool,
        waiter: &mut impl Waiter,
    ) -> Result<(), End> {
        if !self.pings.sleep.is_elapsed() {
            return Ok(());
        }
        if self.pings.waits && heard {
            self.pings.unanswered = true;
            return Err(End::Told(Bye::Slow));
        }
        self.begin_ping()?;
        self.line.send(Bytes::from_static(frames::PING_FRAME), waiter).await
    }

    /// A heartbeat, and behind it a ping that would be due before the next one: one write, and one wake of either side, for both.
    pub(in crate::streams) fn with_ping(&mut self, heartbeat: Bytes) -> Result<Bytes, End> {
        let soon = Instant::now() + self.streams.limits.heartbeat;
        if self.pings.waits || self.pings.sleep.deadline() > soon {
            return Ok(heartbeat);
        }
        self.begin_ping()?;
        Ok([&*heartbeat, frames::PING_FRAME].concat().into())
    }

    /// Takes note that a ping is about to be sent.
    fn begin_ping(&mut self) -> Result<(), End> {
        if self.partial.as_ref().is_some_and(|partial| partial.since.elapsed() >= MESSAGE_WITHIN) {
            return Err(End::Refused(1008, "the message takes too long"));
        }
        self.pings.waits = true;
        self.pings.sleep.as_mut().reset(Instant::now() + self.streams.limits.pong_within);
        Ok(())
    }

    /// Takes note that the client lives.
    fn alive(&mut self) {
        if self.pings.waits {
            self.pings.waits = false;
            self.pings.sleep.as_mut().reset(Instant::now() + self.streams.limits.ping_every);
        }
    }

    /// Sends the last words and the close, and waits a little for the client to have read that: closing while it still sends
    /// would reset the connection, and what it has not read would be lost. A stop of the server does not wait for the slow.
    pub(in crate::streams) async fn close(
        &mut self,
        mut last_words: Vec<u8>,
        (code, why): (u16, &str),
        is_slow: bool,
        mut pulses: watch::Receiver<Pulse>,
    ) {
        last_words.extend_from_slice(&frames::close(code, why));
        self.line.finish(last_words).await;
        let within = if is_slow && !self.pings.unanswered { SLOW_CLOSE_WITHIN } else { CLOSE_WITHIN };
        let stops = pulses.wait_for(|pulse| pulse.ending.is_some() && is_slow);
        let _ = timeout(within, async {
            tokio::select! {
                () = self.hear_the_end() => {}
                _ = stops => {}
            }
        })
        .await;
    }

    /// Answers the client's close.
    pub(in crate::streams) async fn close_in_answer(&mut self, mut last_words: Vec<u8>) {
        last_words.extend_from_slice(&self.protocol.take_outgoing());
        self.line.finish(last_words).await;
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
            // Nothing is answered any more, so pings must not add up to memory.
            drop(self.protocol.take_outgoing());
        }
    }
}
