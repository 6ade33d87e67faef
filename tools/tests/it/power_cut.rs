//! Power cuts in the middle of the operator's commands that replace a log, without cutting any power.
//!
//! Each command runs once under strace, which records every write, sync and change of a name. From that recording come the
//! images that a disk may hold after a cut at any moment: at the least what was synced, at the most also any part of what was
//! not. A start on each must find the old log or the new one, and a second run of the command must finish.

#[path = "../../../log/tests/recorded_power_cut/disk.rs"]
mod disk;
#[path = "../../../log/tests/recorded_power_cut/trace.rs"]
mod trace;

use std::path::Path;
use std::process::Command;

use disk::{Disk, Survivors};
use trace::{Event, Trace};

use crate::steps::{Seen, example, old_example, operate, restored, seen};
use crate::support::server::{run, scrollback};
use crate::support::{count, files};

/// Runs a command on `data` under strace.
fn record(data: &Path, arguments: &[&str]) -> Trace {
    let out = data.with_file_name("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-xx", "-s", "16000000", "-o"]).arg(&out).args(["-e", trace::SYSCALLS]);
    strace.arg(scrollback().get_program()).args(arguments).arg("--data").arg(data);
    run(&mut strace).must_exit(0);
    let trace = Trace::parse(&std::fs::read_to_string(&out).unwrap(), data);
    let syncs = trace.events.iter().filter(|event| matches!(event, Event::SyncEnd { .. })).count();
    assert!(syncs > 10, "the recording holds too little: {syncs} syncs");
    trace
}

/// Cuts the power while `arguments` run on a copy of `data`; `new` is what there is afterwards.
fn cut(data: &Path, arguments: &[&str], new: &Seen) {
    let space = tempfile::tempdir().unwrap();
    let watched = space.path().join("data");
    files::copy(data, &watched);
    let before = Disk::holding(&watched);
    let old = seen(data);
    let recording = record(&watched, arguments);
    let images = count("SCROLLBACK_F7_IMAGES", 24);
    let (mut olds, mut news) = (0, 0);
    for number in 0..images {
        let at = 1 + number * recording.events.len() / images;
        let survivors =
            if number % 2 == 0 { Survivors::OnlySynced } else { Survivors::Random(number as u64) };
        let mut disk = before.clone();
        recording.events[..at].iter().for_each(|event| disk.apply(event));
        let image = tempfile::tempdir().unwrap();
        let root = image.path().join("data");
        disk.build(&root, survivors);
        let what = format!("{arguments:?} cut after event {at} of {}, {survivors:?}", recording.events.len());
        let found = seen(&root);
        assert!(found == old || found.as_ref() == Some(new), "{what}: {found:?}");
        if found == old {
            olds += 1
        } else {
            news += 1
        }
        // As a start would: a checkpoint of another log, for one, is no state to start from.
        if found.is_some() {
            operate(&root, &["export"]).must_exit(0);
        }
        run(scrollback().args(arguments).arg("--data").arg(&root)).must_exit(0);
        assert_eq!(seen(&root).as_ref(), Some(new), "{what}, and run again");
    }
    println!("{arguments:?}: {images} images of {} events, {olds} old, {news} new", recording.events.len());
}

#[test]
#[ignore = "needs strace (tools/test installs it)"]
fn a_power_cut_during_a_restore_leaves_the_old_log_or_the_new_one() {
    let (_space, data, backup) = example();
    cut(&data, &["restore", backup.to_str().unwrap(), "--yes"], &restored(&data));
}

#[test]
#[ignore = "needs strace (tools/test installs it)"]
fn a_power_cut_during_a_compaction_leaves_the_same_log() {
    let (_space, data, _) = example();
    let same = seen(&data).unwrap();
    cut(&data, &["compact", "--yes"], &same);
}

#[test]
#[ignore = "needs strace (tools/test installs it)"]
fn a_power_cut_during_an_accepted_rollback_leaves_what_a_second_one_finishes() {
    let (_space, data, _) = example();
    let same = seen(&data).unwrap();
    cut(&data, &["restore", "--accept-current", "--yes"], &same);
}

#[test]
#[ignore = "needs strace (tools/test installs it)"]
fn a_power_cut_during_a_migration_leaves_the_old_log_or_the_new_one() {
    let (_space, data, new) = old_example();
    cut(&data, &["replay", "--migrate", "--yes"], &new);
}
