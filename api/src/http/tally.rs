//! How much of something each one has at the moment, for limits per user or per address.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many each one has.
#[derive(Clone, Debug)]
pub(super) struct Tally<K>(Arc<Mutex<HashMap<K, usize>>>);

/// One of somebody's, until it is dropped.
#[derive(Debug)]
pub(super) struct Tallied<K: Eq + Hash> {
    tally: Tally<K>,
    whose: K,
}

impl<K> Default for Tally<K> {
    fn default() -> Tally<K> {
        Tally(Arc::default())
    }
}

impl<K> Tally<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

impl<K: Copy + Eq + Hash> Tally<K> {
    /// One more; none where this one has `most` already.
    pub(super) fn enter(&self, whose: K, most: usize) -> Option<Tallied<K>> {
        let mut counts = self.lock();
        let count = counts.get(&whose).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        counts.insert(whose, count + 1);
        Some(Tallied { tally: Tally(Arc::clone(&self.0)), whose })
    }
}

impl<K: Eq + Hash> Drop for Tallied<K> {
    fn drop(&mut self) {
        take_off(&mut self.tally.lock(), &self.whose, 1);
    }
}

/// Takes `amount` off what this one has. Nothing is kept of who has nothing.
pub(super) fn take_off<K: Eq + Hash>(counts: &mut HashMap<K, usize>, whose: &K, amount: usize) {
    if let Some(count) = counts.get_mut(whose) {
        *count -= amount;
        if *count == 0 {
            counts.remove(whose);
        }
    }
}
