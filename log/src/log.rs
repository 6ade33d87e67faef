//! The log: one appender, any number of readers, and the published head between them.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use roaring::RoaringTreemap;
use tokio::sync::watch;

use crate::chain::{self, Link};
use crate::mask::ScanEpoch;
use crate::witness::Witness;
use crate::{
    AppendError, ChainValue, Deletion, Engine, Head, Masks, NewRecord, Offset, ReadError, Record, Sealed,
    Tag, Text, Timestamp, Visit, VisitStored,
};

/// How many texts one step of the eraser rewrites at most, so that waiting commands are not held up.
pub const ERASE_STEP_TEXTS_MAX: usize = 512;

/// The readers' side of the log. Shared by everything that reads.
pub struct Log {
    engine: Arc<dyn Engine>,
    head: watch::Sender<Head>,
    masks: RwLock<Masks>,
    /// Mirrors "there are masks", so that a scan of a log without any takes no lock per record.
    masked: AtomicBool,
    epoch: RwLock<Arc<ScanEpoch>>,
    /// Where the first read failed, and how many have.
    first_damage: OnceLock<Offset>,
    damaged_reads: AtomicU64,
}

/// What readers of any sort have found since the log was opened: requests, streams, the scrub, folds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// How many reads failed.
    pub reads: u64,
    /// Where the first of them did; none if all were good.
    pub first: Option<Offset>,
}

/// The writing side of the log: exists once, so there is one writer.
pub struct Appender {
    log: Arc<Log>,
    witness: Option<Witness>,
}

impl Log {
    /// A log on an opened engine. Whoever opens the engine has checked it against its witness; `witness` goes on
    /// being written. The published head is the engine's.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, witness: Option<Witness>) -> (Arc<Log>, Appender) {
        let log = Arc::new(Log {
            head: watch::Sender::new(engine.head()),
            engine,
            masks: RwLock::default(),
            masked: AtomicBool::new(false),
            epoch: RwLock::default(),
            first_damage: OnceLock::new(),
            damaged_reads: AtomicU64::new(0),
        });
        (Arc::clone(&log), Appender { log, witness })
    }

    /// The published head: the newest record that readers may see.
    #[must_use]
    pub fn head(&self) -> Head {
        *self.head.borrow()
    }

    /// Tells of every new head. A reader that subscribes before it looks cannot miss one.
    #[must_use]
    pub fn watch_head(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// Shows the records `from..=to` in order to `visit`, masked texts as gone. Nothing beyond the published head is
    /// shown.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] at the first record that is missing or not what was written; those before it were shown.
    pub fn scan(&self, from: Offset, to: Offset, visit: &mut Visit<'_>) -> Result<(), ReadError> {
        let to = to.min(self.head().offset);
        if from > to {
            return Ok(());
        }
        // Held until the last record was shown: the masks of what is erased meanwhile stay as long.
        let _epoch = Arc::clone(&self.epoch.read().unwrap_or_else(PoisonError::into_inner));
        let scanned = self.engine.scan(from, to, &mut |mut record: Record<'_>| {
            if matches!(record.text, Text::Present(_))
                && let Some(deletion) = self.mask_of(record.offset)
            {
                record.text = Text::Gone(deletion);
            }
            visit(record)
        });
        scanned.inspect_err(|error| self.note_damage(error, from))
    }

    fn note_damage(&self, error: &ReadError, from: Offset) {
        let offset = if let ReadError::Damaged { offset, .. } = error { *offset } else { from };
        self.first_damage.get_or_init(|| offset);
        self.damaged_reads.fetch_add(1, Ordering::Relaxed);
    }

    /// What readers have found since the log was opened. It does not go away by itself: damage is looked at by a person,
    /// and a later good read of other records says nothing of it.
    #[must_use]
    pub fn damage(&self) -> Damage {
        Damage { reads: self.damaged_reads.load(Ordering::Relaxed), first: self.first_damage.get().copied() }
    }

    /// How often the store was synced since the log was opened, erasures included.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.engine.syncs()
    }

    /// Shows the records `from..=to` in order to `visit`, as they would be stored once every published deletion was carried
    /// out: for a copy of the log.
    ///
    /// # Errors
    /// As for [`Log::scan`].
    pub(crate) fn scan_stored(
        &self,
        from: Offset,
        to: Offset,
        visit: &mut VisitStored<'_>,
    ) -> Result<(), ReadError> {
        let to = to.min(self.head().offset);
        if from > to {
            return Ok(());
        }
        let _epoch = Arc::clone(&self.epoch.read().unwrap_or_else(PoisonError::into_inner));
        self.engine.scan_stored(from, to, &mut |envelope| {
            // A deletion that is not published yet is none to the copy, which may end before it.
            let deletion = self.mask_of(envelope.offset).filter(|by| by.offset <= self.head().offset);
            visit(&deletion.map_or(*envelope, |deletion| envelope.erased_by(deletion)))
        })
    }

    /// Shows the record at `offset` to `visit` and returns what that gives; none if there is no such record.
    ///
    /// # Errors
    /// As for [`Log::scan`].
    pub fn read<T>(
        &self,
        offset: Offset,
        visit: impl FnOnce(Record<'_>) -> T,
    ) -> Result<Option<T>, ReadError> {
        let mut visit = Some(visit);
        let mut answer = None;
        if offset == Offset::BEGINNING {
            return Ok(None);
        }
        self.scan(offset, offset, &mut |record| {
            answer = visit.take().map(|visit| visit(record));
            ControlFlow::Break(())
        })?;
        Ok(answer)
    }

    /// The chain's tag at `offset`, none beyond the head.
    ///
    /// # Errors
    /// As for [`Log::scan`].
    pub fn tag_at(&self, offset: Offset) -> Result<Option<Tag>, ReadError> {
        if offset == Offset::BEGINNING {
            return Ok(Some(ChainValue::BEGINNING.tag()));
        }
        self.read(offset, |record| record.tag)
    }

    /// The chain's value after the record at `offset`, none beyond the head.
    ///
    /// # Errors
    /// As for [`Log::scan`].
    pub fn chain_at(&self, offset: Offset) -> Result<Option<ChainValue>, ReadError> {
        if offset > self.head().offset {
            return Ok(None);
        }
        self.engine.chain_at(offset).inspect_err(|error| self.note_damage(error, offset))
    }

    /// The deletion that masks the text at `offset`, if one does. What is encoded elsewhere from an earlier read must
    /// be checked here before it is shown.
    #[must_use]
    pub fn mask_of(&self, offset: Offset) -> Option<Deletion> {
        if !self.masked.load(Ordering::Acquire) {
            return None;
        }
        self.masks.read().unwrap_or_else(PoisonError::into_inner).get(offset)
    }

    /// Masks `targets` for every reader from now on and queues them for erasure. Called for a durable deletion before
    /// its head is published, and at start for the deletions after [`Log::erased_through`].
    pub fn mask(&self, deletion: Deletion, targets: RoaringTreemap) {
        self.masks.write().unwrap_or_else(PoisonError::into_inner).add(deletion, targets);
        self.masked.store(true, Ordering::Release);
    }

    /// Reads the masks: what waits to be erased, for checkpoints and figures.
    pub fn with_masks<T>(&self, look: impl FnOnce(&Masks) -> T) -> T {
        look(&self.masks.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The newest deletion such that it and all before it are fully erased on disk.
    #[must_use]
    pub fn erased_through(&self) -> Offset {
        self.engine.erased_through()
    }
}

impl Appender {
    /// The log that this appends to.
    #[must_use]
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The newest durable record, published or not.
    #[must_use]
    pub fn head(&self) -> Head {
        self.log.engine.head()
    }

    /// Seals `records` with the next offsets and `time`, and appends them durably. They are not published yet.
    ///
    /// # Errors
    /// As for [`Engine::append`].
    pub fn append(&mut self, time: Timestamp, records: Vec<NewRecord>) -> Result<Vec<Sealed>, AppendError> {
        self.append_after(self.head(), time, records)
    }

    /// [`Appender::append`] of records that were decided on top of `expected`.
    ///
    /// # Errors
    /// As for [`Engine::append`]; [`AppendError::HeadMoved`] when `expected` is not the head any more.
    pub fn append_after(
        &mut self,
        expected: Head,
        time: Timestamp,
        records: Vec<NewRecord>,
    ) -> Result<Vec<Sealed>, AppendError> {
        let sealed = seal(expected, time, records);
        self.log.engine.append(expected, &sealed)?;
        if let Some(witness) = &mut self.witness {
            witness
                .record(self.log.engine.head())
                .map_err(|error| AppendError::OutcomeUnknown(error.to_string()))?;
        }
        Ok(sealed)
    }

    /// Publishes the durable head: from now on readers see it.
    pub fn publish(&self) {
        self.log.head.send_replace(self.head());
    }

    /// Erases up to [`ERASE_STEP_TEXTS_MAX`] masked texts on disk, oldest deletions first. Returns whether more is left
    /// to do.
    ///
    /// # Errors
    /// As for [`Engine::erase`].
    pub fn erase_step(&mut self) -> Result<bool, AppendError> {
        let log = &self.log;
        let next = log.with_masks(|masks| masks.next_erasures(ERASE_STEP_TEXTS_MAX));
        if !next.is_empty() {
            log.engine.erase(&next)?;
            let ended = {
                let mut epoch = log.epoch.write().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *epoch)
            };
            let done = log.masks.write().unwrap_or_else(PoisonError::into_inner).erased(&next, &ended);
            if let Some(deletion) = done {
                log.engine.set_erased_through(deletion)?;
            }
        }
        if let Some(witness) = &mut self.witness {
            witness.sync_if_due().map_err(|error| AppendError::OutcomeUnknown(error.to_string()))?;
        }
        let mut masks = log.masks.write().unwrap_or_else(PoisonError::into_inner);
        masks.drop_retired();
        if masks.is_empty() {
            log.masked.store(false, Ordering::Release);
        }
        Ok(masks.texts_waiting() > 0)
    }

    /// Shows what is durable and not yet published.
    ///
    /// # Errors
    /// As for [`Engine::scan`].
    pub(crate) fn scan_unpublished(&self, visit: &mut Visit<'_>) -> Result<(), ReadError> {
        self.log.engine.scan(self.log.head().offset.next(), self.head().offset, visit)
    }

    /// Makes the witness durable now, for a clean stop.
    ///
    /// # Errors
    /// When the witness cannot be written.
    pub fn sync_witness(&mut self) -> Result<(), AppendError> {
        let Some(witness) = &mut self.witness else { return Ok(()) };
        witness.sync().map_err(|error| AppendError::OutcomeUnknown(error.to_string()))
    }
}

/// Gives `records` their places after `head`.
fn seal(head: Head, time: Timestamp, records: Vec<NewRecord>) -> Vec<Sealed> {
    let mut previous = head.chain;
    let mut offset = head.offset;
    records
        .into_iter()
        .map(|record| {
            offset = offset.next();
            let salt = if record.text.is_some() { rand::random() } else { [0; 16] };
            let commitment = record.text.as_ref().map(|text| chain::commitment(&salt, text));
            let link = Link { kind: record.kind, schema: record.schema, offset, time, kept: &record.kept };
            previous = chain::chain(&previous, link, commitment.as_ref());
            Sealed { offset, time, record, salt, chain: previous }
        })
        .collect()
}
