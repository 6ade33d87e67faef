//! The sequenced log that is Scrollback's only memory.
//!
//! A *record* is one fact with an *offset*: contiguous from 1, never reused within an *origin*. A record has a *kept*
//! part, which stays for ever, and may have a *text* part (what people typed), which can be erased later without
//! breaking the chain of hashes that runs through the log.
//!
//! The way of a record: [`NewRecord`] → sealed by [`Appender::append`] (offset, time, salt, chain) → stored and synced by
//! an [`Engine`] → applied by the caller's [`Machine`] → published as the new head. Readers only ever see what lies at
//! or below the published head, and every read passes the masks, so a deleted text is gone from the moment its deletion
//! is durable, long before it is erased from the disk.
//!
//! This crate knows nothing of HTTP, users, channels, rights or views.

pub mod backup;
mod chain;
mod chunk;
pub mod clock;
pub mod codec;
pub mod compact;
mod copy;
pub mod data_dir;
pub mod engine;
mod envelope;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod log;
mod mask;
pub mod migrate;
mod one_core;
mod open;
pub mod origin;
mod quiet;
mod record;
pub mod remains;
pub mod restore;
pub mod resume;
pub mod scrub;
pub mod synced;
mod units;
pub mod verify;
pub mod witness;
mod writer;

pub use chain::Commitment;
pub use chunk::{ChunkOptions, Encoding};
pub use engine::{AppendError, Engine, Erasure, ReadError, Visit, VisitStored};
pub use envelope::{Envelope, StoredText};
pub use log::{Appender, Damage, ERASE_STEP_TEXTS_MAX, Log};
pub use mask::{Deletion, Masks};
pub use open::{LogOptions, OpenError, finish, open, open_accepting_witness};
pub use origin::Origin;
pub use record::{Kind, NewRecord, Record, Schema, Sealed, Text};
pub use resume::{ResumePoint, Tag};
pub use units::{ChainValue, Head, Offset, Timestamp};
pub use writer::{BatchFigures, Decision, Machine, Stamp, SubmitError, Writer, WriterOptions, WriterThread};
