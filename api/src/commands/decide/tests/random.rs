//! Random batches: what the overlay promises.

use proptest::prelude::*;

use super::*;

/// A wish whose targets are chosen among what is there before its batch.
#[derive(Clone, Debug)]
struct Wish {
    what: u8,
    pick: u8,
    actor: u8,
    number: u8,
}

fn wish() -> impl Strategy<Value = Wish> {
    (0_u8..16, any::<u8>(), any::<u8>(), 0_u8..6).prop_map(|(what, pick, actor, number)| Wish {
        what,
        pick,
        actor,
        number,
    })
}

fn picked<T: Copy>(from: &[T], by: u8) -> Option<T> {
    from.get(usize::from(by) % from.len().max(1)).copied()
}

fn command(world: &World, wish: &Wish) -> Option<Command> {
    let views = &world.views;
    let people: Vec<_> = views.people().iter().map(|(offset, _)| offset).collect();
    let channels: Vec<_> = views.channels().iter().map(|(offset, _)| offset).collect();
    let messages: Vec<_> = world
        .sealed
        .iter()
        .filter_map(|sealed| MessageRef::of(&sealed.as_record()).unwrap())
        .filter(|message| {
            views.messages().of(message.channel).is_some_and(|live| live.contains(message.offset))
        })
        .collect();
    let (actor, channel) = (picked(&people, wish.actor)?, picked(&channels, wish.pick));
    let a_name = name(&format!("Name {}", wish.number));
    let key = (wish.number < 3).then_some(KeyDigest([wish.number; 16]));
    let credential = VaultKey([wish.number; 16]);
    let role = [Role::Member, Role::Moderator, Role::Owner][usize::from(wish.number) % 3];
    Some(match wish.what {
        0 => Command::AddUser { name: a_name, role, credential },
        1 => change(picked(&people, wish.pick)?, Some(role), None, Some(actor)),
        2 => change(picked(&people, wish.pick)?, None, Some(wish.number < 4), None),
        3 => {
            Command::CreateChannel { creator: actor, name: a_name, private: wish.pick.is_multiple_of(2), key }
        }
        4 => Command::DeleteChannel { channel: channel?, by: actor },
        5 | 6 => Command::SendMessage { channel: channel?, sender: actor, body: "x".into(), key },
        7 => Command::DeleteMessage { message: picked(&messages, wish.pick)?, by: actor },
        8 => Command::Expire {
            messages: messages.iter().step_by(2).copied().collect(),
            channels: channel
                .map(|channel| ExpiringChannel {
                    channel,
                    last_offset: views.channels().get(channel).unwrap().last_offset,
                })
                .into_iter()
                .collect(),
        },
        9 => Command::Import(step(views.imports().len(), 0, &["Name 1", "name 2", "Name 1"])),
        10 => {
            Command::IssueInvitation { issuer: actor, secret: credential, lifetime: Duration::from_secs(60) }
        }
        11 | 12 => Command::AddMember { channel: channel?, user: picked(&people, wish.number)?, by: actor },
        13 => Command::RemoveMember { channel: channel?, user: picked(&people, wish.number)?, by: actor },
        14 => Command::CreateChannel { creator: actor, name: a_name, private: true, key: None },
        _ => {
            let open: Vec<_> = views.invitations().iter().map(|(offset, _)| offset).collect();
            Command::AcceptInvitation { invitation: picked(&open, wish.pick)?, name: a_name, credential }
        }
    })
}

/// The channel that somebody asks something of, and who.
fn asked_of(command: &Command) -> Option<(Offset, Offset)> {
    match command {
        Command::DeleteChannel { channel, by }
        | Command::AddMember { channel, by, .. }
        | Command::RemoveMember { channel, by, .. }
        | Command::SendMessage { channel, sender: by, .. } => Some((*channel, *by)),
        Command::DeleteMessage { message, by } => Some((message.channel, *by)),
        _ => None,
    }
}

proptest! {
    /// Whoever may not see a private channel comes to nothing in it, also within a batch, and changes nothing.
    #[test]
    fn nobody_does_anything_in_a_channel_that_they_may_not_see(
        batches in proptest::collection::vec(proptest::collection::vec(wish(), 1..6), 1..20)
    ) {
        let mut world = World::with_people();
        for batch in batches {
            let commands: Vec<_> = batch.iter().filter_map(|wish| command(&world, wish)).collect();
            for command in commands {
                let hidden = asked_of(&command).is_some_and(|(channel, by)| {
                    let views = &world.views;
                    let person = views.people().get(by).unwrap();
                    let sees = (person.active && person.role == Role::Owner)
                        || views.channels().get(channel).is_none_or(|known| !known.private)
                        || views.memberships().is_member(channel, by);
                    !sees && person.active
                });
                let before = world.views.at();
                let answer = world.one(command);
                if hidden && !matches!(answer, Answer::Before(_)) {
                    prop_assert_eq!(answer, Answer::Refused(Refusal::NotFound));
                    prop_assert_eq!(world.views.at(), before);
                }
            }
        }
    }

    /// The overlay's promise, and that every record that is decided can be folded (`append` panics otherwise).
    #[test]
    fn a_batch_is_decided_as_its_commands_would_be_one_by_one(
        batches in proptest::collection::vec(proptest::collection::vec(wish(), 1..6), 1..12)
    ) {
        let (mut batched, mut single) = (World::with_people(), World::with_people());
        for batch in batches {
            let commands: Vec<_> = batch.iter().filter_map(|wish| command(&batched, wish)).collect();
            let answers = batched.batch(&commands);
            let alone: Vec<_> = commands.into_iter().map(|command| single.one(command)).collect();
            prop_assert_eq!(answers, alone);
            prop_assert_eq!(batched.views.digest(), single.views.digest());
            let later = batched.time.after(Duration::from_secs(13));
            (batched.time, single.time) = (later, later);
        }
    }
}
