//! Private channels: who comes to what in them.

use scrollback_projections::facts::MembershipChanged;

use super::*;

/// Created by [`MEMBER`].
const PRIVATE: Offset = Offset(7);

fn world() -> World {
    let mut world = World::with_people();
    let create = Command::CreateChannel { creator: MEMBER, name: name("secret"), private: true, key: None };
    assert_eq!(world.done(create), PRIVATE);
    world
}

fn add(user: Offset, by: Offset) -> Command {
    Command::AddMember { channel: PRIVATE, user, by }
}

fn remove(user: Offset, by: Offset) -> Command {
    Command::RemoveMember { channel: PRIVATE, user, by }
}

fn say(sender: Offset) -> Command {
    Command::SendMessage { channel: PRIVATE, sender, body: "hello".into(), key: None }
}

fn delete(by: Offset) -> Command {
    Command::DeleteChannel { channel: PRIVATE, by }
}

fn members(world: &World) -> Vec<Offset> {
    world.views.memberships().members(PRIVATE).unwrap().keys().copied().collect()
}

#[test]
fn a_private_channel_begins_with_its_creator() {
    let world = world();
    let created = ChannelCreated { creator: Some(MEMBER), private: true, key: None };
    assert_eq!(world.newest(), Fact::ChannelCreated(created));
    assert_eq!(members(&world), [MEMBER]);
}

#[test]
fn what_somebody_may_not_see_is_not_there_for_anything() {
    let mut world = world();
    let offset = world.done(say(MEMBER));
    let message = MessageRef { offset, channel: PRIVATE, sender: Some(MEMBER), imported_at: None };
    for by in [OTHER, MODERATOR] {
        for command in [
            say(by),
            delete(by),
            Command::DeleteMessage { message, by },
            add(by, by),
            add(NOBODY, by),
            remove(MEMBER, by),
            remove(by, by),
        ] {
            world.refused(command, Refusal::NotFound);
        }
    }
    // Of whoever was shut out, their own is hidden from them too.
    world.done(add(OTHER, MEMBER));
    let offset = world.done(say(OTHER));
    let message = MessageRef { offset, sender: Some(OTHER), ..message };
    world.done(remove(MEMBER, MEMBER));
    world.done(remove(OTHER, OTHER));
    world.refused(Command::DeleteMessage { message, by: OTHER }, Refusal::NotFound);
    world.refused(delete(MEMBER), Refusal::NotFound);
    world.done(Command::DeleteMessage { message, by: OWNER });
    world.done(delete(OWNER));
}

#[test]
fn any_member_and_any_owner_adds_and_nobody_is_added_twice() {
    let mut world = world();
    let since = world.done(add(OTHER, MEMBER));
    let added = MembershipChanged { channel: PRIVATE, user: OTHER, member: true, by: Some(MEMBER) };
    assert_eq!(world.newest(), Fact::MembershipChanged(added));
    world.done(add(OWNER, OWNER));
    world.done(add(MODERATOR, OTHER));
    assert_eq!(members(&world), [OWNER, MODERATOR, MEMBER, OTHER]);
    let before = world.views.at();
    assert_eq!(world.one(add(OTHER, MODERATOR)), Answer::Before(since));
    assert_eq!(
        world.one(add(MEMBER, OTHER)),
        Answer::Before(PRIVATE),
        "its creation made its creator a member"
    );
    assert_eq!(world.views.at(), before);
}

#[test]
fn only_who_is_there_and_active_is_added() {
    let mut world = world();
    world.refused(add(NOBODY, MEMBER), Refusal::NotFound);
    world.refused(add(PRIVATE, MEMBER), Refusal::NotFound);
    let answers = world.batch(&[change(OTHER, None, Some(false), None), add(OTHER, MEMBER)]);
    assert_eq!(answers[1], Answer::Refused(Refusal::NotFound));
    world.done(change(OTHER, None, Some(true), None));
    world.done(add(OTHER, MEMBER));
    // Whoever is switched off later stays a member, and can be removed.
    world.done(change(OTHER, None, Some(false), None));
    assert_eq!(members(&world), [MEMBER, OTHER]);
    world.done(remove(OTHER, MEMBER));
}

#[test]
fn members_leave_and_are_removed_by_its_creator_moderators_who_are_members_and_owners() {
    for (by, outcome) in [
        (OWNER, None),
        (MODERATOR, Some(Refusal::NotFound)),
        (MEMBER, None),
        (OTHER, None),
        (NOBODY, Some(Refusal::Inactive)),
    ] {
        let mut world = world();
        world.done(add(OTHER, MEMBER));
        match outcome {
            Some(refusal) => world.refused(remove(OTHER, by), refusal),
            None => {
                world.done(remove(OTHER, by));
                let removed =
                    MembershipChanged { channel: PRIVATE, user: OTHER, member: false, by: Some(by) };
                assert_eq!(world.newest(), Fact::MembershipChanged(removed));
                world.refused(remove(OTHER, OWNER), Refusal::NotFound);
            }
        }
    }
    let mut world = world();
    world.done(add(OTHER, MEMBER));
    world.refused(remove(MEMBER, OTHER), Refusal::Forbidden);
    world.done(add(MODERATOR, OTHER));
    world.done(remove(MEMBER, MODERATOR));
    assert_eq!(members(&world), [MODERATOR, OTHER]);
    // Whoever created it and comes back has the creator's rights again.
    world.done(add(MEMBER, OTHER));
    world.done(remove(MODERATOR, MEMBER));
}

#[test]
fn a_channel_is_deleted_and_messages_by_whoever_may_among_those_who_see_it() {
    let mut world = world();
    let offset = world.done(say(MEMBER));
    let message = MessageRef { offset, channel: PRIVATE, sender: Some(MEMBER), imported_at: None };
    world.done(add(OTHER, MEMBER));
    world.refused(delete(OTHER), Refusal::Forbidden);
    world.refused(Command::DeleteMessage { message, by: OTHER }, Refusal::Forbidden);
    world.done(add(MODERATOR, OTHER));
    world.done(Command::DeleteMessage { message, by: MODERATOR });
    world.done(delete(MODERATOR));
    for by in [MEMBER, OTHER, OWNER] {
        world.refused(add(OTHER, by), Refusal::NotFound);
        world.refused(remove(OTHER, by), Refusal::NotFound);
    }
    assert_eq!(members(&world), [MODERATOR, MEMBER, OTHER], "as they were at its end");
}

#[test]
fn a_public_channel_has_no_members() {
    let mut world = world();
    let add = |by| Command::AddMember { channel: CHANNEL, user: OTHER, by };
    let remove = |by| Command::RemoveMember { channel: CHANNEL, user: by, by };
    for by in [OWNER, MEMBER, OTHER] {
        world.refused(add(by), Refusal::NotPrivate);
        world.refused(remove(by), Refusal::NotPrivate);
    }
    world.refused(Command::AddMember { channel: NOBODY, user: OTHER, by: OWNER }, Refusal::NotFound);
}

#[test]
fn what_a_batch_decided_of_members_counts_in_it() {
    let mut world = world();
    let answers = world.batch(&[
        add(OTHER, MEMBER),
        add(OTHER, MEMBER),
        say(OTHER),
        remove(OTHER, MEMBER),
        say(OTHER),
        remove(OTHER, MEMBER),
        add(OTHER, OWNER),
        say(OTHER),
        change(OWNER, Some(Role::Owner), None, None),
    ]);
    let Answer::Done { offset: first, .. } = answers[0] else { panic!("{answers:?}") };
    let not_found = Answer::Refused(Refusal::NotFound);
    assert_eq!(answers[1], Answer::Before(first));
    assert_eq!([&answers[4], &answers[5]], [&not_found; 2]);
    assert!([2, 3, 6, 7, 8].into_iter().all(|place| is_done(&answers[place])), "{answers:?}");

    // So does what it decided of roles.
    let answers = world.batch(&[
        say(MODERATOR),
        change(MODERATOR, Some(Role::Owner), None, None),
        say(MODERATOR),
        change(MODERATOR, Some(Role::Moderator), None, None),
        say(MODERATOR),
    ]);
    assert_eq!(answers.iter().map(is_done).collect::<Vec<_>>(), [false, true, true, true, false]);
}

/// A retry told whoever had been removed that the channel was still there, and when it went.
#[test]
fn a_used_key_brings_nothing_back_to_who_sees_the_channel_no_more() {
    let mut world = world();
    world.done(add(OTHER, MEMBER));
    let key = Some(KeyDigest([1; 16]));
    let say = Command::SendMessage { channel: PRIVATE, sender: OTHER, body: "hello".into(), key };
    let first = world.done(say.clone());
    assert_eq!(world.one(say.clone()), Answer::Before(first));
    let answers = world.batch(&[remove(OTHER, OTHER), say.clone()]);
    assert_eq!(answers[1], Answer::Refused(Refusal::NotFound));
    world.refused(say.clone(), Refusal::NotFound);
    world.done(add(OTHER, MEMBER));
    assert_eq!(world.one(say.clone()), Answer::Before(first));
    world.done(delete(MEMBER));
    assert_eq!(world.one(say), Answer::Before(first), "its last members know what they said");

    let key = Some(KeyDigest([2; 16]));
    let create = Command::CreateChannel { creator: OTHER, name: name("mine"), private: true, key };
    let mine = world.done(create.clone());
    assert_eq!(world.one(create.clone()), Answer::Before(mine));
    world.done(Command::RemoveMember { channel: mine, user: OTHER, by: OTHER });
    assert_eq!(world.one(create), Answer::Before(mine), "that they made it they know");
}

#[test]
fn who_is_not_active_neither_adds_nor_removes() {
    let mut world = world();
    world.done(change(MEMBER, None, Some(false), None));
    world.refused(add(OTHER, MEMBER), Refusal::Inactive);
    world.refused(remove(MEMBER, MEMBER), Refusal::Inactive);
}
