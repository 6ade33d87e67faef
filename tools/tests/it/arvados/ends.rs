//! How sockets end, and how their clients go on.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{ask, event, ids_to, offsets, open, subscribe};
use crate::support::client::{Client, number, text};
use crate::support::count;
use crate::support::latency::must_be_within;
use crate::support::losses::{Loss, losses};
use crate::support::raw_ws::{self, Ended, FIN, PING, RawWs, frame};
use crate::support::server::{Server, Way};
use crate::support::until;
use crate::support::ws::{Gone, Ws};

/// After how many milliseconds a socket that a stop has closed was told to come back.
#[track_caller]
fn wait_told(socket: &Ws) -> u64 {
    let wait =
        socket.reason.strip_prefix("shutdown: come back in ").and_then(|wait| wait.strip_suffix(" ms"));
    let wait: u64 = wait.unwrap_or_else(|| panic!("{}", socket.reason)).parse().unwrap();
    assert!((1_000..=8_000).contains(&wait), "{wait}");
    wait
}

#[test]
fn the_waits_that_a_stop_tells_are_spread() {
    let (server, owner) = Server::set_up(&[]);
    let mut sockets: Vec<Ws> = (0..12).map(|_| open(&owner)).collect();
    for socket in &mut sockets {
        subscribe(socket, &json!([]), None);
    }
    server.signal("TERM");
    let mut waits: Vec<u64> = sockets
        .iter_mut()
        .map(|socket| {
            assert_eq!(socket.end().1, Gone::Closed(Some(1012)));
            wait_told(socket)
        })
        .collect();
    waits.sort_unstable();
    waits.dedup();
    // Of 12 by chance within 7,000 two may be the same, but hardly more; and not all are near each other.
    assert!(waits.len() >= 10 && waits[waits.len() - 1] - waits[0] > 1_000, "{waits:?}");
}

#[test]
fn a_stop_is_told_with_a_wait_and_the_client_goes_on_where_it_was() {
    let (mut server, mut owner) = Server::set_up(&[]);
    server.keep_address();
    let channel = owner.create_channel("general");
    let token = owner.token("for good");
    let mut owner = owner.with_token(&token);
    let mut socket = open(&owner);
    subscribe(&mut socket, &json!([]), None);
    let last = number(&owner.say(&channel, "x"), "offset");
    assert_eq!(ids_to(&mut socket, last), [last]);
    server.signal("TERM");
    let (heard, gone) = socket.end();
    assert_eq!((heard, gone), (vec![], Gone::Closed(Some(1012))));
    wait_told(&socket);
    server.end();
    server.start();
    let mut owner = server.client().with_token(&token);
    let missed = number(&owner.say(&channel, "y"), "offset");
    let mut socket = open(&owner);
    subscribe(&mut socket, &json!([]), last);
    assert_eq!(ids_to(&mut socket, missed), [missed]);
}

#[test]
fn whoever_loses_their_identity_loses_the_socket_and_gets_no_other() {
    let (server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    for Loss { what, client, take_away } in losses(&server, &owner) {
        let mut socket = open(&client);
        subscribe(&mut socket, &json!([]), None);
        let last = number(&owner.say(&channel, "seen"), "offset");
        assert_eq!(ids_to(&mut socket, last), [last], "{what}");
        // One that is to be told nothing yet, and one that is not any more.
        let (asks_nothing, mut asks_no_more) = (open(&client), open(&client));
        subscribe(&mut asks_no_more, &json!([]), None);
        assert_eq!(ask(&mut asks_no_more, &json!({"method": "unsubscribe"}))["status"], 200, "{what}");
        take_away();
        let began = Instant::now();
        owner.say(&channel, "not for it");
        for mut socket in [socket, asks_nothing, asks_no_more] {
            let (heard, gone) = socket.end();
            must_be_within("SCROLLBACK_REVOKED_SECONDS_MAX", began.elapsed().as_secs_f64(), what);
            assert_eq!(gone, Gone::Closed(Some(4401)), "{what}");
            assert_eq!(socket.reason, "unauthenticated", "{what}");
            // A user who is changed is an event, which may come before the end; what is said afterwards may not.
            assert!(heard.iter().all(|row| row["object_kind"] == "scrollback#user"), "{what}: {heard:?}");
        }
        let refusal = Ws::try_open_at(&client, "/websocket").unwrap().err().expect("no socket");
        refusal.refused_as(401, "unauthenticated");
    }
}

#[test]
fn whoever_loses_a_private_channel_loses_the_socket_and_goes_on_without_it() {
    let (_server, mut owner) = Server::set_up(&[]);
    let private =
        text(&owner.post("/api/channels", &json!({"name": "secret", "private": true})).ok(201), "id");
    let open_to_all = owner.create_channel("general");
    let (bob, id) = owner.invite_member("bob");
    owner.put(&format!("/api/channels/{private}/members/{id}"), &json!({})).ok(200);
    // One that could show the channel, and one that could not.
    let (mut all, mut other) = (open(&bob), open(&bob));
    subscribe(&mut all, &json!([]), None);
    subscribe(&mut other, &json!([["object_uuid", "=", open_to_all]]), None);
    let seen = number(&owner.say(&private, "seen"), "offset");
    assert_eq!(ids_to(&mut all, seen), [seen]);
    owner.delete(&format!("/api/channels/{private}/members/{id}")).ok(200);
    let began = Instant::now();
    owner.say(&private, "not seen");
    let (heard, gone) = all.end();
    must_be_within("SCROLLBACK_REVOKED_SECONDS_MAX", began.elapsed().as_secs_f64(), "lost membership");
    assert_eq!((heard, gone), (vec![], Gone::Closed(Some(4403))));
    assert_eq!(all.reason, "forbidden");
    let mut back = open(&bob);
    subscribe(&mut back, &json!([]), seen);
    let last = number(&owner.delete(&format!("/api/channels/{open_to_all}")).ok(200), "offset");
    let removed = event(&mut back);
    assert_eq!(removed["properties"]["new_attributes"]["user"], json!(id), "{removed}");
    assert_eq!(ids_to(&mut back, last), [last]);
    assert_eq!(ids_to(&mut other, last), [last]);
}

/// How many streams have ended as slow.
fn slow_ends(client: &mut Client) -> u64 {
    client.figure("scrollback_streams_ended_total{reason=\"slow\"}").unwrap_or(0)
}

#[test]
fn a_client_that_takes_nothing_is_told_where_to_go_on_and_misses_nothing() {
    let (_server, mut owner) = Server::set_up(&["--write-timeout", "1s"]);
    let channel = owner.create_channel("general");
    let mut stuck = open(&owner);
    subscribe(&mut stuck, &json!([]), 0);
    let messages = count("SCROLLBACK_ARVADOS_STUCK", 250);
    let mut good = open(&owner);
    subscribe(&mut good, &json!([]), None);
    let good = std::thread::spawn(move || {
        (0..messages).map(|_| number(&event(&mut good), "id")).collect::<Vec<u64>>()
    });
    // More than the systems at both ends take for a client that reads nothing.
    let body = "x".repeat(60_000);
    for _ in 0..messages {
        owner.say(&channel, &body);
    }
    let all = offsets(&mut owner, |_| true);
    let last = *all.last().expect("events");
    assert!(all.ends_with(&good.join().expect("the good one")), "the good one noticed nothing");
    let mut asking = owner.clone();
    until("the stuck one is ended", || (slow_ends(&mut asking) > 0).then_some(()));
    let mut ids = Vec::new();
    let gone = loop {
        match stuck.try_next(Duration::from_secs(30)) {
            Ok(message) => ids.extend(message.get("msgID").map(|_| number(&message, "id"))),
            Err(gone) => break gone,
        }
    };
    assert_eq!(gone, Gone::Closed(Some(4008)));
    let newest = *ids.last().expect("what the systems had taken");
    assert_eq!(stuck.reason, format!("slow consumer: resume from {newest}"));
    let mut back = open(&owner);
    subscribe(&mut back, &json!([]), newest);
    ids.extend(ids_to(&mut back, last));
    assert_eq!(ids, all);
}

#[test]
fn a_slow_client_that_was_told_nothing_yet_is_told_where_to_go_on_too() {
    let (server, mut owner) = Server::set_up(&["--write-timeout", "1s"]);
    let channel = owner.create_channel("general");
    let said = number(&owner.say(&channel, "x"), "offset");
    let token = owner.token("slow");
    let way = Way { receive_bytes: Some(64 << 10), ..Way::default() };
    let slow = Client::new(server.address.by(way)).with_token(&token);
    let mut nothing = RawWs::open_at(&slow, "/websocket");
    let of_deletions =
        json!({"method": "subscribe", "filters": [["event_type", "=", "delete"]], "last_log_id": said});
    nothing.say(&raw_ws::text(&of_deletions.to_string())).unwrap();
    let mut never = RawWs::open_at(&slow, "/websocket");
    // More answers than the systems at both ends take for a client that reads none.
    let pings = frame(FIN | PING, &[b'p'; 125]).repeat(20_000);
    for socket in [&mut nothing, &mut never] {
        socket.give_up_after(Duration::from_millis(500));
        // The server takes all of it once it has given the client up, or not.
        let _ = socket.say(&pings);
    }
    until("both are ended", || (slow_ends(&mut owner) == 2).then_some(()));
    assert_eq!(nothing.end(), Ended::Code(Some(4008)));
    assert_eq!(nothing.reason, format!("slow consumer: resume from {said}"));
    assert_eq!(never.end(), Ended::Code(Some(4008)));
    assert_eq!(never.reason, "slow");
}

#[test]
fn open_sockets_and_the_end_of_each_are_seen_by_the_operator() {
    let (mut server, mut owner) = Server::set_up(&["--log", "debug"]);
    let is_open = |owner: &mut Client, count: usize| {
        owner.get("/metrics").text().contains(&format!("scrollback_streams_open{{kind=\"arvados\"}} {count}"))
    };
    let mut socket = open(&owner);
    subscribe(&mut socket, &json!([]), 0);
    let channel = owner.create_channel("general");
    let last = number(&owner.say(&channel, "x"), "offset");
    let told = ids_to(&mut socket, last).len();
    let mut asking = owner.clone();
    until("it is counted", || is_open(&mut asking, 1).then_some(()));
    assert_eq!(socket.close(), Gone::Closed(Some(1000)));
    until("it is counted no more", || is_open(&mut asking, 0).then_some(()));
    let ended = server.stop();
    let line = ended.stderr.lines().find(|line| line.contains("the stream has ended")).expect("a line of it");
    for part in
        ["reason=\"closed\"", &format!("events={told}"), "sessions=1", "messages=1", "path=\"/websocket\""]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
}

/// The connections that a client makes which comes back at once, however often it is turned away.
#[test]
fn a_client_that_comes_back_at_once_is_held_and_does_not_hammer() {
    let (_server, mut owner) = Server::set_up(&[]);
    let began = Instant::now();
    for _ in 0..3 {
        let mut socket = open(&owner);
        socket.say(&json!("no object"));
        // What a client cannot help: the server ends it for what it says.
        let long = json!({"filters": "x".repeat(600_000)});
        let _ = socket.try_say(&long);
        assert_eq!(socket.end().1, Gone::Closed(Some(1009)));
    }
    assert!(began.elapsed() >= Duration::from_secs(3), "each connection lasts a second at least");
    owner.get("/livez").ok(200);
}
