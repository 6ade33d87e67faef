//! Checking a whole log: every chunk, every checksum, every offset and time, and the chain of hashes through all of it.
//!
//! One thread reads the store, another checks: hashing takes about as long as reading. Damage does not end the check;
//! what lies behind it is checked against the nearest chain value that is still there.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::chain;
use crate::chunk::Header;
use crate::data_dir::DataDir;
use crate::engine::chunked::{ChunkStore, ERASED_MARK, FORMAT, FORMAT_MARK, StoreError};
use crate::envelope::StoredText;
use crate::open::{self, LogOptions, OpenError};
use crate::witness::{Testimony, Witness};
use crate::{ChainValue, Head, Offset, ReadError};

/// No more than this much damage is listed; all of it is counted.
pub const DAMAGE_LISTED_MAX: usize = 1000;
/// How many chunks are read ahead of the check.
const READ_AHEAD_CHUNKS: usize = 256;
/// A store that cannot be read at some place is tried again this far behind it, then twice as far, and so on.
const READ_ON_AFTER: u64 = 64;

/// How far a pass over the log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The record it has come to.
    pub at: Offset,
    /// The record it will end at.
    pub head: Offset,
}

/// Something that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file or store it lies in.
    pub place: String,
    /// The first record it concerns; 0 when it concerns none.
    pub offset: Offset,
    /// What is wrong.
    pub what: String,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The newest record that was found.
    pub head: Head,
    /// Records found sound.
    pub records: u64,
    /// Those of them that have a text.
    pub texts: u64,
    /// Those of them whose text is erased.
    pub tombstones: u64,
    /// The damage, in the order of the log; at most [`DAMAGE_LISTED_MAX`] entries.
    pub damage: Vec<Damage>,
    /// How much damage there is, listed or not.
    pub damage_count: u64,
}

/// Checks the current log of `dir`, and that it is the one its witness knows.
///
/// # Errors
/// See [`OpenError`]; damage to records is no error but part of the report.
pub fn verify(
    dir: &DataDir,
    options: &LogOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, OpenError> {
    let store = open::open_store(dir, options)?;
    // Of another format there is nothing to be said here; a missing mark is damage, and listed.
    open::refuse_other_format(&store)?;
    let path = dir.witness();
    let testimony = Witness::read(&path)
        .map_err(|error| OpenError::Io { place: path.display().to_string(), what: error.to_string() })?;
    let witness = match testimony {
        Testimony::Head(head) => Some(head),
        Testimony::Missing | Testimony::Damaged => None,
    };
    let mut report = verify_store(&store, witness, progress);
    let place = path.display().to_string();
    match testimony {
        Testimony::Missing => report.add(&place, Offset::BEGINNING, "the witness is missing".into()),
        Testimony::Damaged => report.add(&place, Offset::BEGINNING, "the witness is damaged".into()),
        Testimony::Head(_) => {}
    }
    Ok(report)
}

/// Checks the log in `store`, and that it holds the record `witness` if one is given.
pub fn verify_store<S: ChunkStore>(
    store: &S,
    witness: Option<Head>,
    progress: &mut dyn FnMut(Progress),
) -> Report {
    let mut check = Check {
        place: store.place(),
        witness,
        expected: Some(Offset::FIRST),
        chain: Some(ChainValue::BEGINNING),
        buffer: Vec::new(),
        report: Report::default(),
    };
    let head = match store.at_or_before(Offset(u64::MAX)) {
        Ok(newest) => newest.map_or(Offset::BEGINNING, |(first, chunk)| {
            Header::decode(&chunk).map_or(first, |header| Offset(first.0 + u64::from(header.count) - 1))
        }),
        Err(_) => Offset::BEGINNING,
    };
    match store.mark(FORMAT_MARK) {
        Ok(Some(FORMAT)) => {}
        Ok(found) => check.damage(Offset::BEGINNING, format!("the format mark is {found:?}")),
        Err(error) => check.damage(Offset::BEGINNING, error.to_string()),
    }
    if let Err(error) = store.mark(ERASED_MARK) {
        check.damage(Offset::BEGINNING, error.to_string());
    }
    let (sender, found) = sync_channel(READ_AHEAD_CHUNKS);
    std::thread::scope(|scope| {
        scope.spawn(move || read(store, head, &sender));
        check.run(&found, head, progress);
    });
    check.finish()
}

enum Found {
    Chunk(Offset, Vec<u8>),
    /// The store cannot be read from here on; reading goes on at the second offset.
    Unreadable(Offset, Offset, StoreError),
}

/// Reads all chunks and hands them over, jumping over what cannot be read.
fn read<S: ChunkStore>(store: &S, head: Offset, sender: &SyncSender<Found>) {
    let mut from = Offset::BEGINNING;
    let mut jump = READ_ON_AFTER;
    loop {
        let outcome = store.ascend(from, &mut |first, chunk| {
            from = first.next();
            jump = READ_ON_AFTER;
            match sender.send(Found::Chunk(first, chunk.to_vec())) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        let Err(error) = outcome else { return };
        let behind = from.plus(jump);
        jump = jump.saturating_mul(2);
        if sender.send(Found::Unreadable(from, behind, error)).is_err() || behind > head {
            return;
        }
        from = behind;
    }
}

struct Check {
    place: String,
    witness: Option<Head>,
    /// The next record; none behind damage that does not tell.
    expected: Option<Offset>,
    /// The chain's value before the next record; none behind damage that does not tell.
    chain: Option<ChainValue>,
    buffer: Vec<u8>,
    report: Report,
}

impl Check {
    fn run(&mut self, found: &Receiver<Found>, head: Offset, progress: &mut dyn FnMut(Progress)) {
        for found in found {
            match found {
                Found::Chunk(first, bytes) => {
                    self.chunk(first, &bytes);
                    progress(Progress { at: self.report.head.offset, head });
                }
                Found::Unreadable(from, behind, error) => {
                    let what = format!("records from here to offset {behind} cannot be read: {error}");
                    self.damage(self.expected.unwrap_or(from), what);
                    (self.expected, self.chain) = (None, None);
                }
            }
        }
    }

    fn chunk(&mut self, first: Offset, bytes: &[u8]) {
        if let Some(expected) = self.expected
            && expected != first
        {
            self.damage(expected.min(first), format!("offset {expected} should follow, but {first} does"));
            self.chain = None;
        }
        let header = match Header::decode(bytes) {
            Ok(header) => header,
            Err(error) => {
                self.damage(first, error.to_string());
                (self.expected, self.chain) = (None, None);
                return;
            }
        };
        self.expected = Some(first.plus(header.count.into()));
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut chain = self.chain.take();
        match header.records(first, &mut buffer) {
            Err(error) => {
                self.damage(first, error.to_string());
                chain = None;
            }
            Ok(mut records) => loop {
                let at = records.next_offset();
                match records.next() {
                    None => break,
                    Some(Err(error)) => {
                        self.damage(at, error.to_string());
                        chain = None;
                    }
                    Some(Ok(envelope)) => {
                        if envelope.time < self.report.head.time {
                            self.damage(at, "the record's time is earlier than the one before".into());
                        }
                        if let Some(previous) = chain {
                            let after =
                                chain::chain(&previous, envelope.link(), envelope.commitment().as_ref());
                            chain = Some(after);
                            if after.tag() != envelope.tag {
                                self.damage(at, "the record does not fit the chain of hashes".into());
                                chain = None;
                            }
                            self.compare_witness(at, after);
                        }
                        self.report.records += 1;
                        self.report.texts += u64::from(matches!(envelope.text, StoredText::Present { .. }));
                        self.report.tombstones +=
                            u64::from(matches!(envelope.text, StoredText::Erased { .. }));
                        self.report.head = Head { offset: at, time: envelope.time, chain: header.chain };
                    }
                }
            },
        }
        if let Some(chain) = chain
            && chain != header.chain
        {
            self.damage(first, "the chunk's chain value is not that of its last record".into());
        }
        self.buffer = buffer;
        self.chain = Some(header.chain);
    }

    fn compare_witness(&mut self, at: Offset, chain: ChainValue) {
        if let Some(witness) = self.witness.filter(|witness| witness.offset == at)
            && witness.chain != chain
        {
            self.damage(at, "the record is another one than the witness knows: this is another log".into());
        }
    }

    fn finish(mut self) -> Report {
        let end = self.report.head.offset;
        if let Some(witness) = self.witness.filter(|witness| witness.offset > end) {
            let what = format!("the log ends at offset {end}, but was durable up to {}", witness.offset);
            self.damage(end.next(), what);
        }
        self.report
    }

    fn damage(&mut self, offset: Offset, what: String) {
        let place = self.place.clone();
        self.report.add(&place, offset, what);
    }
}

impl Report {
    fn add(&mut self, place: &str, offset: Offset, what: String) {
        self.damage_count += 1;
        if self.damage.len() < DAMAGE_LISTED_MAX {
            self.damage.push(Damage { place: place.to_owned(), offset, what });
        }
    }
}

impl From<Damage> for ReadError {
    fn from(damage: Damage) -> ReadError {
        ReadError::Damaged { offset: damage.offset, place: damage.place, what: damage.what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_damage_is_counted_and_the_first_of_it_is_listed() {
        let mut report = Report::default();
        let found = DAMAGE_LISTED_MAX as u64 + 3;
        (1..=found).for_each(|offset| report.add("here", Offset(offset), "bad".into()));
        assert_eq!((report.damage.len(), report.damage_count), (DAMAGE_LISTED_MAX, found));
        assert_eq!(report.damage.last().unwrap().offset, Offset(DAMAGE_LISTED_MAX as u64));
    }
}
