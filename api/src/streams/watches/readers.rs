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
    by_number: HashMap<u64, Listed>,
    next: u64,
}

/// A reader's watch, and a hint of its channels that lies beside: the watches themselves are all over the memory.
#[derive(Debug)]
struct Listed {
    hint: Hint,
    watch: Arc<Watch>,
}

/// A few bits of each of some channels' numbers: whatever is not in it is none of them.
#[derive(Clone, Copy, Debug, Default)]
struct Hint([u64; Hint::WORDS]);

impl Hint {
    const WORDS: usize = 8;

    /// Numbers of channels lie close together, so they are spread first.
    fn place(channel: Offset) -> (usize, u64) {
        let spread = channel.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55;
        (spread as usize % Self::WORDS, 1 << (spread as usize / Self::WORDS))
    }

    fn of(channels: impl Iterator<Item = Offset>) -> Hint {
        let mut hint = Hint::default();
        for (word, bit) in channels.map(Self::place) {
            hint.0[word] |= bit;
        }
        hint
    }

    fn may_have(&self, channel: Offset) -> bool {
        let (word, bit) = Self::place(channel);
        self.0[word] & bit != 0
    }
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
        // As the watch is set now: once it is set anew this reader is over, and told so.
        let hint = watch.with_channels(|channels| Hint::of(channels));
        let mut all = self.lock();
        let number = all.next;
        all.next += 1;
        all.by_number.insert(number, Listed { hint, watch: Arc::clone(watch) });
        Entered { readers: Arc::clone(self), number }
    }

    /// Wakes those whom it concerns; what it is, is only asked if somebody is there. The head that has brought it must be
    /// published.
    pub(in crate::streams) fn tell(&self, news: impl FnOnce() -> News) {
        let all = self.lock();
        if all.by_number.is_empty() {
            return;
        }
        let news = news();
        for Listed { hint, watch } in all.by_number.values() {
            match &news {
                News::Any => watch.touch(),
                News::Of(channels) => {
                    let may = channels.iter().any(|channel| hint.may_have(*channel));
                    if may && watch.may_have_any(channels) {
                        watch.tell_of_news();
                    }
                }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_hint_has_whatever_it_was_made_of(channels in proptest::collection::vec(1_u64..100_000, 0..200)) {
            let hint = Hint::of(channels.iter().map(|channel| Offset(*channel)));
            prop_assert!(channels.iter().all(|channel| hint.may_have(Offset(*channel))));
        }
    }

    #[test]
    fn of_few_channels_a_hint_leaves_most_others_out() {
        for first in [1, 1_000, 77_777] {
            let hint = Hint::of((first..first + 50).map(Offset));
            let others = (200_000..201_000).filter(|channel| hint.may_have(Offset(*channel))).count();
            assert!(others < 250, "{others} of 1,000");
        }
    }
}
