//! Random valid histories, and the plainest possible model of what they add up to.
//!
//! Dice decide what happens next among what can happen; a throw that asks for the impossible (a message without a
//! channel) gives nothing. The model keeps everything that ever happened in plain vectors and answers by looking through
//! them, so that it shares no idea with the views it is compared to.

use std::time::Duration;

use scrollback_log::{
    ChainValue, Deletion, NewRecord, Offset, Origin, Record, Sealed, Text, Timestamp, codec,
};

use crate::facts::{
    self, Action, Audited, Body, ChannelCreated, ChannelDeleted, ImportAdvanced, Imported, InvitationIssued,
    Kept, KeyDigest, MembershipChanged, MessageDeleted, MessageImported, MessageSent, Name, OriginStarted,
    Reason, Role, UserChanged, UserCreated, VaultKey,
};
use crate::{ImportStep, ViewSettings};

/// One throw: what happens, to which thing, how, and how long after the one before.
pub type Dice = [u32; 4];

/// The settings that the histories are made for: short enough that keys are forgotten and used again on the way.
pub const SETTINGS: ViewSettings = ViewSettings { key_retention: Duration::from_secs(60) };

/// The time of the first record.
const START: Timestamp = Timestamp(1_700_000_000_000_000);
/// So few names and keys that they are taken, freed and taken again.
const NAMES: u32 = 6;
const KEYS: u32 = 8;

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// Their record.
    pub offset: Offset,
    /// Their name, as shown.
    pub name: String,
    /// Their role now.
    pub role: Role,
    /// Whether they may log in now.
    pub active: bool,
}

/// A channel that was there at some time.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Its record.
    pub offset: Offset,
    /// Its name, as shown.
    pub name: String,
    /// Who created it.
    pub creator: Option<Offset>,
    /// Whether only its members see it.
    pub private: bool,
    /// Who may see it, with the record that let them; for ever those who could when it was deleted. Nobody for a public one.
    pub members: Vec<(Offset, Offset)>,
    /// The newest record about it.
    pub last: Offset,
    /// What deleted it.
    pub deleted: Option<Offset>,
}

/// A message that was there at some time.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its record.
    pub offset: Offset,
    /// Its channel.
    pub channel: Offset,
    /// Who sent it.
    pub sender: Option<Offset>,
    /// Its own time, when it was imported.
    pub imported_at: Option<Timestamp>,
    /// What deleted it.
    pub deleted: Option<Offset>,
}

/// An invitation.
#[derive(Clone, Copy, Debug)]
pub struct Invited {
    /// Its record.
    pub offset: Offset,
    /// Who invites.
    pub issuer: Offset,
    /// When it ends.
    pub expires: Timestamp,
    /// Whether it was accepted.
    pub used: bool,
}

/// A history: its records and everything that happened in it.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The records, from offset 1 on, each with its time.
    pub records: Vec<(Timestamp, NewRecord)>,
    /// The origins, each with its record.
    pub origins: Vec<(Offset, Origin)>,
    /// All users.
    pub users: Vec<User>,
    /// All channels, the deleted ones too.
    pub channels: Vec<Channel>,
    /// All messages, the deleted ones too.
    pub messages: Vec<Message>,
    /// All invitations.
    pub invitations: Vec<Invited>,
    /// All uses of idempotency keys.
    pub keys: Vec<(Offset, KeyDigest)>,
    /// All steps of imports.
    pub imports: Vec<ImportStep>,
    /// All deletions, each with the records whose texts it named.
    pub deletions: Vec<(Deletion, Vec<Offset>)>,
    /// What an audit is to know, in the order of the records.
    pub audit: Vec<Offset>,
    /// The records that may have changed what anybody may see.
    pub rights: Vec<Offset>,
    now: Timestamp,
    /// Whether there are only the kinds of records of format 0, and no private channels.
    is_old: bool,
}

impl History {
    /// The history of so many throws of dice that fall the same way each time.
    #[must_use]
    pub fn fixed(throws: usize) -> History {
        History::new(&fixed_dice(throws))
    }

    /// The same, without the kinds of records that came after format 0.
    #[must_use]
    pub fn fixed_of_format_0(throws: usize) -> History {
        History::of_format_0(&fixed_dice(throws))
    }

    /// The history that these dice make, at least one record long.
    #[must_use]
    pub fn new(dice: &[Dice]) -> History {
        History::of(dice, false)
    }

    /// The same, without the kinds of records that came after format 0.
    #[must_use]
    pub fn of_format_0(dice: &[Dice]) -> History {
        History::of(dice, true)
    }

    fn of(dice: &[Dice], is_old: bool) -> History {
        let mut history = History { now: START, is_old, ..History::default() };
        // What came later is thrown with numbers of its own: so old histories stay what they were.
        let sides = if is_old { 16 } else { 20 };
        history.start_origin(0);
        history.create_user(0);
        for [what, which, how, later] in dice {
            history.pass_time(*later);
            match what % sides {
                0 => history.create_user(*which),
                1 => history.change_user(*which, *how),
                2 | 3 => history.create_channel(*which, *how),
                4 => history.delete_channel(*which, *how),
                5..=9 => history.send(*which, *how),
                10 => history.import(*which, *how),
                11..=13 => history.delete_message(*which, *how),
                14 => history.invite(*which, *how),
                16..=19 => history.change_membership(*which, *how),
                _ => match which % 4 {
                    0 => history.start_origin(*how),
                    1 if !is_old => history.audited(*how),
                    _ => {}
                },
            }
        }
        history
    }

    /// The newest record.
    #[must_use]
    pub fn head(&self) -> Offset {
        Offset(self.records.len() as u64)
    }

    /// The time of a record of this history.
    #[must_use]
    pub fn time_of(&self, offset: Offset) -> Timestamp {
        self.records[offset.0 as usize - 1].0
    }

    /// The records as a log would hold them, but for salts and chain values.
    #[must_use]
    pub fn sealed(&self) -> Vec<Sealed> {
        let seal = |(offset, (time, record)): (u64, &(Timestamp, NewRecord))| Sealed {
            offset: Offset(offset),
            time: *time,
            record: record.clone(),
            salt: [0; 16],
            chain: ChainValue::BEGINNING,
        };
        (1..).zip(&self.records).map(seal).collect()
    }

    /// A sealed record as a reader sees it once every deletion up to `erased` is carried out.
    #[must_use]
    pub fn seen<'a>(&self, sealed: &'a Sealed, erased: Offset) -> Record<'a> {
        let mut record = sealed.as_record();
        let mut named = self.deletions.iter().filter(|(deletion, _)| deletion.offset <= erased);
        if let Some((deletion, _)) = named.find(|(_, targets)| targets.contains(&sealed.offset)) {
            record.text = Text::Gone(*deletion);
        }
        record
    }

    /// The live channels.
    pub fn live_channels(&self) -> impl Iterator<Item = &Channel> {
        self.channels.iter().filter(|channel| channel.deleted.is_none())
    }

    /// The live messages of a channel, in the order of their records.
    pub fn live_messages(&self, channel: Offset) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(move |message| message.channel == channel && message.deleted.is_none())
    }

    /// The invitations that are open at the newest record's time.
    pub fn open_invitations(&self) -> impl Iterator<Item = &Invited> {
        let end = self.time_of(self.head());
        self.invitations.iter().filter(move |invitation| !invitation.used && invitation.expires > end)
    }

    /// The record of the newest use of a key, when it is remembered at `now`.
    #[must_use]
    pub fn key_at(&self, key: KeyDigest, now: Timestamp) -> Option<Offset> {
        let kept_from = now.before(SETTINGS.key_retention);
        let newest = self.keys.iter().rev().find(|(_, known)| *known == key);
        newest.map(|(offset, _)| *offset).filter(|offset| self.time_of(*offset) >= kept_from)
    }

    /// Mostly none or a moment; sometimes so long that keys and invitations are over.
    fn pass_time(&mut self, later: u32) {
        let micros = match later % 8 {
            0..=3 => 0,
            4 | 5 => later % 1000,
            6 => later % 10_000_000,
            _ => later % 100_000_000,
        };
        self.now = self.now.after(Duration::from_micros(micros.into()));
    }

    fn push<'a, K: Kept>(&mut self, kept: &K, text: Option<&K::Text<'a>>) -> Offset {
        let record = text.map_or_else(|| facts::record(kept), |text| facts::record_with(kept, text));
        self.records.push((self.now, encoded(record)));
        self.head()
    }

    fn start_origin(&mut self, how: u32) {
        let origin = Origin::new((u64::from(how) << 8 | self.origins.len() as u64) & ((1 << 48) - 1));
        let origin = origin.unwrap_or_else(Origin::draw);
        let offset = self.push(&OriginStarted { origin }, None);
        self.origins.push((offset, origin));
        self.audit.push(offset);
    }

    fn create_user(&mut self, which: u32) {
        let name = format!("User {}", which % NAMES);
        if self.users.iter().any(|user| user.name == name) {
            return;
        }
        let now = self.now;
        let open =
            self.invitations.iter_mut().find(|invitation| !invitation.used && invitation.expires > now);
        let invitation = open.map(|invitation| {
            invitation.used = true;
            invitation.offset
        });
        let role = if self.users.is_empty() { Role::Owner } else { Role::Member };
        let kept = UserCreated { role, credential: VaultKey([which as u8; 16]), invitation };
        let offset = self.push(&kept, Some(&Name { shown: &name, folded: &name.to_lowercase() }));
        self.users.push(User { offset, name, role, active: true });
        self.audit.push(offset);
    }

    fn change_user(&mut self, which: u32, how: u32) {
        let by = self.maybe_user(how);
        let which = which as usize % self.users.len();
        let role = [Role::Member, Role::Moderator, Role::Owner][how as usize % 3];
        let active = !how.is_multiple_of(5);
        let user = &mut self.users[which];
        (user.role, user.active) = (role, active);
        let (offset, name) = (user.offset, user.name.clone());
        let folded = name.to_lowercase();
        let changed = self.push(
            &UserChanged { user: offset, role, active, by },
            Some(&Name { shown: &name, folded: &folded }),
        );
        self.audit.push(changed);
        self.rights.push(changed);
    }

    fn create_channel(&mut self, which: u32, how: u32) {
        let name = format!("Channel {}", which % NAMES);
        if self.live_channels().any(|channel| channel.name == name) {
            return;
        }
        let (creator, key) = (self.maybe_user(how), self.maybe_key(how / 3));
        let private = !self.is_old && how % 5 > 2;
        let kept = ChannelCreated { creator, private, key };
        let offset = self.push(&kept, Some(&Name { shown: &name, folded: &name.to_lowercase() }));
        let members = creator.filter(|_| private).map(|user| (user, offset)).into_iter().collect();
        self.channels.push(Channel { offset, name, creator, private, members, last: offset, deleted: None });
        self.rights.extend(private.then_some(offset));
        self.keys.extend(key.map(|key| (offset, key)));
    }

    fn delete_channel(&mut self, which: u32, how: u32) {
        let Some(channel) = self.pick_channel(which) else { return };
        let by = self.maybe_user(how);
        let reason = if by.is_some() { Reason::Deleted } else { Reason::Expired };
        let mut targets: Vec<Offset> = self.live_messages(channel).map(|message| message.offset).collect();
        targets.push(channel);
        let offset = self.push(&ChannelDeleted { channel, by, reason }, None);
        self.audit.extend(by.map(|_| offset));
        for message in &mut self.messages {
            if message.channel == channel && message.deleted.is_none() {
                message.deleted = Some(offset);
            }
        }
        for known in &mut self.channels {
            if known.offset == channel {
                known.deleted = Some(offset);
            }
        }
        self.deletions.push((Deletion { offset, time: self.now }, targets));
    }

    fn send(&mut self, which: u32, how: u32) {
        let Some(channel) = self.pick_channel(which) else { return };
        let sender = self.users[how as usize % self.users.len()].offset;
        let key = self.maybe_key(how);
        let body = format!("said {how}");
        let offset = self.push(&MessageSent { channel, sender, key }, Some(&Body { body: &body }));
        self.keys.extend(key.map(|key| (offset, key)));
        self.note_message(offset, channel, Some(sender), None);
    }

    fn import(&mut self, which: u32, how: u32) {
        let Some(channel) = self.pick_channel(which) else { return };
        let first = self.head().next();
        for line in 0..how % 4 {
            // So few times that several messages have the same one.
            let at = Timestamp(i64::from((how / 4 + line * 7) % 16) - 8);
            let text = Imported { sender_name: "somebody", body: "long ago" };
            let offset = self.push(&MessageImported { channel, at }, Some(&text));
            self.note_message(offset, channel, None, Some(at));
        }
        let lines_before = u64::from(how % 100);
        let (lines, digest) = (lines_before + u64::from(how % 4), [(how % 8) as u8; 16]);
        let offset = self.push(&ImportAdvanced { lines_before, lines, digest, first }, None);
        self.imports.push(ImportStep { offset, lines_before, lines, digest, first });
    }

    fn delete_message(&mut self, which: u32, how: u32) {
        let live: Vec<usize> =
            (0..self.messages.len()).filter(|index| self.messages[*index].deleted.is_none()).collect();
        let Some(index) = live.get(which as usize % live.len().max(1)) else { return };
        let by = self.maybe_user(how);
        let reason = if by.is_some() { Reason::Deleted } else { Reason::Expired };
        let Message { offset: message, channel, sender, imported_at, .. } = self.messages[*index];
        let kept = MessageDeleted { message, channel, sender, imported_at, by, reason };
        let offset = self.push(&kept, None);
        self.messages[*index].deleted = Some(offset);
        if by.is_some() && by != sender {
            self.audit.push(offset);
        }
        self.touch(channel, offset);
        self.deletions.push((Deletion { offset, time: self.now }, vec![message]));
    }

    fn invite(&mut self, which: u32, how: u32) {
        let issuer = self.users[which as usize % self.users.len()].offset;
        let expires = self.now.after(Duration::from_micros(u64::from(how % 50_000_000)));
        let offset =
            self.push(&InvitationIssued { issuer, expires, secret: VaultKey([how as u8; 16]) }, None);
        self.invitations.push(Invited { offset, issuer, expires, used: false });
        self.audit.push(offset);
    }

    fn audited(&mut self, how: u32) {
        let action = [Action::BackupTaken, Action::PasswordSet, Action::Restored, Action::RollbackAccepted]
            [how as usize % 4];
        let subject = how.is_multiple_of(5).then(|| self.head());
        let offset = self.push(&Audited { by: self.maybe_user(how), action, subject }, None);
        self.audit.push(offset);
    }

    /// Adds whoever is no member, removes whoever is one.
    fn change_membership(&mut self, which: u32, how: u32) {
        let by = self.maybe_user(how);
        let user = self.users[how as usize % self.users.len()].offset;
        let private: Vec<Offset> =
            self.live_channels().filter(|channel| channel.private).map(|channel| channel.offset).collect();
        let Some(channel) = private.get(which as usize % private.len().max(1)).copied() else { return };
        let known = self.channels.iter_mut().find(|known| known.offset == channel);
        let Some(Channel { members, .. }) = known else { return };
        let before = members.len();
        members.retain(|(known, _)| *known != user);
        let member = members.len() == before;
        let offset = self.push(&MembershipChanged { channel, user, member, by }, None);
        if let Some(known) = self.channels.iter_mut().find(|known| known.offset == channel).filter(|_| member)
        {
            known.members.push((user, offset));
        }
        self.audit.push(offset);
        self.rights.push(offset);
    }

    fn note_message(
        &mut self,
        offset: Offset,
        channel: Offset,
        sender: Option<Offset>,
        imported_at: Option<Timestamp>,
    ) {
        self.messages.push(Message { offset, channel, sender, imported_at, deleted: None });
        self.touch(channel, offset);
    }

    fn touch(&mut self, channel: Offset, offset: Offset) {
        for known in &mut self.channels {
            if known.offset == channel {
                known.last = offset;
            }
        }
    }

    fn pick_channel(&self, which: u32) -> Option<Offset> {
        let live: Vec<Offset> = self.live_channels().map(|channel| channel.offset).collect();
        live.get(which as usize % live.len().max(1)).copied()
    }

    fn maybe_user(&self, how: u32) -> Option<Offset> {
        (!how.is_multiple_of(3)).then(|| self.users[how as usize % self.users.len()].offset)
    }

    /// A key that is not remembered now, so that its use is valid.
    fn maybe_key(&self, how: u32) -> Option<KeyDigest> {
        let key = KeyDigest([(how % KEYS) as u8; 16]);
        (how.is_multiple_of(2) && self.key_at(key, self.now).is_none()).then_some(key)
    }
}

#[allow(clippy::expect_used, reason = "the facts made here are far below the codec's bound")]
fn encoded(record: Result<NewRecord, codec::CodecError>) -> NewRecord {
    record.expect("a small fact can be encoded")
}

fn fixed_dice(throws: usize) -> Vec<Dice> {
    // A sequence that looks random (xorshift).
    let mut state = 0x2545_f491_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    (0..throws).map(|_| [next(), next(), next(), next()]).collect()
}
