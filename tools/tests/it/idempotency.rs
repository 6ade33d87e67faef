//! Idempotency keys: a request sent again is the same request.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::client::{Client, Request, text};
use crate::support::http::Response;
use crate::support::server::Server;

fn say(client: &mut Client, channel: &str, key: &str, body: &str) -> Response {
    client.send(&Request::post(&format!("/api/channels/{channel}"), &json!({"body": body})).key(key))
}

#[test]
fn the_same_request_again_gets_the_first_answer_and_makes_one_record() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let first = say(&mut owner, &channel, "key", "once").ok(201);
    assert_eq!(say(&mut owner, &channel, "key", "once").ok(201), first);
    server.restart();
    assert_eq!(say(&mut owner, &channel, "key", "once").ok(201), first);
    server.kill9();
    server.start();
    assert_eq!(say(&mut owner, &channel, "key", "once").ok(201), first);
    assert_eq!(owner.history(&channel, 50), [first]);
}

#[test]
fn the_same_key_with_another_body_is_refused() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    say(&mut owner, &channel, "key", "one").ok(201);
    for _ in 0..2 {
        say(&mut owner, &channel, "key", "other").refused_as(409, "key_reused");
        server.restart();
    }
    assert_eq!(owner.history(&channel, 50).len(), 1);
}

#[test]
fn a_key_belongs_to_one_user_and_one_path() {
    let (_server, mut owner) = Server::set_up(&[]);
    let (mut member, id) = owner.invite_member("member");
    let channel = owner.create_channel("general");
    let second = owner.create_channel("second");
    let mine = say(&mut owner, &channel, "key", "same").ok(201);
    let theirs = say(&mut member, &channel, "key", "same").ok(201);
    assert_ne!(mine["id"], theirs["id"]);
    assert_eq!(theirs["sender"], json!(id));
    let elsewhere = say(&mut owner, &second, "key", "same").ok(201);
    assert_ne!(mine["id"], elsewhere["id"]);
    // Nor does the key of somebody else show what was said with it.
    assert_eq!(say(&mut member, &second, "key", "mine").ok(201)["body"], "mine");
}

#[test]
fn a_new_session_of_the_same_user_may_send_again() {
    let (server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let first = say(&mut owner, &channel, "key", "once").ok(201);
    let mut robot = server.client().with_token(&owner.token("robot"));
    assert_eq!(say(&mut robot, &channel, "key", "once").ok(201), first);
}

#[test]
fn the_first_answer_loses_its_text_when_the_message_is_deleted() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let mut first = say(&mut owner, &channel, "key", "said and taken back").ok(201);
    owner.delete(&format!("/api/messages/{}", text(&first, "id"))).ok(200);
    first["body"] = json!("");
    for _ in 0..2 {
        let again = say(&mut owner, &channel, "key", "said and taken back").ok(201);
        for field in ["id", "at", "channel", "sender", "body", "offset"] {
            assert_eq!(again[field], first[field], "{field}");
        }
        // Nothing is kept of a deleted text that another one could be compared with: the key alone makes the request.
        assert_eq!(say(&mut owner, &channel, "key", "something else").ok(201)["offset"], first["offset"]);
        server.restart();
    }
    assert!(owner.history(&channel, 50).is_empty());
}

#[test]
fn a_channel_is_created_once_with_a_key() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let create = |client: &mut Client, name: &str| {
        client.send(&Request::post("/api/channels", &json!({"name": name})).key("key"))
    };
    let first = create(&mut owner, "general").ok(201);
    assert_eq!(create(&mut owner, "general").ok(201), first);
    create(&mut owner, "other").refused_as(409, "key_reused");
    owner.say(&text(&first, "id"), "a newer record");
    server.restart();
    assert_eq!(create(&mut owner, "general").ok(201)["offset"], first["offset"]);
    assert_eq!(owner.get("/api/channels").ok(200)["channels"].as_array().unwrap().len(), 1);
}

#[test]
fn one_key_sent_many_times_at_once_makes_one_record() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    for round in 0..5 {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (mut client, channel, key) = (owner.clone(), channel.clone(), format!("key {round}"));
                std::thread::spawn(move || say(&mut client, &channel, &key, &key).ok(201).to_string())
            })
            .collect();
        let answers: HashSet<String> = threads.into_iter().map(|handle| handle.join().unwrap()).collect();
        assert_eq!(answers.len(), 1, "{answers:?}");
    }
    assert_eq!(owner.history(&channel, 50).len(), 5);
}

#[test]
fn a_refusal_is_not_remembered() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    say(&mut owner, &channel, "key", "").refused(400);
    say(&mut owner, &channel, "key", "good").ok(201);
}

#[test]
fn a_key_is_1_to_128_printable_characters() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    for (n, good) in ["k", "!~", &"k".repeat(128)].into_iter().enumerate() {
        say(&mut owner, &channel, good, &format!("good {n}")).ok(201);
    }
    for bad in ["", "\u{fc}", "a\tb", &"k".repeat(129)] {
        let response = say(&mut owner, &channel, bad, "bad");
        assert_eq!(response.status, 400, "{bad:?}: {}", response.text());
        response.refused_as(400, "bad_key");
    }
    let said: Vec<Value> =
        owner.history(&channel, 50).into_iter().map(|message| message["body"].clone()).collect();
    assert_eq!(said, ["good 0", "good 1", "good 2"]);
}
