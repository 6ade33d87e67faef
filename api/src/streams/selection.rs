//! What a reader gets of all events: what it asked for, of what it may see.
//!
//! Readers that ask for the same and may see the same share one selection, and with it the chunks that are made for it:
//! so a thousand readers of a hundred kinds cost a hundred copies of an event and not a thousand.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::filter::Filters;
use super::frame::Frame;
use super::sight::Sight;

/// After how many selections were added those are let go that nobody has any more.
const SWEEP_EVERY: usize = 256;

/// What some readers get.
#[derive(Debug)]
pub struct Selection {
    /// No two selections of a process have the same.
    number: u64,
    what: What,
}

/// What a selection chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct What {
    pub(super) filters: Filters,
    pub(super) sight: Sight,
}

/// The selections of all readers.
#[derive(Debug, Default)]
pub(super) struct Selections {
    known: Mutex<HashMap<What, Weak<Selection>>>,
}

impl Selection {
    fn new(what: What) -> Selection {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        Selection { number: NUMBERS.fetch_add(1, Ordering::Relaxed), what }
    }

    /// A selection of all there is.
    #[must_use]
    pub fn everything() -> Selection {
        Selection::new(What::default())
    }

    /// A selection by filters alone, for a reader that may see everything.
    #[must_use]
    pub fn of(filters: Filters) -> Selection {
        Selection::new(What { filters, sight: Sight::Everything })
    }

    /// What tells it from others.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether the reader gets the event with this frame.
    #[must_use]
    pub fn wants(&self, frame: &Frame) -> bool {
        let What { filters, sight } = &self.what;
        filters.matches(&frame.facets) && sight.shows(frame)
    }
}

impl Selections {
    /// The one selection of this.
    pub(super) fn get(&self, what: &What) -> Arc<Selection> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(selection) = known.get(what).and_then(Weak::upgrade) {
            return selection;
        }
        let selection = Arc::new(Selection::new(what.clone()));
        known.insert(what.clone(), Arc::downgrade(&selection));
        if known.len().is_multiple_of(SWEEP_EVERY) {
            known.retain(|_, selection| selection.strong_count() > 0);
        }
        selection
    }
}
