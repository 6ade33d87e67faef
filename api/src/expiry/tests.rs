use proptest::prelude::*;
use scrollback_log::clock::ManualClock;
use scrollback_projections::facts::{Fact, Reason, Role};
use std::sync::Arc;

use super::*;
use crate::commands::{ImportLine, ImportStep};
use crate::names::Name;
use crate::node::testing::{NOW, open};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn day(count: u32) -> Timestamp {
    NOW.after(count * DAY)
}

fn lifetimes(messages: Option<Duration>, channels: Option<Duration>) -> Lifetimes {
    Lifetimes { messages, channels, ..crate::Settings::default().lifetimes }
}

struct World {
    _dir: tempfile::TempDir,
    node: Node,
    clock: Arc<ManualClock>,
    owner: Offset,
    channel: Offset,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let (node, clock) = open(dir.path());
        let owner = node.user("owner", Role::Owner);
        let channel = node.channel(owner, "general");
        World { _dir: dir, node, clock, owner, channel }
    }

    fn say_at(&self, time: Timestamp) -> Offset {
        self.clock.set(time);
        self.node.say(self.channel, self.owner, "said")
    }

    fn import(&self, steps_before: usize, ats: &[i64]) {
        let lines = ats.iter().map(|at| ImportLine {
            channel: Name::parse("General").unwrap(),
            at: Timestamp(*at),
            sender_name: "somebody".into(),
            body: "imported".into(),
        });
        let step = ImportStep { steps_before, lines_before: 0, digest: [1; 16], lines: lines.collect() };
        self.node.done(Command::Import(step));
    }

    fn live(&self) -> Vec<Offset> {
        let views = read(&self.node);
        views
            .messages()
            .of(self.channel)
            .map_or(Vec::new(), |live| live.recorded_before(Offset(u64::MAX)).collect())
    }

    fn expire(&self, lifetimes: &Lifetimes, now: Timestamp) -> Expired {
        self.clock.set(now);
        expire(&self.node, lifetimes, now, &|| true).unwrap()
    }
}

#[test]
fn a_message_expires_when_its_lifetime_after_its_record_is_over() {
    let world = World::new();
    let said: Vec<_> = (0..600).map(|n| world.say_at(NOW.after(n * Duration::from_secs(60)))).collect();
    let ninety = lifetimes(Some(90 * DAY), None);
    assert_eq!(world.expire(&ninety, Timestamp(day(90).0 - 1)), Expired::default());
    let at = NOW.after(90 * DAY + 9 * Duration::from_secs(60));
    assert_eq!(world.expire(&ninety, at), Expired { messages: 10, channels: 0 });
    assert_eq!(world.live(), said[10..]);
    assert_eq!(world.expire(&ninety, at), Expired::default(), "once");
    assert_eq!(world.expire(&lifetimes(None, None), day(5000)), Expired::default(), "switched off");
    let rest = world.expire(&ninety, day(5000));
    assert_eq!(rest, Expired { messages: 590, channels: 0 });
    let newest = world.node.log.head().offset;
    let fact = world.node.log.read(newest, |record| Fact::decode(&record).unwrap()).unwrap().unwrap();
    let Fact::MessageDeleted(deleted) = fact else { panic!("{fact:?}") };
    assert_eq!((deleted.reason, deleted.by, deleted.sender), (Reason::Expired, None, Some(world.owner)));
}

#[test]
fn an_imported_message_counts_from_its_record_and_not_from_its_own_time() {
    let world = World::new();
    world.import(0, &[1, 2, 3]);
    let ninety = lifetimes(Some(90 * DAY), None);
    assert_eq!(world.expire(&ninety, Timestamp(day(90).0 - 1)), Expired::default());
    assert_eq!(world.expire(&ninety, day(90)).messages, 3);
}

#[test]
fn a_channel_expires_after_its_newest_record_with_what_it_holds() {
    let world = World::new();
    world.say_at(day(1));
    world.say_at(day(30));
    let other = world.node.channel(world.owner, "other");
    let ninety = lifetimes(Some(90 * DAY), Some(90 * DAY));
    assert_eq!(world.expire(&ninety, Timestamp(day(120).0 - 1)).channels, 0);
    // The first message's expiry at day 119 was a record about the channel.
    assert_eq!(world.live().len(), 1);
    assert_eq!(world.expire(&ninety, day(120)), Expired { messages: 1, channels: 1 });
    assert!(read(&world.node).channels().get(other).is_none());
    assert!(read(&world.node).channels().get(world.channel).is_some());
    assert_eq!(world.expire(&ninety, day(210)), Expired { messages: 0, channels: 1 });
    assert!(read(&world.node).channels().is_empty());
}

#[test]
fn an_expiry_that_is_told_to_stop_stops_between_two_steps() {
    let world = World::new();
    for _ in 0..STEP_MAX + 10 {
        world.say_at(NOW);
    }
    let asked = std::cell::Cell::new(0);
    let once = || {
        asked.set(asked.get() + 1);
        asked.get() == 1
    };
    world.clock.set(day(91));
    let expired = expire(&world.node, &lifetimes(Some(90 * DAY), None), day(91), &once).unwrap();
    assert_eq!(expired.messages, STEP_MAX as u64);
    assert_eq!(world.live().len(), 10);
}

#[test]
fn the_offline_expiry_goes_by_the_time_a_message_was_said() {
    let world = World::new();
    world.import(0, &[10, 20, 30, 40]);
    let said = world.say_at(day(1));
    let elsewhere = world.node.channel(world.owner, "elsewhere");
    world.node.say(elsewhere, world.owner, "x");
    let all =
        |time, channel, dry_run| expire_before(&world.node, time, channel, dry_run, &mut |_, _| {}).unwrap();
    assert_eq!(all(Timestamp(30), None, true), 2);
    assert_eq!(world.live().len(), 5, "a dry run changes nothing");
    assert_eq!(all(Timestamp(30), Some(elsewhere), false), 0);
    assert_eq!(all(Timestamp(30), Some(world.channel), false), 2);
    assert_eq!(all(Timestamp(30), None, false), 0, "said at 30 is not before 30");
    assert_eq!(all(day(1), None, false), 2);
    assert_eq!(world.live(), [said]);
    assert_eq!(all(Timestamp(day(1).0 + 1), None, true), 2);
    assert_eq!(all(Timestamp(i64::MIN), None, true), 0);
    let mut told = Vec::new();
    expire_before(&world.node, Timestamp(i64::MAX), None, false, &mut |done, all| told.push((done, all)))
        .unwrap();
    assert_eq!(told, [(2, 2)]);
}

#[test]
fn expiry_pauses_after_a_clock_jump_and_stays_so() {
    let hour = Duration::from_secs(60 * 60);
    let start = |now, newest| ClockWatch::start(now, Duration::ZERO, newest);
    let mut calm = start(day(1), NOW);
    assert_eq!(calm.look(day(1).after(hour), hour), None);
    assert_eq!(calm.look(day(1).after(2 * hour), 2 * hour), None);
    let back = calm.look(day(1), 3 * hour);
    assert_eq!(back, Some(ClockJump::WhileRunning { moved: 2 * hour, passed: hour }));
    assert_eq!(calm.look(day(1).after(hour), 4 * hour), back);
    let mut ahead = start(NOW, NOW);
    assert!(ahead.look(day(1), hour).is_some());
    assert!(start(day(30), NOW).look(day(30), Duration::ZERO).is_none());
    let absent = start(day(31), NOW).look(day(31), Duration::ZERO);
    assert_eq!(absent, Some(ClockJump::SinceLastRecord(31 * DAY)));
    assert!(
        start(NOW, day(40)).look(NOW, Duration::ZERO).is_none(),
        "a clock that is behind deletes nothing"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn exactly_what_is_over_expires(gaps in proptest::collection::vec(0_u64..40_000_000, 1..400), cut in 0_u64..9_000_000_000) {
        let world = World::new();
        let mut time = NOW;
        let mut said = Vec::new();
        for gap in gaps {
            time = time.after(Duration::from_micros(gap));
            said.push((world.say_at(time), time));
        }
        let now = NOW.after(Duration::from_micros(cut)).after(DAY);
        expire(&world.node, &lifetimes(Some(DAY), None), now, &|| true).unwrap();
        let kept: Vec<_> = said.into_iter().filter(|(_, time)| time.after(DAY) > now).map(|(said, _)| said).collect();
        prop_assert_eq!(world.live(), kept);
    }
}
