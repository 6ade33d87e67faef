//! Deleted texts: masked from the moment the deletion is durable, then erased from the records.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod common;

use std::ops::ControlFlow;
use std::sync::Arc;

use common::{Board, append_notes, log_on, removal, shown, target_of};
use roaring::RoaringTreemap;
use scrollback_log::engine::chunked::ChunkedEngine;
use scrollback_log::engine::memory::MemoryStore;
use scrollback_log::{
    Appender, ChunkOptions, Deletion, ERASE_STEP_TEXTS_MAX, Encoding, Engine, Log, Offset, Text, Timestamp,
    verify,
};

/// A log whose stored bytes can be searched for texts.
fn plain_log(store: &MemoryStore) -> (Arc<Log>, Appender) {
    let options = ChunkOptions { encoding: Encoding::Plain, ..ChunkOptions::default() };
    let engine: Arc<dyn Engine> = Arc::new(ChunkedEngine::create(store.clone(), options).unwrap());
    Log::new(engine, None)
}

fn is_stored(store: &MemoryStore, text: &str) -> bool {
    store.chunks().iter().any(|(_, chunk)| chunk.windows(text.len()).any(|window| window == text.as_bytes()))
}

/// Appends the removal of `targets`, masks them and publishes it.
fn remove(appender: &mut Appender, targets: impl IntoIterator<Item = u64>) -> Deletion {
    let targets: RoaringTreemap = targets.into_iter().collect();
    appender.append(Timestamp(9), vec![removal(Offset(targets.min().unwrap()))]).unwrap();
    let deletion = Deletion { offset: appender.head().offset, time: Timestamp(9) };
    appender.log().mask(deletion, targets);
    appender.publish();
    deletion
}

fn text_at(log: &Log, offset: u64) -> Option<String> {
    log.read(Offset(offset), |record| match record.text {
        Text::Present(text) => Some(String::from_utf8_lossy(text).into_owned()),
        Text::Gone(_) | Text::None => None,
    })
    .unwrap()
    .unwrap()
}

#[test]
fn a_masked_text_is_gone_for_readers_and_erased_from_the_records_later() {
    let store = MemoryStore::new();
    let (log, mut appender) = plain_log(&store);
    append_notes(&mut appender, ["stays here", "goes away", "stays too"]);
    let deletion = remove(&mut appender, [2]);
    assert_eq!(shown(&log), ["stays here", "-", "stays too", "remove 2"]);
    assert_eq!(log.mask_of(Offset(2)), Some(deletion));
    assert!(is_stored(&store, "goes away"));

    assert!(!appender.erase_step().unwrap());
    assert!(!is_stored(&store, "goes away"));
    assert!(is_stored(&store, "stays here") && is_stored(&store, "stays too"));
    assert_eq!(log.mask_of(Offset(2)), None, "the tombstone says it now");
    let gone = log.read(Offset(2), |record| record.text == Text::Gone(deletion)).unwrap();
    assert_eq!(gone, Some(true), "the tombstone names the deletion");
    assert_eq!(log.erased_through(), Offset(4));
    assert_eq!(
        verify::verify_store(&store, None, &mut |_| {}).damage,
        [],
        "the chain holds after the erasure"
    );
}

#[test]
fn a_scan_that_began_before_an_erasure_never_shows_the_text() {
    let store = MemoryStore::new();
    let (log, mut appender) = plain_log(&store);
    append_notes(&mut appender, ["one", "two", "three"]);
    let mut shown = Vec::new();
    log.scan(Offset(1), Offset(3), &mut |record| {
        if record.offset == Offset(1) {
            // All three are in the scan's buffer by now.
            remove(&mut appender, [2]);
            while appender.erase_step().unwrap() {}
            appender.erase_step().unwrap();
            assert!(!is_stored(&store, "two"));
        }
        shown.push(record.text != Text::None && matches!(record.text, Text::Present(_)));
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(shown, [true, false, true]);
    assert!(log.mask_of(Offset(2)).is_some(), "kept while such a scan ran");
    appender.erase_step().unwrap();
    assert_eq!(log.mask_of(Offset(2)), None, "and no longer");
    assert_eq!(text_at(&log, 2), None);
}

#[test]
fn a_scan_that_runs_since_before_the_deletion_does_not_keep_later_masks_for_ever() {
    let store = MemoryStore::new();
    let (log, mut appender) = plain_log(&store);
    append_notes(&mut appender, ["one", "two"]);
    remove(&mut appender, [1]);
    while appender.erase_step().unwrap() {}
    assert!(log.with_masks(scrollback_log::Masks::is_empty));
    log.scan(Offset(1), Offset(1), &mut |_| {
        remove(&mut appender, [2]);
        ControlFlow::Continue(())
    })
    .unwrap();
    while appender.erase_step().unwrap() {}
    assert!(log.with_masks(scrollback_log::Masks::is_empty));
}

#[test]
fn a_large_deletion_is_masked_at_once_and_erased_in_bounded_steps() {
    let count = 3 * ERASE_STEP_TEXTS_MAX as u64 + 7;
    let store = MemoryStore::new();
    let (log, mut appender) = plain_log(&store);
    for first in (0..count).step_by(100) {
        let notes: Vec<String> =
            (first..count.min(first + 100)).map(|number| format!("secret {number} ")).collect();
        append_notes(&mut appender, notes.iter().map(String::as_str));
    }
    append_notes(&mut appender, ["open"]);
    let deletion = remove(&mut appender, 1..=count);
    assert!((1..=count).all(|offset| log.mask_of(Offset(offset)) == Some(deletion)));
    assert_eq!(log.with_masks(scrollback_log::Masks::texts_waiting), count);
    let mut steps = 1;
    while appender.erase_step().unwrap() {
        steps += 1;
        assert_eq!(log.erased_through(), Offset::BEGINNING, "not before all of it is done");
    }
    assert_eq!(steps, 4);
    assert!(!is_stored(&store, "secret"));
    assert_eq!(text_at(&log, count + 1).as_deref(), Some("open"));
    assert_eq!(log.erased_through(), deletion.offset);
    let report = verify::verify_store(&store, None, &mut |_| {});
    assert_eq!((report.damage.as_slice(), report.tombstones, report.texts), ([].as_slice(), count, 1));
}

#[test]
fn a_text_that_two_deletions_name_is_erased_once_and_keeps_the_first() {
    let store = MemoryStore::new();
    let (log, mut appender) = plain_log(&store);
    append_notes(&mut appender, ["one", "two"]);
    let first = remove(&mut appender, [1]);
    remove(&mut appender, [1, 2]);
    while appender.erase_step().unwrap() {}
    let tombstone = log.read(Offset(1), |record| record.text == Text::Gone(first)).unwrap();
    assert_eq!(tombstone, Some(true));
    assert!(!is_stored(&store, "one") && !is_stored(&store, "two"));
}

#[test]
fn the_eraser_goes_on_after_a_power_cut_at_each_of_its_calls() {
    for call in 1..=9 {
        let store = MemoryStore::new();
        let (_, mut appender) = plain_log(&store);
        let notes: Vec<String> = (0..700).map(|number| format!("secret {number} ")).collect();
        append_notes(&mut appender, notes.iter().map(String::as_str));
        // Two removals in a row; what each names lies in several chunks.
        remove(&mut appender, [5]);
        appender.append(Timestamp(9), vec![removal(Offset(600))]).unwrap();
        let second = Deletion { offset: appender.head().offset, time: Timestamp(9) };
        appender.log().mask(second, RoaringTreemap::from_iter([600]));
        appender.publish();
        store.fail_at(call);
        while let Ok(true) = appender.erase_step() {}

        for seed in 0..4 {
            let disk = store.cut(seed);
            let (log, mut appender) = log_on(&disk);
            Board::open(&log);
            for target in [5, 600] {
                assert_eq!(text_at(&log, target), None, "masked or erased");
                assert_eq!(target_of_removal(&log, target), Offset(target));
            }
            while appender.erase_step().unwrap() {}
            assert!(
                !is_stored(&disk, "secret 4 ") && !is_stored(&disk, "secret 599 "),
                "call {call}, seed {seed}"
            );
            assert_eq!(log.erased_through(), second.offset);
            assert_eq!(verify::verify_store(&disk, None, &mut |_| {}).damage, []);
        }
    }
}

/// What the removal of `target` says it removes: 701 removes 5, 702 removes 600.
fn target_of_removal(log: &Log, target: u64) -> Offset {
    let removal = if target == 5 { 701 } else { 702 };
    log.read(Offset(removal), |record| target_of(&record)).unwrap().unwrap()
}
