//! What the disk allows: groups of records, each group one write and one fdatasync.
//!
//! The file is filled with zeros and synced before the clock starts, and writing goes round in it, so a sync has only
//! data to wait for, never the file's size or blocks. Nothing that keeps a log can be faster with as many syncs.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use super::frames;
use crate::cpu::Window;
use crate::report::{Latencies, Report};

/// Larger than what is written in a window at most disks' speed; going round is as good.
pub(crate) const FILE_BYTES: u64 = 256 << 20;

#[derive(Args)]
pub(crate) struct Arguments {
    /// A directory on the disk to measure; the file in it is removed at the end.
    #[arg(long)]
    dir: PathBuf,
    /// Records per write and sync.
    #[arg(long, default_value_t = 1)]
    group: usize,
    /// The length of a record.
    #[arg(long, default_value_t = 384)]
    bytes: usize,
    /// Frame every record with its length and CRC, computed while the clock runs.
    #[arg(long)]
    crc: bool,
    /// How long.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report> {
    let path = arguments.dir.join("floor-append");
    let outcome = append(arguments, &path);
    fs::remove_file(&path)?;
    outcome
}

fn append(arguments: &Arguments, path: &Path) -> Result<Report> {
    let file = zero_filled(path)?;
    let record = vec![b'x'; arguments.bytes];
    let raw = record.repeat(arguments.group);
    let mut framed = Vec::with_capacity(raw.len() + frames::HEADER_BYTES * arguments.group);
    let (mut at, mut groups, mut latencies) = (0, 0, Latencies::default());
    let window = Window::open(&[])?;
    let deadline = Instant::now() + Duration::from_secs_f64(arguments.seconds);
    let mut before = Instant::now();
    while before < deadline {
        let bytes = if arguments.crc {
            framed.clear();
            (0..arguments.group).for_each(|_| frames::write(&mut framed, &record));
            &framed
        } else {
            &raw
        };
        if at + bytes.len() as u64 > FILE_BYTES {
            at = 0;
        }
        file.write_all_at(bytes, at)?;
        file.sync_data()?;
        at += bytes.len() as u64;
        groups += 1;
        let now = Instant::now();
        latencies.record(now - before);
        before = now;
    }
    let used = window.close()?;
    let mut report = Report::default();
    report
        .put("group", arguments.group)
        .rate("syncs_per_s", groups, used.seconds)
        .rate("records_per_s", groups * arguments.group as u64, used.seconds)
        .latencies(&mut latencies);
    used.put(&mut report);
    Ok(report)
}

/// A new file of zeros, all of it on the disk.
pub(crate) fn zero_filled(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).open(path).with_context(|| path.display().to_string())?;
    let zeros = vec![0; 1 << 20];
    for _ in 0..FILE_BYTES / zeros.len() as u64 {
        file.write_all(&zeros)?;
    }
    file.sync_all()?;
    Ok(file)
}
