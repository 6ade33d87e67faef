//! The views as they were at earlier offsets, for readers that look back.
//!
//! Views hold the present only, so the past is folded from the log. That is bounded: one fold at a time, for as long as it
//! may take, and what it came to is kept, so that whoever asks again goes on from there. The few states that are kept never
//! change, so there is nothing to invalidate; but they may hold names of channels that were deleted since, so names are never
//! taken from them. They go once nobody has asked for them for a while.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use scrollback_log::{Log, Offset};
use scrollback_projections::{OpenViewsError, ViewSettings, Views, fold_on};
use tokio::sync::Semaphore;

/// How many states are kept; each costs as much memory as the running views less the idempotency keys.
const KEPT_MAX: usize = 4;
/// How long a state is kept that nobody asks for.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// How many records are folded between two looks at the clock.
const BLOCK_RECORDS: u64 = 8_192;

/// The past states of a log.
#[derive(Debug)]
pub(crate) struct Past {
    kept: Mutex<Vec<Kept>>,
    /// Held by whoever folds.
    folding: Arc<Semaphore>,
    block_records: u64,
}

#[derive(Debug)]
struct Kept {
    views: Arc<Views>,
    used: Instant,
    /// A fold that ran out of time: nobody has asked for this state itself.
    unfinished: bool,
}

/// A past state cannot be had now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PastError {
    /// The time was not enough; the next call goes on from here.
    #[error("the past is folded up to record {at}")]
    Unfinished { at: Offset },
    /// The log cannot be folded.
    #[error(transparent)]
    Fold(#[from] OpenViewsError),
}

impl Default for Past {
    fn default() -> Past {
        Past { kept: Mutex::default(), folding: Arc::new(Semaphore::new(1)), block_records: BLOCK_RECORDS }
    }
}

impl Past {
    /// The right to fold, of which there is one.
    pub(crate) fn folding(&self) -> Arc<Semaphore> {
        Arc::clone(&self.folding)
    }

    /// The state at `offset`, if it is kept.
    pub(crate) fn kept(&self, offset: Offset) -> Option<Arc<Views>> {
        let mut kept = self.lock();
        let found = kept.iter_mut().find(|kept| kept.views.at() == offset)?;
        (found.used, found.unfinished) = (Instant::now(), false);
        Some(Arc::clone(&found.views))
    }

    /// The state at `offset`, which lies at or below the published head: folded on from the nearest kept one before it. It is
    /// given up after the block of records during which `deadline` passes. For whoever holds the right to fold.
    pub(crate) fn fold(&self, log: &Log, offset: Offset, deadline: Instant) -> Result<Arc<Views>, PastError> {
        if let Some(views) = self.kept(offset) {
            return Ok(views);
        }
        let mut views = self.start(offset);
        loop {
            let to = views.at().plus(self.block_records).min(offset);
            let folded = fold_on(log, &mut views, to);
            let at = views.at();
            if folded.is_err() || at == offset || Instant::now() >= deadline {
                let views = self.keep(views, at != offset);
                folded?;
                return if at == offset { Ok(views) } else { Err(PastError::Unfinished { at }) };
            }
        }
    }

    /// Lets go of what nobody has asked for in a while.
    pub(crate) fn drop_idle(&self) {
        self.lock().retain(|kept| kept.used.elapsed() < KEPT_FOR);
    }

    /// How many states are kept.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a fold up to `offset` starts from.
    fn start(&self, offset: Offset) -> Views {
        // Without keys, which no reader sees and which are the largest thing in the views.
        let empty = || Views::new(ViewSettings { key_retention: Duration::ZERO });
        let mut kept = self.lock();
        let before = (0..kept.len()).filter(|index| kept[*index].views.at() <= offset);
        let Some(nearest) = before.max_by_key(|index| kept[*index].views.at()) else { return empty() };
        if kept[nearest].unfinished {
            return Arc::unwrap_or_clone(kept.swap_remove(nearest).views);
        }
        let nearest = Arc::clone(&kept[nearest].views);
        drop(kept);
        Views::clone(&nearest)
    }

    fn keep(&self, views: Views, unfinished: bool) -> Arc<Views> {
        let views = Arc::new(views);
        let mut kept = self.lock();
        if kept.len() >= KEPT_MAX
            && let Some(oldest) = (0..kept.len()).min_by_key(|index| kept[*index].used)
        {
            kept.swap_remove(oldest);
        }
        kept.push(Kept { views: Arc::clone(&views), used: Instant::now(), unfinished });
        views
    }
}

#[cfg(test)]
mod tests {
    use scrollback_projections::facts::Role;

    use super::*;
    use crate::node::Node;
    use crate::node::testing::open;

    fn long_ago() -> Instant {
        Instant::now()
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    fn node(data: &std::path::Path) -> Node {
        let (node, _) = open(data);
        let owner = node.user("owner", Role::Owner);
        let channel = node.channel(owner, "general");
        for n in 0..17 {
            node.say(channel, owner, &n.to_string());
        }
        node
    }

    #[test]
    fn a_fold_that_runs_out_of_time_goes_on_where_it_was_and_comes_to_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let node = node(dir.path());
        let past = Past { block_records: 5, ..Past::default() };
        let mut ats = Vec::new();
        let views = loop {
            match past.fold(&node.log, Offset(18), long_ago()) {
                Ok(views) => break views,
                Err(PastError::Unfinished { at }) => ats.push(at.0),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(ats, [5, 10, 15]);
        assert_eq!(past.len(), 1, "only where it came to is kept");
        let whole = Past::default().fold(&node.log, Offset(18), later()).unwrap();
        assert_eq!(views.digest(), whole.digest());
        assert_eq!((views.at(), views.messages().len()), (Offset(18), 15));
        assert!(views.keys().is_empty());
    }

    #[test]
    fn the_few_that_were_asked_for_last_are_kept_and_later_ones_are_folded_on_from_earlier_ones() {
        let dir = tempfile::tempdir().unwrap();
        let node = node(dir.path());
        let past = Past::default();
        for at in [3, 9, 7, 12, 15, 20] {
            let views = past.fold(&node.log, Offset(at), later()).unwrap();
            assert_eq!((views.at().0, views.messages().len()), (at, at - 3));
        }
        let kept = |at| past.lock().iter().any(|kept| kept.views.at() == Offset(at));
        assert_eq!([3, 9, 7, 12, 15, 20].map(kept), [false, false, true, true, true, true]);
        past.drop_idle();
        assert_eq!(past.len(), KEPT_MAX);
        past.lock()[0].used = Instant::now().checked_sub(KEPT_FOR).unwrap();
        past.drop_idle();
        assert_eq!(past.len(), KEPT_MAX - 1);
    }
}
