//! What the machine gives a process: open files, memory, and a clock.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytesize::ByteSize;
use rustix::process::{Resource, getrlimit};
use scrollback_api::expiry::{ABSENCE_MAX, JUMP_MAX};
use scrollback_api::memory::group_bound;
use scrollback_api::timestamps;
use scrollback_log::{Head, Timestamp};

use super::Finding;
use crate::cli::Doctor;

/// Open files beside the connections: the log, the vault, the listeners, what tokio needs, and some to spare.
const FILES_BESIDE: u64 = 128;
/// Less available memory than this and the server may be ended by the system: its caches, rings and hashers take about
/// 150 MiB, beside views that grow with the log.
const MEMORY_MIN: u64 = 256 << 20;
/// 2025-01-01: this program is younger.
const CLOCK_MIN: i64 = 1_735_689_600_000_000;
/// 2200-01-01: nobody will look.
const CLOCK_MAX: i64 = 7_258_118_400_000_000;
/// How far the clock may move against the monotonic one while the other checks run.
const STEP_MAX: Duration = Duration::from_millis(500);
/// What systemd's own time keeper leaves once it has the time from somewhere.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// Both clocks at one moment.
pub(super) struct Clocks {
    wall: SystemTime,
    steady: Instant,
}

impl Clocks {
    pub(super) fn now() -> Clocks {
        Clocks { wall: SystemTime::now(), steady: Instant::now() }
    }
}

pub(super) fn look(typed: &Doctor, began: &Clocks, newest: Option<Head>, findings: &mut Vec<Finding>) {
    findings.push(open_files(typed.connections_max, getrlimit(Resource::Nofile).current));
    findings.push(memory());
    let now = Clocks::now();
    findings.push(clock(micros(now.wall), newest.map(|head| head.time)));
    findings.push(steadiness(began, &now));
}

fn open_files(connections_max: usize, limit: Option<u64>) -> Finding {
    let wanted = connections_max as u64 + FILES_BESIDE;
    match limit {
        Some(limit) if limit < wanted => {
            let text = format!(
                "the limit is {limit}, and {connections_max} connections (--connections-max) need {wanted}: further ones will \
                 wait to be accepted. Raise LimitNOFILE (systemd) or `ulimit -n`, or lower --connections-max. This is the limit \
                 of whoever runs this check, which can be another one than the server's"
            );
            Finding::warn("open files", text)
        }
        Some(limit) => Finding::ok(
            "open files",
            format!("the limit is {limit}, {connections_max} connections need {wanted}"),
        ),
        None => Finding::ok("open files", "there is no limit"),
    }
}

fn memory() -> Finding {
    let about = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let Some(available) = field(&about, "MemAvailable:") else {
        return Finding::warn("memory", "cannot tell: /proc/meminfo does not say");
    };
    let limit = group_bound();
    let least = limit.map_or(available, |limit| limit.min(available));
    let mut shown = format!("{} are available", ByteSize(available));
    if let Some(limit) = limit.filter(|limit| *limit < available) {
        shown = format!("{shown}, but this group of processes may use {}", ByteSize(limit));
    }
    if least < MEMORY_MIN {
        Finding::warn("memory", format!("{shown}: less than {} is little", ByteSize(MEMORY_MIN)))
    } else {
        Finding::ok("memory", shown)
    }
}

/// A figure of `/proc/meminfo`, in bytes.
fn field(about: &str, name: &str) -> Option<u64> {
    let line = about.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn micros(time: SystemTime) -> Timestamp {
    let micros = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    };
    Timestamp(micros)
}

fn clock(now: Timestamp, newest: Option<Timestamp>) -> Finding {
    let check = "clock";
    let shown = timestamps::show(now);
    if !(CLOCK_MIN..CLOCK_MAX).contains(&now.0) {
        return Finding::fail(
            check,
            format!("it shows {shown}, which cannot be: set it before the server runs"),
        );
    }
    let Some(newest) = newest.filter(|newest| newest.0 > 0) else {
        return Finding::ok(check, format!("it shows {shown}"));
    };
    let apart = Duration::from_micros(now.0.abs_diff(newest.0));
    let record = timestamps::show(newest);
    if newest > now && apart > JUMP_MAX {
        let text = format!(
            "it shows {shown}, but the newest record is of {record}: one of the two is wrong, and new records will bear the \
             later time until the clock gets there"
        );
        Finding::fail(check, text)
    } else if newest > now {
        Finding::warn(check, format!("it shows {shown}, a little before the newest record, {record}"))
    } else if apart > ABSENCE_MAX {
        let text = format!(
            "it shows {shown}, and the newest record is of {record}: expiry will pause until the server is started once with \
             --confirm-clock"
        );
        Finding::warn(check, text)
    } else {
        Finding::ok(check, format!("it shows {shown}, the newest record is of {record}"))
    }
}

fn steadiness(began: &Clocks, now: &Clocks) -> Finding {
    let steady = now.steady.duration_since(began.steady);
    let moved = match now.wall.duration_since(began.wall) {
        Ok(wall) => wall.abs_diff(steady),
        Err(back) => back.duration() + steady,
    };
    if moved > STEP_MAX {
        return Finding::warn(
            "clock steps",
            format!(
                "the clock was moved by {moved:.1?} while this ran ({steady:.1?}): expiry pauses after more than {JUMP_MAX:?}"
            ),
        );
    }
    let synchronised = if Path::new(SYNCHRONISED).exists() {
        "systemd-timesyncd has set it from the network"
    } else {
        "whether something keeps it right (NTP) cannot be seen from here"
    };
    Finding::ok("clock steps", format!("none while this ran; {synchronised}"))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn a_clock_that_cannot_be_right_is_told() {
        let now = Timestamp(CLOCK_MIN + 1000 * HOUR);
        let of = |newest: i64| clock(now, Some(Timestamp(newest))).verdict;
        assert_eq!(clock(now, None).verdict, Verdict::Ok);
        assert_eq!(clock(Timestamp(0), None).verdict, Verdict::Fail);
        assert_eq!(clock(Timestamp(CLOCK_MAX), None).verdict, Verdict::Fail);
        assert_eq!(of(now.0 - HOUR), Verdict::Ok);
        assert_eq!(of(now.0 + HOUR / 2), Verdict::Warn);
        assert_eq!(of(now.0 + 2 * HOUR), Verdict::Fail);
        assert_eq!(of(now.0 - 31 * 24 * HOUR), Verdict::Warn);
    }

    #[test]
    fn a_stepped_clock_is_told_whichever_way_it_went() {
        let began = Clocks::now();
        let later = |wall: i64| Clocks {
            wall: if wall >= 0 {
                began.wall + Duration::from_secs(wall.unsigned_abs())
            } else {
                began.wall - Duration::from_secs(wall.unsigned_abs())
            },
            steady: began.steady + Duration::from_secs(3),
        };
        assert_eq!(steadiness(&began, &later(3)).verdict, Verdict::Ok);
        assert_eq!(steadiness(&began, &later(5)).verdict, Verdict::Warn);
        assert_eq!(steadiness(&began, &later(-5)).verdict, Verdict::Warn);
    }

    #[test]
    fn a_limit_of_open_files_below_the_connections_is_told() {
        assert_eq!(open_files(16_384, Some(1024)).verdict, Verdict::Warn);
        assert_eq!(open_files(1000, Some(2048)).verdict, Verdict::Ok);
        assert_eq!(open_files(1000, None).verdict, Verdict::Ok);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(field("MemTotal:  8 kB\nMemAvailable:   2048 kB\n", "MemAvailable:"), Some(2 << 20));
        assert_eq!(field("", "MemAvailable:"), None);
    }
}
