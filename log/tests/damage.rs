//! Damage to the files of a real log: flipped bits and cut-off ends, in every file there is. Whatever is damaged, the
//! log is refused, or the damage is reported when it is read, or all of it reads back as it was written.
//!
//! Each damaged copy is opened by a process of its own, because the store beneath may do worse than fail.
//! `SCROLLBACK_DAMAGE_IMAGES` says how many copies are tried, `SCROLLBACK_DAMAGE_SEED` which.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod common;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::copy_dir;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use scrollback_log::data_dir::DataDir;
use scrollback_log::{
    Appender, Deletion, Kind, Log, LogOptions, NewRecord, Offset, Record, Schema, Text, Timestamp, finish,
    open, verify,
};

const DIR_VARIABLE: &str = "SCROLLBACK_DAMAGE_DIR";
const IMAGES_VARIABLE: &str = "SCROLLBACK_DAMAGE_IMAGES";
const SEED_VARIABLE: &str = "SCROLLBACK_DAMAGE_SEED";
const IMAGES: usize = 60;
const RECORDS: u64 = 6000;
/// Copies that are tried at the same time.
const AT_ONCE: usize = 2;
const CHILD_TIME_MAX: Duration = Duration::from_secs(60);

fn kept(offset: u64) -> Vec<u8> {
    format!("kept {offset}").into_bytes()
}

fn text(offset: u64) -> Vec<u8> {
    let mut random = SmallRng::seed_from_u64(offset);
    let len = if offset.is_multiple_of(500) { 20_000 } else { random.random_range(0..600) };
    (0..len).map(|_| random.random_range(b'a'..=b'z')).collect()
}

/// Every tenth text of the first half is erased.
fn is_erased(offset: u64) -> bool {
    offset < RECORDS / 2 && offset.is_multiple_of(10)
}

fn append(log: &Log, appender: &mut Appender, up_to: u64) {
    while log.head().offset.0 < up_to {
        let first = log.head().offset.0 + 1;
        let last = (first + first % 90).min(up_to);
        let records = (first..=last).map(|offset| NewRecord {
            kind: Kind(1),
            schema: Schema(1),
            kept: kept(offset),
            text: Some(text(offset)),
        });
        appender.append(Timestamp(1), records.collect()).unwrap();
        appender.publish();
    }
}

/// Writes the log; the last half only after the store wrote a snapshot. Returns with everything closed.
fn write_log(root: &Path) {
    let dir = DataDir::create_or_open(root).unwrap();
    let (log, mut appender) = open(&dir, &LogOptions::default()).unwrap();
    append(&log, &mut appender, RECORDS / 2);
    let deletion = Deletion { offset: Offset(1), time: Timestamp(1) };
    log.mask(deletion, (1..RECORDS).filter(|offset| is_erased(*offset)).collect());
    while appender.erase_step().unwrap() {}
    drop((log, appender));
    let (log, mut appender) = open(&dir, &LogOptions::default()).unwrap();
    append(&log, &mut appender, RECORDS);
    appender.sync_witness().unwrap();
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Damages one file below `root` and says how.
fn damage(root: &Path, random: &mut SmallRng) -> String {
    let mut files = files(root);
    files.sort();
    files.retain(|file| !file.ends_with("LOCK"));
    // Most of what is there is in the store's main file.
    let file = match random.random_range(0..3) {
        0 => &files[random.random_range(0..files.len())],
        _ => files.iter().find(|file| file.ends_with("db")).unwrap(),
    };
    let mut bytes = std::fs::read(file).unwrap();
    let at = random.random_range(0..bytes.len());
    let what = match random.random_range(0..4) {
        0 => {
            bytes.truncate(at);
            "cut off"
        }
        1 => {
            let end = (at + 64).min(bytes.len());
            bytes[at..end].fill(0);
            "64 bytes zeroed"
        }
        _ => {
            bytes[at] ^= 1 << random.random_range(0..8);
            "a bit flipped"
        }
    };
    std::fs::write(file, bytes).unwrap();
    format!("{what} at byte {at} of {}", file.strip_prefix(root).unwrap().display())
}

/// Opens and reads the copy named by the environment, and says what came of it in one line.
#[test]
#[ignore = "run by the damage tests, in a process of its own"]
fn opens_and_reads_for_its_parent() {
    let Some(root) = std::env::var_os(DIR_VARIABLE) else { return };
    println!("verdict {}", verdict(Path::new(&root)));
}

fn verdict(root: &Path) -> &'static str {
    let dir = match DataDir::open_existing(root) {
        Ok(dir) => dir,
        Err(error) => {
            println!("{error}");
            return "refused";
        }
    };
    let (log, appender) = match open(&dir, &LogOptions::default()) {
        Ok(opened) => opened,
        Err(error) => {
            println!("{error}");
            return "refused";
        }
    };
    assert_eq!(log.head().offset, Offset(RECORDS), "a shorter log is never opened");
    let mut next = Offset::FIRST;
    let mut reported = false;
    while next <= log.head().offset {
        let outcome = log.scan(next, log.head().offset, &mut |record: Record<'_>| {
            assert_eq!(record.offset, next, "in order, none left out");
            assert_eq!(record.kept, kept(next.0));
            match record.text {
                Text::Present(found) => {
                    assert!(!is_erased(next.0) && found == text(next.0), "what was written")
                }
                Text::Gone(deletion) => assert!(is_erased(next.0) && deletion.offset == Offset(1)),
                Text::None => panic!("record {next} had a text"),
            }
            next = next.next();
            ControlFlow::Continue(())
        });
        if let Err(error) = outcome {
            if !reported {
                println!("{error}");
            }
            reported = true;
            next = next.next();
        }
    }
    drop((log, appender));
    let report = match verify::verify(&dir, &LogOptions::default(), &mut |_| {}) {
        Ok(report) => report,
        Err(error) => {
            println!("{error}");
            return "damaged";
        }
    };
    assert!(!reported || report.damage_count > 0, "what a reader meets, a check lists");
    match (reported, report.damage_count) {
        (true, _) => "damaged",
        (false, 0) => "whole",
        (false, _) => "listed",
    }
}

/// Runs this program again on the copy; gives its verdict, or how it ended without one.
fn child(root: &Path) -> Result<String, String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "opens_and_reads_for_its_parent", "--nocapture"]);
    command.env(DIR_VARIABLE, root).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let started = Instant::now();
    let out = std::thread::scope(|scope| {
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let out = scope.spawn(move || std::io::read_to_string(&mut out).unwrap_or_default());
        let err = scope.spawn(move || std::io::read_to_string(&mut err).unwrap_or_default());
        while child.try_wait().unwrap().is_none() {
            if started.elapsed() > CHILD_TIME_MAX {
                child.kill().unwrap();
                child.wait().unwrap();
                return Err("it hung".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok((out.join().unwrap(), err.join().unwrap()))
    });
    let status = child.wait().unwrap();
    let (out, err) = out?;
    let verdict = out.lines().find_map(|line| line.strip_prefix("verdict "));
    match verdict {
        Some(verdict) if status.success() => Ok(verdict.to_owned()),
        _ => Err(format!("{status}\n{out}\n{err}")),
    }
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |number| number.parse().unwrap())
}

/// Tries damaged copies of `original`; gives how often each verdict came.
fn verdicts(original: &Path, images: usize, seed: u64) -> BTreeMap<String, usize> {
    let verdicts = Mutex::new(BTreeMap::<String, usize>::new());
    let next = Mutex::new(0..images as u64);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(image) = next.lock().unwrap().next() else { return };
                    let space = tempfile::tempdir().unwrap();
                    let root = space.path().join("data");
                    copy_dir(original, &root);
                    let mut random = SmallRng::seed_from_u64(seed << 32 | image);
                    let how = damage(&root, &mut random);
                    let verdict = child(&root).unwrap_or_else(|end| panic!("image {image}, {how}: {end}"));
                    *verdicts.lock().unwrap().entry(verdict).or_default() += 1;
                }
            });
        }
    });
    verdicts.into_inner().unwrap()
}

#[test]
fn all_damage_to_a_log_is_reported_and_none_is_served() {
    let (images, seed) = (number(IMAGES_VARIABLE, IMAGES), number(SEED_VARIABLE, 1) as u64);
    let space = tempfile::tempdir().unwrap();
    let killed = space.path().join("killed");
    write_log(&killed);
    let stopped = space.path().join("stopped");
    copy_dir(&killed, &stopped);
    finish(&DataDir::open_existing(&stopped).unwrap(), &LogOptions::default()).unwrap();
    for undamaged in [&killed, &stopped] {
        let copy = space.path().join("undamaged");
        copy_dir(undamaged, &copy);
        assert_eq!(child(&copy).as_deref(), Ok("whole"));
        std::fs::remove_dir_all(copy).unwrap();
    }
    for original in [&killed, &stopped] {
        let verdicts = verdicts(original, images / 2, seed);
        println!("{}: {verdicts:?}", original.display());
        let found: usize =
            verdicts.iter().filter(|(verdict, _)| *verdict != "whole").map(|(_, count)| count).sum();
        assert!(found * 3 > images / 2, "most of the damage hits something that counts: {verdicts:?}");
    }
}
