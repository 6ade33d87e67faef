//! Watches: being told *that* channels have changed, and nothing of what.
//!
//! A watch is a set of channels under a name of its user's choice. Whoever reads it is told, for each of them, the offset of
//! its newest record, and reads what is of interest by other calls. No notice is kept for anybody: a reader holds one offset,
//! and what it is told is found by comparing that with the views. So a notice is always the newest, any number of changes
//! while a reader is slow or away come to one, and what is pending for a reader is nothing but the set itself.
//!
//! A watch is kept in memory, for as long as somebody reads it and for its lease after that. To set it again replaces all of it
//! at once under a new epoch; whoever read it before is told `replaced` and nothing more.

pub(super) mod frames;
mod poll;
pub(super) mod readers;
pub(super) mod reading;
mod registry;
pub(super) mod set;
mod sse;
pub(super) mod watch;

use std::time::Duration;

pub use poll::WatchPolled;
pub use reading::Place;
pub use registry::{TooManyWatches, Watches};
pub use set::{Refused, Set, Standing, Wanted};
pub use sse::WatchSse;
pub use watch::{Kept, Watch};

/// The most channels of one watch.
pub const CHANNELS_MAX: usize = 10_000;
/// The longest name of a watch, in characters.
pub const NAME_LENGTH_MAX: usize = 64;
/// The most changes of one part of a notice.
pub(super) const CHANGES_MAX: usize = 1_000;
/// The longest that notices may be held back.
pub const DELAY_MAX: Duration = Duration::from_secs(60);
/// How long they are if the client does not say.
pub const DELAY_DEFAULT: Duration = Duration::from_millis(250);
/// The shortest and the longest lease.
pub const LEASE_MIN: Duration = Duration::from_secs(10);
/// See [`LEASE_MIN`].
pub const LEASE_MAX: Duration = Duration::from_secs(3600);
/// The lease if the client does not say.
pub const LEASE_DEFAULT: Duration = Duration::from_secs(300);

/// Whether this can be the name of a watch.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    is_plain && (1..=NAME_LENGTH_MAX).contains(&name.len())
}

/// How a watch is to be kept and told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// From one notice to the next it is at least this long. The first change after a pause is told at once.
    pub max_delay: Duration,
    /// How long it is kept while nobody reads or renews it.
    pub lease: Duration,
}
