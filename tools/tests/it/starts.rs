//! Where a stream and a poll begin: the last events that match, or those since a time.

use serde_json::{Value, json};

use crate::support::client::{Client, number, text};
use crate::support::events::Events;
use crate::support::server::Server;

/// `[["sender","!=",null]]`: what was said and is of somebody, in a query.
const SAID: &str = "filter=%5B%5B%22sender%22,%22!=%22,null%5D%5D";

/// A server with a channel, in which much was said and some taken back.
fn with_talk() -> (Server, Client, String) {
    let (server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    for n in 0..30 {
        let said = owner.say(&channel, &format!("message {n}"));
        if n % 7 == 3 {
            owner.delete(&format!("/api/messages/{}", text(&said, "id"))).ok(200);
        }
        if n % 11 == 5 {
            owner.create_channel(&format!("channel {n}"));
        }
    }
    (server, owner, channel)
}

fn newest(events: &[Value], count: usize) -> &[Value] {
    &events[events.len().saturating_sub(count)..]
}

/// What a stream and a poll show that begin here, which must be the same.
fn shown(owner: &mut Client, query: &str) -> Vec<Value> {
    let streamed = Events::open(owner, &format!("?{query}"), None).caught_up();
    let polled = owner.get(&format!("/api/events/poll?limit=500&{query}")).ok(200);
    assert_eq!(polled["events"], json!(streamed), "{query}");
    assert_eq!(polled["resume"], "ok");
    streamed
}

#[test]
fn a_stream_begins_with_the_last_events_that_match_and_goes_on() {
    let (mut server, mut owner, channel) = with_talk();
    let all = owner.poll_all("0");
    let said: Vec<Value> = all.iter().filter(|event| event["sender"].is_string()).cloned().collect();
    // What happened before a restart is only in the log.
    for round in 0..2 {
        for count in [1, 2, 7, 30, 1000] {
            assert_eq!(shown(&mut owner, &format!("last={count}")), newest(&all, count), "round {round}");
            assert_eq!(shown(&mut owner, &format!("last={count}&{SAID}")), newest(&said, count));
        }
        assert!(shown(&mut owner, "last=5&channel=C0").is_empty());
        server.restart();
    }
    let mut stream = Events::open(&owner, &format!("?last=3&{SAID}"), None);
    assert_eq!(stream.caught_up(), newest(&said, 3));
    let live = owner.say(&channel, "live");
    assert_eq!(stream.take_events(1)[0]["offset"], live["offset"]);
}

#[test]
fn who_comes_back_to_the_same_address_goes_on_behind_the_last_event_it_has() {
    let (_server, mut owner, channel) = with_talk();
    for start in ["last=3", "since=1970-01-01T00:00:00Z", "resume_point=now"] {
        let mut stream = Events::open(&owner, &format!("?{start}"), None);
        stream.caught_up();
        owner.say(&channel, "seen");
        stream.take_events(1);
        let id = stream.last_id.clone().unwrap();
        drop(stream);
        let missed: Vec<Value> =
            (0..5).map(|n| owner.say(&channel, &n.to_string())["offset"].clone()).collect();
        let came = Events::open(&owner, &format!("?{start}"), Some(&id)).caught_up();
        assert_eq!(came.iter().map(|event| event["offset"].clone()).collect::<Vec<_>>(), missed, "{start}");
    }
}

#[test]
fn a_stream_begins_with_what_was_recorded_at_a_time_or_later() {
    let (mut server, mut owner, channel) = with_talk();
    let all = owner.poll_all("0");
    for round in 0..2 {
        for at in all.iter().map(|event| text(event, "at")) {
            let wanted: Vec<Value> = all.iter().filter(|event| text(event, "at") >= at).cloned().collect();
            let came = Events::open(&owner, &format!("?since={at}"), None).caught_up();
            assert_eq!(came, wanted, "{at} in round {round}");
        }
        assert_eq!(shown(&mut owner, "since=1970-01-01T00:00:00Z"), all);
        let last = text(all.last().unwrap(), "at");
        assert_eq!(
            number(&shown(&mut owner, &format!("since={last}"))[0], "offset"),
            number(all.last().unwrap(), "offset")
        );
        server.restart();
    }
    let mut stream = Events::open(&owner, "?since=9999-12-31T23:59:59Z", None);
    assert!(stream.caught_up().is_empty());
    let live = owner.say(&channel, "live");
    assert_eq!(stream.take_events(1)[0]["offset"], live["offset"]);
}

#[test]
fn two_starts_or_one_that_is_none_are_refused_with_the_reason() {
    let (_server, mut owner, _) = with_talk();
    let time = "since=2004-11-15T01:00:00Z";
    for (query, told) in [
        (format!("last=1&{time}"), "a stream begins at one place"),
        ("last=0".to_owned(), "`last` must be a whole number from 1 to 1000"),
        ("last=1001".to_owned(), "`last` must be a whole number from 1 to 1000"),
        ("since=yesterday".to_owned(), "`since` must be a time like 2004-11-15T01:00:00Z"),
    ] {
        let poll = owner.get(&format!("/api/events/poll?{query}"));
        for refused in [poll, Events::refusal(&owner, &format!("?{query}"), None)] {
            refused.refused_as(400, "bad_query");
            assert!(refused.text().contains(told), "{}", refused.text());
        }
    }
    Events::refusal(&owner, "?last=1&resume_point=0", None).refused_as(400, "bad_query");
    owner.get("/api/events/poll?after=0&last=1").refused_as(400, "bad_query");
    owner.get(&format!("/api/events/poll?after=now&{time}")).refused_as(400, "bad_query");
}
