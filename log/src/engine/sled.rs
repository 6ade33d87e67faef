//! The chunk store on sled.
//!
//! Table `chunks`: the key is the chunk's first offset, 8 bytes, big endian. A chunk longer than a value may be is
//! split: a value of exactly [`VALUE_BYTES_MAX`] bytes goes on in the key that has the part's number, from 1, as two
//! more big-endian bytes. An empty first part is a fence (see `fences`) and no chunk. Table `marks`: the value is 8 bytes, little endian, and their CRC32.

use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use super::chunked::{ChunkStore, StoreError};
use super::fences::Fences;
use crate::Offset;
use crate::chunk::Header;
use crate::synced::{SyncedBatch, SyncedDb, SyncedError, SyncedTree, VALUE_BYTES_MAX, Value};

/// A chunk store in a sled database of its own.
pub struct SledStore {
    place: String,
    db: SyncedDb,
    chunks: SyncedTree,
    marks: SyncedTree,
    /// Held for writing while chunks change, so that a chunk of several parts is read all old or all new.
    changing: RwLock<()>,
    /// Goes up before and after each change: a scan reads the parts without the lock if none was made meanwhile.
    changes: AtomicU64,
    /// Written by the one appender.
    fences: Mutex<Fences>,
}

impl SledStore {
    /// Opens the store in `dir`, creating it if it is not there, with a cache of about `cache_bytes`.
    ///
    /// # Errors
    /// See [`SyncedError`].
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<SledStore, SyncedError> {
        let db = SyncedDb::open(dir, cache_bytes)?;
        let (chunks, marks) = (db.tree("chunks")?, db.tree("marks")?);
        let greatest = match chunks.at_or_before(&part_key(Offset(u64::MAX), 0))? {
            Some((key, _)) => key.first_chunk().map_or(0, |first| u64::from_be_bytes(*first)),
            None => 0,
        };
        let store = SledStore {
            place: dir.display().to_string(),
            db,
            chunks,
            marks,
            changing: RwLock::default(),
            changes: AtomicU64::new(0),
            fences: Mutex::new(Fences::new(0, greatest)),
        };
        // A chunk that cannot be read here is found by whoever reads it; the fences do not depend on it.
        let next = match store.at_or_before(Offset(u64::MAX)) {
            Ok(Some((first, chunk))) => behind(first, &chunk),
            Ok(None) | Err(_) => 0,
        };
        *store.fences.lock().unwrap_or_else(PoisonError::into_inner) = Fences::new(next, greatest);
        Ok(store)
    }

    /// Whether a write has failed: nothing more can be written until the next open.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.db.has_failed()
    }

    /// The whole chunk at `first`, whose first part is `part`.
    fn whole(&self, first: Offset, part: &[u8]) -> Result<Option<Vec<u8>>, SyncedError> {
        if part.len() < VALUE_BYTES_MAX {
            return Ok(None);
        }
        let _unchanging = self.changing.read().unwrap_or_else(PoisonError::into_inner);
        let mut chunk = Vec::new();
        for number in 0..=u16::MAX {
            // A part that is missing leaves the chunk too short to decode.
            let Some(part) = self.chunks.get(&part_key(first, number))? else { break };
            chunk.extend_from_slice(&part);
            if part.len() < VALUE_BYTES_MAX {
                break;
            }
        }
        Ok(Some(chunk))
    }
}

impl ChunkStore for SledStore {
    fn put(&self, chunks: &[(Offset, Vec<u8>)]) -> Result<(), StoreError> {
        let mut batch = SyncedBatch::default();
        for (first, chunk) in chunks {
            let mut number = 0;
            for part in chunk.chunks(VALUE_BYTES_MAX) {
                batch.put(&self.chunks, &part_key(*first, number), part)?;
                number += 1;
            }
            if chunk.len() % VALUE_BYTES_MAX == 0 {
                batch.put(&self.chunks, &part_key(*first, number), &[])?;
                number += 1;
            }
            // What an older, longer form of the chunk had beyond that.
            while self.chunks.get(&part_key(*first, number))?.is_some() {
                batch.remove(&self.chunks, &part_key(*first, number));
                number += 1;
            }
        }
        if let (Some((first, _)), Some((last, newest))) = (chunks.first(), chunks.last()) {
            let mut fences = self.fences.lock().unwrap_or_else(PoisonError::into_inner);
            if fences.is_append(first.0) {
                for key in fences.before_append(behind(*last, newest), chunks.len()) {
                    batch.put_first(&self.chunks, &part_key(Offset(key), 0), &[])?;
                }
            }
        }
        let changing = self.changing.write().unwrap_or_else(PoisonError::into_inner);
        self.changes.fetch_add(1, Ordering::SeqCst);
        // Readers need not wait for the sync.
        Ok(self.db.commit_then(batch, || {
            self.changes.fetch_add(1, Ordering::SeqCst);
            drop(changing);
        })?)
    }

    fn at_or_before(&self, offset: Offset) -> Result<Option<(Offset, Vec<u8>)>, StoreError> {
        let mut greatest = part_key(offset, 0);
        loop {
            let Some((key, value)) = self.chunks.at_or_before(&greatest)? else { return Ok(None) };
            let (first, part) = first_of(&key)?;
            let value = match part {
                0 => Some(value),
                _ => self.chunks.get(&part_key(first, 0))?,
            };
            // The start of a chunk that has later parts cannot be missing; without it the chunk is too short to decode.
            let Some(value) = value else { return Ok(Some((first, Vec::new()))) };
            if !value.is_empty() {
                let chunk = self.whole(first, &value)?.unwrap_or_else(|| value.to_vec());
                return Ok(Some((first, chunk)));
            }
            let Some(before) = first.0.checked_sub(1) else { return Ok(None) };
            // The greatest key of the offset before: that of its last part.
            greatest = part_key(Offset(before), u16::MAX);
        }
    }

    fn ascend(
        &self,
        from: Offset,
        visit: &mut dyn FnMut(Offset, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut entries: Entries<'_> =
            Box::new(self.chunks.range((Bound::Included(part_key(from, 0)), Bound::Unbounded)));
        loop {
            let changes = self.changes.load(Ordering::SeqCst);
            let Some(entry) = entries.next() else { return Ok(()) };
            let (key, value) = entry?;
            let (first, part) = first_of(&key)?;
            let shown = if part > 0 || value.is_empty() {
                // Of the chunk before `from`, or of one that has become shorter; or a fence.
                ControlFlow::Continue(())
            } else if value.len() < VALUE_BYTES_MAX {
                visit(first, &value)
            } else {
                let joined = join(first, &value, &mut entries)?;
                let changed = self.changes.load(Ordering::SeqCst) != changes || changes % 2 == 1;
                match joined {
                    Some(chunk) if !changed => visit(first, &chunk),
                    _ => {
                        let chunk = self.whole(first, &value)?.unwrap_or_default();
                        entries = Box::new(
                            self.chunks.range((Bound::Excluded(part_key(first, 0)), Bound::Unbounded)),
                        );
                        visit(first, &chunk)
                    }
                }
            };
            if shown.is_break() {
                return Ok(());
            }
        }
    }

    fn mark(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let Some(value) = self.marks.get(name.as_bytes())? else { return Ok(None) };
        match mark_number(&value) {
            Some(number) => Ok(Some(number)),
            None => Err(StoreError::Damaged(format!("the mark {name} is not what was written"))),
        }
    }

    fn set_mark(&self, name: &str, value: u64) -> Result<(), StoreError> {
        let mut batch = SyncedBatch::default();
        batch.put(&self.marks, name.as_bytes(), &mark_value(value))?;
        Ok(self.db.commit(batch)?)
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    fn syncs(&self) -> u64 {
        self.db.syncs()
    }
}

type Entries<'a> = Box<dyn Iterator<Item = Result<(Value, Value), SyncedError>> + 'a>;

/// The chunk at `first` from its first part and those that follow in `entries`; none if they do not.
fn join(first: Offset, part: &[u8], entries: &mut Entries<'_>) -> Result<Option<Vec<u8>>, StoreError> {
    let mut chunk = part.to_vec();
    for number in 1..=u16::MAX {
        let Some(entry) = entries.next() else { return Ok(None) };
        let (key, part) = entry?;
        if first_of(&key)? != (first, number) {
            return Ok(None);
        }
        chunk.extend_from_slice(&part);
        if part.len() < VALUE_BYTES_MAX {
            return Ok(Some(chunk));
        }
    }
    Ok(None)
}

/// The first offset behind a chunk.
fn behind(first: Offset, chunk: &[u8]) -> u64 {
    first.0 + Header::decode(chunk).map_or(1, |header| u64::from(header.count))
}

/// The key of a part of the chunk at `first`.
fn part_key(first: Offset, number: u16) -> Vec<u8> {
    let mut key = first.0.to_be_bytes().to_vec();
    if number > 0 {
        key.extend_from_slice(&number.to_be_bytes());
    }
    key
}

/// The chunk and the part that a key stands for.
fn first_of(key: &Value) -> Result<(Offset, u16), StoreError> {
    let part = match key.len() {
        8 => Some(0),
        10 => Some(u16::from_be_bytes([key[8], key[9]])),
        _ => None,
    };
    match (key.first_chunk(), part) {
        (Some(first), Some(part)) => Ok((Offset(u64::from_be_bytes(*first)), part)),
        _ => Err(StoreError::Damaged(format!("a key of {} bytes is none of ours", key.len()))),
    }
}

/// The number that a mark's value stands for; none if it is not what was written.
pub(crate) fn mark_number(value: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(*value.first_chunk()?);
    (mark_value(number) == value).then_some(number)
}

fn mark_value(number: u64) -> [u8; 12] {
    let mut value = [0; 12];
    value[..8].copy_from_slice(&number.to_le_bytes());
    let crc = crc32fast::hash(&value[..8]);
    value[8..].copy_from_slice(&crc.to_le_bytes());
    value
}

impl From<SyncedError> for StoreError {
    fn from(error: SyncedError) -> StoreError {
        match error {
            SyncedError::Damaged { .. } => StoreError::Damaged(error.to_string()),
            other => StoreError::Io(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_longer_form_of_a_chunk_stays_in_the_store() {
        const FULL: usize = VALUE_BYTES_MAX;
        let dir = tempfile::tempdir().unwrap();
        let store = SledStore::open(&dir.path().join("log"), 1 << 20).unwrap();
        let first = Offset(1);
        for (len, parts) in [
            (3 * FULL + 5, vec![FULL, FULL, FULL, 5]),
            // A full part says that another one follows.
            (2 * FULL, vec![FULL, FULL, 0]),
            (FULL + 1, vec![FULL, 1]),
            (FULL, vec![FULL, 0]),
            (FULL - 1, vec![FULL - 1]),
        ] {
            store.put(&[(first, vec![7; len])]).unwrap();
            assert_eq!(store.at_or_before(first).unwrap(), Some((first, vec![7; len])));
            let entries = store.chunks.iter().map(Result::unwrap);
            let ours = entries.filter(|(key, _)| first_of(key).unwrap().0 == first);
            let stored: Vec<usize> = ours.map(|(_, part)| part.len()).collect();
            assert_eq!(stored, parts, "a chunk of {len} bytes");
        }
    }
}
