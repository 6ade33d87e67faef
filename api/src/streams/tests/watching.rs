//! Readers of watches are woken for what concerns them, and for nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use scrollback_log::{Offset, Timestamp};
use scrollback_projections::Views;
use scrollback_projections::testing::{Dice, History};
use tokio::time::timeout;

use super::client::PATIENCE;
use super::{OWNER, World, limits, said};
use crate::ids::{self, IdKind};
use crate::rights::may_see;
use crate::settings::StreamLimits;
use crate::streams::watches::readers::News;
use crate::streams::watches::reading::{Reading, Step};
use crate::streams::watches::set::Change;
use crate::streams::watches::watch::Role;
use crate::streams::watches::{Options, Place, Set, Wanted};
use crate::streams::{Reader, Streams};

/// Somebody whose identity never ends.
pub(super) struct Owner;

impl Reader for Owner {
    fn is_live(&self) -> bool {
        true
    }

    fn touch(&self) {}

    fn user(&self) -> Offset {
        OWNER
    }
}

/// Nothing but what a reader is told of can wake it.
pub(super) fn without_heartbeats() -> StreamLimits {
    StreamLimits { heartbeat: Duration::from_secs(24 * 3_600), ..limits() }
}

/// A reader of these channels, who knows them as they stand.
pub(super) fn read(streams: &Arc<Streams>, name: &str, channels: &[Offset], max_delay: Duration) -> Reading {
    let set = streams.look(|views| {
        let id = |channel: &Offset| ids::show(IdKind::Channel, *channel, views.origins());
        let wanted: Vec<Wanted> =
            channels.iter().map(|channel| Wanted { id: id(channel), since: None }).collect();
        Set::of(views, OWNER, &wanted).0
    });
    assert_eq!(set.len(), channels.len());
    let options = Options { max_delay, lease: Duration::from_secs(3_600) };
    streams.watches().set(OWNER, name, set, options).unwrap();
    let watch = streams.watches().get(OWNER, name).unwrap();
    Reading::begin(streams, Arc::new(Owner), &watch, Place::BEGINNING, Role::Stream).unwrap()
}

/// A reader of this channel who has been told all there is, and waits.
fn at_rest(streams: &Arc<Streams>, channel: Offset) -> Reading {
    let mut reading = read(streams, "w", &[channel], Duration::ZERO);
    assert!(matches!(reading.step(), Step::CaughtUp(_)));
    assert_eq!(reading.step(), Step::Wait(None));
    reading
}

/// What a user knows of each channel.
fn standings(views: &Views, user: Offset) -> BTreeMap<Offset, Offset> {
    let seen = views.channels().iter().filter(|(channel, _)| may_see(views, user, *channel));
    seen.map(|(channel, known)| (channel, known.last_offset)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_changes_for_anybody_is_among_what_a_new_head_is_said_to_bring(
        dice in proptest::collection::vec(any::<Dice>(), 0..150), batch in 1_usize..9, ring_bytes_max in 1_usize..4_000,
    ) {
        let history = History::new(&dice);
        let users: Vec<Offset> = history.users.iter().map(|user| user.offset).collect();
        let world = World::empty(ring_bytes_max);
        let all_stand = || -> Vec<BTreeMap<Offset, Offset>> {
            let views = world.views.read().unwrap();
            users.iter().map(|user| standings(&views, *user)).collect()
        };
        let (mut before, mut stood) = (world.head(), all_stand());
        for records in history.records.chunk_by(|one, next| one.0 == next.0) {
            for records in records.chunks(batch) {
                world.write_at(records[0].0, records.iter().map(|(_, record)| record.clone()).collect());
                let (head, stands) = (world.head(), all_stand());
                if let News::Of(channels) = News::between(&world.ring, before, head) {
                    for (stood, stands) in stood.iter().zip(&stands) {
                        let known = stood.keys().chain(stands.keys());
                        for channel in known.filter(|channel| stood.get(channel) != stands.get(channel)) {
                            prop_assert!(channels.contains(channel), "{channel} between {before} and {head}: {channels:?}");
                        }
                    }
                }
                (before, stood) = (head, stands);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_look_at_the_channels_concerned_finds_what_a_look_at_all_finds(
        dice in proptest::collection::vec(any::<Dice>(), 0..150), batch in 1_usize..9, register_at in 0_usize..60,
    ) {
        let history = History::new(&dice);
        let world = World::empty(1 << 20);
        let mut sets: Vec<(Offset, Set)> = Vec::new();
        let mut before = (Offset(0), Offset(0));
        let mut round = 0;
        for records in history.records.chunk_by(|one, next| one.0 == next.0) {
            for records in records.chunks(batch) {
                world.write_at(records[0].0, records.iter().map(|(_, record)| record.clone()).collect());
                let views = world.views.read().unwrap();
                let now = (views.at(), views.memberships().changed_at());
                round += 1;
                if round <= register_at || sets.is_empty() {
                    let id = |channel| ids::show(IdKind::Channel, channel, views.origins());
                    let wanted: Vec<Wanted> =
                        views.channels().iter().map(|(channel, _)| Wanted { id: id(channel), since: None }).collect();
                    let users = history.users.iter().map(|user| user.offset);
                    sets = users.map(|user| (user, Set::of(&views, user, &wanted).0)).collect();
                } else {
                    let known = (now.1 == before.1).then(|| world.ring.channels_between(before.0, now.0, 16)).flatten();
                    for (user, set) in &mut sets {
                        let narrow = set.clone().changes(&views, *user, before.0, known.as_deref());
                        prop_assert_eq!(narrow, set.changes(&views, *user, before.0, None), "{:?}", known);
                    }
                }
                before = now;
            }
        }
    }
}

#[tokio::test]
async fn a_reader_sleeps_through_what_happens_elsewhere() {
    let world = World::new(1 << 20);
    let (mine, other) = (world.channel("mine"), world.channel("other"));
    let streams = world.streams(without_heartbeats());
    let mut reading = at_rest(&streams, mine);
    let mut pulses = streams.pulse.clone();
    for _ in 0..20 {
        let head = world.say(other, "elsewhere");
        timeout(PATIENCE, pulses.wait_for(|pulse| pulse.head.offset >= head)).await.unwrap().unwrap();
        tokio::task::yield_now().await;
        assert!(timeout(Duration::ZERO, reading.wait(None)).await.is_err(), "woken for nothing");
    }
    let newest = world.say(mine, "here");
    timeout(PATIENCE, reading.wait(None)).await.expect("it is told");
    assert!(matches!(reading.step(), Step::Changed(changes, _) if changes == [Change::Moved(mine, newest)]));
}

#[tokio::test]
async fn a_reader_that_sleeps_still_knows_at_a_heartbeat_how_far_it_stands() {
    let world = World::new(1 << 20);
    let (mine, other) = (world.channel("mine"), world.channel("other"));
    let streams = world.streams(StreamLimits { heartbeat: Duration::from_millis(20), ..limits() });
    let mut reading = read(&streams, "w", &[mine], Duration::ZERO);
    for _ in 0..3 {
        let head = world.say(other, "elsewhere");
        let marked = async {
            loop {
                match reading.step() {
                    Step::Checkpoint(at) if at.offset == head => break,
                    Step::Wait(until) => reading.wait(until).await,
                    Step::Changed(changes, _) => panic!("nothing of its own has changed: {changes:?}"),
                    _ => {}
                }
            }
        };
        timeout(PATIENCE, marked).await.expect("a mark of the newest");
        // What it is told later is not told again of what was before.
        let newest = world.say(mine, "here");
        let told = async {
            loop {
                match reading.step() {
                    Step::Changed(changes, _) => break changes,
                    Step::Wait(until) => reading.wait(until).await,
                    _ => {}
                }
            }
        };
        assert_eq!(timeout(PATIENCE, told).await.expect("it is told"), [Change::Moved(mine, newest)]);
    }
}

#[tokio::test]
async fn a_reader_whose_notice_is_held_back_is_woken_once_however_much_happens() {
    let world = World::new(1 << 20);
    let mine = world.channel("mine");
    let streams = world.streams(without_heartbeats());
    let delay = Duration::from_secs(600);
    let mut reading = read(&streams, "w", &[mine], delay);
    assert!(matches!(reading.step(), Step::CaughtUp(_)));
    world.say(mine, "told at once");
    let first = loop {
        match reading.step() {
            Step::Wait(until) => timeout(PATIENCE, reading.wait(until)).await.expect("it is told"),
            step => break step,
        }
    };
    assert!(matches!(first, Step::Changed(..)), "{first:?}");
    let mut pulses = streams.pulse.clone();
    let mut woken = 0;
    for _ in 0..20 {
        let head = world.say(mine, "held back");
        timeout(PATIENCE, pulses.wait_for(|pulse| pulse.head.offset >= head)).await.unwrap().unwrap();
        tokio::task::yield_now().await;
        let Step::Wait(until) = reading.step() else { panic!("it is held back") };
        woken += usize::from(timeout(Duration::ZERO, reading.wait(until)).await.is_ok());
    }
    assert!(woken <= 1, "woken {woken} times");
    let secret = world.private_channel(OWNER, "secret");
    world.change_membership(secret, OWNER, false);
    timeout(PATIENCE, reading.wait(None)).await.expect("rights may have changed");
}

#[tokio::test]
async fn a_reader_that_finds_the_views_ahead_of_what_is_published_looks_again_whatever_that_was() {
    let world = World::new(1 << 20);
    let (mine, other) = (world.channel("mine"), world.channel("other"));
    let streams = world.streams(without_heartbeats());
    let mut reading = at_rest(&streams, mine);
    let newest = world.say(mine, "published");
    timeout(PATIENCE, reading.wait(None)).await.expect("it is told");
    world.apply_at(Timestamp(0), vec![said(other, "not published yet")]);
    assert_eq!(reading.step(), Step::Wait(None), "it does not tell what is not published");
    assert!(timeout(Duration::ZERO, reading.wait(None)).await.is_err());
    world.publish();
    timeout(PATIENCE, reading.wait(None)).await.expect("it looks again");
    assert!(matches!(reading.step(), Step::Changed(changes, _) if changes == [Change::Moved(mine, newest)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reader_misses_the_last_change_of_any_of_its_channels_whatever_it_races_with() {
    const CHANNELS: usize = 12;
    const READERS: usize = 24;
    const WRITES: usize = 3_000;
    let world = Arc::new(World::new(1 << 20));
    let channels: Vec<Offset> = (0..CHANNELS).map(|n| world.channel(&n.to_string())).collect();
    let streams = world.streams(without_heartbeats());
    let told = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..READERS)
        .map(|n| {
            // Each watches a few, some of them under a delay.
            let mine: Vec<Offset> = (0..3).map(|k| channels[(n * 5 + k * (n % 4 + 1)) % CHANNELS]).collect();
            let delay = Duration::from_millis(if n % 3 == 0 { 2 } else { 0 });
            let mut mine = mine;
            mine.sort_unstable();
            mine.dedup();
            let mut reading = read(&streams, &n.to_string(), &mine, delay);
            let told = Arc::clone(&told);
            let (known, knows) = tokio::sync::watch::channel(BTreeMap::new());
            let task = tokio::spawn(async move {
                loop {
                    match reading.step() {
                        Step::Changed(changes, _) => known.send_modify(|known| {
                            told.fetch_add(1, Ordering::Relaxed);
                            for change in changes {
                                let Change::Moved(channel, newest) = change else { panic!("{change:?}") };
                                let before = known.insert(channel, newest);
                                assert!(before.is_none_or(|before| before < newest), "{before:?} {newest}");
                            }
                        }),
                        Step::Wait(until) => reading.wait(until).await,
                        Step::Ended(reason) => return reason,
                        Step::CaughtUp(_) | Step::Checkpoint(_) | Step::Heartbeat => {}
                    }
                }
            });
            (mine, knows, task)
        })
        .collect();
    let (writing, of) = (Arc::clone(&world), channels.clone());
    let newest = tokio::task::spawn_blocking(move || {
        let mut newest = BTreeMap::new();
        for n in 0..WRITES {
            // Now and then a batch about several channels, which is in the views before it is published.
            let batch: Vec<Offset> = (0..1 + n % 3).map(|k| of[(n * 7 + k * 5) % CHANNELS]).collect();
            let first = writing.write(batch.iter().map(|channel| said(*channel, "x")).collect());
            for (place, channel) in batch.into_iter().enumerate() {
                newest.insert(channel, Offset(first.0 + place as u64));
            }
            if n % 16 == 0 {
                std::thread::yield_now();
            }
        }
        newest
    })
    .await
    .unwrap();
    for (mine, mut knows, task) in readers {
        let wanted: BTreeMap<Offset, Offset> =
            mine.iter().map(|channel| (*channel, newest[channel])).collect();
        let is_told = knows.wait_for(|known| *known == wanted);
        let outcome = timeout(PATIENCE, is_told).await.map(drop);
        assert!(outcome.is_ok(), "{mine:?}: a reader knows {:?}, not {wanted:?}", knows.borrow());
        task.abort();
    }
    let told = told.load(Ordering::Relaxed);
    assert!(told >= READERS, "{told}");
}

#[test]
fn whoever_goes_on_where_a_notice_stood_is_not_told_of_it_again_however_it_races_with_writes() {
    const MESSAGES: usize = 3_000;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let world = Arc::new(World::new(1 << 20));
    let streams = world.streams(without_heartbeats());
    read(&streams, "w", &[super::CHANNEL], Duration::ZERO);
    let watch = streams.watches().get(OWNER, "w").unwrap();
    let writer = {
        let world = Arc::clone(&world);
        std::thread::spawn(move || {
            (0..MESSAGES).fold(Offset::BEGINNING, |_, _| world.say(super::CHANNEL, "x"))
        })
    };
    let (mut place, mut told, mut last) = (Place::BEGINNING, Offset::BEGINNING, None);
    let mut writer = Some(writer);
    while last != Some(told) {
        // As polls do it: each begins anew where the one before has stood.
        let mut reading = Reading::begin(&streams, Arc::new(Owner), &watch, place, Role::Poll).unwrap();
        if let Step::Changed(changes, at) = reading.step() {
            let [Change::Moved(_, offset)] = changes[..] else { panic!("{changes:?}") };
            assert!(offset > told, "{offset} after {told}");
            (told, place) = (offset, Place { after: at.offset, ..place });
        }
        if writer.as_ref().is_some_and(|writer| writer.is_finished()) {
            last = writer.take().map(|writer| writer.join().unwrap());
        }
    }
}
