//! A watch as a stream of Server-Sent Events.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use super::reading::{Place, Reading, Step};
use super::set::Change;
use super::watch::{Role, Watch};
use super::{CHANGES_MAX, frames};
use crate::socket::Socket;
use crate::streams::line::{End, Waiter};
use crate::streams::outlet::{Framing, Outlet};
use crate::streams::{Bye, Chunk, Position, Reader, Streams, control};

/// A stream that is about to begin.
pub struct WatchSse {
    streams: Arc<Streams>,
    reading: Reading,
}

/// A running stream.
struct Running {
    reading: Reading,
    outlet: Outlet,
}

impl Waiter for Reading {
    async fn look(&mut self) -> Result<(), End> {
        self.wait(None).await;
        self.over().map_or(Ok(()), |reason| Err(End::Told(reason)))
    }

    fn by_right<T>(&self, send: impl FnOnce() -> T) -> Option<T> {
        Reading::by_right(self, send)
    }

    /// Nothing is read ahead for anybody.
    fn slow(&mut self) {}
}

impl WatchSse {
    /// A stream of `watch` for `reader`, who stands at this place; whoever streams it now is replaced. None if the watch is
    /// over.
    #[must_use]
    pub fn new(
        streams: Arc<Streams>,
        reader: Arc<dyn Reader>,
        watch: &Arc<Watch>,
        place: Place,
    ) -> Option<WatchSse> {
        let reading = Reading::begin(&streams, reader, watch, place, Role::Stream).ok()?;
        Some(WatchSse { streams, reading })
    }

    /// Sends `head`, the answer's head, and then the stream, until client or server ends it.
    pub async fn run(self, socket: Socket, head: Vec<u8>, framing: Framing) {
        let WatchSse { streams, reading } = self;
        let mut running = Running { reading, outlet: Outlet::open(streams, socket, framing) };
        let Err(end) = running.talk(head).await;
        if let End::Told(reason) = end {
            let Running { reading, outlet } = &mut running;
            let bye = frames::bye(reason, reading.epoch(), reading.given());
            outlet.say_goodbye(reason, &bye).await;
        }
        running.outlet.line.tally.tell(&end, None);
    }
}

impl Running {
    async fn talk(&mut self, head: Vec<u8>) -> Result<Infallible, End> {
        let Running { reading, outlet } = self;
        let hello = frames::hello(reading.epoch(), outlet.streams.log.head().offset, outlet.streams.retry());
        outlet.begin(head, &hello, reading).await?;
        loop {
            consume_budget().await;
            match reading.step() {
                Step::Changed(changes, at) => tell(outlet, reading, &changes, at).await?,
                Step::CaughtUp(at) => tell_one(outlet, reading, &control::caught_up(at)).await?,
                Step::Checkpoint(at) => {
                    let checkpoint = frames::checkpoint(reading.epoch(), at);
                    tell_one(outlet, reading, &checkpoint).await?;
                }
                Step::Heartbeat => {
                    let heartbeat = outlet.streams.heartbeat.clone();
                    outlet.send(&heartbeat, reading).await?;
                }
                Step::Wait(until) => wait(outlet, reading, until).await?,
                Step::Ended(reason) => return outlet.ended(reason).await,
            }
        }
    }
}

/// Tells of changes, in parts.
async fn tell(
    outlet: &mut Outlet,
    reading: &mut Reading,
    changes: &[Change],
    at: Position,
) -> Result<(), End> {
    let (epoch, origins) = (reading.epoch(), outlet.streams.origins());
    let mut parts = changes.chunks(CHANGES_MAX).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        let told = tell_one(outlet, reading, &frames::changed(epoch, part, at, is_last, &origins)).await;
        if is_last && told.is_err() && outlet.line.is_torn() {
            // Whoever is ended in the middle of the last of a notice still gets all of it.
            reading.confirm();
        }
        told?;
        outlet.line.tally.events += part.len() as u64;
    }
    Ok(())
}

/// Sends one frame, which is begun only while the watch is as it was: whoever sets it anew or ends it is answered when no more
/// comes. If it is not sent, that is the end, and not one step more.
async fn tell_one(outlet: &mut Outlet, reading: &mut Reading, chunk: &Chunk) -> Result<(), End> {
    let bytes = outlet.framed(chunk);
    if outlet.line.send_by_right(bytes, reading).await? {
        Ok(())
    } else {
        Err(End::Told(reading.over().unwrap_or(Bye::Replaced)))
    }
}

/// Waits until there may be something to do, or the client goes away.
async fn wait(outlet: &mut Outlet, reading: &mut Reading, until: Option<Instant>) -> Result<(), End> {
    let mut woken = pin!(reading.wait(until));
    poll_fn(|context| {
        if outlet.line.socket.poll_gone(context) {
            return Poll::Ready(Err(End::Gone));
        }
        woken.as_mut().poll(context).map(Ok)
    })
    .await
}
