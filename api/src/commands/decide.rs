//! The decisions: from a command and the state to records, or to a refusal. Nothing here reads a clock, a disk or a
//! random number.
//!
//! Each decision checks everything first and only then takes note of what it decided, so a refused command leaves no
//! trace in the overlay.

use std::collections::HashMap;

use scrollback_log::{Decision, NewRecord, Offset, Stamp};
use scrollback_projections::facts::{
    self, Action, Audited, Body, ChannelCreated, ChannelDeleted, ImportAdvanced, Imported, InvitationIssued,
    Kept, KeyDigest, MessageDeleted, MessageImported, MessageSent, Reason, Role, UserChanged, UserCreated,
    VaultKey,
};

use super::overlay::{Standing, State};
use super::{Answer, Command, ExpiringChannel, ImportStep, MessageRef, Refusal};
use crate::names::Name;
use crate::rights::may_see;

mod members;

/// What a granted command becomes.
enum Granted {
    /// These records.
    Records(Vec<NewRecord>),
    /// Nothing: it was granted before, as this record.
    Before(Offset),
}

type Granting = Result<Granted, Refusal>;

/// Decides one command on top of the published views and of what the batch has decided before it.
pub(super) fn decide(state: &mut State<'_>, command: &Command, stamp: Stamp) -> Decision<Answer> {
    let granting = match command {
        Command::SetUp { name, credential } => set_up(state, name, *credential, stamp),
        Command::AcceptInvitation { invitation, name, credential } => {
            accept_invitation(state, *invitation, name, *credential, stamp)
        }
        Command::AddUser { name, role, credential } => {
            create_user(state, name, *role, *credential, None, stamp)
        }
        Command::ChangeUser { user, role, active, by } => change_user(state, *user, *role, *active, *by),
        Command::IssueInvitation { issuer, secret, lifetime } => active(state, *issuer).and_then(|_| {
            records([InvitationIssued {
                issuer: *issuer,
                expires: stamp.time.after(*lifetime),
                secret: *secret,
            }])
        }),
        Command::CreateChannel { creator, name, private, key } => {
            create_channel(state, *creator, name, *private, *key, stamp)
        }
        Command::DeleteChannel { channel, by } => delete_channel(state, *channel, *by),
        Command::AddMember { channel, user, by } => members::add(state, *channel, *user, *by, stamp),
        Command::RemoveMember { channel, user, by } => members::remove(state, *channel, *user, *by),
        Command::SendMessage { channel, sender, body, key } => {
            send_message(state, *channel, *sender, body, *key, stamp)
        }
        Command::DeleteMessage { message, by } => delete_message(state, message, *by),
        Command::Expire { messages, channels } => expire(state, messages, channels),
        Command::Import(step) => import(state, step, stamp),
        Command::Note { by, action, subject } => note(state, *by, *action, *subject),
    };
    let (records, answer) = match granting {
        Ok(Granted::Records(records)) => {
            let count = records.len() as u64;
            (records, Answer::Done { offset: stamp.offset, time: stamp.time, records: count })
        }
        Ok(Granted::Before(offset)) => (Vec::new(), Answer::Before(offset)),
        Err(refusal) => (Vec::new(), Answer::Refused(refusal)),
    };
    Decision { records, answer }
}

fn note(state: &State<'_>, by: Option<Offset>, action: Action, subject: Option<Offset>) -> Granting {
    if let Some(by) = by {
        active(state, by)?;
    }
    records([Audited { by, action, subject }])
}

fn set_up(state: &mut State<'_>, name: &Name, credential: VaultKey, stamp: Stamp) -> Granting {
    if !state.nobody_is_there() {
        return Err(Refusal::AlreadySetUp);
    }
    create_user(state, name, Role::Owner, credential, None, stamp)
}

fn accept_invitation(
    state: &mut State<'_>,
    invitation: Offset,
    name: &Name,
    credential: VaultKey,
    stamp: Stamp,
) -> Granting {
    let open = state.views.invitations().get(invitation).is_some_and(|known| known.is_open_at(stamp.time));
    if !open || !state.invitation_is_unused(invitation) {
        return Err(Refusal::NotFound);
    }
    create_user(state, name, Role::Member, credential, Some(invitation), stamp)
}

fn create_user(
    state: &mut State<'_>,
    name: &Name,
    role: Role,
    credential: VaultKey,
    invitation: Option<Offset>,
    stamp: Stamp,
) -> Granting {
    if state.user_name_is_taken(name) {
        return Err(Refusal::NameTaken);
    }
    let record = with_text(&UserCreated { role, credential, invitation }, &text_of(name))?;
    state.overlay.user_created(stamp.offset, name, role, invitation);
    Ok(Granted::Records(vec![record]))
}

fn change_user(
    state: &mut State<'_>,
    user: Offset,
    role: Option<Role>,
    is_active: Option<bool>,
    by: Option<Offset>,
) -> Granting {
    if let Some(by) = by
        && active(state, by)?.role != Role::Owner
    {
        return Err(Refusal::Forbidden);
    }
    let (Some(person), Some(before)) = (state.views.people().get(user), state.standing(user)) else {
        return Err(Refusal::NotFound);
    };
    let after = Standing { role: role.unwrap_or(before.role), active: is_active.unwrap_or(before.active) };
    let stays_owner = after.active && after.role == Role::Owner;
    let was_owner = before.active && before.role == Role::Owner;
    if was_owner && !stays_owner && !state.another_owner_than(user) {
        return Err(Refusal::LastOwner);
    }
    let kept = UserChanged { user, role: after.role, active: after.active, by };
    let record = with_text(&kept, &facts::Name { shown: &person.name, folded: &person.folded })?;
    state.overlay.user_changed(user, after);
    Ok(Granted::Records(vec![record]))
}

fn create_channel(
    state: &mut State<'_>,
    creator: Offset,
    name: &Name,
    private: bool,
    key: Option<KeyDigest>,
    stamp: Stamp,
) -> Granting {
    active(state, creator)?;
    if let Some(before) = state.record_of_key(key) {
        return Ok(Granted::Before(before));
    }
    if state.channel_of_name(name).is_some() {
        return Err(Refusal::NameTaken);
    }
    let record = with_text(&ChannelCreated { creator: Some(creator), private, key }, &text_of(name))?;
    state.overlay.channel_created(stamp.offset, name, key);
    Ok(Granted::Records(vec![record]))
}

fn delete_channel(state: &mut State<'_>, channel: Offset, by: Offset) -> Granting {
    let actor = active(state, by)?;
    if !state.channel_is_seen(channel, by) {
        return Err(Refusal::NotFound);
    }
    if !state.has_created(by, channel) && actor.role < Role::Moderator {
        return Err(Refusal::Forbidden);
    }
    state.overlay.channel_deleted(channel);
    records([ChannelDeleted { channel, by: Some(by), reason: Reason::Deleted }])
}

fn send_message(
    state: &mut State<'_>,
    channel: Offset,
    sender: Offset,
    body: &str,
    key: Option<KeyDigest>,
    stamp: Stamp,
) -> Granting {
    active(state, sender)?;
    // The rights before the key: to whoever has lost them the channel is not there, whatever they sent to it once.
    if !may_see(state, sender, channel) {
        return Err(Refusal::NotFound);
    }
    // And the key before anything else about the channel: a retry gets the first answer even when the channel has gone since.
    if let Some(before) = state.record_of_key(key) {
        return Ok(Granted::Before(before));
    }
    if !state.channel_is_live(channel) {
        return Err(Refusal::NotFound);
    }
    let record = with_text(&MessageSent { channel, sender, key }, &Body { body })?;
    state.overlay.message_sent(channel, stamp.offset, key);
    Ok(Granted::Records(vec![record]))
}

fn delete_message(state: &mut State<'_>, message: &MessageRef, by: Offset) -> Granting {
    let actor = active(state, by)?;
    if !state.message_is_live(message) || !state.channel_is_seen(message.channel, by) {
        return Err(Refusal::NotFound);
    }
    if message.sender != Some(by) && actor.role < Role::Moderator {
        return Err(Refusal::Forbidden);
    }
    state.overlay.message_deleted(message);
    records([message_deleted(message, Some(by), Reason::Deleted)])
}

fn expire(state: &mut State<'_>, messages: &[MessageRef], channels: &[ExpiringChannel]) -> Granting {
    let mut expired = Vec::new();
    // Channels first: a message of theirs that expires in its own right would be the newest record about them.
    for ExpiringChannel { channel, last_offset } in channels {
        if state.channel_is_live(*channel) && state.channel_is_untouched(*channel, *last_offset) {
            expired.push(without_text(&ChannelDeleted {
                channel: *channel,
                by: None,
                reason: Reason::Expired,
            })?);
            state.overlay.channel_deleted(*channel);
        }
    }
    for message in messages {
        if state.message_is_live(message) {
            expired.push(without_text(&message_deleted(message, None, Reason::Expired))?);
            state.overlay.message_deleted(message);
        }
    }
    Ok(Granted::Records(expired))
}

fn import(state: &mut State<'_>, step: &ImportStep, stamp: Stamp) -> Granting {
    if step.steps_before != state.import_steps() {
        return Err(Refusal::ImportMoved);
    }
    let mut imported = Vec::with_capacity(step.lines.len() + 1);
    let mut channels: HashMap<&str, Offset> = HashMap::new();
    let mut created = Vec::new();
    // The channels first, so that the messages lie in one row and their lines can be counted from its first record.
    for line in &step.lines {
        if channels.contains_key(line.channel.folded()) {
            continue;
        }
        let channel = match state.channel_of_name(&line.channel) {
            Some(channel) => channel,
            None => {
                let channel = stamp.offset.plus(imported.len() as u64);
                let kept = ChannelCreated { creator: None, private: false, key: None };
                imported.push(with_text(&kept, &text_of(&line.channel))?);
                created.push((channel, &line.channel));
                channel
            }
        };
        channels.insert(line.channel.folded(), channel);
    }
    let first = stamp.offset.plus(imported.len() as u64);
    let mut last: Option<(&str, Offset)> = None;
    for line in &step.lines {
        let folded = line.channel.folded();
        // Most lines go where the line before went.
        let channel = match last.filter(|(name, _)| *name == folded).map(|(_, channel)| channel) {
            Some(channel) => channel,
            None => channels.get(folded).copied().ok_or(Refusal::NotFound)?,
        };
        last = Some((folded, channel));
        let text = Imported { sender_name: &line.sender_name, body: &line.body };
        imported.push(with_text(&MessageImported { channel, at: line.at }, &text)?);
    }
    imported.push(without_text(&ImportAdvanced {
        lines_before: step.lines_before,
        lines: step.lines_before + step.lines.len() as u64,
        digest: step.digest,
        first,
    })?);
    for (channel, name) in created {
        state.overlay.channel_created(channel, name, None);
    }
    for channel in channels.values() {
        state.overlay.message_sent(*channel, first, None);
    }
    state.overlay.import_advanced();
    Ok(Granted::Records(imported))
}

/// The standing of somebody who acts, who must be active.
fn active(state: &State<'_>, user: Offset) -> Result<Standing, Refusal> {
    state.standing(user).filter(|standing| standing.active).ok_or(Refusal::Inactive)
}

fn message_deleted(message: &MessageRef, by: Option<Offset>, reason: Reason) -> MessageDeleted {
    let MessageRef { offset, channel, sender, imported_at } = *message;
    MessageDeleted { message: offset, channel, sender, imported_at, by, reason }
}

fn text_of(name: &Name) -> facts::Name<'_> {
    facts::Name { shown: name.shown(), folded: name.folded() }
}

fn records<K: Kept, const N: usize>(kept: [K; N]) -> Granting {
    kept.iter().map(without_text).collect::<Result<_, _>>().map(Granted::Records)
}

fn without_text<K: Kept>(kept: &K) -> Result<NewRecord, Refusal> {
    facts::record(kept).map_err(|_| Refusal::TooLarge)
}

fn with_text<'a, K: Kept>(kept: &K, text: &K::Text<'a>) -> Result<NewRecord, Refusal> {
    facts::record_with(kept, text).map_err(|_| Refusal::TooLarge)
}

#[cfg(test)]
mod tests;
