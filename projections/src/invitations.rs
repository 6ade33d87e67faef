//! The invitations that can still be accepted. One is gone once a user accepted it or the log's time passed its end.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use scrollback_log::{Offset, Timestamp};
use serde::{Deserialize, Serialize};

use crate::facts::VaultKey;
use crate::pieces::{PieceError, PieceReader, PieceWriter};

/// An invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Who invites.
    pub issuer: Offset,
    /// Since when.
    pub issued: Timestamp,
    /// Until when; at this time it is over.
    pub expires: Timestamp,
    /// The vault's entry with the token's hash.
    pub secret: VaultKey,
}

impl Invitation {
    /// Whether it can be accepted by a record stamped `time`. A decision must ask this with its own stamp: the views only
    /// know the time of the newest record.
    #[must_use]
    pub fn is_open_at(&self, time: Timestamp) -> bool {
        time < self.expires
    }
}

/// The open invitations, each under the offset of its record.
#[derive(Clone, Debug, Default)]
pub struct Invitations {
    by_offset: BTreeMap<Offset, Invitation>,
    by_end: BTreeSet<(Timestamp, Offset)>,
}

impl Invitations {
    /// The invitation of the record at `invitation`, when it is neither used nor over at the newest record's time.
    #[must_use]
    pub fn get(&self, invitation: Offset) -> Option<&Invitation> {
        self.by_offset.get(&invitation)
    }

    /// All open invitations, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Offset, &Invitation)> {
        self.by_offset.iter().map(|(offset, invitation)| (*offset, invitation))
    }

    /// How many invitations are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_offset.len()
    }

    /// Whether no invitation is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_offset.is_empty()
    }

    pub(crate) fn insert(&mut self, offset: Offset, invitation: Invitation) {
        self.by_end.insert((invitation.expires, offset));
        self.by_offset.insert(offset, invitation);
    }

    pub(crate) fn remove(&mut self, offset: Offset) {
        if let Some(invitation) = self.by_offset.remove(&offset) {
            self.by_end.remove(&(invitation.expires, offset));
        }
    }

    /// Drops what is over at `time`.
    pub(crate) fn drop_over(&mut self, time: Timestamp) {
        while let Some((_, offset)) = self.by_end.first().copied().filter(|(expires, _)| *expires <= time) {
            self.remove(offset);
        }
    }

    pub(crate) fn write(&self, out: &mut PieceWriter<'_>) -> io::Result<()> {
        out.list(self.by_offset.iter())
    }

    pub(crate) fn read(from: &mut PieceReader<'_>) -> Result<Invitations, PieceError> {
        let mut invitations = Invitations::default();
        from.list(|(offset, invitation)| invitations.insert(offset, invitation))?;
        Ok(invitations)
    }
}
