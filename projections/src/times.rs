//! From a time to a place in the log: the time of every 256th record.
//!
//! An exact index would cost as much as the messages themselves. This one costs 32 bytes per thousand records, and whoever
//! needs the exact place reads at most 256 records from where it points.

use std::io;

use scrollback_log::{Offset, Timestamp};

use crate::pieces::{PieceError, PieceReader, PieceWriter};

/// How many records lie between two that the index knows the time of.
const RECORDS_PER_ENTRY: u64 = 256;

/// The time stamps of the records 1, 257, 513 and so on.
#[derive(Clone, Debug, Default)]
pub struct TimeIndex {
    times: Vec<Timestamp>,
}

impl TimeIndex {
    /// An offset at or before the first record stamped `time` or later, and fewer than 257 records before it. When no
    /// record is as late as that, an offset within the last 256 records. [`Offset::FIRST`] for an empty log.
    #[must_use]
    pub fn floor(&self, time: Timestamp) -> Offset {
        let earlier = self.times.partition_point(|entry| *entry < time);
        Offset(1 + RECORDS_PER_ENTRY * (earlier.saturating_sub(1) as u64))
    }

    pub(crate) fn note(&mut self, offset: Offset, time: Timestamp) {
        if (offset.0 - 1).is_multiple_of(RECORDS_PER_ENTRY) {
            self.times.push(time);
        }
    }

    pub(crate) fn write(&self, out: &mut PieceWriter<'_>) -> io::Result<()> {
        out.list(self.times.iter())
    }

    pub(crate) fn read(from: &mut PieceReader<'_>) -> Result<TimeIndex, PieceError> {
        let mut times = Vec::new();
        from.list(|time| times.push(time))?;
        Ok(TimeIndex { times })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_floor_is_close_before_the_first_record_that_is_late_enough(
            steps in vec(prop_oneof![9 => Just(0_i64), 1 => 0_i64..50], 0..2000),
            near in any::<prop::sample::Index>(),
            beside in -1_i64..=1,
        ) {
            let mut index = TimeIndex::default();
            let mut times = Vec::new();
            let mut now = 0;
            for (offset, step) in (1..).zip(steps) {
                now += step;
                index.note(Offset(offset), Timestamp(now));
                times.push(now);
            }
            // Mostly a time that many records have, some of them on both sides of an entry.
            let wanted = beside + if times.is_empty() { 0 } else { times[near.index(times.len())] };
            let first = 1 + times.iter().position(|time| *time >= wanted).unwrap_or(times.len()) as u64;
            let floor = index.floor(Timestamp(wanted)).0;
            prop_assert!(floor >= 1 && floor <= first && first - floor <= RECORDS_PER_ENTRY, "{} for {}", floor, first);
        }
    }
}
