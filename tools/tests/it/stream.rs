//! The event stream and the long poll: order, filters, resume points, control events.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{Client, number, text};
use crate::support::events::{End, Events, assert_is_token, offset_of};
use crate::support::http::escaped;
use crate::support::server::Server;

/// Much more than the second between two heartbeats in these tests.
const HEARTBEAT_WAIT: Duration = Duration::from_secs(40);

/// A server with two channels and some events of each kind; gives the channels.
fn with_events() -> (Server, Client, [String; 2]) {
    let (server, mut owner) = Server::set_up(&["--heartbeat", "1s"]);
    let channels = [owner.create_channel("first"), owner.create_channel("second")];
    let gone = owner.create_channel("gone");
    for n in 0..4 {
        for channel in &channels {
            let said = owner.say(channel, &format!("message {n}"));
            if n == 2 {
                owner.delete(&format!("/api/messages/{}", text(&said, "id"))).ok(200);
            }
        }
        owner.say(&gone, &format!("gone {n}"));
    }
    owner.delete(&format!("/api/channels/{gone}")).ok(200);
    (server, owner, channels)
}

#[test]
fn a_stream_opens_with_hello_and_says_when_it_is_live() {
    let (_server, mut owner, _) = with_events();
    let head = number(&owner.get("/api/events/poll?after=0").ok(200), "head");
    let mut stream = Events::open(&owner, "", None);
    assert_eq!(stream.head.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.head.header("cache-control"), Some("no-store"));
    assert_eq!(stream.head.header("x-accel-buffering"), Some("no"));
    let frames = stream.until("caught_up");
    let hello = frames[0].json();
    assert_eq!((frames[0].kind.as_str(), &hello["type"]), ("hello", &json!("hello")));
    assert_eq!((&hello["resume"], &hello["head"]), (&json!("ok"), &json!(head)));
    assert_is_token(&text(&hello, "resume_token"));
    assert_eq!(offset_of(&text(&hello, "resume_token")), 0);
    assert!((1000..=8000).contains(&stream.retry_ms.expect("a retry time")), "{:?}", stream.retry_ms);
    let caught_up = frames.last().unwrap();
    assert_eq!(caught_up.json()["offset"], json!(head));
    for frame in &frames {
        assert_eq!(frame.json()["type"], json!(frame.kind), "the event field is the type");
        if frame.is_event() {
            let id = frame.id.clone().expect("an event has an id");
            assert_is_token(&id);
            assert_eq!(offset_of(&id), number(&frame.json(), "offset"));
        } else if frame.kind != "checkpoint" {
            assert_eq!(frame.id, None, "{frame:?}");
        }
    }
    let events: Vec<Value> = frames.iter().filter(|f| f.is_event()).map(|f| f.json()).collect();
    assert_eq!(events, owner.poll_all("0"), "the poll shows what the stream shows");
    assert!(events.windows(2).all(|pair| number(&pair[0], "offset") < number(&pair[1], "offset")));
}

#[test]
fn one_event_has_the_same_bytes_on_every_transport() {
    let (_server, mut owner, _) = with_events();
    let poll = owner.get("/api/events/poll?after=0&limit=500").text();
    for frame in Events::open(&owner, "", None).until("caught_up").iter().filter(|frame| frame.is_event()) {
        let start = format!(r#"{{"offset":{},"at":""#, frame.json()["offset"]);
        assert!(frame.data.starts_with(&start), "{}", frame.data);
        assert!(poll.contains(&frame.data), "{}", frame.data);
    }
}

#[test]
fn every_id_and_every_offset_resumes_exactly_behind_it() {
    let (mut server, mut owner, _) = with_events();
    for round in 0..2 {
        let frames = Events::open(&owner, "", None).until("caught_up");
        let events: Vec<_> = frames.iter().filter(|frame| frame.is_event()).collect();
        for (n, frame) in events.iter().enumerate() {
            let rest: Vec<Value> = events[n + 1..].iter().map(|frame| frame.json()).collect();
            let (token, offset) = (frame.id.clone().unwrap(), frame.json()["offset"].to_string());
            assert_eq!(Events::open(&owner, "", Some(&token)).caught_up(), rest, "round {round}");
            assert_eq!(Events::open(&owner, "", Some(&offset)).caught_up(), rest);
            assert_eq!(Events::open(&owner, &format!("?resume_point={token}"), None).caught_up(), rest);
            assert_eq!(owner.poll_all(&token), rest);
            assert_eq!(owner.poll_all(&offset), rest);
            // The header is what a browser sends by itself when it comes back to the same address.
            assert_eq!(Events::open(&owner, "?resume_point=0", Some(&token)).caught_up(), rest);
        }
        server.restart();
    }
}

#[test]
fn a_stream_from_now_shows_only_what_comes() {
    let (_server, mut owner, channels) = with_events();
    let mut stream = Events::open(&owner, "?resume_point=now", None);
    assert!(stream.caught_up().is_empty());
    let said = owner.say(&channels[0], "new");
    assert_eq!(stream.take_events(1)[0]["offset"], said["offset"]);
    assert_eq!(Events::open(&owner, "?resume_point=0", None).caught_up(), owner.poll_all("0"));
}

#[test]
fn a_resume_point_beyond_the_head_is_ahead() {
    let (_server, mut owner, channels) = with_events();
    let head = number(&owner.get("/api/events/poll?after=0").ok(200), "head");
    for ahead in [head + 1, head + 1000, u64::MAX >> 1] {
        let mut stream = Events::open(&owner, &format!("?resume_point={ahead}"), None);
        assert_eq!(stream.next().json()["resume"], "ahead");
        let poll = owner.get(&format!("/api/events/poll?after={ahead}&wait=30")).ok(200);
        assert_eq!(
            (&poll["resume"], &poll["events"], &poll["head"]),
            (&json!("ahead"), &json!([]), &json!(head))
        );
    }
    let mut stream = Events::open(&owner, "", Some(&format!("{}-00000000", head + 5)));
    assert_eq!(stream.next().json()["resume"], "ahead");
    for n in 0..20 {
        owner.say(&channels[0], &format!("passing by {n}"));
    }
    let next = stream.try_next(HEARTBEAT_WAIT).expect("a heartbeat");
    assert_eq!(next.kind, "heartbeat", "after anything but ok the stream carries only heartbeats");
    assert_eq!(stream.retry_ms, Some(60_000));
}

#[test]
fn a_token_of_another_log_is_of_another_history() {
    let (_server, mut owner, _) = with_events();
    let token =
        Events::open(&owner, "", None).until("caught_up").iter().rev().find_map(|f| f.id.clone()).unwrap();
    let flipped = if token.ends_with('0') { "1" } else { "0" };
    let foreign = format!("{}{flipped}", &token[..token.len() - 1]);
    let mut stream = Events::open(&owner, "", Some(&foreign));
    assert_eq!(stream.next().json()["resume"], "other_history");
    let next = stream.try_next(HEARTBEAT_WAIT).expect("a heartbeat");
    assert_eq!((next.kind.as_str(), stream.retry_ms), ("heartbeat", Some(60_000)));
    let poll = owner.get(&format!("/api/events/poll?after={foreign}&wait=30")).ok(200);
    assert_eq!((&poll["resume"], &poll["events"]), (&json!("other_history"), &json!([])));
}

#[test]
fn garbage_is_not_a_resume_point() {
    let (_server, mut owner, _) = with_events();
    let long = "1".repeat(200);
    let bad = [
        "",
        "x",
        "-1",
        "+1",
        "1.0",
        "01x",
        "1-",
        "1-xyz",
        "1-0000000",
        "1-000000000",
        "1-0000000g",
        "%20",
        "1%20",
        "%00",
        "NOW",
        "18446744073709551616",
        "99999999999999999999999-00000000",
        &long,
    ];
    for point in bad {
        Events::refusal(&owner, &format!("?resume_point={point}"), None).refused_as(400, "bad_resume_point");
        owner.get(&format!("/api/events/poll?after={point}")).refused_as(400, "bad_resume_point");
    }
    for point in ["", "x", "-1", "1-", "1 2", &long] {
        Events::refusal(&owner, "", Some(point)).refused_as(400, "bad_resume_point");
        Events::refusal(&owner, "?resume_point=0", Some(point)).refused_as(400, "bad_resume_point");
    }
}

#[test]
fn filters_choose_events_and_never_hide_that_a_channel_is_gone() {
    let (_server, mut owner, channels) = with_events();
    let all = owner.poll_all("0");
    let is = |event: &Value, name: &str, value: &str| event[name] == value;
    let me = text(&owner.get("/api/auth/me").ok(200), "id");
    let of = |event: &Value, channel: &str| {
        is(event, "channel", channel) || (is(event, "type", "channel") && is(event, "id", channel))
    };
    let gone = |event: &Value| is(event, "type", "channel") && is(event, "event", "deleted");
    type Filter<'a> = Box<dyn Fn(&Value) -> bool + 'a>;
    let filters: Vec<(String, Filter<'_>)> = vec![
        (format!("channel={}", channels[0]), Box::new(|e| of(e, &channels[0]))),
        (
            format!("channel={}&channel={}", channels[0], channels[1]),
            Box::new(|e| of(e, &channels[0]) || of(e, &channels[1])),
        ),
        ("type=message".into(), Box::new(|e| is(e, "type", "message") || gone(e))),
        ("type=message&event=sent".into(), Box::new(|e| is(e, "type", "message") && is(e, "event", "sent"))),
        (
            "type=message&event=deleted".into(),
            Box::new(|e| is(e, "type", "message") && is(e, "event", "deleted") || gone(e)),
        ),
        ("type=user&type=channel".into(), Box::new(|e| is(e, "type", "user") || is(e, "type", "channel"))),
        ("event=created".into(), Box::new(|e| is(e, "event", "created"))),
        ("event=created&event=deleted".into(), Box::new(|e| !is(e, "event", "sent"))),
        (format!("type=message&event=sent&sender={me}"), Box::new(|e| is(e, "event", "sent"))),
    ];
    for (query, filter) in filters {
        let expected: Vec<Value> = all.iter().filter(|event| filter(event)).cloned().collect();
        assert!(!expected.is_empty(), "{query}");
        assert_eq!(Events::open(&owner, &format!("?{query}"), None).caught_up(), expected, "{query}");
        let poll = owner.get(&format!("/api/events/poll?after=0&limit=500&{query}")).ok(200);
        assert_eq!(poll["events"], json!(expected), "{query}");
    }
    // Filters mean what they say and no more: the ends of channels do not come with their messages.
    let messages = escaped(r#"[["type","=","message"]]"#);
    let first = escaped(&format!(r#"[["channel","in",["{}"]],["event","!=","created"]]"#, channels[0]));
    let (half, here) = (number(&all[all.len() / 2], "offset"), |e: &Value| of(e, &channels[0]));
    let later = escaped(&format!(r#"[["offset",">",{half}],["sender","=",null]]"#));
    let filters: Vec<(String, Filter<'_>)> = vec![
        (format!("filter={messages}"), Box::new(|e| is(e, "type", "message"))),
        (format!("filter={first}"), Box::new(|e| here(e) && !is(e, "event", "created"))),
        (
            format!("filter={first}&filter={later}"),
            Box::new(|e| {
                here(e) && !is(e, "event", "created") || number(e, "offset") > half && e["sender"].is_null()
            }),
        ),
        (
            format!("filter={messages}&event=deleted"),
            Box::new(|e| is(e, "type", "message") && is(e, "event", "deleted")),
        ),
    ];
    for (query, filter) in filters {
        let expected: Vec<Value> = all.iter().filter(|event| filter(event)).cloned().collect();
        assert!(!expected.is_empty(), "{query}");
        assert_eq!(Events::open(&owner, &format!("?{query}"), None).caught_up(), expected, "{query}");
        let poll = owner.get(&format!("/api/events/poll?after=0&limit=500&{query}")).ok(200);
        assert_eq!(poll["events"], json!(expected), "{query}");
    }
    let nonsense = escaped(r#"[["type","=","message"],["channel","<","C0"]]"#);
    let refused = owner.get(&format!("/api/events/poll?after=0&filter={messages}&filter={nonsense}"));
    let told = "condition 2 of filter 2: `<` can only be asked of at and offset, not of channel";
    refused.refused_as(400, "bad_query");
    assert!(refused.text().contains(told), "{}", refused.text());
    for bad in
        ["type=nonsense", "event=nonsense", "limit=0", "limit=x", "wait=-1", "wait=x", "filter=", "filter=x"]
    {
        let response = owner.get(&format!("/api/events/poll?after=0&{bad}"));
        assert_eq!(response.status, 400, "{bad}: {}", response.text());
    }
}

#[test]
fn a_filtered_reader_that_sees_nothing_still_moves_on() {
    let (_server, mut owner, channels) = with_events();
    let mut stream = Events::open(&owner, "?type=user&resume_point=now", None);
    stream.until("caught_up");
    for n in 0..300 {
        owner.say(&channels[0], &format!("not for this reader {n}"));
    }
    let frames = stream.until("checkpoint");
    let checkpoint = frames.last().unwrap();
    let id = checkpoint.id.clone().expect("a checkpoint has an id");
    assert_eq!(offset_of(&id), number(&checkpoint.json(), "offset"));
    assert!(Events::open(&owner, "?type=user", Some(&id)).caught_up().is_empty());
    let poll = owner.get("/api/events/poll?after=0&wait=0&limit=500&channel=C0").ok(200);
    assert_eq!((&poll["events"], offset_of(&text(&poll, "next"))), (&json!([]), number(&poll, "head")));
}

#[test]
fn a_quiet_stream_carries_heartbeats() {
    let (_server, owner, _) = with_events();
    let mut stream = Events::open(&owner, "?resume_point=now", None);
    stream.until("caught_up");
    for _ in 0..2 {
        assert_eq!(stream.try_next(HEARTBEAT_WAIT).expect("a heartbeat").kind, "heartbeat");
    }
}

#[test]
fn a_poll_waits_for_the_next_event() {
    let (_server, mut owner, channels) = with_events();
    let now = owner.get("/api/events/poll?after=0&limit=500").ok(200);
    let after = text(&now, "next");
    assert_eq!(offset_of(&after), number(&now, "head"));
    let empty = owner.get(&format!("/api/events/poll?after={after}&wait=0")).ok(200);
    assert_eq!(
        (&empty["resume"], &empty["events"], &empty["next"]),
        (&json!("ok"), &json!([]), &now["next"])
    );
    let mut poller = owner.clone();
    let path = format!("/api/events/poll?after={after}&wait=30");
    let waiting = std::thread::spawn(move || poller.get(&path).ok(200));
    let said = owner.say(&channels[0], "awaited");
    let page = waiting.join().unwrap();
    assert_eq!(page["events"].as_array().unwrap().len(), 1);
    assert_eq!(page["events"][0]["offset"], said["offset"]);
}

#[test]
fn a_poll_of_a_few_at_a_time_gives_all() {
    let (_server, mut owner, _) = with_events();
    let all = owner.poll_all("0");
    for limit in [1, 3] {
        let (mut got, mut after) = (Vec::new(), "0".to_owned());
        while got.len() < all.len() {
            let page = owner.get(&format!("/api/events/poll?after={after}&limit={limit}&wait=0")).ok(200);
            let events = page["events"].as_array().unwrap();
            assert!(!events.is_empty() && events.len() <= limit, "{page}");
            got.extend(events.iter().cloned());
            after = text(&page, "next");
        }
        assert_eq!(got, all);
    }
}

#[test]
fn live_events_come_in_order_while_many_write() {
    let (_server, owner, channels) = with_events();
    let mut stream = Events::open(&owner, "?resume_point=now&type=message", None);
    stream.until("caught_up");
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (mut client, channel) = (owner.clone(), channels[writer % 2].clone());
            std::thread::spawn(move || {
                (0..25)
                    .map(|n| number(&client.say(&channel, &format!("{writer}/{n}")), "offset"))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let got: Vec<u64> = stream.take_events(100).iter().map(|event| number(event, "offset")).collect();
    let mut wrote: Vec<u64> = writers.into_iter().flat_map(|handle| handle.join().unwrap()).collect();
    wrote.sort_unstable();
    assert_eq!(got, wrote);
}

#[test]
fn a_stream_needs_an_identity() {
    let (server, ..) = with_events();
    Events::refusal(&server.client(), "", None).refused(401);
    server.client().get("/api/events/poll?after=0").refused(401);
}

#[test]
fn a_stopping_server_says_goodbye_with_a_place_to_go_on_from() {
    let (mut server, mut owner, channels) = with_events();
    let mut stream = Events::open(&owner, "", None);
    stream.until("caught_up");
    let last = owner.say(&channels[0], "last words");
    stream.take_events(1);
    server.stop();
    let bye = stream.goodbye();
    assert_eq!((&bye["type"], &bye["reason"]), (&json!("bye"), &json!("shutdown")));
    let resume = text(&bye, "resume_token");
    assert_eq!(offset_of(&resume), number(&bye, "offset"));
    assert!(number(&bye, "offset") >= number(&last, "offset"));
    assert!(matches!(stream.try_next(Duration::from_secs(1)), Err(End::Closed | End::Broken)));
    server.start();
    let said = owner.say(&channels[0], "first words");
    let got = Events::open(&owner, "", Some(&resume)).caught_up();
    assert_eq!(got.iter().map(|event| event["offset"].clone()).collect::<Vec<_>>(), [said["offset"].clone()]);
}
