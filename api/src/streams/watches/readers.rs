//! Whoever reads a watch now, and whom a change concerns.
//!
//! A thousand readers that each look at their channels at every write would cost more than the polls that they save. So they do
//! not wait for the head: whoever publishes one says which channels changed, each watch is asked whether one of them is its own,
//! which is a look-up in its set, and only those that say yes are woken.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use scrollback_log::Offset;

use super::watch::Watch;
use crate::streams::ring::Ring;

/// From so many changed channels on all readers are woken, rather than asked for each.
const CHANNELS_MAX: usize = 64;

/// All readers. One is there from before its first look at the views on: what is published later is told to it.
#[derive(Debug, Default)]
pub(in crate::streams) struct Readers {
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    by_number: HashMap<u64, Arc<Watch>>,
    next: u64,
}

/// A reader's place among them, until it is dropped.
#[derive(Debug)]
pub(super) struct Entered {
    readers: Arc<Readers>,
    number: u64,
}

/// What a new head has brought.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::streams) enum News {
    /// Changes of these channels and of nothing else.
    Of(Vec<Offset>),
    /// Perhaps changes of anything, or of who may see what.
    Any,
}

impl News {
    /// What the records behind `before`, up to `head`, have brought, as far as the ring tells.
    pub(in crate::streams) fn between(ring: &Ring, before: Offset, head: Offset) -> News {
        // Rights that change later than that have a head of their own.
        if ring.rights_at() > before {
            return News::Any;
        }
        ring.channels_between(before, head, CHANNELS_MAX).map_or(News::Any, News::Of)
    }
}

impl Readers {
    /// Takes a reader of `watch` in.
    pub(super) fn enter(self: &Arc<Self>, watch: &Arc<Watch>) -> Entered {
        let mut all = self.lock();
        let number = all.next;
        all.next += 1;
        all.by_number.insert(number, Arc::clone(watch));
        Entered { readers: Arc::clone(self), number }
    }

    /// Wakes those whom it concerns. The head that has brought it must be published.
    pub(in crate::streams) fn tell(&self, news: &News) {
        for watch in self.lock().by_number.values() {
            match news {
                News::Of(channels) if !watch.may_have_any(channels) => {}
                News::Of(_) => watch.tell_of_news(),
                News::Any => watch.touch(),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.readers.lock().by_number.remove(&self.number);
    }
}
