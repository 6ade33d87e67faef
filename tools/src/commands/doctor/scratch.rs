//! A directory for what must be written to be measured, on the file system of the data.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use scrollback_log::data_dir::{SCRATCH_PREFIX, create_private_dir};

/// Held while the directory is in use, so that another run can tell what was left from what is used.
const LOCK: &str = "LOCK";

/// A directory that goes away. One whose process was killed is removed by the next run.
pub(super) struct Scratch {
    dir: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes one in the data directory or, while there is none, in the nearest directory above it.
    pub(super) fn make(data: &Path) -> io::Result<Scratch> {
        let place = nearest(data)?;
        remove_left(&place)?;
        let dir = place.join(format!("{SCRATCH_PREFIX}{}", std::process::id()));
        let about = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", dir.display()));
        create_private_dir(&dir).map_err(about)?;
        let lock = open_lock(&dir).map_err(about)?;
        lock.try_lock().map_err(|error| about(error.into()))?;
        Ok(Scratch { dir, _lock: lock })
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Takes it away.
    pub(super) fn remove(self) -> io::Result<()> {
        std::fs::remove_dir_all(&self.dir)
            .map_err(|error| io::Error::new(error.kind(), format!("{} is left: {error}", self.dir.display())))
    }
}

fn open_lock(dir: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join(LOCK))
}

/// The directory itself if it is there, else the nearest above it.
pub(super) fn nearest(data: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(data)?;
    let there = absolute.ancestors().find(|dir| dir.is_dir());
    there.ok_or(io::ErrorKind::NotFound)?.canonicalize()
}

/// Removes what killed runs have left: what nobody holds any more.
fn remove_left(place: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(place)? {
        let entry = entry?;
        let is_scratch = entry.file_name().to_string_lossy().starts_with(SCRATCH_PREFIX);
        if !is_scratch || !entry.file_type()?.is_dir() {
            continue;
        }
        match open_lock(&entry.path())?.try_lock() {
            Ok(()) => std::fs::remove_dir_all(entry.path())?,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_is_removed_and_what_is_used_is_not() {
        let place = tempfile::tempdir().unwrap();
        let left = place.path().join(format!("{SCRATCH_PREFIX}1"));
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join("big"), "left").unwrap();
        let kept = place.path().join("other");
        std::fs::create_dir(&kept).unwrap();
        let used = place.path().join(format!("{SCRATCH_PREFIX}2"));
        std::fs::create_dir(&used).unwrap();
        let held = open_lock(&used).unwrap();
        held.lock().unwrap();
        let scratch = Scratch::make(&place.path().join("not/there/yet")).unwrap();
        assert!(!left.exists() && kept.exists() && used.exists() && scratch.dir.exists());
        let dir = scratch.dir.clone();
        scratch.remove().unwrap();
        assert!(!dir.exists());
    }
}
