//! Opening the log of a data directory: is it the log that was there before, and all of it?

use std::path::Path;
use std::sync::Arc;

use crate::chunk::ChunkOptions;
use crate::data_dir::{DataDir, DataDirError};
use crate::engine::chunked::{
    ChunkStore, ChunkedEngine, ChunkedError, FORMAT_MARK, StoreError, check_format,
};
use crate::engine::sled::SledStore;
use crate::synced::{SyncedDb, SyncedError};
use crate::verify::{self, Progress};
use crate::witness::{Testimony, Witness};
use crate::{Appender, Engine, Head, Log, Offset, ReadError};

/// The settings of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// About how many bytes of the log the store keeps in memory.
    pub cache_bytes: u64,
    /// How new records are packed.
    pub chunks: ChunkOptions,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions { cache_bytes: 32 << 20, chunks: ChunkOptions::default() }
    }
}

/// A log cannot be opened. Each message says what happened and what can be done.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another handle holds it.
    #[error("{0}; stop the process that uses it")]
    InUse(SyncedError),
    /// The log ends before the record that its witness knows to have been durable.
    #[error(
        "the log {place} has lost its tail: it ends at offset {}, but was durable up to offset {}. Keep what is there, \
         then restore a backup with `scrollback restore FILE`, or go on with what is left: `scrollback restore \
         --accept-current`",
        .head.offset, .witness.offset
    )]
    LostTail {
        /// The log.
        place: String,
        /// The newest record the witness knows of.
        witness: Head,
        /// The newest record there is.
        head: Head,
    },
    /// The log holds other records than those its witness knows.
    #[error(
        "{place} is not the log that was here before: its record at offset {offset} is another one. Put \
         back the log that belongs to this data directory, or go on with this one: `scrollback restore --accept-current`"
    )]
    OtherChain {
        /// The log.
        place: String,
        /// The witness' offset.
        offset: Offset,
    },
    /// There is no witness.
    #[error(
        "{path} is missing, so nothing tells whether the log has lost its tail. If the log is known to be the newest \
         one, `scrollback replay` checks all of it and writes the witness anew"
    )]
    WitnessMissing {
        /// The witness.
        path: String,
    },
    /// The witness is not what was written.
    #[error(
        "{path} is damaged, so nothing tells whether the log has lost its tail. If the log is known to be the newest \
         one, `scrollback replay` checks all of it and writes the witness anew"
    )]
    WitnessDamaged {
        /// The witness.
        path: String,
    },
    /// A record is missing or is not what was written.
    #[error("{0}. `scrollback verify` lists all damage; restore a backup with `scrollback restore FILE`")]
    Damaged(#[source] ReadError),
    /// The store beneath the log is damaged so badly that it does not open.
    #[error("the log {place} does not open: {what}. Restore a backup with `scrollback restore FILE`")]
    Unreadable {
        /// The log.
        place: String,
        /// What the store said.
        what: String,
    },
    /// The log was written by a newer program, or by one so old that it has to be migrated first.
    #[error("{0}")]
    OtherFormat(ChunkedError),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The operating system refused.
    #[error("{place} cannot be read or written: {what}")]
    Io {
        /// The file.
        place: String,
        /// What the operating system said.
        what: String,
    },
}

/// Opens the current log of `dir`, creating it in a new directory, and holds it against its witness.
///
/// # Errors
/// See [`OpenError`].
pub fn open(dir: &DataDir, options: &LogOptions) -> Result<(Arc<Log>, Appender), OpenError> {
    if dir.current().is_none() {
        return create(dir, options, &mut || {});
    }
    let engine = open_engine(dir, options)?;
    let path = dir.witness();
    let (witness, testimony) = match Witness::open(&path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(OpenError::WitnessMissing { path: path.display().to_string() });
        }
        Err(error) => return Err(io(&path, &error)),
    };
    check(&engine, testimony, &path)?;
    start(dir, engine, witness)
}

/// Opens the current log of `dir` as [`open`] does, but puts up with a missing or damaged witness: then every record is
/// checked first, and the witness is written anew. What a lost tail held is not noticed this way.
///
/// # Errors
/// See [`OpenError`].
pub fn open_accepting_witness(
    dir: &DataDir,
    options: &LogOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Arc<Log>, Appender), OpenError> {
    match open(dir, options) {
        Err(OpenError::WitnessMissing { .. } | OpenError::WitnessDamaged { .. }) => {}
        outcome => return outcome,
    }
    let engine = open_sound_engine(dir, options, progress)?;
    let path = dir.witness();
    let witness = Witness::create(&path, engine.head()).map_err(|error| io(&path, &error))?;
    start(dir, engine, witness)
}

/// Opens the current log once every record of it was checked.
pub(crate) fn open_sound_engine(
    dir: &DataDir,
    options: &LogOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<ChunkedEngine<SledStore>, OpenError> {
    let engine = open_engine(dir, options)?;
    let report = verify::verify_store(engine.store(), None, progress);
    match report.damage.into_iter().next() {
        Some(damage) => Err(OpenError::Damaged(damage.into())),
        None => Ok(engine),
    }
}

/// Creates the log of a new directory; `between` is called between the steps that become durable one by one.
pub(crate) fn create(
    dir: &DataDir,
    options: &LogOptions,
    between: &mut dyn FnMut(),
) -> Result<(Arc<Log>, Appender), OpenError> {
    between();
    let number = dir.log_number();
    let place = dir.log_dir(number);
    let store = SledStore::open(&place, options.cache_bytes).map_err(|error| store_error(&place, error))?;
    between();
    let engine =
        ChunkedEngine::create(store, options.chunks).map_err(|error| chunked_error(&place, error))?;
    between();
    let path = dir.witness();
    let witness = Witness::create(&path, engine.head()).map_err(|error| io(&path, &error))?;
    between();
    dir.switch_to(number)?;
    between();
    start(dir, engine, witness)
}

fn start(
    dir: &DataDir,
    engine: ChunkedEngine<SledStore>,
    mut witness: Witness,
) -> Result<(Arc<Log>, Appender), OpenError> {
    // The log may be ahead of its witness after a crash. All of it was synced before it was opened.
    witness
        .record(engine.head())
        .and_then(|()| witness.sync())
        .map_err(|error| io(&dir.witness(), &error))?;
    dir.remove_other_logs()?;
    Ok(Log::new(Arc::new(engine), Some(witness)))
}

/// Ends the use of the current log of `dir` after a clean stop, once the log and its appender are dropped everywhere:
/// the store writes a snapshot, which makes the next start fast and keeps later damage from spreading. A log that was
/// not finished is as safe against crashes and power cuts.
///
/// # Errors
/// See [`OpenError`].
pub fn finish(dir: &DataDir, options: &LogOptions) -> Result<(), OpenError> {
    let place = dir.log_dir(dir.log_number());
    SyncedDb::write_snapshot(&place, options.cache_bytes).map_err(|error| store_error(&place, error))
}

pub(crate) fn open_store(dir: &DataDir, options: &LogOptions) -> Result<SledStore, OpenError> {
    let place = dir.log_dir(dir.log_number());
    SledStore::open(&place, options.cache_bytes).map_err(|error| store_error(&place, error))
}

/// Refuses a log of a format that is not this program's, if it says which it has.
pub(crate) fn refuse_other_format(store: &SledStore) -> Result<(), OpenError> {
    match store.mark(FORMAT_MARK) {
        Ok(Some(found)) => check_format(store, found).map_err(OpenError::OtherFormat),
        Ok(None) | Err(_) => Ok(()),
    }
}

pub(crate) fn open_engine(
    dir: &DataDir,
    options: &LogOptions,
) -> Result<ChunkedEngine<SledStore>, OpenError> {
    let place = dir.log_dir(dir.log_number());
    let store = open_store(dir, options)?;
    ChunkedEngine::open_existing(store, options.chunks).map_err(|error| {
        // A store that came up empty has lost its marks too; the witness knows how much more is gone.
        match (&error, Witness::read(&dir.witness())) {
            (ChunkedError::NoFormat { .. }, Ok(Testimony::Head(witness)))
                if witness.offset > Offset::BEGINNING =>
            {
                OpenError::LostTail { place: place.display().to_string(), witness, head: Head::default() }
            }
            _ => chunked_error(&place, error),
        }
    })
}

/// Whether the log is the one its witness knows, and all of it.
fn check(engine: &ChunkedEngine<SledStore>, testimony: Testimony, path: &Path) -> Result<(), OpenError> {
    let witness = match testimony {
        Testimony::Missing => return Err(OpenError::WitnessMissing { path: path.display().to_string() }),
        Testimony::Damaged => return Err(OpenError::WitnessDamaged { path: path.display().to_string() }),
        Testimony::Head(head) => head,
    };
    let place = || ChunkStore::place(engine.store());
    match engine.chain_at(witness.offset).map_err(OpenError::Damaged)? {
        None => Err(OpenError::LostTail { place: place(), witness, head: engine.head() }),
        Some(chain) if chain != witness.chain => {
            Err(OpenError::OtherChain { place: place(), offset: witness.offset })
        }
        Some(_) => Ok(()),
    }
}

pub(crate) fn store_error(place: &Path, error: SyncedError) -> OpenError {
    let place = place.display().to_string();
    match error {
        SyncedError::InUse { .. } => OpenError::InUse(error),
        SyncedError::Damaged { what, .. } => OpenError::Unreadable { place, what },
        other => OpenError::Io { place, what: other.to_string() },
    }
}

pub(crate) fn chunked_error(place: &Path, error: ChunkedError) -> OpenError {
    let place = place.display().to_string();
    match error {
        ChunkedError::NewerFormat { .. } | ChunkedError::OlderFormat { .. } => OpenError::OtherFormat(error),
        ChunkedError::NoFormat { .. } => OpenError::Unreadable { place, what: error.to_string() },
        ChunkedError::Read(error) => OpenError::Damaged(error),
        ChunkedError::Write(StoreError::Damaged(what)) => OpenError::Unreadable { place, what },
        ChunkedError::Write(StoreError::Io(what)) => OpenError::Io { place, what },
    }
}

pub(crate) fn io(path: &Path, error: &std::io::Error) -> OpenError {
    OpenError::Io { place: path.display().to_string(), what: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{Kind, NewRecord, Schema, Timestamp};

    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }

    fn append_one(appender: &mut Appender) {
        let record = NewRecord { kind: Kind(1), schema: Schema(1), kept: vec![1], text: None };
        appender.append(Timestamp(1), vec![record]).unwrap();
        appender.publish();
    }

    #[test]
    fn a_crash_while_a_directory_is_made_leaves_nothing_or_a_usable_one() {
        let space = tempfile::tempdir().unwrap();
        let root = space.path().join("data");
        let mut crashes: Vec<PathBuf> = Vec::new();
        {
            let dir = DataDir::create_or_open(&root).unwrap();
            create(&dir, &LogOptions::default(), &mut || {
                let crash = space.path().join(format!("crash {}", crashes.len()));
                copy(&root, &crash);
                crashes.push(crash);
            })
            .unwrap();
        }
        // What a crash inside the rename of a file leaves beside it.
        for (crash, left) in [(0, "CREATING.new"), (3, "CURRENT.new"), (2, "witness.new")] {
            let with_left = space.path().join(format!("crash {crash} with {left}"));
            copy(&crashes[crash], &with_left);
            std::fs::write(with_left.join(left), b"lo").unwrap();
            crashes.push(with_left);
        }
        let only_lock = space.path().join("only a lock");
        std::fs::create_dir(&only_lock).unwrap();
        std::fs::write(only_lock.join("LOCK"), b"77\n").unwrap();
        crashes.push(only_lock);
        assert_eq!(crashes.len(), 9);

        for crash in crashes {
            let was_complete = crash.join("CURRENT").exists();
            assert_eq!(DataDir::open_existing(&crash).is_ok(), was_complete, "{crash:?}");
            let dir = DataDir::create_or_open(&crash).unwrap();
            let (log, mut appender) = open(&dir, &LogOptions::default()).unwrap();
            assert_eq!(log.head(), Head::default());
            append_one(&mut appender);
            assert!(crash.join("CURRENT").exists() && !crash.join("CREATING").exists());
            drop((log, appender, dir));
            let dir = DataDir::open_existing(&crash).unwrap();
            let (log, _appender) = open(&dir, &LogOptions::default()).unwrap();
            assert_eq!(log.head().offset, Offset(1));
        }
    }
}
