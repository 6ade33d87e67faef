//! A sled database whose commits survive a power cut.
//!
//! sled's `flush` writes to the page cache and calls `sync_file_range`, which makes no promise about the disk. So this
//! module opens sled's `db` file itself (`db_file`) and calls `fdatasync` on it: before sled opens it (or sled could build its
//! snapshot on bytes that a power cut takes back) and after every flush. It also takes care of sled's other traps:
//!
//! - the background flusher swallows errors: it is off, every commit flushes and syncs;
//! - pages larger than a quarter of a segment go to files under `blobs/`, which sled never syncs: values are kept so
//!   short ([`VALUE_BYTES_MAX`]) that no page grows that large;
//! - it panics on some kinds of damage: calls into it catch that and report damage;
//! - dropping it after a failed write can hang: after a failure it is never dropped;
//! - what lies behind damage that is newer than its snapshot it takes for a torn tail and overwrites, and it writes a
//!   snapshot only when it opens: so [`SyncedDb::write_snapshot`] opens it once more after a clean stop;
//! - a `snap.*.generating` file left by a crash can be taken for a snapshot: such files are removed before opening;
//! - its file grows with every commit, so that every sync has a new length to write too: while commits are small, the
//!   file is filled with zeros ahead of what sled writes;
//! - every write wakes the seven threads of its pool, of which one has something to do: they share one core;
//! - its files get default permissions: the directory is 0700 and the files are set to 0600 after opening.

mod db_file;

use std::io;
use std::ops::{Bound, Deref, RangeBounds};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::one_core::on_one_core;
use crate::quiet::quietly;
use db_file::DbFile;

/// The longest value there can be. A leaf page of sled's holds at most 17 values (it splits above 16, before the next
/// one is added); with 21 of this length it still stays below the 131,052 bytes above which a page goes to `blobs/`.
pub const VALUE_BYTES_MAX: usize = 6 * 1024;
/// The longest key there can be.
pub const KEY_BYTES_MAX: usize = 256;
/// How long an open waits for the handles of an earlier open in this process: sled lets go of its file from a thread
/// of its own, a little after it is dropped.
const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_POLL: Duration = Duration::from_millis(5);
/// What sled says at the end of an error without a backtrace, as ours are built.
const SLED_NO_BACKTRACE: &str = " backtrace ()";

/// A sled database in a directory of its own, opened for reading and writing.
pub struct SyncedDb {
    db: sled::Db,
    shared: Arc<Shared>,
}

/// A named table of a [`SyncedDb`].
pub struct SyncedTree {
    tree: sled::Tree,
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    file: DbFile,
    /// Outlives every other handle to the database, so that it is this one whose end closes it.
    last: Mutex<Option<sled::Db>>,
    failed: AtomicBool,
    /// How many commits were made durable.
    syncs: AtomicU64,
    /// sled's flush can deadlock when it is called from two threads at once.
    committing: Mutex<()>,
}

/// Changes that are committed together.
#[derive(Default)]
pub struct SyncedBatch<'a> {
    first: Vec<(&'a SyncedTree, Vec<u8>, Vec<u8>)>,
    trees: Vec<(&'a SyncedTree, Vec<Change>)>,
}

/// A key and its new value, or none for its removal.
type Change = (Vec<u8>, Option<Vec<u8>>);

/// A stored value, shared with the database's cache.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(sled::IVec);

/// A call into the database did not end well.
#[derive(Debug, thiserror::Error)]
pub enum SyncedError {
    /// Another handle holds the database.
    #[error("the database {dir} is in use")]
    InUse {
        /// Where it is.
        dir: String,
    },
    /// What is stored is not what was written.
    #[error("the database {dir} is damaged: {what}")]
    Damaged {
        /// Where it is.
        dir: String,
        /// What the store said.
        what: String,
    },
    /// The operating system refused to read or write.
    #[error("the database {dir} cannot be read or written: {source}")]
    Io {
        /// Where it is.
        dir: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// An earlier write failed: what reached the disk is unknown until the next open.
    #[error("the database {dir} takes no more writes, because an earlier one failed")]
    Failed {
        /// Where it is.
        dir: String,
    },
    /// A key or a value is too long. Nothing was written.
    #[error(
        "a key of {key_bytes} bytes with a value of {value_bytes} bytes is too long for the database {dir}"
    )]
    TooLarge {
        /// Where it is.
        dir: String,
        /// The key's length.
        key_bytes: usize,
        /// The value's length.
        value_bytes: usize,
    },
}

impl SyncedDb {
    /// Opens the database in `dir`, creating it if it is not there, with a cache of about `cache_bytes`.
    ///
    /// # Errors
    /// See [`SyncedError`].
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<SyncedDb, SyncedError> {
        let io_error = |source| SyncedError::Io { dir: dir.display().to_string(), source };
        let file = DbFile::open(dir).map_err(io_error)?;
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes)
            .flush_every_ms(None)
            .use_compression(false)
            .mode(sled::Mode::LowSpace);
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            file,
            last: Mutex::new(None),
            failed: AtomicBool::new(false),
            syncs: AtomicU64::new(0),
            committing: Mutex::new(()),
        });
        let waiting_since = Instant::now();
        let db = loop {
            match on_one_core(|| shared.call(|| config.open())) {
                Err(SyncedError::InUse { .. }) if waiting_since.elapsed() < LOCK_WAIT => {
                    std::thread::sleep(LOCK_POLL);
                }
                outcome => break outcome?,
            }
        };
        *shared.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(db.clone());
        let db = SyncedDb { db, shared };
        db_file::settle(dir).map_err(io_error)?;
        Ok(db)
    }

    /// Opens the database in `dir` and closes it, which writes a snapshot of all that is in it. For a clean stop, once
    /// every handle is dropped: damage that comes later is then found when it is read, and touches nothing else.
    ///
    /// # Errors
    /// See [`SyncedError`]; [`SyncedError::InUse`] while a handle is left.
    pub fn write_snapshot(dir: &Path, cache_bytes: u64) -> Result<(), SyncedError> {
        let SyncedDb { db, shared } = SyncedDb::open(dir, cache_bytes)?;
        drop(db);
        Arc::into_inner(shared).map_or(Ok(()), |shared| shared.close())
    }

    /// The table `name`, created durably if it is not there.
    ///
    /// # Errors
    /// See [`SyncedError`].
    pub fn tree(&self, name: &str) -> Result<SyncedTree, SyncedError> {
        let is_new = !self.db.tree_names().iter().any(|known| known == name.as_bytes());
        let tree = self.shared.call(|| self.db.open_tree(name))?;
        let tree = SyncedTree { tree, shared: Arc::clone(&self.shared) };
        if is_new {
            self.commit(SyncedBatch::default())?;
        }
        Ok(tree)
    }

    /// Makes all changes of `batch` and makes them durable. The changes of each table are made all or none, also by a
    /// power cut; the tables are changed in the order in which the batch first named them.
    ///
    /// # Errors
    /// See [`SyncedError`]. After any error but [`SyncedError::TooLarge`] nothing can be written until the next open.
    pub fn commit(&self, batch: SyncedBatch<'_>) -> Result<(), SyncedError> {
        self.commit_then(batch, || {})
    }

    /// [`SyncedDb::commit`] that calls `changed` once readers see the changes, before they are durable. It is not called
    /// if the changes cannot be made.
    pub(crate) fn commit_then(
        &self,
        batch: SyncedBatch<'_>,
        changed: impl FnOnce(),
    ) -> Result<(), SyncedError> {
        let shared = &self.shared;
        let _one_at_a_time = shared.committing.lock().unwrap_or_else(PoisonError::into_inner);
        shared.check()?;
        let outcome = self.write(batch, changed);
        if outcome.is_err() {
            // Never again: a sync that is called again after a failure can report success for bytes that are lost.
            shared.failed.store(true, Ordering::SeqCst);
        }
        outcome
    }

    fn write(&self, batch: SyncedBatch<'_>, changed: impl FnOnce()) -> Result<(), SyncedError> {
        let shared = &self.shared;
        for (tree, key, value) in batch.first {
            shared.call(|| tree.tree.insert(key, value))?;
        }
        for (tree, changes) in batch.trees {
            shared.call(|| apply(&tree.tree, changes))?;
        }
        changed();
        shared.call(|| self.db.flush())?;
        shared.file.sync().map_err(|source| SyncedError::Io { dir: shared.dir(), source })?;
        shared.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// How many commits were made durable since the open, each by one sync.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.shared.syncs.load(Ordering::Relaxed)
    }

    /// How many bytes the database takes on disk.
    ///
    /// # Errors
    /// See [`SyncedError`].
    pub fn size_on_disk(&self) -> Result<u64, SyncedError> {
        self.shared.call(|| self.db.size_on_disk())
    }

    /// Whether a write has failed: nothing more can be written until the next open.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::SeqCst)
    }
}

impl SyncedTree {
    fn check(&self, key: &[u8], value: &[u8]) -> Result<(), SyncedError> {
        let (key_bytes, value_bytes) = (key.len(), value.len());
        if key_bytes > KEY_BYTES_MAX || value_bytes > VALUE_BYTES_MAX {
            return Err(SyncedError::TooLarge { dir: self.shared.dir(), key_bytes, value_bytes });
        }
        Ok(())
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// See [`SyncedError`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>, SyncedError> {
        Ok(self.shared.call(|| self.tree.get(key))?.map(Value))
    }

    /// The greatest key that is at most `key`, and its value.
    ///
    /// # Errors
    /// See [`SyncedError`].
    pub fn at_or_before(&self, key: &[u8]) -> Result<Option<(Value, Value)>, SyncedError> {
        let found = self.shared.call(|| self.tree.range::<&[u8], _>(..=key).next_back().transpose())?;
        Ok(found.map(|(key, value)| (Value(key), Value(value))))
    }

    /// The keys of `range` and their values, ascending. Ends after the first error.
    pub fn range<'a, R: RangeBounds<Vec<u8>>>(
        &'a self,
        range: R,
    ) -> impl Iterator<Item = Result<(Value, Value), SyncedError>> + 'a + use<'a, R> {
        let bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>) =
            (range.start_bound().cloned(), range.end_bound().cloned());
        let mut entries = self.tree.range(bounds);
        let mut ended = false;
        std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let entry = self.shared.call(|| entries.next().transpose()).transpose()?;
            ended = entry.is_err();
            Some(entry.map(|(key, value)| (Value(key), Value(value))))
        })
    }

    /// All keys and their values, ascending. Ends after the first error.
    pub fn iter(&self) -> impl Iterator<Item = Result<(Value, Value), SyncedError>> + '_ {
        self.range(..)
    }
}

impl<'a> SyncedBatch<'a> {
    /// Sets `key` to `value`.
    ///
    /// # Errors
    /// [`SyncedError::TooLarge`].
    pub fn put(&mut self, tree: &'a SyncedTree, key: &[u8], value: &[u8]) -> Result<(), SyncedError> {
        tree.check(key, value)?;
        self.changes(tree).push((key.to_vec(), Some(value.to_vec())));
        Ok(())
    }

    /// Sets `key` to `value` before all other changes, in the order of these calls, and not together with them: a power
    /// cut may leave some of these alone.
    ///
    /// # Errors
    /// [`SyncedError::TooLarge`].
    pub(crate) fn put_first(
        &mut self,
        tree: &'a SyncedTree,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), SyncedError> {
        tree.check(key, value)?;
        self.first.push((tree, key.to_vec(), value.to_vec()));
        Ok(())
    }

    /// Removes `key`, if it is there.
    pub fn remove(&mut self, tree: &'a SyncedTree, key: &[u8]) {
        self.changes(tree).push((key.to_vec(), None));
    }

    fn changes(&mut self, tree: &'a SyncedTree) -> &mut Vec<Change> {
        let place =
            self.trees.iter().position(|(known, _)| std::ptr::eq(*known, tree)).unwrap_or_else(|| {
                self.trees.push((tree, Vec::new()));
                self.trees.len() - 1
            });
        &mut self.trees[place].1
    }
}

/// Makes all changes or none. A lone change needs no batch, for which sled writes and waits twice as often.
fn apply(tree: &sled::Tree, changes: Vec<Change>) -> sled::Result<()> {
    let alone = changes.len() == 1;
    let mut batch = sled::Batch::default();
    for (key, value) in changes {
        match value {
            Some(value) if alone => drop(tree.insert(key, value)?),
            Some(value) => batch.insert(key, value),
            None if alone => drop(tree.remove(key)?),
            None => batch.remove(key),
        }
    }
    if alone { Ok(()) } else { tree.apply_batch(batch) }
}

impl Shared {
    fn dir(&self) -> String {
        self.dir.display().to_string()
    }

    fn check(&self) -> Result<(), SyncedError> {
        if self.failed.load(Ordering::SeqCst) { Err(SyncedError::Failed { dir: self.dir() }) } else { Ok(()) }
    }

    /// Closes the database. sled syncs its file once more, and panics when it cannot.
    fn close(&self) -> Result<(), SyncedError> {
        let Some(last) = self.last.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        if self.failed.load(Ordering::SeqCst) {
            // After a failure it could wait for ever.
            std::mem::forget(last);
            return Ok(());
        }
        self.call(|| {
            drop(last);
            Ok(())
        })
    }

    /// Calls into sled. Its panics, which damaged files and failing disks can cause, become errors.
    fn call<T>(&self, call: impl FnOnce() -> sled::Result<T>) -> Result<T, SyncedError> {
        let error = match quietly(|| catch_unwind(AssertUnwindSafe(call))) {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => self.error(error),
            Err(panic) => {
                // Locks may be held for ever now, so a drop could wait for ever.
                self.failed.store(true, Ordering::SeqCst);
                let what = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("for a reason unknown");
                SyncedError::Damaged { dir: self.dir(), what: format!("the store gave up: {what}") }
            }
        };
        Err(error)
    }

    fn error(&self, error: sled::Error) -> SyncedError {
        let dir = self.dir();
        match error {
            sled::Error::Io(source) if source.to_string().contains("could not acquire lock") => {
                SyncedError::InUse { dir }
            }
            sled::Error::Io(source) => SyncedError::Io { dir, source: plain(source) },
            other => {
                let said = other.to_string();
                SyncedError::Damaged { dir, what: said.trim_end_matches(SLED_NO_BACKTRACE).to_owned() }
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "a store was not closed well; all that was acknowledged had been synced before");
        }
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// sled tells each but the first who meets an error of the system of a copy, which has its kind and, as a text, the form that
/// is meant for programmers.
fn plain(error: io::Error) -> io::Error {
    let is_copy = error.raw_os_error().is_none() && error.to_string().starts_with("Os {");
    if is_copy { error.kind().into() } else { error }
}
