//! Which messages are live, per channel, as sets of offsets.
//!
//! A message is ordered by its time, then its offset. For most messages the time is their record's, and times never go
//! back in the log, so the order is the order of the offsets: one compressed bitmap holds them (`posted`). Imported
//! messages have a time of their own (`dated`) and need an index by it. History merges the two.

use std::collections::{BTreeMap, BTreeSet};
use std::{io, iter};

use roaring::RoaringTreemap;
use scrollback_log::{Offset, Timestamp};

use crate::pieces::{PieceError, PieceReader, PieceWriter};

/// The live messages of one channel.
#[derive(Clone, Debug, Default)]
pub struct ChannelMessages {
    posted: RoaringTreemap,
    dated: RoaringTreemap,
    by_time: BTreeSet<(Timestamp, Offset)>,
}

impl ChannelMessages {
    /// The messages whose time is their record's.
    #[must_use]
    pub fn posted(&self) -> &RoaringTreemap {
        &self.posted
    }

    /// The messages with a time of their own.
    #[must_use]
    pub fn dated(&self) -> &RoaringTreemap {
        &self.dated
    }

    /// The messages with a time of their own, in the order of those times.
    #[must_use]
    pub fn by_time(&self) -> &BTreeSet<(Timestamp, Offset)> {
        &self.by_time
    }

    /// How many messages there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.posted.len() + self.dated.len()
    }

    /// Whether there is no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.posted.is_empty() && self.dated.is_empty()
    }

    /// Whether the record at `offset` is a live message of this channel.
    #[must_use]
    pub fn contains(&self, offset: Offset) -> bool {
        self.posted.contains(offset.0) || self.dated.contains(offset.0)
    }

    /// The message that was recorded first.
    #[must_use]
    pub fn oldest(&self) -> Option<Offset> {
        self.posted.min().into_iter().chain(self.dated.min()).min().map(Offset)
    }

    /// The message that was recorded last.
    #[must_use]
    pub fn newest(&self) -> Option<Offset> {
        self.posted.max().max(self.dated.max()).map(Offset)
    }

    /// The posted messages after `offset`, ascending. Seeking costs no more than a look at each 65,536th offset.
    pub fn posted_after(&self, offset: Offset) -> impl Iterator<Item = Offset> {
        let mut rest = self.posted.iter();
        let none = match offset.0.checked_add(1) {
            Some(first) => {
                rest.advance_to(first);
                false
            }
            None => true,
        };
        rest.map(Offset).take_while(move |_| !none)
    }

    /// The posted messages before `offset`, descending.
    pub fn posted_before(&self, offset: Offset) -> impl Iterator<Item = Offset> {
        let mut rest = self.posted.iter();
        let none = match offset.0.checked_sub(1) {
            Some(last) => {
                rest.advance_back_to(last);
                false
            }
            None => true,
        };
        rest.rev().map(Offset).take_while(move |_| !none)
    }

    /// The messages with a time of their own after `place`, ascending by (time, offset).
    pub fn dated_after(&self, place: (Timestamp, Offset)) -> impl Iterator<Item = (Timestamp, Offset)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.by_time.range((Excluded(place), Unbounded)).copied()
    }

    /// The messages with a time of their own before `place`, descending by (time, offset).
    pub fn dated_before(&self, place: (Timestamp, Offset)) -> impl Iterator<Item = (Timestamp, Offset)> {
        self.by_time.range(..place).rev().copied()
    }

    /// All messages whose records come before `offset`, ascending by offset: what an expiry looks through.
    pub fn recorded_before(&self, offset: Offset) -> impl Iterator<Item = Offset> {
        let (mut posted, mut dated) = (self.posted.iter().peekable(), self.dated.iter().peekable());
        let all = iter::from_fn(move || match (posted.peek(), dated.peek()) {
            (Some(one), Some(other)) if one > other => dated.next(),
            (Some(_), _) => posted.next(),
            (None, _) => dated.next(),
        });
        all.map(Offset).take_while(move |message| *message < offset)
    }

    /// All messages as one set.
    pub(crate) fn into_set(self) -> RoaringTreemap {
        self.posted | self.dated
    }

    fn write(&self, out: &mut PieceWriter<'_>) -> io::Result<()> {
        out.set(&self.posted)?;
        out.list(self.by_time.iter())
    }

    fn read(from: &mut PieceReader<'_>) -> Result<ChannelMessages, PieceError> {
        let mut messages = ChannelMessages { posted: from.set()?, ..ChannelMessages::default() };
        from.list(|(time, offset): (Timestamp, Offset)| {
            messages.by_time.insert((time, offset));
            messages.dated.insert(offset.0);
        })?;
        Ok(messages)
    }
}

/// The live messages of all live channels.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    by_channel: BTreeMap<Offset, ChannelMessages>,
}

impl Messages {
    /// The messages of a live channel.
    #[must_use]
    pub fn of(&self, channel: Offset) -> Option<&ChannelMessages> {
        self.by_channel.get(&channel)
    }

    /// The messages of all live channels, by the channel's offset.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Offset, &ChannelMessages)> {
        self.by_channel.iter().map(|(channel, messages)| (*channel, messages))
    }

    /// How many messages there are in all.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.by_channel.values().map(ChannelMessages::len).sum()
    }

    /// Whether there is no message at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_channel.values().all(ChannelMessages::is_empty)
    }

    pub(crate) fn add_channel(&mut self, channel: Offset) {
        self.by_channel.insert(channel, ChannelMessages::default());
    }

    pub(crate) fn remove_channel(&mut self, channel: Offset) -> ChannelMessages {
        self.by_channel.remove(&channel).unwrap_or_default()
    }

    /// Adds a message whose time is its record's; false when its channel is not there.
    pub(crate) fn post(&mut self, channel: Offset, message: Offset) -> bool {
        let Some(messages) = self.by_channel.get_mut(&channel) else { return false };
        messages.posted.insert(message.0);
        true
    }

    /// Adds a message with a time of its own; false when its channel is not there.
    pub(crate) fn import(&mut self, channel: Offset, at: Timestamp, message: Offset) -> bool {
        let Some(messages) = self.by_channel.get_mut(&channel) else { return false };
        messages.dated.insert(message.0);
        messages.by_time.insert((at, message));
        true
    }

    /// Removes a message; false when there is none with this channel and this time of its own.
    pub(crate) fn remove(
        &mut self,
        channel: Offset,
        message: Offset,
        imported_at: Option<Timestamp>,
    ) -> bool {
        let Some(messages) = self.by_channel.get_mut(&channel) else { return false };
        match imported_at {
            None => messages.posted.remove(message.0),
            Some(at) => messages.by_time.remove(&(at, message)) && messages.dated.remove(message.0),
        }
    }

    pub(crate) fn write(&self, out: &mut PieceWriter<'_>) -> io::Result<()> {
        out.list(self.by_channel.keys())?;
        self.by_channel.values().try_for_each(|messages| messages.write(out))
    }

    pub(crate) fn read(from: &mut PieceReader<'_>) -> Result<Messages, PieceError> {
        let mut messages = Messages::default();
        from.list(|channel| messages.add_channel(channel))?;
        for channel in messages.by_channel.values_mut() {
            *channel = ChannelMessages::read(from)?;
        }
        Ok(messages)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Offsets on both sides of the borders between containers and between the treemap's halves.
    fn offsets() -> impl Strategy<Value = u64> {
        let near = prop_oneof![
            Just(5_u64),
            Just(1 << 16),
            Just(3 << 16),
            Just(1 << 32),
            Just((7 << 32) + (1 << 16))
        ];
        (near, 0_u64..8).prop_map(|(near, more)| near - 4 + more)
    }

    fn messages(posted: &[u64], dated: &[(i64, u64)]) -> ChannelMessages {
        ChannelMessages {
            posted: posted.iter().copied().collect(),
            dated: dated.iter().map(|(_, offset)| *offset).collect(),
            by_time: dated.iter().map(|(time, offset)| (Timestamp(*time), Offset(*offset))).collect(),
        }
    }

    proptest! {
        #[test]
        fn seeking_finds_what_looking_at_each_finds(
            mut posted in vec(offsets(), 0..20),
            place in prop_oneof![Just(0), Just(1), offsets(), Just(u64::MAX - 1), Just(u64::MAX)],
        ) {
            let messages = messages(&posted, &[]);
            posted.sort_unstable();
            posted.dedup();
            let after: Vec<_> = posted.iter().filter(|offset| **offset > place).map(|at| Offset(*at)).collect();
            let before: Vec<_> = posted.iter().rev().filter(|offset| **offset < place).map(|at| Offset(*at)).collect();
            prop_assert_eq!(messages.posted_after(Offset(place)).collect::<Vec<_>>(), after);
            prop_assert_eq!(messages.posted_before(Offset(place)).collect::<Vec<_>>(), before);
        }

        #[test]
        fn what_was_recorded_before_a_place_is_found_in_the_order_of_the_records(
            all in vec((any::<bool>(), -9_i64..9, offsets()), 0..30),
            place in prop_oneof![Just(0), offsets(), Just(u64::MAX)],
        ) {
            let all: BTreeMap<u64, (bool, i64)> = all.into_iter().map(|(own, time, at)| (at, (own, time))).collect();
            let posted: Vec<u64> = all.iter().filter(|(_, (own, _))| !own).map(|(at, _)| *at).collect();
            let dated: Vec<(i64, u64)> =
                all.iter().filter(|(_, (own, _))| *own).map(|(at, (_, time))| (*time, *at)).collect();
            let messages = messages(&posted, &dated);
            let expected: Vec<Offset> = all.keys().filter(|at| **at < place).map(|at| Offset(*at)).collect();
            prop_assert_eq!(messages.recorded_before(Offset(place)).collect::<Vec<_>>(), expected);
            let bounds = (all.keys().next().copied().map(Offset), all.keys().last().copied().map(Offset));
            prop_assert_eq!((messages.oldest(), messages.newest()), bounds);
            prop_assert_eq!(messages.clone().into_set().iter().collect::<Vec<_>>(), all.into_keys().collect::<Vec<_>>());
        }

        #[test]
        fn messages_with_times_of_their_own_are_found_on_both_sides_of_a_place(
            mut dated in vec((-9_i64..9, 1_u64..9), 0..20),
            place in (-10_i64..10, 0_u64..10),
        ) {
            // An offset has one time.
            dated.sort_unstable_by_key(|(_, offset)| *offset);
            dated.dedup_by_key(|(_, offset)| *offset);
            let messages = messages(&[], &dated);
            let place = (Timestamp(place.0), Offset(place.1));
            let mut sorted: Vec<_> = dated.iter().map(|(time, at)| (Timestamp(*time), Offset(*at))).collect();
            sorted.sort_unstable();
            let after: Vec<_> = sorted.iter().copied().filter(|other| *other > place).collect();
            let before: Vec<_> = sorted.iter().rev().copied().filter(|other| *other < place).collect();
            prop_assert_eq!(messages.dated_after(place).collect::<Vec<_>>(), after);
            prop_assert_eq!(messages.dated_before(place).collect::<Vec<_>>(), before);
        }
    }
}
