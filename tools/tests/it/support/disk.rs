//! A small disk that can be filled up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in memory, gone when it is dropped.
pub(crate) struct Disk(tempfile::TempDir);

impl Disk {
    /// None, with a word about it, where nobody may mount one.
    pub(crate) fn mount(mib: usize) -> Option<Self> {
        let place = tempfile::Builder::new().prefix("scrollback-disk-").tempdir().unwrap();
        let options = format!("size={mib}m,mode=700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "scrollback-test"])
            .arg(place.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(place)),
            Ok(output) => {
                eprintln!(
                    "skipped: no file system can be mounted: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
                None
            }
            Err(error) => {
                eprintln!("skipped: there is no mount: {error}");
                None
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    pub(crate) fn free(&self) -> u64 {
        let output = Command::new("df").args(["--output=avail", "-B1"]).arg(self.0.path()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).lines().last().unwrap().trim().parse().unwrap()
    }

    /// Takes space until only so much is left.
    pub(crate) fn fill_up(&self, left: u64) {
        fill(&self.filler(), self.free().saturating_sub(left));
    }

    pub(crate) fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

/// Makes a file longer by so many bytes, or as many as there is room for.
pub(crate) fn fill(file: &Path, bytes: u64) {
    let zeros = vec![0; usize::try_from(bytes).unwrap()];
    let mut file = fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
    // Whatever of it fits.
    let _ = std::io::Write::write_all(&mut file, &zeros);
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
