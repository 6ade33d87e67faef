use std::sync::LazyLock;

use proptest::prelude::*;
use scrollback_log::Offset;
use scrollback_projections::testing::{Dice, History};
use serde_json::Value;

use super::naive::{self, Wanted};
use super::{CHANNEL, World, said, unsaid};
use crate::http::query::Query;
use crate::ids::{self, IdKind};
use crate::streams::cut::{Cut, Form, Taken};
use crate::streams::filter::Filters;
use crate::streams::ring::{Ring, RingRead};
use crate::streams::selection::Selection;

const EVENTS: [&str; 6] = ["created", "changed", "sent", "deleted", "added", "removed"];

/// A world in which a history has happened, in batches of up to `batch` records.
pub(in crate::streams) fn happened(history: &History, ring_bytes_max: usize, batch: usize) -> World {
    let world = World::empty(ring_bytes_max);
    for records in history.records.chunk_by(|one, next| one.0 == next.0) {
        for records in records.chunks(batch) {
            world.write_at(records[0].0, records.iter().map(|(_, record)| record.clone()).collect());
        }
    }
    world
}

/// Every event of the world, as the log shows it now.
pub(super) fn events(world: &World) -> Vec<Value> {
    let origins = world.views.read().unwrap().origins().clone();
    let mut events = Vec::new();
    world
        .log
        .scan(Offset::FIRST, world.head(), &mut |record| {
            events.extend(naive::event(&record, &origins));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    events
}

pub(super) fn shown(chunk: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(chunk).unwrap();
    let data =
        |frame: &str| frame.split_once("\ndata: ").map(|(_, data)| serde_json::from_str(data).unwrap());
    text.split_terminator("\n\n").map(|frame| data(frame).unwrap()).collect()
}

/// A cut for Server-Sent Events that is bounded by bytes alone.
pub(super) fn sse(bytes_max: usize) -> Cut {
    Cut { form: Form::Sse, bytes_max, events_max: usize::MAX, shared: true }
}

/// Reads all from `after` on by chunks of this cut, as JSON; none if the ring does not hold it.
fn all_by(
    ring: &Ring,
    mut after: Offset,
    head: Offset,
    cut: Cut,
    selection: &Selection,
) -> Option<Vec<Value>> {
    let mut all = Vec::new();
    while after < head {
        let RingRead::Taken(Taken { chunk, through, newest, events }) =
            ring.read(after, head, cut, selection)
        else {
            return None;
        };
        assert!(after < through.offset && through.offset <= head);
        let here = match cut.form {
            Form::Sse => shown(&chunk.bare()),
            Form::Json => {
                let list = [b"[", &chunk.bare()[..], b"]"].concat();
                serde_json::from_slice(&list).unwrap()
            }
        };
        assert_eq!(here.last().map(|event| event["offset"].as_u64().unwrap()), newest.map(|newest| newest.0));
        assert!(here.len() == 1 || chunk.len() <= cut.bytes_max);
        assert_eq!((here.len(), chunk.bare().len()), (events, chunk.len()));
        assert!(events <= cut.events_max);
        assert_eq!(ring.position(through.offset), Some(through));
        all.extend(here);
        after = through.offset;
    }
    Some(all)
}

/// The same for a reader that gets everything. All of them have one selection, so that they share what is ready.
fn all(ring: &Ring, after: Offset, head: Offset, bytes_max: usize) -> Option<Vec<Value>> {
    static EVERYTHING: LazyLock<Selection> = LazyLock::new(Selection::everything);
    all_by(ring, after, head, sse(bytes_max), &EVERYTHING)
}

pub(super) fn offset(event: &Value) -> u64 {
    event["offset"].as_u64().unwrap()
}

proptest! {
    #[test]
    fn the_ring_shows_what_the_log_shows(
        dice: Vec<Dice>, batch in 1_usize..9, bytes_max in 1_usize..3000, ring_bytes_max in 0_usize..200_000,
        from in 0_u64..60, to in 0_u64..60, events_max in 1_usize..9,
    ) {
        let history = History::new(&dice);
        let world = happened(&history, ring_bytes_max, batch);
        let after = Offset(from.min(world.head().0));
        let head = Offset((after.0 + to).min(world.head().0));
        let wanted: Vec<_> = events(&world).into_iter()
            .filter(|event| (after.0 + 1..=head.0).contains(&offset(event))).collect();
        // All of these histories fit into the one segment that is always there.
        let everything = Selection::everything();
        for form in [Form::Sse, Form::Json] {
            // Each twice: made for the first reader and kept ready for the second; a bound on events changes neither.
            for events_max in [usize::MAX, usize::MAX, events_max] {
                let cut = Cut { form, bytes_max, events_max, shared: form == Form::Sse };
                prop_assert_eq!(all_by(&world.ring, after, head, cut, &everything), Some(wanted.clone()));
            }
        }
    }

    #[test]
    fn a_filter_chooses_what_the_plain_words_of_the_contract_choose(
        dice in proptest::collection::vec(any::<Dice>(), 0..80),
        types in proptest::sample::subsequence(vec!["user", "channel", "message", "member"], 0..=4),
        events_wanted in proptest::sample::subsequence(EVENTS.to_vec(), 0..=EVENTS.len()),
        channels in proptest::collection::vec(any::<proptest::sample::Index>(), 0..3),
        senders in proptest::collection::vec(any::<proptest::sample::Index>(), 0..3),
        garbage: bool,
    ) {
        let history = History::new(&dice);
        let world = happened(&history, 1 << 20, 5);
        let origins = world.views.read().unwrap().origins().clone();
        let mut wanted = Wanted { types, events: events_wanted, ..Wanted::default() };
        for channel in channels.iter().filter(|_| !history.channels.is_empty()) {
            wanted.channels.push(ids::show(IdKind::Channel, channel.get(&history.channels).offset, &origins));
        }
        for sender in &senders {
            wanted.senders.push(ids::show(IdKind::User, sender.get(&history.users).offset, &origins));
        }
        if garbage {
            wanted.channels.push("C0".into());
        }
        let mut query = Query::parse(&wanted.query()).unwrap();
        let filter = Filters::take(&mut query, &origins).unwrap();
        query.finish().unwrap();
        let chosen: Vec<_> = events(&world).into_iter().filter(|event| wanted.matches(event)).collect();
        let selection = Selection::of(filter);
        let shown = all_by(&world.ring, Offset::BEGINNING, world.head(), sse(1000), &selection);
        prop_assert_eq!(shown, Some(chosen));
    }

    #[test]
    fn a_ready_chunk_is_the_one_that_would_be_made_now(
        steps in proptest::collection::vec((0_u8..4, any::<proptest::sample::Index>()), 1..60),
    ) {
        let world = World::new(1 << 20);
        let mut messages = Vec::new();
        for (step, index) in steps {
            match step {
                0 | 1 => messages.push(world.say(CHANNEL, &format!("said {}", messages.len()))),
                2 if !messages.is_empty() => {
                    let at = index.index(messages.len());
                    world.delete_message(CHANNEL, messages.swap_remove(at));
                }
                _ => {}
            }
            let after = Offset(index.index(world.head().0 as usize) as u64);
            let wanted: Vec<_> = events(&world).into_iter().filter(|event| offset(event) > after.0).collect();
            for _ in 0..2 {
                prop_assert_eq!(all(&world.ring, after, world.head(), 1 << 20).unwrap(), wanted.clone());
            }
        }
    }
}

#[test]
fn what_is_pushed_out_is_behind() {
    let world = World::new(200_000);
    let body = "x".repeat(1000);
    let mut offsets = Vec::new();
    for _ in 0..1000 {
        offsets.push(world.say(CHANNEL, &body));
    }
    assert!(world.ring.bytes() <= 200_000 + (64 << 10), "{}", world.ring.bytes());
    let head = world.head();
    assert!(matches!(
        world.ring.read(Offset(0), head, sse(1 << 20), &Selection::everything()),
        RingRead::Behind
    ));
    assert_eq!(world.ring.position(Offset(5)), None);
    let oldest = (0..head.0).find(|after| all(&world.ring, Offset(*after), head, 1 << 20).is_some());
    let held = all(&world.ring, Offset(oldest.unwrap()), head, 1 << 20).unwrap();
    assert!((50..200).contains(&held.len()), "{}", held.len());
}

#[test]
fn a_text_larger_than_a_segment_or_a_chunk_is_one_frame_of_its_own() {
    let world = World::new(1 << 20);
    let body = "\u{1}".repeat(64 << 10);
    world.write(vec![said(CHANNEL, "before"), said(CHANNEL, &body), said(CHANNEL, "after")]);
    let shown = all(&world.ring, CHANNEL, world.head(), 1000).unwrap();
    assert_eq!(
        shown.iter().map(|event| event["body"].as_str().unwrap()).collect::<Vec<_>>(),
        ["before", &body, "after"]
    );
}

#[test]
fn a_deletion_in_the_same_batch_and_a_deleted_channel_leave_no_text() {
    let world = World::new(1 << 20);
    let first = world.head().next();
    world.write(vec![said(CHANNEL, "secret one"), said(CHANNEL, "kept"), unsaid(CHANNEL, first)]);
    let other = world.channel("secret name");
    for n in 0..2000 {
        world.say(
            if n % 2 == 0 { other } else { CHANNEL },
            &format!("{} {n}", if n % 2 == 0 { "secret" } else { "open" }),
        );
    }
    let before = all(&world.ring, Offset(0), world.head(), 1 << 20).unwrap();
    assert_eq!(before.iter().filter(|event| event.to_string().contains("secret")).count(), 1001);
    world.delete_channel(other);
    let after = all(&world.ring, Offset(0), world.head(), 1 << 20).unwrap();
    assert_eq!(after, events(&world));
    assert!(!after.iter().any(|event| event.to_string().contains("secret")));
    assert_eq!(after.iter().filter(|event| event.to_string().contains("open")).count(), 1000);
}

#[test]
fn a_reader_that_still_goes_by_an_old_head_gets_nothing_that_was_deleted_since() {
    let world = World::new(1 << 20);
    world.say(CHANNEL, "kept");
    world.say(CHANNEL, "secret");
    let old = world.head();
    // Leaves a chunk that is ready for whoever reads from here to this head.
    let before = all(&world.ring, CHANNEL, old, 1 << 20).unwrap();
    assert_eq!(before.last().unwrap()["body"], "secret");
    world.delete_message(CHANNEL, old);
    let after = all(&world.ring, CHANNEL, old, 1 << 20).unwrap();
    let wanted: Vec<_> =
        events(&world).into_iter().filter(|event| (CHANNEL.0 + 1..=old.0).contains(&offset(event))).collect();
    assert_eq!(after, wanted);
    assert_eq!(after.last().unwrap()["body"], "");
}
