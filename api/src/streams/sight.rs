//! What a reader may see of the events, at a moment: [`crate::rights`], in a form that is cheap to ask for every event and to
//! compare with another reader's.

use roaring::RoaringTreemap;
use scrollback_log::Offset;
use scrollback_projections::Views;

use super::frame::{Audience, Frame};
use crate::rights::Rights;

/// What a reader may see. Two readers with the same rights have equal sights, so that they can share what is made for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Sight {
    /// All there is: an owner.
    #[default]
    Everything,
    /// What is public, and some more.
    Part {
        /// The private channels that the reader is a member of, ascending.
        channels: Vec<Offset>,
        /// The reader, if there may be events of other channels that tell of their own membership.
        reader: Option<Offset>,
    },
}

impl Sight {
    /// What `user` may see now.
    pub(super) fn of(views: &Views, user: Offset) -> Sight {
        if views.is_active_owner(user) {
            return Sight::Everything;
        }
        let memberships = views.memberships();
        let reader = memberships.has_left(user).then_some(user);
        Sight::Part { channels: memberships.of_user(user).collect(), reader }
    }

    /// Whether the event with this frame may be seen.
    pub(super) fn shows(&self, frame: &Frame) -> bool {
        let Sight::Part { channels, reader } = self else { return true };
        let is_member =
            || frame.facets.channel.is_some_and(|channel| channels.binary_search(&channel).is_ok());
        match frame.audience {
            Audience::Everyone => true,
            Audience::Members => is_member(),
            Audience::MembersAnd(user) => *reader == Some(user) || is_member(),
        }
    }

    fn shows_channel(&self, channel: Offset) -> bool {
        match self {
            Sight::Everything => true,
            Sight::Part { channels, .. } => channels.binary_search(&channel).is_ok(),
        }
    }

    /// Which of the private channels that this sight shows a later one shows no more.
    pub(super) fn lost<'a>(
        &'a self,
        later: &'a Sight,
        private: &'a RoaringTreemap,
    ) -> impl Iterator<Item = Offset> + 'a {
        let (all, mine): (Option<_>, &[Offset]) = match self {
            Sight::Everything => (Some(private.iter().map(Offset)), &[]),
            Sight::Part { channels, .. } => (None, channels),
        };
        let shown = all.into_iter().flatten().chain(mine.iter().copied());
        shown.filter(|channel| !later.shows_channel(*channel))
    }
}
