use std::sync::Arc;

use proptest::prelude::*;
use scrollback_log::Offset;
use scrollback_projections::facts::Role;
use scrollback_projections::testing::{Dice, History};
use serde_json::Value;
use tokio::sync::watch;

use super::ring::{events, happened, offset, shown};
use super::{CHANNEL, OWNER, World, limits};
use crate::ids::{self, IdKind};
use crate::streams::cut::{Cut, Form};
use crate::streams::filter::Filters;
use crate::streams::resume::Resume;
use crate::streams::subscription::{Step, Subscription};
use crate::streams::{Bye, Position, Pulse, Reader, Streams};

/// A reader with the rights of a user.
pub(super) struct User(pub(super) Offset);

impl Reader for User {
    fn is_live(&self) -> bool {
        true
    }

    fn touch(&self) {}

    fn user(&self) -> Offset {
        self.0
    }
}

/// A subscription and what drives it.
struct Driven {
    subscription: Subscription,
    pulses: watch::Receiver<Pulse>,
}

impl Driven {
    fn begin(streams: &Arc<Streams>, user: Offset, filters: Filters) -> Driven {
        let resume = Resume::Ok(Position::BEGINNING);
        let subscription = Subscription::begin(streams, Arc::new(User(user)), resume, filters);
        Driven { subscription, pulses: streams.pulse.clone() }
    }

    /// Steps until there is nothing to do or it is over, and gives the events and how it ended.
    async fn settle(&mut self) -> (Vec<Value>, Option<Bye>) {
        let cut = Cut { form: Form::Sse, bytes_max: 2000, events_max: usize::MAX, shared: true };
        let mut all = Vec::new();
        loop {
            match self.subscription.step(&mut self.pulses, cut).await.unwrap() {
                Step::Events(taken) => all.extend(shown(&taken.chunk.bare())),
                Step::CaughtUp(_) | Step::Checkpoint(_) | Step::Heartbeat => {}
                Step::Wait => return (all, None),
                Step::Ended(reason) => return (all, Some(reason)),
            }
        }
    }

    /// The same once it knows of this head.
    async fn settle_at(&mut self, head: Offset) -> (Vec<Value>, Option<Bye>) {
        self.pulses.wait_for(|pulse| pulse.head.offset >= head).await.unwrap();
        self.settle().await
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What the words of the contract say that a user may see of an event, by a plain look at all that happened.
pub(super) fn may_see(history: &History, world: &World, user: Offset, event: &Value) -> bool {
    let origins = world.views.read().unwrap().origins().clone();
    let named = |id: &Value, kind| id.as_str().and_then(|id| ids::parse(kind, id, &origins));
    let channel = match event["type"].as_str().unwrap() {
        "user" => return true,
        "channel" => named(&event["id"], IdKind::Channel),
        _ => named(&event["channel"], IdKind::Channel),
    };
    let channel = history.channels.iter().find(|known| Some(known.offset) == channel).unwrap();
    let reader = history.users.iter().find(|known| known.offset == user).unwrap();
    !channel.private
        || (reader.active && reader.role == Role::Owner)
        || channel.members.iter().any(|(member, _)| *member == user)
        || (event["type"] == "member" && named(&event["user"], IdKind::User) == Some(user))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_reader_is_shown_exactly_what_its_rights_allow_from_ring_and_log_alike(
        dice in proptest::collection::vec(any::<Dice>(), 0..120),
        ring_bytes_max in prop_oneof![Just(0_usize), Just(1 << 20)],
    ) {
        let history = History::new(&dice);
        let world = happened(&history, ring_bytes_max, 5);
        run(async {
            let streams = world.streams(limits());
            for user in &history.users {
                let wanted: Vec<_> =
                    events(&world).into_iter().filter(|event| may_see(&history, &world, user.offset, event)).collect();
                let (all, ended) = Driven::begin(&streams, user.offset, Filters::default()).settle().await;
                assert_eq!((all, ended), (wanted, None), "user {}", user.offset);
            }
        });
    }
}

#[test]
fn whoever_loses_a_channel_is_told_and_shown_no_more_of_it_and_who_joins_sees_what_follows() {
    let world = World::new(1 << 20);
    let (ada, bob) = (world.user("ada"), world.user("bob"));
    let secret = world.private_channel(ada, "secret");
    run(async {
        let streams = world.streams(limits());
        let mut streams_of = [ada, bob].map(|user| Driven::begin(&streams, user, Filters::default()));
        let mut owners = Driven::begin(&streams, OWNER, Filters::default());
        let head = world.say(secret, "only ada");
        for driven in &mut streams_of {
            driven.settle_at(head).await;
        }
        owners.settle_at(head).await;
        let [adas, bobs] = &mut streams_of;

        let joined = world.change_membership(secret, bob, true);
        let said = world.say(secret, "both");
        for driven in [&mut *bobs, adas, &mut owners] {
            let (all, ended) = driven.settle_at(said).await;
            assert_eq!((all.iter().map(offset).collect::<Vec<_>>(), ended), (vec![joined.0, said.0], None));
            assert_eq!(all[0]["history_after"], secret.0 - 1);
        }

        let removed = world.change_membership(secret, bob, false);
        let said = world.say(secret, "only ada again");
        assert_eq!(adas.settle_at(said).await.0.len(), 2);
        assert_eq!(bobs.settle_at(said).await, (vec![], Some(Bye::Excluded)));
        let stood = bobs.subscription.given().unwrap();
        assert!(stood.offset < removed, "it goes on before what took the right away");
        let (again, _) = Driven::begin(&streams, bob, Filters::default()).settle().await;
        let offsets: Vec<u64> = again.iter().map(offset).filter(|offset| *offset > CHANNEL.0).collect();
        assert_eq!(
            offsets,
            [ada.0, bob.0, joined.0, removed.0],
            "of the channel nothing but his own part in it"
        );
    });
}

#[test]
fn a_stream_that_could_not_show_the_lost_channel_goes_on() {
    let world = World::new(1 << 20);
    let ada = world.user("ada");
    let secret = world.private_channel(ada, "secret");
    let origins = world.views.read().unwrap().origins().clone();
    let wanting =
        |query: &str| Filters::take(&mut crate::http::query::Query::parse(query).unwrap(), &origins).unwrap();
    let id = |channel| ids::show(IdKind::Channel, channel, &origins);
    // Of the log's events for everybody only that message is newer than what they begin with.
    let goes_on = [
        (format!("channel={}", id(CHANNEL)), true),
        (format!(r#"filter=[["channel","!=","{}"]]"#, id(secret)), true),
        ("type=user".to_owned(), false),
        ("event=changed".to_owned(), false),
        ("type=message&event=added".to_owned(), false),
        (r#"filter=[["type","=","user"]]"#.to_owned(), false),
        (r#"filter=[["type","=","message"],["event","in",["created","added"]]]"#.to_owned(), false),
    ];
    let ends = [
        String::new(),
        format!("channel={}", id(secret)),
        "type=message".to_owned(),
        "type=message&event=deleted".to_owned(),
        "event=removed".to_owned(),
        r#"filter=[["type","=","user"]]&filter=[["type","=","member"]]"#.to_owned(),
    ];
    run(async {
        let streams = world.streams(limits());
        let mut begun = Vec::new();
        for (query, is_shown) in goes_on {
            begun.push((Driven::begin(&streams, ada, wanting(&query)), query, Some(is_shown)));
        }
        for query in ends {
            begun.push((Driven::begin(&streams, ada, wanting(&query)), query, None));
        }
        for (driven, ..) in &mut begun {
            driven.settle().await;
        }
        world.change_membership(secret, ada, false);
        let said = world.say(CHANNEL, "for everybody");
        for (mut driven, query, is_shown) in begun {
            let (all, ended) = driven.settle_at(said).await;
            let offsets: Vec<u64> = all.iter().map(offset).collect();
            let (wanted, reason) = match is_shown {
                Some(true) => (vec![said.0], None),
                Some(false) => (vec![], None),
                None => (vec![], Some(Bye::Excluded)),
            };
            assert_eq!((offsets, ended), (wanted, reason), "{query:?}");
        }
    });
}
