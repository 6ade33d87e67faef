//! What is told, once and in order.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::{ask, event, ids_to, offsets, open, subscribe};
use crate::support::client::{Client, number, text};
use crate::support::count;
use crate::support::progress::{EndOnDrop, Progress};
use crate::support::server::Server;

/// How many write the past.
const WRITERS: u64 = 8;
/// How far behind what was written meanwhile a reader goes on.
const LIVE: u64 = 20;

/// The offset of a new channel's event.
fn create(owner: &mut Client, name: &str) -> u64 {
    number(&owner.post("/api/channels", &json!({"name": name})).ok(201), "offset")
}

#[test]
fn events_are_told_as_rows_of_arvados_log() {
    let (server, mut owner) = Server::set_up(&[]);
    let channel =
        text(&owner.post("/api/channels", &json!({"name": "secret", "private": true})).ok(201), "id");
    let (_, bob) = owner.invite_member("bob");
    let message = owner.say(&channel, "\u{1f600} \"x\"");
    owner.put(&format!("/api/channels/{channel}/members/{bob}"), &json!({})).ok(200);
    owner.put(&format!("/api/users/{bob}"), &json!({"role": "moderator"})).ok(200);
    let id = text(&message, "id");
    owner.delete(&format!("/api/messages/{id}")).ok(200);
    let last = number(&owner.delete(&format!("/api/channels/{channel}")).ok(200), "offset");
    let mut socket = open(&owner);
    subscribe(&mut socket, &json!([]), 0);
    let events = owner.poll_all("0");
    let mut kinds = Vec::new();
    for (place, native) in events.iter().enumerate() {
        let row = event(&mut socket);
        assert_eq!(row["msgID"], place + 1);
        assert_eq!((&row["id"], &row["event_at"]), (&native["offset"], &native["at"]), "{row}");
        assert_eq!(row["created_at"], native["at"], "{row}");
        assert!(row["uuid"].as_str().unwrap().starts_with('E'), "{row}");
        let of_message = native["type"] == "message";
        assert_eq!(row["object_owner_uuid"], if of_message { json!(channel) } else { Value::Null }, "{row}");
        let about = if native["type"] == "member" { &native["channel"] } else { &native["id"] };
        assert_eq!(&row["object_uuid"], about, "{row}");
        let attributes = &row["properties"]["new_attributes"];
        for (field, value) in native.as_object().unwrap() {
            let is_told_above = ["offset", "at", "type", "event"].contains(&field.as_str());
            assert_eq!(attributes.get(field), Some(value).filter(|_| !is_told_above), "{field} of {row}");
        }
        kinds.push((text(&row, "object_kind"), text(&row, "event_type")));
    }
    let is = |kind: &str, event: &str| (format!("scrollback#{kind}"), event.to_owned());
    assert_eq!(
        kinds,
        [
            is("user", "create"),
            is("channel", "create"),
            is("user", "create"),
            is("message", "create"),
            is("channel", "update"),
            is("user", "update"),
            is("message", "delete"),
            is("channel", "delete"),
        ]
    );
    assert_eq!(events.last().map(|event| number(event, "offset")), Some(last));
    drop(server);
}

#[test]
fn the_past_comes_before_what_is_written_meanwhile_in_rising_ids_without_a_gap() {
    let events = count("SCROLLBACK_ARVADOS_EVENTS", 1_500) as u64;
    let (_server, mut owner) = Server::set_up(&[]);
    let token = owner.token("writers");
    let mut owner = owner.with_token(&token);
    let channel = owner.create_channel("general");
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (mut client, channel) = (owner.clone(), &channel);
            scope.spawn(move || {
                for n in 0..events.div_ceil(WRITERS) {
                    client.say(channel, &format!("past {writer} {n}"));
                }
            });
        }
    });
    let past = *offsets(&mut owner, |_| true).last().expect("a past");
    assert!(past >= events, "{past}");
    let (progress, newest) = (Progress::default(), AtomicU64::new(past));
    let told: Vec<(u64, Vec<u64>, u64)> = std::thread::scope(|scope| {
        let end = EndOnDrop(&progress);
        for writer in 0..2 {
            let (mut client, channel, progress, newest) = (owner.clone(), &channel, &progress, &newest);
            scope.spawn(move || {
                for n in 0.. {
                    if progress.is_over() {
                        break;
                    }
                    let said = client.say(channel, &format!("meanwhile {writer} {n}"));
                    newest.fetch_max(number(&said, "offset"), Ordering::AcqRel);
                    progress.step();
                }
            });
        }
        progress.wait_for(1);
        let readers: Vec<_> = [0, 0, 0, past / 2]
            .map(|from| {
                let (client, newest) = (owner.clone(), &newest);
                scope.spawn(move || {
                    let mut socket = open(&client);
                    subscribe(&mut socket, &json!([]), from);
                    let mut ids: Vec<u64> = Vec::new();
                    while ids.last().is_none_or(|id| *id < past) {
                        ids.push(number(&event(&mut socket), "id"));
                    }
                    // What was written while it was told of the past, and some more.
                    let meanwhile = newest.load(Ordering::Acquire);
                    while ids.last().is_none_or(|id| *id < meanwhile + LIVE) {
                        ids.push(number(&event(&mut socket), "id"));
                    }
                    (from, ids, meanwhile - past)
                })
            })
            .into_iter()
            .collect();
        let told = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        drop(end);
        told
    });
    let all = offsets(&mut owner, |_| true);
    for (from, ids, meanwhile) in told {
        assert!(meanwhile > 0, "nothing was written while the past was told");
        let last = *ids.last().unwrap();
        let expected: Vec<u64> = all.iter().copied().filter(|id| (from + 1..=last).contains(id)).collect();
        // So rising, without a gap, and all of the past before anything that is new.
        assert!(
            ids == expected,
            "from {from}: {} of {} events, or in another order",
            ids.len(),
            expected.len()
        );
        eprintln!("from {from}: {} events, {meanwhile} of them written while the past was told", ids.len());
    }
}

#[test]
fn two_subscriptions_from_one_place_bring_each_event_once_and_in_order() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    for n in 0..50 {
        let said = owner.say(&channel, &format!("{n}"));
        if n % 3 == 0 {
            owner.delete(&format!("/api/messages/{}", text(&said, "id"))).ok(200);
        }
    }
    let last = number(&owner.say(&channel, "last"), "offset");
    // As the real client does it after a reconnection: one after the other, each with the same number.
    let mut socket = open(&owner);
    subscribe(&mut socket, &json!([["event_type", "=", "create"]]), 3);
    subscribe(&mut socket, &json!([["object_kind", "=", "scrollback#message"]]), 3);
    assert_eq!(ids_to(&mut socket, last), offsets(&mut owner, |event| number(event, "offset") > 3));
}

#[test]
fn whoever_looks_back_on_a_socket_is_told_what_it_was_not_told_and_then_what_is_new() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let deleted = |owner: &mut Client| {
        let said = owner.say(&channel, "x");
        number(&owner.delete(&format!("/api/messages/{}", text(&said, "id"))).ok(200), "offset")
    };
    let first = deleted(&mut owner);
    let second = deleted(&mut owner);
    let mut socket = open(&owner);
    subscribe(&mut socket, &json!([["event_type", "=", "delete"]]), 0);
    assert_eq!(ids_to(&mut socket, second), [first, second]);
    subscribe(&mut socket, &json!([["object_kind", "=", "scrollback#message"]]), 0);
    let third = deleted(&mut owner);
    assert_eq!(ids_to(&mut socket, third), [first - 1, second - 1, third - 1, third]);
    // What it asks for from now on begins now.
    subscribe(&mut socket, &json!([]), None);
    let user = create(&mut owner, "later");
    assert_eq!(ids_to(&mut socket, user), [user]);
}

#[test]
fn a_subscription_that_is_taken_back_brings_nothing_more() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let mut socket = open(&owner);
    let messages = json!([["object_kind", "=", "scrollback#message"]]);
    let channels = json!([["object_kind", "=", "scrollback#channel"]]);
    subscribe(&mut socket, &messages, None);
    let number_of = subscribe(&mut socket, &channels, None);
    let said = number(&owner.say(&channel, "told"), "offset");
    assert_eq!(ids_to(&mut socket, said), [said]);
    let answer = ask(&mut socket, &json!({"method": "unsubscribe", "filters": messages}));
    assert_eq!(answer["status"], 200, "{answer}");
    owner.say(&channel, "not told");
    let made = create(&mut owner, "told");
    assert_eq!(ids_to(&mut socket, made), [made]);
    assert_eq!(ask(&mut socket, &json!({"method": "unsubscribe", "subscription": number_of}))["status"], 200);
    owner.say(&channel, "not told");
    subscribe(&mut socket, &json!([["event_type", "=", "delete"]]), None);
    let gone = number(&owner.delete(&format!("/api/channels/{channel}")).ok(200), "offset");
    assert_eq!(ids_to(&mut socket, gone), [gone]);
}
