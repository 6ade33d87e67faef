use std::time::Duration;

use scrollback_log::{ChainValue, NewRecord, Origin, Sealed, Timestamp};
use scrollback_projections::facts::{Fact, OriginStarted};
use scrollback_projections::{ViewSettings, Views};

use super::*;
use crate::commands::ImportLine;
use crate::commands::overlay::Overlay;

mod private;
mod random;

/// A log of one's own: decides batches of commands and folds what they become.
struct World {
    views: Views,
    time: Timestamp,
    sealed: Vec<Sealed>,
}

const START: Timestamp = Timestamp(1_700_000_000_000_000);

impl World {
    fn new() -> World {
        let mut world = World { views: Views::new(ViewSettings::default()), time: START, sealed: Vec::new() };
        let origin = Origin::new(7).unwrap();
        world.append(vec![facts::record(&OriginStarted { origin }).unwrap()]);
        world
    }

    /// A world with owner 2, moderator 3, members 4 and 5, and channel 6, created by 4.
    fn with_people() -> World {
        let mut world = World::new();
        assert_eq!(
            world.done(Command::SetUp { name: name("owner"), credential: VaultKey([2; 16]) }),
            Offset(2)
        );
        for (who, role) in [("moderator", Role::Moderator), ("member", Role::Member), ("other", Role::Member)]
        {
            world.done(Command::AddUser { name: name(who), role, credential: VaultKey([3; 16]) });
        }
        assert_eq!(
            world.done(Command::CreateChannel {
                creator: MEMBER,
                name: name("general"),
                private: false,
                key: None
            }),
            CHANNEL
        );
        world
    }

    fn append(&mut self, records: Vec<NewRecord>) {
        for record in records {
            let offset = self.views.at().next();
            let sealed =
                Sealed { offset, time: self.time, record, salt: [0; 16], chain: ChainValue::BEGINNING };
            self.views.apply(&sealed.as_record()).expect("what was decided can be folded");
            self.sealed.push(sealed);
        }
    }

    /// Decides the commands as one batch, then folds it.
    fn batch(&mut self, commands: &[Command]) -> Vec<Answer> {
        let mut overlay = Overlay::default();
        let (mut records, mut answers) = (Vec::new(), Vec::new());
        for command in commands {
            let stamp = Stamp { offset: self.views.at().plus(1 + records.len() as u64), time: self.time };
            let decision = decide(&mut State { views: &self.views, overlay: &mut overlay }, command, stamp);
            records.extend(decision.records);
            answers.push(decision.answer);
        }
        self.append(records);
        answers
    }

    fn one(&mut self, command: Command) -> Answer {
        self.batch(&[command]).remove(0)
    }

    fn done(&mut self, command: Command) -> Offset {
        match self.one(command) {
            Answer::Done { offset, .. } => offset,
            other => panic!("{other:?}"),
        }
    }

    fn refused(&mut self, command: Command, refusal: Refusal) {
        let before = self.views.at();
        assert_eq!(self.one(command), Answer::Refused(refusal));
        assert_eq!(self.views.at(), before, "a refusal leaves no record");
    }

    fn say(&mut self, sender: Offset) -> MessageRef {
        let offset = self.done(send(sender, None));
        MessageRef { offset, channel: CHANNEL, sender: Some(sender), imported_at: None }
    }

    fn newest(&self) -> Fact {
        Fact::decode(&self.sealed.last().unwrap().as_record()).unwrap()
    }
}

const OWNER: Offset = Offset(2);
const MODERATOR: Offset = Offset(3);
const MEMBER: Offset = Offset(4);
const OTHER: Offset = Offset(5);
const CHANNEL: Offset = Offset(6);
const NOBODY: Offset = Offset(99);

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn send(sender: Offset, key: Option<KeyDigest>) -> Command {
    Command::SendMessage { channel: CHANNEL, sender, body: "hello".into(), key }
}

fn change(user: Offset, role: Option<Role>, active: Option<bool>, by: Option<Offset>) -> Command {
    Command::ChangeUser { user, role, active, by }
}

fn is_done(answer: &Answer) -> bool {
    matches!(answer, Answer::Done { .. })
}

#[test]
fn only_the_first_user_sets_up_also_within_a_batch() {
    let mut world = World::new();
    let set_up = |who| Command::SetUp { name: name(who), credential: VaultKey([1; 16]) };
    let answers = world.batch(&[set_up("one"), set_up("two")]);
    assert_eq!(
        answers,
        [Answer::Done { offset: OWNER, time: START, records: 1 }, Answer::Refused(Refusal::AlreadySetUp)]
    );
    world.refused(set_up("three"), Refusal::AlreadySetUp);
    let (_, person) = world.views.people().by_folded("one").unwrap();
    assert_eq!((person.role, person.active), (Role::Owner, true));
}

#[test]
fn a_name_is_taken_in_every_spelling_also_within_a_batch() {
    let mut world = World::with_people();
    let add = |who| Command::AddUser { name: name(who), role: Role::Member, credential: VaultKey([4; 16]) };
    let create =
        |what| Command::CreateChannel { creator: MEMBER, name: name(what), private: false, key: None };
    let answers = world.batch(&[add("New"), add("nEW"), create("new"), create("NEW"), create("GENERAL")]);
    let taken = Answer::Refused(Refusal::NameTaken);
    assert_eq!(answers.iter().map(is_done).collect::<Vec<_>>(), [true, false, true, false, false]);
    assert_eq!([&answers[1], &answers[3], &answers[4]], [&taken; 3]);
    world.refused(add("member"), Refusal::NameTaken);
}

#[test]
fn deleting_a_channel_frees_its_name_also_within_a_batch() {
    let mut world = World::with_people();
    let create = Command::CreateChannel { creator: OTHER, name: name("General"), private: false, key: None };
    let delete = Command::DeleteChannel { channel: CHANNEL, by: MEMBER };
    let answers = world.batch(&[create.clone(), delete, create.clone(), create]);
    assert_eq!(answers.iter().map(is_done).collect::<Vec<_>>(), [false, true, true, false]);
    assert_eq!(world.views.channels().len(), 1);
}

#[test]
fn a_channel_is_deleted_by_moderators_and_by_its_creator() {
    for (by, outcome) in [
        (OWNER, None),
        (MODERATOR, None),
        (MEMBER, None),
        (OTHER, Some(Refusal::Forbidden)),
        (NOBODY, Some(Refusal::Inactive)),
    ] {
        let mut world = World::with_people();
        let delete = Command::DeleteChannel { channel: CHANNEL, by };
        match outcome {
            Some(refusal) => world.refused(delete, refusal),
            None => {
                world.done(delete.clone());
                let deleted = ChannelDeleted { channel: CHANNEL, by: Some(by), reason: Reason::Deleted };
                assert_eq!(world.newest(), Fact::ChannelDeleted(deleted));
                world.refused(delete, Refusal::NotFound);
            }
        }
    }
}

#[test]
fn a_message_is_deleted_by_its_author_and_by_moderators_once() {
    for (by, outcome) in [
        (OWNER, None),
        (MODERATOR, None),
        (MEMBER, Some(Refusal::Forbidden)),
        (OTHER, None),
        (NOBODY, Some(Refusal::Inactive)),
    ] {
        let mut world = World::with_people();
        let message = world.say(OTHER);
        let delete = Command::DeleteMessage { message, by };
        match outcome {
            Some(refusal) => world.refused(delete, refusal),
            None => {
                let answers = world.batch(&[delete.clone(), delete.clone()]);
                assert!(is_done(&answers[0]));
                assert_eq!(answers[1], Answer::Refused(Refusal::NotFound));
                world.refused(delete, Refusal::NotFound);
            }
        }
    }
}

#[test]
fn an_imported_message_is_deleted_by_moderators_only() {
    let mut world = World::with_people();
    world.done(Command::Import(step(0, 0, &["general"])));
    let offset = world.views.messages().of(CHANNEL).unwrap().newest().unwrap();
    let message = MessageRef { offset, channel: CHANNEL, sender: None, imported_at: Some(Timestamp(1)) };
    world.refused(Command::DeleteMessage { message, by: MEMBER }, Refusal::Forbidden);
    world.done(Command::DeleteMessage { message, by: MODERATOR });
}

#[test]
fn nothing_is_said_in_a_channel_that_is_gone_also_within_a_batch() {
    let mut world = World::with_people();
    let message = world.say(MEMBER);
    let answers = world.batch(&[
        send(MEMBER, None),
        Command::DeleteChannel { channel: CHANNEL, by: OWNER },
        send(MEMBER, None),
        Command::DeleteMessage { message, by: MEMBER },
        Command::DeleteChannel { channel: CHANNEL, by: OWNER },
    ]);
    assert_eq!(answers.iter().map(is_done).collect::<Vec<_>>(), [true, true, false, false, false]);
    assert!(answers[2..].iter().all(|answer| *answer == Answer::Refused(Refusal::NotFound)));
    world.refused(send(MEMBER, None), Refusal::NotFound);
}

#[test]
fn a_key_gives_the_first_record_again_whatever_came_since() {
    let mut world = World::with_people();
    let key = Some(KeyDigest([1; 16]));
    let answers = world.batch(&[send(MEMBER, key), send(MEMBER, key)]);
    let Answer::Done { offset: first, .. } = answers[0] else { panic!("{answers:?}") };
    assert_eq!(answers[1], Answer::Before(first));
    assert_eq!(world.one(send(MEMBER, key)), Answer::Before(first));
    world.done(Command::DeleteChannel { channel: CHANNEL, by: OWNER });
    assert_eq!(world.one(send(MEMBER, key)), Answer::Before(first), "the channel is gone, the answer is not");

    let key = Some(KeyDigest([2; 16]));
    let create = Command::CreateChannel { creator: MEMBER, name: name("second"), private: false, key };
    let answers = world.batch(&[create.clone(), create.clone()]);
    let Answer::Done { offset: first, .. } = answers[0] else { panic!("{answers:?}") };
    assert_eq!(answers[1], Answer::Before(first));
    assert_eq!(world.one(create.clone()), Answer::Before(first));
    world.time = START.after(ViewSettings::default().key_retention + Duration::from_secs(1));
    world.done(Command::CreateChannel { creator: MEMBER, name: name("third"), private: false, key: None });
    assert_eq!(
        world.one(create),
        Answer::Refused(Refusal::NameTaken),
        "the key is forgotten, the channel is not"
    );
}

#[test]
fn who_is_not_active_does_nothing() {
    let mut world = World::with_people();
    let message = world.say(MEMBER);
    let off = change(MEMBER, None, Some(false), Some(OWNER));
    let answers = world.batch(&[off, send(MEMBER, None)]);
    assert_eq!(answers[1], Answer::Refused(Refusal::Inactive));
    let secret = VaultKey([5; 16]);
    for command in [
        send(MEMBER, None),
        Command::CreateChannel { creator: MEMBER, name: name("x"), private: false, key: None },
        Command::DeleteChannel { channel: CHANNEL, by: MEMBER },
        Command::DeleteMessage { message, by: MEMBER },
        Command::IssueInvitation { issuer: MEMBER, secret, lifetime: Duration::from_secs(60) },
        change(OTHER, Some(Role::Owner), None, Some(MEMBER)),
    ] {
        world.refused(command, Refusal::Inactive);
    }
    world.done(change(MEMBER, None, Some(true), None));
    world.done(send(MEMBER, None));
}

#[test]
fn only_an_owner_or_the_operator_changes_users() {
    let mut world = World::with_people();
    for by in [MODERATOR, MEMBER] {
        world.refused(change(OTHER, Some(Role::Moderator), None, Some(by)), Refusal::Forbidden);
    }
    world.refused(change(NOBODY, Some(Role::Moderator), None, Some(OWNER)), Refusal::NotFound);
    world.done(change(OTHER, Some(Role::Moderator), None, Some(OWNER)));
    world.done(change(OTHER, None, Some(false), None));
    let person = world.views.people().get(OTHER).unwrap();
    assert_eq!((person.role, person.active), (Role::Moderator, false));
    let answers = world.batch(&[
        change(MEMBER, Some(Role::Owner), None, Some(OWNER)),
        change(OTHER, Some(Role::Member), None, Some(MEMBER)),
    ]);
    assert!(answers.iter().all(is_done), "an owner since earlier in the batch");
}

#[test]
fn the_last_active_owner_cannot_step_down() {
    let mut world = World::with_people();
    for by in [Some(OWNER), None] {
        world.refused(change(OWNER, Some(Role::Member), None, by), Refusal::LastOwner);
        world.refused(change(OWNER, None, Some(false), by), Refusal::LastOwner);
    }
    world.done(change(OWNER, Some(Role::Owner), Some(true), Some(OWNER)));
    // Both want to step down in one batch: one of them stays.
    world.done(change(MEMBER, Some(Role::Owner), None, Some(OWNER)));
    let down = |user| change(user, Some(Role::Member), None, Some(user));
    let answers = world.batch(&[down(OWNER), down(MEMBER)]);
    assert!(is_done(&answers[0]));
    assert_eq!(answers[1], Answer::Refused(Refusal::LastOwner));
    assert_eq!(world.views.people().active_owners(), 1);
    // An owner who is switched off is none.
    world.done(change(OWNER, Some(Role::Owner), Some(false), None));
    world.refused(down(MEMBER), Refusal::LastOwner);
    let answers = world.batch(&[change(OWNER, None, Some(true), None), down(MEMBER)]);
    assert!(answers.iter().all(is_done));
}

#[test]
fn an_invitation_makes_one_user_while_it_is_open() {
    let mut world = World::with_people();
    let lifetime = Duration::from_secs(60);
    let issue = Command::IssueInvitation { issuer: MEMBER, secret: VaultKey([6; 16]), lifetime };
    let accept = |invitation, who| Command::AcceptInvitation {
        invitation,
        name: name(who),
        credential: VaultKey([7; 16]),
    };
    let invitation = world.done(issue.clone());
    world.refused(accept(invitation, "OWNER"), Refusal::NameTaken);
    let answers = world.batch(&[accept(invitation, "one"), accept(invitation, "two")]);
    assert!(is_done(&answers[0]));
    assert_eq!(answers[1], Answer::Refused(Refusal::NotFound));
    world.refused(accept(invitation, "two"), Refusal::NotFound);
    world.refused(accept(NOBODY, "two"), Refusal::NotFound);
    let invitation = world.done(issue.clone());
    world.time = START.after(lifetime);
    world.refused(accept(invitation, "two"), Refusal::NotFound);
    let invitation = world.done(issue);
    world.time = Timestamp(START.after(2 * lifetime).0 - 1);
    world.done(accept(invitation, "two"));
}

#[test]
fn what_is_gone_does_not_expire_and_a_channel_that_lives_does_not_either() {
    let mut world = World::with_people();
    let (gone, over) = (world.say(MEMBER), world.say(MEMBER));
    world.done(Command::DeleteMessage { message: gone, by: MEMBER });
    let last_offset = world.views.channels().get(CHANNEL).unwrap().last_offset;
    let channel = ExpiringChannel { channel: CHANNEL, last_offset };
    let elsewhere = MessageRef { channel: NOBODY, ..over };
    let expire = |messages: &[MessageRef], channels: &[ExpiringChannel]| Command::Expire {
        messages: messages.to_vec(),
        channels: channels.to_vec(),
    };
    // Something was said since it was found to be over.
    let answers = world.batch(&[send(MEMBER, None), expire(&[], &[channel])]);
    assert_eq!(answers[1], Answer::Done { offset: Offset(11), time: START, records: 0 });
    assert_eq!(
        world.one(expire(&[], &[channel])),
        Answer::Done { offset: Offset(11), time: START, records: 0 }
    );

    let answer = world.one(expire(&[gone, over, over, elsewhere], &[]));
    assert!(matches!(answer, Answer::Done { records: 1, .. }), "{answer:?}");
    let Fact::MessageDeleted(deleted) = world.newest() else { panic!("{:?}", world.newest()) };
    assert_eq!((deleted.message, deleted.by, deleted.reason), (over.offset, None, Reason::Expired));

    let said = MessageRef { offset: Offset(10), ..over };
    let last_offset = world.views.channels().get(CHANNEL).unwrap().last_offset;
    let channel = ExpiringChannel { channel: CHANNEL, last_offset };
    let answer = world.one(expire(&[said], &[channel, channel]));
    assert!(
        matches!(answer, Answer::Done { records: 1, .. }),
        "the message goes with its channel: {answer:?}"
    );
    let deleted = ChannelDeleted { channel: CHANNEL, by: None, reason: Reason::Expired };
    assert_eq!(world.newest(), Fact::ChannelDeleted(deleted));
}

fn step(steps_before: usize, lines_before: u64, channels: &[&str]) -> ImportStep {
    let lines = channels.iter().zip(1..).map(|(channel, at)| ImportLine {
        channel: name(channel),
        at: Timestamp(at),
        sender_name: "somebody".into(),
        body: "said something".into(),
    });
    ImportStep { steps_before, lines_before, digest: [9; 16], lines: lines.collect() }
}

#[test]
fn an_import_creates_the_channels_that_are_missing_and_counts_its_lines() {
    let mut world = World::with_people();
    let head = world.views.at();
    let steps = [step(0, 0, &["new", "GENERAL", "new", "other"]), step(1, 4, &["other", "New"])];
    let answers = world.batch(&steps.map(Command::Import));
    assert_eq!(answers[0], Answer::Done { offset: head.next(), time: START, records: 2 + 4 + 1 });
    assert_eq!(answers[1], Answer::Done { offset: head.plus(8), time: START, records: 2 + 1 });
    let noted: Vec<_> =
        world.views.imports().iter().map(|step| (step.lines_before, step.lines, step.first)).collect();
    assert_eq!(noted, [(0, 4, head.plus(3)), (4, 6, head.plus(8))]);
    let counts: Vec<_> = world
        .views
        .channels()
        .iter()
        .map(|(offset, channel)| (channel.folded.as_str(), world.views.messages().of(offset).unwrap().len()))
        .collect();
    assert_eq!(counts, [("general", 1), ("new", 3), ("other", 2)]);
    assert!(world.views.channels().iter().skip(1).all(|(_, channel)| channel.creator.is_none()));
}

#[test]
fn an_import_step_that_comes_twice_or_beside_another_is_refused() {
    let mut world = World::with_people();
    let answers = world.batch(&[Command::Import(step(0, 0, &["a"])), Command::Import(step(0, 0, &["a"]))]);
    assert!(is_done(&answers[0]));
    assert_eq!(answers[1], Answer::Refused(Refusal::ImportMoved));
    world.refused(Command::Import(step(0, 0, &["a"])), Refusal::ImportMoved);
    world.refused(Command::Import(step(2, 1, &["a"])), Refusal::ImportMoved);
    world.done(Command::Import(step(1, 1, &["a"])));
}

#[test]
fn a_text_that_no_record_can_hold_is_refused_and_nothing_is_left_of_it() {
    let mut world = World::with_people();
    let key = Some(KeyDigest([8; 16]));
    let body = "x".repeat(1 << 20);
    world.refused(
        Command::SendMessage { channel: CHANNEL, sender: MEMBER, body: body.clone(), key },
        Refusal::TooLarge,
    );
    let mut step = step(0, 0, &["new", "new"]);
    step.lines[1].body = body;
    let create = Command::CreateChannel { creator: MEMBER, name: name("new"), private: false, key };
    let answers = world.batch(&[Command::Import(step), create]);
    assert_eq!(answers[0], Answer::Refused(Refusal::TooLarge));
    assert!(is_done(&answers[1]));
}
