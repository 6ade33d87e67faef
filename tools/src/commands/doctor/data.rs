//! The data directory: whose it is, who can read it, whether somebody works on it, and whether it says which log is
//! the current one and how far that is durable.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use scrollback_log::data_dir::{self, DataDirError};
use scrollback_log::{Head, witness};

use super::{Finding, Verdict};

/// How many files that others can read are named.
const NAMED_MAX: usize = 3;
/// The permissions of everybody but the owner.
const OTHERS: u32 = 0o077;

/// What is known of the data without opening them.
pub(super) struct Looked {
    /// The newest durable record, as the witness has it.
    pub(super) newest: Option<Head>,
}

pub(super) fn look(data: &Path, findings: &mut Vec<Finding>) -> Looked {
    let shown = data.display();
    let nothing = Looked { newest: None };
    let about = match std::fs::metadata(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = format!(
                "{shown} is not there yet; `scrollback serve` makes it. The rest is told of the directory above it"
            );
            findings.push(Finding::ok("data directory", text));
            return nothing;
        }
        Err(error) => {
            findings.push(Finding::fail("data directory", format!("{shown}: {error}")));
            return nothing;
        }
        Ok(about) => about,
    };
    findings.push(owner(data, &about));
    findings.push(modes(data));
    findings.push(user_of(data));
    let current = match data_dir::read_current_name(data) {
        Ok(Some(name)) => name,
        Ok(None) => {
            findings.push(Finding::ok("contents", format!("{shown} holds no log yet")));
            return nothing;
        }
        Err(error) => {
            let is_damage =
                matches!(error, DataDirError::CurrentDamaged { .. } | DataDirError::CurrentMissing { .. });
            let verdict = if is_damage { Verdict::Damage } else { Verdict::Fail };
            findings.push(Finding::new("contents", verdict, error.to_string()));
            return nothing;
        }
    };
    let path = data_dir::witness_of(data);
    let (verdict, text, newest) = match witness::look(&path) {
        Ok(Some(head)) => (
            Verdict::Ok,
            format!(
                "CURRENT names {current}, which the witness knows to be durable up to offset {}. Whether the records are what \
                 was written is told by `scrollback verify`, not here",
                head.offset
            ),
            Some(head),
        ),
        Ok(None) => {
            (Verdict::Damage, format!("CURRENT names {current}, but {} is damaged", path.display()), None)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            (Verdict::Damage, format!("CURRENT names {current}, but {} is missing", path.display()), None)
        }
        Err(error) => (Verdict::Fail, format!("{}: {error}", path.display()), None),
    };
    findings.push(Finding::new("contents", verdict, text));
    Looked { newest }
}

fn owner(data: &Path, about: &Metadata) -> Finding {
    let (owner, own) = (about.uid(), rustix::process::geteuid().as_raw());
    let shown = data.display();
    if !about.is_dir() {
        Finding::fail("data directory", format!("{shown} is not a directory; name another one"))
    } else if owner == own {
        Finding::ok(
            "data directory",
            format!("{shown} is there and belongs to the user who asks (uid {own})"),
        )
    } else {
        let text = format!(
            "{shown} belongs to uid {owner}, and uid {own} asks: run this, and the server, as the owner, or files \
             will appear that the server cannot read"
        );
        Finding::warn("data directory", text)
    }
}

/// Whether anybody but the owner can get at anything in it.
fn modes(data: &Path) -> Finding {
    let mut open = Vec::new();
    let mut seen = 0;
    let mut waiting = vec![data.to_owned()];
    while let Some(path) = waiting.pop() {
        let about = match std::fs::symlink_metadata(&path) {
            Ok(about) => about,
            // A running server removes files of its own.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Finding::fail("modes", format!("{}: {error}", path.display())),
        };
        seen += 1;
        if !about.is_symlink() && about.permissions().mode() & OTHERS != 0 {
            open.push((path.clone(), about.permissions().mode() & 0o7777));
        }
        if about.is_dir() {
            let entries: io::Result<Vec<PathBuf>> =
                std::fs::read_dir(&path).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
            match entries {
                Ok(entries) => waiting.extend(entries),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Finding::fail("modes", format!("{}: {error}", path.display())),
            }
        }
    }
    if open.is_empty() {
        return Finding::ok("modes", format!("all {seen} files and directories are for their owner only"));
    }
    let named: Vec<String> =
        open.iter().take(NAMED_MAX).map(|(path, mode)| format!("{} ({mode:04o})", path.display())).collect();
    let more =
        if open.len() > NAMED_MAX { format!(" and {} more", open.len() - NAMED_MAX) } else { String::new() };
    let text = format!("others can get at {}{more}: `chmod -R go= {}`", named.join(", "), data.display());
    Finding::fail("modes", text)
}

/// Who works on the directory. Only the system's list of locks is read: to try the lock could keep a server that starts
/// at this moment from getting it.
fn user_of(data: &Path) -> Finding {
    let lock = data_dir::lock_of(data);
    let about = match std::fs::metadata(&lock) {
        Ok(about) => about,
        Err(_) => return Finding::ok("in use", "nobody has worked on the directory yet"),
    };
    let locks = match std::fs::read_to_string("/proc/locks") {
        Ok(locks) => locks,
        Err(error) => return Finding::warn("in use", format!("cannot tell: /proc/locks: {error}")),
    };
    match holder(&locks, about.dev(), about.ino()) {
        Some(pid) => Finding::ok(
            "in use",
            format!("process {pid} works on the directory; what follows is read and measured beside it"),
        ),
        None => Finding::ok("in use", "no process of this machine (or container) holds LOCK"),
    }
}

/// The process that holds a lock on a file, from the system's list: `1: FLOCK ADVISORY WRITE 123 fe:00:456 0 EOF`.
fn holder(locks: &str, device: u64, inode: u64) -> Option<&str> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let file = format!("{major:02x}:{minor:02x}:{inode}");
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let place = fields.iter().position(|field| *field == file)?;
        let waits = fields.contains(&"->");
        fields.get(place.checked_sub(1)?).filter(|_| !waits).copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_found_and_who_waits_for_it_is_not() {
        let locks = "1: FLOCK  ADVISORY  WRITE 77 fe:01:1234 0 EOF\n2: -> FLOCK  ADVISORY  WRITE 78 fe:01:5 0 EOF\n3: POSIX  ADVISORY  READ 79 fe:01:123 0 EOF\n";
        let device = rustix::fs::makedev(0xfe, 1);
        assert_eq!(holder(locks, device, 1234), Some("77"));
        assert_eq!(holder(locks, device, 5), None);
        assert_eq!(holder(locks, device, 12), None);
        assert_eq!(holder(locks, rustix::fs::makedev(0xfe, 2), 1234), None);
    }

    #[test]
    fn what_others_can_get_at_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(dir.path(), 0o700);
        let file = dir.path().join("witness");
        std::fs::write(&file, "").unwrap();
        mode(&file, 0o600);
        assert_eq!(modes(dir.path()).verdict, Verdict::Ok);
        mode(&file, 0o604);
        let found = modes(dir.path());
        assert_eq!(found.verdict, Verdict::Fail);
        assert!(found.text.contains("witness (0604)"), "{}", found.text);
    }
}
