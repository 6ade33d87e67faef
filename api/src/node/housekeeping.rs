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
use crate::figures::figures;

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
        if let Some(thread) =
            self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id())
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
            figures().upkeep();
            node.past.drop_idle();
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
        if records == 0 {
            return;
        }
        let before = self.scrub.checked();
        match self.scrub.step(&node.log, records) {
            Ok(good) => figures().scrub_records.increment(good),
            Err(error) => {
                tracing::error!(%error, "the scrub has found damage; run `scrollback verify`");
                figures().scrub_damage.increment(1);
            }
        }
        let checked = self.scrub.checked();
        node.scrubbed.store(checked.0, Ordering::Relaxed);
        if checked != before && checked >= node.log.head().offset {
            figures().scrub_rounds.increment(1);
        }
    }

    fn expire(&mut self, node: &Node) {
        let lifetimes = &node.settings.lifetimes;
        let now = node.clock.now();
        if let Some(jump) =
            self.clock.look(now, self.started.elapsed()).filter(|_| !lifetimes.clock_confirmed)
        {
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

#[cfg(test)]
mod tests {
    use scrollback_log::Offset;
    use scrollback_projections::facts::Role;

    use super::*;
    use crate::node::testing::{NOW, open_with, settings};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn turn(jobs: &mut Jobs, node: &Node) {
        for due in [&mut jobs.look, &mut jobs.expiry, &mut jobs.vault] {
            due.at = Instant::now();
        }
        jobs.turn(node);
    }

    fn jobs(node: &Node) -> Jobs {
        Jobs::new(node, Arc::default())
    }

    #[test]
    fn a_checkpoint_is_taken_after_so_many_records_or_so_much_time() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(dir.path());
        settings.storage.checkpoint_every_records = 5;
        let (node, _) = open_with(settings);
        let mut jobs = jobs(&node);
        let owner = node.user("owner", Role::Owner);
        let channel = node.channel(owner, "general");
        node.say(channel, owner, "one");
        turn(&mut jobs, &node);
        assert_eq!(node.checkpointed(), Offset::BEGINNING);
        node.say(channel, owner, "two");
        turn(&mut jobs, &node);
        assert_eq!(node.checkpointed(), Offset(5));
        node.say(channel, owner, "three");
        turn(&mut jobs, &node);
        assert_eq!(node.checkpointed(), Offset(5));
        jobs.checkpoint_taken = Instant::now().checked_sub(node.settings.storage.checkpoint_every).unwrap();
        turn(&mut jobs, &node);
        assert_eq!(node.checkpointed(), Offset(6));
    }

    #[test]
    fn nothing_expires_after_a_clock_jump_until_the_clock_is_confirmed() {
        let dir = tempfile::tempdir().unwrap();
        let messages = |node: &Node| node.read_views().messages().len();
        let (node, clock) = open_with(settings(dir.path()));
        let owner = node.user("owner", Role::Owner);
        let channel = node.channel(owner, "general");
        node.say(channel, owner, "said");
        let mut running = jobs(&node);
        turn(&mut running, &node);
        assert_eq!(node.expiry_pauses(), None);
        clock.set(NOW.after(100 * DAY));
        turn(&mut running, &node);
        turn(&mut running, &node);
        assert!(node.expiry_pauses().is_some());
        assert_eq!(messages(&node), 1);
        node.close().unwrap();
        drop(node);

        let mut confirmed = settings(dir.path());
        confirmed.lifetimes.clock_confirmed = true;
        for (settings, left) in [(settings(dir.path()), 1), (confirmed, 0)] {
            let (node, clock) = open_with(settings);
            clock.set(NOW.after(100 * DAY));
            turn(&mut jobs(&node), &node);
            assert_eq!(messages(&node), left);
            assert_eq!(node.expiry_pauses().is_some(), left == 1);
        }
    }

    #[test]
    fn the_thread_ends_with_the_node() {
        let dir = tempfile::tempdir().unwrap();
        for closed in [true, false] {
            let (node, _) = open_with(settings(dir.path()));
            let node = Arc::new(node);
            node.start_housekeeping().unwrap();
            if closed {
                node.close().unwrap();
            }
            // The directory can only be opened again once nobody holds it, the thread included.
            drop(node);
        }
        open_with(settings(dir.path()));
    }
}
