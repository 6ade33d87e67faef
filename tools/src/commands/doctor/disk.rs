//! The file system under the data: its kind, how it is mounted, its free space, and the devices that carry it.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use scrollback_api::space::Space;

use super::Finding;
use super::device::{self, Device};
use super::scratch::nearest;

/// Less than this many times the mark is worth a word.
const NEAR_THE_MARK: u64 = 2;
/// File systems that lie on another machine, or share files with one.
const NETWORK: [&str; 11] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "virtiofs", "afs"];
/// File systems that are known to keep what `fdatasync` has acknowledged.
const KNOWN: [&str; 6] = ["ext4", "ext3", "xfs", "btrfs", "zfs", "f2fs"];
/// Mount options with which a sync does not reach the device.
const NO_BARRIER: [&str; 3] = ["nobarrier", "barrier=0", "barrier=none"];

/// Where the data lie.
pub(super) struct Disk {
    /// The devices at the bottom; none when they cannot be known.
    pub(super) devices: Vec<Device>,
    /// Whether it is memory: a sync there costs nothing and means nothing.
    pub(super) is_memory: bool,
}

pub(super) fn look(data: &Path, free_bytes_min: u64, findings: &mut Vec<Finding>) -> Disk {
    let mut disk = Disk { devices: Vec::new(), is_memory: false };
    let place = match nearest(data) {
        Ok(place) => place,
        Err(error) => {
            findings.push(Finding::fail("file system", format!("{}: {error}", data.display())));
            return disk;
        }
    };
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    match mount_of(&mounts, &place) {
        Some(mount) => {
            disk.is_memory = matches!(mount.kind.as_str(), "tmpfs" | "ramfs");
            disk.devices = device::under(&place, &mount.source);
            findings.push(kind(&mount));
            findings.push(options(&mount));
        }
        None => {
            findings.push(Finding::warn("file system", "cannot tell: /proc/self/mountinfo does not name it"))
        }
    }
    findings.push(space(data, &place, free_bytes_min));
    if !disk.is_memory {
        findings.push(write_cache(&disk.devices));
    }
    disk
}

/// A mounted file system, as `/proc/self/mountinfo` has it.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    options: Vec<String>,
    kind: String,
    source: String,
}

/// The mount that a path lies on: the one with the longest mount point, of several at one place the last.
fn mount_of(mounts: &str, path: &Path) -> Option<Mount> {
    let mounts = mounts.lines().filter_map(|line| {
        let (own, of_all) = line.split_once(" - ")?;
        let own: Vec<&str> = own.split(' ').collect();
        let mut of_all = of_all.split(' ');
        let (kind, source) = (of_all.next()?.to_owned(), of_all.next()?.to_owned());
        let options = own.get(5)?.split(',').chain(of_all.next().unwrap_or("").split(','));
        let point = PathBuf::from(unescape(own.get(4)?));
        Some(Mount { point, options: options.map(str::to_owned).collect(), kind, source })
    });
    mounts
        .filter(|mount| path.starts_with(&mount.point))
        // Of equals the last wins, which is the one on top.
        .max_by_key(|mount| mount.point.as_os_str().as_bytes().len())
}

/// Blanks and the like in paths are written as three octal digits.
fn unescape(path: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .into_iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(path.to_owned(), |path, (escaped, letter)| path.replace(escaped, letter))
}

fn kind(mount: &Mount) -> Finding {
    let (kind, point) = (mount.kind.as_str(), mount.point.display());
    let check = "file system";
    if matches!(kind, "tmpfs" | "ramfs") {
        Finding::warn(
            check,
            format!("{kind} on {point} is memory: everything is gone after a restart of the machine"),
        )
    } else if NETWORK.contains(&kind) || kind.starts_with("fuse") {
        let text = format!(
            "{kind} on {point} leaves it to another program or machine to keep what was synced, and to keep two servers \
             apart; put the data on a local disk"
        );
        Finding::warn(check, text)
    } else if kind == "overlay" {
        let text = format!(
            "overlay on {point} is a container's own layer: it goes with the container, and its syncs may be switched off; \
             mount a volume"
        );
        Finding::warn(check, text)
    } else if KNOWN.contains(&kind) {
        Finding::ok(check, format!("{kind} on {point}, from {}", mount.source))
    } else {
        Finding::warn(
            check,
            format!("{kind} on {point} is not one of {}: nothing is known of its syncs", KNOWN.join(", ")),
        )
    }
}

fn options(mount: &Mount) -> Finding {
    let has = |option: &&&str| mount.options.iter().any(|set| set == **option);
    if let Some(option) = NO_BARRIER.iter().find(has) {
        let text = format!(
            "{option}: a sync does not tell the device to write out its cache; a power cut can take back what was acknowledged"
        );
        return Finding::fail("mount", text);
    }
    if ["ro"].iter().any(|option| has(&option)) {
        return Finding::fail("mount", format!("{} is mounted read-only", mount.point.display()));
    }
    Finding::ok("mount", format!("{}: no option that weakens a sync", mount.options.join(",")))
}

fn space(data: &Path, place: &Path, free_bytes_min: u64) -> Finding {
    let mark = ByteSize(free_bytes_min);
    let free = match Space::new(place.to_owned(), free_bytes_min).free_bytes() {
        Ok(free) => free,
        Err(error) => return Finding::fail("free space", format!("cannot tell: {error}")),
    };
    let taken = scrollback_api::node::directory_bytes(data).unwrap_or(0);
    let shown = format!("{} are free, the mark (--free-bytes-min) is {mark}", ByteSize(free));
    if free < free_bytes_min {
        Finding::fail("free space", format!("{shown}: writes are refused"))
    } else if free < free_bytes_min.saturating_mul(NEAR_THE_MARK) {
        Finding::warn("free space", format!("{shown}: writes will soon be refused"))
    } else if free - free_bytes_min < taken {
        Finding::warn(
            "free space",
            format!("{shown}: `compact` needs room for a second log, the data take {}", ByteSize(taken)),
        )
    } else {
        Finding::ok("free space", shown)
    }
}

fn write_cache(devices: &[Device]) -> Finding {
    let check = "write cache";
    if devices.is_empty() {
        return Finding::warn(
            check,
            "cannot tell which device carries the data, nor whether it has a cache of its own",
        );
    }
    let shown: Vec<String> = devices
        .iter()
        .map(|device| format!("{}: {}", device.name, device.write_cache.as_deref().unwrap_or("unknown")))
        .collect();
    let shown = shown.join(", ");
    if devices.iter().all(|device| device.write_cache.as_deref() == Some("write through")) {
        let text = format!(
            "{shown}: the device says that it has no volatile cache, so what is written is kept. That cannot be proved from here"
        );
        Finding::ok(check, text)
    } else if devices.iter().all(|device| device.has_cache()) {
        let text = format!(
            "{shown}: the device has a cache that a sync must write out. Whether it does when it is told to cannot be proved \
             from here: a virtual machine's host or a cheap disk may only say so"
        );
        Finding::ok(check, text)
    } else {
        Finding::warn(check, format!("{shown}: it is not known whether a sync must write out a cache"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    const MOUNTS: &str = "22 27 0:21 / /proc rw - proc proc rw\n27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
        30 27 0:30 / /srv/my\\040data rw - tmpfs tmpfs rw\n31 27 0:31 / /srv/my\\040data rw,nosuid shared:7 - nfs4 host:/x rw,vers=4\n";

    fn on(kind: &str, options: &str) -> Mount {
        mount_of(&format!("1 1 1:1 / / {options} - {kind} /dev/x rw"), Path::new("/x")).unwrap()
    }

    #[test]
    fn a_path_lies_on_the_last_mount_at_the_longest_place() {
        let kind = |path: &str| mount_of(MOUNTS, Path::new(path)).unwrap().kind;
        assert_eq!(kind("/srv/my data/x"), "nfs4");
        assert_eq!(kind("/srv/my datas"), "ext4");
        assert_eq!(kind("/procs"), "ext4");
        assert_eq!(
            mount_of(MOUNTS, Path::new("/srv/my data")).unwrap().options,
            ["rw", "nosuid", "rw", "vers=4"]
        );
        assert_eq!(mount_of("", Path::new("/")), None);
    }

    #[test]
    fn what_does_not_keep_a_sync_is_told() {
        for (name, verdict) in [
            ("ext4", Verdict::Ok),
            ("xfs", Verdict::Ok),
            ("tmpfs", Verdict::Warn),
            ("overlay", Verdict::Warn),
            ("nfs4", Verdict::Warn),
            ("fuse.sshfs", Verdict::Warn),
            ("newfs", Verdict::Warn),
        ] {
            assert_eq!(kind(&on(name, "rw")).verdict, verdict, "{name}");
        }
        for (set, verdict) in [
            ("rw,relatime", Verdict::Ok),
            ("rw,nobarrier", Verdict::Fail),
            ("rw,barrier=0", Verdict::Fail),
            ("ro", Verdict::Fail),
        ] {
            assert_eq!(options(&on("ext4", set)).verdict, verdict, "{set}");
        }
    }

    #[test]
    fn too_little_space_is_a_failure_before_the_server_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let look = |mark| space(dir.path(), dir.path(), mark).verdict;
        assert_eq!(look(0), Verdict::Ok);
        assert_eq!(look(u64::MAX), Verdict::Fail);
    }
}
