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

use super::filter::Filter;
use super::ring::{RingRead, Taken};
use super::{Chunk, Position, StreamError, Streams, read_log};

/// How far behind a reader must be for the log to be read ahead for it.
const READ_AHEAD_RECORDS_MIN: u64 = 4_096;
/// How many blocks are read at the same time, ahead of the one being sent.
const READ_AHEAD_BLOCKS: usize = 4;
/// How many records a block has: some chunks, so that starting to read it costs little.
const BLOCK_RECORDS: u64 = 512;

/// What a cursor found.
#[derive(Debug)]
pub enum Next {
    /// It stands at the head.
    Live,
    /// It has moved over these frames; none of them if all were filtered out.
    Frames(Chunk),
}

/// A reader's place.
pub struct Cursor {
    at: Position,
    /// What the client can resume from: where the stream began, or the newest frame sent.
    known: Offset,
    filter: Option<Arc<Filter>>,
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
    filter: Option<Arc<Filter>>,
    _permit: OwnedSemaphorePermit,
}

impl Cursor {
    /// A cursor that goes on after `at`.
    #[must_use]
    pub fn new(at: Position, filter: Option<Filter>) -> Cursor {
        Cursor { at, known: at.offset, filter: filter.map(Arc::new), ahead: None, slow: false }
    }

    /// Where it stands: all up to here was sent or filtered out.
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

    /// Moves towards `head`, which must be a published head.
    ///
    /// # Errors
    /// When the log cannot be read. The cursor has not moved then.
    pub async fn next(&mut self, streams: &Arc<Streams>, head: Offset) -> Result<Next, StreamError> {
        if self.at.offset >= head {
            self.ahead = None;
            return Ok(Next::Live);
        }
        let taken = match self.read_ahead(streams).await? {
            Some(taken) => taken,
            None => self.read(streams, head).await?,
        };
        self.at = taken.through;
        self.known = taken.newest.unwrap_or(self.known);
        Ok(Next::Frames(taken.chunk))
    }

    async fn read_ahead(&mut self, streams: &Arc<Streams>) -> Result<Option<Taken>, StreamError> {
        let Some(ahead) = &mut self.ahead else { return Ok(None) };
        let taken = ahead.take(streams).await?;
        if taken.is_none() {
            self.ahead = None;
        }
        Ok(taken)
    }

    async fn read(&mut self, streams: &Arc<Streams>, head: Offset) -> Result<Taken, StreamError> {
        let (after, bytes_max) = (self.at.offset, streams.limits.write_bytes_max);
        if let RingRead::Frames(taken) = streams.ring.read(after, head, bytes_max, self.filter.as_deref()) {
            return Ok(taken);
        }
        if !self.slow && head.0 - after.0 >= READ_AHEAD_RECORDS_MIN {
            self.ahead = streams.read_ahead(after, head, self.filter.clone()).map(Box::new);
            if let Some(taken) = self.read_ahead(streams).await? {
                return Ok(taken);
            }
        }
        let filter = self.filter.clone();
        let read = move |streams: &Streams| {
            let mut taken = None;
            let origins = streams.origins();
            read_log::chunks(
                &streams.log,
                &origins,
                (after, head),
                bytes_max,
                filter.as_deref(),
                &mut |first| {
                    taken = Some(first);
                    ControlFlow::Break(())
                },
            )?;
            // The log shows all up to a published head or says what is damaged.
            taken.ok_or(StreamError::Died)
        };
        streams.on_log(read).await
    }
}

impl ReadAhead {
    /// The next chunk; none behind the last one.
    async fn take(&mut self, streams: &Arc<Streams>) -> Result<Option<Taken>, StreamError> {
        loop {
            while self.blocks.len() < READ_AHEAD_BLOCKS && self.next < self.to {
                let (after, to) = (self.next, self.next.plus(BLOCK_RECORDS).min(self.to));
                self.blocks.push_back(streams.read_block(after, to, self.filter.clone()));
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
        filter: Option<Arc<Filter>>,
    ) -> Option<ReadAhead> {
        let permit = Arc::clone(&self.read_aheads).try_acquire_owned().ok()?;
        let (chunks, blocks) = (VecDeque::new(), VecDeque::new());
        Some(ReadAhead { chunks, blocks, next: after, to: head, filter, _permit: permit })
    }

    /// Reads all of a block on a thread that may wait.
    fn read_block(
        self: &Arc<Self>,
        after: Offset,
        to: Offset,
        filter: Option<Arc<Filter>>,
    ) -> JoinHandle<Result<VecDeque<Taken>, StreamError>> {
        let streams = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let (bytes_max, origins) = (streams.limits.write_bytes_max, streams.origins());
            let mut chunks = VecDeque::new();
            let mut keep = |taken| {
                chunks.push_back(taken);
                ControlFlow::Continue(())
            };
            read_log::chunks(&streams.log, &origins, (after, to), bytes_max, filter.as_deref(), &mut keep)?;
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
