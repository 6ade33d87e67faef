//! A watch as a stream of Server-Sent Events.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use scrollback_log::Offset;
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use super::frames;
use super::reading::{Reading, Step};
use super::registry::Watch;
use super::set::Change;
use crate::socket::Socket;
use crate::streams::line::{End, Waiter};
use crate::streams::outlet::{Framing, Outlet};
use crate::streams::{Bye, Position, Reader, Streams, control};

/// The most changes of one frame.
const CHANGES_MAX: usize = 1_000;

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
        let turn = self.readership.turn()?;
        let sent = send();
        drop(turn);
        Some(sent)
    }

    /// Nothing is read ahead for anybody.
    fn slow(&mut self) {}
}

impl WatchSse {
    /// A stream of `watch` for `reader`, who was told all up to `after`; whoever streams it now is replaced. None if the watch
    /// is over.
    #[must_use]
    pub fn new(
        streams: Arc<Streams>,
        reader: Arc<dyn Reader>,
        watch: &Arc<Watch>,
        after: Offset,
    ) -> Option<WatchSse> {
        let reading = Reading::begin(&streams, reader, watch, after, true)?;
        Some(WatchSse { streams, reading })
    }

    /// Sends `head`, the answer's head, and then the stream, until client or server ends it.
    pub async fn run(self, socket: Socket, head: Vec<u8>, framing: Framing) {
        let WatchSse { streams, reading } = self;
        let mut running = Running { reading, outlet: Outlet::open(streams, socket, framing) };
        let Err(end) = running.talk(head).await;
        if let End::Told(reason) = end {
            let Running { reading, outlet } = &mut running;
            let bye = frames::bye(reason, reading.readership.epoch, reading.given());
            outlet.say_goodbye(reason, &bye).await;
        }
        running.outlet.line.tally.tell(&end, None);
    }
}

impl Running {
    async fn talk(&mut self, head: Vec<u8>) -> Result<Infallible, End> {
        let Running { reading, outlet } = self;
        let hello = frames::hello(reading.readership.epoch, outlet.streams.log.head().offset, outlet.retry());
        outlet.begin(head, &hello, reading).await?;
        loop {
            consume_budget().await;
            match reading.step() {
                Step::Changed(changes, at) => tell(outlet, reading, &changes, at).await?,
                Step::CaughtUp(at) => outlet.send(&control::caught_up(at), reading).await?,
                Step::Checkpoint(at) => {
                    let checkpoint = frames::checkpoint(reading.readership.epoch, at);
                    outlet.send(&checkpoint, reading).await?;
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

/// Tells of changes, each part only while the watch is as it was: whoever sets it anew or ends it is told when no more comes.
async fn tell(
    outlet: &mut Outlet,
    reading: &mut Reading,
    changes: &[Change],
    at: Position,
) -> Result<(), End> {
    let (epoch, origins) = (reading.readership.epoch, outlet.streams.origins());
    let mut parts = changes.chunks(CHANGES_MAX).peekable();
    while let Some(part) = parts.next() {
        let chunk = frames::changed(epoch, part, at, parts.peek().is_none(), &origins);
        let mut bytes = outlet.framed(&chunk);
        let begun = reading.by_right(|| outlet.line.begin(&mut bytes));
        let sent = match begun {
            Some(begun) => begun? || outlet.line.go_on(bytes, reading).await?,
            None => false,
        };
        if !sent {
            // Not all of it is told, so that is the end, and not one step more.
            return Err(End::Told(reading.over().unwrap_or(Bye::Replaced)));
        }
        outlet.line.tally.events += part.len() as u64;
    }
    Ok(())
}

/// Waits until there may be something to do, or the client goes away.
async fn wait(outlet: &mut Outlet, reading: &mut Reading, until: Option<Instant>) -> Result<(), End> {
    outlet.streams.passes.handled();
    let streams = Arc::clone(&outlet.streams);
    let _waiting = streams.passes.wait();
    let mut woken = pin!(reading.wait(until));
    poll_fn(|context| {
        if outlet.line.socket.poll_gone(context) {
            return Poll::Ready(Err(End::Gone));
        }
        woken.as_mut().poll(context).map(Ok)
    })
    .await
}
