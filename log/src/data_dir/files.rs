//! Files and directories whose changes are durable, and nobody else's to read.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Creates the directory `path`, and those above it that are missing, with mode 0700 whatever the umask says. An
/// existing directory is left as it is.
///
/// # Errors
/// When the operating system refuses.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o700))?;
    path.canonicalize()?.parent().map_or(Ok(()), fsync_dir)
}

/// Makes a directory's entries durable.
///
/// # Errors
/// When the operating system refuses.
pub fn fsync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Writes the file `path` with mode 0600 such that a crash leaves it as it was or with exactly `bytes`: to a file
/// beside it, synced, renamed over it, and the directory synced.
///
/// # Errors
/// When the operating system refuses.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), fsync_dir)
}

/// Copies a file, or a directory with all that is in it, durably but for its own entry.
pub(super) fn copy_durably(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        create_private_dir(to)?;
        for entry in std::fs::read_dir(from)? {
            let name = entry?.file_name();
            copy_durably(&from.join(&name), &to.join(&name))?;
        }
        return fsync_dir(to);
    }
    // What is copied is a vault and a witness: small enough to be held.
    let mut copy = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to)?;
    copy.write_all(&std::fs::read(from)?)?;
    copy.sync_all()
}
