//! The tour of the README: from nothing to a client that was away and missed nothing.

use serde_json::{Value, json};

use crate::support::PASSWORD;
use crate::support::client::{number, text};
use crate::support::events::{Events, assert_is_token};
use crate::support::server::Server;

#[test]
fn a_client_that_was_away_over_a_restart_gets_exactly_what_it_missed() {
    let mut server = Server::started(&[]);
    let mut ada = server.client();
    let response = ada.post("/api/setup", &json!({"name": "ada", "password": PASSWORD}));
    let user = response.ok(201);
    assert_eq!((user["name"].as_str(), user["role"].as_str()), (Some("ada"), Some("owner")));
    ada.adopt(&response);
    ada = server.client();
    ada.log_in("ada", PASSWORD);

    let channel = ada.create_channel("general");
    let hello = ada.say(&channel, "hello");
    let mut stream = Events::open(&ada, "", None);
    let seen = stream.caught_up();
    let kinds: Vec<_> =
        seen.iter().map(|e| (e["type"].as_str().unwrap(), e["event"].as_str().unwrap())).collect();
    assert_eq!(kinds, [("user", "created"), ("channel", "created"), ("message", "sent")]);
    assert_eq!(seen[2]["offset"], hello["offset"]);
    let live = ada.say(&channel, "live");
    assert_eq!(stream.take_events(1)[0]["offset"], live["offset"]);
    let resume = stream.last_id.clone().expect("an id");
    assert_is_token(&resume);

    server.stop();
    assert_eq!(stream.goodbye()["reason"], "shutdown");
    server.start();

    let missed: Vec<Value> = (0..3).map(|n| ada.say(&channel, &format!("missed {n}"))).collect();
    let mut stream = Events::open(&ada, "", Some(&resume));
    let got = stream.caught_up();
    assert_eq!(offsets(&got), offsets(&missed));
    for (event, answer) in got.iter().zip(&missed) {
        for field in ["id", "at", "channel", "sender", "body"] {
            assert_eq!(event[field], answer[field], "{field}");
        }
    }
}

#[test]
fn what_was_said_before_a_kill_is_there_after_it() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let said = owner.say(&channel, "durable");
    server.kill9();
    server.start();
    let after = format!("/api/events/poll?after={}", number(&said, "offset") - 1);
    let page = owner.get(&after).ok(200);
    assert_eq!(page["events"][0]["body"], "durable");
    assert_eq!(text(&page["events"][0], "id"), text(&said, "id"));
}

#[test]
fn nothing_can_be_done_before_the_set_up() {
    let server = Server::started(&[]);
    let mut client = server.client();
    for path in [
        "/api/boot",
        "/api/channels",
        "/api/auth/me",
        "/api/events",
        "/api/events/poll?after=0",
        "/api/users",
    ] {
        client.get(path).refused_as(503, "setup_required");
    }
    client
        .post("/api/auth/login", &json!({"name": "a", "password": PASSWORD}))
        .refused_as(503, "setup_required");
    client.post("/api/channels", &json!({"name": "a"})).refused_as(503, "setup_required");
    client.get("/api/openapi.json").ok(200);
    assert_eq!(client.get("/livez").status, 200);
}

#[test]
fn a_server_is_set_up_once() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let again = json!({"name": "second", "password": PASSWORD});
    owner.post("/api/setup", &again).refused_as(409, "already_set_up");
    server.restart();
    server.client().post("/api/setup", &again).refused_as(409, "already_set_up");
}

#[test]
fn only_one_of_many_set_ups_at_once_makes_an_owner() {
    let server = Server::started(&[]);
    let tries: Vec<_> = (0..4)
        .map(|n| {
            let mut client = server.client();
            std::thread::spawn(move || {
                client.post("/api/setup", &json!({"name": format!("owner {n}"), "password": PASSWORD}))
            })
        })
        .collect();
    let answers: Vec<_> = tries.into_iter().map(|handle| handle.join().unwrap()).collect();
    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(made.len(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        answer.refused_as(409, "already_set_up");
    }
    let mut owner = server.client();
    owner.adopt(made[0]);
    let users = owner.get("/api/users").ok(200);
    assert_eq!(users["users"].as_array().unwrap().len(), 1, "{users}");
}

#[test]
fn a_set_up_with_a_bad_name_or_password_makes_nothing() {
    let server = Server::started(&[]);
    let mut client = server.client();
    client.post("/api/setup", &json!({"name": "", "password": PASSWORD})).refused(400);
    client.post("/api/setup", &json!({"name": "ada", "password": "1234567"})).refused(400);
    client.post("/api/setup", &json!({"name": "ada"})).refused(422);
    client.post("/api/setup", &json!({"name": "ada", "password": "12345678"})).ok(201);
}

fn offsets(values: &[Value]) -> Vec<u64> {
    values.iter().map(|value| number(value, "offset")).collect()
}
