//! Event streams: what lies between a reader's position and the head, on every transport.
//!
//! A record is encoded once, as a [`frame`] that holds the event's JSON inside its Server-Sent-Events form, and kept in a
//! shared [`ring`] of recent frames. A reader is a [`cursor`], a position, with a [`selection`], what it gets; no queue. It
//! takes frames from the ring when it is near the head and encodes them from the log when it is behind. It waits on one
//! [`pulse`], which carries the head, the heartbeat and whatever ends streams. What becomes of it from its beginning to its
//! end is one state machine, the [`subscription`], that every transport drives: [`sse`], [`poll`] and [`ws`], which alone know
//! how bytes reach a client.
//!
//! Why nothing is missed or doubled: a record is durable, then in the ring, then at or below the published head, in this
//! order; a cursor only ever reads up to a published head and moves by what it read. So there is no moment of joining.

pub(crate) mod arvados;
mod chunk;
mod control;
pub mod cursor;
pub mod cut;
mod ended;
pub mod filter;
pub mod frame;
pub mod http;
mod identity;
mod json;
mod line;
mod look_back;
pub mod outlet;
mod passes;
pub mod poll;
pub mod pulse;
mod read_log;
mod ready;
pub mod resume;
pub mod ring;
pub mod selection;
mod sight;
pub mod sse;
pub mod start;
pub mod subscription;
#[cfg(test)]
pub(crate) mod tests;
pub mod watches;
pub mod ws;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use metrics::Gauge;
use roaring::RoaringTreemap;
use scrollback_log::{Head, Log, Offset, ReadError, Tag};
use scrollback_projections::facts::FactError;
use scrollback_projections::{Origins, Views};
use tokio::sync::{Semaphore, watch};

pub use chunk::Chunk;
pub use control::Bye;
use pulse::{Call, Kept, Signals};
pub use pulse::{Ending, Pulse};

use crate::figures::{Figures, figures};
use crate::settings::StreamLimits;
use filter::Filters;
use passes::Passes;
use ring::Ring;
use selection::{Selection, Selections, What};
use sight::Sight;
use watches::Watches;
use ws::sessions::Sessions;

/// At a stop, streams end one after the other over this long for each of them, so that not all clients come back at once.
const BYE_APART: Duration = Duration::from_micros(500);

/// A place in this log's history: strictly after `offset`, whose chain value has this tag. Shown as a resume token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The last record that lies behind.
    pub offset: Offset,
    /// The tag of the chain's value there.
    pub tag: Tag,
}

impl Position {
    /// Before the first record.
    pub const BEGINNING: Position = Position { offset: Offset::BEGINNING, tag: Tag(0) };
}

impl From<Head> for Position {
    fn from(head: Head) -> Position {
        Position { offset: head.offset, tag: head.chain.tag() }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.offset, self.tag)
    }
}

/// Whoever reads a stream. Asked again and again while the stream is open.
pub trait Reader: Send + Sync + 'static {
    /// Whether the identity that opened the stream is still valid.
    fn is_live(&self) -> bool;

    /// Takes note that the stream is still open. Called at every heartbeat.
    fn touch(&self);

    /// Whose rights it has.
    fn user(&self) -> Offset;
}

/// The log cannot be read as it was written.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// A record is missing or damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record's bytes are not a fact.
    #[error(transparent)]
    Fact(#[from] FactError),
    /// The reading thread ended without an answer.
    #[error("the thread that read the log for a stream has died")]
    Died,
    /// The server stops, so that it is no use to look further for where a stream would have begun.
    #[error("the server stops")]
    Stopping,
}

/// What the streams of a server read from, and what tells them to end.
pub struct Sources {
    /// The log.
    pub log: Arc<Log>,
    /// The recent frames of that log.
    pub ring: Arc<Ring>,
    /// The views of that log: its origins, its index of times, and who may see what.
    pub views: Arc<RwLock<Views>>,
    /// Changes at every revocation, after the revoked [`Reader`] says so.
    pub revocations: watch::Receiver<u64>,
    /// Turns true when the log takes no more writes.
    pub storage_failed: watch::Receiver<bool>,
    /// Turns true when the server is stopping.
    pub shutdown: watch::Receiver<bool>,
}

/// What of the views it takes to encode records.
struct Known {
    origins: Origins,
    private: Arc<RoaringTreemap>,
}

/// An open stream, counted until this is dropped.
struct Counted {
    streams: Arc<Streams>,
    open: &'static Gauge,
}

impl Counted {
    /// One more, of the kind that this figure counts.
    fn new(streams: &Arc<Streams>, open: &'static Gauge) -> Counted {
        streams.open.fetch_add(1, Ordering::Relaxed);
        open.increment(1);
        Counted { streams: Arc::clone(streams), open }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.streams.open.fetch_sub(1, Ordering::Relaxed);
        self.open.decrement(1);
    }
}

/// What all streams of a server share.
pub struct Streams {
    log: Arc<Log>,
    ring: Arc<Ring>,
    views: Arc<RwLock<Views>>,
    pulse: watch::Receiver<Pulse>,
    calls: watch::Receiver<Call>,
    passes: Arc<Passes>,
    limits: StreamLimits,
    selections: Selections,
    sessions: Arc<Sessions>,
    watches: Arc<Watches>,
    looked: arvados::Looked,
    /// Bounds how many readers read the log at once.
    log_readers: Arc<Semaphore>,
    /// Bounds how many readers have the log read ahead for them.
    read_aheads: Arc<Semaphore>,
    /// At a stop, the time within which streams end one after the other.
    bye_within: Duration,
    heartbeat: Chunk,
    open: AtomicUsize,
    figures: &'static Figures,
}

impl Streams {
    /// Starts the task that drives the streams. Must be called inside a tokio runtime; the task ends with the last
    /// handle. At a stop the streams end within half of `drain_timeout`.
    #[must_use]
    pub fn start(sources: Sources, limits: StreamLimits, drain_timeout: Duration) -> Arc<Streams> {
        let passes = Arc::new(Passes::default());
        let sessions = Arc::new(Sessions::new(limits.session_retention));
        let watches = Arc::new(Watches::default());
        let kept = Kept { sessions: Arc::clone(&sessions), watches: Arc::clone(&watches) };
        let Signals { pulse, calls } = pulse::start(&sources, Arc::clone(&passes), kept, &limits);
        Arc::new(Streams {
            log: sources.log,
            ring: sources.ring,
            views: sources.views,
            pulse,
            calls,
            passes,
            selections: Selections::default(),
            sessions,
            watches,
            looked: arvados::Looked::default(),
            log_readers: Arc::new(Semaphore::new(limits.log_readers_max.max(1))),
            read_aheads: Arc::new(Semaphore::new(limits.log_readers_max.div_ceil(2).max(1))),
            limits,
            bye_within: drain_timeout / 2,
            heartbeat: control::heartbeat(),
            open: AtomicUsize::new(0),
            figures: figures(),
        })
    }

    /// How many streams are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many sessions over WebSocket are known, and how many of them nobody has now.
    #[must_use]
    pub fn sessions(&self) -> (usize, usize) {
        self.sessions.count()
    }

    /// All watches.
    #[must_use]
    pub fn watches(&self) -> &Watches {
        &self.watches
    }

    /// How long a client is told to wait before it comes back: each for a time of its own.
    fn retry(&self) -> Duration {
        let StreamLimits { retry_min, retry_max, .. } = self.limits;
        rand::random_range(retry_min..=retry_max.max(retry_min))
    }

    /// At a stop: waits a little, each stream for a time of its own.
    async fn wait_for_turn(&self) {
        let open = u32::try_from(self.open()).unwrap_or(u32::MAX);
        let most = BYE_APART.saturating_mul(open).min(self.bye_within);
        tokio::time::sleep(most.mul_f64(rand::random::<f64>())).await;
    }

    fn look<T>(&self, look: impl FnOnce(&Views) -> T) -> T {
        look(&self.views.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn origins(&self) -> Origins {
        self.look(|views| views.origins().clone())
    }

    /// What a user gets who asks for this, by the rights of now.
    fn selection(&self, user: Offset, filters: &Filters) -> Arc<Selection> {
        let sight = self.look(|views| Sight::of(views, user));
        self.selections.get(&What { filters: filters.clone(), sight })
    }

    fn known(&self) -> Known {
        self.look(|views| Known {
            origins: views.origins().clone(),
            private: Arc::clone(views.memberships().private()),
        })
    }
}
