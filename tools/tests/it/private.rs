//! Private channels, by the real server: hidden from whoever is not in them, over kills too.

use serde_json::{Value, json};

use crate::support::client::{Client, Request, number, text};
use crate::support::http::Response;
use crate::support::server::Server;

#[track_caller]
fn create_private(client: &mut Client, name: &str) -> Value {
    client.post("/api/channels", &json!({"name": name, "private": true})).ok(201)
}

fn put(client: &mut Client, path: &str) -> Response {
    client.send(&Request::new("PUT", path))
}

/// Whether the channel is in the lists; every way to look at it must say the same.
#[track_caller]
fn sees(client: &mut Client, channel: &str) -> bool {
    let listed = |client: &mut Client, path: &str| {
        let answer = client.get(path).ok(200);
        answer["channels"].as_array().unwrap().iter().any(|known| known["id"] == *channel)
    };
    let head = number(&client.get("/api/boot").ok(200), "resume_point");
    let list = listed(client, "/api/channels");
    assert_eq!(listed(client, "/api/boot"), list);
    assert_eq!(listed(client, &format!("/api/channels?at={head}")), list);
    let boot = client.get("/api/boot").ok(200);
    let messages = boot["messages"].as_array().unwrap();
    assert_eq!(messages.iter().any(|message| message["channel"] == *channel), list);
    for path in ["messages", "members", &format!("messages?at={head}")] {
        let answer = client.get(&format!("/api/channels/{channel}/{path}"));
        assert_eq!(answer.status, if list { 200 } else { 404 }, "{path}: {}", answer.text());
    }
    list
}

#[test]
fn a_private_channel_is_hidden_joined_read_and_left_also_over_kills() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let (mut ann, ann_id) = owner.invite_member("ann");
    let (mut bob, bob_id) = owner.invite_member("bob");
    let (mut moderator, moderator_id) = owner.invite_member("mo");
    owner.put(&format!("/api/users/{moderator_id}"), &json!({"role": "moderator"})).ok(200);
    let created = create_private(&mut ann, "the surprise");
    assert_eq!(created["private"], true);
    let channel = text(&created, "id");
    let said = ann.say(&channel, "it is on friday");
    let message = text(&said, "id");
    let member = |user: &str| format!("/api/channels/{channel}/members/{user}");

    // Hidden from who is not in it, a moderator too; the owner sees it.
    for _ in 0..2 {
        for client in [&mut bob, &mut moderator] {
            assert!(!sees(client, &channel));
            client
                .post(&format!("/api/channels/{channel}"), &json!({"body": "hello"}))
                .refused_as(404, "not_found");
            client.delete(&format!("/api/channels/{channel}")).refused_as(404, "not_found");
            client.delete(&format!("/api/messages/{message}")).refused_as(404, "not_found");
            put(client, &member(&bob_id)).refused_as(404, "not_found");
            client.delete(&member(&ann_id)).refused_as(404, "not_found");
            client.post("/api/channels", &json!({"name": "The Surprise"})).refused_as(409, "name_taken");
        }
        for client in [&mut ann, &mut owner] {
            assert!(sees(client, &channel));
        }
        server.kill9();
        server.start();
    }

    // Added, bob reads what was said before.
    let added = put(&mut ann, &member(&bob_id)).ok(200);
    assert_eq!(number(&added, "history_after"), number(&created, "offset") - 1);
    assert_eq!((&added["channel"], &added["user"]), (&json!(channel), &json!(bob_id)));
    assert_eq!(put(&mut ann, &member(&bob_id)).ok(200), added, "the second time nothing changes");
    let before_bob = number(&added, "offset") - 1;
    for _ in 0..2 {
        assert!(sees(&mut bob, &channel));
        assert_eq!(bob.history(&channel, 50), std::slice::from_ref(&said));
        let page = bob.get(&format!("/api/channels/{channel}/messages?at={before_bob}")).ok(200);
        assert_eq!(page["messages"], json!([said]), "the rights of now, not of then");
        let members = bob.get(&format!("/api/channels/{channel}/members")).ok(200);
        assert_eq!(
            members,
            json!({"members": [
                {"id": ann_id, "name": "ann", "since": created["offset"]},
                {"id": bob_id, "name": "bob", "since": added["offset"]},
            ]})
        );
        assert!(!sees(&mut moderator, &channel));
        server.kill9();
        server.start();
    }
    bob.say(&channel, "I bring a cake");
    bob.delete(&member(&ann_id)).refused_as(403, "forbidden");

    // Having left, he sees nothing of it any more, the past and his own included.
    bob.delete(&member(&bob_id)).ok(200);
    for _ in 0..2 {
        assert!(!sees(&mut bob, &channel));
        bob.get(&format!("/api/channels/{channel}/messages?at={before_bob}")).refused_as(404, "not_found");
        bob.get(&format!("/api/channels/{channel}/messages?at={}", number(&added, "offset")))
            .refused_as(404, "not_found");
        assert!(sees(&mut ann, &channel) && sees(&mut owner, &channel));
        server.kill9();
        server.start();
    }

    // Whoever is no owner any more sees what members see.
    let (mut second, second_id) = owner.invite_member("second");
    assert!(!sees(&mut second, &channel));
    owner.put(&format!("/api/users/{second_id}"), &json!({"role": "owner"})).ok(200);
    assert!(sees(&mut second, &channel));
    owner.put(&format!("/api/users/{second_id}"), &json!({"role": "member"})).ok(200);
    assert!(!sees(&mut second, &channel));

    server.stop();
    let state = server.operate("replay", &["--to", &before_bob.to_string()]);
    let state: Value = serde_json::from_str(&state.must_exit(0).stdout).unwrap();
    assert_eq!(state["channels"][0]["members"], json!([ann_id]), "the operator sees all of it");
    server.operate("verify", &[]).must_exit(0);
}

/// An answer but for the two lines that differ from request to request.
fn told(answer: &Response) -> (u16, Vec<(String, String)>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| name != "x-request-id" && name != "date");
    (answer.status, headers.cloned().collect(), answer.text())
}

#[test]
fn not_yours_and_never_there_are_the_same_bytes() {
    let (_server, mut owner) = Server::set_up(&[]);
    let (mut ann, ann_id) = owner.invite_member("ann");
    let (mut bob, bob_id) = owner.invite_member("bob");
    let channel = text(&create_private(&mut ann, "hidden"), "id");
    let message = text(&ann.say(&channel, "a secret"), "id");
    let head = number(&bob.get("/api/boot").ok(200), "resume_point");
    let never = |kind: char| format!("{kind}{}", &bob_id[1..]);
    let calls = |channel: &str, message: &str| {
        let at = |path: &str| format!("/api/channels/{channel}{path}");
        vec![
            Request::post(&at(""), &json!({"body": "is anybody there"})),
            Request::post(&at(""), &json!({"body": "is anybody there"})).key("k"),
            Request::new("DELETE", &at("")),
            Request::get(&at("/messages")),
            Request::get(&at(&format!("/messages?at={head}"))),
            Request::get(&at("/messages?after=oldest&limit=1")),
            Request::get(&at("/members")),
            Request::new("PUT", &at(&format!("/members/{bob_id}"))),
            Request::new("PUT", &at(&format!("/members/{}", never('U')))),
            Request::new("DELETE", &at(&format!("/members/{ann_id}"))),
            Request::new("DELETE", &at(&format!("/members/{bob_id}"))),
            Request::new("DELETE", &format!("/api/messages/{message}")),
        ]
    };
    let hidden = calls(&channel, &message);
    for (not_yours, not_there) in hidden.iter().zip(calls(&never('C'), &never('M'))) {
        let answers = [bob.send(not_yours), bob.send(&not_there)];
        answers[1].refused_as(404, "not_found");
        assert_eq!(told(&answers[0]), told(&answers[1]), "{not_yours:?}");
    }
    assert_eq!(number(&bob.get("/api/boot").ok(200), "resume_point"), head, "nothing was recorded");
}
