//! The machine in the writer loop: decides commands, and makes durable records part of what readers see.

use std::sync::{Arc, PoisonError, RwLock};

use scrollback_log::{Decision, Log, Machine, Record, Stamp};
use scrollback_projections::Views;

use super::overlay::{Overlay, State};
use super::{Answer, Command, decide};
use crate::streams::ring::Ring;

/// Decides commands against the published views and applies records to the views, the log's masks and the ring.
///
/// The views' write lock is taken by this alone, once per batch.
pub struct ChatMachine {
    log: Arc<Log>,
    views: Arc<RwLock<Views>>,
    ring: Option<Arc<Ring>>,
    overlay: Overlay,
}

impl ChatMachine {
    /// A machine on views that stand at the log's head. Without a ring no frames are encoded: nobody streams then.
    #[must_use]
    pub fn new(log: Arc<Log>, views: Arc<RwLock<Views>>, ring: Option<Arc<Ring>>) -> ChatMachine {
        ChatMachine { log, views, ring, overlay: Overlay::default() }
    }
}

/// Ends the writer: going on would show readers something else than the log says.
fn broken(record: &Record<'_>, error: &dyn std::error::Error) -> ! {
    tracing::error!(%error, offset = record.offset.0, "a durable record does not fit the views; the writer ends");
    panic!("the durable record {} does not fit the views: {error}", record.offset);
}

impl Machine for ChatMachine {
    type Command = Command;
    type Answer = Answer;

    fn decide(&mut self, command: &Command, stamp: Stamp) -> Decision<Answer> {
        let views = self.views.read().unwrap_or_else(PoisonError::into_inner);
        decide::decide(&mut State { views: &views, overlay: &mut self.overlay }, command, stamp)
    }

    /// # Panics
    /// When a record contradicts the views: the decision that made it was wrong, or the views are. The lock is then
    /// poisoned, the writer ends, and the log, which holds the record, must be looked at.
    fn apply(&mut self, batch: &[Record<'_>]) {
        let mut named = Vec::new();
        let mut views = self.views.write().unwrap_or_else(PoisonError::into_inner);
        for record in batch {
            match views.apply(record) {
                Ok(deleted) => named.extend(deleted),
                Err(error) => broken(record, &error),
            }
        }
        // Masked while nobody can read the views: who sees a message there and then finds its text gone knows why.
        for deleted in &named {
            self.log.mask(deleted.deletion, deleted.targets.clone());
        }
        drop(views);
        self.overlay = Overlay::default();
        if let Some(ring) = &self.ring {
            // Nobody else writes, so these are the views of this batch; readers need not wait for the encoding.
            let views = self.views.read().unwrap_or_else(PoisonError::into_inner);
            if let (Err(error), Some(first)) = (ring.append(batch, &views), batch.first()) {
                broken(first, &error);
            }
            drop(views);
            for deleted in &named {
                ring.redact(&deleted.targets, deleted.deletion);
            }
        }
    }

    fn discard(&mut self) {
        self.overlay = Overlay::default();
    }
}
