//! What cannot follow is refused, and changes nothing.

use std::time::Duration;

use scrollback_log::{ChainValue, Kind, NewRecord, Offset, Record, Schema, Sealed, Text, Timestamp};

use super::{a_full_history, bytes, folded};
use crate::facts::{
    self, Body, ChannelCreated, ChannelDeleted, FactError, ImportAdvanced, Imported, InvitationIssued, Kept,
    MembershipChanged, MessageDeleted, MessageImported, MessageSent, Name, OriginStarted, Reason, Role,
    UserChanged, UserCreated, VaultKey,
};
use crate::testing::History;
use crate::{Contradiction, FoldError, Views};

/// Views in the middle of things, and what stands in them.
struct Scene {
    views: Views,
    history: History,
}

impl Scene {
    fn new() -> Scene {
        let history = a_full_history();
        Scene { views: folded(&history, Offset::BEGINNING), history }
    }

    fn user(&self) -> Offset {
        self.history.users[0].offset
    }

    fn live(&self) -> Offset {
        let with_both = |channel: &&crate::testing::Channel| {
            let messages = self.views.messages().of(channel.offset).unwrap();
            !messages.posted().is_empty() && !messages.dated().is_empty()
        };
        self.history.live_channels().find(with_both).unwrap().offset
    }

    fn deleted_channel(&self) -> Offset {
        self.history.channels.iter().find(|channel| channel.deleted.is_some()).unwrap().offset
    }

    fn deleted_private_channel(&self) -> Offset {
        let is_it = |channel: &&crate::testing::Channel| channel.deleted.is_some() && channel.private;
        self.history.channels.iter().find(is_it).unwrap().offset
    }

    /// A live channel that is private, or one that is not.
    fn live_and(&self, private: bool) -> Offset {
        self.history.live_channels().find(|channel| channel.private == private).unwrap().offset
    }

    fn sealed(&self, time: Timestamp, record: NewRecord) -> Sealed {
        Sealed { offset: self.views.at().next(), time, record, salt: [0; 16], chain: ChainValue::BEGINNING }
    }

    fn apply(&mut self, record: &Record<'_>) -> Result<(), FoldError> {
        let before = bytes(&self.views);
        let outcome = self.views.apply(record).map(|_| ());
        assert!(outcome.is_ok() || bytes(&self.views) == before, "a refused record changed the views");
        outcome
    }

    fn apply_fact<'a, K: Kept>(&mut self, kept: &K, text: Option<K::Text<'a>>) -> Result<(), FoldError> {
        let record = match text {
            Some(text) => facts::record_with(kept, &text).unwrap(),
            None => facts::record(kept).unwrap(),
        };
        let sealed = self.sealed(self.views.time(), record);
        self.apply(&sealed.as_record())
    }

    #[track_caller]
    fn refuses<'a, K: Kept>(&mut self, what: Contradiction, kept: &K, text: Option<K::Text<'a>>) {
        let offset = self.views.at().next();
        match self.apply_fact(kept, text) {
            Err(FoldError::Contradiction { offset: at, what: found }) => {
                assert_eq!((at, found), (offset, what))
            }
            other => panic!("{what:?} was not refused as such but gave {other:?}"),
        }
    }
}

const NOBODY: Offset = Offset(1_000_000);
const NAME: Name<'static> = Name { shown: "New", folded: "new" };

fn user(invitation: Option<Offset>) -> UserCreated {
    UserCreated { role: Role::Member, credential: VaultKey([0; 16]), invitation }
}

fn channel(creator: Option<Offset>) -> ChannelCreated {
    ChannelCreated { creator, private: false, key: None }
}

#[test]
fn a_taken_name_is_refused() {
    let mut scene = Scene::new();
    let (offset, person) =
        scene.views.people().iter().next().map(|(at, one)| (at, one.folded.clone())).unwrap();
    let taken = Name { shown: "Other", folded: &person };
    scene.refuses(Contradiction::NameTaken(offset), &user(None), Some(taken));
    let (offset, name) =
        scene.views.channels().iter().next().map(|(at, one)| (at, one.folded.clone())).unwrap();
    let taken = Name { shown: "Other", folded: &name };
    scene.refuses(Contradiction::NameTaken(offset), &channel(None), Some(taken));
}

#[test]
fn a_user_who_is_not_there_is_refused_wherever_one_is_named() {
    let mut scene = Scene::new();
    let (channel_at, someone) = (scene.live(), Some(NOBODY));
    let message = scene.views.messages().of(channel_at).unwrap().oldest().unwrap();
    let none = Contradiction::NoSuchUser(NOBODY);
    let sent = MessageSent { channel: channel_at, sender: NOBODY, key: None };
    scene.refuses(none, &sent, Some(Body { body: "" }));
    scene.refuses(none, &channel(someone), Some(NAME));
    let reason = Reason::Deleted;
    scene.refuses(none, &ChannelDeleted { channel: channel_at, by: someone, reason }, None);
    let by_nobody =
        MessageDeleted { message, channel: channel_at, sender: None, imported_at: None, by: someone, reason };
    scene.refuses(none, &by_nobody, None);
    scene.refuses(none, &MessageDeleted { sender: someone, by: None, ..by_nobody }, None);
    let by = Some(scene.user());
    let changed = UserChanged { user: NOBODY, role: Role::Owner, active: true, by };
    scene.refuses(none, &changed, Some(NAME));
    let changed = UserChanged { user: scene.user(), role: Role::Owner, active: true, by: someone };
    scene.refuses(none, &changed, Some(NAME));
    let issued = InvitationIssued { issuer: NOBODY, expires: Timestamp(i64::MAX), secret: VaultKey([0; 16]) };
    scene.refuses(none, &issued, None);
}

#[test]
fn a_channel_that_is_not_there_or_no_longer_is_refused() {
    let mut scene = Scene::new();
    for channel in [NOBODY, scene.deleted_channel(), scene.user()] {
        let none = Contradiction::NoSuchChannel(channel);
        let sent = MessageSent { channel, sender: scene.user(), key: None };
        scene.refuses(none, &sent, Some(Body { body: "" }));
        let imported = MessageImported { channel, at: Timestamp(0) };
        scene.refuses(none, &imported, Some(Imported { sender_name: "", body: "" }));
        scene.refuses(none, &ChannelDeleted { channel, by: None, reason: Reason::Expired }, None);
    }
}

#[test]
fn a_membership_begins_and_ends_once_in_a_private_channel_that_is_there() {
    let mut scene = Scene::new();
    let (user, public, private) = (scene.user(), scene.live_and(false), scene.live_and(true));
    let changed = |channel, member| MembershipChanged { channel, user, member, by: None };
    if scene.views.memberships().is_member(private, user) {
        scene.apply_fact(&changed(private, false), None).unwrap();
    }
    for member in [true, false] {
        let with = |channel| changed(channel, member);
        for channel in [NOBODY, user, scene.deleted_private_channel()] {
            scene.refuses(Contradiction::NoSuchChannel(channel), &with(channel), None);
        }
        scene.refuses(Contradiction::NotPrivate(public), &with(public), None);
        let nobody = Contradiction::NoSuchUser(NOBODY);
        scene.refuses(nobody, &MembershipChanged { user: NOBODY, ..with(private) }, None);
        scene.refuses(nobody, &MembershipChanged { by: Some(NOBODY), ..with(private) }, None);
    }
    let last_offset = scene.views.channels().get(private).unwrap().last_offset;
    scene.refuses(Contradiction::NoSuchMember(user), &changed(private, false), None);
    scene.apply_fact(&changed(private, true), None).unwrap();
    scene.refuses(Contradiction::AlreadyMember(user), &changed(private, true), None);
    scene.apply_fact(&changed(private, false), None).unwrap();
    scene.refuses(Contradiction::NoSuchMember(user), &changed(private, false), None);
    assert_eq!(scene.views.channels().get(private).unwrap().last_offset, last_offset);
}

#[test]
fn a_message_is_deleted_once_and_only_as_what_it_is() {
    let mut scene = Scene::new();
    let channel = scene.live();
    let messages = scene.views.messages().of(channel).unwrap();
    let posted = messages.posted_after(Offset::BEGINNING).next().unwrap();
    let (at, dated) = *messages.by_time().first().unwrap();
    let deleted = |message, channel, imported_at| MessageDeleted {
        message,
        channel,
        sender: None,
        imported_at,
        by: None,
        reason: Reason::Expired,
    };
    let other = scene.history.live_channels().find(|other| other.offset != channel).unwrap().offset;
    for wrong in [
        deleted(NOBODY, channel, None),
        deleted(posted, NOBODY, None),
        deleted(posted, other, None),
        deleted(posted, channel, Some(at)),
        deleted(dated, channel, None),
        deleted(dated, channel, Some(Timestamp(at.0 + 1))),
        deleted(dated, other, Some(at)),
    ] {
        scene.refuses(Contradiction::NoSuchMessage(wrong.message), &wrong, None);
    }
    for right in [deleted(posted, channel, None), deleted(dated, channel, Some(at))] {
        scene.apply_fact(&right, None).unwrap();
        scene.refuses(Contradiction::NoSuchMessage(right.message), &right, None);
    }
}

#[test]
fn an_invitation_is_accepted_once_and_before_its_end() {
    let mut scene = Scene::new();
    scene.refuses(Contradiction::NoSuchInvitation(NOBODY), &user(Some(NOBODY)), Some(NAME));
    let used = scene.history.invitations.iter().find(|invitation| invitation.used).unwrap().offset;
    scene.refuses(Contradiction::NoSuchInvitation(used), &user(Some(used)), Some(NAME));

    let ends = scene.views.time().after(Duration::from_secs(1));
    let issued = InvitationIssued { issuer: scene.user(), expires: ends, secret: VaultKey([0; 16]) };
    scene.apply_fact(&issued, None).unwrap();
    let invitation = scene.views.at();
    let accepted = facts::record_with(&user(Some(invitation)), &NAME).unwrap();
    let too_late = scene.sealed(ends, accepted.clone());
    let refused = scene.apply(&too_late.as_record()).unwrap_err();
    let what = Contradiction::NoSuchInvitation(invitation);
    assert!(matches!(refused, FoldError::Contradiction { what: found, .. } if found == what), "{refused}");
    let in_time = scene.sealed(Timestamp(ends.0 - 1), accepted);
    scene.apply(&in_time.as_record()).unwrap();
    assert!(scene.views.invitations().get(invitation).is_none());
}

#[test]
fn an_import_step_must_follow_right_after_its_messages() {
    let mut scene = Scene::new();
    let step = |lines_before, lines, first| ImportAdvanced { lines_before, lines, digest: [0; 16], first };
    let next = scene.views.at().next().0;
    for wrong in [
        step(5, 4, Offset(next)),
        step(0, 1, Offset(next)),
        step(0, 2, Offset(next - 1)),
        step(0, u64::MAX, Offset(next)),
        step(0, 0, Offset(next - 1)),
    ] {
        scene.refuses(Contradiction::WrongLines, &wrong, None);
    }
    scene.apply_fact(&step(0, 2, Offset(next - 2)), None).unwrap();
}

#[test]
fn time_never_goes_back() {
    let mut scene = Scene::new();
    let record = facts::record_with(&user(None), &NAME).unwrap();
    let earlier = scene.sealed(Timestamp(scene.views.time().0 - 1), record);
    let error = scene.apply(&earlier.as_record()).unwrap_err();
    assert!(matches!(error, FoldError::Contradiction { what: Contradiction::TimeWentBack, .. }), "{error}");
}

#[test]
fn a_log_begins_with_its_origin() {
    let mut views = Views::new(crate::testing::SETTINGS);
    let record = facts::record_with(&user(None), &NAME).unwrap();
    let time = Timestamp(-5);
    let sealed =
        |record| Sealed { offset: Offset::FIRST, time, record, salt: [0; 16], chain: ChainValue::BEGINNING };
    let error = views.apply(&sealed(record).as_record()).unwrap_err();
    assert!(matches!(error, FoldError::Contradiction { what: Contradiction::NoOrigin, .. }), "{error}");
    let origin = facts::record(&OriginStarted { origin: scrollback_log::Origin::draw() }).unwrap();
    views.apply(&sealed(origin).as_record()).unwrap();
    assert_eq!(views.time(), time);
}

#[test]
fn a_users_name_cannot_be_gone() {
    let mut scene = Scene::new();
    let record = facts::record_with(&user(None), &NAME).unwrap();
    let sealed = scene.sealed(scene.views.time(), record);
    let deletion = scene.history.deletions[0].0;
    let record = Record { text: Text::Gone(deletion), ..sealed.as_record() };
    let error = scene.apply(&record).unwrap_err();
    assert!(matches!(error, FoldError::Contradiction { what: Contradiction::NameGone, .. }), "{error}");
}

#[test]
fn an_unknown_kind_or_schema_stops_the_fold() {
    let mut scene = Scene::new();
    for (kind, schema) in
        [(Kind(0), Schema(1)), (Kind(13), Schema(1)), (Kind(6), Schema(2)), (Kind(u16::MAX), Schema(0))]
    {
        let sealed =
            scene.sealed(scene.views.time(), NewRecord { kind, schema, kept: Vec::new(), text: None });
        let error = scene.apply(&sealed.as_record()).unwrap_err();
        assert!(matches!(error, FoldError::Fact(FactError::Unknown { .. })), "{error}");
    }
}

#[test]
fn a_kept_part_or_a_name_that_does_not_decode_stops_the_fold() {
    let mut scene = Scene::new();
    let good = facts::record_with(&channel(None), &NAME).unwrap();
    let mut short = good.clone();
    short.kept.pop();
    let mut long = good.clone();
    long.kept.push(0);
    let mut name = good.clone();
    name.text.as_mut().unwrap().pop();
    let nameless = NewRecord { text: None, ..good.clone() };
    for record in [short, long, name, nameless] {
        let sealed = scene.sealed(scene.views.time(), record);
        let error = scene.apply(&sealed.as_record()).unwrap_err();
        assert!(matches!(error, FoldError::Fact(FactError::Undecodable { .. })), "{error}");
    }
    let sealed = scene.sealed(scene.views.time(), good);
    scene.apply(&sealed.as_record()).unwrap();
}
