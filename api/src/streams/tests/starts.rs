use std::ops::ControlFlow;
use std::time::Duration;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use scrollback_log::{Offset, ResumePoint, Timestamp};
use scrollback_projections::facts::{self, Imported, MessageImported, Name, Role, UserChanged};
use serde_json::{Value, json};

use super::reading::{everything, page, read_selected, run};
use super::ring::events;
use super::{CHANNEL, OWNER, World, limits, said, unsaid};
use crate::http::problem::Code;
use crate::http::query::Query;
use crate::streams::cursor::Cursor;
use crate::streams::filter::Filters;
use crate::streams::poll::Poll;
use crate::streams::start::{LAST_MAX, Start, StartError};
use crate::streams::{Position, StreamError};
use crate::timestamps;

/// A world of `records` records or a few more: talk in three channels, imports, deletions, and now and then a user.
fn varied(seed: u64, ring_bytes_max: usize, records: u64) -> World {
    let mut dice = StdRng::seed_from_u64(seed);
    let world = World::new(ring_bytes_max);
    let channels = [CHANNEL, world.channel("second"), world.channel("third")];
    let mut messages = Vec::new();
    while world.head().0 < records {
        let first = world.head().next().0;
        let count = dice.random_range(1..120);
        let batch = (0..count).map(|n| {
            let channel = channels[dice.random_range(0..3)];
            match dice.random_range(0..1000) {
                0 => {
                    let name = Name { shown: "owner", folded: "owner" };
                    let kept = UserChanged { user: OWNER, role: Role::Owner, active: true, by: Some(OWNER) };
                    facts::record_with(&kept, &name).unwrap()
                }
                1..100 => {
                    let kept = MessageImported { channel, at: Timestamp(dice.random_range(0..1 << 50)) };
                    facts::record_with(&kept, &Imported { sender_name: "somebody", body: "once" }).unwrap()
                }
                100..130 if !messages.is_empty() => {
                    let (channel, message) = messages.swap_remove(dice.random_range(0..messages.len()));
                    unsaid(channel, message)
                }
                _ => {
                    messages.push((channel, Offset(first + n)));
                    said(channel, &"x".repeat(dice.random_range(0..200)))
                }
            }
        });
        let batch = batch.collect();
        let after = world.log.head().time.0 + dice.random_range(1..3_000_000);
        world.write_at(Timestamp(after), batch);
    }
    world
}

/// The time at which each event's record was written.
fn recorded(world: &World) -> Vec<(u64, Timestamp)> {
    let mut times = Vec::new();
    let all = world.log.scan(Offset::FIRST, world.head(), &mut |record| {
        times.push((record.offset.0, record.time));
        ControlFlow::Continue(())
    });
    all.unwrap();
    times
}

/// What a filter says of an event, without the filter.
type Plainly = Box<dyn Fn(&Value) -> bool>;

/// Filters that let through all, much, little, the oldest and nothing, and the same said plainly.
fn filters(world: &World) -> Vec<(Filters, Plainly)> {
    let read = |json: Value| {
        let origins = world.views.read().unwrap().origins().clone();
        Filters::from_json(&json, &origins).unwrap()
    };
    vec![
        (Filters::default(), Box::new(|_| true)),
        (read(json!([[["sender", "!=", null]]])), Box::new(|event| event["sender"].is_string())),
        (
            read(json!([[["event", "=", "deleted"]], [["type", "=", "user"]]])),
            Box::new(|event| event["event"] == "deleted" || event["type"] == "user"),
        ),
        (read(json!([[["offset", "<=", 40]]])), Box::new(|event| event["offset"].as_u64().unwrap() <= 40)),
        (read(json!([[["offset", "=", 0]]])), Box::new(|_| false)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn a_stream_begins_with_the_last_that_match_or_with_what_was_written_since(
        seed: u64, records in prop_oneof![1 => 4_u64..600, 3 => 600_u64..6_000],
        ring_bytes_max in prop_oneof![Just(0), 0..2_000_000_usize, Just(64 << 20)],
        counts in proptest::collection::vec(prop_oneof![1..=3_u64, 1..=LAST_MAX, Just(LAST_MAX)], 3),
        times in proptest::collection::vec((any::<proptest::sample::Index>(), -1_i64..=1), 3),
    ) {
        let world = varied(seed, ring_bytes_max, records);
        let (events, recorded) = (events(&world), recorded(&world));
        let head = Position::from(world.log.head());
        let mut starts: Vec<_> = counts.into_iter().map(Start::Last).collect();
        let beside = |(index, by): (proptest::sample::Index, i64)| Timestamp(index.get(&recorded).1.0 + by);
        starts.extend(times.into_iter().map(beside).map(Start::Since));
        let newest = world.log.head().time;
        starts.extend([timestamps::EARLIEST, newest, Timestamp(newest.0 + 1), timestamps::LATEST].map(Start::Since));
        run(async {
            let streams = world.streams(limits());
            for start in &starts {
                for (filter, matches) in filters(&world) {
                    let mut wanted: Vec<u64> = events.iter().filter(|event| matches(event))
                        .map(|event| event["offset"].as_u64().unwrap()).collect();
                    match *start {
                        Start::Last(count) => drop(wanted.drain(..wanted.len().saturating_sub(count as usize))),
                        Start::Since(time) => wanted.retain(|offset| recorded[*offset as usize - 1].1 >= time),
                        _ => unreachable!(),
                    }
                    let selection = streams.selection(OWNER, &filter);
                    let position = streams.resume(start, &selection).await.unwrap().position().unwrap();
                    assert_eq!(world.log.tag_at(position.offset).unwrap(), Some(position.tag), "{start:?}");
                    let mut cursor = Cursor::new(position);
                    let shown = read_selected(&streams, &mut cursor, head.offset, &selection).await.unwrap();
                    assert_eq!(shown, wanted, "{start:?} {filter:?}");
                    // What was looked at in vain is not looked at again.
                    if let (Start::Last(_), true) = (start, wanted.is_empty()) {
                        assert_eq!(position, head);
                    }
                }
            }
        });
    }
}

#[test]
fn a_poll_that_begins_with_the_last_goes_on_from_its_next() {
    for ring_bytes_max in [64 << 20, 0] {
        let world = varied(7, ring_bytes_max, 3_000);
        let wanted = &events(&world)[..];
        run(async {
            let streams = world.streams(limits());
            let poll =
                |start, limit| Poll { start, filters: Filters::default(), wait: Duration::ZERO, limit };
            let first = page(&streams, poll(Start::Last(50), 30)).await;
            assert_eq!(first["events"], json!(wanted[wanted.len() - 50..][..30]));
            let next = Start::from_parts(first["next"].as_str(), None, None).unwrap();
            let second = page(&streams, poll(next, 30)).await;
            assert_eq!(second["events"], json!(wanted[wanted.len() - 20..]));
        });
    }
}

#[test]
fn a_look_back_that_finds_little_ends_with_the_server() {
    let world = varied(7, 0, 3_000);
    run(async {
        let streams = world.streams(limits());
        world.stopping.send_replace(true);
        let mut pulse = streams.pulse.clone();
        pulse.wait_for(|pulse| pulse.ending.is_some()).await.unwrap();
        let ended = streams.resume(&Start::Last(LAST_MAX), &everything(&streams)).await;
        assert!(matches!(ended, Err(StreamError::Stopping)), "{ended:?}");
    });
}

#[test]
fn damage_on_the_way_back_is_told() {
    let world = varied(7, 0, 12_000);
    let (chunk, _) = world.disk.chunks().into_iter().rfind(|(first, _)| *first <= Offset(6_000)).unwrap();
    world.disk.damage(chunk, |bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    });
    run(async {
        let streams = world.streams(limits());
        let nothing = Filters::from_json(&json!([[["offset", "=", 0]]]), &streams.origins()).unwrap();
        let met = streams.resume(&Start::Last(1), &streams.selection(OWNER, &nothing)).await;
        assert!(matches!(met, Err(StreamError::Read(_))), "{met:?}");
        assert!(streams.resume(&Start::Last(1), &everything(&streams)).await.unwrap().position().is_some());
    });
}

fn take(header: Option<&[u8]>, query: &str) -> Result<Start, Code> {
    let mut query = Query::parse(query).unwrap();
    let start = Start::take(&mut query, "resume_point", header).map_err(|problem| problem.code())?;
    query.finish().map_err(|problem| problem.code())?;
    Ok(start)
}

#[test]
fn the_header_wins_over_the_parameters_and_garbage_is_refused_in_all() {
    let point = |text| ResumePoint::parse(text).map(Start::After).unwrap();
    assert_eq!(take(None, ""), Ok(Start::BEGINNING));
    assert_eq!(take(None, "resume_point=now"), Ok(Start::Now));
    assert_eq!(take(None, "resume_point=7-0000beef"), Ok(point("7-0000beef")));
    assert_eq!(take(None, "last=1"), Ok(Start::Last(1)));
    assert_eq!(take(None, "last=1000"), Ok(Start::Last(1000)));
    let time = Timestamp(1_100_480_400_500_000);
    assert_eq!(take(None, "since=2004-11-15T02:00:00.5%2B01:00"), Ok(Start::Since(time)));
    for query in [
        "",
        "resume_point=7",
        "resume_point=garbage",
        "last=5",
        "since=2004-11-15T01:00:00Z",
        "last=0&since=x",
    ] {
        assert_eq!(take(Some(b"8"), query), Ok(point("8")), "{query}");
    }
    for garbage in ["", "now+", "-1", "1-", "01"] {
        assert_eq!(take(None, &format!("resume_point={garbage}")), Err(Code::BadResumePoint), "{garbage:?}");
        assert_eq!(
            take(Some(garbage.as_bytes()), "resume_point=7"),
            Err(Code::BadResumePoint),
            "{garbage:?}"
        );
    }
    assert_eq!(take(Some(b"\xff"), ""), Err(Code::BadResumePoint));
    assert_eq!(take(Some(b"now"), ""), Err(Code::BadResumePoint));
    for bad in [
        "last=0",
        "last=1001",
        "last=",
        "last=-1",
        "last=now",
        "last=1&last=1",
        "since=",
        "since=now",
        "since=2004-11-15",
        "since=1100480400",
        "last=1&since=2004-11-15T01:00:00Z",
        "resume_point=7&last=1",
        "resume_point=now&since=2004-11-15T01:00:00Z",
        "resume_point=7&resume_point=7",
        "after=7",
    ] {
        assert_eq!(take(None, bad), Err(Code::BadQuery), "{bad}");
    }
}

#[test]
fn a_start_is_put_together_from_at_most_one_part() {
    let time = Some("2004-11-15T01:00:00Z");
    assert_eq!(Start::from_parts(None, None, None), Ok(Start::BEGINNING));
    assert_eq!(Start::from_parts(None, Some(LAST_MAX), None), Ok(Start::Last(LAST_MAX)));
    for (point, last, since) in [
        (Some("1"), Some(1), None),
        (None, Some(1), time),
        (Some("1"), None, time),
        (Some("1"), Some(1), time),
    ] {
        assert_eq!(Start::from_parts(point, last, since), Err(StartError::Several));
    }
    assert_eq!(Start::from_parts(Some("x"), None, None), Err(StartError::ResumePoint));
    for last in [0, LAST_MAX + 1, u64::MAX] {
        assert_eq!(Start::from_parts(None, Some(last), None), Err(StartError::Last));
    }
    assert_eq!(Start::from_parts(None, None, Some("x")), Err(StartError::Since));
    assert_eq!(StartError::Last.to_string(), "`last` must be a whole number from 1 to 1000");
}
