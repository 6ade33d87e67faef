//! Tests of the crate as a whole, on random histories. The rules of one view are tested beside it.

mod canonical;
mod checkpoints;
mod contradictions;
mod folding;
mod golden;
mod opening;

use std::path::Path;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use scrollback_log::engine::chunked::ChunkedEngine;
use scrollback_log::engine::memory::MemoryStore;
use scrollback_log::{Appender, Log, Offset, Record, Text};

use crate::testing::{Dice, History, SETTINGS};
use crate::{Opened, Views, open_views};

/// Random histories of up to about this many records.
fn histories(records: usize) -> impl Strategy<Value = History> {
    dice(records).prop_map(|dice| History::new(&dice))
}

fn dice(throws: usize) -> impl Strategy<Value = Vec<Dice>> {
    vec(any::<Dice>(), 0..throws)
}

/// A history that every test finds the same, with some of everything in it.
fn a_full_history() -> History {
    let history = History::fixed(500);
    assert!(history.origins.len() > 1 && history.users.len() > 3 && history.imports.len() > 5);
    assert!(history.live_channels().count() > 1 && history.channels.len() > 10);
    assert!(
        history.messages.iter().any(|message| message.deleted.is_none() && message.imported_at.is_some())
    );
    assert!(
        history.messages.iter().any(|message| message.deleted.is_none() && message.imported_at.is_none())
    );
    let ended = |channel: &crate::testing::Channel| channel.deleted.is_some();
    assert!(history.channels.iter().any(|channel| !ended(channel) && channel.members.len() > 1));
    assert!(history.channels.iter().any(|channel| ended(channel) && !channel.members.is_empty()));
    assert!(history.invitations.iter().any(|invitation| invitation.used) && history.keys.len() > 5);
    history
}

/// The views of records that are seen with every deletion up to `erased` carried out.
fn folded(history: &History, erased: Offset) -> Views {
    let mut views = Views::new(SETTINGS);
    for sealed in &history.sealed() {
        views.apply(&history.seen(sealed, erased)).unwrap();
    }
    views
}

fn bytes(views: &Views) -> Vec<u8> {
    let mut bytes = Vec::new();
    views.write_canonical(&mut bytes).unwrap();
    bytes
}

/// A log in memory that holds the history's records from `from` on.
fn append(appender: &mut Appender, history: &History, records: std::ops::Range<usize>) {
    // Records of one time were one commit, as the writer makes them.
    for batch in history.records[records].chunk_by(|(one, _), (other, _)| one == other) {
        appender.append(batch[0].0, batch.iter().map(|(_, record)| record.clone()).collect()).unwrap();
    }
    appender.publish();
}

fn open(store: &MemoryStore) -> (Arc<Log>, Appender) {
    Log::new(Arc::new(ChunkedEngine::open(store.clone()).unwrap()), None)
}

/// A log in memory with the whole history.
fn log_of(history: &History) -> (MemoryStore, Arc<Log>, Appender) {
    let store = MemoryStore::new();
    let (log, mut appender) = open(&store);
    append(&mut appender, history, 0..history.records.len());
    (store, log, appender)
}

fn opened(log: &Log, dir: &Path) -> Opened {
    open_views(log, dir, SETTINGS, &mut |_| {}).unwrap()
}

/// Which texts a reader of the log can see.
fn visible(log: &Log) -> Vec<Offset> {
    let mut seen = Vec::new();
    let mut look = |record: Record<'_>| {
        if matches!(record.text, Text::Present(_)) {
            seen.push(record.offset);
        }
        std::ops::ControlFlow::Continue(())
    };
    log.scan(Offset::FIRST, log.head().offset, &mut look).unwrap();
    seen
}

/// Which texts a reader may see: those that were there and that no deletion named.
fn permitted(history: &History) -> Vec<Offset> {
    let gone = |offset| history.deletions.iter().any(|(_, targets)| targets.contains(&offset));
    let sealed = history.sealed();
    let with_text = sealed.iter().filter(|sealed| sealed.record.text.is_some());
    with_text.map(|sealed| sealed.offset).filter(|offset| !gone(*offset)).collect()
}
