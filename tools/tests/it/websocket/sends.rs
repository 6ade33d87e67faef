//! Messages sent over a socket: the same answers as by `POST`, many under way at once.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::with_events;
use crate::support::client::{Request, number, text};
use crate::support::ws::Ws;

#[test]
fn many_messages_under_way_are_all_answered_as_a_post_would_be() {
    let (_server, mut owner, channels) = with_events(&[]);
    let posted = owner.say(&channels[0], "by post");
    let before = owner.history(&channels[0], 500).len();
    let mut socket = Ws::open(&owner);
    let session = socket.session_id(json!({"resume_point": "now"}));
    let count = 200;
    for n in 0..count {
        let body = format!("pipelined {n}");
        socket.say(&json!({"type": "send", "id": format!("{n}"), "channel": channels[0], "body": body}));
    }
    let mut answers = BTreeMap::new();
    for _ in 0..count {
        let answer = socket.next_of(|message| message["type"] == "answer");
        assert_eq!(answer["status"], 201, "{answer}");
        let n: usize = text(&answer, "id").parse().unwrap();
        assert_eq!(answer["body"]["body"], format!("pipelined {n}"));
        assert!(answers.insert(number(&answer["body"], "offset"), answer["body"].clone()).is_none());
    }
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert!(answers.values().all(|answer| fields(answer) == fields(&posted)), "{posted}");
    let told: Vec<Value> = answers.into_values().collect();
    assert_eq!(owner.history(&channels[0], 500)[before..], told);
    // Who sends sees it too, by the session.
    let shown = socket.take_events(&session, count).0;
    let offsets = |values: &[Value]| values.iter().map(|value| number(value, "offset")).collect::<Vec<_>>();
    assert_eq!(offsets(&shown), offsets(&told));
}

#[test]
fn what_a_post_refuses_is_refused_in_the_same_words() {
    let (_server, mut owner, channels) = with_events(&[]);
    let mut socket = Ws::open(&owner);
    let large = "x".repeat((64 << 10) + 1);
    let gone = owner.create_channel("gone");
    owner.delete(&format!("/api/channels/{gone}")).ok(200);
    let (here, unknown) = (channels[0].as_str(), "C0ABCDEFGH99");
    let long_key = "k".repeat(129);
    let bad: Vec<(&str, Value, Option<&str>)> = vec![
        (here, json!(""), None),
        (here, json!(" \n "), None),
        (here, json!("\u{1}"), None),
        (here, json!(large), None),
        (unknown, json!("x"), None),
        ("nonsense", json!("x"), None),
        (gone.as_str(), json!("x"), None),
        (here, json!("x"), Some("")),
        (here, json!("x"), Some(&long_key)),
        (here, json!("x"), Some("schl\u{fc}ssel")),
    ];
    let before = owner.poll_all("0").len();
    for (channel, body, key) in bad {
        let mut request = Request::post(&format!("/api/channels/{channel}"), &json!({"body": body}));
        let mut message = json!({"type": "send", "channel": channel, "body": body});
        if let Some(key) = key {
            request = request.key(key);
            message["idempotency_key"] = json!(key);
        }
        let posted = owner.send(&request);
        assert!(posted.status >= 400, "{message}: {}", posted.text());
        let answer = socket.ask(message.clone());
        let problem: Value = serde_json::from_slice(&posted.body).unwrap();
        assert_eq!(
            (&answer["status"], &answer["body"]),
            (&json!(posted.status), &problem),
            "{key:?} {channel}"
        );
    }
    assert_eq!(owner.poll_all("0").len(), before);
}

#[test]
fn a_key_is_the_same_key_whichever_way_a_message_comes() {
    let (mut server, mut owner, channels) = with_events(&[]);
    let path = format!("/api/channels/{}", channels[0]);
    let post = |key: &str, body: &str| Request::post(&path, &json!({"body": body})).key(key);
    let send = |key: &str, body: &str| json!({"type": "send", "channel": channels[0], "body": body, "idempotency_key": key});
    let before = owner.history(&channels[0], 500).len();
    let posted = owner.send(&post("one", "first")).ok(201);
    let mut socket = Ws::open(&owner);
    let sent = socket.ask(send("two", "second"));
    assert_eq!(sent["status"], 201, "{sent}");
    for _ in 0..2 {
        let mut socket = Ws::open(&owner);
        let again = socket.ask(send("one", "first"));
        assert_eq!((&again["status"], &again["body"]), (&json!(201), &posted));
        assert_eq!(owner.send(&post("two", "second")).ok(201), sent["body"]);
        let other = socket.ask(send("one", "something else"));
        assert_eq!(super::refused(&other, 409), "key_reused");
        owner.send(&post("two", "something else")).refused_as(409, "key_reused");
        server.kill9();
        server.start();
    }
    assert_eq!(owner.history(&channels[0], 500).len(), before + 2);
    // Two of the same at once are one.
    let mut socket = Ws::open(&owner);
    for id in ["a", "b"] {
        let mut message = send("three", "third");
        message["id"] = json!(id);
        socket.say(&message);
    }
    let [one, two] = ["a", "b"].map(|id| socket.next_of(|message| message["id"] == id));
    assert_eq!((&one["status"], &one["body"]), (&two["status"], &two["body"]));
    assert_eq!(owner.history(&channels[0], 500).len(), before + 3);
}
