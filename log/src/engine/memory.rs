//! A chunk store in memory, with a *live* image that reads see and a *durable* image that a power cut leaves: a disk for
//! tests of everything above it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::chunked::{ChunkStore, StoreError};
use crate::Offset;

/// A chunk store that forgets what was not synced when its power is cut. Clones are the same store.
///
/// ```
/// use scrollback_log::engine::{chunked::ChunkedEngine, memory::MemoryStore};
/// use scrollback_log::{Kind, Log, NewRecord, Offset, Schema, Timestamp};
///
/// let disk = MemoryStore::new();
/// let (log, mut appender) = Log::new(std::sync::Arc::new(ChunkedEngine::open(disk.clone())?), None);
/// let record = NewRecord { kind: Kind(1), schema: Schema(1), kept: vec![7], text: Some(b"hello".to_vec()) };
/// appender.append(Timestamp(1), vec![record])?;
/// appender.publish();
/// assert_eq!(log.head().offset, Offset(1));
///
/// let after_the_cut = ChunkedEngine::open(disk.cut(42))?;
/// let (log, _appender) = Log::new(std::sync::Arc::new(after_the_cut), None);
/// assert_eq!(log.head().offset, Offset(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Disk>>);

#[derive(Default)]
struct Disk {
    live: Image,
    durable: Image,
    /// Batches that were written since the last sync.
    unsynced: Vec<Vec<Write>>,
    /// Writes and syncs so far.
    calls: u64,
    fails_at: Option<u64>,
    syncs_ignored: bool,
}

#[derive(Clone, Default)]
struct Image {
    chunks: BTreeMap<Offset, Arc<[u8]>>,
    marks: BTreeMap<String, u64>,
}

#[derive(Clone)]
enum Write {
    Chunk(Offset, Arc<[u8]>),
    Mark(String, u64),
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// What a power cut at this moment leaves: the durable image and, chosen by `seed`, any of the batches that were
    /// written and not synced. A batch is there whole or not at all, as a store's own journal makes it.
    #[must_use]
    pub fn cut(&self, seed: u64) -> MemoryStore {
        let disk = self.disk();
        let mut random = SmallRng::seed_from_u64(seed);
        let mut image = disk.durable.clone();
        for batch in &disk.unsynced {
            if random.random() {
                batch.iter().cloned().for_each(|write| image.take(write));
            }
        }
        MemoryStore(Arc::new(Mutex::new(Disk { live: image.clone(), durable: image, ..Disk::default() })))
    }

    /// Lets the `nth` write or sync from now on fail, counted from 1. A write that fails may have been made.
    pub fn fail_at(&self, nth: u64) {
        let mut disk = self.disk();
        disk.fails_at = Some(disk.calls + nth);
    }

    /// Lets every sync from now on succeed without making anything durable, so that a test can show that it notices.
    pub fn ignore_syncs(&self) {
        self.disk().syncs_ignored = true;
    }

    /// How many writes and syncs there were.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.disk().calls
    }

    /// Changes the stored chunk at `first`, durably: damage.
    pub fn damage(&self, first: Offset, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk();
        if let Some(chunk) = disk.live.chunks.get(&first) {
            let mut bytes = chunk.to_vec();
            change(&mut bytes);
            disk.live.take(Write::Chunk(first, bytes.clone().into()));
            disk.durable.take(Write::Chunk(first, bytes.into()));
        }
    }

    /// Removes the stored chunk at `first`, durably: damage.
    pub fn lose(&self, first: Offset) {
        let mut disk = self.disk();
        disk.live.chunks.remove(&first);
        disk.durable.chunks.remove(&first);
    }

    /// The stored chunks, as a reader sees them.
    #[must_use]
    pub fn chunks(&self) -> Vec<(Offset, Vec<u8>)> {
        self.disk().live.chunks.iter().map(|(first, chunk)| (*first, chunk.to_vec())).collect()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_and_sync(&self, batch: Vec<Write>) -> Result<(), StoreError> {
        let mut disk = self.disk();
        let written = disk.call();
        batch.iter().cloned().for_each(|write| disk.live.take(write));
        disk.unsynced.push(batch);
        written?;
        disk.call()?;
        if !disk.syncs_ignored {
            for write in std::mem::take(&mut disk.unsynced).into_iter().flatten() {
                disk.durable.take(write);
            }
        }
        Ok(())
    }
}

impl Disk {
    fn call(&mut self) -> Result<(), StoreError> {
        self.calls += 1;
        if self.fails_at.is_some_and(|call| self.calls >= call) {
            return Err(StoreError::Io(format!("call {} was made to fail", self.calls)));
        }
        Ok(())
    }
}

impl Image {
    fn take(&mut self, write: Write) {
        match write {
            Write::Chunk(first, chunk) => drop(self.chunks.insert(first, chunk)),
            Write::Mark(name, value) => drop(self.marks.insert(name, value)),
        }
    }
}

impl ChunkStore for MemoryStore {
    fn put(&self, chunks: &[(Offset, Vec<u8>)]) -> Result<(), StoreError> {
        self.write_and_sync(
            chunks.iter().map(|(first, chunk)| Write::Chunk(*first, chunk.as_slice().into())).collect(),
        )
    }

    fn at_or_before(&self, offset: Offset) -> Result<Option<(Offset, Vec<u8>)>, StoreError> {
        Ok(self
            .disk()
            .live
            .chunks
            .range(..=offset)
            .next_back()
            .map(|(first, chunk)| (*first, chunk.to_vec())))
    }

    fn ascend(
        &self,
        from: Offset,
        visit: &mut dyn FnMut(Offset, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut from = from;
        loop {
            let next = self
                .disk()
                .live
                .chunks
                .range(from..)
                .next()
                .map(|(first, chunk)| (*first, Arc::clone(chunk)));
            let Some((first, chunk)) = next else { return Ok(()) };
            if visit(first, &chunk).is_break() {
                return Ok(());
            }
            from = first.next();
        }
    }

    fn mark(&self, name: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.disk().live.marks.get(name).copied())
    }

    fn set_mark(&self, name: &str, value: u64) -> Result<(), StoreError> {
        self.write_and_sync(vec![Write::Mark(name.into(), value)])
    }

    fn place(&self) -> String {
        "the log in memory".into()
    }
}
