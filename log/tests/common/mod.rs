//! A small board of notes on the log: what the tests of the writer loop decide, apply and check.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};

use roaring::RoaringTreemap;
use scrollback_log::engine::chunked::ChunkedEngine;
use scrollback_log::engine::memory::MemoryStore;
use scrollback_log::{
    Appender, Decision, Deletion, Engine, Kind, Log, Machine, NewRecord, Offset, Record, Schema, Stamp, Text,
    Timestamp,
};

pub(crate) const NOTE: Kind = Kind(1);
pub(crate) const REMOVAL: Kind = Kind(2);

/// What can be asked of the board.
pub(crate) enum Command {
    /// Pin a note.
    Pin(String),
    /// Take a note off, if it is there.
    Remove(Offset),
    /// Do nothing until something comes in.
    Wait(Receiver<()>),
    /// Say so when it begins, and then do nothing until something comes in.
    WaitAndTell(Sender<()>, Receiver<()>),
    /// Pin a note, after somebody else has pinned one.
    Meddle,
}

/// What the board answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The record that did it.
    Done(Offset),
    /// There is no such note.
    Refused,
}

/// The notes that are there, as readers of the board see them.
pub(crate) type Notes = Arc<Mutex<BTreeMap<Offset, String>>>;

/// The board's machine.
pub(crate) struct Board {
    pub(crate) log: Arc<Log>,
    pub(crate) notes: Notes,
    /// Removed by a decision that is not applied yet.
    removing: Vec<Offset>,
    /// The batches that were applied, by their lengths.
    pub(crate) batches: Arc<Mutex<Vec<usize>>>,
    /// Somebody else who appends to the same log.
    pub(crate) meddler: Option<Appender>,
}

impl Board {
    /// The board as the log has it; deletions that are not carried out yet are masked.
    pub(crate) fn open(log: &Arc<Log>) -> Board {
        let mut board = Board {
            log: Arc::clone(log),
            notes: Notes::default(),
            removing: Vec::new(),
            batches: Arc::default(),
            meddler: None,
        };
        log.scan(Offset::FIRST, log.head().offset, &mut |record| {
            board.apply_one(&record);
            ControlFlow::Continue(())
        })
        .unwrap();
        board
    }

    fn apply_one(&mut self, record: &Record<'_>) {
        let mut notes = self.notes.lock().unwrap();
        if record.kind == NOTE {
            let text = match record.text {
                Text::Present(text) => String::from_utf8(text.to_vec()).unwrap(),
                Text::Gone(_) | Text::None => String::new(),
            };
            notes.insert(record.offset, text);
        } else {
            let target = target_of(record);
            notes.remove(&target).unwrap();
            self.removing.retain(|removing| *removing != target);
            if record.offset > self.log.erased_through() {
                let deletion = Deletion { offset: record.offset, time: record.time };
                self.log.mask(deletion, RoaringTreemap::from_iter([target.0]));
            }
        }
    }
}

impl Machine for Board {
    type Command = Command;
    type Answer = Answer;

    fn decide(&mut self, command: &Command, stamp: Stamp) -> Decision<Answer> {
        let done = |record| Decision { records: vec![record], answer: Answer::Done(stamp.offset) };
        match command {
            Command::Pin(text) => done(note(text)),
            Command::Remove(target) => {
                let there =
                    self.notes.lock().unwrap().contains_key(target) && !self.removing.contains(target);
                if there {
                    self.removing.push(*target);
                    done(removal(*target))
                } else {
                    Decision { records: Vec::new(), answer: Answer::Refused }
                }
            }
            Command::Wait(until) => {
                until.recv().unwrap();
                Decision { records: Vec::new(), answer: Answer::Refused }
            }
            Command::WaitAndTell(begun, until) => {
                begun.send(()).unwrap();
                until.recv().unwrap();
                Decision { records: Vec::new(), answer: Answer::Refused }
            }
            Command::Meddle => {
                // Once: the next decision stands on what was appended here.
                if let Some(mut other) = self.meddler.take() {
                    other.append(stamp.time, vec![note("from elsewhere")]).unwrap();
                }
                done(note("after the meddling"))
            }
        }
    }

    fn apply(&mut self, batch: &[Record<'_>]) {
        self.batches.lock().unwrap().push(batch.len());
        for record in batch {
            self.apply_one(record);
        }
    }

    fn discard(&mut self) {
        self.removing.clear();
    }
}

pub(crate) fn note(text: &str) -> NewRecord {
    NewRecord { kind: NOTE, schema: Schema(1), kept: vec![1, 2, 3], text: Some(text.into()) }
}

pub(crate) fn removal(target: Offset) -> NewRecord {
    NewRecord { kind: REMOVAL, schema: Schema(1), kept: target.0.to_le_bytes().into(), text: None }
}

/// The note that a removal names.
pub(crate) fn target_of(record: &Record<'_>) -> Offset {
    Offset(u64::from_le_bytes(record.kept.try_into().unwrap()))
}

/// A log on this store.
pub(crate) fn log_on(store: &MemoryStore) -> (Arc<Log>, Appender) {
    let engine: Arc<dyn Engine> = Arc::new(ChunkedEngine::open(store.clone()).unwrap());
    Log::new(engine, None)
}

/// Appends and publishes notes, and gives the offset of the last one.
pub(crate) fn append_notes<'a>(appender: &mut Appender, notes: impl IntoIterator<Item = &'a str>) -> Offset {
    appender.append(Timestamp(1), notes.into_iter().map(note).collect()).unwrap();
    appender.publish();
    appender.head().offset
}

/// All records as text: `note`, `-` for a text that is gone, `remove N`.
pub(crate) fn shown(log: &Log) -> Vec<String> {
    let mut shown = Vec::new();
    log.scan(Offset::FIRST, log.head().offset, &mut |record| {
        shown.push(match record.text {
            Text::Present(text) => String::from_utf8_lossy(text).into_owned(),
            Text::Gone(_) => "-".into(),
            Text::None => format!("remove {}", target_of(&record)),
        });
        ControlFlow::Continue(())
    })
    .unwrap();
    shown
}

/// Whether these bytes are in any file below `dir`.
pub(crate) fn is_on_disk(dir: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            is_on_disk(&path, bytes)
        } else {
            std::fs::read(path).unwrap().windows(bytes.len()).any(|window| window == bytes)
        }
    })
}

/// Copies a directory as it is at this moment.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
