//! What a sync of a small append costs here. A figure that no disk reaches says that something answers without writing.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use super::Finding;
use super::device;
use super::disk::Disk;
use super::scratch::Scratch;

/// A sync that is faster than this has not been to any device.
pub(super) const PLAUSIBLE_MIN: Duration = Duration::from_micros(30);
/// A sync that is slower than this holds everybody up.
const SLOW: Duration = Duration::from_millis(50);
/// About one message's record.
const APPEND_BYTES: usize = 200;

/// Durations, in order.
pub(super) struct Timed(Vec<Duration>);

impl Timed {
    pub(super) fn new(mut times: Vec<Duration>) -> Timed {
        times.sort_unstable();
        Timed(times)
    }

    /// The duration that `percent` of all do not exceed.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let place = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(place).copied().unwrap_or_default()
    }

    pub(super) fn show(&self) -> String {
        format!("p50 {}, p99 {} (n={})", show(self.percentile(50)), show(self.percentile(99)), self.0.len())
    }
}

/// A short time, in microseconds or milliseconds.
pub(super) fn show(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 1000.0 { format!("{micros:.0} µs") } else { format!("{:.1} ms", micros / 1000.0) }
}

pub(super) fn look(scratch: &Scratch, syncs: u32, disk: &Disk, findings: &mut Vec<Finding>) {
    let before = device::flushes(&disk.devices);
    let timed = match sync_often(scratch, syncs) {
        Ok(timed) => timed,
        Err(error) => {
            findings.push(Finding::fail("fdatasync", format!("a small append cannot be synced: {error}")));
            return;
        }
    };
    let flushed =
        device::flushes(&disk.devices).zip(before).map(|(after, before)| after.saturating_sub(before));
    findings.push(judge(&timed, u64::from(syncs), flushed, disk));
}

fn judge(timed: &Timed, syncs: u64, flushed: Option<u64>, disk: &Disk) -> Finding {
    let (check, shown, p50) = ("fdatasync", timed.show(), timed.percentile(50));
    if disk.is_memory {
        return Finding::ok(check, format!("{shown}, of memory: that says nothing of a disk"));
    }
    if p50 < PLAUSIBLE_MIN {
        let text = format!(
            "{shown}: no device answers in less than {}, so something says it has written and has not",
            show(PLAUSIBLE_MIN)
        );
        return Finding::warn(check, text);
    }
    let has_cache = !disk.devices.is_empty() && disk.devices.iter().all(device::Device::has_cache);
    match flushed.filter(|_| has_cache) {
        Some(flushed) if flushed < syncs => {
            let text = format!(
                "{shown}, but the device was told to write out its cache only {flushed} times for {syncs} syncs: some of \
                 them did not reach it"
            );
            Finding::warn(check, text)
        }
        Some(flushed) => {
            let text = format!(
                "{shown}; meanwhile the device completed {flushed} flushes of its cache for {syncs} syncs"
            );
            if p50 > SLOW {
                Finding::warn(check, text + ": slow, and every write waits for one")
            } else {
                Finding::ok(check, text)
            }
        }
        None if p50 > SLOW => Finding::warn(check, format!("{shown}: slow, and every write waits for one")),
        None => Finding::ok(
            check,
            format!("{shown}; whether the device was told to write out a cache cannot be seen here"),
        ),
    }
}

fn sync_often(scratch: &Scratch, syncs: u32) -> io::Result<Timed> {
    let path = scratch.join("appends");
    let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
    let mut times = Vec::new();
    for _ in 0..syncs {
        file.write_all(&[0x5a; APPEND_BYTES])?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed());
    }
    Ok(Timed::new(times))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn disk(cache: &str, is_memory: bool) -> Disk {
        let mut device = device::Device::for_tests();
        device.write_cache = Some(cache.to_owned());
        Disk { devices: vec![device], is_memory }
    }

    #[test]
    fn percentiles_are_of_the_ordered_times() {
        let timed = Timed::new((1..=200).rev().map(Duration::from_micros).collect());
        assert_eq!(timed.percentile(50), Duration::from_micros(100));
        assert_eq!(timed.percentile(99), Duration::from_micros(198));
        assert_eq!(timed.show(), "p50 100 µs, p99 198 µs (n=200)");
        assert_eq!(show(Duration::from_micros(1500)), "1.5 ms");
    }

    #[test]
    fn a_sync_that_cannot_have_written_is_told() {
        let judged = |micros, flushed, disk: &Disk| {
            judge(&Timed::new(vec![Duration::from_micros(micros); 10]), 10, flushed, disk).verdict
        };
        let cached = disk("write back", false);
        assert_eq!(judged(500, Some(10), &cached), Verdict::Ok);
        assert_eq!(judged(500, Some(9), &cached), Verdict::Warn);
        assert_eq!(judged(29, Some(10), &cached), Verdict::Warn);
        assert_eq!(judged(29, Some(0), &disk("write back", true)), Verdict::Ok);
        assert_eq!(judged(500, Some(0), &disk("write through", false)), Verdict::Ok);
        assert_eq!(judged(60_000, Some(10), &cached), Verdict::Warn);
        assert_eq!(judged(500, None, &cached), Verdict::Ok);
    }
}
