//! What a server does by itself, on one thread: checkpoints, expiry, the scrub, the vault's upkeep.
//!
//! Nothing here is needed for a promise to hold; a failure is logged, and the next turn tries again.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use scrollback_log::SubmitError;
use scrollback_log::scrub::Scrub;

use super::Node;
use crate::expiry::{self, ClockWatch, ExpiryError};

/// How often the thread looks whether a checkpoint is due, and how often a part of the log is scrubbed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the vault is kept up.
const VAULT_EVERY: Duration = Duration::from_secs(60);
/// No job runs more often than this, whatever is set.
const EVERY_MIN: Duration = Duration::from_millis(10);

/// The running thread. Dropping this ends it and waits for that.
pub(super) struct Housekeeping {
    stopping: Arc<AtomicBool>,
    wake: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Housekeeping {
    /// Starts the thread. It holds the node only while it does something.
    pub(super) fn start(node: &Arc<Node>) -> io::Result<Housekeeping> {
        let (wake, woken) = channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let mut jobs = Jobs::new(node, Arc::clone(&stopping));
        let node = Arc::downgrade(node);
        let thread =
            std::thread::Builder::new().name("housekeeping".into()).spawn(move || jobs.run(&node, &woken))?;
        Ok(Housekeeping { stopping, wake: Some(wake), thread: Some(thread) })
    }
}

impl Drop for Housekeeping {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        drop(self.wake.take());
        // The thread itself drops this when it happens to hold the last handle of the node.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id())
            && thread.join().is_err()
        {
            tracing::error!("the housekeeping has panicked");
        }
    }
}

/// When a job is due.
struct Due {
    at: Instant,
    every: Duration,
}

impl Due {
    fn now_and_every(every: Duration) -> Due {
        Due { at: Instant::now(), every: every.max(EVERY_MIN) }
    }

    fn is_now(&mut self) -> bool {
        let now = Instant::now();
        let due = now >= self.at;
        if due {
            self.at = now + self.every;
        }
        due
    }
}

struct Jobs {
    stopping: Arc<AtomicBool>,
    started: Instant,
    clock: ClockWatch,
    scrub: Scrub,
    checkpoint_taken: Instant,
    look: Due,
    expiry: Due,
    vault: Due,
}

impl Jobs {
    fn new(node: &Node, stopping: Arc<AtomicBool>) -> Jobs {
        Jobs {
            stopping,
            started: Instant::now(),
            clock: ClockWatch::start(node.clock.now(), Duration::ZERO, node.read_views().time()),
            scrub: Scrub::default(),
            checkpoint_taken: Instant::now(),
            look: Due::now_and_every(LOOK_EVERY),
            expiry: Due::now_and_every(node.settings.lifetimes.expiry_every),
            vault: Due::now_and_every(VAULT_EVERY),
        }
    }

    fn run(&mut self, node: &Weak<Node>, woken: &Receiver<()>) {
        loop {
            let next = self.look.at.min(self.expiry.at).min(self.vault.at);
            match woken.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
            let Some(node) = node.upgrade() else { return };
            if *node.writer.failed().borrow() {
                return;
            }
            self.turn(&node);
        }
    }

    fn turn(&mut self, node: &Node) {
        if self.look.is_now() {
            self.take_checkpoint(node);
            self.scrub(node);
        }
        if self.expiry.is_now() {
            self.expire(node);
        }
        if self.vault.is_now()
            && let Err(error) = node.vault.maintain(node.clock.now())
        {
            tracing::warn!(%error, "the vault could not be kept up");
        }
    }

    fn take_checkpoint(&mut self, node: &Node) {
        let storage = &node.settings.storage;
        let records = node.log.head().offset.0.saturating_sub(node.checkpointed().0);
        let due = records >= storage.checkpoint_every_records
            || records > 0 && self.checkpoint_taken.elapsed() >= storage.checkpoint_every;
        if due {
            // Counted also when it fails, so that a full disk is not filled with tries.
            self.checkpoint_taken = Instant::now();
            if let Err(error) = node.checkpoint() {
                tracing::warn!(%error, "no checkpoint was taken");
            }
        }
    }

    fn scrub(&mut self, node: &Node) {
        let records = node.settings.storage.scrub_records_per_second;
        if records > 0
            && let Err(error) = self.scrub.step(&node.log, records)
        {
            tracing::error!(%error, "the scrub has found damage; run `scrollback verify`");
            metrics::counter!("scrollback_scrub_damage_total").increment(1);
        }
    }

    fn expire(&mut self, node: &Node) {
        let lifetimes = &node.settings.lifetimes;
        let now = node.clock.now();
        if let Some(jump) = self.clock.look(now, self.started.elapsed()).filter(|_| !lifetimes.clock_confirmed) {
            if node.clock_jump.set(jump).is_ok() {
                tracing::warn!(
                    %jump,
                    "expiry pauses; when the clock is right, start the server once with --confirm-clock"
                );
            }
            return;
        }
        match expiry::expire(node, lifetimes, now, &|| !self.stopping.load(Ordering::Relaxed)) {
            Ok(expired) if expired == expiry::Expired::default() => {}
            Ok(expired) => tracing::info!(expired.messages, expired.channels, "expired"),
            Err(ExpiryError::NotWritten(SubmitError::DiskFull)) => {
                tracing::debug!("nothing expires while the disk is full");
            }
            Err(error) => tracing::warn!(%error, "expiry stopped; the next turn goes on"),
        }
    }
}
