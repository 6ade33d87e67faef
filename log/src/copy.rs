//! Writing a log anew from records that are read elsewhere: what a compaction, a restore and a migration share.

use crate::chain;
use crate::chunk::{ChunkOptions, Packer};
use crate::engine::chunked::{ChunkStore, ERASED_MARK, FORMAT, FORMAT_MARK, StoreError};
use crate::envelope::Envelope;
use crate::{Head, Offset};

/// The copy is made durable each time this many bytes of chunks are ready.
const COMMIT_BYTES: usize = 4 << 20;

/// A log on its way into an empty store.
pub(crate) struct Copy<'a, T> {
    target: &'a T,
    packer: Packer,
    head: Head,
}

/// A record was not taken.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// It does not fit the chain of those before it.
    Misfit(Offset),
    /// The store did not take it.
    Write(StoreError),
}

impl<'a, T: ChunkStore> Copy<'a, T> {
    pub(crate) fn new(target: &'a T, options: ChunkOptions) -> Copy<'a, T> {
        Copy { target, packer: Packer::new(options), head: Head::default() }
    }

    /// Adds the next record. Returns whether what came so far has just been made durable.
    pub(crate) fn push(&mut self, envelope: &Envelope<'_>) -> Result<bool, CopyError> {
        let follows = envelope.offset == self.head.offset.next()
            && (envelope.time >= self.head.time || self.head.offset == Offset::BEGINNING);
        let chain = chain::chain(&self.head.chain, envelope.link(), envelope.commitment().as_ref());
        if !follows || chain.tag() != envelope.tag {
            return Err(CopyError::Misfit(envelope.offset));
        }
        self.head = Head { offset: envelope.offset, time: envelope.time, chain };
        self.packer.push(envelope, chain);
        if self.packer.closed_bytes() < COMMIT_BYTES {
            return Ok(false);
        }
        self.target.put(&self.packer.take_closed()).map_err(CopyError::Write)?;
        Ok(true)
    }

    /// Completes the copy. The format mark, which makes it a log, comes last.
    pub(crate) fn finish(self, erased_through: Offset) -> Result<Head, StoreError> {
        let Copy { target, packer, head } = self;
        target.put(&packer.finish())?;
        target.set_mark(ERASED_MARK, erased_through.0)?;
        target.set_mark(FORMAT_MARK, FORMAT)?;
        Ok(head)
    }
}
