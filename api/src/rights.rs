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
/// it may be seen; whether it is there is another question. All is looked up in any case, so that the time tells nothing:
/// whoever asks whether a thing is there asks this too, whatever the answer.
#[must_use]
pub fn may_see<R: Rights>(rights: &R, user: Offset, channel: Offset) -> bool {
    let (is_member, rules) = (rights.is_member(channel, user), rights.is_active_owner(user));
    !rights.is_private(channel) | is_member | rules
}

/// The channel that holds the live message `message`, if `user` may see it. All channels are looked at, wherever it is.
#[must_use]
pub fn channel_of(views: &Views, user: Offset, message: Offset) -> Option<Offset> {
    let holding = views.messages().iter().filter(|(_, messages)| messages.contains(message));
    let holding = holding.fold(None, |_, (channel, _)| Some(channel));
    let is_seen = may_see(views, user, holding.unwrap_or(message));
    holding.filter(|_| is_seen)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use scrollback_projections::testing::{Dice, History, SETTINGS};

    use super::*;

    proptest! {
        #[test]
        fn members_and_active_owners_see_what_is_private_and_everybody_the_rest(dice in vec(any::<Dice>(), 0..200)) {
            let history = History::new(&dice);
            let mut views = Views::new(SETTINGS);
            for sealed in history.sealed() {
                views.apply(&sealed.as_record()).unwrap();
            }
            for user in &history.users {
                let is_owner = user.active && user.role == Role::Owner;
                let sees = |channel: Offset| {
                    let known = history.channels.iter().find(|known| known.offset == channel);
                    is_owner || known.is_none_or(|known| {
                        !known.private || known.members.iter().any(|(member, _)| *member == user.offset)
                    })
                };
                for offset in (0..history.head().0 + 2).map(Offset) {
                    prop_assert_eq!(may_see(&views, user.offset, offset), sees(offset));
                    let live = history.messages.iter().find(|message| message.offset == offset && message.deleted.is_none());
                    let expected = live.map(|message| message.channel).filter(|channel| sees(*channel));
                    prop_assert_eq!(channel_of(&views, user.offset, offset), expected);
                }
            }
        }
    }
}
