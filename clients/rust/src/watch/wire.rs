//! The JSON of watches.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::watched::WatchOptions;

/// Why a channel is not watched, or no more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[non_exhaustive]
pub enum Gone {
    /// It was deleted, or has expired.
    Deleted,
    /// The user may not see it any more.
    Forbidden,
    /// There is no such channel for the user: there never was one, or it went while nobody watched.
    NotFound,
    /// It is no id of a channel.
    BadId,
    /// Something that this library is too old to know.
    Other(String),
}

impl From<String> for Gone {
    fn from(name: String) -> Gone {
        match name.as_str() {
            "deleted" => Gone::Deleted,
            "forbidden" => Gone::Forbidden,
            "not_found" => Gone::NotFound,
            "bad_id" => Gone::BadId,
            _ => Gone::Other(name),
        }
    }
}

impl From<Gone> for String {
    fn from(gone: Gone) -> String {
        match gone {
            Gone::Deleted => "deleted".into(),
            Gone::Forbidden => "forbidden".into(),
            Gone::NotFound => "not_found".into(),
            Gone::BadId => "bad_id".into(),
            Gone::Other(name) => name,
        }
    }
}

/// What the server says of one channel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WireChange")]
pub(super) struct Change {
    pub(super) channel: String,
    pub(super) stands: Stands,
}

/// How a channel stands: its newest record's offset, or that it is gone.
pub(super) type Stands = Result<u64, Gone>;

#[derive(Deserialize)]
struct WireChange {
    id: String,
    offset: Option<u64>,
    gone: Option<Gone>,
}

impl TryFrom<WireChange> for Change {
    type Error = &'static str;

    fn try_from(wire: WireChange) -> Result<Change, &'static str> {
        let stands = match (wire.offset, wire.gone) {
            (_, Some(gone)) => Err(gone),
            (Some(offset), None) => Ok(offset),
            (None, None) => return Err("a change without an offset, of a channel that is not gone"),
        };
        Ok(Change { channel: wire.id, stands })
    }
}

/// `PUT /api/watch/NAME`.
#[derive(Serialize)]
pub(super) struct Set<'a> {
    pub(super) watch: Vec<Wanted<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_s: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Wanted<'a> {
    pub(super) id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<u64>,
}

impl<'a> Set<'a> {
    pub(super) fn new(watch: Vec<Wanted<'a>>, options: &WatchOptions) -> Set<'a> {
        let milliseconds = |delay: std::time::Duration| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Set {
            watch,
            max_delay_ms: options.max_delay.map(milliseconds),
            lease_s: options.lease.map(|lease| lease.as_secs()),
        }
    }
}

/// What it answers.
#[derive(Deserialize)]
pub(super) struct Setting {
    pub(super) epoch: u64,
    pub(super) max_delay_ms: u64,
    /// The seconds between two heartbeats of a stream.
    pub(super) heartbeat: u64,
    status: BTreeMap<String, Status>,
}

#[derive(Deserialize)]
struct Status {
    ok: bool,
    offset: Option<u64>,
    code: Option<String>,
}

impl Setting {
    /// How each channel stands.
    pub(super) fn status(&self) -> impl Iterator<Item = Change> {
        self.status.iter().map(|(channel, status)| {
            let refused = || Gone::from(status.code.clone().unwrap_or_default());
            let stands = status.offset.filter(|_| status.ok).ok_or_else(refused);
            Change { channel: channel.clone(), stands }
        })
    }
}

/// What `GET /api/watch/NAME/changes` answers.
#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) epoch: u64,
    pub(super) changed: Vec<Change>,
    pub(super) next: String,
}

/// The first word of a stream.
#[derive(Deserialize)]
pub(super) struct Hello {
    pub(super) epoch: u64,
}

/// A notice of a stream.
#[derive(Deserialize)]
pub(super) struct Changed {
    pub(super) epoch: u64,
    pub(super) changed: Vec<Change>,
}
