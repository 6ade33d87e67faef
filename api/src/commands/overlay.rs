//! What has been decided since the views were last brought up to date: the batch's own events, so that each command of a
//! batch is decided as if those before it were already applied. Dropped when the batch is applied or given up.

use std::collections::{HashMap, HashSet};

use scrollback_log::Offset;
use scrollback_projections::Views;
use scrollback_projections::facts::{KeyDigest, Role};

use super::MessageRef;
use crate::names::Name;
use crate::rights::{Rights, may_see};

/// Decisions that are not applied yet.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    people: HashMap<Offset, Standing>,
    /// As compared; the others too.
    user_names: HashSet<String>,
    channel_names: HashMap<String, Offset>,
    deleted_channels: HashSet<Offset>,
    /// Channels with a record newer than the views know.
    touched_channels: HashSet<Offset>,
    deleted_messages: HashSet<Offset>,
    /// Channel and user, and the record that made them a member; none for those who are members no longer.
    memberships: HashMap<(Offset, Offset), Option<Offset>>,
    used_invitations: HashSet<Offset>,
    keys: HashMap<KeyDigest, Offset>,
    import_steps: usize,
}

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) role: Role,
    pub(super) active: bool,
}

impl Standing {
    pub(super) fn rules(self) -> bool {
        self.active && self.role == Role::Owner
    }
}

/// The published views as the overlay changes them.
pub(super) struct State<'a> {
    pub(super) views: &'a Views,
    pub(super) overlay: &'a mut Overlay,
}

impl Rights for State<'_> {
    fn is_private(&self, channel: Offset) -> bool {
        // Nobody can ask of one that was decided in this batch: see `channel_is_live`.
        self.views.is_private(channel)
    }

    fn is_member(&self, channel: Offset, user: Offset) -> bool {
        self.member_since(channel, user).is_some()
    }

    fn is_active_owner(&self, user: Offset) -> bool {
        self.standing(user).is_some_and(Standing::rules)
    }
}

impl State<'_> {
    pub(super) fn nobody_is_there(&self) -> bool {
        self.views.people().is_empty() && self.overlay.people.is_empty()
    }

    pub(super) fn standing(&self, user: Offset) -> Option<Standing> {
        let published = || {
            let person = self.views.people().get(user)?;
            Some(Standing { role: person.role, active: person.active })
        };
        self.overlay.people.get(&user).copied().or_else(published)
    }

    /// Whether an owner other than `user` may log in.
    pub(super) fn another_owner_than(&self, user: Offset) -> bool {
        let others = |offset: &Offset| *offset != user;
        self.overlay.people.iter().any(|(offset, standing)| others(offset) && standing.rules())
            || self.views.people().iter().any(|(offset, person)| {
                others(&offset)
                    && !self.overlay.people.contains_key(&offset)
                    && Standing { role: person.role, active: person.active }.rules()
            })
    }

    pub(super) fn user_name_is_taken(&self, name: &Name) -> bool {
        self.overlay.user_names.contains(name.folded())
            || self.views.people().by_folded(name.folded()).is_some()
    }

    pub(super) fn channel_of_name(&self, name: &Name) -> Option<Offset> {
        let published = || {
            let (channel, _) = self.views.channels().by_folded(name.folded())?;
            (!self.overlay.deleted_channels.contains(&channel)).then_some(channel)
        };
        self.overlay.channel_names.get(name.folded()).copied().or_else(published)
    }

    /// Whether the channel is there. One that was decided in this batch is not: nobody can know of it yet.
    pub(super) fn channel_is_live(&self, channel: Offset) -> bool {
        self.views.channels().get(channel).is_some() && !self.overlay.deleted_channels.contains(&channel)
    }

    pub(super) fn has_created(&self, user: Offset, channel: Offset) -> bool {
        self.views.channels().get(channel).is_some_and(|known| known.creator == Some(user))
    }

    /// Whether the channel is there for `user`.
    pub(super) fn channel_is_seen(&self, channel: Offset, user: Offset) -> bool {
        let is_seen = may_see(self, user, channel);
        self.channel_is_live(channel) && is_seen
    }

    /// The record that made `user` a member of the private channel `channel`, if they are one.
    pub(super) fn member_since(&self, channel: Offset, user: Offset) -> Option<Offset> {
        let published = || self.views.memberships().members(channel)?.get(&user).copied();
        self.overlay.memberships.get(&(channel, user)).copied().unwrap_or_else(published)
    }

    /// Whether `last_offset` is still the channel's newest record.
    pub(super) fn channel_is_untouched(&self, channel: Offset, last_offset: Offset) -> bool {
        self.views.channels().get(channel).is_some_and(|known| known.last_offset == last_offset)
            && !self.overlay.touched_channels.contains(&channel)
    }

    pub(super) fn message_is_live(&self, message: &MessageRef) -> bool {
        self.channel_is_live(message.channel)
            && !self.overlay.deleted_messages.contains(&message.offset)
            && self
                .views
                .messages()
                .of(message.channel)
                .is_some_and(|messages| messages.contains(message.offset))
    }

    /// The invitation is neither used nor over, as far as the views know.
    pub(super) fn invitation_is_unused(&self, invitation: Offset) -> bool {
        self.views.invitations().get(invitation).is_some()
            && !self.overlay.used_invitations.contains(&invitation)
    }

    pub(super) fn record_of_key(&self, key: Option<KeyDigest>) -> Option<Offset> {
        let key = key?;
        self.overlay.keys.get(&key).copied().or_else(|| self.views.keys().get(&key))
    }

    pub(super) fn import_steps(&self) -> usize {
        self.views.imports().len() + self.overlay.import_steps
    }
}

impl Overlay {
    pub(super) fn user_created(&mut self, user: Offset, name: &Name, role: Role, invitation: Option<Offset>) {
        self.people.insert(user, Standing { role, active: true });
        self.user_names.insert(name.folded().to_owned());
        self.used_invitations.extend(invitation);
    }

    pub(super) fn user_changed(&mut self, user: Offset, standing: Standing) {
        self.people.insert(user, standing);
    }

    pub(super) fn channel_created(&mut self, channel: Offset, name: &Name, key: Option<KeyDigest>) {
        self.channel_names.insert(name.folded().to_owned(), channel);
        self.key_used(key, channel);
    }

    pub(super) fn channel_deleted(&mut self, channel: Offset) {
        self.deleted_channels.insert(channel);
    }

    /// `since` is the record that makes them a member, none if they are one no longer.
    pub(super) fn membership_changed(&mut self, channel: Offset, user: Offset, since: Option<Offset>) {
        self.memberships.insert((channel, user), since);
    }

    pub(super) fn message_sent(&mut self, channel: Offset, message: Offset, key: Option<KeyDigest>) {
        self.touched_channels.insert(channel);
        self.key_used(key, message);
    }

    pub(super) fn message_deleted(&mut self, message: &MessageRef) {
        self.touched_channels.insert(message.channel);
        self.deleted_messages.insert(message.offset);
    }

    pub(super) fn import_advanced(&mut self) {
        self.import_steps += 1;
    }

    fn key_used(&mut self, key: Option<KeyDigest>, record: Offset) {
        if let Some(key) = key {
            self.keys.insert(key, record);
        }
    }
}
