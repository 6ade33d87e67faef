//! Who used the processors during a window: this driver, the server under load, everybody else.
//!
//! "Everybody else" is summed over the other processes rather than taken from the totals in `/proc/stat`: those count
//! the kernel's network work apart from the process that caused it, so a difference of the two would hide real load.
//! Kernel threads are left out; most of what they do here is the disk work of the server itself.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::report::Report;

/// The parent of all kernel threads.
const KTHREADD: u32 = 2;

/// The processor time of one process so far, in clock ticks.
#[derive(Clone, Copy)]
struct Ticks {
    own: u64,
    /// Of children that have ended and been waited for.
    children: u64,
    kernel_thread: bool,
}

/// A stretch of time over which processor use is measured.
pub(crate) struct Window {
    started: Instant,
    processes: HashMap<u32, Ticks>,
    steal: u64,
    watched: Vec<u32>,
}

/// What was used during a window; processor use in cores.
pub(crate) struct Used {
    pub(crate) seconds: f64,
    driver: f64,
    watched: f64,
    foreign: f64,
    steal: f64,
}

impl Window {
    /// Opens a window; `watched` are the processes of the server under load.
    pub(crate) fn open(watched: &[u32]) -> Result<Self> {
        let processes = processes()?;
        for pid in watched {
            processes.get(pid).with_context(|| format!("no process {pid}"))?;
        }
        Ok(Self { started: Instant::now(), processes, steal: steal()?, watched: watched.to_vec() })
    }

    /// Closes the window at this instant.
    pub(crate) fn close(self) -> Result<Used> {
        let seconds = self.started.elapsed().as_secs_f64();
        let per_second = rustix::param::clock_ticks_per_second() as f64 * seconds;
        let after = processes()?;
        let (mut driver, mut watched, mut foreign_living) = (0, 0, 0);
        for (pid, now) in &after {
            let before = self.processes.get(pid);
            let own = now.own.saturating_sub(before.map_or(0, |before| before.own));
            if *pid == std::process::id() {
                driver += own;
                // Of a watched process that has ended, this is all that is left.
                watched += now.children.saturating_sub(before.map_or(0, |before| before.children));
            } else if self.watched.contains(pid) {
                watched += own;
            } else if !now.kernel_thread {
                foreign_living += own;
            }
        }
        // A process that has ended is in the sum of its parent's children, unless nobody waited for it. The sum over
        // all families sees the first kind, the sum over the living is right when there was only the second.
        let foreign = self.foreign_sum(&after).saturating_sub(self.foreign_sum(&self.processes));
        let foreign = foreign.max(foreign_living);
        let cores = |ticks: u64| ticks as f64 / per_second;
        let steal = steal()?.saturating_sub(self.steal);
        Ok(Used {
            seconds,
            driver: cores(driver),
            watched: cores(watched),
            foreign: cores(foreign),
            steal: cores(steal),
        })
    }

    fn foreign_sum(&self, processes: &HashMap<u32, Ticks>) -> u64 {
        let ours = |pid: &u32| *pid == std::process::id() || self.watched.contains(pid);
        let foreign = processes.iter().filter(|(pid, ticks)| !ours(pid) && !ticks.kernel_thread);
        foreign.map(|(_, ticks)| ticks.own + ticks.children).sum()
    }
}

impl Used {
    /// Adds the lines on processor use to a report.
    pub(crate) fn put(&self, report: &mut Report) {
        report
            .ratio("seconds", self.seconds)
            .ratio("server_cpu", self.watched)
            .ratio("driver_cpu", self.driver)
            .ratio("foreign_cpu", self.foreign)
            .ratio("steal_cpu", self.steal);
    }
}

/// The processor time of each thread of some processes, as the scheduler knows it: for windows in which a clock tick is much.
pub(crate) struct Threads(HashMap<String, u64>);

impl Threads {
    /// Looks at all of them now.
    pub(crate) fn of(pids: &[u32]) -> Result<Self> {
        let mut nanos = HashMap::new();
        for pid in pids {
            for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
                let path = thread?.path();
                // A thread may end between the listing and this line.
                let Ok(stat) = fs::read_to_string(path.join("schedstat")) else { continue };
                let own = stat.split(' ').next().context("an empty schedstat")?.parse()?;
                nanos.insert(path.to_string_lossy().into_owned(), own);
            }
        }
        Ok(Self(nanos))
    }

    /// What was used since. What a thread did that has ended meanwhile is lost; those that end were idle for long.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let used = self.0.iter().map(|(thread, now)| now - before.0.get(thread).unwrap_or(&0).min(now));
        Duration::from_nanos(used.sum())
    }
}

/// The resident memory of these processes together, in KiB.
pub(crate) fn resident_kib(pids: &[u32]) -> Result<u64> {
    pids.iter().map(|&pid| status_kib(pid, "VmRSS:")).sum()
}

/// The most memory that was ever resident in this process, in KiB.
pub(crate) fn peak_resident_kib(pid: u32) -> Result<u64> {
    status_kib(pid, "VmHWM:")
}

fn status_kib(pid: u32, field: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let line = line.with_context(|| format!("no {field} in {path}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn processes() -> Result<HashMap<u32, Ticks>> {
    let mut all = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end between the listing and this line.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        all.insert(pid, ticks(&stat).with_context(|| format!("/proc/{pid}/stat"))?);
    }
    Ok(all)
}

fn ticks(stat: &str) -> Result<Ticks> {
    // The second field is the command's name in brackets and may hold spaces and brackets itself.
    let (_, rest) = stat.rsplit_once(") ").context("no name")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |index: usize| -> Result<u64> { Ok(fields.get(index).context("too short")?.parse()?) };
    Ok(Ticks {
        own: number(11)? + number(12)?,
        children: number(13)? + number(14)?,
        kernel_thread: number(1)? == u64::from(KTHREADD),
    })
}

/// The time for which the host ran somebody else, in clock ticks.
fn steal() -> Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let total = stat.lines().next().context("/proc/stat is empty")?;
    Ok(total.split_whitespace().nth(8).context("no steal in /proc/stat")?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_brackets_in_its_name_is_read_right() -> Result<()> {
        let stat = "7 (a) (b) c) S 2 7 7 0 -1 0 1 2 3 4 100 20 3 4 20 0 1 0 5 6 7";
        let ticks = ticks(stat)?;
        assert_eq!((ticks.own, ticks.children, ticks.kernel_thread), (120, 7, true));
        Ok(())
    }
}
