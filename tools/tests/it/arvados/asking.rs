//! What a client asks for, and what it is answered.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ask, event, ids_to, open, open_at, subscribe};
use crate::support::client::{Client, Request, number};
use crate::support::raw_ws::{Ended, FIN, PING, RawWs, frame};
use crate::support::server::Server;
use crate::support::ws::{Gone, Ws, ask_upgrade, upgrade_of};

/// Twice as long as a client may take to say who it is.
const AUTHENTICATED_BY: Duration = Duration::from_secs(20);

/// A client that sends no identity of its own.
pub(super) fn stranger(client: &Client) -> Client {
    Client::new(client.address.clone())
}

#[test]
fn a_token_is_taken_from_the_address_the_header_or_the_first_message_and_a_bad_one_gets_no_socket() {
    let (_server, mut owner) = Server::set_up(&[]);
    let token = owner.token("arvados");
    let nobody = stranger(&owner);
    let first = |socket: &mut Ws| {
        subscribe(socket, &json!([]), 0);
        assert_eq!(event(socket)["object_kind"], "scrollback#user");
    };
    first(&mut open_at(&nobody, &format!("/websocket?api_token={token}")));
    first(&mut open(&nobody.with_token(&token)));
    let mut socket = open_at(&nobody, "/websocket?auth=message");
    let answer = ask(&mut socket, &json!({"method": "auth", "api_token": token}));
    assert_eq!(answer["status"], 200, "{answer}");
    first(&mut socket);
    assert_eq!(ask(&mut socket, &json!({"method": "auth", "api_token": token}))["status"], 400);

    for path in ["/websocket", "/websocket?api_token=", "/websocket?api_token=v2/zzzzz-gj3su-0123/abc"] {
        let refusal = ask_upgrade(&nobody, &upgrade_of(path)).unwrap().err().expect("no socket");
        assert_eq!(refusal.refused(401), "unauthenticated", "{path}");
    }
    for path in ["/websocket?auth=later", "/websocket?api_token=x&auth=message", "/websocket?token=x"] {
        let refusal = ask_upgrade(&owner, &upgrade_of(path)).unwrap().err().expect("no socket");
        assert_eq!(refusal.refused(400), "bad_query", "{path}");
    }
}

#[test]
fn whoever_does_not_say_who_they_are_is_told_nothing_and_let_go() {
    let (_server, owner) = Server::set_up(&[]);
    let nobody = stranger(&owner);
    for (said, status) in [
        (json!({"method": "auth", "api_token": "wrong"}), 401),
        (json!({"method": "subscribe", "filters": [], "last_log_id": 0}), 401),
        (json!({"method": "unsubscribe"}), 401),
        (json!({"method": "auth"}), 400),
        (json!({"method": "auth", "api_token": "x".repeat(1_100)}), 400),
        (json!({}), 400),
    ] {
        let mut socket = open_at(&nobody, "/websocket?auth=message");
        socket.say(&said);
        let (heard, gone) = socket.end();
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert_eq!(heard[0]["status"], status, "{heard:?}");
        assert_eq!(gone, Gone::Closed(Some(4401)));
    }
    // One that says nothing at all.
    let (heard, gone) = open_at(&nobody, "/websocket?auth=message").end();
    assert_eq!((heard, gone), (vec![], Gone::Closed(Some(4401))));
}

#[test]
fn whoever_has_always_more_to_say_but_not_who_they_are_is_let_go_all_the_same() {
    let (_server, owner) = Server::set_up(&[]);
    let mut socket = RawWs::open_at(&stranger(&owner), "/websocket?auth=message");
    let pings = socket.flood(frame(FIN | PING, &[b'p'; 125]).repeat(500));
    assert_eq!(socket.end_within(AUTHENTICATED_BY), Ended::Code(Some(4401)));
    assert_eq!(socket.reason, "nobody has said who this is");
    drop(socket);
    pings.join().unwrap();
}

#[test]
fn what_makes_no_sense_is_refused_in_words_and_the_socket_goes_on() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let head = number(&owner.say(&channel, "x"), "offset");
    let mut socket = open(&owner);
    for (message, told) in [
        (json!({"method": "publish"}), "method must be"),
        (json!({"method": "subscribe", "filters": "all"}), "filters must be a list"),
        (
            json!({"method": "subscribe", "filters": [["colour", "=", "red"]]}),
            "condition 1: there is no attribute",
        ),
        (json!({"method": "subscribe", "filters": [["id", "like", 5]]}), "condition 1: there is no operator"),
        (
            json!({"method": "subscribe", "filters": [["event_type", "in", "create"]]}),
            "condition 1: the operand",
        ),
        (json!({"method": "subscribe", "filters": [], "last_log_id": -1}), "last_log_id must be"),
        (json!({"method": "subscribe", "filters": [], "last_log_id": head + 1}), "last_log_id lies beyond"),
        (json!({"method": "unsubscribe", "filters": []}), "there is no such subscription"),
        (json!({"method": "unsubscribe", "subscription": 1}), "there is no such subscription"),
    ] {
        let answer = ask(&mut socket, &message);
        assert_eq!(answer["status"], 400, "{answer}");
        assert!(answer["message"].as_str().unwrap().starts_with(told), "{answer}");
        assert_eq!(answer.get("id"), None, "a client without ids takes one for an event's");
    }
    // None of them has subscribed to anything.
    owner.say(&channel, "y");
    subscribe(&mut socket, &json!([["object_kind", "=", "scrollback#channel"]]), None);
    let last = number(&owner.delete(&format!("/api/channels/{channel}")).ok(200), "offset");
    assert_eq!(ids_to(&mut socket, last), [last]);
}

#[test]
fn an_answer_bears_the_id_that_its_question_had() {
    let (_server, owner) = Server::set_up(&[]);
    let mut socket = open(&owner);
    for id in [json!(7), json!("seven")] {
        let answer = ask(&mut socket, &json!({"method": "subscribe", "id": id}));
        assert_eq!((&answer["id"], &answer["status"]), (&id, &json!(200)));
        assert!(answer["message"].is_string() && answer["subscription"].is_u64(), "{answer}");
        assert_eq!(ask(&mut socket, &json!({"method": "nonsense", "id": id}))["id"], id);
    }
}

#[test]
fn a_socket_has_so_many_subscriptions_and_no_more() {
    let (_server, owner) = Server::set_up(&[]);
    let mut socket = open(&owner);
    let numbers: Vec<u64> = (0..32).map(|_| subscribe(&mut socket, &json!([]), None)).collect();
    let answer = ask(&mut socket, &json!({"method": "subscribe"}));
    assert_eq!(answer["status"], 403, "{answer}");
    assert_eq!(
        ask(&mut socket, &json!({"method": "unsubscribe", "subscription": numbers[4]}))["status"],
        200
    );
    subscribe(&mut socket, &json!([]), None);
}

#[test]
fn only_who_asks_for_bookmarks_is_told_how_far_everything_was_looked_at() {
    let (_server, mut owner) = Server::set_up(&["--heartbeat", "1s"]);
    let channel = owner.create_channel("general");
    let nothing = json!([["event_type", "=", "stdout"]]);
    let (mut asks, mut does_not) = (open(&owner), open(&owner));
    let answer = ask(
        &mut asks,
        &json!({"method": "subscribe", "filters": nothing, "last_log_id": 0, "bookmarks": true}),
    );
    assert_eq!(answer["status"], 200, "{answer}");
    subscribe(&mut does_not, &nothing, 0);
    let head = number(&owner.say(&channel, "x"), "offset");
    while asks.next_of(|heard| heard.get("bookmark").is_some())["bookmark"] != json!(head) {}
    // By then the other was told as much: that the server lives.
    for _ in 0..3 {
        assert_eq!(does_not.next_of(|_| true), json!({}));
    }
}

#[test]
fn a_message_that_is_too_long_ends_the_socket_with_a_reason() {
    let (_server, owner) = Server::set_up(&[]);
    let mut socket = open(&owner);
    let long = json!({"method": "subscribe", "filters": [["event_type", "=", "x".repeat(600_000)]]});
    // It may be gone before all of that is said.
    let _ = socket.try_say(&long);
    assert_eq!(socket.end().1, Gone::Closed(Some(1009)));
    assert_eq!(socket.reason, "the message is too long");
}

#[test]
fn a_page_without_an_upgrade_is_told_what_is_missing_and_a_foreign_page_gets_no_socket() {
    let (_server, mut owner) = Server::set_up(&[]);
    let plain = owner.get("/websocket");
    assert_eq!(plain.refused(426), "upgrade_required");
    assert!(plain.text().contains("not websocket protocol"), "{}", plain.text());
    let foreign = upgrade_of("/websocket").header("origin", "https://evil.example");
    let refusal = ask_upgrade(&owner, &foreign).unwrap().err().expect("no socket");
    assert_eq!(refusal.refused(403), "foreign_origin");
}

#[test]
fn health_is_told_as_arvados_tells_it() {
    let (_server, owner) = Server::set_up(&[]);
    let mut nobody = stranger(&owner);
    for path in ["/_health/ping", "/_health/db"] {
        assert_eq!(nobody.get(path).ok(200), json!({"health": "OK"}));
    }
    let document: Value = nobody.get("/discovery/v1/apis/arvados/v1/rest").ok(200);
    assert_eq!(document["websocketUrl"], json!(format!("ws://{}/websocket", owner.address.get())));
    let behind =
        Request::get("/discovery/v1/apis/arvados/v1/rest").header("x-forwarded-host", "evil.example");
    assert_eq!(nobody.send(&behind).ok(200)["rootUrl"], json!(format!("http://{}/", owner.address.get())));
}

#[test]
fn the_public_url_is_what_clients_are_told_to_come_by_and_whose_pages_may() {
    let (_server, mut owner) = Server::set_up(&["--public-url", "https://chat.example.org:8443"]);
    let document: Value = owner.get("/discovery/v1/apis/arvados/v1/rest").ok(200);
    assert_eq!(document["websocketUrl"], "wss://chat.example.org:8443/websocket");
    assert_eq!(document["rootUrl"], "https://chat.example.org:8443/");
    assert_eq!(document["baseUrl"], "https://chat.example.org:8443/arvados/v1/");
    // And whose pages may open a socket, whatever address they say they have come by.
    let own = format!("http://{}", owner.address.get());
    for (origin, is_own) in [
        ("https://chat.example.org:8443", true),
        ("https://chat.example.org", false),
        ("http://chat.example.org:8443", false),
        (own.as_str(), false),
    ] {
        let opened = ask_upgrade(&owner, &upgrade_of("/websocket").header("origin", origin)).unwrap();
        assert_eq!(opened.is_ok(), is_own, "{origin}");
        if let Err(refusal) = opened {
            refusal.refused_as(403, "foreign_origin");
        }
    }
}
