//! Who comes to a private channel, and who goes.

use scrollback_log::{Offset, Stamp};
use scrollback_projections::facts::{MembershipChanged, Role};

use super::{Granted, Granting, active, records};
use crate::commands::Refusal;
use crate::commands::overlay::State;
use crate::rights::Rights;

/// Whoever sees a private channel may add to it: its members, and owners.
pub(super) fn add(
    state: &mut State<'_>,
    channel: Offset,
    user: Offset,
    by: Offset,
    stamp: Stamp,
) -> Granting {
    active(state, by)?;
    private(state, channel, by)?;
    if !state.standing(user).is_some_and(|standing| standing.active) {
        return Err(Refusal::NotFound);
    }
    if let Some(since) = state.member_since(channel, user) {
        return Ok(Granted::Before(since));
    }
    state.overlay.membership_changed(channel, user, Some(stamp.offset));
    records([MembershipChanged { channel, user, member: true, by: Some(by) }])
}

/// Members leave; its creator and moderators, who are members if they see it, remove others, and owners do.
pub(super) fn remove(state: &mut State<'_>, channel: Offset, user: Offset, by: Offset) -> Granting {
    let actor = active(state, by)?;
    private(state, channel, by)?;
    if state.member_since(channel, user).is_none() {
        return Err(Refusal::NotFound);
    }
    let may_remove = user == by || actor.role >= Role::Moderator || state.has_created(by, channel);
    if !may_remove {
        return Err(Refusal::Forbidden);
    }
    state.overlay.membership_changed(channel, user, None);
    records([MembershipChanged { channel, user, member: false, by: Some(by) }])
}

/// The channel is there for somebody who acts, and has members.
fn private(state: &State<'_>, channel: Offset, by: Offset) -> Result<(), Refusal> {
    if !state.channel_is_seen(channel, by) {
        return Err(Refusal::NotFound);
    }
    if state.is_private(channel) { Ok(()) } else { Err(Refusal::NotPrivate) }
}
