//! How far lists that found nothing have looked.
//!
//! A client that polls says what it has seen last of what it wants. If that is seldom, the same long way behind it would be
//! looked through at every poll.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use scrollback_log::Offset;

use crate::streams::selection::Selection;

/// How many lists are remembered: those that looked last.
const LISTS_MAX: usize = 64;

/// What was looked for, and up to where there is nothing of it. Equal wishes of readers with equal rights are one selection.
#[derive(Debug, Default)]
pub(in crate::streams) struct Looked(Mutex<VecDeque<(Arc<Selection>, Offset)>>);

impl Looked {
    /// Up to where there is nothing that the selection wants, as far as that is known.
    pub(super) fn up_to(&self, selection: &Arc<Selection>) -> Option<Offset> {
        let lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lists.iter().find(|(known, _)| Arc::ptr_eq(known, selection)).map(|(_, to)| *to)
    }

    /// Takes note that there is nothing up to here that the selection wants.
    pub(super) fn note(&self, selection: Arc<Selection>, to: Offset) {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lists.retain(|(known, _)| !Arc::ptr_eq(known, &selection));
        if lists.len() == LISTS_MAX {
            lists.pop_front();
        }
        lists.push_back((selection, to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_through_last_is_remembered_and_so_much_of_it() {
        let (looked, all) =
            (Looked::default(), Vec::from_iter((0..=LISTS_MAX).map(|_| Arc::new(Selection::everything()))));
        for (place, selection) in all.iter().enumerate() {
            assert_eq!(looked.up_to(selection), None);
            looked.note(Arc::clone(selection), Offset(place as u64));
            looked.note(Arc::clone(selection), Offset(place as u64 + 1_000));
        }
        assert_eq!(looked.up_to(&all[0]), None);
        assert_eq!(looked.up_to(&all[1]), Some(Offset(1_001)));
        assert_eq!(looked.up_to(&all[LISTS_MAX]), Some(Offset(1_000 + LISTS_MAX as u64)));
    }
}
