//! What is left of a log that may be damaged or have lost its tail, read as far as it can be.

use std::ops::ControlFlow;

use crate::chunk::Header;
use crate::data_dir::DataDir;
use crate::engine::chunked::{self, ChunkStore, StoreError, scan_store};
use crate::engine::sled::SledStore;
use crate::open::{self, LogOptions, OpenError};
use crate::{ChainValue, Log, Offset, ReadError, Visit};

/// Where not even a place in the store can be found, reading goes on this far behind, then twice as far, and so on.
const READ_ON_AFTER: u64 = 64;
/// How many chunks in a row are tried for one that can be compared.
const PROBES_MAX: u32 = 64;
/// No more stretches than this that cannot be read are told one by one.
pub const UNREADABLE_LISTED_MAX: usize = 100;

/// What is left of the current log of a data directory.
pub struct Remains {
    store: SledStore,
    end: Offset,
}

impl Remains {
    /// Opens the current log of `dir`, whatever its witness says.
    ///
    /// # Errors
    /// See [`OpenError`]: when the store beneath does not open.
    pub fn open(dir: &DataDir, options: &LogOptions) -> Result<Remains, OpenError> {
        let store = open::open_store(dir, options)?;
        let end = match store.at_or_before(Offset(u64::MAX)) {
            Ok(Some((first, chunk))) => Header::decode(&chunk)
                .map_or(first, |header| Offset(first.plus(header.count.into()).0.saturating_sub(1))),
            Ok(None) => Offset::BEGINNING,
            // Somewhere there may be records.
            Err(_) => Offset(u64::MAX - 1),
        };
        Ok(Remains { store, end })
    }

    /// The newest record, as far as that can be told.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// The last record up to which `log` is known to be the same; [`Offset::BEGINNING`] for none. What cannot be read counts as
    /// neither; where it lies between the two, what is the same ends before it.
    #[must_use]
    pub fn common_past(&self, log: &Log) -> Offset {
        let (mut same_at, mut end) = (0, self.end.min(log.head().offset).0.saturating_add(1));
        while same_at + 1 < end {
            let middle = same_at + (end - same_at) / 2;
            match self.probe(log, Offset(middle), Offset(end)) {
                Some((at, true)) => same_at = at.0,
                Some((_, false)) | None => end = middle,
            }
        }
        Offset(same_at)
    }

    /// The first readable place from `from` on and before `end`, and whether `log` is the same there.
    fn probe(&self, log: &Log, from: Offset, end: Offset) -> Option<(Offset, bool)> {
        let mut at = from;
        for _ in 0..PROBES_MAX {
            if at >= end {
                return None;
            }
            let here: Option<ChainValue> = chunked::chain_at(&self.store, at).ok();
            let there = log.chain_at(at).ok().flatten();
            if here.is_some() && there.is_some() {
                return Some((at, here == there));
            }
            at = self.next_key(at).ok().flatten().unwrap_or(at.plus(READ_ON_AFTER));
        }
        None
    }

    /// Where the next chunk after `at` begins; none if there is none. A failure behind its key does not matter.
    fn next_key(&self, at: Offset) -> Result<Option<Offset>, StoreError> {
        let mut found = None;
        let looked = self.store.ascend(at.next(), &mut |first, _| {
            found = Some(first);
            ControlFlow::Break(())
        });
        if found.is_none() {
            looked?;
        }
        Ok(found)
    }

    /// Shows the records after `after` that can be read, in order. Returns what could not be, the first of each stretch: at
    /// most [`UNREADABLE_LISTED_MAX`] of them, and how many there are.
    pub fn scan(&self, after: Offset, visit: &mut Visit<'_>) -> (Vec<ReadError>, u64) {
        let mut errors = Vec::new();
        let mut count = 0;
        let mut from = after.next();
        let mut jump = READ_ON_AFTER;
        while from <= self.end {
            let mut at = Offset::BEGINNING;
            let scanned = scan_store(&self.store, from, self.end, &mut |envelope| {
                at = envelope.offset;
                visit(envelope.as_record())
            });
            let Err(error) = scanned else { return (errors, count) };
            count += 1;
            if errors.len() < UNREADABLE_LISTED_MAX {
                errors.push(error);
            }
            let from_here = from.max(at.next());
            from = match self.next_key(from_here) {
                Ok(None) => return (errors, count),
                Ok(Some(first)) => first,
                Err(_) => {
                    jump = jump.saturating_mul(2);
                    from_here.plus(jump)
                }
            };
        }
        (errors, count)
    }
}
