//! A backup becomes the log of a data directory; and a log that has lost its tail is accepted as it is.
//!
//! What the replaced log had deleted after the backup was made must not come back. So its deletions, and the rights that it
//! had taken away, are read from it as far as it can be read, and written into the new log before that becomes the current
//! one.

mod carry;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use scrollback_log::backup::{BackupReader, Summary};
use scrollback_log::clock::Clock;
use scrollback_log::data_dir::DataDir;
use scrollback_log::remains::Remains;
use scrollback_log::restore::{self, Staged};
use scrollback_log::verify as verification;
use scrollback_log::{Appender, Head, Log, LogOptions, NewRecord, Offset};
use scrollback_projections::facts::{self, Action, Audited};
use scrollback_projections::{Progress, ViewSettings, Views, checkpoint};
use tokio::sync::watch;

use carry::Since;
pub use carry::{Carried, Lost};

use super::{NodeError, new_origin, store_and_close};
use crate::memory::Memory;
use crate::space::Space;
use crate::vault::{self, SessionLives, Vault, VaultOptions};

/// How many records are appended at once.
const BATCH_RECORDS: usize = 1024;

/// What was there before a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// The directory is new.
    Nothing,
    /// A log with the same past as the backup's up to `common`.
    SamePast {
        /// The last record that both have.
        common: Offset,
        /// Where it ends.
        head: Offset,
        /// What was said there since, and is lost.
        lost: Lost,
        /// What could not be read of it since; a deletion there is not carried over.
        unreadable: Vec<String>,
    },
    /// A log that has nothing in common with the backup's.
    OtherLog,
    /// A log that cannot be read: what it had deleted since the backup comes back.
    Unreadable(String),
}

/// What a restore did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What the backup holds; without its attachments.
    pub backup: Summary,
    /// What it replaced.
    pub replaced: Replaced,
    /// What was carried over from there.
    pub carried: Carried,
    /// Where the new log ends.
    pub head: Head,
    /// How many live messages it has.
    pub messages: u64,
    /// Where the replaced log is kept, as a data directory of its own.
    pub kept: Option<PathBuf>,
}

/// A part of the work, told before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The backup is read and written as a log.
    Writing,
    /// The views of that log are made.
    Folding(Progress),
    /// What the replaced log deleted is carried over and erased.
    Carrying,
    /// Copies of what belongs to the replaced log are put where it will be kept.
    Keeping,
    /// Passwords come in, sessions end.
    Secrets,
    /// The log's own part of the switch.
    Log(restore::Step),
    /// The views are stored.
    Storing,
}

/// Makes the backup that `from` gives the log of `data`, under a new origin. All sessions and API tokens end. With `dry_run`
/// everything is tried and nothing is changed; it needs the same space meanwhile.
///
/// # Errors
/// See [`NodeError`]. Until the very end the old log stays the current one.
pub fn restore(
    data: &Path,
    from: impl Read,
    clock: &dyn Clock,
    settings: ViewSettings,
    dry_run: bool,
    progress: &mut dyn FnMut(Step),
) -> Result<Restored, NodeError> {
    let dir = DataDir::open_to_restore(data)?;
    let options = LogOptions::default();
    restore::settle_on_a_log(&dir, &options)?;
    progress(Step::Writing);
    let (mut staged, mut backup) = restore::stage(&dir, &mut BackupReader::new(from), &options)?;
    let outcome = vault::check_carried(&backup.attachments)
        .map_err(NodeError::from)
        .and_then(|()| prepare(&dir, &mut staged, &options, clock, settings, progress));
    let (views, replaced, carried) = match outcome {
        Ok(prepared) if !dry_run => prepared,
        other => {
            let head = staged.appender.head();
            let discarded = staged.discard(&dir);
            let (views, replaced, carried) = other?;
            discarded?;
            let messages = views.messages().len();
            backup.attachments.clear();
            return Ok(Restored { backup, replaced, carried, head, messages, kept: None });
        }
    };
    progress(Step::Keeping);
    let kept = staged.keep_replaced(&dir)?;
    progress(Step::Secrets);
    let vault = open_vault(&dir, kept.is_some())?;
    vault.take_carried(&std::mem::take(&mut backup.attachments))?;
    // Sessions name users by offsets, and behind the common past these are others.
    vault.end_all()?;
    drop(vault);
    checkpoint::remove(&dir.views())?;
    staged.adopt(&dir, &mut |step| progress(Step::Log(step)))?;
    progress(Step::Storing);
    let head = store_and_close(&dir, &options, &views, staged.log, staged.appender)?;
    Ok(Restored { backup, replaced, carried, head, messages: views.messages().len(), kept })
}

/// Brings a staged log to where it can become the current one: its views, what is carried over, its new origin, and nothing
/// left of what its deletions name.
fn prepare(
    dir: &DataDir,
    staged: &mut Staged,
    options: &LogOptions,
    clock: &dyn Clock,
    settings: ViewSettings,
    progress: &mut dyn FnMut(Step),
) -> Result<(Views, Replaced, Carried), NodeError> {
    let mut views = scrollback_projections::rebuild(&staged.log, settings, &mut |at| {
        progress(Step::Folding(at));
    })?;
    progress(Step::Carrying);
    let backup_head = views.at();
    let (replaced, since) = match dir.current() {
        None => (Replaced::Nothing, Since::default()),
        Some(_) => read_replaced(dir, options, &staged.log),
    };
    let carried = since.carry(&views);
    let (log, appender) = (&staged.log, &mut staged.appender);
    let mut records = vec![new_origin()?, noted(Action::Restored, backup_head)?];
    records.extend(carried.records()?);
    while !records.is_empty() {
        let rest = records.split_off(records.len().min(BATCH_RECORDS));
        append(log, appender, &mut views, clock, records)?;
        records = rest;
    }
    while appender.erase_step()? {}
    Ok((views, replaced, carried))
}

/// Reads what the current log has deleted since its past and the backup's parted.
fn read_replaced(dir: &DataDir, options: &LogOptions, new: &Log) -> (Replaced, Since) {
    let remains = match Remains::open(dir, options) {
        Ok(remains) => remains,
        Err(error) => return (Replaced::Unreadable(error.to_string()), Since::default()),
    };
    let common = remains.common_past(new);
    if common == Offset::BEGINNING {
        return (Replaced::OtherLog, Since::default());
    }
    let mut since = Since::after(common);
    let (errors, count) = remains.scan(common, &mut |record| since.take(&record));
    let mut unreadable: Vec<String> = errors.iter().map(ToString::to_string).collect();
    if count > errors.len() as u64 {
        unreadable.push(format!("and {} more places", count - errors.len() as u64));
    }
    unreadable.extend(since.unknown());
    match restore::witnessed(dir) {
        Ok(Some(witness)) if witness.offset > remains.end() => {
            let from = remains.end().next();
            unreadable.push(format!("records {from} to {} were there once and are lost", witness.offset));
        }
        Ok(Some(_)) => {}
        Ok(None) | Err(_) => {
            unreadable.push("without its witness nothing tells whether its end is lost".into())
        }
    }
    let replaced = Replaced::SamePast { common, head: remains.end(), lost: since.lost(), unreadable };
    (replaced, since)
}

/// The record that tells an audit what was done.
fn noted(action: Action, subject: Offset) -> Result<NewRecord, NodeError> {
    facts::record(&Audited { by: None, action, subject: Some(subject) }).map_err(NodeError::unencodable)
}

/// Appends records to a log that nobody else writes, and does all that the writer would.
fn append(
    log: &Log,
    appender: &mut Appender,
    views: &mut Views,
    clock: &dyn Clock,
    records: Vec<NewRecord>,
) -> Result<(), NodeError> {
    let time = clock.now().max(appender.head().time);
    for sealed in appender.append(time, records)? {
        if let Some(named) = views.apply(&sealed.as_record())? {
            log.mask(named.deletion, named.targets);
        }
    }
    appender.publish();
    Ok(())
}

/// Opens the vault of a directory that is being restored. One that does not open is begun anew, if there is a copy.
fn open_vault(dir: &DataDir, is_copied: bool) -> Result<Vault, NodeError> {
    let open = || {
        let options = VaultOptions {
            // All of them are ended.
            session_lives: SessionLives { idle: Duration::MAX, whole: Duration::MAX },
            password_hashers_max: 1,
            password_waiters_max: 0,
            memory: Memory::new(None),
            space: Space::new(dir.root().to_owned(), 0),
            failed: watch::Sender::new(false),
        };
        Vault::open(&dir.vault(), &options)
    };
    match open() {
        Err(error) if is_copied => {
            tracing::warn!(%error, "the vault does not open; it is begun anew with the backup's passwords");
            std::fs::remove_dir_all(dir.vault()).map_err(NodeError::io("removing the vault"))?;
            Ok(open()?)
        }
        outcome => Ok(outcome?),
    }
}

/// What accepting a log as it is did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Where it ended.
    pub found: Head,
    /// How far it was durable once, as far as its witness tells.
    pub witnessed: Option<Head>,
    /// Where it ends now.
    pub head: Head,
}

/// Goes on with the log of `data` as it is, under a new origin, whatever its witness and the checkpoint say: after its tail
/// was lost, or an older copy was put in its place. Every record is checked first. All sessions and API tokens end.
///
/// # Errors
/// See [`NodeError`]. A second run finishes what an interrupted one began.
pub fn accept_current(
    data: &Path,
    clock: &dyn Clock,
    settings: ViewSettings,
    progress: &mut dyn FnMut(Progress),
) -> Result<Accepted, NodeError> {
    let dir = DataDir::open_existing(data)?;
    let options = LogOptions::default();
    let witnessed = restore::witnessed(&dir)?;
    let mut told = |step: verification::Progress| progress(Progress { at: step.at, head: step.head });
    let (log, mut appender) = restore::open_checked(&dir, &options, &mut told)?;
    let found = log.head();
    let mut views = scrollback_projections::rebuild(&log, settings, progress)?;
    // Before anything new is said: a session of a user who is lost must not become that of the next one at that offset.
    open_vault(&dir, false)?.end_all()?;
    checkpoint::remove(&dir.views())?;
    let records = vec![new_origin()?, noted(Action::RollbackAccepted, found.offset)?];
    append(&log, &mut appender, &mut views, clock, records)?;
    restore::accept(&dir, &appender)?;
    let head = store_and_close(&dir, &options, &views, log, appender)?;
    Ok(Accepted { found, witnessed, head })
}

#[cfg(test)]
mod tests;
