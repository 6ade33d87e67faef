//! What a client knows, and the fold that keeps it up to date: state and event give the next state, and nothing else plays
//! a part. Sockets and clocks are elsewhere.
//!
//! Two events need something that is not in them. Whoever joins a private channel needs its history, which lies before the
//! event: [`State::needs`] says so, and [`State::apply`] takes it along, so that no state shows the channel half. And whoever
//! becomes an owner, or is one no more, sees other private channels without an event for each; only a fresh boot says which.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::{Event, Role, What};
use crate::shapes::{Boot, Channel, Message, User};

/// A message's place among those of its channel: its time, then its offset. Times are written with a fixed width, so their
/// text compares as they do.
type Place = (String, u64);

/// What the user of a client may see, exact at one offset: made by a boot, kept up to date by the events after it.
///
/// Of each channel it holds the newest messages that the boot brought and all that came since. What is deleted is not in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    me: String,
    offset: u64,
    resume_token: String,
    /// The order of their ids is not that of their creation, which is what people expect of a list.
    users: Vec<User>,
    channels: Vec<Known>,
}

/// A channel and its messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    channel: Channel,
    #[serde(with = "messages")]
    messages: BTreeMap<Place, Message>,
}

/// A channel that the user has joined, with its newest messages, as the server shows it at the event that says so or later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    /// The channel.
    pub(crate) channel: Channel,
    /// Its newest messages.
    pub(crate) messages: Vec<Message>,
}

/// What has to be known beside an event before it can be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing.
    Nothing,
    /// The channel with this id, if the user may still see it.
    Channel(String),
    /// A fresh boot in its place: the user sees other private channels now.
    Boot,
}

impl State {
    /// The state that a boot brings.
    #[must_use]
    pub fn new(boot: Boot) -> State {
        let mut state = State {
            me: boot.user.id,
            offset: boot.resume_point,
            resume_token: boot.resume_token,
            users: boot.users,
            channels: boot.channels.into_iter().map(Known::new).collect(),
        };
        for message in boot.messages {
            state.insert(message);
        }
        state
    }

    /// The id of the user whose state this is.
    #[must_use]
    pub fn me(&self) -> &str {
        &self.me
    }

    /// The offset at which this is exact: that of the boot, or of the newest event that was applied.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// From where to follow on. It may lie before [`State::offset`] while events that came together are applied one by one.
    #[must_use]
    pub fn resume_token(&self) -> &str {
        &self.resume_token
    }

    /// All users, the oldest first.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.iter()
    }

    /// The user with this id.
    #[must_use]
    pub fn user(&self, id: &str) -> Option<&User> {
        self.users.iter().find(|user| user.id == id)
    }

    /// The channels that the user may see, the oldest first.
    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.channels.iter().map(|known| &known.channel)
    }

    /// The channel with this id, if the user may see it.
    #[must_use]
    pub fn channel(&self, id: &str) -> Option<&Channel> {
        self.known(id).map(|known| &known.channel)
    }

    /// The messages of a channel that are known, by time, then offset.
    pub fn messages(&self, channel: &str) -> impl DoubleEndedIterator<Item = &Message> {
        self.known(channel).into_iter().flat_map(|known| known.messages.values())
    }

    /// What has to be known beside `event` before it can be applied.
    pub(crate) fn needs(&self, event: &Event) -> Needs {
        match &event.what {
            // One that is known already was seen from its creation on, or is an owner's: its messages are here.
            What::MemberAdded { channel, user, .. } if *user == self.me && self.known(channel).is_none() => {
                Needs::Channel(channel.clone())
            }
            What::User { id, role, .. } if *id == self.me && (*role == Role::Owner) != self.is_owner() => {
                Needs::Boot
            }
            _ => Needs::Nothing,
        }
    }

    /// Applies an event, with the channel that it [needs](State::needs); without it if the user may not see that any more.
    /// Returns whether it is news: an event that was applied before changes nothing.
    pub(crate) fn apply(&mut self, event: &Event, joined: Option<Joined>) -> bool {
        if event.offset <= self.offset {
            return false;
        }
        self.offset = event.offset;
        match &event.what {
            What::User { id, name, role, .. } => self.put_user(id, name, *role),
            What::ChannelCreated { id, name, private, creator, deleted_at: None } => {
                self.put_channel(Channel {
                    id: id.clone(),
                    name: name.clone(),
                    at: event.at.clone(),
                    private: *private,
                    creator: creator.clone(),
                    last_offset: event.offset,
                    offset: event.offset,
                });
            }
            What::ChannelDeleted { id, .. } => self.drop_channel(id),
            What::MessageSent { id, channel, sender, sender_name, body, deleted_at } => {
                self.touch(channel, event.offset);
                self.insert(Message {
                    id: id.clone(),
                    at: event.at.clone(),
                    channel: channel.clone(),
                    sender: sender.clone(),
                    sender_name: sender_name.clone(),
                    body: body.clone(),
                    offset: event.offset,
                    deleted_at: deleted_at.clone(),
                });
            }
            What::MessageDeleted { id, channel, .. } => {
                self.touch(channel, event.offset);
                if let Some(known) = self.known_mut(channel) {
                    known.messages.retain(|_, message| message.id != *id);
                }
            }
            What::MemberAdded { user, .. } if *user == self.me => {
                if let Some(Joined { channel, messages }) = joined {
                    self.put_channel(channel);
                    messages.into_iter().for_each(|message| self.insert(message));
                }
            }
            What::MemberRemoved { channel, user, .. } if *user == self.me && !self.is_owner() => {
                self.drop_channel(channel);
            }
            // Of a channel that is gone by now nothing is shown; its deletion follows. Who else is a member is not kept.
            What::ChannelCreated { .. }
            | What::MemberAdded { .. }
            | What::MemberRemoved { .. }
            | What::Unknown => {}
        }
        true
    }

    /// Goes on from here from now on.
    pub(crate) fn pass(&mut self, resume_token: String) {
        self.resume_token = resume_token;
    }

    fn is_owner(&self) -> bool {
        self.user(&self.me).is_some_and(|me| me.role == Role::Owner)
    }

    fn known(&self, id: &str) -> Option<&Known> {
        self.channels.iter().find(|known| known.channel.id == id)
    }

    fn known_mut(&mut self, id: &str) -> Option<&mut Known> {
        self.channels.iter_mut().find(|known| known.channel.id == id)
    }

    fn put_user(&mut self, id: &str, name: &str, role: Role) {
        let user = User { id: id.to_owned(), name: name.to_owned(), role };
        match self.users.iter_mut().find(|user| user.id == id) {
            Some(known) => *known = user,
            None => self.users.push(user),
        }
    }

    /// Adds a channel in its place: one that was joined may be older than others.
    fn put_channel(&mut self, channel: Channel) {
        let place = self.channels.partition_point(|known| known.channel.offset < channel.offset);
        if self.channels.get(place).is_none_or(|known| known.channel.id != channel.id) {
            self.channels.insert(place, Known::new(channel));
        }
    }

    fn drop_channel(&mut self, id: &str) {
        self.channels.retain(|known| known.channel.id != id);
    }

    /// Notes the newest record about a channel. A history that was read later than its event is ahead of it.
    fn touch(&mut self, channel: &str, offset: u64) {
        if let Some(Known { channel, .. }) = self.known_mut(channel) {
            channel.last_offset = channel.last_offset.max(offset);
        }
    }

    /// Adds a message, unless it is gone already or its channel is not to be seen: then whatever says so is still to come,
    /// or will never come.
    fn insert(&mut self, message: Message) {
        if message.deleted_at.is_none()
            && let Some(known) = self.known_mut(&message.channel)
        {
            known.messages.insert((message.at.clone(), message.offset), message);
        }
    }
}

impl Known {
    fn new(channel: Channel) -> Known {
        Known { channel, messages: BTreeMap::new() }
    }
}

/// Messages are kept as a list: JSON has no keys that are pairs.
mod messages {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Place;
    use crate::shapes::Message;

    pub(super) fn serialize<S: Serializer>(
        messages: &BTreeMap<Place, Message>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(messages.values())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Place, Message>, D::Error> {
        let messages = Vec::<Message>::deserialize(deserializer)?;
        Ok(messages.into_iter().map(|message| ((message.at.clone(), message.offset), message)).collect())
    }
}

#[cfg(test)]
mod tests;
