//! The channels that are there now. Deleting one frees its name.

use scrollback_log::{Offset, Timestamp};
use serde::{Deserialize, Serialize};

use crate::registry::{HasName, Registry};

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
    /// Whether only its members and owners see it.
    pub private: bool,
    /// The newest record about it: its creation, a message, a message's deletion. Not who its members are.
    pub last_offset: Offset,
    /// The time of that record.
    pub last_time: Timestamp,
}

/// The live channels, each under the offset of the record that created it.
pub type Channels = Registry<Channel>;

impl HasName for Channel {
    fn folded(&self) -> &str {
        &self.folded
    }
}

impl Channels {
    /// Takes note of a record about `channel`.
    pub(crate) fn touch(&mut self, channel: Offset, offset: Offset, time: Timestamp) {
        if let Some(channel) = self.get_mut(channel) {
            (channel.last_offset, channel.last_time) = (offset, time);
        }
    }
}
