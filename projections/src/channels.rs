//! The channels that are there now. Deleting one frees its name.

use std::collections::BTreeMap;
use std::io;

use scrollback_log::{Offset, Timestamp};
use serde::{Deserialize, Serialize};

use crate::pieces::{PieceError, PieceReader, PieceWriter};

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// The name as entered. Empty when the text of its record is gone already, which only a state before the channel's
    /// deletion can show.
    pub name: String,
    /// The name as compared; empty when it is gone.
    pub folded: String,
    /// When it was created.
    pub at: Timestamp,
    /// Who created it; none for an import.
    pub creator: Option<Offset>,
    /// Always false in this version.
    pub private: bool,
    /// The newest record about it: its creation, a message, a message's deletion.
    pub last_offset: Offset,
    /// The time of that record.
    pub last_time: Timestamp,
}

/// The live channels, each under the offset of the record that created it.
#[derive(Clone, Debug, Default)]
pub struct Channels {
    by_offset: BTreeMap<Offset, Channel>,
    by_folded: BTreeMap<String, Offset>,
}

impl Channels {
    /// The live channel that the record at `channel` created.
    #[must_use]
    pub fn get(&self, channel: Offset) -> Option<&Channel> {
        self.by_offset.get(&channel)
    }

    /// The live channel whose name compares as `folded`.
    #[must_use]
    pub fn by_folded(&self, folded: &str) -> Option<(Offset, &Channel)> {
        let channel = *self.by_folded.get(folded)?;
        Some((channel, self.by_offset.get(&channel)?))
    }

    /// All live channels, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Offset, &Channel)> {
        self.by_offset.iter().map(|(offset, channel)| (*offset, channel))
    }

    /// How many channels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_offset.len()
    }

    /// Whether there is no channel.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_offset.is_empty()
    }

    pub(crate) fn contains(&self, channel: Offset) -> bool {
        self.by_offset.contains_key(&channel)
    }

    /// Adds a channel. The caller has checked that its name, if it still has one, is free.
    pub(crate) fn insert(&mut self, offset: Offset, channel: Channel) {
        if !channel.folded.is_empty() {
            self.by_folded.insert(channel.folded.clone(), offset);
        }
        self.by_offset.insert(offset, channel);
    }

    /// Takes note of a record about `channel`.
    pub(crate) fn touch(&mut self, channel: Offset, offset: Offset, time: Timestamp) {
        if let Some(channel) = self.by_offset.get_mut(&channel) {
            (channel.last_offset, channel.last_time) = (offset, time);
        }
    }

    pub(crate) fn remove(&mut self, channel: Offset) {
        if let Some(removed) = self.by_offset.remove(&channel)
            && !removed.folded.is_empty()
        {
            self.by_folded.remove(&removed.folded);
        }
    }

    pub(crate) fn write(&self, out: &mut PieceWriter<'_>) -> io::Result<()> {
        out.list(self.by_offset.iter())
    }

    pub(crate) fn read(from: &mut PieceReader<'_>) -> Result<Channels, PieceError> {
        let mut channels = Channels::default();
        from.list(|(offset, channel)| channels.insert(offset, channel))?;
        Ok(channels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_removed_channel_stays_in_memory() {
        let mut channels = Channels::default();
        for (offset, folded) in [(1, "named"), (2, "")] {
            let (name, folded) = (folded.to_owned(), folded.to_owned());
            let (offset, at) = (Offset(offset), Timestamp(0));
            let channel = Channel {
                name,
                folded,
                at,
                creator: None,
                private: false,
                last_offset: offset,
                last_time: at,
            };
            channels.insert(offset, channel);
        }
        assert_eq!((channels.len(), channels.by_folded.len()), (2, 1));
        channels.remove(Offset(1));
        channels.remove(Offset(2));
        assert!(channels.is_empty() && channels.by_folded.is_empty());
    }
}
