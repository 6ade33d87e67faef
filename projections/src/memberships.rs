//! Who is in which private channel: what says who may see it.
//!
//! Whoever created a private channel is its first member; every other one came by a record. What is known of a private
//! channel stays when it is deleted, as it was then: so its last members still see its end, and nobody else does.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use roaring::RoaringTreemap;
use scrollback_log::Offset;

use crate::pieces::{PieceError, PieceReader, PieceWriter};

/// The members of all private channels, the deleted ones too.
#[derive(Clone, Debug, Default)]
pub struct Memberships {
    /// Each with its members and the record that made each of them one.
    by_channel: BTreeMap<Offset, BTreeMap<Offset, Offset>>,
    by_user: BTreeMap<Offset, BTreeSet<Offset>>,
    left: RoaringTreemap,
    private: Arc<RoaringTreemap>,
    changed_at: Offset,
}

impl Memberships {
    /// Whether `channel` is, or was until it was deleted, a private channel.
    #[must_use]
    pub fn is_private(&self, channel: Offset) -> bool {
        self.by_channel.contains_key(&channel)
    }

    /// The members of a private channel, each with the record that made them one: its creation, for its creator. None for
    /// what is no private channel.
    #[must_use]
    pub fn members(&self, channel: Offset) -> Option<&BTreeMap<Offset, Offset>> {
        self.by_channel.get(&channel)
    }

    /// Whether `user` is a member of the private channel `channel`.
    #[must_use]
    pub fn is_member(&self, channel: Offset, user: Offset) -> bool {
        self.by_channel.get(&channel).is_some_and(|members| members.contains_key(&user))
    }

    /// The private channels that `user` is a member of, the deleted ones too, the oldest first.
    pub fn of_user(&self, user: Offset) -> impl Iterator<Item = Offset> {
        self.by_user.get(&user).into_iter().flatten().copied()
    }

    /// Whether `user` was ever taken out of a private channel. Only they may be told of memberships in channels that they
    /// do not see.
    #[must_use]
    pub fn has_left(&self, user: Offset) -> bool {
        self.left.contains(user.0)
    }

    /// All channels that ever were private. Cheap to clone: it is copied when the next one comes while a clone is held.
    #[must_use]
    pub fn private(&self) -> &Arc<RoaringTreemap> {
        &self.private
    }

    /// The newest record that may have changed what anybody may see: a private channel's creation, a membership's change, a
    /// user's change (of role or activity). [`Offset::BEGINNING`] before the first.
    #[must_use]
    pub fn changed_at(&self) -> Offset {
        self.changed_at
    }

    /// A private channel begins with the record at `channel`.
    pub(crate) fn create(&mut self, channel: Offset, creator: Option<Offset>) {
        self.insert(channel, creator.map(|user| (user, channel)).into_iter().collect());
        self.changed_at = channel;
    }

    /// The record at `offset` makes `user` a member of a channel that is there; they are none so far.
    pub(crate) fn add(&mut self, channel: Offset, user: Offset, offset: Offset) {
        self.by_channel.entry(channel).or_default().insert(user, offset);
        self.by_user.entry(user).or_default().insert(channel);
        self.changed_at = offset;
    }

    /// The record at `offset` ends a membership that is there.
    pub(crate) fn remove(&mut self, channel: Offset, user: Offset, offset: Offset) {
        if let Some(members) = self.by_channel.get_mut(&channel) {
            members.remove(&user);
        }
        // An entry that is empty goes: equal memberships are equal in memory too.
        if let Some(channels) = self.by_user.get_mut(&user) {
            channels.remove(&channel);
            if channels.is_empty() {
                self.by_user.remove(&user);
            }
        }
        self.left.insert(user.0);
        self.changed_at = offset;
    }

    /// The record at `offset` changed a user.
    pub(crate) fn user_changed(&mut self, offset: Offset) {
        self.changed_at = offset;
    }

    fn insert(&mut self, channel: Offset, members: BTreeMap<Offset, Offset>) {
        for user in members.keys() {
            self.by_user.entry(*user).or_default().insert(channel);
        }
        self.by_channel.insert(channel, members);
        Arc::make_mut(&mut self.private).insert(channel.0);
    }

    pub(crate) fn write(&self, out: &mut PieceWriter<'_>) -> io::Result<()> {
        out.value(&self.changed_at)?;
        out.set(&self.left)?;
        out.list(self.by_channel.keys())?;
        self.by_channel.values().try_for_each(|members| out.list(members.iter()))
    }

    pub(crate) fn read(from: &mut PieceReader<'_>) -> Result<Memberships, PieceError> {
        let (changed_at, left) = (from.value()?, from.set()?);
        let mut memberships = Memberships { changed_at, left, ..Memberships::default() };
        let mut channels = Vec::new();
        from.list(|channel| channels.push(channel))?;
        for channel in channels {
            let mut members = BTreeMap::new();
            from.list(|member: (Offset, Offset)| members.extend([member]))?;
            memberships.insert(channel, members);
        }
        Ok(memberships)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_of_private_channels_is_copied_only_while_somebody_holds_it() {
        let mut memberships = Memberships::default();
        memberships.create(Offset(3), Some(Offset(2)));
        let held = Arc::clone(memberships.private());
        memberships.create(Offset(5), None);
        assert_eq!(held.iter().collect::<Vec<_>>(), [3], "what is held stays as it was");
        let place = Arc::as_ptr(memberships.private());
        memberships.add(Offset(5), Offset(2), Offset(6));
        memberships.create(Offset(7), None);
        assert_eq!(Arc::as_ptr(memberships.private()), place);
        assert_eq!(memberships.private().iter().collect::<Vec<_>>(), [3, 5, 7]);
    }

    #[test]
    fn nothing_of_a_membership_that_ended_stays_in_memory() {
        let mut memberships = Memberships::default();
        memberships.create(Offset(3), Some(Offset(2)));
        memberships.remove(Offset(3), Offset(2), Offset(4));
        assert!(memberships.by_user.is_empty());
        assert!(memberships.has_left(Offset(2)) && !memberships.has_left(Offset(3)));
        assert_eq!(memberships.members(Offset(3)), Some(&BTreeMap::new()), "it is private for ever");
    }
}
