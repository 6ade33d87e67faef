//! Power cuts of the real engine on a real file system, without cutting any power.
//!
//! A child process runs the log under strace; every write, sync, rename and removal it makes is recorded in order,
//! between the lines with which it acknowledges records. From that recording this test builds what a disk may hold after
//! a power cut at any moment: at the least what was synced, at the most also any part of what was not. Each such image
//! is opened as a start would open it, and must hold every record that had been acknowledged by then.
//!
//! The same recording with the `fdatasync` calls struck out is what the code would do without its `sync_data`: the test must
//! then find lost records, or it would prove nothing.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod disk;
mod trace;
mod workload;

use std::path::Path;
use std::process::Command;

use disk::{Disk, Survivors};
use scrollback_log::data_dir::DataDir;
use scrollback_log::{LogOptions, Offset, verify};
use trace::{Event, Trace};

/// How many images are built and opened; `tools/test` and `tools/soak` ask for more.
fn images() -> usize {
    std::env::var("SCROLLBACK_F2_IMAGES").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

/// An acknowledgement: this record, with this chain value, is durable.
#[derive(Clone, Debug)]
struct Acked {
    offset: Offset,
    chain: String,
}

#[test]
#[ignore = "needs strace (tools/test installs it)"]
fn every_acknowledged_record_survives_a_power_cut_at_any_moment() {
    let recording = record();
    let mut opened = 0;
    for (number, cut) in cuts(&recording, images()).into_iter().enumerate() {
        let survivors =
            if number % 3 == 0 { Survivors::OnlySynced } else { Survivors::Random(number as u64) };
        if let Err(loss) = check(&recording, cut, survivors, true) {
            panic!(
                "image {number}, cut after event {cut} of {}, {survivors:?}: {loss}",
                recording.events.len()
            );
        }
        opened += 1;
    }
    println!("{opened} images of {} events held every acknowledged record", recording.events.len());
}

#[test]
#[ignore = "needs strace (tools/test installs it)"]
fn without_its_sync_data_a_power_cut_loses_acknowledged_records() {
    let recording = record();
    let cuts = cuts(&recording, images().min(200));
    let lost =
        cuts.iter().filter(|cut| check(&recording, **cut, Survivors::OnlySynced, false).is_err()).count();
    println!("{lost} of {} images lost acknowledged records without sync_data", cuts.len());
    assert!(
        lost > cuts.len() / 4,
        "only {lost} of {} images lost anything: this test cannot see a missing sync",
        cuts.len()
    );
}

/// Runs the workload under strace.
fn record() -> Trace {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let out = dir.path().join("trace");
    let status = Command::new("strace")
        .args(["-f", "-y", "-xx", "-s", "4000000", "-o"])
        .arg(&out)
        .args(["-e", trace::SYSCALLS])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "workload::appends_and_erases_for_its_parent", "--ignored", "--nocapture"])
        .env(workload::DIR_VARIABLE, &data)
        .status()
        .expect("strace runs");
    assert!(status.success(), "the workload failed under strace");
    let trace = Trace::parse(&std::fs::read_to_string(&out).unwrap(), &data);
    let acked = trace.events.iter().filter(|event| matches!(event, Event::Acked { .. })).count();
    let syncs = trace.events.iter().filter(|event| matches!(event, Event::SyncBegin { .. })).count();
    assert!(
        acked >= 100 && syncs >= acked,
        "the recording holds too little: {acked} acknowledgements, {syncs} syncs"
    );
    trace
}

/// Moments to cut at, spread evenly over the recording; several images of one moment when there are more than moments.
fn cuts(recording: &Trace, images: usize) -> Vec<usize> {
    (0..images).map(|number| 1 + number * recording.events.len() / images).collect()
}

/// Builds the image of a cut after `cut` events, opens it, and says what is missing.
fn check(recording: &Trace, cut: usize, survivors: Survivors, sync_data: bool) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    let mut disk = Disk::default();
    let mut acked = None;
    for event in &recording.events[..cut] {
        match event {
            Event::Acked { offset, chain } => {
                acked = Some(Acked { offset: Offset(*offset), chain: chain.clone() })
            }
            Event::SyncBegin { data_only: true, .. } | Event::SyncEnd { data_only: true, .. }
                if !sync_data => {}
            other => disk.apply(other),
        }
    }
    disk.build(&root, survivors);
    holds(&root, acked.as_ref())
}

/// Whether a start on `root` finds every record up to `acked`, undamaged.
fn holds(root: &Path, acked: Option<&Acked>) -> Result<(), String> {
    let dir = DataDir::create_or_open(root).map_err(|error| format!("the data directory: {error}"))?;
    let options = LogOptions::default();
    let (log, appender) =
        scrollback_log::open(&dir, &options).map_err(|error| format!("the log: {error}"))?;
    if let Some(acked) = acked {
        let chain = log.chain_at(acked.offset).map_err(|error| error.to_string())?;
        let chain = chain.map(|value| value.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        if chain.as_ref() != Some(&acked.chain) {
            return Err(format!(
                "record {} was acknowledged; the log has {chain:?} there, head {}",
                acked.offset,
                log.head().offset
            ));
        }
    }
    drop((log, appender));
    let report = verify::verify(&dir, &options, &mut |_| {}).map_err(|error| format!("verify: {error}"))?;
    match report.damage.first() {
        Some(damage) => Err(format!("verify: record {}: {}", damage.offset, damage.what)),
        None => Ok(()),
    }
}
