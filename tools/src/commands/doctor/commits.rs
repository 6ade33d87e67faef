//! The server's own way of a write, run for real: a log is made beside the data, and records are appended to it one by
//! one, as the writer loop does.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use scrollback_log::data_dir::DataDir;
use scrollback_log::{Appender, Kind, LogOptions, NewRecord, Schema, Timestamp};

use super::Finding;
use super::device;
use super::disk::Disk;
use super::scratch::Scratch;
use super::timing::{PLAUSIBLE_MIN, Timed, show};

/// How many records are appended, each a commit of its own.
pub(super) const COMMITS: u64 = 50;
/// What each commit says on standard output once it is acknowledged, when it is watched from outside.
pub(super) const ACKNOWLEDGED: &str = "acknowledged";
/// About one message.
const TEXT_BYTES: usize = 150;
/// A small log needs little.
const CACHE_BYTES: u64 = 8 << 20;

pub(super) fn look(scratch: &Scratch, disk: &Disk, findings: &mut Vec<Finding>) {
    let timed = append_often(&scratch.join("log"), &mut || Ok(()), &mut || device::flushes(&disk.devices));
    findings.push(match timed {
        Ok((timed, flushed)) => judge(&timed, flushed, disk),
        Err(error) => Finding::fail("commit path", format!("a log cannot be appended to here: {error:#}")),
    });
}

fn judge(timed: &Timed, flushed: Option<u64>, disk: &Disk) -> Finding {
    let (check, shown) = ("commit path", timed.show());
    let has_cache = !disk.devices.is_empty() && disk.devices.iter().all(device::Device::has_cache);
    if disk.is_memory {
        return Finding::ok(check, format!("{shown}, in memory: nothing can be told of a disk"));
    }
    if timed.percentile(50) < PLAUSIBLE_MIN {
        let text = format!(
            "{shown}: an acknowledged write in less than {} has not been to a device",
            show(PLAUSIBLE_MIN)
        );
        return Finding::warn(check, text);
    }
    match flushed.filter(|_| has_cache) {
        Some(flushed) if flushed < COMMITS => {
            let text = format!(
                "{shown}, but the device completed only {flushed} flushes of its cache for {COMMITS} acknowledged writes"
            );
            Finding::warn(check, text)
        }
        Some(flushed) => {
            let text = format!(
                "{shown}; the device completed {flushed} flushes of its cache while {COMMITS} writes were acknowledged one by \
                 one (other programs' flushes are counted too)"
            );
            Finding::ok(check, text)
        }
        None => Finding::ok(check, format!("{shown}; the device's flushes cannot be counted here")),
    }
}

/// Appends to a log in `dir` and says so after each acknowledged write: what a tracer watches.
pub(super) fn watched(dir: &Path) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let mut tell = || {
        out.write_all(ACKNOWLEDGED.as_bytes())?;
        out.write_all(b"\n")?;
        out.flush()
    };
    append_often(dir, &mut tell, &mut || None).map(drop)
}

/// Appends [`COMMITS`] records to a new log in `dir`, each synced before `acknowledged` is called. Returns how long each
/// took, and by how much the count rose meanwhile.
fn append_often(
    dir: &Path,
    acknowledged: &mut dyn FnMut() -> std::io::Result<()>,
    count: &mut dyn FnMut() -> Option<u64>,
) -> anyhow::Result<(Timed, Option<u64>)> {
    let dir = DataDir::create_or_open(dir)?;
    let options = LogOptions { cache_bytes: CACHE_BYTES, ..LogOptions::default() };
    let (log, mut appender) = scrollback_log::open(&dir, &options)?;
    let before = count();
    let mut times = Vec::new();
    for time in 0..COMMITS {
        times.push(append(&mut appender, Timestamp(i64::try_from(time)?))?);
        acknowledged().context("writing to standard output")?;
    }
    let counted = count().zip(before).map(|(after, before)| after.saturating_sub(before));
    anyhow::ensure!(
        log.head().offset.0 == COMMITS,
        "the log ends at {} after {COMMITS} writes",
        log.head().offset
    );
    Ok((Timed::new(times), counted))
}

fn append(appender: &mut Appender, time: Timestamp) -> anyhow::Result<Duration> {
    let record =
        NewRecord { kind: Kind(1), schema: Schema(1), kept: vec![0; 16], text: Some(vec![b'x'; TEXT_BYTES]) };
    let began = Instant::now();
    appender.append(time, vec![record])?;
    let took = began.elapsed();
    appender.publish();
    Ok(took)
}
