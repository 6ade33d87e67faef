//! The engine over chunks: what every store that keeps keyed values can carry.
//!
//! A chunk's key is its first record's offset, so the chunks in key order are the log. An append adds chunks and never
//! touches an old one; an erasure rewrites the chunks it concerns, with the same records, number and chain.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering as MemoryOrdering};
use std::sync::{PoisonError, RwLock};

use crate::chain;
use crate::chunk::{self, ChunkError, ChunkOptions, Header, Packer};
use crate::codec::PART_BYTES_MAX;
use crate::engine::VisitStored;
use crate::envelope::{Envelope, StoredText};
use crate::{AppendError, ChainValue, Engine, Erasure, Head, Offset, ReadError, Sealed};

/// The mark that says which format a log has.
pub(crate) const FORMAT_MARK: &str = "format";
/// The mark that says how far erasure came.
pub(crate) const ERASED_MARK: &str = "erased_through";
/// The format this program writes.
pub(crate) const FORMAT: u64 = 1;

/// A durable map from a first offset to a chunk's bytes, beside a few named numbers.
///
/// One thread writes; any number read, also while it writes. A reader may see what is written but not yet durable.
pub trait ChunkStore: Send + Sync + 'static {
    /// Sets the chunks, all or none, and makes them durable.
    ///
    /// # Errors
    /// [`StoreError`]; what was written is unknown then, and nothing may be written again.
    fn put(&self, chunks: &[(Offset, Vec<u8>)]) -> Result<(), StoreError>;

    /// The greatest key that is at most `offset`, and its chunk.
    ///
    /// # Errors
    /// [`StoreError`].
    fn at_or_before(&self, offset: Offset) -> Result<Option<(Offset, Vec<u8>)>, StoreError>;

    /// Shows the chunks from the key `from` on, ascending, until `visit` breaks.
    ///
    /// # Errors
    /// [`StoreError`]; the chunks before were shown.
    fn ascend(
        &self,
        from: Offset,
        visit: &mut dyn FnMut(Offset, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// The number that was set for `name`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn mark(&self, name: &str) -> Result<Option<u64>, StoreError>;

    /// Sets the number for `name`, durably.
    ///
    /// # Errors
    /// As for [`ChunkStore::put`].
    fn set_mark(&self, name: &str, value: u64) -> Result<(), StoreError>;

    /// How the store is named in a message.
    fn place(&self) -> String;

    /// How often the store was synced since it was opened.
    fn syncs(&self) -> u64 {
        0
    }
}

/// A store did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// What is stored is not what was written.
    #[error("{0}")]
    Damaged(String),
    /// The operating system refused.
    #[error("{0}")]
    Io(String),
}

/// A chunk store cannot be opened as a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkedError {
    /// It was written by a newer program.
    #[error(
        "{place} has format {found}, newer than this program's {FORMAT}; use the program that wrote it, or a newer one"
    )]
    NewerFormat {
        /// The store.
        place: String,
        /// Its format.
        found: u64,
    },
    /// It was written by an older program.
    #[error(
        "{place} has format {found}, older than this program's {FORMAT}; `scrollback replay --migrate` brings it up to it"
    )]
    OlderFormat {
        /// The store.
        place: String,
        /// Its format.
        found: u64,
    },
    /// It has no format mark: it was never a log, or has lost what it held.
    #[error("{place} says nothing of its format: it is not a log, or has lost all it held")]
    NoFormat {
        /// The store.
        place: String,
    },
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It cannot be written.
    #[error("{0}")]
    Write(StoreError),
}

/// An engine on a chunk store.
pub struct ChunkedEngine<S> {
    store: S,
    options: ChunkOptions,
    head: RwLock<Head>,
    erased_through: RwLock<Offset>,
    failed: AtomicBool,
}

impl<S: ChunkStore> ChunkedEngine<S> {
    /// Opens the log in `store`, and makes an empty store one, with the default packing. The newest chunk is checked.
    ///
    /// # Errors
    /// See [`ChunkedError`].
    pub fn open(store: S) -> Result<ChunkedEngine<S>, ChunkedError> {
        if store.mark(FORMAT_MARK).map_err(|error| unreadable(&store, error))?.is_none() {
            ChunkedEngine::create(store, ChunkOptions::default())
        } else {
            ChunkedEngine::open_existing(store, ChunkOptions::default())
        }
    }

    /// Makes an empty store a log.
    ///
    /// # Errors
    /// See [`ChunkedError`]; [`ChunkedError::NoFormat`] when the store is not empty.
    pub fn create(store: S, options: ChunkOptions) -> Result<ChunkedEngine<S>, ChunkedError> {
        if store.at_or_before(Offset(u64::MAX)).map_err(|error| unreadable(&store, error))?.is_some() {
            return Err(ChunkedError::NoFormat { place: store.place() });
        }
        store.set_mark(FORMAT_MARK, FORMAT).map_err(ChunkedError::Write)?;
        ChunkedEngine::open_existing(store, options)
    }

    /// Opens the log in `store`. The newest chunk is checked.
    ///
    /// # Errors
    /// See [`ChunkedError`].
    pub fn open_existing(store: S, options: ChunkOptions) -> Result<ChunkedEngine<S>, ChunkedError> {
        let mark = |name| store.mark(name).map_err(|error| unreadable(&store, error));
        let found = mark(FORMAT_MARK)?.ok_or_else(|| ChunkedError::NoFormat { place: store.place() })?;
        check_format(&store, found)?;
        let erased_through = RwLock::new(Offset(mark(ERASED_MARK)?.unwrap_or_default()));
        let head = newest(&store)?;
        Ok(ChunkedEngine {
            store,
            options,
            head: RwLock::new(head),
            erased_through,
            failed: AtomicBool::new(false),
        })
    }

    /// The store beneath.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Writes through `write`, and never again after a failure.
    fn write(&self, write: impl FnOnce(&S) -> Result<(), StoreError>) -> Result<(), AppendError> {
        if self.failed.load(MemoryOrdering::SeqCst) {
            return Err(AppendError::OutcomeUnknown("an earlier write failed".into()));
        }
        write(&self.store).map_err(|error| {
            self.failed.store(true, MemoryOrdering::SeqCst);
            AppendError::OutcomeUnknown(error.to_string())
        })
    }

    /// The chunk `bytes` with the texts of `erasures` erased; none if there is nothing to erase.
    fn erased_chunk(
        &self,
        first: Offset,
        bytes: &[u8],
        erasures: &BTreeMap<Offset, Erasure>,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let mut buffer = Vec::new();
        let damaged = |offset, error| damaged(&self.store, offset, error);
        let header = Header::decode(bytes).map_err(|error| damaged(first, error))?;
        let mut records = header.records(first, &mut buffer).map_err(|error| damaged(first, error))?;
        let mut envelopes = Vec::with_capacity(header.count.into());
        let mut changed = false;
        loop {
            let offset = records.next_offset();
            let Some(record) = records.next() else { break };
            let mut envelope = record.map_err(|error| damaged(offset, error))?;
            if let Some(erasure) = erasures.get(&offset)
                && matches!(envelope.text, StoredText::Present { .. })
            {
                envelope = envelope.erased_by(erasure.deletion);
                changed = true;
            }
            envelopes.push(envelope);
        }
        Ok(changed.then(|| chunk::repack(self.options.encoding, &header.chain, envelopes.into_iter())))
    }
}

impl<S: ChunkStore> Engine for ChunkedEngine<S> {
    fn head(&self) -> Head {
        *self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, expected: Head, batch: &[Sealed]) -> Result<(), AppendError> {
        let head = self.head();
        if expected != head {
            return Err(AppendError::HeadMoved(head));
        }
        let Some(last) = batch.last() else { return Ok(()) };
        let mut packer = Packer::new(self.options);
        for sealed in batch {
            let bytes = sealed.record.kept.len().max(sealed.record.text.as_ref().map_or(0, Vec::len));
            if bytes as u64 > PART_BYTES_MAX {
                return Err(AppendError::TooLarge { offset: sealed.offset, bytes });
            }
            packer.push(&Envelope::of(sealed), sealed.chain);
        }
        let chunks = packer.finish();
        self.write(|store| store.put(&chunks))?;
        let head = Head { offset: last.offset, time: last.time, chain: last.chain };
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = head;
        Ok(())
    }

    fn scan_stored(&self, from: Offset, to: Offset, visit: &mut VisitStored<'_>) -> Result<(), ReadError> {
        // Never beyond the head: the store shows what is written before it is durable.
        scan_store(&self.store, from, to.min(self.head().offset), visit)
    }

    fn chain_at(&self, offset: Offset) -> Result<Option<ChainValue>, ReadError> {
        if offset > self.head().offset {
            return Ok(None);
        }
        chain_at(&self.store, offset).map(Some)
    }

    fn erase(&self, erasures: &[Erasure]) -> Result<(), AppendError> {
        let head = self.head().offset;
        let mut wanted = BTreeMap::new();
        for erasure in erasures.iter().filter(|erasure| (Offset::FIRST..=head).contains(&erasure.offset)) {
            // The deletion that came first is the one that the tombstone names.
            wanted.entry(erasure.offset).or_insert(*erasure);
        }
        let mut chunks = Vec::new();
        let mut next = Offset::FIRST;
        while let Some((&offset, _)) = wanted.range(next..).next() {
            let (first, bytes) = chunk_of(&self.store, offset)?;
            let header = Header::decode(&bytes).map_err(|error| damaged(&self.store, first, error))?;
            next = first.plus(header.count.into());
            if next <= offset {
                return Err(missing(&self.store, next).into());
            }
            if let Some(chunk) = self.erased_chunk(first, &bytes, &wanted)? {
                chunks.push((first, chunk));
            }
        }
        if chunks.is_empty() { Ok(()) } else { self.write(|store| store.put(&chunks)) }
    }

    fn erased_through(&self) -> Offset {
        *self.erased_through.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_erased_through(&self, deletion: Offset) -> Result<(), AppendError> {
        self.write(|store| store.set_mark(ERASED_MARK, deletion.0))?;
        *self.erased_through.write().unwrap_or_else(PoisonError::into_inner) = deletion;
        Ok(())
    }

    fn syncs(&self) -> u64 {
        self.store.syncs()
    }
}

/// Refuses a format that is not the one this program writes.
pub(crate) fn check_format<S: ChunkStore + ?Sized>(store: &S, found: u64) -> Result<(), ChunkedError> {
    match found.cmp(&FORMAT) {
        Ordering::Equal => Ok(()),
        Ordering::Less => Err(ChunkedError::OlderFormat { place: store.place(), found }),
        Ordering::Greater => Err(ChunkedError::NewerFormat { place: store.place(), found }),
    }
}

/// Shows the stored records `from..=to`, in order, each checked, none left out.
pub(crate) fn scan_store<S: ChunkStore + ?Sized>(
    store: &S,
    from: Offset,
    to: Offset,
    visit: &mut VisitStored<'_>,
) -> Result<(), ReadError> {
    let from = from.max(Offset::FIRST);
    if from > to {
        return Ok(());
    }
    let (first, bytes) = chunk_of(store, from)?;
    let mut pass = Pass { store, from, to, expected: first, buffer: Vec::new(), visit };
    if pass.chunk(first, &bytes)?.is_break() {
        return Ok(());
    }
    let mut outcome = Ok(ControlFlow::Continue(()));
    store
        .ascend(pass.expected, &mut |first, bytes| {
            outcome = pass.chunk(first, bytes);
            if let Ok(ControlFlow::Continue(())) = outcome {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })
        .map_err(|error| unreadable_at(store, pass.expected.max(from), error))?;
    match outcome? {
        ControlFlow::Break(()) => Ok(()),
        ControlFlow::Continue(()) => Err(missing(store, pass.expected.max(from))),
    }
}

/// A scan on its way through the chunks.
struct Pass<'a, S: ?Sized> {
    store: &'a S,
    from: Offset,
    to: Offset,
    /// The key that the next chunk must have.
    expected: Offset,
    /// Where chunks are unpacked, one after the other.
    buffer: Vec<u8>,
    visit: &'a mut VisitStored<'a>,
}

impl<S: ChunkStore + ?Sized> Pass<'_, S> {
    /// Shows the wanted records of a chunk; breaks after the last one.
    fn chunk(&mut self, first: Offset, bytes: &[u8]) -> Result<ControlFlow<()>, ReadError> {
        if first != self.expected {
            return Err(missing(self.store, self.expected.max(self.from)));
        }
        let damaged = |offset, error| damaged(self.store, offset, error);
        let header = Header::decode(bytes).map_err(|error| damaged(first, error))?;
        let mut records = header.records(first, &mut self.buffer).map_err(|error| damaged(first, error))?;
        self.expected = first.plus(header.count.into());
        let skipped = records.skip_to(self.from);
        skipped.map_err(|error| damaged(records.next_offset(), error))?;
        loop {
            let offset = records.next_offset();
            let Some(record) = records.next() else { return Ok(ControlFlow::Continue(())) };
            let envelope = record.map_err(|error| damaged(offset, error))?;
            if (self.visit)(&envelope).is_break() || envelope.offset >= self.to {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
}

/// The chain's value after the record at `offset`, which the store must hold. It is recomputed from the value before
/// the chunk, and every record on the way must agree with it.
pub(crate) fn chain_at<S: ChunkStore + ?Sized>(store: &S, offset: Offset) -> Result<ChainValue, ReadError> {
    if offset == Offset::BEGINNING {
        return Ok(ChainValue::BEGINNING);
    }
    let (first, bytes) = chunk_of(store, offset)?;
    let previous = chain_before(store, first)?;
    let header = Header::decode(&bytes).map_err(|error| damaged(store, first, error))?;
    let mut buffer = Vec::new();
    let mut records = header.records(first, &mut buffer).map_err(|error| damaged(store, first, error))?;
    let mut chain = previous;
    loop {
        let at = records.next_offset();
        let Some(record) = records.next() else { return Err(missing(store, at)) };
        let envelope = record.map_err(|error| damaged(store, at, error))?;
        chain = chain::chain(&chain, envelope.link(), envelope.commitment().as_ref());
        if chain.tag() != envelope.tag {
            return Err(broken_chain(store, at));
        }
        let last = at.next() == first.plus(header.count.into());
        if last && chain != header.chain {
            return Err(broken_chain(store, at));
        }
        if at == offset {
            return Ok(chain);
        }
    }
}

/// The chain's value before the chunk that begins at `first`.
fn chain_before<S: ChunkStore + ?Sized>(store: &S, first: Offset) -> Result<ChainValue, ReadError> {
    if first <= Offset::FIRST {
        return Ok(ChainValue::BEGINNING);
    }
    let before = Offset(first.0 - 1);
    let (key, bytes) = chunk_of(store, before)?;
    let header = Header::decode(&bytes).map_err(|error| damaged(store, key, error))?;
    let next = key.plus(header.count.into());
    if next == first { Ok(header.chain) } else { Err(missing(store, next.min(before))) }
}

/// The newest record in `store`.
pub(crate) fn newest<S: ChunkStore + ?Sized>(store: &S) -> Result<Head, ReadError> {
    let newest = store.at_or_before(Offset(u64::MAX)).map_err(|error| unreadable(store, error))?;
    let Some((first, bytes)) = newest else { return Ok(Head::default()) };
    let header = Header::decode(&bytes).map_err(|error| damaged(store, first, error))?;
    let mut buffer = Vec::new();
    let mut records = header.records(first, &mut buffer).map_err(|error| damaged(store, first, error))?;
    let mut head = Head { offset: first, ..Head::default() };
    loop {
        let at = records.next_offset();
        let Some(record) = records.next() else { break };
        let envelope = record.map_err(|error| damaged(store, at, error))?;
        head = Head { offset: at, time: envelope.time, chain: header.chain };
    }
    chain_at(store, head.offset)?;
    Ok(head)
}

fn chunk_of<S: ChunkStore + ?Sized>(store: &S, offset: Offset) -> Result<(Offset, Vec<u8>), ReadError> {
    let found = store.at_or_before(offset).map_err(|error| unreadable_at(store, offset, error))?;
    match found {
        Some((key, bytes)) if key >= Offset::FIRST => Ok((key, bytes)),
        _ => Err(missing(store, offset)),
    }
}

pub(crate) fn damaged<S: ChunkStore + ?Sized>(store: &S, offset: Offset, error: ChunkError) -> ReadError {
    ReadError::Damaged { offset, place: store.place(), what: error.to_string() }
}

fn missing<S: ChunkStore + ?Sized>(store: &S, offset: Offset) -> ReadError {
    ReadError::Damaged { offset, place: store.place(), what: "the record is missing".into() }
}

pub(crate) fn broken_chain<S: ChunkStore + ?Sized>(store: &S, offset: Offset) -> ReadError {
    let what = "the record does not fit the chain of hashes".into();
    ReadError::Damaged { offset, place: store.place(), what }
}

fn unreadable<S: ChunkStore + ?Sized>(store: &S, error: StoreError) -> ReadError {
    unreadable_at(store, Offset::BEGINNING, error)
}

fn unreadable_at<S: ChunkStore + ?Sized>(store: &S, offset: Offset, error: StoreError) -> ReadError {
    match error {
        StoreError::Damaged(what) => ReadError::Damaged { offset, place: store.place(), what },
        StoreError::Io(what) => ReadError::Storage(what),
    }
}
