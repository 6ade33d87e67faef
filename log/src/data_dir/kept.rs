//! Logs that a restore or a migration has replaced: `kept/N` is a data directory of its own with log N.
//!
//! It is made before the switch, from copies, with an empty directory in the log's place. After the switch the log itself is
//! moved there.

use std::path::PathBuf;

use super::files::copy_durably;
use super::{
    CURRENT, DataDir, DataDirError, VAULT, WITNESS, at, create_private_dir, current_text, exists, fsync_dir,
    log_name, logs, write_atomically,
};

impl DataDir {
    /// Makes sure that the current log will be kept once it is replaced: `kept/N` gets copies of all that belongs to it, and
    /// [`DataDir::remove_other_logs`] will move it there when `next` takes its place. The vault must not be open. Does nothing in
    /// a new directory.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn keep_current_log(&self, next: u64) -> Result<Option<PathBuf>, DataDirError> {
        let Some(current) = self.current() else { return Ok(None) };
        // Where nothing names the current log, any of them can be the one that somebody will want.
        for other in self.unnamed_logs()?.into_iter().filter(|other| ![current, next].contains(other)) {
            self.keep_log(other)?;
        }
        self.keep_log(current).map(Some)
    }

    fn keep_log(&self, number: u64) -> Result<PathBuf, DataDirError> {
        let place = self.kept_place(number);
        if exists(&place)? {
            std::fs::remove_dir_all(&place).map_err(at(&place))?;
        }
        create_private_dir(&place).map_err(at(&place))?;
        for name in [WITNESS, VAULT] {
            let from = self.root.join(name);
            if exists(&from)? {
                copy_durably(&from, &place.join(name)).map_err(at(&from))?;
            }
        }
        let current = place.join(CURRENT);
        write_atomically(&current, current_text(number).as_bytes()).map_err(at(&current))?;
        // Empty: the log's place, and the sign that it is to come here.
        let log = place.join(log_name(number));
        create_private_dir(&log).map_err(at(&log))?;
        fsync_dir(&place).map_err(at(&place))?;
        Ok(place)
    }

    /// Moves the logs that are not `current` to where they are kept, as far as they are to be.
    pub(super) fn move_to_kept(&self, current: u64) -> Result<(), DataDirError> {
        let kept = self.kept_place(current);
        if exists(&kept)? {
            // The replacing was interrupted; these are only copies.
            std::fs::remove_dir_all(&kept).map_err(at(&kept))?;
        }
        for number in logs(&self.root)?.into_iter().filter(|number| *number != current) {
            let (log, place) = (self.log_dir(number), self.kept_place(number).join(log_name(number)));
            if exists(&place)? {
                // Replaces the empty directory, and nothing else.
                std::fs::rename(&log, &place).map_err(at(&place))?;
                fsync_dir(&self.kept_place(number)).map_err(at(&place))?;
            }
        }
        Ok(())
    }

    /// Removes the logs that were kept when they were replaced.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn remove_kept_logs(&self) -> Result<(), DataDirError> {
        let kept = self.kept();
        if exists(&kept)? {
            std::fs::remove_dir_all(&kept).map_err(at(&kept))?;
            fsync_dir(&self.root).map_err(at(&self.root))?;
        }
        Ok(())
    }

    fn kept_place(&self, number: u64) -> PathBuf {
        self.kept().join(number.to_string())
    }
}
