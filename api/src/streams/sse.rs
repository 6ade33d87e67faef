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
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::coop::consume_budget;

use super::control::{self, Bye};
use super::cut::{Cut, Form};
use super::filter::Filters;
use super::line::{End, Waiter};
use super::outlet::{Framing, Outlet};
use super::resume::Resume;
use super::subscription::{Step, Subscription};
use super::{Pulse, Reader, Streams};
use crate::socket::Socket;

/// The `retry` for a client that cannot go on here and should not come back soon.
const RETRY_ELSEWHERE: Duration = Duration::from_secs(60);

/// A stream that is about to begin.
pub struct Sse {
    streams: Arc<Streams>,
    reader: Arc<dyn Reader>,
    resume: Resume,
    filters: Filters,
}

/// A running stream.
struct Running {
    source: Source,
    outlet: Outlet,
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
        let subscription = Subscription::begin(&streams, reader, resume, filters);
        let source = Source { subscription, pulses: streams.pulse.clone() };
        let mut running = Running { source, outlet: Outlet::open(streams, socket, framing) };
        let Err(end) = running.talk(resume, head).await;
        if let End::Told(reason) = end {
            running.say_goodbye(reason).await;
        }
        running.outlet.line.tally.tell(&end, None);
    }
}

impl Running {
    /// Sends the stream until something ends it.
    async fn talk(&mut self, resume: Resume, head: Vec<u8>) -> Result<Infallible, End> {
        let Running { source, outlet } = self;
        let retry = match resume {
            Resume::Ok(_) => outlet.streams.retry(),
            Resume::Ahead | Resume::OtherHistory => RETRY_ELSEWHERE,
        };
        let bytes_max = outlet.streams.limits.write_bytes_max;
        let cut = Cut { form: Form::Sse, bytes_max, events_max: usize::MAX, shared: true };
        let heartbeat = outlet.streams.limits.heartbeat_seconds();
        let hello = control::hello(resume, source.subscription.reached(), retry, heartbeat);
        outlet.begin(head, &hello, source).await?;
        loop {
            // A reader that takes all it gets at once must not keep the others from their turns.
            consume_budget().await;
            let Source { subscription, pulses } = source;
            match subscription.step(pulses, cut).await {
                Ok(Step::Events(taken)) => {
                    outlet.send(&taken.chunk, source).await?;
                    outlet.line.tally.events += taken.events as u64;
                }
                Ok(Step::CaughtUp(place)) => outlet.send(&control::caught_up(place), source).await?,
                Ok(Step::Checkpoint(place)) => outlet.send(&control::checkpoint(place), source).await?,
                Ok(Step::Heartbeat) => {
                    let heartbeat = outlet.streams.heartbeat.clone();
                    outlet.send(&heartbeat, source).await?;
                }
                Ok(Step::Wait) => wait(outlet, source).await?,
                Ok(Step::Ended(reason)) => return outlet.ended(reason).await,
                Err(error) => {
                    return Err(End::damaged(&error));
                }
            }
        }
    }

    /// Tells the client why the stream ends.
    async fn say_goodbye(&mut self, reason: Bye) {
        let subscription = &mut self.source.subscription;
        if self.outlet.line.is_torn() {
            subscription.confirm();
        }
        let bye = control::bye(reason, subscription.given());
        self.outlet.say_goodbye(reason, &bye).await;
    }
}

/// Waits for the next pulse, or for the client to go away.
async fn wait(outlet: &mut Outlet, source: &mut Source) -> Result<(), End> {
    outlet.streams.passes.handled();
    let streams = Arc::clone(&outlet.streams);
    let _waiting = streams.passes.wait();
    let mut changed = pin!(source.pulses.changed());
    poll_fn(|context| {
        if outlet.line.socket.poll_gone(context) {
            return Poll::Ready(Err(End::Gone));
        }
        changed.as_mut().poll(context).map(|changed| changed.map_err(|_| End::Gone))
    })
    .await
}
