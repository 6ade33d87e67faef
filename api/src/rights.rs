//! Who may see which channel: the one rule, and the only place that knows it.
//!
//! A public channel is everybody's. A private one is its members' and the active owners'. To whoever may not see it, it is
//! not there: whatever they ask of it by its id is answered as for an id that never was. Rights are those of the moment of
//! reading, whatever state is read: who was removed sees nothing of the past either, who was added sees all of it.

use scrollback_log::Offset;
use scrollback_projections::Views;
use scrollback_projections::facts::Role;

/// A state that the rule can be asked of: the views, or what a batch of commands makes of them.
pub trait Rights {
    /// Whether `channel` is, or was until it was deleted, a private one.
    fn is_private(&self, channel: Offset) -> bool;

    /// Whether `user` is a member of the private channel `channel`; of a deleted one, whether they were at its end.
    fn is_member(&self, channel: Offset, user: Offset) -> bool;

    /// Whether `user` is an owner who may log in.
    fn is_active_owner(&self, user: Offset) -> bool;
}

impl Rights for Views {
    fn is_private(&self, channel: Offset) -> bool {
        self.memberships().is_private(channel)
    }

    fn is_member(&self, channel: Offset, user: Offset) -> bool {
        self.memberships().is_member(channel, user)
    }

    fn is_active_owner(&self, user: Offset) -> bool {
        self.people().get(user).is_some_and(|person| person.active && person.role == Role::Owner)
    }
}

/// Whether `user` may see `channel`: its name, its members, its messages, its events. What is no channel hides nothing, so
/// it may be seen; whether it is there is another question.
#[must_use]
pub fn may_see<R: Rights>(rights: &R, user: Offset, channel: Offset) -> bool {
    !rights.is_private(channel) || rights.is_member(channel, user) || rights.is_active_owner(user)
}

/// The channel that holds the live message `message`, if `user` may see it. Of one that is hidden from them all channels are
/// looked at, as of one that is not there.
#[must_use]
pub fn channel_of(views: &Views, user: Offset, message: Offset) -> Option<Offset> {
    let holding = views.messages().iter().filter(|(_, messages)| messages.contains(message));
    holding.map(|(channel, _)| channel).find(|channel| may_see(views, user, *channel))
}
