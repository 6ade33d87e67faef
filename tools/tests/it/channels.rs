//! Channels: names, creation, deletion.

use serde_json::{Value, json};

use crate::support::client::{Client, number, text};
use crate::support::server::Server;

#[test]
fn a_new_channel_is_shown_everywhere() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let me = owner.get("/api/auth/me").ok(200);
    let channel = owner.post("/api/channels", &json!({"name": "General talk"})).ok(201);
    assert_eq!(channel["name"], "General talk");
    assert_eq!(channel["private"], false);
    assert_eq!(channel["creator"], me["id"]);
    assert_eq!(channel["last_offset"], channel["offset"]);
    let at = text(&channel, "at");
    assert!(at.len() == 27 && at.ends_with('Z') && at.as_bytes()[19] == b'.', "{at}");
    let event = owner.poll_all("0").pop().unwrap();
    let prefix = format!(
        r#"{{"offset":{},"at":"{at}","type":"channel","event":"created","id":{}"#,
        channel["offset"], channel["id"]
    );
    let raw = owner.get(&format!("/api/events/poll?after={}", number(&channel, "offset") - 1)).text();
    assert!(raw.contains(&prefix), "{raw}");
    assert_eq!(
        (&event["name"], &event["private"], &event["creator"]),
        (&channel["name"], &json!(false), &me["id"])
    );
    for _ in 0..2 {
        for path in ["/api/channels", "/api/boot"] {
            let listed = owner.get(path).ok(200)["channels"].clone();
            assert_eq!(listed.as_array().unwrap().len(), 1);
            for field in ["id", "name", "at", "private", "creator", "last_offset"] {
                assert_eq!(listed[0][field], channel[field], "{field} in {path}");
            }
        }
        server.restart();
    }
}

#[test]
fn the_last_offset_of_a_channel_is_that_of_its_newest_record() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let message = owner.say(&channel, "hello");
    let listed = owner.get("/api/channels").ok(200);
    assert_eq!(listed["channels"][0]["last_offset"], message["offset"]);
}

#[test]
fn a_name_that_breaks_a_rule_is_refused() {
    let (_server, mut owner) = Server::set_up(&[]);
    let long = "x".repeat(65);
    let bad = [
        "",
        " ",
        " a",
        "a ",
        "a  b",
        "a\u{a0} b",
        "a\tb",
        "a\nb",
        "a\u{0}b",
        "a\u{7f}b",
        "a\u{85}b",
        "\u{3000}a",
        &long,
    ];
    for name in bad {
        let response = owner.post("/api/channels", &json!({"name": name}));
        assert_eq!(response.status, 400, "{name:?}: {}", response.text());
        response.refused_as(400, "bad_name");
    }
    for body in [json!({}), json!({"name": 5}), json!({"name": null}), json!(["name"]), json!("name")] {
        owner.post("/api/channels", &body).refused_as(422, "bad_schema");
    }
    assert_eq!(owner.get("/api/channels").ok(200)["channels"], json!([]));
}

#[test]
fn a_name_that_keeps_the_rules_is_shown_as_it_was_entered() {
    let (_server, mut owner) = Server::set_up(&[]);
    let widest = "\u{1f600}".repeat(64);
    let good = ["a", "a b", "#general", "\u{65e5}\u{672c}\u{8a9e}", "<b>&amp;</b>", &"x".repeat(64), &widest];
    for name in good {
        let channel = owner.post("/api/channels", &json!({"name": name})).ok(201);
        assert_eq!(channel["name"], json!(name));
    }
    // Shown as entered, after NFC, which is also what is counted.
    let channel = owner.post("/api/channels", &json!({"name": "e\u{301}".repeat(64)})).ok(201);
    assert_eq!(channel["name"], json!("\u{e9}".repeat(64)));
}

#[test]
fn two_spellings_of_one_name_are_one_name() {
    let (_server, mut owner) = Server::set_up(&[]);
    let twins = [
        ("General", "gENERAL"),
        ("caf\u{e9}", "cafe\u{301}"),
        ("Stra\u{df}e", "STRASSE"),
        ("\u{fb01}sh", "Fish"),
        ("\u{ff21}\u{ff22}", "ab"),
        ("\u{39f}\u{394}\u{39f}\u{3a3}", "\u{3bf}\u{3b4}\u{3bf}\u{3c2}"),
    ];
    for (first, second) in twins {
        owner.post("/api/channels", &json!({"name": first})).ok(201);
        owner.post("/api/channels", &json!({"name": second})).refused_as(409, "name_taken");
    }
}

#[test]
fn a_name_is_taken_once_however_many_want_it() {
    let (_server, owner) = Server::set_up(&[]);
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let mut client = owner.clone();
            std::thread::spawn(move || client.post("/api/channels", &json!({"name": "wanted"})).status)
        })
        .collect();
    let mut statuses: Vec<_> = threads.into_iter().map(|handle| handle.join().unwrap()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
}

#[test]
fn deleting_a_channel_takes_its_messages_and_frees_its_name() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let message = owner.say(&channel, "a message that goes");
    let deleted = owner.delete(&format!("/api/channels/{channel}")).ok(200);
    assert_eq!(deleted["id"], json!(channel));
    for _ in 0..2 {
        owner.delete(&format!("/api/channels/{channel}")).refused(404);
        owner.get(&format!("/api/channels/{channel}/messages")).refused(404);
        owner
            .post(&format!("/api/channels/{channel}"), &json!({"body": "late"}))
            .refused_as(404, "not_found");
        owner.delete(&format!("/api/messages/{}", text(&message, "id"))).refused(404);
        let boot = owner.get("/api/boot").ok(200);
        assert_eq!((&boot["channels"], &boot["messages"]), (&json!([]), &json!([])));

        let events = owner.poll_all("0");
        assert_eq!(events.len(), 4, "one event for all of it: {events:?}");
        assert_text_is_gone(&events[1], &["name"]);
        assert_text_is_gone(&events[2], &["body"]);
        let last = &events[3];
        assert_eq!(last["offset"], deleted["offset"]);
        assert_eq!(
            (&last["type"], &last["event"], &last["reason"]),
            (&json!("channel"), &json!("deleted"), &json!("deleted"))
        );
        assert_eq!((&last["id"], &last["by"]), (&json!(channel), &owner.get("/api/auth/me").ok(200)["id"]));
        server.restart();
    }
    assert_ne!(owner.create_channel("GENERAL"), channel);
}

#[test]
fn a_channel_is_deleted_by_its_creator_or_a_moderator() {
    let (_server, mut owner) = Server::set_up(&[]);
    let (mut creator, _) = owner.invite_member("creator");
    let (mut other, other_id) = owner.invite_member("other");
    let first = creator.create_channel("first");
    let second = creator.create_channel("second");
    other.delete(&format!("/api/channels/{first}")).refused_as(403, "forbidden");
    creator.delete(&format!("/api/channels/{first}")).ok(200);
    owner.put(&format!("/api/users/{other_id}"), &json!({"role": "moderator"})).ok(200);
    other.delete(&format!("/api/channels/{second}")).ok(200);
}

#[test]
fn a_channel_that_never_was_is_not_found() {
    let (_server, mut owner) = Server::set_up(&[]);
    let user = text(&owner.get("/api/auth/me").ok(200), "id");
    for id in ["C0", "C", "x", &user, "C7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "%00", "..%2f..%2fetc"] {
        not_found(&mut owner, "GET", &format!("/api/channels/{id}/messages"));
        not_found(&mut owner, "DELETE", &format!("/api/channels/{id}"));
        owner.post(&format!("/api/channels/{id}"), &json!({"body": "hello"})).refused(404);
        not_found(&mut owner, "DELETE", &format!("/api/messages/{id}"));
    }
}

#[track_caller]
fn not_found(client: &mut Client, method: &str, path: &str) {
    client.send(&crate::support::client::Request::new(method, path)).refused(404);
}

#[track_caller]
fn assert_text_is_gone(event: &Value, fields: &[&str]) {
    for field in fields {
        assert_eq!(event[*field], "", "{event}");
    }
    assert!(event["deleted_at"].is_string(), "{event}");
}
