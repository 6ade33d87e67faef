//! What is said of watches.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::whole;

/// A watch as it is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetWatch {
    /// The channels; at most 10,000.
    pub(in crate::http) watch: Vec<WatchedChannel>,
    /// From one notice to the next it is at least this long, in milliseconds; 250 if not given.
    #[serde(default, deserialize_with = "whole")]
    #[schema(nullable = false, maximum = 60_000)]
    pub(in crate::http) max_delay_ms: Option<u64>,
    /// How long it is kept while nobody reads or renews it, in seconds; 300 if not given.
    #[serde(default, deserialize_with = "whole")]
    #[schema(nullable = false, minimum = 10, maximum = 3_600)]
    pub(in crate::http) lease_s: Option<u64>,
}

/// A channel to be watched.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WatchedChannel {
    /// Its id.
    pub(in crate::http) id: String,
    /// Up to which offset the caller knows it: what is newer is told at once. What there is now if not given.
    #[serde(default, deserialize_with = "whole")]
    #[schema(nullable = false)]
    pub(in crate::http) since: Option<u64>,
}

/// A watch.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Watched<'a> {
    /// Its name.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    pub(in crate::http) name: &'a str,
    /// Which setting of it this is: greater than that of any before.
    pub(in crate::http) epoch: u64,
    /// The offset of the state from which this answer is.
    pub(in crate::http) head: u64,
    /// From one notice to the next it is at least this long, in milliseconds.
    pub(in crate::http) max_delay_ms: u64,
    /// How long it is kept while nobody reads or renews it, in seconds.
    pub(in crate::http) lease_s: u64,
    /// How much of that is left, in whole seconds.
    pub(in crate::http) left_s: u64,
    /// The seconds between two signs of life of whatever it is read by.
    pub(in crate::http) heartbeat: u64,
    /// Each channel and how it stands. Not of a renewal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) status: Option<BTreeMap<String, WatchedNow>>,
}

/// How a channel of a watch stands.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct WatchedNow {
    /// Whether it is watched.
    pub(in crate::http) ok: bool,
    /// The offset of its newest record: from there on nothing is missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    pub(in crate::http) offset: Option<u64>,
    /// Why it is not watched: `bad_id`, `not_found`, or `ahead` (the caller knows more than there is).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) code: Option<&'static str>,
}

/// What has changed since the poll before.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct WatchChanges {
    /// Which setting of the watch this is of.
    pub(in crate::http) epoch: u64,
    /// The channels that have changed.
    pub(in crate::http) changed: Vec<WatchChange>,
    /// All that changed up to here is told.
    pub(in crate::http) head: u64,
    /// What to poll after next.
    #[schema(pattern = "^[0-9]{1,16}[.][0-9]{1,20}-[0-9a-f]{8}$")]
    pub(in crate::http) next: String,
}

/// A channel that has changed.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct WatchChange {
    /// Its id.
    #[schema(pattern = "^C[0-9A-Z]{11,23}$")]
    pub(in crate::http) id: String,
    /// The offset of its newest record.
    #[schema(nullable = false, minimum = 1)]
    pub(in crate::http) offset: Option<u64>,
    /// Why it is watched no more: `deleted` or `forbidden`.
    #[schema(nullable = false)]
    pub(in crate::http) gone: Option<&'static str>,
}
