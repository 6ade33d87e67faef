//! What holds of watches whichever way they are read.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::socket::{next_as, next_of, read};
use super::{notice, set, stream};
use crate::support::client::{Client, number, text};
use crate::support::events::{End, assert_is_token};
use crate::support::latency::must_be_within;
use crate::support::server::Server;
use crate::support::until;
use crate::support::ws::Ws;

/// A lease as short as one may be.
const LEASE: Duration = Duration::from_secs(10);

#[test]
fn no_notice_and_no_line_of_the_log_holds_a_text() {
    let texts = ["xylophone", "yesteryear", "zeppelin", "quixotic"];
    let [body, channel_name, user_name, watch_name] = texts;
    let (mut server, mut owner) = Server::set_up(&["--log", "trace", "--heartbeat", "1s"]);
    let (mut writer, _) = owner.invite_member(user_name);
    let channel = owner.create_channel(channel_name);
    let watch = json!({"watch": [{"id": channel}, {"id": body}], "max_delay_ms": 0});
    let mut heard = vec![owner.put(&format!("/api/watch/{watch_name}"), &watch).text().replace(body, "")];
    let mut events = stream(&owner, watch_name, None);
    heard.push(String::from_utf8_lossy(&events.head.body).into_owned());
    let mut socket = Ws::open(&owner);
    let mut of_socket = watch.clone();
    of_socket["watch"].as_array_mut().unwrap().pop();
    heard.push(read(&mut socket, "s", json!({"set": of_socket})).to_string());
    for n in 0..3 {
        let said = writer.say(&channel, &format!("{body} {n}"));
        let told = next_of_kind(&mut socket, "s", "changed");
        assert_eq!(told["changed"][0]["offset"], said["offset"]);
        heard.push(told.to_string());
    }
    owner.delete(&format!("/api/channels/{channel}")).ok(200);
    heard.push(next_of_kind(&mut socket, "s", "changed").to_string());
    owner.create_channel(channel_name);
    heard.push(next_of_kind(&mut socket, "s", "checkpoint").to_string());
    for path in ["", "/changes"] {
        heard.push(owner.get(&format!("/api/watch/{watch_name}{path}")).text());
    }
    owner.delete(&format!("/api/watch/{watch_name}")).ok(204);
    for frame in events.until("bye") {
        heard.push(format!("{} {:?} {}", frame.kind, frame.id, frame.data));
    }
    assert!(heard.iter().any(|frame| frame.contains("deleted")), "{heard:?}");
    drop(socket);
    let lines = server.stop().stderr;
    for text in texts {
        for frame in &heard {
            // Of a watch the answers bear the name that their own client gave it.
            let bears_it = text == watch_name && frame.contains("\"epoch\"");
            assert!(!frame.contains(text) || bears_it, "{text}: {frame}");
        }
        // That a log-in of that name was made is the audit's business.
        assert!(!lines.contains(text), "{text} in the log");
    }
    assert!(lines.contains("/api/watch/{name}"), "the lines tell of the calls");
}

#[track_caller]
fn next_of_kind(socket: &mut Ws, name: &str, kind: &str) -> Value {
    socket.next_of(|message| message["watch"] == name && message["type"] == kind)
}

#[test]
fn without_a_delay_each_change_that_is_waited_for_is_told_by_itself_and_once() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let watch = json!({"watch": [{"id": channel}], "max_delay_ms": 0});
    set(&mut owner, "e", &watch);
    let mut events = stream(&owner, "e", None);
    events.until("caught_up");
    let mut socket = Ws::open(&owner);
    read(&mut socket, "s", json!({"set": watch}));
    next_as(&mut socket, "s", "caught_up");
    let mut after = text(&owner.get("/api/watch/e/changes").ok(200), "next");
    for n in 0..50 {
        let mut poller = owner.clone();
        let path = format!("/api/watch/e/changes?wait=40&after={after}");
        let polled = std::thread::spawn(move || poller.get(&path).ok(200));
        let said = owner.say(&channel, &n.to_string());
        let expected = json!([{"id": channel, "offset": said["offset"]}]);
        assert_eq!(notice(&mut events), expected);
        assert_eq!(next_as(&mut socket, "s", "changed")["changed"], expected);
        let page = polled.join().unwrap();
        assert_eq!(page["changed"], expected);
        after = text(&page, "next");
    }
}

#[test]
fn whoever_watches_what_does_not_change_is_told_how_far_that_is_true() {
    let (_server, mut owner) = Server::set_up(&["--heartbeat", "1s"]);
    let [quiet, busy] = ["quiet", "busy"].map(|name| owner.create_channel(name));
    let watch = json!({"watch": [{"id": quiet}], "max_delay_ms": 0});
    assert_eq!(set(&mut owner, "e", &watch)["heartbeat"], 1, "it is said how often signs of life come");
    let mut events = stream(&owner, "e", None);
    events.until("caught_up");
    let mut socket = Ws::open(&owner);
    let kept = read(&mut socket, "s", json!({"set": watch}));
    next_as(&mut socket, "s", "caught_up");
    let said = (0..20).map(|n| number(&owner.say(&busy, &n.to_string()), "offset")).max().unwrap();
    // Whatever else comes, all up to there was told, and whoever goes on from there is told nothing again.
    let mut place = String::new();
    let mut marks = 0;
    while marks < said {
        let mark = next_as(&mut socket, "s", "checkpoint");
        place = text(&mark, "resume_point");
        let (epoch, token) = place.split_once('.').expect("an epoch and a token");
        assert_eq!(epoch, kept["epoch"].to_string());
        assert_is_token(token);
        marks = crate::support::events::offset_of(token);
    }
    loop {
        let frame = events.until("checkpoint").pop().unwrap();
        assert!(frame.id.is_some());
        if number(&frame.json(), "offset") >= said {
            break;
        }
    }
    let id = events.last_id.clone();
    drop(events);
    let mut again = stream(&owner, "e", id.as_deref());
    assert_eq!((again.next().kind, again.next().kind), ("hello".into(), "caught_up".into()));
    read(&mut socket, "s", json!({"resume_point": place}));
    next_as(&mut socket, "s", "bye");
    next_as(&mut socket, "s", "caught_up");
    // And nothing comes that is not a sign of life.
    for _ in 0..2 {
        let frame = again.try_next(Duration::from_secs(30));
        assert!(matches!(&frame, Ok(frame) if frame.kind == "heartbeat"), "{frame:?}");
    }
}

fn watches(client: &mut Client) -> u64 {
    client.figure("scrollback_watches").expect("the figure")
}

#[test]
fn a_lease_ends_unless_somebody_reads_and_nothing_is_left_of_what_it_kept() {
    // Not even a heartbeat renews it meanwhile: that somebody reads is enough.
    let (_server, mut owner) = Server::set_up(&["--heartbeat", "60s"]);
    let channel = owner.create_channel("general");
    let watch = json!({"watch": [{"id": channel}], "max_delay_ms": 0, "lease_s": LEASE.as_secs()});
    let mut events = {
        set(&mut owner, "by-events", &watch);
        stream(&owner, "by-events", None)
    };
    let mut socket = Ws::open(&owner);
    read(&mut socket, "by-socket", json!({"set": watch}));
    let began = Instant::now();
    set(&mut owner, "forgotten", &watch);
    assert_eq!(watches(&mut owner), 3);
    until("the lease is over", || (watches(&mut owner) == 2).then_some(()));
    let took = began.elapsed();
    assert!(took >= LEASE, "{took:?}");
    must_be_within("SCROLLBACK_WATCH_LEASE_SECONDS_MAX", took.as_secs_f64(), "a lease of 10 s");
    for (method, path) in [("POST", "/renew"), ("GET", ""), ("GET", "/changes"), ("GET", "/events")] {
        let path = format!("/api/watch/forgotten{path}");
        let answer = if method == "GET" { owner.get(&path) } else { owner.post(&path, &json!({})) };
        answer.refused_as(404, "unknown_watch");
    }
    // What others read lives, and is told of as before.
    let said = owner.say(&channel, "still");
    let expected = json!([{"id": channel, "offset": said["offset"]}]);
    assert_eq!(notice(&mut events), expected);
    assert_eq!(next_of_kind(&mut socket, "by-socket", "changed")["changed"], expected);
    // Whoever comes back loses nothing.
    let again = json!({"watch": [{"id": channel, "since": number(&said, "offset") - 1}]});
    set(&mut owner, "forgotten", &again);
    assert_eq!(owner.get("/api/watch/forgotten/changes").ok(200)["changed"], expected);
    // Once nobody reads they end as well.
    for name in ["by-events", "by-socket", "forgotten"] {
        owner.delete(&format!("/api/watch/{name}")).ok(204);
    }
    assert_eq!(watches(&mut owner), 0);
    assert!(matches!(events.goodbye()["reason"].as_str(), Some("unwatched")));
    assert_eq!(next_of_kind(&mut socket, "by-socket", "bye")["reason"], "unwatched");
    assert!(matches!(events.try_next(Duration::from_secs(1)), Err(End::Closed | End::Broken)));
}

#[test]
fn whoever_goes_away_leaves_the_watch_for_its_lease() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let watch = json!({"watch": [{"id": channel}], "max_delay_ms": 0});
    let mut socket = Ws::open(&owner);
    let kept = read(&mut socket, "w", json!({"set": watch}));
    let place = text(&next_as(&mut socket, "w", "caught_up"), "type");
    assert_eq!(place, "caught_up");
    socket.close();
    let said = owner.say(&channel, "meanwhile");
    let mut socket = Ws::open(&owner);
    assert_eq!(read(&mut socket, "w", json!({}))["epoch"], kept["epoch"], "in an orderly way");
    assert_eq!(next_of(&mut socket, "w")["changed"], json!([{"id": channel, "offset": said["offset"]}]));
    socket.cut();
    let mut socket = Ws::open(&owner);
    assert_eq!(read(&mut socket, "w", json!({}))["epoch"], kept["epoch"], "or not");
}

#[test]
fn a_hidden_channel_is_answered_by_the_same_bytes_as_one_that_never_was() {
    let (_server, mut owner) = Server::set_up(&[]);
    let (mut member, _) = owner.invite_member("member");
    let secret = json!({"name": "secret", "private": true});
    let hidden = text(&owner.post("/api/channels", &secret).ok(201), "id");
    let message = text(&owner.say(&hidden, "unseen"), "id");
    // The message's place in the log is no channel's.
    let never = format!("C{}", &message[1..]);
    let gone = owner.create_channel("gone");
    owner.delete(&format!("/api/channels/{gone}")).ok(200);
    let mut socket = Ws::open(&member);
    let mut told = Vec::new();
    for id in [&hidden, &never, &gone] {
        let watch = json!({"watch": [{"id": id, "since": 1}], "max_delay_ms": 0});
        let kept = set(&mut member, "w", &watch);
        let page = member.get("/api/watch/w/changes").ok(200);
        let shown = member.get("/api/watch/w").ok(200)["status"].clone();
        let on_socket = read(&mut socket, "s", json!({"set": watch}))["status"].clone();
        let all = json!([kept["status"], page["changed"], shown, on_socket]);
        told.push(all.to_string().replace(id.as_str(), "ID"));
    }
    assert_eq!((&told[1], &told[2]), (&told[0], &told[0]));
}
