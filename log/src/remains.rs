//! What is left of a log that may be damaged or have lost its tail, read as far as it can be.

use std::ops::ControlFlow;

use crate::chunk::Header;
use crate::data_dir::DataDir;
use crate::engine::chunked::{self, ChunkStore, scan_store};
use crate::engine::sled::SledStore;
use crate::open::{self, LogOptions, OpenError};
use crate::{ChainValue, Log, Offset, ReadError, Visit};

/// Where not even a place in the store can be found, reading goes on this far behind, then twice as far, and so on.
const READ_ON_AFTER: u64 = 64;

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
            Ok(Some((first, chunk))) => {
                Header::decode(&chunk).map_or(first, |header| Offset(first.0 + u64::from(header.count) - 1))
            }
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

    /// The last record up to which `log` is the same; [`Offset::BEGINNING`] for none. A place that cannot be read counts as
    /// another log's.
    #[must_use]
    pub fn common_past(&self, log: &Log) -> Offset {
        let same = |offset: Offset| {
            let here: Option<ChainValue> = chunked::chain_at(&self.store, offset).ok();
            here.is_some() && here == log.chain_at(offset).ok().flatten()
        };
        let (mut same_at, mut other_from) = (0, self.end.min(log.head().offset).0 + 1);
        while same_at + 1 < other_from {
            let middle = same_at + (other_from - same_at) / 2;
            if same(Offset(middle)) { same_at = middle } else { other_from = middle }
        }
        Offset(same_at)
    }

    /// Shows the records after `after` that can be read, in order. Returns what could not be, the first of each stretch.
    pub fn scan(&self, after: Offset, visit: &mut Visit<'_>) -> Vec<ReadError> {
        let mut errors = Vec::new();
        let mut from = after.next();
        let mut jump = READ_ON_AFTER;
        while from <= self.end {
            let mut at = Offset::BEGINNING;
            let scanned = scan_store(&self.store, from, self.end, &mut |envelope| {
                at = envelope.offset;
                visit(envelope.as_record())
            });
            let Err(error) = scanned else { return errors };
            errors.push(error);
            let from_here = from.max(at.next());
            let mut found = None;
            let looked = self.store.ascend(from_here.next(), &mut |first, _| {
                found = Some(first);
                ControlFlow::Break(())
            });
            from = match (looked, found) {
                (Ok(()), None) => return errors,
                (_, Some(first)) => first,
                (Err(_), None) => {
                    jump = jump.saturating_mul(2);
                    from_here.plus(jump)
                }
            };
        }
        errors
    }
}
