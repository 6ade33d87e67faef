//! The views, and the one step that a record takes them on by.
//!
//! The fold judges whether a record *can* follow the records before it (what it names is there, a name it takes is free),
//! not whether somebody was *allowed* to do it: that was decided before it was written, by rules that may change.
//! What cannot follow is an error and changes nothing.

use std::io::{self, Write};
use std::time::Duration;

use roaring::RoaringTreemap;
use scrollback_log::{Deletion, Offset, Record, Timestamp};
use serde::{Deserialize, Serialize};

use crate::facts::{self, Fact, FactError, KeyDigest, Name};
use crate::pieces::{PieceError, PieceReader, PieceWriter};
use crate::{
    Audit, Channel, Channels, ImportStep, Imports, Invitation, Invitations, Keys, Memberships, Messages,
    Origins, People, Person, TimeIndex,
};

/// What the views depend on beside the records. Other settings make other views, so a change means a rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewSettings {
    /// How long an idempotency key is remembered, in log time.
    pub key_retention: Duration,
}

impl Default for ViewSettings {
    fn default() -> ViewSettings {
        ViewSettings { key_retention: Duration::from_secs(30 * 24 * 60 * 60) }
    }
}

/// The texts that a deletion named: to be masked from now on and erased.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// The deletion's record.
    pub deletion: Deletion,
    /// The records whose text is gone. Those that an earlier deletion named are not named again.
    pub targets: RoaringTreemap,
}

/// What all records up to [`Views::at`] add up to.
#[derive(Clone, Debug)]
pub struct Views {
    settings: ViewSettings,
    at: Offset,
    time: Timestamp,
    origins: Origins,
    people: People,
    channels: Channels,
    messages: Messages,
    times: TimeIndex,
    invitations: Invitations,
    keys: Keys,
    imports: Imports,
    audit: Audit,
    memberships: Memberships,
}

/// A record cannot be folded into the views. They are as they were before it.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// Not the next record.
    #[error("record {found} was given to views that stand at {at}; only record {} can follow", .at.next())]
    OutOfOrder {
        /// Where the views stand.
        at: Offset,
        /// The record that was given.
        found: Offset,
    },
    /// The record cannot follow those before it: the log is damaged, or written by a version with other rules.
    #[error("record {offset} contradicts the records before it: {what}; run `scrollback verify`")]
    Contradiction {
        /// The record.
        offset: Offset,
        /// What is wrong with it.
        what: Contradiction,
    },
    /// The record is not a fact that this version knows.
    #[error(transparent)]
    Fact(#[from] FactError),
}

/// In what way a record contradicts those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// The first record of a log starts its origin.
    #[error("no origin has started before it")]
    NoOrigin,
    /// Times never go back.
    #[error("its time is earlier than the time of the record before it")]
    TimeWentBack,
    /// A name is taken twice.
    #[error("its name is already that of {0}")]
    NameTaken(Offset),
    /// A user's name cannot be gone: nothing deletes users.
    #[error("its name is gone, and nothing can have deleted it")]
    NameGone,
    /// It names a user who is not there.
    #[error("there is no user {0}")]
    NoSuchUser(Offset),
    /// It names a channel that is not there, or no longer.
    #[error("there is no channel {0}")]
    NoSuchChannel(Offset),
    /// It names a member of a channel that has none, because everybody sees it.
    #[error("channel {0} is not private")]
    NotPrivate(Offset),
    /// It makes a member of somebody who is one.
    #[error("user {0} is a member already")]
    AlreadyMember(Offset),
    /// It ends the membership of somebody who is no member.
    #[error("user {0} is no member")]
    NoSuchMember(Offset),
    /// It names a message that is not there, or no longer, or not in this channel at this time.
    #[error("there is no message {0} as it describes it")]
    NoSuchMessage(Offset),
    /// It names an invitation that is not open.
    #[error("there is no open invitation {0}")]
    NoSuchInvitation(Offset),
    /// An import's step counts other lines than there are records from its first one to itself.
    #[error("its lines are not the records right before it")]
    WrongLines,
}

/// What a record deletes, in the cheapest form: most delete nothing, and most deletions name one message.
pub(crate) enum Gone {
    Nothing,
    Message(Offset),
    Channel(RoaringTreemap),
}

impl Views {
    /// The views of an empty log.
    #[must_use]
    pub fn new(settings: ViewSettings) -> Views {
        Views {
            settings,
            at: Offset::BEGINNING,
            time: Timestamp::default(),
            origins: Origins::default(),
            people: People::default(),
            channels: Channels::default(),
            messages: Messages::default(),
            times: TimeIndex::default(),
            invitations: Invitations::default(),
            keys: Keys::default(),
            imports: Imports::default(),
            audit: Audit::default(),
            memberships: Memberships::default(),
        }
    }

    /// The newest record in these views; [`Offset::BEGINNING`] for none.
    #[must_use]
    pub fn at(&self) -> Offset {
        self.at
    }

    /// The time of the newest record in these views.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// What these views depend on beside the records.
    #[must_use]
    pub fn settings(&self) -> ViewSettings {
        self.settings
    }

    /// Which origin was in force where.
    #[must_use]
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// Who there is.
    #[must_use]
    pub fn people(&self) -> &People {
        &self.people
    }

    /// The live channels.
    #[must_use]
    pub fn channels(&self) -> &Channels {
        &self.channels
    }

    /// The live messages of the live channels.
    #[must_use]
    pub fn messages(&self) -> &Messages {
        &self.messages
    }

    /// From a time to a place in the log.
    #[must_use]
    pub fn times(&self) -> &TimeIndex {
        &self.times
    }

    /// The open invitations.
    #[must_use]
    pub fn invitations(&self) -> &Invitations {
        &self.invitations
    }

    /// The remembered idempotency keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// How far imports came.
    #[must_use]
    pub fn imports(&self) -> &Imports {
        &self.imports
    }

    /// Which records an audit reads.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Who is in which private channel.
    #[must_use]
    pub fn memberships(&self) -> &Memberships {
        &self.memberships
    }

    /// Takes the views one record on. Returns which texts the record deleted, if it is a deletion.
    ///
    /// A record whose text is gone folds like any other: the views at the head are the same, whether the texts of
    /// what was deleted on the way are still there or not.
    ///
    /// # Errors
    /// When the record is not the next one, is of an unknown kind, or contradicts those before it. The views are unchanged.
    pub fn apply(&mut self, record: &Record<'_>) -> Result<Option<Named>, FoldError> {
        Ok(self.fold(record)?.named(record))
    }

    /// The BLAKE3 hash of the views' canonical form: equal when the views are equal.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        #[allow(clippy::expect_used, reason = "a hasher takes all bytes, and the views' types all encode")]
        self.write_canonical(&mut hasher).expect("views can be encoded and a hasher written to");
        *hasher.finalize().as_bytes()
    }

    /// Writes the views in their canonical form: the same records and settings give the same bytes, whatever way the
    /// views came about.
    ///
    /// # Errors
    /// When `out` does not take the bytes.
    pub fn write_canonical(&self, out: &mut dyn Write) -> io::Result<()> {
        let out = &mut PieceWriter::new(out);
        Part::ALL.into_iter().try_for_each(|part| self.write_part(part, out))
    }

    /// The digest of each part of the views, so that of views that differ it can be said in what.
    #[must_use]
    pub fn part_digests(&self) -> [(Part, [u8; 32]); Part::ALL.len()] {
        Part::ALL.map(|part| {
            let mut hasher = blake3::Hasher::new();
            #[allow(
                clippy::expect_used,
                reason = "a hasher takes all bytes, and the views' types all encode"
            )]
            self.write_part(part, &mut PieceWriter::new(&mut hasher))
                .expect("views can be encoded and a hasher written to");
            (part, *hasher.finalize().as_bytes())
        })
    }

    fn write_part(&self, part: Part, out: &mut PieceWriter<'_>) -> io::Result<()> {
        match part {
            Part::Stand => out.value(&Stand { at: self.at, time: self.time }),
            Part::Origins => self.origins.write(out),
            Part::People => self.people.write(out),
            Part::Channels => self.channels.write(out),
            Part::Messages => self.messages.write(out),
            Part::Times => self.times.write(out),
            Part::Invitations => self.invitations.write(out),
            Part::Keys => self.keys.write(out),
            Part::Imports => self.imports.write(out),
            Part::Audit => self.audit.write(out),
            Part::Memberships => self.memberships.write(out),
        }
    }

    pub(crate) fn read_canonical(
        settings: ViewSettings,
        from: &mut PieceReader<'_>,
    ) -> Result<Views, PieceError> {
        let Stand { at, time } = from.value()?;
        // The fields are read in the order they are written here, which is that of `write_canonical`.
        Ok(Views {
            settings,
            at,
            time,
            origins: Origins::read(from)?,
            people: People::read(from)?,
            channels: Channels::read(from)?,
            messages: Messages::read(from)?,
            times: TimeIndex::read(from)?,
            invitations: Invitations::read(from)?,
            keys: Keys::read(from)?,
            imports: Imports::read(from)?,
            audit: Audit::read(from)?,
            memberships: Memberships::read(from)?,
        })
    }

    pub(crate) fn fold(&mut self, record: &Record<'_>) -> Result<Gone, FoldError> {
        if record.offset != self.at.next() {
            return Err(FoldError::OutOfOrder { at: self.at, found: record.offset });
        }
        let refuse = |what| FoldError::Contradiction { offset: record.offset, what };
        if self.at != Offset::BEGINNING && record.time < self.time {
            return Err(refuse(Contradiction::TimeWentBack));
        }
        let fact = Fact::decode(record)?;
        if self.origins.is_empty() && !matches!(fact, Fact::OriginStarted(_)) {
            return Err(refuse(Contradiction::NoOrigin));
        }
        let name = match fact {
            Fact::UserCreated(_) | Fact::ChannelCreated(_) => facts::text::<Name<'_>>(record)?,
            _ => None,
        };
        let is_audited = Audit::concerns(&fact);
        let gone = self.take(record.offset, record.time, fact, name).map_err(refuse)?;
        if is_audited {
            self.audit.note(record.offset);
        }
        (self.at, self.time) = (record.offset, record.time);
        self.times.note(record.offset, record.time);
        self.invitations.drop_over(record.time);
        self.keys.drop_before(record.time.before(self.settings.key_retention));
        Ok(gone)
    }

    /// Takes one fact in: first every check, then every change.
    fn take(
        &mut self,
        offset: Offset,
        time: Timestamp,
        fact: Fact,
        name: Option<Name<'_>>,
    ) -> Result<Gone, Contradiction> {
        match fact {
            Fact::OriginStarted(fact) => self.origins.push(offset, fact.origin),
            Fact::UserCreated(fact) => {
                let name = name.ok_or(Contradiction::NameGone)?;
                if let Some((other, _)) = self.people.by_folded(name.folded) {
                    return Err(Contradiction::NameTaken(other));
                }
                if let Some(invitation) = fact.invitation {
                    let open =
                        self.invitations.get(invitation).filter(|invitation| invitation.is_open_at(time));
                    open.ok_or(Contradiction::NoSuchInvitation(invitation))?;
                    self.invitations.remove(invitation);
                }
                let (name, folded) = (name.shown.to_owned(), name.folded.to_owned());
                let (role, credential) = (fact.role, fact.credential);
                self.people
                    .insert(offset, Person { name, folded, role, active: true, credential, created: time });
            }
            Fact::UserChanged(fact) => {
                self.user_or_none(fact.by)?;
                let person = self.people.get_mut(fact.user).ok_or(Contradiction::NoSuchUser(fact.user))?;
                (person.role, person.active) = (fact.role, fact.active);
                self.memberships.user_changed(offset);
            }
            Fact::ChannelCreated(fact) => {
                self.user_or_none(fact.creator)?;
                if let Some((other, _)) = name.and_then(|name| self.channels.by_folded(name.folded)) {
                    return Err(Contradiction::NameTaken(other));
                }
                let channel = Channel {
                    name: name.map_or("", |name| name.shown).to_owned(),
                    folded: name.map_or("", |name| name.folded).to_owned(),
                    at: time,
                    creator: fact.creator,
                    private: fact.private,
                    last_offset: offset,
                    last_time: time,
                };
                self.channels.insert(offset, channel);
                self.messages.add_channel(offset);
                if fact.private {
                    self.memberships.create(offset, fact.creator);
                }
                self.remember(fact.key, offset, time);
            }
            Fact::ChannelDeleted(fact) => {
                self.user_or_none(fact.by)?;
                if !self.channels.contains(fact.channel) {
                    return Err(Contradiction::NoSuchChannel(fact.channel));
                }
                self.channels.remove(fact.channel);
                let mut gone = self.messages.remove_channel(fact.channel).into_set();
                gone.insert(fact.channel.0);
                return Ok(Gone::Channel(gone));
            }
            Fact::MessageSent(fact) => {
                self.user_or_none(Some(fact.sender))?;
                if !self.messages.post(fact.channel, offset) {
                    return Err(Contradiction::NoSuchChannel(fact.channel));
                }
                self.channels.touch(fact.channel, offset, time);
                self.remember(fact.key, offset, time);
            }
            Fact::MessageImported(fact) => {
                if !self.messages.import(fact.channel, fact.at, offset) {
                    return Err(Contradiction::NoSuchChannel(fact.channel));
                }
                self.channels.touch(fact.channel, offset, time);
            }
            Fact::MessageDeleted(fact) => {
                self.user_or_none(fact.by)?;
                self.user_or_none(fact.sender)?;
                if !self.messages.remove(fact.channel, fact.message, fact.imported_at) {
                    return Err(Contradiction::NoSuchMessage(fact.message));
                }
                self.channels.touch(fact.channel, offset, time);
                return Ok(Gone::Message(fact.message));
            }
            Fact::InvitationIssued(fact) => {
                self.user_or_none(Some(fact.issuer))?;
                let (issuer, expires, secret) = (fact.issuer, fact.expires, fact.secret);
                self.invitations.insert(offset, Invitation { issuer, issued: time, expires, secret });
            }
            Fact::ImportAdvanced(fact) => {
                let end =
                    fact.lines.checked_sub(fact.lines_before).and_then(|new| fact.first.0.checked_add(new));
                if end != Some(offset.0) {
                    return Err(Contradiction::WrongLines);
                }
                let facts::ImportAdvanced { lines_before, lines, digest, first } = fact;
                self.imports.push(ImportStep { offset, lines_before, lines, digest, first });
            }
            Fact::Audited(fact) => self.user_or_none(fact.by)?,
            Fact::MembershipChanged(fact) => self.change_membership(offset, &fact)?,
        }
        Ok(Gone::Nothing)
    }

    fn change_membership(
        &mut self,
        offset: Offset,
        fact: &facts::MembershipChanged,
    ) -> Result<(), Contradiction> {
        let facts::MembershipChanged { channel, user, member, by } = *fact;
        self.user_or_none(by)?;
        self.user_or_none(Some(user))?;
        if !self.channels.contains(channel) {
            return Err(Contradiction::NoSuchChannel(channel));
        }
        let members = self.memberships.members(channel).ok_or(Contradiction::NotPrivate(channel))?;
        match (members.contains_key(&user), member) {
            (true, true) => return Err(Contradiction::AlreadyMember(user)),
            (false, false) => return Err(Contradiction::NoSuchMember(user)),
            (false, true) => self.memberships.add(channel, user, offset),
            (true, false) => self.memberships.remove(channel, user, offset),
        }
        Ok(())
    }

    fn user_or_none(&self, user: Option<Offset>) -> Result<(), Contradiction> {
        match user {
            Some(user) if !self.people.contains(user) => Err(Contradiction::NoSuchUser(user)),
            _ => Ok(()),
        }
    }

    fn remember(&mut self, key: Option<KeyDigest>, offset: Offset, time: Timestamp) {
        if let Some(key) = key {
            self.keys.insert(key, offset, time);
        }
    }
}

/// A part of the views, in the order of their canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Where they stand.
    Stand,
    /// Which origin was in force where.
    Origins,
    /// Who there is.
    People,
    /// The live channels.
    Channels,
    /// The live messages.
    Messages,
    /// From a time to a place.
    Times,
    /// The open invitations.
    Invitations,
    /// The remembered idempotency keys.
    Keys,
    /// How far imports came.
    Imports,
    /// What an audit reads.
    Audit,
    /// Who is in which private channel.
    Memberships,
}

impl Part {
    /// All of them, in order.
    pub const ALL: [Part; 11] = [
        Part::Stand,
        Part::Origins,
        Part::People,
        Part::Channels,
        Part::Messages,
        Part::Times,
        Part::Invitations,
        Part::Keys,
        Part::Imports,
        Part::Audit,
        Part::Memberships,
    ];

    /// What people are told.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Part::Stand => "stand",
            Part::Origins => "origins",
            Part::People => "people",
            Part::Channels => "channels",
            Part::Messages => "messages",
            Part::Times => "times",
            Part::Invitations => "invitations",
            Part::Keys => "keys",
            Part::Imports => "imports",
            Part::Audit => "audit",
            Part::Memberships => "memberships",
        }
    }
}

impl Gone {
    /// What the deletion `record` named.
    pub(crate) fn named(self, record: &Record<'_>) -> Option<Named> {
        let targets = match self {
            Gone::Nothing => return None,
            Gone::Message(message) => RoaringTreemap::from_iter([message.0]),
            Gone::Channel(targets) => targets,
        };
        Some(Named { deletion: Deletion { offset: record.offset, time: record.time }, targets })
    }
}

/// The record that views stand at.
#[derive(Serialize, Deserialize)]
struct Stand {
    at: Offset,
    time: Timestamp,
}
