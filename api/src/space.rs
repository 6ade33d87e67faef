//! The free-space mark: writes stop before the disk is full, because sled cannot even be opened on a full one.

use std::io;
use std::path::PathBuf;

/// Watches the free space of a data directory's file system.
#[derive(Clone, Debug)]
pub struct Space {
    dir: PathBuf,
    free_bytes_min: u64,
}

impl Space {
    /// Watches the file system of `dir`, with writes refused below `free_bytes_min` bytes.
    #[must_use]
    pub fn new(dir: PathBuf, free_bytes_min: u64) -> Space {
        Space { dir, free_bytes_min }
    }

    /// How many bytes an unprivileged process may still use.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let figures = rustix::fs::statvfs(&self.dir)?;
        Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
    }

    /// Whether there is room for writes in general.
    #[must_use]
    pub fn for_writes(&self) -> bool {
        self.has(self.free_bytes_min)
    }

    /// Whether there is room for writes that take rights away: these go on down to half of the mark.
    #[must_use]
    pub fn for_revocations(&self) -> bool {
        self.has(self.free_bytes_min / 2)
    }

    fn has(&self, wanted: u64) -> bool {
        match self.free_bytes() {
            Ok(free) => free >= wanted,
            Err(error) => {
                tracing::error!(%error, dir = %self.dir.display(), "cannot tell how much space is free: writes are refused");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revocations_go_on_down_to_half_of_the_mark() {
        let dir = tempfile::tempdir().unwrap();
        let free = Space::new(dir.path().to_owned(), 0).free_bytes().unwrap();
        let mark = |bytes| Space::new(dir.path().to_owned(), bytes);
        assert!(mark(free / 2).for_writes());
        let between = mark(free + free / 2);
        assert!(!between.for_writes() && between.for_revocations());
        assert!(!mark(4 * free).for_revocations());
        assert!(!Space::new(dir.path().join("gone"), 0).for_writes());
    }
}
