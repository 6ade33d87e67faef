//! Older formats of the log, read to be written anew in this one.
//!
//! *Format 0*: no chunks, no chain, no split between what is kept and what can be erased. docs/format.md draws it. It had no
//! witness either, so nothing tells whether such a log is whole; its offsets must be contiguous, and that is all.
//!
//! A later format becomes another such reader; what follows it, a [`Staged`] log that replaces the old one, stays.

use std::sync::Arc;

use crate::chain::{self, Link};
use crate::copy::{Copy, CopyError};
use crate::data_dir::DataDir;
use crate::engine::chunked::{ChunkedEngine, FORMAT, FORMAT_MARK, StoreError};
use crate::engine::sled::{SledStore, mark_number};
use crate::envelope::{Envelope, StoredText};
use crate::open::{self, LogOptions, OpenError};
use crate::restore::Staged;
use crate::synced::{SyncedDb, SyncedTree};
use crate::verify::Progress;
use crate::{Head, Kind, Log, Offset, Schema, Timestamp};

/// The table of records of a log of format 0: the key is the offset, 8 bytes, big endian.
const RECORDS: &str = "records";
/// Checksum, kind, schema, offset and time of a record of format 0.
const HEADER_BYTES: usize = 4 + 2 + 2 + 8 + 8;
/// How often progress is told.
const PROGRESS_RECORDS: u64 = 16_384;

/// The two parts of a record that format 0 kept in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// What stays for ever.
    pub kept: &'a [u8],
    /// What people typed, if this kind has such a part.
    pub text: Option<&'a [u8]>,
}

/// Tells the parts of a record of format 0; none if it knows no such kind or the bytes are not of that kind.
pub type Split = dyn for<'a> Fn(Kind, Schema, &'a [u8]) -> Option<Parts<'a>>;

/// A log cannot be brought to this format. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A record is not what was written.
    #[error("the log {place} is damaged at offset {offset}: {what}; it stays as it was")]
    Damaged {
        /// The log.
        place: String,
        /// The record.
        offset: Offset,
        /// What is wrong with it.
        what: String,
    },
    /// The new log cannot be written.
    #[error("the new log cannot be written: {0}; the old one stays in use")]
    Write(StoreError),
    /// The log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// An opened log of an older format.
pub struct OldLog {
    place: String,
    records: SyncedTree,
    _db: SyncedDb,
}

/// What is in a log of an older format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OldContents {
    /// How many records there are.
    pub records: u64,
    /// How many of them have a text.
    pub texts: u64,
    /// How many bytes their values have.
    pub bytes: u64,
}

struct OldRecord<'a> {
    kind: Kind,
    schema: Schema,
    time: Timestamp,
    parts: Parts<'a>,
}

impl OldLog {
    /// Opens the current log of `dir`, if it is of an older format.
    ///
    /// # Errors
    /// See [`OpenError`]; a log of this format, or of a newer one, is none and no error.
    pub fn open(dir: &DataDir, options: &LogOptions) -> Result<Option<OldLog>, OpenError> {
        let place = dir.log_dir(dir.log_number());
        let at = |error| open::store_error(&place, error);
        let db = SyncedDb::open(&place, options.cache_bytes).map_err(at)?;
        let marks = db.tree("marks").map_err(at)?;
        let format = marks.get(FORMAT_MARK.as_bytes()).map_err(at)?;
        match format.and_then(|value| mark_number(&value)) {
            Some(older) if older < FORMAT => {}
            // Whoever opens it in the usual way says what is wrong with any other.
            _ => return Ok(None),
        }
        let records = db.tree(RECORDS).map_err(at)?;
        Ok(Some(OldLog { place: place.display().to_string(), records, _db: db }))
    }

    /// Its newest record.
    ///
    /// # Errors
    /// [`MigrateError::Damaged`].
    pub fn head(&self) -> Result<Offset, MigrateError> {
        let newest = self.records.at_or_before(&u64::MAX.to_be_bytes());
        let newest = newest.map_err(|error| self.damaged(Offset::BEGINNING, error.to_string()))?;
        Ok(newest.map_or(Offset::BEGINNING, |(key, _)| offset_of(&key)))
    }

    /// Reads every record.
    ///
    /// # Errors
    /// [`MigrateError::Damaged`].
    pub fn check(
        &self,
        split: &Split,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<OldContents, MigrateError> {
        let mut contents = OldContents::default();
        self.scan(
            self.head()?,
            split,
            &mut |record, bytes| {
                contents.records += 1;
                contents.texts += u64::from(record.parts.text.is_some());
                contents.bytes += bytes;
                Ok(())
            },
            progress,
        )?;
        Ok(contents)
    }

    /// Writes the records up to `to` as a log of this format beside the current one of `dir`. Times and offsets stay; every
    /// text gets a salt, and the chain begins.
    ///
    /// # Errors
    /// See [`MigrateError`].
    pub fn stage(
        &self,
        dir: &DataDir,
        to: Offset,
        options: &LogOptions,
        split: &Split,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Staged, MigrateError> {
        let number = dir.begin_next_log().map_err(OpenError::from)?;
        let outcome = self.write(dir, number, to, options, split, progress);
        if outcome.is_err() {
            // A disk that is full is left with what it had. A failure here is removed by the next run.
            let _ = dir.discard_log(number);
        }
        outcome
    }

    fn write(
        &self,
        dir: &DataDir,
        number: u64,
        to: Offset,
        options: &LogOptions,
        split: &Split,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Staged, MigrateError> {
        let place = dir.log_dir(number);
        let store =
            SledStore::open(&place, options.cache_bytes).map_err(|error| open::store_error(&place, error))?;
        let mut copy = Copy::new(&store, options.chunks);
        let mut head = Head::default();
        self.scan(
            to,
            split,
            &mut |record, _| {
                let OldRecord { kind, schema, time, parts: Parts { kept, text } } = record;
                let offset = head.offset.next();
                let text =
                    text.map_or(StoredText::None, |text| StoredText::Present { salt: rand::random(), text });
                let mut envelope = Envelope { offset, time, kind, schema, tag: head.chain.tag(), kept, text };
                let link = Link { kind, schema, offset, time, kept };
                head = Head {
                    offset,
                    time,
                    chain: chain::chain(&head.chain, link, envelope.commitment().as_ref()),
                };
                envelope.tag = head.chain.tag();
                match copy.push(&envelope) {
                    Ok(_) => Ok(()),
                    Err(CopyError::Write(error)) => Err(MigrateError::Write(error)),
                    Err(CopyError::Misfit(offset)) => {
                        Err(self.damaged(offset, "its time is earlier than that of the record before".into()))
                    }
                }
            },
            progress,
        )?;
        // Nothing was ever erased from a log of format 0.
        copy.finish(Offset::BEGINNING).map_err(MigrateError::Write)?;
        let engine = ChunkedEngine::open_existing(store, options.chunks)
            .map_err(|error| open::chunked_error(&place, error))?;
        let (log, appender) = Log::new(Arc::new(engine), None);
        Ok(Staged::new(number, log, appender))
    }

    /// Shows the records up to `to` with the lengths of their values.
    fn scan(
        &self,
        to: Offset,
        split: &Split,
        take: &mut dyn FnMut(OldRecord<'_>, u64) -> Result<(), MigrateError>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), MigrateError> {
        let mut at = Offset::BEGINNING;
        for entry in self.records.iter() {
            if at == to {
                break;
            }
            let (key, value) = entry.map_err(|error| self.damaged(at.next(), error.to_string()))?;
            at = at.next();
            if offset_of(&key) != at {
                return Err(
                    self.damaged(at, format!("the record is missing; {} comes next", offset_of(&key)))
                );
            }
            let record = decode(at, &value, split).map_err(|what| self.damaged(at, what))?;
            take(record, value.len() as u64)?;
            if at.0.is_multiple_of(PROGRESS_RECORDS) {
                progress(Progress { at, head: to });
            }
        }
        progress(Progress { at, head: to });
        Ok(())
    }

    fn damaged(&self, offset: Offset, what: String) -> MigrateError {
        MigrateError::Damaged { place: self.place.clone(), offset, what }
    }
}

fn offset_of(key: &[u8]) -> Offset {
    key.try_into().map_or(Offset(u64::MAX), |key| Offset(u64::from_be_bytes(key)))
}

fn decode<'a>(offset: Offset, value: &'a [u8], split: &Split) -> Result<OldRecord<'a>, String> {
    let (header, payload) = value.split_first_chunk::<HEADER_BYTES>().ok_or("the record is cut short")?;
    let (crc, fields) = header.split_at(4);
    if crc32fast::hash(&value[4..]).to_le_bytes() != crc {
        return Err("the record's checksum is wrong".into());
    }
    let kind = Kind(u16::from_le_bytes([fields[0], fields[1]]));
    let schema = Schema(u16::from_le_bytes([fields[2], fields[3]]));
    let mut number = [0; 8];
    number.copy_from_slice(&fields[4..12]);
    if u64::from_le_bytes(number) != offset.0 {
        return Err("the record is another one's".into());
    }
    number.copy_from_slice(&fields[12..20]);
    let time = Timestamp(i64::from_le_bytes(number));
    let parts = split(kind, schema, payload)
        .ok_or_else(|| format!("kind {}, schema {} is unknown, or its bytes are none", kind.0, schema.0))?;
    Ok(OldRecord { kind, schema, time, parts })
}
