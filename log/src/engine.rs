//! What the log asks of the store beneath it.

pub mod chunked;
mod fences;
pub mod memory;
pub mod sled;

use std::ops::ControlFlow;

use crate::{ChainValue, Deletion, Envelope, Head, Offset, Record, Sealed};

/// What a reader does with each record; it stops the scan by breaking.
pub type Visit<'a> = dyn FnMut(Record<'_>) -> ControlFlow<()> + 'a;
/// What a copy does with each record as it is stored; it stops the scan by breaking.
pub type VisitStored<'a> = dyn FnMut(&Envelope<'_>) -> ControlFlow<()> + 'a;

/// A text to be erased, and the deletion that named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// The record whose text goes.
    pub offset: Offset,
    /// The deletion's record, kept in the tombstone.
    pub deletion: Deletion,
}

/// A store of sealed records. One thread appends and erases; any number read.
///
/// `Ok` from a writing call means: a power cut cannot take it back. After an error of a writing call nothing may be
/// written through this engine again: what reached the disk is unknown until the next open.
pub trait Engine: Send + Sync + 'static {
    /// The newest durable record.
    fn head(&self) -> Head;

    /// Appends a batch that follows `expected`, atomically and durably.
    ///
    /// # Errors
    /// [`AppendError::HeadMoved`] when somebody else appended; [`AppendError::OutcomeUnknown`] after a failed write or sync.
    fn append(&self, expected: Head, batch: &[Sealed]) -> Result<(), AppendError>;

    /// Shows the records `from..=to` to `visit` in order, each checked against its checksum, none left out. `to` beyond
    /// the head means the head.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] at the first record that is missing or not what was written; those before it were shown.
    fn scan(&self, from: Offset, to: Offset, visit: &mut Visit<'_>) -> Result<(), ReadError> {
        self.scan_stored(from, to, &mut |envelope| visit(envelope.as_record()))
    }

    /// [`Engine::scan`] with what a copy of the log needs: salts, and what is left of erased texts.
    ///
    /// # Errors
    /// As for [`Engine::scan`].
    fn scan_stored(&self, from: Offset, to: Offset, visit: &mut VisitStored<'_>) -> Result<(), ReadError>;

    /// The chain's value after the record at `offset`, recomputed from the nearest stored one; none beyond the head.
    ///
    /// # Errors
    /// As for [`Engine::scan`].
    fn chain_at(&self, offset: Offset) -> Result<Option<ChainValue>, ReadError>;

    /// Replaces texts by their commitments, durably. Naming a record twice, or one without text, changes nothing.
    ///
    /// # Errors
    /// As for [`Engine::append`]; [`AppendError::Damaged`] when a record to be rewritten cannot be read.
    fn erase(&self, erasures: &[Erasure]) -> Result<(), AppendError>;

    /// The newest deletion record such that it and all before it are fully carried out by [`Engine::erase`].
    fn erased_through(&self) -> Offset;

    /// Remembers durably how far erasure came.
    ///
    /// # Errors
    /// As for [`Engine::append`].
    fn set_erased_through(&self, deletion: Offset) -> Result<(), AppendError>;

    /// How often the store was synced since it was opened: a figure for operators, 0 where nothing is synced.
    fn syncs(&self) -> u64 {
        0
    }
}

/// A writing call did not end well.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody else appended: decide again on top of the new head.
    #[error("the head has moved to {}", .0.offset)]
    HeadMoved(Head),
    /// A part of a record is longer than [`crate::codec::PART_BYTES_MAX`]. Nothing was written.
    #[error("a part of the record for offset {offset} has {bytes} bytes, more than a record may have")]
    TooLarge {
        /// The place it would have got.
        offset: Offset,
        /// The part's length.
        bytes: usize,
    },
    /// The write or its sync failed. What reached the disk is unknown; the process must end and start again.
    #[error("a write to the log failed and its outcome is unknown: {0}")]
    OutcomeUnknown(String),
    /// A record that should be rewritten is damaged.
    #[error(transparent)]
    Damaged(#[from] ReadError),
}

/// A read could not give what was written.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReadError {
    /// A record is missing or is not what was written.
    #[error("the log is damaged at offset {offset} in {place}: {what}")]
    Damaged {
        /// The first offset that cannot be trusted.
        offset: Offset,
        /// The file or store it lies in.
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// The store failed to read at all.
    #[error("the log cannot be read: {0}")]
    Storage(String),
}
