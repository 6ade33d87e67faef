//! The file in which sled keeps everything, opened beside sled: so that it can be synced, and be filled ahead.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::data_dir::{create_private_dir, fsync_dir};

/// How far the file is filled with zeros when a small commit has made it grow, once it is as long as that itself.
const FILL_BYTES: usize = 1 << 20;
/// A commit that made the file grow by more has no use for it: the next one would too.
const FILL_AFTER_GROWTH_MAX: u64 = FILL_BYTES as u64 / 8;

/// A handle to the file.
pub(super) struct DbFile {
    file: File,
    /// How long it was after the last sync.
    length: AtomicU64,
}

impl DbFile {
    /// Makes the directory and the `db` file what they have to be before sled opens them.
    pub(super) fn open(dir: &Path) -> io::Result<DbFile> {
        create_private_dir(dir)?;
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b"snap.")
                && name.as_encoded_bytes().ends_with(b".generating")
            {
                std::fs::remove_file(entry.path())?;
            }
        }
        let file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(dir.join("db"))?;
        file.sync_data()?;
        Ok(DbFile { file, length: AtomicU64::new(0) })
    }

    /// Makes what was written to the file durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.fill_ahead();
        self.file.sync_data()
    }

    /// Fills the file with zeros if the last commit has made it grow by a little. The file is open for appending, so what
    /// sled writes at this moment from a thread of its own lies before the zeros, or over them, but never under them. sled
    /// takes them for free space, which it uses or cuts off. Without them commits are slower, so a failure is none.
    fn fill_ahead(&self) {
        let Ok(length) = self.file.metadata().map(|metadata| metadata.len()) else { return };
        let grown = length.saturating_sub(self.length.swap(length, Ordering::Relaxed));
        let wants = length >= FILL_BYTES as u64 && (1..=FILL_AFTER_GROWTH_MAX).contains(&grown);
        if wants && (&self.file).write_all(&[0; FILL_BYTES]).is_ok() {
            self.length.store(length + FILL_BYTES as u64, Ordering::Relaxed);
        }
    }
}

/// Makes what opening left behind private and durable.
pub(super) fn settle(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            std::fs::set_permissions(&path, Permissions::from_mode(0o700))?;
            fsync_dir(&path)?;
        } else {
            std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            File::open(&path)?.sync_all()?;
        }
    }
    fsync_dir(dir)
}
