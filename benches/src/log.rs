//! The log crate alone: how fast it appends, and how much disk it takes for what was put into it.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use scrollback_log::data_dir::DataDir;
use scrollback_log::{Kind, LogOptions, NewRecord, Offset, Schema, Text, Timestamp};

use crate::cpu::{self, Window};
use crate::report::{Latencies, Report};
use crate::text;

/// What a record of a 256-byte message keeps beside its text is about this long.
const KEPT_BYTES: usize = 44;

#[derive(Args)]
pub(crate) struct AppendArguments {
    /// A directory that is not there yet, for a log of its own.
    #[arg(long)]
    dir: PathBuf,
    /// Records per append, which is one commit and one sync.
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// The length of a record: kept and text.
    #[arg(long, default_value_t = 300)]
    bytes: usize,
    /// How long.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

#[derive(Args)]
pub(crate) struct BytesArguments {
    /// A data directory that nobody uses.
    #[arg(long)]
    dir: PathBuf,
}

pub(crate) fn append(arguments: &AppendArguments) -> Result<Report> {
    let dir = DataDir::create_or_open(&arguments.dir)?;
    let (_log, mut appender) = scrollback_log::open(&dir, &LogOptions::default())?;
    let text_bytes = arguments.bytes.saturating_sub(KEPT_BYTES);
    let batch: Vec<NewRecord> = (0..arguments.batch as u64)
        .map(|number| NewRecord {
            kind: Kind(1),
            schema: Schema(1),
            kept: text::message("", !number, KEPT_BYTES).into_bytes(),
            text: Some(text::message("", number, text_bytes).into_bytes()),
        })
        .collect();
    let (mut commits, mut latencies) = (0, Latencies::default());
    let window = Window::open(&[])?;
    let deadline = Instant::now() + Duration::from_secs_f64(arguments.seconds);
    let mut before = Instant::now();
    while before < deadline {
        appender.append(Timestamp(commits), batch.clone())?;
        appender.publish();
        commits += 1;
        let now = Instant::now();
        latencies.record(now - before);
        before = now;
    }
    let used = window.close()?;
    let mut report = Report::default();
    report
        .put("batch", arguments.batch)
        .rate("records_per_s", commits.unsigned_abs() * arguments.batch as u64, used.seconds)
        .latencies(&mut latencies)
        .put("peak_rss_kib", cpu::peak_resident_kib(std::process::id())?);
    used.put(&mut report);
    Ok(report)
}

pub(crate) fn bytes(arguments: &BytesArguments) -> Result<Report> {
    // As the command left it: sled may write pages anew when they are read.
    let directory = file_bytes(&arguments.dir)?;
    let (mut records, mut content) = (0_u64, 0);
    {
        let dir = DataDir::open_existing(&arguments.dir)?;
        let (log, _appender) = scrollback_log::open(&dir, &LogOptions::default())?;
        log.scan(Offset(1), log.head().offset, &mut |record| {
            let text = if let Text::Present(text) = record.text { text.len() } else { 0 };
            records += 1;
            content += (record.kept.len() + text) as u64;
            ControlFlow::Continue(())
        })?;
    }
    let read = file_bytes(&arguments.dir)?;
    let mut report = Report::default();
    report
        .put("records", records)
        .put("content_bytes", content)
        .put("directory_bytes", directory)
        .ratio("directory_per_content", directory as f64 / content as f64)
        .ratio("read_per_content", read as f64 / content as f64);
    Ok(report)
}

/// The lengths of all files below a directory.
fn file_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { file_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
