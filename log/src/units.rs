//! The log's units of measure: offsets, time stamps, chain values.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::resume::Tag;

/// The number of a record: contiguous from 1 within a log. 0 stands before the first record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl Offset {
    /// Before the first record: where a reader of the whole log starts.
    pub const BEGINNING: Offset = Offset(0);
    /// The first record's offset.
    pub const FIRST: Offset = Offset(1);

    /// The offset after this one. Offsets cannot overflow: at a billion records a second 2^64 lasts 584 years.
    #[must_use]
    pub fn next(self) -> Offset {
        Offset(self.0 + 1)
    }

    /// The offset `count` records after this one, saturating.
    #[must_use]
    pub fn plus(self, count: u64) -> Offset {
        Offset(self.0.saturating_add(count))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// UTC microseconds since 1970-01-01, as stamped by the writer; never earlier than the record before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This time less `span`, saturating.
    #[must_use]
    pub fn before(self, span: std::time::Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This time plus `span`, saturating.
    #[must_use]
    pub fn after(self, span: std::time::Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }
}

/// The value of the hash chain after some record; see [`crate::Log`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChainValue(pub [u8; 32]);

impl ChainValue {
    /// The value before the first record.
    pub const BEGINNING: ChainValue = ChainValue([0; 32]);

    /// The first four bytes: what a resume token shows of it.
    #[must_use]
    pub fn tag(&self) -> Tag {
        let [a, b, c, d, ..] = self.0;
        Tag(u32::from_be_bytes([a, b, c, d]))
    }
}

/// The newest record of a log: its offset, its time and the chain's value there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The newest record's offset; [`Offset::BEGINNING`] for an empty log.
    pub offset: Offset,
    /// The newest record's time stamp.
    pub time: Timestamp,
    /// The chain's value after the newest record.
    pub chain: ChainValue,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_moves_by_a_span_and_not_beyond_its_ends() {
        let (time, second) = (Timestamp(5_000_000), Duration::from_secs(1));
        assert_eq!((time.before(second), time.after(second)), (Timestamp(4_000_000), Timestamp(6_000_000)));
        assert_eq!(Timestamp(i64::MIN).before(second), Timestamp(i64::MIN));
        assert_eq!(Timestamp(i64::MAX).after(second), Timestamp(i64::MAX));
        assert_eq!(Timestamp(0).before(Duration::MAX), Timestamp(-i64::MAX));
    }
}
