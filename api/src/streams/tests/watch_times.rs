//! When readers of watches are told, and how long what is kept for them is kept.

use std::sync::Arc;
use std::time::Duration;

use scrollback_log::Offset;
use tokio::time::{Instant, timeout};

use super::client::PATIENCE;
use super::watching::{Owner, read, without_heartbeats};
use super::{OWNER, World, limits};
use crate::settings::StreamLimits;
use crate::streams::watches::reading::{Reading, Step};
use crate::streams::watches::set::Change;
use crate::streams::watches::watch::Role;
use crate::streams::watches::{LEASE_MIN, Options, Place, Set};

/// The newest that the next notice tells of, when that was, and how many signs of life came before.
async fn next_notice(reading: &mut Reading) -> (Offset, Instant, usize) {
    let mut signs = 0;
    let told = async {
        loop {
            match reading.step() {
                Step::Changed(changes, _) => {
                    let [Change::Moved(_, newest)] = changes[..] else { panic!("{changes:?}") };
                    return newest;
                }
                Step::Heartbeat | Step::Checkpoint(_) => signs += 1,
                Step::CaughtUp(_) => {}
                Step::Wait(until) => reading.wait(until).await,
                Step::Ended(reason) => panic!("{reason:?}"),
            }
        }
    };
    let newest = timeout(PATIENCE, told).await.expect("it is told");
    (newest, Instant::now(), signs)
}

#[tokio::test]
async fn what_is_held_back_is_told_after_the_delay_whatever_signs_of_life_come_meanwhile() {
    let delay = Duration::from_millis(60);
    let world = World::new(1 << 20);
    let mine = world.channel("mine");
    let streams = world.streams(StreamLimits { heartbeat: Duration::from_millis(5), ..limits() });
    let mut reading = read(&streams, "w", &[mine], delay);
    assert!(matches!(reading.step(), Step::CaughtUp(_)));
    world.say(mine, "told at once");
    let (_, mut before, _) = next_notice(&mut reading).await;
    let mut beats = 0;
    for _ in 0..5 {
        let newest = (0..7).map(|_| world.say(mine, "held back")).max().unwrap();
        let (told, at, signs) = next_notice(&mut reading).await;
        assert_eq!(told, newest, "all of it at once");
        assert!(at - before >= delay, "{:?} after the one before", at - before);
        (before, beats) = (at, beats + signs);
    }
    assert!(beats > 0, "no heartbeat came while a notice was held back");
}

/// When the next sign of life comes, before which nothing else does.
async fn next_sign(reading: &mut Reading) -> Instant {
    loop {
        match reading.step() {
            Step::Heartbeat | Step::Checkpoint(_) => return Instant::now(),
            Step::Wait(until) => reading.wait(until).await,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_is_for_whoever_had_no_notice_since_the_one_before() {
    let every = limits().heartbeat;
    let world = World::new(1 << 20);
    let mine = world.channel("mine");
    let streams = world.streams(limits());
    let mut reading = read(&streams, "w", &[mine], Duration::ZERO);
    assert!(matches!(reading.step(), Step::CaughtUp(_)));
    for n in 0..3 {
        world.say(mine, &n.to_string());
        let told = next_notice(&mut reading).await.1;
        let after = next_sign(&mut reading).await;
        // So nobody hears nothing for longer than two of them take.
        assert!(after > told + every && after <= told + 2 * every, "{:?} after a notice", after - told);
        assert_eq!(next_sign(&mut reading).await - after, every);
    }
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_lets_go_what_nobody_reads_after_its_lease() {
    let world = World::new(1 << 20);
    let streams = world.streams(limits());
    let options = Options { max_delay: Duration::ZERO, lease: LEASE_MIN };
    streams.watches().set(OWNER, "w", Set::default(), options).unwrap();
    let watch = Arc::downgrade(&streams.watches().get(OWNER, "w").unwrap());
    tokio::time::sleep(LEASE_MIN / 2).await;
    assert!(watch.strong_count() > 0);
    tokio::time::sleep(LEASE_MIN + 2 * limits().heartbeat).await;
    assert_eq!(watch.strong_count(), 0);
}

#[tokio::test]
async fn whoever_is_put_out_before_they_were_told_anything_stands_where_they_came_from() {
    let world = World::new(1 << 20);
    let mine = world.channel("mine");
    let streams = world.streams(without_heartbeats());
    let first = world.say(mine, "known");
    world.say(mine, "not known");
    drop(read(&streams, "w", &[mine], Duration::ZERO));
    let watch = streams.watches().get(OWNER, "w").unwrap();
    let place = Place { epoch: None, after: first };
    let mut reading = Reading::begin(&streams, Arc::new(Owner), &watch, place, Role::Stream).unwrap();
    streams.watches().end(OWNER, "w");
    assert!(matches!(reading.step(), Step::Ended(_)));
    let stands = reading.given();
    assert_eq!((stands.offset, Some(stands)), (first, world.ring.position(first)));
}
