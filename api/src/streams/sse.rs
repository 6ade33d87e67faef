//! A stream of Server-Sent Events on a socket of its own.
//!
//! The stream has left the HTTP server: it holds a socket, a [`Cursor`] and a receiver of pulses, and no buffer while it
//! waits. What it sends is shared with the other readers at the same offset and goes to the socket in one write. Only
//! when the socket is full does it keep the rest; until that is gone it reads nothing more. Inside TLS the bytes are this
//! reader's own for as long as they are on their way, and bounded.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::chunk::LAST_CHUNK;
use super::control::{self, Bye};
use super::cursor::{Cursor, Next};
use super::filter::Filter;
use super::resume::Resume;
use super::{Chunk, Ending, Position, Pulse, Reader, Streams};
use crate::http::requests;
use crate::socket::{Sent, Socket};

/// A reader that was shown nothing for this many records is told where it stands.
const CHECKPOINT_RECORDS: u64 = 256;
/// A write that takes longer than this makes the client a slow one.
const SLOW_AFTER: Duration = Duration::from_millis(250);
/// The `retry` for a client that cannot go on here and should not come back soon.
const RETRY_ELSEWHERE: Duration = Duration::from_secs(60);
/// At a stop, streams end one after the other over this long for each of them, so that not all clients come back at once.
const BYE_APART: Duration = Duration::from_micros(500);

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
    filter: Option<Filter>,
}

/// Why a stream is over.
enum End {
    /// The client is gone, or cannot be told anything any more.
    Gone,
    /// The client is told why.
    Told(Bye),
}

/// A running stream.
struct Running {
    streams: Arc<Streams>,
    reader: Arc<dyn Reader>,
    pulse: watch::Receiver<Pulse>,
    /// How many revocations had been told of when the reader was last asked; none before the first time.
    revocations: Option<u64>,
    /// None if the client's past is not this log's.
    cursor: Option<Cursor>,
    socket: Socket,
    framing: Framing,
    /// Where the client stands that has got all that was sent. Behind the cursor while a chunk is being sent.
    sent: Option<Position>,
    /// Whether the socket has taken only part of a chunk, or not even the head, so that nothing else can follow.
    torn: bool,
}

impl Sse {
    /// A stream for `reader`.
    #[must_use]
    pub fn new(
        streams: Arc<Streams>,
        reader: Arc<dyn Reader>,
        resume: Resume,
        filter: Option<Filter>,
    ) -> Sse {
        Sse { streams, reader, resume, filter }
    }

    /// Sends `head`, the answer's head, and then the stream, until client or server ends it.
    pub async fn run(self, socket: Socket, head: Vec<u8>, framing: Framing) {
        let Sse { streams, reader, resume, filter } = self;
        streams.open.fetch_add(1, Ordering::Relaxed);
        streams.figures.sse_open.increment(1);
        let sent = resume.position();
        let mut running = Running {
            pulse: streams.pulse.clone(),
            streams,
            reader,
            revocations: None,
            cursor: sent.map(|position| Cursor::new(position, filter)),
            socket,
            framing,
            sent,
            torn: true,
        };
        let Err(end) = running.talk(resume, head).await;
        if let End::Told(reason) = end {
            running.say_goodbye(reason);
        }
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
        // The log's own head, not the pulse's, which can be a moment older: who has just been told of a write finds it.
        let mut reached = Position::from(self.streams.log.head());
        let limits = &self.streams.limits;
        let retry = match resume {
            Resume::Ok(_) => rand::random_range(limits.retry_min..=limits.retry_max.max(limits.retry_min)),
            Resume::Ahead | Resume::OtherHistory => RETRY_ELSEWHERE,
        };
        let hello = control::hello(resume, reached, retry);
        head.extend_from_slice(&self.framed(&hello));
        self.send(head.into()).await?;
        let mut caught_up = false;
        let mut beat = self.pulse.borrow().beat;
        loop {
            let pulse = *self.pulse.borrow_and_update();
            self.check(&pulse)?;
            if pulse.ending == Some(Ending::Shutdown) {
                return Err(self.last_words().await);
            }
            if pulse.head.offset > reached.offset {
                reached = pulse.head;
            }
            if self.advance(reached).await? {
                continue;
            }
            if let Some(cursor) = &self.cursor
                && !caught_up
            {
                caught_up = true;
                self.send(self.framed(&control::caught_up(cursor.at()))).await?;
            }
            if pulse.beat != beat {
                beat = pulse.beat;
                self.reader.touch();
                self.tell_where(1).await?;
                self.send(self.framed(&self.streams.heartbeat)).await?;
            }
            self.wait().await?;
        }
    }

    /// Sends the next frames, if there are any. Returns whether there may be more.
    async fn advance(&mut self, head: Position) -> Result<bool, End> {
        let Some(cursor) = &mut self.cursor else { return Ok(false) };
        if cursor.at().offset >= head.offset {
            return Ok(false);
        }
        let next = {
            let mut next = pin!(cursor.next(&self.streams, head.offset));
            loop {
                // The read goes on whatever pulses come, else many of them would keep a slow read from ever ending.
                tokio::select! {
                    biased;
                    next = &mut next => break next,
                    changed = self.pulse.changed() => {
                        changed.map_err(|_| End::Gone)?;
                        let pulse = *self.pulse.borrow_and_update();
                        check(&pulse, &mut self.revocations, &*self.reader)?;
                    }
                }
            }
        };
        match next {
            Ok(Next::Live) => Ok(false),
            Ok(Next::Frames(chunk)) => {
                if !chunk.is_empty() {
                    self.send(self.framed(&chunk)).await?;
                }
                self.sent = self.cursor.as_ref().map(Cursor::at);
                self.tell_where(CHECKPOINT_RECORDS).await?;
                Ok(true)
            }
            Err(error) => {
                requests::of_stream(|| tracing::error!(%error, "a stream met damage"));
                Err(End::Told(Bye::Damaged))
            }
        }
    }

    /// Sends a checkpoint if the client was shown nothing for at least `records` records.
    async fn tell_where(&mut self, records: u64) -> Result<(), End> {
        let Some(cursor) = &mut self.cursor else { return Ok(()) };
        if cursor.passed_over() < records {
            return Ok(());
        }
        cursor.told();
        let checkpoint = control::checkpoint(cursor.at());
        self.send(self.framed(&checkpoint)).await
    }

    /// Looks whether the stream must end at once.
    fn check(&mut self, pulse: &Pulse) -> Result<(), End> {
        check(pulse, &mut self.revocations, &*self.reader)
    }

    /// Waits for the next pulse, or for the client to go away.
    async fn wait(&mut self) -> Result<(), End> {
        self.streams.passes.handled();
        let _waiting = self.streams.passes.wait();
        let mut changed = pin!(self.pulse.changed());
        poll_fn(|context| {
            if self.socket.poll_gone(context) {
                return Poll::Ready(Err(End::Gone));
            }
            changed.as_mut().poll(context).map(|changed| changed.map_err(|_| End::Gone))
        })
        .await
    }

    /// At a stop: waits a little, each stream for a time of its own, and gives the reason to be told.
    async fn last_words(&mut self) -> End {
        let open = u32::try_from(self.streams.open()).unwrap_or(u32::MAX);
        let most = BYE_APART.saturating_mul(open).min(self.streams.bye_within);
        tokio::time::sleep(most.mul_f64(rand::random::<f64>())).await;
        End::Told(Bye::Shutdown)
    }

    fn framed(&self, chunk: &Chunk) -> Bytes {
        match self.framing {
            Framing::Chunked => chunk.chunked(),
            Framing::Bare => chunk.bare(),
        }
    }

    /// Sends all of `bytes`.
    async fn send(&mut self, mut bytes: Bytes) -> Result<(), End> {
        self.streams.figures.stream_bytes.increment(bytes.len() as u64);
        if self.try_send(&mut bytes)? == Sent::All {
            return Ok(());
        }
        self.streams.passes.handled();
        // In a box, so that a stream that waits does not carry the state of one that is stuck.
        Box::pin(self.send_slowly(bytes)).await
    }

    /// Sends what the socket takes now.
    fn try_send(&mut self, bytes: &mut Bytes) -> Result<Sent, End> {
        let sent = self.socket.try_send(bytes).map_err(|_| End::Gone)?;
        match sent {
            Sent::All => self.torn = false,
            Sent::Some => self.torn = true,
            Sent::Nothing => {}
        }
        Ok(sent)
    }

    async fn send_slowly(&mut self, mut bytes: Bytes) -> Result<(), End> {
        let slow_at = Instant::now() + SLOW_AFTER;
        let write_timeout = self.streams.limits.write_timeout;
        let mut give_up_at = Instant::now() + write_timeout;
        loop {
            let mut now = Instant::now();
            tokio::select! {
                biased;
                _ = self.socket.writable() => {}
                changed = self.pulse.changed() => {
                    changed.map_err(|_| End::Gone)?;
                    let pulse = *self.pulse.borrow_and_update();
                    self.check(&pulse)?;
                }
                () = sleep_until(if now < slow_at { slow_at.min(give_up_at) } else { give_up_at }) => {}
            }
            now = Instant::now();
            match self.try_send(&mut bytes)? {
                Sent::All => return Ok(()),
                Sent::Some => give_up_at = now + write_timeout,
                Sent::Nothing if now >= give_up_at => return Err(End::Told(Bye::Slow)),
                Sent::Nothing => {}
            }
            if let Some(cursor) = &mut self.cursor
                && now >= slow_at
            {
                cursor.slow();
            }
        }
    }

    /// Tells the client why the stream ends, if its socket still takes that now.
    fn say_goodbye(&mut self, reason: Bye) {
        self.streams.figures.stream_ended(reason);
        if !self.torn {
            let mut bytes = Vec::from(self.framed(&control::bye(reason, self.sent)));
            if self.framing == Framing::Chunked {
                bytes.extend_from_slice(LAST_CHUNK);
            }
            // Whether it comes through or not, the stream is over.
            if matches!(self.try_send(&mut bytes.into()), Ok(Sent::All)) {
                self.socket.say_end();
            }
        }
        if reason == Bye::Slow {
            // What the kernel still holds for this client goes now, not when the client takes it.
            self.socket.forget_unsent();
        }
    }
}

fn check(pulse: &Pulse, revocations: &mut Option<u64>, reader: &dyn Reader) -> Result<(), End> {
    if *revocations != Some(pulse.revocations) {
        *revocations = Some(pulse.revocations);
        if !reader.is_live() {
            return Err(End::Told(Bye::Revoked));
        }
    }
    match pulse.ending {
        Some(Ending::Storage) => Err(End::Told(Bye::Storage)),
        Some(Ending::Shutdown) | None => Ok(()),
    }
}
