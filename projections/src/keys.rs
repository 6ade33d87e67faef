//! Idempotency keys: which record a request with this key led to.
//!
//! A key is remembered for a span of log time, not of clock time, so that a replay forgets exactly what the running
//! server forgot. Records come in the order of their times, so the oldest key is always at the front of one queue. Beside
//! it stands a table of places in the queue, each with a part of its key's hash: half the memory of a map that holds each
//! key a second time, and a new key's way in touches nothing at random but one slot of that table. That counts,
//! because these can be millions.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use scrollback_log::{Offset, Timestamp};
use serde::{Deserialize, Serialize};

use crate::facts::KeyDigest;
use crate::pieces::{PieceError, PieceReader, PieceWriter};

/// Below this many keys the memory of forgotten ones is not given back.
const KEPT_CAPACITY: usize = 1024;

/// The remembered idempotency keys: about 55 bytes of memory each.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// In the order of offsets and times. A key that was used again has an older entry here too, which `newest` disowns.
    queue: VecDeque<Use>,
    /// How many entries have left the queue: the one at index `i` is the use number `gone + i`.
    gone: u64,
    /// Each key's newest use.
    newest: HashTable<Place>,
    hasher: RandomState,
}

/// A key and the record it led to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Use {
    offset: Offset,
    time: Timestamp,
    key: KeyDigest,
}

/// Where a use is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// A part of the key's hash.
    hash: u32,
    /// The use's number less its high bits: there is no memory for 2^32 uses at once.
    number: u32,
}

impl Place {
    /// The hash that the table works with: it wants its low and its highest bits mixed.
    fn spread(self) -> u64 {
        u64::from(self.hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl Keys {
    /// The record that the request with this key led to.
    #[must_use]
    pub fn get(&self, key: &KeyDigest) -> Option<Offset> {
        let wanted = self.place(key, 0);
        let same = |place: &Place| place.hash == wanted.hash && self.used(*place).key == *key;
        self.newest.find(wanted.spread(), same).map(|place| self.used(*place).offset)
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.newest.len()
    }

    /// Whether no key is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.newest.is_empty()
    }

    /// Remembers a key. It may be known already: when the retention was made longer since the log was written, a key
    /// that had been forgotten and used again is met twice. The newest record counts.
    pub(crate) fn insert(&mut self, key: KeyDigest, offset: Offset, time: Timestamp) {
        self.queue.push_back(Use { offset, time, key });
        self.own(self.queue.len() - 1);
    }

    /// Lets the use at this index of the queue be its key's newest.
    fn own(&mut self, at: usize) {
        let key = self.queue[at].key;
        let place = self.place(&key, self.gone + at as u64);
        let (queue, gone) = (&self.queue, low_bits(self.gone));
        let same = |known: &Place| known.hash == place.hash && queue[index(known.number, gone)].key == key;
        match self.newest.entry(place.spread(), same, |place| place.spread()) {
            Entry::Occupied(mut known) => *known.get_mut() = place,
            Entry::Vacant(free) => drop(free.insert(place)),
        }
    }

    /// Forgets the keys of records before `time`.
    pub(crate) fn drop_before(&mut self, time: Timestamp) {
        while let Some(oldest) = self.queue.pop_front_if(|oldest| oldest.time < time) {
            let place = self.place(&oldest.key, self.gone);
            self.gone += 1;
            if let Ok(entry) = self.newest.find_entry(place.spread(), |known| *known == place) {
                entry.remove();
            }
        }
        // Shrinking to twice what is left makes the next shrink at least as many removals away.
        let roomy = |capacity: usize, len: usize| capacity > KEPT_CAPACITY && capacity / 4 > len;
        if roomy(self.queue.capacity(), self.queue.len()) {
            self.queue.shrink_to(self.queue.len() * 2);
        }
        if roomy(self.newest.capacity(), self.newest.len()) {
            self.newest.shrink_to(self.newest.len() * 2, |place| place.spread());
        }
    }

    fn place(&self, key: &KeyDigest, number: u64) -> Place {
        Place { hash: low_bits(self.hasher.hash_one(key)), number: low_bits(number) }
    }

    fn used(&self, place: Place) -> &Use {
        &self.queue[index(place.number, low_bits(self.gone))]
    }

    pub(crate) fn write(&self, out: &mut PieceWriter<'_>) -> io::Result<()> {
        // As a rule no use is disowned, and then there is nothing to look up.
        let all = self.newest.len() == self.queue.len();
        out.list(self.queue.iter().filter(|one| all || self.get(&one.key) == Some(one.offset)))
    }

    pub(crate) fn read(from: &mut PieceReader<'_>) -> Result<Keys, PieceError> {
        let mut keys = Keys::default();
        from.list(|one| keys.queue.push_back(one))?;
        // One table of the right size at once: growing into it would cost as much again.
        keys.newest.reserve(keys.queue.len(), |place| place.spread());
        (0..keys.queue.len()).for_each(|at| keys.own(at));
        Ok(keys)
    }
}

/// Where the use with this number is in the queue, once `gone` have left it.
fn index(number: u32, gone: u32) -> usize {
    number.wrapping_sub(gone) as usize
}

#[allow(clippy::cast_possible_truncation, reason = "that is what it is for")]
fn low_bits(number: u64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> KeyDigest {
        let mut digest = [0; 16];
        digest[..8].copy_from_slice(&number.to_le_bytes());
        KeyDigest(digest)
    }

    #[test]
    fn a_key_that_was_used_again_is_forgotten_with_its_newest_record() {
        let mut keys = Keys::default();
        keys.insert(key(1), Offset(10), Timestamp(100));
        keys.insert(key(1), Offset(20), Timestamp(200));
        assert_eq!((keys.get(&key(1)), keys.len()), (Some(Offset(20)), 1));
        keys.drop_before(Timestamp(200));
        assert_eq!(keys.get(&key(1)), Some(Offset(20)));
        keys.drop_before(Timestamp(201));
        assert!(keys.is_empty() && keys.queue.is_empty());
    }

    #[test]
    fn an_entry_that_a_newer_use_disowned_is_not_part_of_the_canonical_form() {
        let (mut again, mut once) = (Keys::default(), Keys::default());
        again.insert(key(1), Offset(10), Timestamp(100));
        for keys in [&mut again, &mut once] {
            keys.insert(key(1), Offset(20), Timestamp(200));
        }
        let bytes = |keys: &Keys| {
            let mut bytes = Vec::new();
            keys.write(&mut PieceWriter::new(&mut bytes)).unwrap();
            bytes
        };
        assert_eq!(bytes(&again), bytes(&once));
    }

    #[test]
    fn keys_are_found_across_the_wrap_of_the_tables_numbers() {
        let mut keys = Keys { gone: u64::from(u32::MAX) - 50, ..Keys::default() };
        for number in 0..1000 {
            keys.insert(key(number), Offset(number), Timestamp(number as i64));
            keys.drop_before(Timestamp(number as i64 - 99));
            for known in 0..=number {
                let remembered = (known + 99 >= number).then_some(Offset(known));
                assert_eq!(keys.get(&key(known)), remembered);
            }
        }
        assert!(keys.gone > u64::from(u32::MAX) && keys.len() == 100);
    }

    #[test]
    fn memory_is_bounded_by_what_is_remembered_now() {
        let mut keys = Keys::default();
        for number in 0..100_000 {
            keys.insert(key(number), Offset(number), Timestamp(number as i64));
        }
        keys.drop_before(Timestamp(99_990));
        assert_eq!(keys.len(), 10);
        assert!(keys.newest.capacity() <= 4 * KEPT_CAPACITY && keys.queue.capacity() <= 4 * KEPT_CAPACITY);
        for number in 99_990..100_000 {
            assert_eq!(keys.get(&key(number)), Some(Offset(number)));
        }
    }
}
