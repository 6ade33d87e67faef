//! Power cuts of the writer loop, on a disk in memory that keeps only what was synced: at every write and every sync of
//! a session, with every fate of what was written and not synced.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod common;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use common::{Answer, Board, Command, NOTE, log_on, target_of};
use scrollback_log::clock::ManualClock;
use scrollback_log::engine::chunked::ChunkedEngine;
use scrollback_log::engine::memory::MemoryStore;
use scrollback_log::{ChainValue, Engine, Log, Offset, Text, Timestamp, Writer, WriterOptions, verify};

/// What a client of the board knows for sure.
#[derive(Default)]
struct Known {
    /// Notes whose pinning was acknowledged.
    pinned: BTreeMap<Offset, String>,
    /// Removals that were acknowledged, by the note they name.
    removed: BTreeMap<Offset, Offset>,
    /// The newest head that a reader saw.
    seen: Offset,
    /// The chain's value there.
    seen_chain: ChainValue,
}

/// Pins and removes notes until a write fails or the session is over.
fn session(store: &MemoryStore) -> Known {
    let mut known = Known::default();
    let (log, appender) = log_on(store);
    let board = Board::open(&log);
    let mut options = WriterOptions::new(Arc::new(ManualClock::at(Timestamp(5))));
    // Every batch is followed by a step of the eraser.
    options.erase_every = Duration::ZERO;
    let (writer, thread) = Writer::start(appender, board, options).unwrap();
    for round in 0..8_u64 {
        for number in 0..3 {
            let text = format!("note {number} of round {round}");
            if let Ok(Answer::Done(offset)) = writer.submit_blocking(Command::Pin(text.clone())) {
                known.pinned.insert(offset, text);
            }
        }
        let target = known.pinned.keys().copied().find(|offset| !known.removed.contains_key(offset));
        if round % 2 == 1
            && let Some(target) = target
            && let Ok(Answer::Done(removal)) = writer.submit_blocking(Command::Remove(target))
        {
            known.removed.insert(target, removal);
        }
        known.seen = log.head().offset;
        known.seen_chain = log.head().chain;
    }
    writer.stop();
    thread.join().unwrap();
    known
}

/// What is wrong with the log that a power cut left, if anything is.
fn fault(disk: &MemoryStore, known: &Known) -> Option<String> {
    let engine = match ChunkedEngine::open(disk.clone()) {
        Ok(engine) => engine,
        Err(error) => return Some(format!("it does not open: {error}")),
    };
    let report = verify::verify_store(engine.store(), None, &mut |_| {});
    if let Some(damage) = report.damage.first() {
        return Some(format!("damage: {damage:?}"));
    }
    if engine.head().offset < known.seen || engine.chain_at(known.seen) != Ok(Some(known.seen_chain)) {
        return Some("a reader saw what is not there any more".into());
    }
    let (log, _appender) = Log::new(Arc::new(engine), None);
    // Masks what was removed and not yet erased.
    let board = Board::open(&log);
    let mut next = Offset::FIRST;
    let mut records = BTreeMap::new();
    let scanned = log.scan(Offset::FIRST, log.head().offset, &mut |record| {
        assert_eq!(record.offset, next);
        next = next.next();
        let text = match record.text {
            Text::Present(text) => Some(String::from_utf8_lossy(text).into_owned()),
            Text::Gone(_) => None,
            Text::None => Some(format!("remove {}", target_of(&record))),
        };
        records.insert(record.offset, (record.kind, text));
        ControlFlow::Continue(())
    });
    if let Err(error) = scanned {
        return Some(error.to_string());
    }
    for (offset, text) in &known.pinned {
        match records.get(offset) {
            Some((NOTE, Some(found))) if found == text && !known.removed.contains_key(offset) => {}
            // A removal whose answer never came may have been made.
            Some((NOTE, None)) if !board.notes.lock().unwrap().contains_key(offset) => {}
            found => return Some(format!("note {offset} is {found:?} instead of {text:?}")),
        }
    }
    for (target, removal) in &known.removed {
        let expected = Some(format!("remove {target}"));
        if records.get(removal).map(|(_, text)| text) != Some(&expected) {
            return Some(format!("the removal {removal} of {target} is not there"));
        }
    }
    None
}

/// Cuts the power at every write and sync of a session; gives the first fault that is found.
fn first_fault(syncs_are_ignored: bool) -> Option<String> {
    let whole = MemoryStore::new();
    session(&whole);
    let calls = whole.calls();
    assert!(calls > 60, "a session has enough writes and syncs to be worth it");
    for call in 1..=calls + 1 {
        let store = MemoryStore::new();
        // The log itself is made first.
        log_on(&store);
        if syncs_are_ignored {
            store.ignore_syncs();
        }
        store.fail_at(call);
        let known = session(&store);
        for seed in 0..6 {
            if let Some(fault) = fault(&store.cut(seed), &known) {
                return Some(format!("cut at call {call}, seed {seed}: {fault}"));
            }
        }
    }
    None
}

#[test]
fn a_power_cut_takes_back_nothing_that_was_acknowledged_or_shown() {
    assert_eq!(first_fault(false), None);
}

#[test]
fn the_test_of_power_cuts_fails_when_syncs_are_taken_out() {
    assert!(first_fault(true).is_some());
}

#[test]
fn a_log_goes_on_after_each_of_many_power_cuts() {
    let mut store = MemoryStore::new();
    let mut known = Known::default();
    for (cycle, call) in [7, 20, 3, 31, 12, 1, 2, 26].into_iter().enumerate() {
        store.fail_at(call);
        let later = session(&store);
        known.pinned.extend(later.pinned);
        known.removed.extend(later.removed);
        if later.seen > known.seen {
            (known.seen, known.seen_chain) = (later.seen, later.seen_chain);
        }
        store = store.cut(cycle as u64);
        assert_eq!(fault(&store, &known), None, "cycle {cycle}");
    }
    assert!(known.pinned.len() > 20);
}
