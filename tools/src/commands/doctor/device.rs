//! The block devices under a file system, and how often they were told to write out their caches.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Which field of a device's `stat` counts the flushes it has completed, counted from 0. Kernels before 5.5 lack it.
const FLUSHES_FIELD: usize = 15;
/// Devices can be stacked, but not without end.
const STACK_MAX: u32 = 8;

/// A disk at the bottom of what may be a stack of volumes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Device {
    /// Like `sda`.
    pub(super) name: String,
    /// What the kernel knows of its cache: `write back` or `write through`.
    pub(super) write_cache: Option<String>,
    dir: PathBuf,
}

impl Device {
    /// Whether it has a cache that a power cut empties.
    pub(super) fn has_cache(&self) -> bool {
        self.write_cache.as_deref() == Some("write back")
    }

    /// One that is nowhere.
    #[cfg(test)]
    pub(super) fn for_tests() -> Device {
        Device { name: "test".into(), write_cache: None, dir: PathBuf::from("/nowhere") }
    }

    fn flushes(&self) -> Option<u64> {
        flushes_in(&std::fs::read_to_string(self.dir.join("stat")).ok()?)
    }
}

fn flushes_in(stat: &str) -> Option<u64> {
    stat.split_whitespace().nth(FLUSHES_FIELD)?.parse().ok()
}

/// How many flushes all of these have completed; none if one of them does not count.
pub(super) fn flushes(devices: &[Device]) -> Option<u64> {
    if devices.is_empty() {
        return None;
    }
    devices.iter().map(Device::flushes).sum()
}

/// The devices that carry the file system of `place`, which is mounted from `source`.
pub(super) fn under(place: &Path, source: &str) -> Vec<Device> {
    let Ok(about) = std::fs::metadata(place) else { return Vec::new() };
    let number = |device: u64| format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    // Some file systems show a device number of their own; then the name of what was mounted leads on.
    let of_source = || std::fs::metadata(source).ok().map(|about| number(about.rdev()));
    let known = |number: &String| Path::new("/sys/dev/block").join(number).exists();
    let Some(number) = Some(number(about.dev())).filter(known).or_else(of_source).filter(known) else {
        return Vec::new();
    };
    let Ok(dir) = Path::new("/sys/dev/block").join(number).canonicalize() else { return Vec::new() };
    let mut found = BTreeMap::new();
    descend(&dir, STACK_MAX, &mut found);
    found.into_values().collect()
}

/// Goes down from a partition to its disk, and from a volume to what it is made of.
fn descend(dir: &Path, depth: u32, found: &mut BTreeMap<PathBuf, Device>) {
    let disk = if dir.join("partition").exists() { dir.parent().unwrap_or(dir) } else { dir };
    let below: Vec<PathBuf> = std::fs::read_dir(disk.join("slaves"))
        .map(|entries| entries.flatten().filter_map(|entry| entry.path().canonicalize().ok()).collect())
        .unwrap_or_default();
    if below.is_empty() || depth == 0 {
        let name = disk.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let write_cache = std::fs::read_to_string(disk.join("queue/write_cache")).ok();
        let write_cache = write_cache.map(|said| said.trim().to_owned());
        found.insert(disk.to_owned(), Device { name, write_cache, dir: disk.to_owned() });
        return;
    }
    for volume in below {
        descend(&volume, depth - 1, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flushes_are_the_sixteenth_figure() {
        let stat = " 2729014    66100 91700578 20542808 15455928   872182 929497920  4537727        0  2307128 25924796  1200266      229 496708312   296656  4866290   547604\n";
        assert_eq!(flushes_in(stat), Some(4_866_290));
        assert_eq!(flushes_in("1 2 3 4 5 6 7 8 9 10 11"), None);
        assert_eq!(flushes(&[]), None);
    }

    #[test]
    fn a_volume_leads_to_its_disks_and_a_partition_to_its_disk() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for made in ["dm-0/slaves", "sda/sda1", "sda/queue", "sdb/queue"] {
            std::fs::create_dir_all(root.join(made)).unwrap();
        }
        std::fs::write(root.join("sda/sda1/partition"), "1\n").unwrap();
        std::fs::write(root.join("sda/queue/write_cache"), "write back\n").unwrap();
        for slave in ["sda/sda1", "sdb"] {
            let name = slave.rsplit('/').next().unwrap();
            std::os::unix::fs::symlink(root.join(slave), root.join("dm-0/slaves").join(name)).unwrap();
        }
        let mut found = BTreeMap::new();
        descend(&root.join("dm-0"), STACK_MAX, &mut found);
        let names: Vec<_> = found.values().map(|device| (&*device.name, device.has_cache())).collect();
        assert_eq!(names, [("sda", true), ("sdb", false)]);
    }
}
