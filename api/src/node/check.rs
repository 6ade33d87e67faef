//! Whether the running views are what the log adds up to, looked at while the server runs.
//!
//! A thread of low priority folds the log from its first record into views of its own, up to where the running ones
//! stand, and compares the two. Exactly: the last records are folded while the running views are held still, which they
//! are for no longer than a checkpoint takes. It costs as much memory as one more set of views, and there is one at a
//! time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;

use scrollback_log::{Offset, Timestamp};
use scrollback_projections::{OpenViewsError, Part, Views, fold_on};

use super::{Node, PUBLISHED_WAIT};
use crate::background::step_back;
use crate::figures::{self, figures};

/// How many records are folded before it is looked whether the server stops.
const BLOCK_RECORDS: u64 = 8_192;
/// How many records may be folded while the running views are held still.
const HELD_RECORDS_MAX: u64 = 512;

/// How a check stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CheckState {
    /// There was none since the start.
    #[default]
    None,
    /// It is under way.
    Running {
        /// The newest record that is folded.
        at: Offset,
        /// The log's head when that was looked at.
        head: Offset,
        /// When it began.
        since: Timestamp,
    },
    /// It has ended.
    Ended(CheckReport),
}

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// The verdict.
    pub verdict: Verdict,
    /// Where both views stood; without a comparison, the last record that was folded.
    pub at: Offset,
    /// When it began.
    pub since: Timestamp,
    /// When it ended.
    pub until: Timestamp,
}

/// Whether the running views are what the log adds up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are.
    Equal {
        /// Of their canonical form.
        digest: [u8; 32],
    },
    /// They are not: these parts differ.
    Different {
        /// In their order, at least one.
        parts: Vec<Part>,
    },
    /// The log cannot be folded: what was found.
    Damaged(String),
    /// It was not brought to an end: why.
    Failed(String),
}

/// The check of a node.
#[derive(Default)]
pub(super) struct Check {
    state: Mutex<CheckState>,
    stopping: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Check {
    fn state(&self) -> MutexGuard<'_, CheckState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a check that is under way, and waits for that.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id())
            && thread.join().is_err()
        {
            tracing::error!("the check of the views has panicked");
        }
    }
}

impl Node {
    /// How the newest check stands.
    #[must_use]
    pub fn check(&self) -> CheckState {
        self.check.state().clone()
    }

    /// Starts a check, unless one is under way, and gives how it stands.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn start_check(self: &Arc<Self>) -> std::io::Result<CheckState> {
        let mut state = self.check.state();
        if let running @ CheckState::Running { .. } = &*state {
            return Ok(running.clone());
        }
        let since = self.clock.now();
        let running = CheckState::Running { at: Offset::BEGINNING, head: self.log.head().offset, since };
        let (node, stopping) = (Arc::downgrade(self), Arc::clone(&self.check.stopping));
        let thread = std::thread::Builder::new().name("check".into()).spawn(move || {
            step_back("the check of the views");
            run(&node, since, &stopping);
        })?;
        // The one before has ended: it has said so.
        *self.check.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        *state = running.clone();
        Ok(running)
    }
}

/// Checks to the end and says so, unless the node goes away meanwhile.
fn run(node: &Weak<Node>, since: Timestamp, stopping: &AtomicBool) {
    let Some(mut views) = node.upgrade().map(|node| Views::new(node.read_views().settings())) else { return };
    let verdict = loop {
        // Held for one block only, so that the node can be closed.
        let Some(node) = node.upgrade() else { return };
        if stopping.load(Ordering::Relaxed) {
            break Verdict::Failed("the server stopped before it was done".into());
        }
        match step(&node, &mut views, since) {
            Ok(None) => {}
            Ok(Some(verdict)) => break verdict,
            Err(error) => break Verdict::Damaged(error.to_string()),
        }
    };
    let Some(node) = node.upgrade() else { return };
    let at = views.at().0;
    let counted = match &verdict {
        Verdict::Equal { .. } => {
            tracing::info!(at, "the running views are what the log adds up to");
            figures::Verdict::Equal
        }
        Verdict::Different { parts } => {
            let parts: Vec<&str> = parts.iter().map(|part| part.name()).collect();
            tracing::error!(
                at,
                ?parts,
                "the running views are not what the log adds up to; stop the server and run `scrollback replay`"
            );
            figures::Verdict::Different
        }
        Verdict::Damaged(what) => {
            tracing::error!(at, what, "the log cannot be folded; run `scrollback verify`");
            figures::Verdict::Damaged
        }
        Verdict::Failed(why) => {
            tracing::info!(at, why, "the check of the views has come to no verdict");
            figures::Verdict::Failed
        }
    };
    figures().checked(counted);
    let report = CheckReport { verdict, at: views.at(), since, until: node.clock.now() };
    *node.check.state() = CheckState::Ended(report);
}

/// Folds a block or, near the head, compares.
fn step(node: &Node, views: &mut Views, since: Timestamp) -> Result<Option<Verdict>, OpenViewsError> {
    let head = node.log.head().offset;
    *node.check.state() = CheckState::Running { at: views.at(), head, since };
    if head.0 - views.at().0 > HELD_RECORDS_MAX {
        fold_on(&node.log, views, views.at().plus(BLOCK_RECORDS).min(head))?;
        return Ok(None);
    }
    let running = node.read_views();
    let to = running.at();
    if to > node.log.head().offset {
        // A batch was applied whose head is about to be published, which takes the writer a moment.
        drop(running);
        std::thread::sleep(PUBLISHED_WAIT);
        return Ok(None);
    }
    if to.0 - views.at().0 > HELD_RECORDS_MAX {
        return Ok(None);
    }
    fold_on(&node.log, views, to)?;
    let found = running.part_digests();
    drop(running);
    let parts: Vec<Part> = views
        .part_digests()
        .into_iter()
        .zip(found)
        .filter(|(recomputed, running)| recomputed != running)
        .map(|((part, _), _)| part)
        .collect();
    if parts.is_empty() {
        return Ok(Some(Verdict::Equal { digest: views.digest() }));
    }
    Ok(Some(Verdict::Different { parts }))
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use scrollback_log::Record;
    use scrollback_projections::facts::{self, MessageSent, Role};

    use super::*;
    use crate::commands::Command;
    use crate::node::testing::open;

    fn checked(node: &Arc<Node>) -> CheckReport {
        node.start_check().unwrap();
        node.check.thread.lock().unwrap().take().unwrap().join().unwrap();
        let CheckState::Ended(report) = node.check() else { panic!("it has ended") };
        report
    }

    fn busy(data: &std::path::Path) -> (Arc<Node>, Offset, Offset) {
        let node = Arc::new(open(data).0);
        let owner = node.user("owner", Role::Owner);
        let channel = node.channel(owner, "general");
        for n in 0..30 {
            node.say(channel, owner, &format!("number {n}"));
        }
        (node, owner, channel)
    }

    #[test]
    fn running_views_that_writes_change_meanwhile_are_equal_to_what_the_log_adds_up_to() {
        let dir = tempfile::tempdir().unwrap();
        let (node, owner, channel) = busy(dir.path());
        assert_eq!(node.check(), CheckState::None);
        let writing = AtomicBool::new(true);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Bounded, so that a failure is told and not waited for.
                for _ in 0..10_000 {
                    if !writing.load(Ordering::Relaxed) {
                        break;
                    }
                    let other = node.channel(owner, "for a moment");
                    node.say(other, owner, "said");
                    node.say(channel, owner, "said");
                    node.done(Command::DeleteChannel { channel: other, by: owner });
                }
            });
            let mut before = Offset::BEGINNING;
            for _ in 0..5 {
                let report = checked(&node);
                assert!(matches!(report.verdict, Verdict::Equal { .. }), "{report:?}");
                assert!(report.at >= before && report.at <= node.log.head().offset);
                before = report.at;
            }
            writing.store(false, Ordering::Relaxed);
        });
        let report = checked(&node);
        assert_eq!(report.at, node.log.head().offset);
        assert_eq!(report.verdict, Verdict::Equal { digest: node.read_views().digest() });
    }

    /// The views of the log as if the message at `changed` were one of the channel `elsewhere`: what a broken fold could give.
    fn tampered(node: &Node, elsewhere: Offset, changed: Offset) -> Views {
        let mut views = Views::new(node.read_views().settings());
        let sender = node.read_views().people().iter().next().unwrap().0;
        let other = facts::record(&MessageSent { channel: elsewhere, sender, key: None }).unwrap();
        node.log
            .scan(Offset::FIRST, node.log.head().offset, &mut |record| {
                let kept = if record.offset == changed { &other.kept } else { record.kept };
                views.apply(&Record { kept, ..record }).unwrap();
                ControlFlow::Continue(())
            })
            .unwrap();
        views
    }

    #[test]
    fn running_views_that_are_not_what_the_log_adds_up_to_are_found_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let (node, owner, _) = busy(dir.path());
        let elsewhere = node.channel(owner, "elsewhere");
        let changed = node.say(node.channel_by_name("general").unwrap(), owner, "said");
        let good = node.read_views().clone();
        *node.views.write().unwrap() = tampered(&node, elsewhere, changed);
        let report = checked(&node);
        assert_eq!(report.verdict, Verdict::Different { parts: vec![Part::Channels, Part::Messages] });
        assert_eq!(report.at, node.log.head().offset);
        *node.views.write().unwrap() = good;
        assert!(matches!(checked(&node).verdict, Verdict::Equal { .. }));
    }

    #[test]
    fn there_is_one_check_at_a_time_and_it_ends_with_the_node() {
        let dir = tempfile::tempdir().unwrap();
        let (node, owner, channel) = busy(dir.path());
        for n in 0..2_000 {
            let said = Command::SendMessage { channel, sender: owner, body: n.to_string(), key: None };
            drop(node.writer.submit(said));
        }
        node.say(channel, owner, "the last one");
        // It cannot get beyond its first step while the state is held.
        let held = node.views.write().unwrap();
        let first = node.start_check().unwrap();
        let thread = |node: &Node| node.check.thread.lock().unwrap().as_ref().unwrap().thread().id();
        let of_the_first = thread(&node);
        assert_eq!(node.start_check().unwrap(), first);
        assert_eq!(thread(&node), of_the_first);
        assert!(matches!(first, CheckState::Running { .. }));
        drop(held);
        node.check.stopping.store(true, Ordering::Relaxed);
        node.close().unwrap();
        assert!(matches!(node.check(), CheckState::Ended(_)));
    }
}
