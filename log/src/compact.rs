//! Compaction: the same records, written anew beside the old log, and a switch.
//!
//! The store keeps the bytes of erased texts in places it has not yet overwritten, and the chunks of a slow evening
//! hold one record each. The copy holds neither. Offsets, times and the chain stay, and are checked on the way. A crash
//! before the switch leaves the old log as the current one, after it the new one; the other is removed at the next
//! opening, and a second run finishes.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::chunk::ChunkOptions;
use crate::copy::{Copy, CopyError};
use crate::data_dir::DataDir;
use crate::engine::chunked::{
    self, ChunkStore, ChunkedEngine, ChunkedError, ERASED_MARK, StoreError, scan_store,
};
use crate::engine::sled::SledStore;
use crate::open::{self, LogOptions, OpenError};
use crate::verify::Progress;
use crate::{AppendError, Appender, Engine, Head, Log, Offset, ReadError};

/// What a compaction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The newest record of the copy, which is that of the old log.
    pub head: Head,
    /// What the old log took on disk.
    pub bytes_before: u64,
    /// What the new one takes.
    pub bytes_after: u64,
}

/// A step of a compaction, told before it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Deleted texts are erased; so many are left.
    Erasing(u64),
    /// Records are copied.
    Copying(Progress),
    /// The copy is complete and becomes the current log.
    Switching,
    /// The old log is removed, and what was kept of older ones.
    Removing,
}

/// A compaction did not come to its end. The log is as it was; what was copied is removed at the next opening.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// Somebody still reads the log.
    #[error("the log is still being read; it can only be compacted offline")]
    InUse,
    /// Deleted texts could not be erased first.
    #[error("deleted texts could not be erased from the log: {0}")]
    Erase(#[from] AppendError),
    /// The log, or the copy, cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A record of the log cannot be copied.
    #[error("the log cannot be copied: {0}; the old log stays in use")]
    Read(#[from] ReadError),
    /// The copy cannot be written.
    #[error("the copy of the log cannot be written: {0}; the old log stays in use")]
    Write(StoreError),
    /// The copy is not the same log. This is a defect of the program, found before it did harm.
    #[error("the copy ends at offset {} with another chain value than the log; the old log stays in use", .0.offset)]
    Differs(Head),
}

/// Erases what deletions have named, copies the log of `dir`, and makes the copy the current log. `log` and `appender`
/// are the opened log, with the masks of all deletions that are not carried out yet; nobody else may hold it.
///
/// # Errors
/// See [`CompactError`].
pub fn compact(
    dir: &DataDir,
    log: Arc<Log>,
    mut appender: Appender,
    options: &LogOptions,
    progress: &mut dyn FnMut(Step),
) -> Result<Compacted, CompactError> {
    loop {
        progress(Step::Erasing(log.with_masks(crate::Masks::texts_waiting)));
        if !appender.erase_step()? {
            break;
        }
    }
    appender.sync_witness()?;
    let head = appender.head();
    drop(appender);
    drop(Arc::into_inner(log).ok_or(CompactError::InUse)?);

    let (old, new) = (dir.log_number(), dir.begin_next_log().map_err(OpenError::from)?);
    let source = open::open_store(dir, options)?;
    let place = dir.log_dir(new);
    let open_target =
        || SledStore::open(&place, options.cache_bytes).map_err(|error| open::store_error(&place, error));
    let target = open_target()?;
    copy(&source, &target, head, options.chunks, progress)?;
    drop((source, target));
    // As a start would find it; this also writes the store's snapshot.
    let copied = ChunkedEngine::open_existing(open_target()?, options.chunks).map_err(copy_error)?;
    if copied.head() != head {
        return Err(CompactError::Differs(copied.head()));
    }
    drop(copied);
    let bytes_before = bytes_of(&dir.log_dir(old));
    progress(Step::Switching);
    dir.switch_to(new).map_err(OpenError::from)?;
    progress(Step::Removing);
    dir.remove_other_logs().and_then(|()| dir.remove_kept_logs()).map_err(OpenError::from)?;
    Ok(Compacted { head, bytes_before, bytes_after: bytes_of(&place) })
}

/// Copies all records up to `head`, tombstones as they are.
fn copy<S: ChunkStore, T: ChunkStore>(
    source: &S,
    target: &T,
    head: Head,
    options: ChunkOptions,
    progress: &mut dyn FnMut(Step),
) -> Result<(), CompactError> {
    let mut copy = Copy::new(target, options);
    let mut outcome = Ok(());
    scan_store(source, Offset::FIRST, head.offset, &mut |envelope| match copy.push(envelope) {
        Ok(durable) => {
            if durable {
                progress(Step::Copying(Progress { at: envelope.offset, head: head.offset }));
            }
            ControlFlow::Continue(())
        }
        Err(error) => {
            outcome = Err(match error {
                CopyError::Misfit(offset) => chunked::broken_chain(source, offset).into(),
                CopyError::Write(error) => CompactError::Write(error),
            });
            ControlFlow::Break(())
        }
    })?;
    outcome?;
    progress(Step::Copying(Progress { at: head.offset, head: head.offset }));
    let erased_through = source.mark(ERASED_MARK).map_err(CompactError::Write)?.unwrap_or_default();
    copy.finish(Offset(erased_through)).map_err(CompactError::Write)?;
    Ok(())
}

fn copy_error(error: ChunkedError) -> CompactError {
    match error {
        ChunkedError::Read(error) => CompactError::Read(error),
        ChunkedError::Write(error) => CompactError::Write(error),
        other => CompactError::Write(StoreError::Damaged(other.to_string())),
    }
}

/// What the files in a directory take, as far as it can be read: a figure for people.
fn bytes_of(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_of(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::memory::MemoryStore;
    use crate::{Kind, NewRecord, Schema, Timestamp};

    fn written(texts: &[&str]) -> (MemoryStore, Head) {
        let store = MemoryStore::new();
        let options = ChunkOptions { records_max: 2, ..ChunkOptions::default() };
        let engine: Arc<dyn Engine> = Arc::new(ChunkedEngine::create(store.clone(), options).unwrap());
        let (_, mut appender) = Log::new(engine, None);
        let records = texts.iter().map(|text| NewRecord {
            kind: Kind(1),
            schema: Schema(1),
            kept: vec![1],
            text: Some(text.as_bytes().to_vec()),
        });
        appender.append(Timestamp(1), records.collect()).unwrap();
        (store, appender.head())
    }

    fn copied(source: &MemoryStore, head: Head) -> Result<MemoryStore, CompactError> {
        let target = MemoryStore::new();
        copy(source, &target, head, ChunkOptions::default(), &mut |_| {}).map(|()| target)
    }

    #[test]
    fn small_chunks_are_packed_anew() {
        let (store, head) = written(&["a", "b", "c", "d", "e"]);
        assert_eq!(store.chunks().len(), 3);
        let copy = copied(&store, head).unwrap();
        assert_eq!(copy.chunks().len(), 1);
        assert_eq!(ChunkedEngine::open(copy).unwrap().head(), head);
    }

    #[test]
    fn a_log_that_is_copied_in_several_commits_is_copied_whole() {
        let mut noise = blake3::Hasher::new().finalize_xof();
        let texts: Vec<String> = (0..80)
            .map(|_| {
                let mut bytes = vec![0; 60_000];
                noise.fill(&mut bytes);
                bytes.iter().map(|byte| char::from(b' ' + byte % 95)).collect()
            })
            .collect();
        let (store, head) = written(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let target = MemoryStore::new();
        let mut steps = Vec::new();
        copy(&store, &target, head, ChunkOptions::default(), &mut |step| steps.push(step)).unwrap();
        assert!(steps.len() > 1, "the log is too short for two commits");
        let copied = ChunkedEngine::open(target).unwrap();
        assert_eq!(copied.head(), head);
        let mut found = Vec::new();
        copied
            .scan(Offset::FIRST, head.offset, &mut |record| {
                let crate::Text::Present(text) = record.text else { panic!("{record:?}") };
                found.push(String::from_utf8(text.to_vec()).unwrap());
                ControlFlow::Continue(())
            })
            .unwrap();
        assert!(found == texts);
    }

    #[test]
    fn damage_and_forgery_are_not_copied() {
        let (store, head) = written(&["a", "b", "c", "d"]);
        store.damage(Offset(3), |chunk| chunk[60] ^= 1);
        assert!(matches!(
            copied(&store, head),
            Err(CompactError::Read(ReadError::Damaged { offset: Offset(3), .. }))
        ));
        let (store, head) = written(&["a", "b", "c", "d"]);
        let forged = written(&["a", "b", "x", "d"]).0.chunks().remove(1).1;
        store.damage(Offset(3), |chunk| *chunk = forged);
        assert!(matches!(
            copied(&store, head),
            Err(CompactError::Read(ReadError::Damaged { offset: Offset(3), .. }))
        ));
        let (store, head) = written(&["a", "b", "c", "d"]);
        store.lose(Offset(3));
        assert!(matches!(
            copied(&store, head),
            Err(CompactError::Read(ReadError::Damaged { offset: Offset(3), .. }))
        ));
    }

    #[test]
    fn a_copy_whose_writing_failed_is_no_log() {
        let (store, head) = written(&["a", "b", "c", "d"]);
        for call in 1..=6 {
            let target = MemoryStore::new();
            target.fail_at(call);
            let outcome = copy(&store, &target, head, ChunkOptions::default(), &mut |_| {});
            assert!(matches!(outcome, Err(CompactError::Write(_))), "call {call}: {outcome:?}");
            // The last write and sync are those of the format mark: with it the copy is complete, but for the switch.
            for seed in 0..4 {
                let engine = ChunkedEngine::open_existing(target.cut(seed), ChunkOptions::default());
                assert!(engine.is_err() || call >= 5, "call {call}, seed {seed}");
            }
        }
    }
}
