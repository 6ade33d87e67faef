//! The one value that streams wait on: the head, the heartbeat, revocations and the end.
//!
//! One task merges what can happen, so that a waiting stream holds one receiver and no timer. It also decides when a new
//! head is told: at once, unless the streams are still busy with the one before. Whoever does not wait for heads, but for
//! what concerns them, as readers of watches do, waits for a *call*: there is one with each pulse that tells more than a head.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::passes::{Pass, Passes};
use super::ring::Ring;
use super::watches::Watches;
use super::watches::readers::News;
use super::ws::sessions::Sessions;
use super::{Position, Sources};
use crate::settings::StreamLimits;

/// The furthest that wakes are put apart.
const COALESCE_MAX: Duration = Duration::from_millis(50);

/// What streams know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// The published head, or one that was published a moment ago.
    pub head: Position,
    /// Counts heartbeats.
    pub beat: u64,
    /// Changes when a stream's reader may have lost its rights.
    pub revocations: u64,
    /// Why all streams end now.
    pub ending: Option<Ending>,
}

/// Why all streams end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The server is stopping.
    Shutdown,
    /// The log takes no more writes.
    Storage,
}

/// What is kept for those who may come back, and let go at heartbeats once nobody has.
pub(super) struct Kept {
    pub(super) sessions: Arc<Sessions>,
    pub(super) watches: Arc<Watches>,
}

/// What streams wait on.
pub(super) struct Signals {
    pub(super) pulse: watch::Receiver<Pulse>,
    pub(super) calls: watch::Receiver<Call>,
}

/// What told more than a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// Up to where whoever waits for what concerns them was told of that.
    pub(super) all_told: Position,
}

/// Starts the task. It ends when nobody holds a receiver of pulses any more.
pub(super) fn start(sources: &Sources, passes: Arc<Passes>, kept: Kept, limits: &StreamLimits) -> Signals {
    let task = Merge {
        head: sources.log.watch_head(),
        ring: Arc::clone(&sources.ring),
        revocations: sources.revocations.clone(),
        storage_failed: sources.storage_failed.clone(),
        shutdown: sources.shutdown.clone(),
        passes,
        kept,
        pass: None,
        coalesce: limits.coalesce,
        heartbeat: limits.heartbeat,
    };
    let (pulses, pulse) = watch::channel(task.now(0));
    let (called, calls) = watch::channel(Call { all_told: pulse.borrow().head });
    tokio::spawn(task.run(pulses, called));
    Signals { pulse, calls }
}

/// What a turn of the task is told to others as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    /// A new head, and nothing else.
    Head,
    /// Something that everybody must look at.
    More,
}

struct Merge {
    head: watch::Receiver<scrollback_log::Head>,
    ring: Arc<Ring>,
    revocations: watch::Receiver<u64>,
    storage_failed: watch::Receiver<bool>,
    shutdown: watch::Receiver<bool>,
    passes: Arc<Passes>,
    kept: Kept,
    pass: Option<Pass>,
    coalesce: Duration,
    heartbeat: Duration,
}

impl Merge {
    async fn run(mut self, pulses: watch::Sender<Pulse>, calls: watch::Sender<Call>) {
        let mut beats = interval_at(Instant::now() + self.heartbeat, self.heartbeat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beat = 0;
        // A head that is held back, and until when.
        let mut held: Option<Instant> = None;
        loop {
            let told = tokio::select! {
                biased;
                () = pulses.closed() => return,
                () = changed(&mut self.shutdown) => Told::More,
                () = changed(&mut self.storage_failed) => Told::More,
                () = changed(&mut self.revocations) => Told::More,
                () = until(held) => Told::Head,
                _ = beats.tick() => {
                    beat += 1;
                    self.kept.sessions.sweep();
                    self.kept.watches.sweep();
                    Told::More
                }
                () = changed(&mut self.head), if held.is_none() => {
                    held = self.next();
                    if held.is_none() { Told::Head } else { Told::Nothing }
                }
            };
            if told == Told::Nothing {
                continue;
            }
            held = None;
            self.pass = Some(self.passes.begin());
            let pulse = self.now(beat);
            let before = pulses.send_replace(pulse).head.offset;
            // Behind the pulse: whoever is woken finds it.
            if pulse.head.offset > before {
                self.kept.watches.readers.tell(|| News::between(&self.ring, before, pulse.head.offset));
            }
            if told == Told::More {
                calls.send_replace(Call { all_told: pulse.head });
            }
        }
    }

    /// Until when a head that came now must wait; none if it need not.
    fn next(&self) -> Option<Instant> {
        let pass = self.pass?;
        let next = Instant::from_std(pass.next(self.passes.length(pass), self.coalesce, COALESCE_MAX));
        (next > Instant::now()).then_some(next)
    }

    fn now(&self, beat: u64) -> Pulse {
        let ending = if *self.storage_failed.borrow() {
            Some(Ending::Storage)
        } else {
            self.shutdown.borrow().then_some(Ending::Shutdown)
        };
        Pulse {
            head: Position::from(*self.head.borrow()),
            beat,
            revocations: *self.revocations.borrow(),
            ending,
        }
    }
}

/// Waits for a change; for ever when there cannot be one any more.
async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending().await
    }
}

async fn until(held: Option<Instant>) {
    match held {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
