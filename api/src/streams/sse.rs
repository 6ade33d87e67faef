//! A stream of Server-Sent Events on a socket of its own.
//!
//! The stream has left the HTTP server: it holds a socket, a [`Subscription`] and a receiver of pulses, and no buffer while
//! it waits. What it sends is shared with the other readers that stand at the same offset and get the same, and goes to the
//! socket in one write. Only when the socket is full does it keep the rest; until that is gone it reads nothing more.
//! Inside TLS the bytes are this reader's own for as long as they are on their way, and bounded.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::coop::consume_budget;

use super::chunk::LAST_CHUNK;
use super::control::{self, Bye};
use super::cut::{Cut, Form};
use super::filter::Filters;
use super::line::{End, Line, Waiter};
use super::resume::Resume;
use super::subscription::{Step, Subscription};
use super::{Chunk, Pulse, Reader, Streams};
use crate::http::requests;
use crate::socket::Socket;

/// The `retry` for a client that cannot go on here and should not come back soon.
const RETRY_ELSEWHERE: Duration = Duration::from_secs(60);

/// How a stream's bytes are delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// As chunks, which HTTP/1.1 has.
    Chunked,
    /// By the end of the connection, as HTTP/1.0 must.
    Bare,
}

/// A stream that is about to begin.
pub struct Sse {
    streams: Arc<Streams>,
    reader: Arc<dyn Reader>,
    resume: Resume,
    filters: Filters,
}

/// A running stream.
struct Running {
    streams: Arc<Streams>,
    source: Source,
    line: Line,
    framing: Framing,
}

/// Where what is sent comes from.
struct Source {
    subscription: Subscription,
    pulses: watch::Receiver<Pulse>,
}

impl Waiter for Source {
    async fn look(&mut self) -> Result<(), End> {
        self.pulses.changed().await.map_err(|_| End::Gone)?;
        let pulse = *self.pulses.borrow_and_update();
        self.subscription.interrupt(&pulse).map_or(Ok(()), |reason| Err(End::Told(reason)))
    }

    fn by_right<T>(&self, send: impl FnOnce() -> T) -> Option<T> {
        Some(send())
    }

    fn slow(&mut self) {
        self.subscription.slow();
    }
}

impl Sse {
    /// A stream for `reader`.
    #[must_use]
    pub fn new(streams: Arc<Streams>, reader: Arc<dyn Reader>, resume: Resume, filters: Filters) -> Sse {
        Sse { streams, reader, resume, filters }
    }

    /// Sends `head`, the answer's head, and then the stream, until client or server ends it.
    pub async fn run(self, socket: Socket, head: Vec<u8>, framing: Framing) {
        let Sse { streams, reader, resume, filters } = self;
        streams.open.fetch_add(1, Ordering::Relaxed);
        streams.figures.sse_open.increment(1);
        let subscription = Subscription::begin(&streams, reader, resume, filters);
        let source = Source { subscription, pulses: streams.pulse.clone() };
        let line = Line::new(Arc::clone(&streams), socket);
        let mut running = Running { streams, source, line, framing };
        let Err(end) = running.talk(resume, head).await;
        if let End::Told(reason) = end {
            running.say_goodbye(reason).await;
        }
        running.line.tally.tell(&end, None);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.streams.open.fetch_sub(1, Ordering::Relaxed);
        self.streams.figures.sse_open.decrement(1);
    }
}

impl Running {
    /// Sends the stream until something ends it.
    async fn talk(&mut self, resume: Resume, mut head: Vec<u8>) -> Result<Infallible, End> {
        let limits = &self.streams.limits;
        let retry = match resume {
            Resume::Ok(_) => rand::random_range(limits.retry_min..=limits.retry_max.max(limits.retry_min)),
            Resume::Ahead | Resume::OtherHistory => RETRY_ELSEWHERE,
        };
        let cut =
            Cut { form: Form::Sse, bytes_max: limits.write_bytes_max, events_max: usize::MAX, shared: true };
        let hello = control::hello(resume, self.source.subscription.reached(), retry);
        head.extend_from_slice(&self.framed(&hello));
        self.line.send(Bytes::from(head), &mut self.source).await?;
        loop {
            // A reader that takes all it gets at once must not keep the others from their turns.
            consume_budget().await;
            let Source { subscription, pulses } = &mut self.source;
            match subscription.step(pulses, cut).await {
                Ok(Step::Events(taken)) => {
                    self.send(&taken.chunk).await?;
                    self.line.tally.events += taken.events as u64;
                }
                Ok(Step::CaughtUp(place)) => self.send(&control::caught_up(place)).await?,
                Ok(Step::Checkpoint(place)) => self.send(&control::checkpoint(place)).await?,
                Ok(Step::Heartbeat) => {
                    let heartbeat = self.streams.heartbeat.clone();
                    self.send(&heartbeat).await?;
                }
                Ok(Step::Wait) => self.wait().await?,
                Ok(Step::Ended(reason)) => {
                    if reason == Bye::Shutdown {
                        self.streams.wait_for_turn().await;
                    }
                    return Err(End::Told(reason));
                }
                Err(error) => {
                    requests::of_stream(|| tracing::error!(%error, "a stream met damage"));
                    return Err(End::Told(Bye::Damaged));
                }
            }
        }
    }

    /// Waits for the next pulse, or for the client to go away.
    async fn wait(&mut self) -> Result<(), End> {
        self.streams.passes.handled();
        let _waiting = self.streams.passes.wait();
        let mut changed = pin!(self.source.pulses.changed());
        poll_fn(|context| {
            if self.line.socket.poll_gone(context) {
                return Poll::Ready(Err(End::Gone));
            }
            changed.as_mut().poll(context).map(|changed| changed.map_err(|_| End::Gone))
        })
        .await
    }

    fn framed(&self, chunk: &Chunk) -> Bytes {
        match self.framing {
            Framing::Chunked => chunk.chunked(),
            Framing::Bare => chunk.bare(),
        }
    }

    async fn send(&mut self, chunk: &Chunk) -> Result<(), End> {
        let bytes = self.framed(chunk);
        self.line.send(bytes, &mut self.source).await
    }

    /// Tells the client why the stream ends.
    async fn say_goodbye(&mut self, reason: Bye) {
        self.streams.figures.stream_ended(reason);
        if self.line.is_torn() {
            self.source.subscription.confirm();
        }
        let place = self.source.subscription.given();
        let mut bytes = Vec::from(self.framed(&control::bye(reason, place)));
        if self.framing == Framing::Chunked {
            bytes.extend_from_slice(LAST_CHUNK);
        }
        self.line.finish(bytes).await;
    }
}
