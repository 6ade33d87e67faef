//! What must be carried over from a replaced log: what it deleted, and the rights that it took away.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use scrollback_log::remains::UNREADABLE_LISTED_MAX;
use scrollback_log::{NewRecord, Offset, Record};
use scrollback_projections::Views;
use scrollback_projections::facts::{
    self, ChannelDeleted, Fact, MembershipChanged, MessageDeleted, Name, Role, UserChanged,
};

use crate::node::NodeError;

/// What a log says after some record, as far as it concerns what came before.
#[derive(Debug, Default)]
pub(super) struct Since {
    common: Offset,
    deletions: Vec<Deleted>,
    users: BTreeMap<Offset, (Role, bool)>,
    /// By channel and user, whether they were a member last.
    members: BTreeMap<(Offset, Offset), bool>,
    lost: Lost,
    unknown: Vec<String>,
}

#[derive(Debug)]
enum Deleted {
    Message(MessageDeleted),
    Channel(ChannelDeleted),
}

/// What was there and will be there no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Messages, deleted ones included.
    pub messages: u64,
    /// Channels, deleted ones included.
    pub channels: u64,
    /// Users.
    pub users: u64,
}

/// What is carried over into a restored log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    messages: Vec<MessageDeleted>,
    channels: Vec<ChannelDeleted>,
    users: Vec<(UserChanged, String, String)>,
    members: Vec<MembershipChanged>,
    /// Owners whose rights were taken away and are not, because there would be no owner left.
    pub owners_kept: Vec<String>,
}

impl Since {
    pub(super) fn after(common: Offset) -> Since {
        Since { common, ..Since::default() }
    }

    /// Takes note of a record after the common past.
    pub(super) fn take(&mut self, record: &Record<'_>) -> ControlFlow<()> {
        match Fact::decode(record) {
            Ok(Fact::MessageDeleted(fact)) if fact.message <= self.common => {
                self.deletions.push(Deleted::Message(fact));
            }
            Ok(Fact::ChannelDeleted(fact)) if fact.channel <= self.common => {
                self.deletions.push(Deleted::Channel(fact));
            }
            Ok(Fact::UserChanged(fact)) if fact.user <= self.common => {
                self.users.insert(fact.user, (fact.role, fact.active));
            }
            Ok(Fact::MembershipChanged(fact)) if fact.channel.max(fact.user) <= self.common => {
                self.members.insert((fact.channel, fact.user), fact.member);
            }
            Ok(Fact::MessageSent(_) | Fact::MessageImported(_)) => self.lost.messages += 1,
            Ok(Fact::ChannelCreated(_)) => self.lost.channels += 1,
            Ok(Fact::UserCreated(_)) => self.lost.users += 1,
            Ok(_) => {}
            Err(error) if self.unknown.len() < UNREADABLE_LISTED_MAX => self.unknown.push(error.to_string()),
            Err(_) => {}
        }
        ControlFlow::Continue(())
    }

    pub(super) fn lost(&self) -> Lost {
        self.lost
    }

    /// What could be read and not understood.
    pub(super) fn unknown(&self) -> Vec<String> {
        self.unknown.clone()
    }

    /// What of it concerns the restored `views`.
    pub(super) fn carry(self, views: &Views) -> Carried {
        let known = |user: Option<Offset>| user.filter(|user| views.people().get(*user).is_some());
        let mut carried = Carried::default();
        for deleted in self.deletions {
            match deleted {
                Deleted::Message(fact) => {
                    let there = views.messages().of(fact.channel);
                    if there.is_some_and(|messages| messages.contains(fact.message)) {
                        carried.messages.push(MessageDeleted { by: known(fact.by), ..fact });
                    }
                }
                Deleted::Channel(fact) => {
                    if views.channels().get(fact.channel).is_some() {
                        carried.channels.push(ChannelDeleted { by: known(fact.by), ..fact });
                    }
                }
            }
        }
        let is_owner = |(user, role, active): (Offset, Role, bool)| {
            let (role, active) = self.users.get(&user).copied().unwrap_or((role, active));
            role == Role::Owner && active
        };
        let owner_left =
            views.people().iter().any(|(user, person)| is_owner((user, person.role, person.active)));
        for (user, (role, active)) in self.users {
            let Some(person) = views.people().get(user) else { continue };
            if (person.role, person.active) == (role, active) {
                continue;
            }
            if !owner_left && person.role == Role::Owner && person.active {
                carried.owners_kept.push(person.name.clone());
                continue;
            }
            let fact = UserChanged { user, role, active, by: None };
            carried.users.push((fact, person.name.clone(), person.folded.clone()));
        }
        for ((channel, user), member) in self.members {
            let there = views.channels().get(channel).is_some() && views.people().get(user).is_some();
            if there && views.memberships().is_member(channel, user) != member {
                carried.members.push(MembershipChanged { channel, user, member, by: None });
            }
        }
        carried
    }
}

impl Carried {
    /// How many messages are deleted again.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.messages.len()
    }

    /// How many channels are deleted again.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// How many users get the rights again that they had last.
    #[must_use]
    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// How many users are members again, or no longer, of a private channel, as they were last.
    #[must_use]
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// The records that say it. Members and messages come before their channels.
    pub(super) fn records(&self) -> Result<Vec<NewRecord>, NodeError> {
        let users =
            self.users.iter().map(|(fact, shown, folded)| facts::record_with(fact, &Name { shown, folded }));
        let members = self.members.iter().map(facts::record);
        let messages = self.messages.iter().map(facts::record);
        let channels = self.channels.iter().map(facts::record);
        let records: Result<Vec<NewRecord>, _> =
            users.chain(members).chain(messages).chain(channels).collect();
        records.map_err(NodeError::unencodable)
    }
}
