use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use scrollback_log::{Offset, ReadError, ResumePoint, Tag};
use serde_json::{Value, json};

use super::ring::{shown, sse};
use super::{CHANNEL, OWNER, World, limits, said, unsaid};
use crate::settings::StreamLimits;
use crate::streams::cursor::{Cursor, Next};
use crate::streams::cut::Taken;
use crate::streams::filter::Filters;
use crate::streams::poll::{Poll, Polled};
use crate::streams::resume::Resume;
use crate::streams::selection::{Selection, What};
use crate::streams::start::Start;
use crate::streams::{Position, Reader, StreamError, Streams};

struct Live(AtomicBool);

impl Reader for Live {
    fn is_live(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn touch(&self) {}

    fn user(&self) -> Offset {
        OWNER
    }
}

pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A world with `messages` messages, written in batches of different sizes.
fn talkative(ring_bytes_max: usize, messages: usize) -> World {
    let world = World::new(ring_bytes_max);
    let bodies: Vec<String> = (0..messages).map(|n| format!("said {n} {}", "x".repeat(n % 300))).collect();
    let mut left = &bodies[..];
    while !left.is_empty() {
        let (batch, rest) = left.split_at(left.len().min(1 + left.len() % 97));
        world.write(batch.iter().map(|body| said(CHANNEL, body)).collect());
        left = rest;
    }
    world
}

async fn position(streams: &Arc<Streams>, offset: Offset) -> Position {
    let start = Start::After(ResumePoint { offset, tag: None });
    streams.resume(&start, &everything(streams)).await.unwrap().position().unwrap()
}

fn offsets(taken: &Taken) -> Vec<u64> {
    shown(&taken.chunk.bare()).iter().map(|event| event["offset"].as_u64().unwrap()).collect()
}

/// The selection of a reader that gets everything.
pub(super) fn everything(streams: &Streams) -> Arc<Selection> {
    streams.selections.get(&What::default())
}

/// Moves a cursor of such a reader.
async fn next(streams: &Arc<Streams>, cursor: &mut Cursor, head: Offset) -> Result<Next, StreamError> {
    cursor.next(streams, head, sse(streams.limits.write_bytes_max), &everything(streams)).await
}

/// The offsets that a cursor shows such a reader until it is live.
async fn read_all(
    streams: &Arc<Streams>,
    cursor: &mut Cursor,
    head: Offset,
) -> Result<Vec<u64>, StreamError> {
    read_selected(streams, cursor, head, &everything(streams)).await
}

/// The same for what a selection wants.
pub(super) async fn read_selected(
    streams: &Arc<Streams>,
    cursor: &mut Cursor,
    head: Offset,
    selection: &Arc<Selection>,
) -> Result<Vec<u64>, StreamError> {
    let mut all = Vec::new();
    let cut = sse(streams.limits.write_bytes_max);
    loop {
        match cursor.next(streams, head, cut, selection).await? {
            Next::Live => return Ok(all),
            Next::Moved(taken) => all.extend(offsets(&taken)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_cursor_shows_every_event_once_from_ring_and_log_alike(
        from in 0_u64..12_000, write_bytes_max in 1_usize..100_000, ring_bytes_max in 0_usize..4_000_000, slow: bool,
    ) {
        let world = talkative(ring_bytes_max, 9_000);
        run(async {
            let streams = world.streams(StreamLimits { write_bytes_max, ..limits() });
            let from = Offset(from.min(world.head().0));
            let mut cursor = Cursor::new(position(&streams, from).await);
            if slow {
                cursor.slow();
            }
            let first = from.0.max(1) + 1;
            assert_eq!(read_all(&streams, &mut cursor, world.head()).await.unwrap(), (first..=world.head().0).collect::<Vec<_>>());
            assert_eq!(cursor.at(), Position::from(world.log.head()));
            assert_eq!(cursor.passed_over(), 0);
        });
    }
}

#[test]
fn a_reader_far_behind_that_becomes_slow_goes_on_where_it_was() {
    let world = talkative(0, 20_000);
    run(async {
        let streams = world.streams(limits());
        let mut cursor = Cursor::new(Position::BEGINNING);
        let mut all = Vec::new();
        for round in 0.. {
            if round == 3 {
                cursor.slow();
            }
            match next(&streams, &mut cursor, world.head()).await.unwrap() {
                Next::Live => break,
                Next::Moved(taken) => all.extend(offsets(&taken)),
            }
        }
        assert_eq!(all, (2..=world.head().0).collect::<Vec<_>>());
    });
}

#[test]
fn what_is_deleted_after_it_was_read_ahead_is_shown_as_gone() {
    let world = talkative(0, 20_000);
    run(async {
        let streams = world.streams(limits());
        let mut cursor = Cursor::new(Position::BEGINNING);
        // By the time that some blocks are sent the next ones are read.
        for _ in 0..20 {
            next(&streams, &mut cursor, world.head()).await.unwrap();
        }
        let (from, head) = (cursor.at().offset, world.head());
        let gone = from.0 + 1..from.0 + 1_500;
        world.write(gone.clone().map(|message| unsaid(CHANNEL, Offset(message))).collect());
        let (mut seen, cut) = (0, sse(limits().write_bytes_max));
        while let Next::Moved(taken) = cursor.next(&streams, head, cut, &everything(&streams)).await.unwrap()
        {
            for event in shown(&taken.chunk.bare()) {
                let is_gone = gone.contains(&event["offset"].as_u64().unwrap());
                assert_eq!(event["body"] == "", is_gone, "{event}");
                seen += u64::from(is_gone);
            }
        }
        assert_eq!(seen, gone.end - gone.start);
    });
}

#[test]
fn damage_stops_a_reader_before_it_and_nothing_is_skipped() {
    for messages in [500, 12_000] {
        let world = talkative(0, messages);
        let middle = Offset(world.head().0 / 2);
        let (chunk, _) = world.disk.chunks().into_iter().rfind(|(first, _)| *first <= middle).unwrap();
        world.disk.damage(chunk, |bytes| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        });
        run(async {
            let streams = world.streams(limits());
            let mut cursor = Cursor::new(Position::BEGINNING);
            let mut all = Vec::new();
            let error = loop {
                match next(&streams, &mut cursor, world.head()).await {
                    Ok(Next::Live) => panic!("read over the damage"),
                    Ok(Next::Moved(taken)) => all.extend(offsets(&taken)),
                    Err(error) => break error,
                }
            };
            let StreamError::Read(ReadError::Damaged { offset: damaged, .. }) = error else {
                panic!("{error}")
            };
            assert!((chunk..=middle.plus(100)).contains(&damaged), "{chunk} {damaged}");
            assert_eq!(all, (2..damaged.0).collect::<Vec<_>>());
        });
    }
}

#[test]
fn a_resume_point_is_compared_with_this_logs_history() {
    // Points in the ring, and points that only the log has.
    for ring_bytes_max in [1 << 20, 0] {
        let world = talkative(ring_bytes_max, 3_000);
        run(async {
            let streams = world.streams(limits());
            let head = Position::from(world.log.head());
            let point = |offset, tag: Option<Tag>| Start::After(ResumePoint { offset, tag });
            for offset in [0, 1, 2, 700, head.offset.0 - 1, head.offset.0].map(Offset) {
                let tag = world.log.tag_at(offset).unwrap().unwrap();
                let ok = Resume::Ok(Position { offset, tag });
                assert_eq!(streams.resume(&point(offset, None), &everything(&streams)).await.unwrap(), ok);
                assert_eq!(
                    streams.resume(&point(offset, Some(tag)), &everything(&streams)).await.unwrap(),
                    ok
                );
                let other = point(offset, Some(Tag(tag.0 ^ 1)));
                assert_eq!(
                    streams.resume(&other, &everything(&streams)).await.unwrap(),
                    Resume::OtherHistory,
                    "{offset}"
                );
            }
            for offset in [head.offset.next(), Offset(u64::MAX)] {
                for tag in [None, Some(head.tag)] {
                    assert_eq!(
                        streams.resume(&point(offset, tag), &everything(&streams)).await.unwrap(),
                        Resume::Ahead
                    );
                }
            }
            assert_eq!(streams.resume(&Start::Now, &everything(&streams)).await.unwrap(), Resume::Ok(head));
            assert_eq!(
                streams.resume(&Start::BEGINNING, &everything(&streams)).await.unwrap(),
                Resume::Ok(Position::BEGINNING)
            );
        });
    }
}

fn poll(after: &str, wait: u64, limit: usize) -> Poll {
    let start = Start::from_parts(Some(after), None, None).unwrap();
    Poll { start, filters: Filters::default(), wait: Duration::from_secs(wait), limit }
}

pub(super) async fn page(streams: &Arc<Streams>, poll: Poll) -> Value {
    match streams.poll(Arc::new(Live(AtomicBool::new(true))), poll).await.unwrap() {
        Polled::Page(json) => serde_json::from_slice(&json).unwrap(),
        Polled::Revoked => panic!("revoked"),
    }
}

#[test]
fn polls_of_any_size_give_every_event_once() {
    for ring_bytes_max in [1 << 20, 0] {
        let world = talkative(ring_bytes_max, 300);
        run(async {
            let streams = world.streams(limits());
            for limit in [1, 7, 500] {
                let (mut after, mut offsets) = ("0".to_owned(), Vec::new());
                loop {
                    let page = page(&streams, poll(&after, 0, limit)).await;
                    let events = page["events"].as_array().unwrap();
                    assert!(events.len() <= limit);
                    assert_eq!((&page["resume"], &page["head"]), (&json!("ok"), &json!(world.head().0)));
                    offsets.extend(events.iter().map(|event| event["offset"].as_u64().unwrap()));
                    after = page["next"].as_str().unwrap().to_owned();
                    if events.is_empty() {
                        break;
                    }
                }
                assert_eq!(after, Position::from(world.log.head()).to_string());
                assert_eq!(offsets, (2..=world.head().0).collect::<Vec<_>>());
            }
        });
    }
}

#[test]
fn a_page_ends_before_it_is_too_large_but_holds_at_least_one_event() {
    let world = World::new(16 << 20);
    let body = "\u{1}".repeat(60 << 10);
    (0..8).for_each(|_| {
        world.say(CHANNEL, &body);
    });
    run(async {
        let streams = world.streams(limits());
        let mut after = CHANNEL.to_string();
        let mut sizes = Vec::new();
        while sizes.iter().sum::<usize>() < 8 {
            let page = page(&streams, poll(&after, 0, 500)).await;
            sizes.push(page["events"].as_array().unwrap().len());
            after = page["next"].as_str().unwrap().to_owned();
        }
        assert_eq!(sizes, [2, 2, 2, 2]);
    });
}

#[test]
fn a_poll_that_cannot_go_on_here_answers_at_once_and_gives_no_place_to_go_on_from() {
    let world = talkative(1 << 20, 10);
    run(async {
        let streams = world.streams(limits());
        for (after, resume) in [("1000", "ahead"), ("3-12345678", "other_history")] {
            let page = tokio::time::timeout(Duration::from_secs(20), page(&streams, poll(after, 60, 5)))
                .await
                .unwrap();
            let wanted = json!({"resume": resume, "events": [], "next": null, "head": world.head().0});
            assert_eq!(page, wanted);
        }
    });
}

#[test]
fn a_waiting_poll_is_answered_by_the_next_event_and_ended_by_a_revocation_and_a_stop() {
    let world = Arc::new(talkative(1 << 20, 10));
    run(async {
        let streams = world.streams(limits());
        let reader = Arc::new(Live(AtomicBool::new(true)));
        let waiting = || {
            let (streams, reader) = (Arc::clone(&streams), Arc::clone(&reader));
            tokio::spawn(async move { streams.poll(reader, poll("now", 60, 5)).await.unwrap() })
        };
        let first = waiting();
        // The poll has looked at the head once this has run.
        tokio::task::yield_now().await;
        let said = world.say(CHANNEL, "awaited");
        let Polled::Page(json) = first.await.unwrap() else { panic!("revoked") };
        let page: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(page["events"][0]["offset"], said.0);
        assert_eq!(page["next"], Position::from(world.log.head()).to_string());

        let revoked = waiting();
        tokio::task::yield_now().await;
        reader.0.store(false, Ordering::Release);
        world.revocations.send_modify(|count| *count += 1);
        assert!(matches!(revoked.await.unwrap(), Polled::Revoked));

        reader.0.store(true, Ordering::Release);
        let stopped = waiting();
        tokio::task::yield_now().await;
        world.stopping.send_replace(true);
        let Polled::Page(json) = stopped.await.unwrap() else { panic!("revoked") };
        assert_eq!(serde_json::from_slice::<Value>(&json).unwrap()["events"], json!([]));
    });
}
