//! A log from a backup, and the switch to it; and going on with a log that has lost its tail.
//!
//! The new log is written beside the current one ([`stage`]), changed there by the caller if need be, and becomes the current
//! one by [`Staged::adopt`]. A crash before the switch leaves the old log as the current one, after it the new one; a second
//! run finishes.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use crate::backup::{BackupError, BackupReader, Summary};
use crate::copy::{Copy, CopyError};
use crate::data_dir::{DataDir, DataDirError};
use crate::engine::chunked::{ChunkStore, ChunkedEngine, FORMAT_MARK, StoreError};
use crate::engine::sled::SledStore;
use crate::open::{self, LogOptions, OpenError};
use crate::verify::Progress;
use crate::witness::{Testimony, Witness};
use crate::{Appender, Head, Log};

/// A log that is written and not the current one.
pub struct Staged {
    number: u64,
    /// Its readers' side.
    pub log: Arc<Log>,
    /// Its writing side. It has no witness yet.
    pub appender: Appender,
}

/// A log could not be made from a backup. The current one is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be read.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The new log cannot be written or read.
    #[error("the new log cannot be written: {0}; the old one stays in use")]
    Write(StoreError),
    /// The data directory or the new log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl From<DataDirError> for RestoreError {
    fn from(error: DataDirError) -> RestoreError {
        RestoreError::Open(error.into())
    }
}

/// Where nothing names the current log of `dir`, takes the newest one for it that is a complete log.
///
/// # Errors
/// [`OpenError`].
pub fn settle_on_a_log(dir: &DataDir, options: &LogOptions) -> Result<(), OpenError> {
    for number in dir.unnamed_logs()? {
        let store = SledStore::open(&dir.log_dir(number), options.cache_bytes);
        if store.is_ok_and(|store| matches!(store.mark(FORMAT_MARK), Ok(Some(_)))) {
            dir.presume(number);
            break;
        }
    }
    Ok(())
}

/// Writes the log of the backup that `reader` gives beside the current one of `dir`.
///
/// # Errors
/// See [`RestoreError`].
pub fn stage<R: Read>(
    dir: &DataDir,
    reader: &mut BackupReader<R>,
    options: &LogOptions,
) -> Result<(Staged, Summary), RestoreError> {
    let number = dir.begin_next_log()?;
    let outcome = write(dir, number, reader, options);
    if outcome.is_err() {
        // A disk that is full is left with what it had. A failure here is removed by the next run.
        let _ = dir.discard_log(number);
    }
    outcome
}

fn write<R: Read>(
    dir: &DataDir,
    number: u64,
    reader: &mut BackupReader<R>,
    options: &LogOptions,
) -> Result<(Staged, Summary), RestoreError> {
    let place = dir.log_dir(number);
    let store =
        SledStore::open(&place, options.cache_bytes).map_err(|error| open::store_error(&place, error))?;
    let mut copy = Copy::new(&store, options.chunks);
    let summary = reader.read(&mut |envelope| match copy.push(envelope) {
        Ok(_) => Ok(()),
        Err(CopyError::Write(error)) => Err(RestoreError::Write(error)),
        // The reader has checked it; were it not so, it would be the backup that does not fit.
        Err(CopyError::Misfit(offset)) => {
            let what = format!("record {offset} does not fit the chain of hashes");
            Err(BackupError::Damaged { byte: 0, what }.into())
        }
    })?;
    copy.finish(summary.erased_through).map_err(RestoreError::Write)?;
    let engine = ChunkedEngine::open_existing(store, options.chunks)
        .map_err(|error| open::chunked_error(&place, error))?;
    let (log, appender) = Log::new(Arc::new(engine), None);
    Ok((Staged { number, log, appender }, summary))
}

/// A step of a switch, told before it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The new log's witness is written.
    Witnessing,
    /// The new log becomes the current one.
    Switching,
    /// The old log goes to where it is kept, or away.
    Replacing,
    /// All is done.
    Done,
}

impl Staged {
    pub(crate) fn new(number: u64, log: Arc<Log>, appender: Appender) -> Staged {
        Staged { number, log, appender }
    }

    /// Makes this the current log of `dir`. Whoever keeps anything else that belongs to the old log has dealt with it before.
    ///
    /// # Errors
    /// [`OpenError`]; which log is the current one is known after the next opening.
    pub fn adopt(&self, dir: &DataDir, progress: &mut dyn FnMut(Step)) -> Result<(), OpenError> {
        progress(Step::Witnessing);
        let path = dir.witness_of(self.number);
        Witness::create(&path, self.appender.head()).map_err(|error| open::io(&path, &error))?;
        progress(Step::Switching);
        dir.switch_to(self.number)?;
        progress(Step::Replacing);
        dir.remove_other_logs()?;
        progress(Step::Done);
        Ok(())
    }

    /// Makes sure that the log which this is to replace will be kept; see [`DataDir::keep_current_log`].
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn keep_replaced(&self, dir: &DataDir) -> Result<Option<PathBuf>, OpenError> {
        Ok(dir.keep_current_log(self.number)?)
    }

    /// Throws it away.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn discard(self, dir: &DataDir) -> Result<(), OpenError> {
        let Staged { number, log, appender } = self;
        drop((log, appender));
        Ok(dir.discard_log(number)?)
    }
}

/// Checks every record of the current log of `dir`, whatever its witness says, and opens it for going on with what is there.
/// [`accept`] must follow.
///
/// # Errors
/// See [`OpenError`]; [`OpenError::Damaged`] when a record is not what was written.
pub fn open_checked(
    dir: &DataDir,
    options: &LogOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Arc<Log>, Appender), OpenError> {
    Ok(Log::new(Arc::new(open::open_sound_engine(dir, options, progress)?), None))
}

/// The newest record that the witness of `dir` knows of; none if it is missing or damaged.
///
/// # Errors
/// [`OpenError::Io`].
pub fn witnessed(dir: &DataDir) -> Result<Option<Head>, OpenError> {
    let path = dir.witness();
    match Witness::read(&path).map_err(|error| open::io(&path, &error))? {
        Testimony::Head(head) => Ok(Some(head)),
        Testimony::Missing | Testimony::Damaged => Ok(None),
    }
}

/// Writes the witness anew, so that the log as `appender` has it is the one that was there all along.
///
/// # Errors
/// [`OpenError::Io`].
pub fn accept(dir: &DataDir, appender: &Appender) -> Result<(), OpenError> {
    let path = dir.witness();
    Witness::create(&path, appender.head()).map(|_| ()).map_err(|error| open::io(&path, &error))
}
