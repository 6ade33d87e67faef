//! Idempotency keys: which record a request with this key led to.
//!
//! A key is remembered for a span of log time, not of clock time, so that a replay forgets exactly what the running
//! server forgot. Records come in the order of their times, so the oldest key is always at the front of one queue.

use std::collections::{HashMap, VecDeque};
use std::io;

use scrollback_log::{Offset, Timestamp};

use crate::facts::KeyDigest;
use crate::pieces::{PieceError, PieceReader, PieceWriter};

/// Below this many keys the memory of forgotten ones is not given back.
const KEPT_CAPACITY: usize = 1024;

/// The remembered idempotency keys: about 75 bytes of memory each.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    newest: HashMap<KeyDigest, Offset>,
    /// In the order of offsets and times. A key that was used again has an older entry here too, which `newest` disowns.
    queue: VecDeque<(Offset, Timestamp, KeyDigest)>,
}

impl Keys {
    /// The record that the request with this key led to.
    #[must_use]
    pub fn get(&self, key: &KeyDigest) -> Option<Offset> {
        self.newest.get(key).copied()
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
        self.newest.insert(key, offset);
        self.queue.push_back((offset, time, key));
    }

    /// Forgets the keys of records before `time`.
    pub(crate) fn drop_before(&mut self, time: Timestamp) {
        while let Some((offset, _, key)) = self.queue.pop_front_if(|(_, stamp, _)| *stamp < time) {
            if self.newest.get(&key) == Some(&offset) {
                self.newest.remove(&key);
            }
        }
        // Shrinking to twice what is left makes the next shrink at least as many removals away.
        let roomy = |capacity: usize, len: usize| capacity > KEPT_CAPACITY && capacity / 4 > len;
        if roomy(self.queue.capacity(), self.queue.len()) {
            self.queue.shrink_to(self.queue.len() * 2);
        }
        if roomy(self.newest.capacity(), self.newest.len()) {
            self.newest.shrink_to(self.newest.len() * 2);
        }
    }

    pub(crate) fn write(&self, out: &mut PieceWriter<'_>) -> io::Result<()> {
        out.list(self.queue.iter().filter(|(offset, _, key)| self.newest.get(key) == Some(offset)))
    }

    pub(crate) fn read(from: &mut PieceReader<'_>) -> Result<Keys, PieceError> {
        let mut keys = Keys::default();
        from.list(|(offset, time, key)| keys.insert(key, offset, time))?;
        Ok(keys)
    }
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
