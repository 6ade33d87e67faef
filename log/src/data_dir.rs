//! The data directory: who may use it, what is in it, and which log is the current one.
//!
//! ```text
//! LOCK      held while a process works on the directory; holds its process id
//! CURRENT   names the log: "log.N CRC32\n"
//! log.N/    the log
//! witness   the last durable offset, outside the log's own directory
//! views/    checkpoints; can be deleted while nothing runs
//! vault/    password and token hashes
//! kept/N/   a data directory of its own with log N, which a restore or a migration has replaced
//! witness.N the witness of log N, until that is the current one and this has taken the place of `witness`
//! scratch.PID/  what `doctor` measures with; can be deleted once that process has ended
//! CREATING  there until the directory is complete for the first time
//! ```
//! A directory becomes usable at one moment: when `CURRENT` is renamed into place. Until then `CREATING` says that what
//! is there may be thrown away. Without both files, anything that looks like a log is a log that has lost its name,
//! and is not touched.

mod files;
mod kept;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub use files::{create_private_dir, fsync_dir, write_atomically};

const LOCK: &str = "LOCK";
const CURRENT: &str = "CURRENT";
const CREATING: &str = "CREATING";
const WITNESS: &str = "witness";
const VIEWS: &str = "views";
const VAULT: &str = "vault";
const KEPT: &str = "kept";
const LOG_PREFIX: &str = "log.";
const WITNESS_PREFIX: &str = "witness.";
/// How the names begin of directories that hold nothing of worth and go away.
pub const SCRATCH_PREFIX: &str = "scratch.";
/// More than this is not a `CURRENT` file.
const CURRENT_BYTES_MAX: u64 = 64;
/// The number of a new directory's log.
const FIRST_LOG: u64 = 1;

/// A data directory that this process has for itself until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    current: Mutex<Option<u64>>,
    /// Whether `CURRENT` names it. If not, it is only taken for it.
    is_named: bool,
    /// Held, not read: the lock goes when the file is closed.
    _lock: File,
}

/// A data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process works on it.
    #[error("{root} is in use by process {pid}; stop it first")]
    InUse {
        /// The directory.
        root: String,
        /// The process, as far as it is known.
        pid: String,
    },
    /// There is no complete data directory.
    #[error("{root} is not a Scrollback data directory; `scrollback serve` creates one")]
    NotThere {
        /// The directory.
        root: String,
    },
    /// The directory holds other things.
    #[error(
        "{root} holds {entry}, so it is not an empty directory in which Scrollback could begin; name another one"
    )]
    Foreign {
        /// The directory.
        root: String,
        /// Something in it.
        entry: String,
    },
    /// There are data but nothing says which log is the current one.
    #[error(
        "{root} holds {entry} but no file CURRENT that names its log; nothing was changed. Put CURRENT back from a \
         copy of the directory"
    )]
    CurrentMissing {
        /// The directory.
        root: String,
        /// What is there instead.
        entry: String,
    },
    /// The file that names the current log is not what was written.
    #[error(
        "{root}/CURRENT is damaged ({what}); nothing was changed. Put it back from a copy of the directory"
    )]
    CurrentDamaged {
        /// The directory.
        root: String,
        /// What is wrong with it.
        what: String,
    },
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// What was read or written.
        path: String,
        /// What the operating system said.
        source: io::Error,
    },
}

impl DataDir {
    /// Takes the directory at `root` for this process, creating it if it is not there.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn create_or_open(root: &Path) -> Result<DataDir, DataDirError> {
        create_private_dir(root).map_err(at(root))?;
        if !exists(&root.join(CURRENT))? && !exists(&root.join(CREATING))? {
            // Before anything is put into somebody else's directory.
            refuse_occupied(root)?;
        }
        let lock = lock(root)?;
        let current = read_current(root)?;
        if current.is_none() {
            begin(root)?;
        }
        DataDir::complete(root, lock, current)
    }

    /// Takes the directory at `root` for this process if it is a complete data directory.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn open_existing(root: &Path) -> Result<DataDir, DataDirError> {
        let not_there = || DataDirError::NotThere { root: root.display().to_string() };
        if !exists(&root.join(CURRENT))? {
            if exists(root)? && !exists(&root.join(CREATING))? {
                refuse_occupied(root).map_err(|error| match error {
                    DataDirError::Foreign { .. } => not_there(),
                    other => other,
                })?;
            }
            return Err(not_there());
        }
        let lock = lock(root)?;
        let current = read_current(root)?.ok_or_else(not_there)?;
        DataDir::complete(root, lock, Some(current))
    }

    /// Takes the directory at `root` for this process whatever has become of it, for a backup to be restored there; creates
    /// it if it is not there. Where nothing names the current log, the newest one that is there counts.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn open_to_restore(root: &Path) -> Result<DataDir, DataDirError> {
        match DataDir::create_or_open(root) {
            Err(DataDirError::CurrentMissing { .. } | DataDirError::CurrentDamaged { .. }) => {}
            outcome => return outcome,
        }
        let lock = lock(root)?;
        let newest = logs(root)?.into_iter().max();
        Ok(DataDir { is_named: false, ..DataDir::complete(root, lock, newest)? })
    }

    /// The logs that may be the current one, the newest first, where nothing names it; none where one is named.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn unnamed_logs(&self) -> Result<Vec<u64>, DataDirError> {
        if self.is_named {
            return Ok(Vec::new());
        }
        let mut numbers = logs(&self.root)?;
        numbers.sort_unstable_by(|one, other| other.cmp(one));
        Ok(numbers)
    }

    /// Takes this one of the [`DataDir::unnamed_logs`] for the current one.
    pub fn presume(&self, number: u64) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(number);
    }

    fn complete(root: &Path, lock: File, current: Option<u64>) -> Result<DataDir, DataDirError> {
        if let Some(number) = current {
            let log = root.join(log_name(number));
            if !exists(&log)? {
                let what = format!("it names {}, which is not there", log_name(number));
                return Err(DataDirError::CurrentDamaged { root: root.display().to_string(), what });
            }
            remove_if_there(&root.join(CREATING))?;
            settle_witness(root, number)?;
        }
        create_private_dir(&root.join(VIEWS)).map_err(at(root))?;
        let current = Mutex::new(current);
        Ok(DataDir { root: root.to_owned(), current, is_named: true, _lock: lock })
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The current log's number; none until the first log of a new directory is complete.
    #[must_use]
    pub fn current(&self) -> Option<u64> {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the log that is, or in a new directory will be, the current one.
    #[must_use]
    pub fn log_number(&self) -> u64 {
        self.current().unwrap_or(FIRST_LOG)
    }

    /// The directory of the log `number`.
    #[must_use]
    pub fn log_dir(&self, number: u64) -> PathBuf {
        self.root.join(log_name(number))
    }

    /// The witness.
    #[must_use]
    pub fn witness(&self) -> PathBuf {
        self.root.join(WITNESS)
    }

    /// The witness of a log that is about to become the current one.
    #[must_use]
    pub fn witness_of(&self, number: u64) -> PathBuf {
        self.root.join(witness_name(number))
    }

    /// Where replaced logs are kept, each as a data directory of its own.
    #[must_use]
    pub fn kept(&self) -> PathBuf {
        self.root.join(KEPT)
    }

    /// Where checkpoints are.
    #[must_use]
    pub fn views(&self) -> PathBuf {
        self.root.join(VIEWS)
    }

    /// Where the vault is.
    #[must_use]
    pub fn vault(&self) -> PathBuf {
        self.root.join(VAULT)
    }

    /// Makes `number` the current log, durably: a crash leaves the one before or this one.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn switch_to(&self, number: u64) -> Result<(), DataDirError> {
        let path = self.root.join(CURRENT);
        write_atomically(&path, current_text(number).as_bytes()).map_err(at(&path))?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(number);
        remove_if_there(&self.root.join(CREATING))?;
        settle_witness(&self.root, number)
    }

    /// The number for a log that is to be written beside the current one. What an interrupted attempt left there is
    /// removed.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn begin_next_log(&self) -> Result<u64, DataDirError> {
        let number = if self.is_named {
            self.current().map_or(FIRST_LOG, |current| current + 1)
        } else {
            logs(&self.root)?.into_iter().max().map_or(FIRST_LOG, |newest| newest + 1)
        };
        self.discard_log(number)?;
        Ok(number)
    }

    /// Removes a log that did not become the current one.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn discard_log(&self, number: u64) -> Result<(), DataDirError> {
        remove_logs(&self.root, |other| other == number)?;
        remove_if_there(&self.witness_of(number))
    }

    /// Removes the logs that are not the current one, or moves them to where they are kept: what `compact`, `restore` and a
    /// migration leave. Called once the current log has been found sound.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn remove_other_logs(&self) -> Result<(), DataDirError> {
        let Some(current) = self.current() else { return Ok(()) };
        self.move_to_kept(current)?;
        remove_logs(&self.root, |number| number != current)
    }
}

/// Begins a new directory, throwing away what an interrupted beginning left.
fn begin(root: &Path) -> Result<(), DataDirError> {
    let creating = root.join(CREATING);
    if exists(&creating)? {
        remove_if_there(&root.join(WITNESS))?;
        remove_logs(root, |_| true)?;
    } else {
        refuse_occupied(root)?;
        write_atomically(&creating, b"").map_err(at(&creating))?;
    }
    // The directory's own entry must be as durable as what will be put into it.
    let parent = root.canonicalize().map_err(at(root))?;
    parent.parent().map_or(Ok(()), fsync_dir).map_err(at(root))
}

/// Refuses a directory that holds anything but what an unused one may hold.
fn refuse_occupied(root: &Path) -> Result<(), DataDirError> {
    let mut foreign = None;
    for entry in std::fs::read_dir(root).map_err(at(root))? {
        let name = entry.map_err(at(root))?.file_name().to_string_lossy().into_owned();
        if name.starts_with(LOG_PREFIX) || [WITNESS, VIEWS, VAULT, KEPT].contains(&name.as_str()) {
            return Err(DataDirError::CurrentMissing { root: root.display().to_string(), entry: name });
        }
        let is_none_of_ours = [LOCK, CREATING, SCRATCH_PREFIX].iter().all(|known| !name.starts_with(known));
        if is_none_of_ours && name != "lost+found" {
            foreign = Some(name);
        }
    }
    match foreign {
        Some(entry) => Err(DataDirError::Foreign { root: root.display().to_string(), entry }),
        None => Ok(()),
    }
}

fn remove_logs(root: &Path, which: impl Fn(u64) -> bool) -> Result<(), DataDirError> {
    for number in logs(root)?.into_iter().filter(|number| which(*number)) {
        let log = root.join(log_name(number));
        std::fs::remove_dir_all(&log).map_err(at(&log))?;
    }
    fsync_dir(root).map_err(at(root))
}

/// The numbers of the logs in `root`.
fn logs(root: &Path) -> Result<Vec<u64>, DataDirError> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(root).map_err(at(root))? {
        let entry = entry.map_err(at(root))?;
        numbers.extend(entry.file_name().to_str().and_then(log_number));
    }
    Ok(numbers)
}

/// Puts the witness that was made for the log `current` in its place, and removes those of logs that never became the
/// current one.
fn settle_witness(root: &Path, current: u64) -> Result<(), DataDirError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).map_err(at(root))? {
        let name = entry.map_err(at(root))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(WITNESS_PREFIX)?.parse().ok());
        found.extend(number.filter(|number| name.to_str() == Some(&witness_name(*number))));
    }
    for number in found {
        let path = root.join(witness_name(number));
        if number == current {
            std::fs::rename(&path, root.join(WITNESS)).map_err(at(&path))?;
            fsync_dir(root).map_err(at(root))?;
        } else {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}

fn lock(root: &Path) -> Result<File, DataDirError> {
    let path = root.join(LOCK);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // The process id is only for the message; whoever holds the lock may be about to write it.
            let _ = file.take(CURRENT_BYTES_MAX).read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "unknown".into() } else { pid.trim().to_owned() };
            return Err(DataDirError::InUse { root: root.display().to_string(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(at(&path)(source)),
    }
    let pid = format!("{}\n", std::process::id());
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(pid.as_bytes()))
        .map_err(at(&path))?;
    Ok(file)
}

fn read_current(root: &Path) -> Result<Option<u64>, DataDirError> {
    let path = root.join(CURRENT);
    let mut bytes = Vec::new();
    match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(&path)(error)),
        Ok(file) => file.take(CURRENT_BYTES_MAX).read_to_end(&mut bytes).map_err(at(&path))?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let number = text.split_once(' ').and_then(|(name, _)| log_number(name));
    match number {
        Some(number) if current_text(number) == text => Ok(Some(number)),
        _ => {
            let what = format!("it reads {text:?}");
            Err(DataDirError::CurrentDamaged { root: root.display().to_string(), what })
        }
    }
}

/// The name of the current log's directory, read without taking the data directory; none when there are no data yet.
///
/// # Errors
/// See [`DataDirError`].
pub fn read_current_name(root: &Path) -> Result<Option<String>, DataDirError> {
    let Some(number) = read_current(root)? else {
        if !exists(&root.join(CREATING))? {
            refuse_occupied(root)?;
        }
        return Ok(None);
    };
    let name = log_name(number);
    if !exists(&root.join(&name))? {
        let what = format!("it names {name}, which is not there");
        return Err(DataDirError::CurrentDamaged { root: root.display().to_string(), what });
    }
    Ok(Some(name))
}

/// Where the lock of the data directory `root` is.
#[must_use]
pub fn lock_of(root: &Path) -> PathBuf {
    root.join(LOCK)
}

/// Where the witness of the data directory `root` is.
#[must_use]
pub fn witness_of(root: &Path) -> PathBuf {
    root.join(WITNESS)
}

fn current_text(number: u64) -> String {
    let name = log_name(number);
    format!("{name} {:08x}\n", crc32fast::hash(name.as_bytes()))
}

fn log_name(number: u64) -> String {
    format!("{LOG_PREFIX}{number}")
}

fn witness_name(number: u64) -> String {
    format!("{WITNESS_PREFIX}{number}")
}

/// The number of the log that a directory's name stands for; only what [`log_name`] writes is read.
fn log_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix(LOG_PREFIX)?.parse().ok()?;
    (log_name(number) == name).then_some(number)
}

fn exists(path: &Path) -> Result<bool, DataDirError> {
    path.try_exists().map_err(at(path))
}

fn remove_if_there(path: &Path) -> Result<(), DataDirError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        Err(_) => Ok(()),
        Ok(()) => path.parent().map_or(Ok(()), fsync_dir).map_err(at(path)),
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> DataDirError + use<> {
    let path = path.display().to_string();
    move |source| DataDirError::Io { path: path.clone(), source }
}
