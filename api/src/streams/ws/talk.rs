//! One socket: what the client says and what its sessions bring, in turn.

mod ending;
mod hear;
mod turn;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep};

use super::super::line::{End, Line};
use super::super::{Bye, Ending, Reader, Streams};
use super::protocol::Protocol;
use super::seats::Seats;
use super::{Hold, Post, frames};
use crate::socket::Socket;
use turn::Advanced;

/// What is read at once.
const READ_BYTES: usize = 4 << 10;
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

    async fn send(&mut self, bytes: impl Buf + Send) -> Result<(), End> {
        self.line.send(bytes, &mut self.seats).await
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
