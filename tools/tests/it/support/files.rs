//! Data directories as files: copied, listed, searched.

use std::fs;
use std::path::{Path, PathBuf};

/// Copies a directory with all it holds.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// Every file below a directory, in a fixed order.
pub(crate) fn all(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files.extend(all(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// The bytes that the files of a directory hold, together.
pub(crate) fn bytes(directory: &Path) -> u64 {
    all(directory).iter().map(|file| fs::metadata(file).unwrap().len()).sum()
}

/// The bytes of a directory that a running server may be changing.
pub(crate) fn bytes_of_a_moving_directory(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_of_a_moving_directory(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// The directory of the log that is in use.
pub(crate) fn current_log(data: &Path) -> PathBuf {
    let current = fs::read_to_string(data.join("CURRENT")).expect("CURRENT names the log");
    let log = data.join(current.split_whitespace().next().expect("a name"));
    assert!(log.is_dir(), "CURRENT says {current:?}, which names no directory");
    log
}

/// The first file below a directory that holds these bytes.
pub(crate) fn find(directory: &Path, needle: &[u8]) -> Option<PathBuf> {
    all(directory).into_iter().find(|file| position(&fs::read(file).unwrap(), needle).is_some())
}

pub(crate) fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|&byte| byte == first) {
        if haystack[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// Unpacks the data directory that a program of this format has left, into `space`.
pub(crate) fn unpack(format: &str, space: &Path) -> PathBuf {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{format}.tar.gz"));
    let unpacked = std::process::Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(space).status();
    assert!(unpacked.unwrap().success(), "{archive:?} could not be unpacked");
    space.join("data")
}
