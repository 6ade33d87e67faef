//! The subscriptions of one socket, as one way through the log.
//!
//! An event is told once when one of them at least matches it, and lies behind where that one begins; so all of them
//! together are one list of filters, and the way begins where the earliest does. Whoever looks back with a new one, on a
//! socket that was told what is newer already, sends the way back; what was told is not told again.

use roaring::RoaringTreemap;
use scrollback_log::Offset;
use serde_json::Value;

use super::ask::Which;
use crate::streams::filter::condition::{Condition, Filter, Side, Test};
use crate::streams::filter::{FILTERS_MAX, FilterError, Filters, VALUES_IN_ALL_MAX};

/// The most subscriptions of one socket.
pub(super) const SUBSCRIPTIONS_MAX: usize = FILTERS_MAX;
/// Over how many records back it is remembered which were told, at least: at most a bit for each of some more than twice as many.
/// Few in tests, so that much is forgotten.
const TOLD_RECORDS: u64 = if cfg!(test) { 16 } else { 128 << 10 };

/// What a client wants to be told.
struct Subscribed {
    number: u64,
    /// The digest of what was asked for: to keep that would be to keep whatever a client can think of.
    asked: blake3::Hash,
    filter: Filter,
    /// It begins behind this.
    after: Offset,
    bookmarks: bool,
}

/// All of a socket's.
#[derive(Default)]
pub(super) struct Subscriptions {
    all: Vec<Subscribed>,
    /// How many there ever were.
    count: u64,
    told: RoaringTreemap,
    /// Up to here it is forgotten what was told, if anything was.
    forgotten: Offset,
}

/// Why there is no subscription.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotSubscribed {
    /// The socket has as many as it may have.
    #[error("a connection has at most {SUBSCRIPTIONS_MAX} subscriptions")]
    Full,
    /// Together with the others it names too much.
    #[error("all subscriptions together name {count} values, and {VALUES_IN_ALL_MAX} at most are taken")]
    Values {
        /// How many.
        count: usize,
    },
    /// So much was told since that it is not known any more what.
    #[error("this connection was told too much since that event: subscribe on a new one")]
    Forgotten,
}

impl Subscriptions {
    /// Adds one that wants what the filter matches behind `after`. Returns its number.
    pub(super) fn add(
        &mut self,
        asked: &Value,
        filter: Filter,
        after: Offset,
        bookmarks: bool,
    ) -> Result<u64, NotSubscribed> {
        if self.all.len() >= SUBSCRIPTIONS_MAX {
            return Err(NotSubscribed::Full);
        }
        if after < self.forgotten {
            return Err(NotSubscribed::Forgotten);
        }
        // Each may have its beginning besides. None may hide the values of others, which count when it is gone.
        let values = |filter: &Filter| filter.values() + 1;
        let count = values(&filter) + self.all.iter().map(|known| values(&known.filter)).sum::<usize>();
        if count > VALUES_IN_ALL_MAX {
            return Err(NotSubscribed::Values { count });
        }
        self.count += 1;
        self.all.push(Subscribed { number: self.count, asked: digest(asked), filter, after, bookmarks });
        Ok(self.count)
    }

    /// Takes one back; says whether there was one.
    pub(super) fn remove(&mut self, which: &Which) -> bool {
        let place = self.all.iter().position(|subscribed| match which {
            Which::Filters(filters) => subscribed.asked == digest(filters),
            Which::Number(number) => subscribed.number == *number,
        });
        place.map(|place| self.all.remove(place)).is_some()
    }

    /// Behind which place a new way begins when the old one `stands` there and a subscription that begins behind `after` has
    /// come; none if there is neither.
    pub(super) fn earlier(stands: Option<Offset>, after: Option<Offset>) -> Option<Offset> {
        stands.into_iter().chain(after).min()
    }

    /// What is wanted on a way that begins behind `from`; none if nothing is.
    ///
    /// # Errors
    /// Never, for what each subscription names was counted when it was added.
    pub(super) fn filters(&self, from: Offset) -> Result<Option<Filters>, FilterError> {
        if self.all.is_empty() {
            return Ok(None);
        }
        let filters = self.all.iter().map(|subscribed| {
            let mut filter = subscribed.filter.clone();
            // Only where it says something: then equal subscriptions of many clients are equal filters.
            if subscribed.after > from {
                let behind = Test::Side(Side::Above, subscribed.after);
                filter.conditions.push(Condition::Offset(behind));
                filter.settle();
            }
            filter
        });
        Filters::any_of(filters.collect()).map(Some)
    }

    /// Whether anybody wants to be told where the way stands.
    pub(super) fn want_bookmarks(&self) -> bool {
        self.all.iter().any(|subscribed| subscribed.bookmarks)
    }

    /// Whether an event was told already.
    pub(super) fn was_told(&self, event: Offset) -> bool {
        self.told.contains(event.0)
    }

    /// An event is told: all up to it that is ever to be told has been.
    pub(super) fn tell(&mut self, event: Offset) {
        self.told.insert(event.0);
        let (Some(oldest), Some(newest)) = (self.told.min(), self.told.max()) else { return };
        // Seldom, for it costs more than to add one.
        if newest - oldest > 2 * TOLD_RECORDS {
            // Nothing that the way has still to pass.
            let kept_from = (newest - TOLD_RECORDS).min(event.0);
            self.told.remove_range(oldest..kept_from);
            self.forgotten = self.forgotten.max(Offset(kept_from.saturating_sub(1)));
        }
    }
}

fn digest(filters: &Value) -> blake3::Hash {
    blake3::hash(filters.to_string().as_bytes())
}
