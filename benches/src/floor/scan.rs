//! What reading allows: a scan of a CRC-framed file that is in the page cache, every CRC checked.

use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::frames::{self, Next};
use crate::cpu::Window;
use crate::report::Report;

const READ_BYTES: usize = 1 << 20;

#[derive(Args)]
pub(crate) struct Arguments {
    /// A directory for the file, which is removed at the end.
    #[arg(long)]
    dir: PathBuf,
    /// Records.
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// The length of a record, at most half of what is read at once.
    #[arg(long, default_value_t = 300)]
    bytes: usize,
    /// The file is read again and again for at least this long.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report> {
    let path = arguments.dir.join("floor-scan");
    let outcome = write(arguments, &path).and_then(|()| scan(arguments, &path));
    fs::remove_file(&path)?;
    outcome
}

fn write(arguments: &Arguments, path: &Path) -> Result<()> {
    let file = File::create_new(path).with_context(|| path.display().to_string())?;
    let mut out = BufWriter::with_capacity(READ_BYTES, file);
    let mut frame = Vec::new();
    frames::write(&mut frame, &vec![b'x'; arguments.bytes]);
    for _ in 0..arguments.records {
        out.write_all(&frame)?;
    }
    // Nothing of the writing may be left to do while the clock runs.
    Ok(out.into_inner()?.sync_all()?)
}

fn scan(arguments: &Arguments, path: &Path) -> Result<Report> {
    ensure!(arguments.bytes <= READ_BYTES / 2, "records of {} bytes", arguments.bytes);
    let (mut passes, mut buffer) = (0, vec![0; READ_BYTES]);
    let window = Window::open(&[])?;
    let deadline = Instant::now() + Duration::from_secs_f64(arguments.seconds);
    while passes == 0 || Instant::now() < deadline {
        let records = pass(path, &mut buffer)?;
        ensure!(records == arguments.records, "{records} records instead of {}", arguments.records);
        passes += 1;
    }
    let used = window.close()?;
    let records = passes * arguments.records;
    let mut report = Report::default();
    report
        .put("passes", passes)
        .rate("records_per_s", records, used.seconds)
        .ratio("mb_per_s", (records * arguments.bytes as u64) as f64 / used.seconds / 1e6);
    used.put(&mut report);
    Ok(report)
}

/// Reads the file once and counts its records.
fn pass(path: &Path, buffer: &mut [u8]) -> Result<u64> {
    let mut file = File::open(path)?;
    let (mut filled, mut records) = (0, 0);
    loop {
        let read = file.read(&mut buffer[filled..])?;
        if read == 0 {
            return Ok(records);
        }
        filled += read;
        let mut at = 0;
        loop {
            match frames::read(&buffer[at..filled]) {
                Next::Record(record) => {
                    at += frames::HEADER_BYTES + record.len();
                    records += 1;
                }
                Next::Cut => break,
                Next::Damaged => bail!("record {records} is damaged"),
            }
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
    }
}
