//! Compaction: smaller, the same log, nothing left of erased texts, and a crash at any point leaves one of the two.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod common;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{append_notes, copy_dir, is_on_disk, removal};
use roaring::RoaringTreemap;
use scrollback_log::compact::{CompactError, Compacted, Step, compact};
use scrollback_log::data_dir::DataDir;
use scrollback_log::{
    Appender, ChunkOptions, Deletion, Encoding, Head, Log, LogOptions, Offset, Text, Timestamp, open, verify,
};

/// Plain, so that texts can be found in the files.
fn options() -> LogOptions {
    // Plain, and short enough for one value, so that a text lies on the disk in one piece.
    let chunks =
        ChunkOptions { encoding: Encoding::Plain, raw_bytes_max: 4 * 1024, ..ChunkOptions::default() };
    LogOptions { chunks, ..LogOptions::default() }
}

fn text(number: u64) -> String {
    format!("a text of note {number} that is long enough to be found")
}

/// A log of many small commits, with every third note removed; the removals of the last ones are only masked.
fn write_log(root: &Path, notes: u64) -> (DataDir, Arc<Log>, Appender) {
    let dir = DataDir::create_or_open(root).unwrap();
    let (log, mut appender) = open(&dir, &options()).unwrap();
    for number in 1..=notes {
        append_notes(&mut appender, [text(number).as_str()]);
    }
    for targets in [(1..notes / 2), (notes / 2..notes)] {
        let targets: RoaringTreemap = targets.filter(|offset| offset % 3 == 0).collect();
        appender.append(Timestamp(2), vec![removal(Offset(targets.min().unwrap()))]).unwrap();
        let deletion = Deletion { offset: appender.head().offset, time: Timestamp(2) };
        log.mask(deletion, targets);
        appender.publish();
        if deletion.offset.0 == notes + 1 {
            while appender.erase_step().unwrap() {}
        }
    }
    (dir, log, appender)
}

/// All that a reader sees of a log.
fn seen(log: &Log) -> Vec<String> {
    let mut seen = Vec::new();
    log.scan(Offset::FIRST, log.head().offset, &mut |record| {
        seen.push(format!("{record:?}"));
        ControlFlow::Continue(())
    })
    .unwrap();
    seen
}

fn run(root: &Path, progress: &mut dyn FnMut(Step)) -> Compacted {
    let dir = DataDir::open_existing(root).unwrap();
    let (log, appender) = open(&dir, &options()).unwrap();
    compact(&dir, log, appender, &options(), progress).unwrap()
}

fn check(root: &Path, head: Head, expected: &[String]) {
    let dir = DataDir::open_existing(root).unwrap();
    let (log, appender) = open(&dir, &options()).unwrap();
    assert_eq!(log.head(), head);
    assert_eq!(seen(&log), expected);
    drop((log, appender));
    let report = verify::verify(&dir, &options(), &mut |_| {}).unwrap();
    assert_eq!((report.damage, report.records), (vec![], head.offset.0));
}

#[test]
fn a_compacted_log_is_smaller_and_the_same_and_holds_no_erased_text() {
    let space = tempfile::tempdir().unwrap();
    let root = space.path().join("data");
    let notes = 600;
    let (dir, log, appender) = write_log(&root, notes);
    let expected = seen(&log);
    let head = log.head();
    assert!(is_on_disk(&root, text(3).as_bytes()), "the old bytes of an erased text are still in the store");
    let mut steps = Vec::new();
    let compacted = compact(&dir, log, appender, &options(), &mut |step| steps.push(step)).unwrap();
    assert_eq!(compacted.head, head);
    assert!(compacted.bytes_after < compacted.bytes_before, "{compacted:?}");
    assert!(
        matches!(steps.as_slice(), [Step::Erasing(100), .., Step::Switching, Step::Removing]),
        "{steps:?}"
    );
    drop(dir);

    for number in 1..=notes {
        let is_gone = number % 3 == 0 && number != notes;
        assert_eq!(is_on_disk(&root, text(number).as_bytes()), !is_gone, "note {number}");
    }
    assert!(!root.join("log.1").exists());
    check(&root, head, &expected);
    let again = run(&root, &mut |_| {});
    assert_eq!(again.head, head);
    check(&root, head, &expected);
    let dir = DataDir::open_existing(&root).unwrap();
    let (log, _appender) = open(&dir, &options()).unwrap();
    assert_eq!(log.erased_through(), head.offset, "what was erased is known to be");
    let text_of_3 = log.read(Offset(3), |record| matches!(record.text, Text::Gone(_))).unwrap();
    assert_eq!(text_of_3, Some(true));
}

#[test]
fn a_crash_at_any_point_leaves_one_of_the_two_logs_and_a_second_run_finishes() {
    let space = tempfile::tempdir().unwrap();
    let root = space.path().join("data");
    let (dir, log, appender) = write_log(&root, 150);
    let expected = seen(&log);
    let head = log.head();
    let mut crashes: Vec<PathBuf> = Vec::new();
    compact(&dir, log, appender, &options(), &mut |step| {
        let crash = space.path().join(format!("crash {} at {step:?}", crashes.len()));
        copy_dir(&root, &crash);
        crashes.push(crash);
    })
    .unwrap();
    assert!(crashes.len() >= 4, "{crashes:?}");
    let before_the_switch =
        crashes.iter().find(|crash| crash.to_string_lossy().contains("Switching")).unwrap();
    assert!(before_the_switch.join("log.2").exists());
    // The rename of CURRENT, half way.
    let half = space.path().join("half of CURRENT");
    copy_dir(before_the_switch, &half);
    std::fs::write(half.join("CURRENT.new"), b"log.").unwrap();
    crashes.push(half);
    // The removal of the old log, half way.
    let after_the_switch = crashes.iter().find(|crash| crash.to_string_lossy().contains("Removing")).unwrap();
    let half = space.path().join("half of log.1");
    copy_dir(after_the_switch, &half);
    std::fs::remove_file(half.join("log.1/db")).unwrap();
    crashes.push(half);

    for crash in crashes {
        let dir = DataDir::open_existing(&crash).unwrap();
        let (log, mut appender) = open(&dir, &options()).unwrap();
        assert_eq!(log.head(), head, "{crash:?}");
        // As the folding of the log would: what was removed and is not erased is masked.
        for (removed, offset) in [(1..75_u64, 151), (75..150, 152)] {
            if Offset(offset) > log.erased_through() {
                let targets = removed.filter(|offset| offset % 3 == 0).collect();
                log.mask(Deletion { offset: Offset(offset), time: Timestamp(2) }, targets);
            }
        }
        assert_eq!(seen(&log), expected, "{crash:?}");
        assert_eq!(
            std::fs::read_dir(&crash)
                .unwrap()
                .filter(|entry| { entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("log.") })
                .count(),
            1,
            "only one log is left"
        );
        while appender.erase_step().unwrap() {}
        compact(&dir, log, appender, &options(), &mut |_| {}).unwrap();
        drop(dir);
        check(&crash, head, &expected);
        assert!((3..150).step_by(3).all(|number| !is_on_disk(&crash, text(number).as_bytes())), "{crash:?}");
    }
}

#[test]
fn a_log_that_is_being_read_is_not_compacted() {
    let space = tempfile::tempdir().unwrap();
    let root = space.path().join("data");
    let (dir, log, appender) = write_log(&root, 10);
    let reader = Arc::clone(&log);
    assert!(matches!(compact(&dir, log, appender, &options(), &mut |_| {}), Err(CompactError::InUse)));
    assert_eq!(reader.head().offset, Offset(12));
    assert!(!root.join("log.2").exists());
}
