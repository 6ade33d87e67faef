//! What the kernel lets a group of processes have, in both forms of its control groups.

use std::fs;
use std::path::{Path, PathBuf};

const MEMBERSHIP: &str = "/proc/self/cgroup";
/// Where the second form is mounted, alone or beside the first.
const UNIFIED: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
const UNIFIED_BOUND: &str = "memory.max";
/// Where the first form's controller of memory is mounted.
const FIRST: [&str; 1] = ["/sys/fs/cgroup/memory"];
const FIRST_BOUND: &str = "memory.limit_in_bytes";
/// The first form says "no bound" with a number near 2^63.
const NO_BOUND: u64 = 1 << 60;

/// How many bytes of memory the group of this process may have, or the least that a group around it may; none when nothing
/// bounds them, or not on Linux.
///
/// Source: the kernel's `Documentation/admin-guide/cgroup-v2.rst` ("memory.max") and `cgroup-v1/memory.rst`.
#[must_use]
pub fn group_bound() -> Option<u64> {
    let membership = fs::read_to_string(MEMBERSHIP).ok()?;
    files(&membership).into_iter().filter_map(|file| read(&file)).min()
}

/// The files that may tell: of the group itself, of all around it, up to the mount. Inside a container the path of the group
/// may be one outside, of which only the mount itself is there.
fn files(membership: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let (mounts, name): (&[&str], &str) = if controllers.is_empty() {
            (&UNIFIED, UNIFIED_BOUND)
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (&FIRST, FIRST_BOUND)
        } else {
            continue;
        };
        for mount in mounts {
            let groups = Path::new(group.trim_start_matches('/')).ancestors();
            files.extend(groups.map(|group| Path::new(mount).join(group).join(name)));
        }
    }
    files
}

fn read(file: &Path) -> Option<u64> {
    parse(&fs::read_to_string(file).ok()?)
}

/// The second form says "max" where there is no bound.
fn parse(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < NO_BOUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(membership: &str) -> Vec<String> {
        files(membership).iter().map(|file| file.display().to_string()).collect()
    }

    #[test]
    fn the_bounds_of_all_groups_around_the_process_are_looked_for() {
        assert_eq!(
            shown("0::/system.slice/scrollback.service\n"),
            [
                "/sys/fs/cgroup/system.slice/scrollback.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
                "/sys/fs/cgroup/unified/system.slice/scrollback.service/memory.max",
                "/sys/fs/cgroup/unified/system.slice/memory.max",
                "/sys/fs/cgroup/unified/memory.max",
            ]
        );
        assert_eq!(
            shown("9:name=systemd:/a\n5:cpu,memory:/a:b\n4:cpuset:/a\nnonsense\n"),
            [
                "/sys/fs/cgroup/memory/a:b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
    }

    #[test]
    fn no_bound_is_none_in_both_forms() {
        assert_eq!(parse("67108864\n"), Some(64 << 20));
        assert_eq!(parse("max\n"), None);
        assert_eq!(parse("9223372036854771712\n"), None);
        assert_eq!(parse(""), None);
    }
}
