//! A reader's place in the history, and how it moves: apart from any transport.
//!
//! A cursor is live (at the head), near (what it lacks is in the ring) or behind (it must read the log). When it is far
//! behind and its client takes all it gets, threads read ahead for it, each a block of the log; a client that is slow
//! loses that at once, so that many slow ones cost no more than a chunk each.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use scrollback_log::Offset;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::cut::{Cut, Taken};
use super::ring::RingRead;
use super::selection::Selection;
use super::{Position, StreamError, Streams, read_log};

/// How far behind a reader must be for the log to be read ahead for it.
const READ_AHEAD_RECORDS_MIN: u64 = 4_096;
/// How many blocks are read at the same time, ahead of the one being sent.
const READ_AHEAD_BLOCKS: usize = 4;
/// How many records a block has: some chunks, so that starting to read it costs little.
const BLOCK_RECORDS: u64 = 512;
/// No event has fewer bytes in any form, so a chunk cannot have more events than this allows.
const EVENT_BYTES_MIN: usize = 64;

/// What a cursor found.
#[derive(Debug)]
pub enum Next {
    /// It stands at the head.
    Live,
    /// It has moved, and this is what the reader gets of what it has moved over.
    Moved(Taken),
}

/// A reader's place.
pub struct Cursor {
    at: Position,
    /// What the client can resume from: where the stream began, or the newest frame sent.
    known: Offset,
    ahead: Option<Box<ReadAhead>>,
    slow: bool,
}

struct ReadAhead {
    /// What is left of the block being sent.
    chunks: VecDeque<Taken>,
    /// The blocks being read, in order.
    blocks: VecDeque<JoinHandle<Result<VecDeque<Taken>, StreamError>>>,
    /// Where the next block begins, and where the last one ends.
    next: Offset,
    to: Offset,
    cut: Cut,
    selection: Arc<Selection>,
    /// The newest deletion before anything was read.
    redacted_at: Offset,
    _permit: OwnedSemaphorePermit,
}

impl Cursor {
    /// A cursor that goes on after `at`.
    #[must_use]
    pub fn new(at: Position) -> Cursor {
        Cursor { at, known: at.offset, ahead: None, slow: false }
    }

    /// Where it stands: all up to here was sent or is nothing that the reader gets.
    #[must_use]
    pub fn at(&self) -> Position {
        self.at
    }

    /// How many records lie between what the client can resume from and where the cursor stands.
    #[must_use]
    pub fn passed_over(&self) -> u64 {
        self.at.offset.0 - self.known.0
    }

    /// The client was told where the cursor stands.
    pub fn told(&mut self) {
        self.known = self.at.offset;
    }

    /// The client does not take what it gets: nothing is read ahead for it any more.
    pub fn slow(&mut self) {
        self.ahead = None;
        self.slow = true;
    }

    /// Moves towards `head`, which must be a published head, by a chunk of what the selection wants.
    ///
    /// # Errors
    /// When the log cannot be read. The cursor has not moved then.
    pub async fn next(
        &mut self,
        streams: &Arc<Streams>,
        head: Offset,
        cut: Cut,
        selection: &Arc<Selection>,
    ) -> Result<Next, StreamError> {
        if self.at.offset >= head {
            self.ahead = None;
            return Ok(Next::Live);
        }
        let taken = match self.read_ahead(streams, cut, selection).await {
            Some(taken) => taken,
            None => self.read(streams, head, cut, selection).await?,
        };
        self.at = taken.through;
        self.known = taken.newest.unwrap_or(self.known);
        Ok(Next::Moved(taken))
    }

    async fn read_ahead(
        &mut self,
        streams: &Arc<Streams>,
        cut: Cut,
        selection: &Arc<Selection>,
    ) -> Option<Taken> {
        let ahead = self.ahead.as_mut()?;
        // What was read for other rights, before a deletion, or for more events than are wanted now, is read again.
        let fits = ahead.selection.number() == selection.number()
            && ahead.redacted_at == streams.ring.redacted_at()
            && allows_ahead(cut);
        // Damage is met again by who reads up to it.
        let taken = if fits { ahead.take(streams).await.unwrap_or_default() } else { None };
        if taken.is_none() {
            self.ahead = None;
        }
        taken
    }

    async fn read(
        &mut self,
        streams: &Arc<Streams>,
        head: Offset,
        cut: Cut,
        selection: &Arc<Selection>,
    ) -> Result<Taken, StreamError> {
        let after = self.at.offset;
        if let RingRead::Taken(taken) = streams.ring.read(after, head, cut, selection) {
            return Ok(taken);
        }
        if !self.slow && allows_ahead(cut) && head.0 - after.0 >= READ_AHEAD_RECORDS_MIN {
            self.ahead = streams.read_ahead(after, head, cut, selection).map(Box::new);
            if let Some(taken) = self.read_ahead(streams, cut, selection).await {
                return Ok(taken);
            }
        }
        let selection = Arc::clone(selection);
        let read = move |streams: &Streams| {
            let mut taken = None;
            let mut keep = |first| {
                taken = Some(first);
                ControlFlow::Break(())
            };
            let known = streams.known();
            let read = read_log::chunks(&streams.log, &known, (after, head), cut, &selection, &mut keep);
            // What lies before damage is taken first. The log shows all up to a published head or says what is damaged.
            taken.map_or_else(|| Err(read.err().unwrap_or(StreamError::Died)), Ok)
        };
        streams.on_log(read).await
    }
}

/// Whether a chunk of this cut is bounded by its bytes alone, so that one can be made before it is known how many events
/// will be wanted.
fn allows_ahead(cut: Cut) -> bool {
    cut.events_max >= cut.bytes_max / EVENT_BYTES_MIN
}

impl ReadAhead {
    /// The next chunk; none behind the last one.
    async fn take(&mut self, streams: &Arc<Streams>) -> Result<Option<Taken>, StreamError> {
        loop {
            while self.blocks.len() < READ_AHEAD_BLOCKS && self.next < self.to {
                let (after, to) = (self.next, self.next.plus(BLOCK_RECORDS).min(self.to));
                self.blocks.push_back(streams.read_block(after, to, self.cut, &self.selection));
                self.next = to;
            }
            if let Some(taken) = self.chunks.pop_front() {
                return Ok(Some(taken));
            }
            let Some(block) = self.blocks.pop_front() else { return Ok(None) };
            self.chunks = block.await.unwrap_or(Err(StreamError::Died))?;
        }
    }
}

impl Streams {
    /// Lets threads read what lies between `after` and `head`; none if enough readers have that already.
    fn read_ahead(
        self: &Arc<Self>,
        after: Offset,
        head: Offset,
        cut: Cut,
        selection: &Arc<Selection>,
    ) -> Option<ReadAhead> {
        let permit = Arc::clone(&self.read_aheads).try_acquire_owned().ok()?;
        let (chunks, blocks) = (VecDeque::new(), VecDeque::new());
        let selection = Arc::clone(selection);
        let redacted_at = self.ring.redacted_at();
        Some(ReadAhead {
            chunks,
            blocks,
            next: after,
            to: head,
            cut,
            selection,
            redacted_at,
            _permit: permit,
        })
    }

    /// Reads all of a block on a thread that may wait.
    fn read_block(
        self: &Arc<Self>,
        after: Offset,
        to: Offset,
        cut: Cut,
        selection: &Arc<Selection>,
    ) -> JoinHandle<Result<VecDeque<Taken>, StreamError>> {
        let (streams, selection) = (Arc::clone(self), Arc::clone(selection));
        tokio::task::spawn_blocking(move || {
            let known = streams.known();
            let mut chunks = VecDeque::new();
            let mut keep = |taken| {
                chunks.push_back(taken);
                ControlFlow::Continue(())
            };
            read_log::chunks(&streams.log, &known, (after, to), cut, &selection, &mut keep)?;
            Ok(chunks)
        })
    }

    /// Reads the log on a thread that may block, as one of a bounded number.
    pub(super) async fn on_log<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Streams) -> Result<T, StreamError> + Send + 'static,
    ) -> Result<T, StreamError> {
        let permit = Arc::clone(&self.log_readers).acquire_owned().await.map_err(|_| StreamError::Died)?;
        let streams = Arc::clone(self);
        let outcome = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read(&streams)
        });
        outcome.await.unwrap_or(Err(StreamError::Died))
    }
}
