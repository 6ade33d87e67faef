//! A watch of as many channels as one may have, and readers that are in the middle of a notice of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::socket::{next_of, read};
use super::{set, stream};
use crate::support::client::{Client, number, text};
use crate::support::corpus::Corpus;
use crate::support::events::{End, Events, offset_of};
use crate::support::http::ANSWER_WAIT;
use crate::support::server::{Server, Way};
use crate::support::ws::Ws;

/// The most channels of a watch.
const CHANNELS: usize = 10_000;
/// The most channels in all watches of a user.
const CHANNELS_OF_USER_MAX: usize = 200_000;
/// What the system of a client takes that does not read.
const RECEIVE_BYTES: usize = 4 << 10;
/// The most changes of one part of a notice.
const PART: usize = 1_000;

/// A running server with so many channels, and what each of them was last changed by.
fn with_channels(options: &[&str], channels: usize) -> (Server, Client, BTreeMap<String, u64>) {
    let mut server =
        Server::new(&[&["--message-expiry", "off", "--channel-expiry", "off"], options].concat());
    let directory = tempfile::tempdir().unwrap();
    let corpus = Corpus::made(directory.path(), channels, 1, 5);
    server.operate("import", &[corpus.file()]).must_exit(0);
    server.start();
    let mut owner = server.owner();
    let all = owner.get("/api/channels").ok(200)["channels"].as_array().unwrap().clone();
    let newest = all.iter().map(|channel| (text(channel, "id"), number(channel, "last_offset"))).collect();
    (server, owner, newest)
}

/// A watch of all of them whose watcher knows nothing.
fn of_all(newest: &BTreeMap<String, u64>) -> Value {
    let wanted: Vec<Value> = newest.keys().map(|id| json!({"id": id, "since": 0})).collect();
    json!({"watch": wanted, "max_delay_ms": 0, "lease_s": 3600})
}

/// Adds what a part of a notice tells; nothing is told twice.
#[track_caller]
fn note(told: &mut BTreeMap<String, u64>, part: &Value) {
    let changed = part["changed"].as_array().expect("changes");
    assert!(changed.len() <= PART, "{}", changed.len());
    for change in changed {
        let before = told.insert(text(change, "id"), number(change, "offset"));
        assert_eq!(before, None, "told twice: {change}");
    }
}

/// A client that has little taken ahead of it.
fn narrow(client: &Client) -> Client {
    client.at(client.address.by(Way { receive_bytes: Some(RECEIVE_BYTES), ..Way::default() }))
}

/// The parts of a notice up to the one that has a place to go on from.
#[track_caller]
fn whole_notice(mut next: impl FnMut() -> Value) -> (BTreeMap<String, u64>, usize) {
    let (mut told, mut parts) = (BTreeMap::new(), 0);
    loop {
        let part = next();
        note(&mut told, &part);
        parts += 1;
        if part.get("resume_point").is_some() {
            return (told, parts);
        }
    }
}

/// The next part of a notice over Server-Sent Events, with its id as on a socket.
#[track_caller]
fn part_of(stream: &mut Events) -> Value {
    let frame = stream.until("changed").pop().expect("a notice");
    let mut part = frame.json();
    if let Some(id) = frame.id {
        part["resume_point"] = json!(id);
    }
    part
}

#[test]
fn ten_thousand_channels_are_one_watch_and_one_notice_on_every_way() {
    let (_server, mut owner, mut newest) = with_channels(&[], CHANNELS);
    // Some that are not there fail alone.
    let mut wanted = of_all(&newest);
    let gone = owner.create_channel("gone");
    owner.delete(&format!("/api/channels/{gone}")).ok(200);
    let places = wanted["watch"].as_array_mut().unwrap();
    places[17] = json!({"id": gone});
    places[42] = json!({"id": "nonsense"});
    let missing: Vec<String> = [17, 42].map(|place| newest.keys().nth(place).unwrap().clone()).into();
    newest.retain(|id, _| !missing.contains(id));

    let kept = set(&mut owner, "w", &wanted);
    let status = kept["status"].as_object().unwrap();
    assert_eq!(status.len(), CHANNELS);
    assert_eq!(status[&gone], json!({"ok": false, "code": "not_found"}));
    assert_eq!(status["nonsense"], json!({"ok": false, "code": "bad_id"}));
    for (id, offset) in &newest {
        assert_eq!(status[id], json!({"ok": true, "offset": offset}), "{id}");
    }
    let page = owner.get("/api/watch/w/changes").ok(200);
    let mut told = BTreeMap::new();
    for part in page["changed"].as_array().unwrap().chunks(PART) {
        note(&mut told, &json!({"changed": part}));
    }
    assert_eq!(told, newest, "by a poll");
    let mut events = stream(&owner, "w", None);
    let (told, parts) = whole_notice(|| part_of(&mut events));
    assert!(told == newest && parts == CHANNELS / PART, "by Server-Sent Events, in {parts}");
    drop(events);
    let mut socket = Ws::open(&owner);
    let on_socket = read(&mut socket, "w", json!({"set": wanted}));
    assert_eq!(on_socket["status"], kept["status"]);
    let (told, parts) = whole_notice(|| next_of(&mut socket, "w"));
    assert!(told == newest && parts == CHANNELS / PART, "by a socket, in {parts}");
    assert_eq!(next_of(&mut socket, "w")["type"], "caught_up");
    // A user has so many channels in all their watches and no more.
    let of_watch = newest.len();
    for n in 1..CHANNELS_OF_USER_MAX / of_watch {
        set(&mut owner, &format!("w{n}"), &wanted);
    }
    owner.put("/api/watch/too-many", &wanted).refused_as(409, "too_many_watches");
    set(&mut owner, "w1", &wanted);
    owner.delete("/api/watch/w2").ok(204);
    set(&mut owner, "not-too-many", &wanted);
    let mut more = wanted;
    more["watch"].as_array_mut().unwrap().push(json!({"id": gone}));
    owner.put("/api/watch/w", &more).refused_as(400, "bad_watch");
}

#[test]
fn a_watch_that_is_set_anew_in_the_middle_of_a_notice_tells_the_rest_of_that_frame_and_no_more() {
    let (_server, mut owner, newest) = with_channels(&[], CHANNELS);
    let only = newest.keys().next().unwrap();
    let anew = json!({"watch": [{"id": only}], "max_delay_ms": 0});
    let slow = narrow(&owner);
    let mut socket = Ws::open(&slow);
    let session = socket.session_id(json!({"resume_point": "now"}));
    socket.caught_up(&session);
    let old = read(&mut socket, "s", json!({"set": of_all(&newest)}));
    let mut told = BTreeMap::new();
    note(&mut told, &next_of(&mut socket, "s"));
    set(&mut owner, "e", &of_all(&newest));
    let mut events = stream(&slow, "e", None);
    let mut told_by_events = BTreeMap::new();
    note(&mut told_by_events, &part_of(&mut events));

    // Nobody waits for a reader that does not read.
    let now = [set(&mut owner, "s", &anew), set(&mut owner, "e", &anew)];
    let said = owner.say(only, "of the new setting");
    let bye = loop {
        let message = next_of(&mut socket, "s");
        if message["type"] == "bye" {
            break message;
        }
        assert_eq!((&message["type"], &message["epoch"]), (&json!("changed"), &old["epoch"]));
        assert_eq!(message.get("resume_point"), None, "it is not the end of the notice");
        note(&mut told, &message);
    };
    assert_eq!((&bye["reason"], &bye["offset"]), (&json!("replaced"), &json!(0)), "not all was told");
    assert!(told.len() < CHANNELS, "it was told all of it: {}", told.len());
    assert_eq!(socket.take_events(&session, 1).0[0]["offset"], said["offset"], "the socket goes on");
    assert_eq!(socket.rest(), Vec::<Value>::new());
    let frames = events.until("bye");
    let (bye, parts) = frames.split_last().unwrap();
    for part in parts {
        assert_eq!((&*part.kind, &part.id), ("changed", &None));
        note(&mut told_by_events, &part.json());
    }
    assert_eq!((&bye.json()["reason"], &bye.json()["offset"]), (&json!("replaced"), &json!(0)));
    assert!(told_by_events.len() < CHANNELS, "it was told all of it: {}", told_by_events.len());
    assert!(matches!(events.try_next(ANSWER_WAIT), Err(End::Closed)), "an answer that is whole");
    for (name, kept) in ["s", "e"].iter().zip(&now) {
        let page = owner.get(&format!("/api/watch/{name}/changes")).ok(200);
        assert_eq!((&page["epoch"], &page["changed"][0]["offset"]), (&kept["epoch"], &said["offset"]));
    }
}

#[test]
fn whoever_takes_too_little_of_a_notice_is_told_and_misses_nothing_when_they_come_back() {
    let (_server, mut owner, mut newest) = with_channels(&["--write-timeout", "1s"], CHANNELS);
    let slow = narrow(&owner);
    let mut socket = Ws::open(&slow);
    read(&mut socket, "s", json!({"set": of_all(&newest)}));
    set(&mut owner, "e", &of_all(&newest));
    let mut events = stream(&slow, "e", None);
    events.until("hello");
    crate::support::until("both are put out", || {
        let figures = owner.get("/metrics").text();
        figures.contains("scrollback_streams_ended_total{reason=\"slow\"} 2").then_some(())
    });
    for id in newest.keys().step_by(100).cloned().collect::<Vec<_>>() {
        let said = number(&owner.say(&id, "meanwhile"), "offset");
        newest.insert(id, said);
    }
    let (said, _) = socket.end();
    let mut told = BTreeMap::new();
    let (bye, parts) = said.split_last().expect("a goodbye");
    parts.iter().for_each(|part| note(&mut told, part));
    assert_eq!((&bye["reason"], told.len() < CHANNELS), (&json!("slow"), true), "{bye}");
    let mut again = Ws::open(&owner);
    read(&mut again, "s", json!({"resume_point": bye["resume_point"]}));
    assert_eq!(whole_notice(|| next_of(&mut again, "s")).0, newest);
    let bye = events.goodbye();
    assert_eq!(bye["reason"], "slow");
    let mut again = stream(&owner, "e", Some(&text(&bye, "resume_point")));
    assert_eq!(whole_notice(|| part_of(&mut again)).0, newest);
    assert!(offset_of(again.last_id.as_deref().unwrap().split_once('.').unwrap().1) > 0);
}
