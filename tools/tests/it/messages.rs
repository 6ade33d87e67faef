//! Messages: what may be said, who may take it back, and the history page by page.

use serde_json::{Value, json};

use crate::support::client::{number, text};
use crate::support::corpus::Corpus;
use crate::support::events::Events;
use crate::support::server::Server;

const BODY_BYTES_MAX: usize = 64 << 10;
const PAGE_BYTES_MAX: usize = 1 << 20;

#[test]
fn a_message_is_the_same_in_the_answer_the_history_the_boot_and_the_stream() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let said = owner.say(&channel, "quo\"te\\ \u{1f600} \u{202e}bidi\u{2028}\ttab\nline </script>");
    assert_eq!(
        (&said["channel"], &said["sender"]),
        (&json!(channel), &owner.get("/api/auth/me").ok(200)["id"])
    );
    for _ in 0..2 {
        let page = owner.get(&format!("/api/channels/{channel}/messages")).ok(200);
        assert_eq!(page["messages"], json!([said]));
        assert_eq!((&page["next"], &page["prev"]), (&Value::Null, &Value::Null));
        assert_eq!(owner.get("/api/boot").ok(200)["messages"], json!([said]));
        let mut streamed = Events::open(&owner, "?type=message", None).caught_up().remove(0);
        assert_eq!(streamed, owner.poll_all("0").pop().unwrap());
        let fields = streamed.as_object_mut().unwrap();
        assert_eq!(
            (fields.remove("type"), fields.remove("event")),
            (Some(json!("message")), Some(json!("sent")))
        );
        assert_eq!(streamed, said);
        server.restart();
    }
}

#[test]
fn a_body_is_kept_as_it_was_sent() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    for body in ["  spaces  ", "e\u{301}", "\u{feff}bom", "a\u{200b}b", "\u{fffd}", "\t\n."] {
        assert_eq!(owner.say(&channel, body)["body"], json!(body));
    }
}

#[test]
fn a_body_that_breaks_a_rule_is_refused() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let path = format!("/api/channels/{channel}");
    for body in ["", " ", "\n\t ", "\u{3000}\u{2003}"] {
        owner.post(&path, &json!({"body": body})).refused_as(400, "bad_body");
    }
    for control in ['\u{0}', '\u{7}', '\r', '\u{1b}', '\u{7f}', '\u{85}', '\u{9f}'] {
        let response = owner.post(&path, &json!({"body": format!("a{control}b")}));
        assert_eq!(response.status, 400, "{control:?}: {}", response.text());
        response.refused_as(400, "bad_body");
    }
    for body in [json!({}), json!({"body": 1}), json!({"body": null}), json!({"text": "x"}), json!([])] {
        owner.post(&path, &body).refused_as(422, "bad_schema");
    }
    assert!(owner.history(&channel, 50).is_empty());
}

#[test]
fn a_body_has_at_most_64_kib_of_utf_8() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let widest = "\u{1f600}".repeat(BODY_BYTES_MAX / 4);
    let said = owner.say(&channel, &widest);
    owner
        .post(&format!("/api/channels/{channel}"), &json!({"body": format!("{widest}x")}))
        .refused_as(413, "message_too_large");
    let page = owner.get(&format!("/api/channels/{channel}/messages")).ok(200);
    assert_eq!(page["messages"], json!([said]));
}

#[test]
fn a_message_is_deleted_by_its_author_or_a_moderator_once() {
    let (_server, mut owner) = Server::set_up(&[]);
    let (mut author, author_id) = owner.invite_member("author");
    let (mut other, other_id) = owner.invite_member("other");
    let channel = owner.create_channel("general");
    let first = author.say(&channel, "first");
    let second = author.say(&channel, "second");
    let path = |message: &Value| format!("/api/messages/{}", text(message, "id"));
    other.delete(&path(&first)).refused_as(403, "forbidden");
    let deleted = author.delete(&path(&first)).ok(200);
    assert_eq!(deleted["id"], first["id"]);
    author.delete(&path(&first)).refused_as(404, "not_found");
    other.delete(&path(&first)).refused(404);
    owner.put(&format!("/api/users/{other_id}"), &json!({"role": "moderator"})).ok(200);
    other.delete(&path(&second)).ok(200);

    let events = owner.get("/api/events/poll?after=0&type=message").ok(200)["events"].clone();
    for sent in &events.as_array().unwrap()[..2] {
        assert_eq!((&sent["event"], &sent["body"]), (&json!("sent"), &json!("")));
        assert!(sent["deleted_at"].is_string(), "{sent}");
    }
    let gone = &events[2];
    assert_eq!(
        (&gone["event"], &gone["reason"], &gone["id"]),
        (&json!("deleted"), &json!("deleted"), &first["id"])
    );
    assert_eq!(
        (&gone["channel"], &gone["sender"], &gone["by"]),
        (&json!(channel), &json!(author_id), &json!(author_id))
    );
    assert_eq!(gone["offset"], deleted["offset"]);
    assert_eq!(events[3]["by"], json!(other_id));
    assert!(owner.history(&channel, 50).is_empty());
}

#[test]
fn the_history_is_the_same_from_both_ends_and_in_pages_of_any_size() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let mut all: Vec<Value> = (0..60).map(|n| owner.say(&channel, &format!("message {n}"))).collect();
    for n in [55, 30, 29, 0] {
        owner.delete(&format!("/api/messages/{}", text(&all.remove(n), "id"))).ok(200);
    }
    for limit in [1, 7, 50, 56, 500] {
        assert_eq!(owner.history(&channel, limit), all, "forwards, {limit} a page");
        let mut backwards: Vec<Value> = Vec::new();
        let mut path = format!("/api/channels/{channel}/messages?limit={limit}");
        loop {
            let page = owner.get(&path).ok(200);
            let messages = page["messages"].as_array().unwrap();
            assert!(messages.len() <= limit);
            backwards.splice(0..0, messages.iter().cloned());
            match page["prev"].as_str() {
                Some(prev) => {
                    path = format!("/api/channels/{channel}/messages?limit={limit}&before={prev}");
                }
                None => break,
            }
        }
        assert_eq!(backwards, all, "backwards, {limit} a page");
    }
    let newest = owner.get(&format!("/api/channels/{channel}/messages")).ok(200);
    assert_eq!(newest["messages"].as_array().unwrap().len(), 50);
    assert_eq!(newest["next"], Value::Null);
    let before = text(&newest, "prev");
    let older = owner.get(&format!("/api/channels/{channel}/messages?before={before}")).ok(200);
    assert_eq!(older["messages"].as_array().unwrap()[..], all[..6]);
    let next = text(&older, "next");
    let again = owner.get(&format!("/api/channels/{channel}/messages?after={next}")).ok(200);
    assert_eq!(again["messages"], newest["messages"]);
}

#[test]
fn a_cursor_stays_good_when_its_message_is_deleted_and_new_ones_come() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let all: Vec<Value> = (0..10).map(|n| owner.say(&channel, &format!("message {n}"))).collect();
    let page = owner.get(&format!("/api/channels/{channel}/messages?after=oldest&limit=5")).ok(200);
    for message in &all[3..6] {
        owner.delete(&format!("/api/messages/{}", text(message, "id"))).ok(200);
    }
    let new = owner.say(&channel, "new");
    let rest = owner.get(&format!("/api/channels/{channel}/messages?after={}", text(&page, "next"))).ok(200);
    let mut expected = all[6..].to_vec();
    expected.push(new);
    assert_eq!(rest["messages"], json!(expected));
}

#[test]
fn a_page_that_cannot_be_is_refused() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    owner.say(&channel, "one");
    let bad = [
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=99999999999999999999",
        "after=garbage!",
        "before=oldest&after=oldest",
        "before=%ff",
        "after=0-0",
        "before=",
    ];
    for query in bad {
        let response = owner.get(&format!("/api/channels/{channel}/messages?{query}"));
        assert_eq!(response.status, 400, "{query}: {}", response.text());
        response.refused(400);
    }
}

#[test]
fn a_page_ends_at_a_mebibyte_and_goes_on() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let body = |n: usize| format!("{n:02} {}", "x".repeat(60_000));
    let all: Vec<Value> = (0..40).map(|n| owner.say(&channel, &body(n))).collect();
    let page = owner.get(&format!("/api/channels/{channel}/messages?limit=500"));
    assert!(page.body.len() <= PAGE_BYTES_MAX + BODY_BYTES_MAX, "{}", page.body.len());
    assert!(page.ok(200)["prev"].is_string());
    assert_eq!(owner.history(&channel, 500), all);
}

#[test]
fn imported_messages_are_in_the_order_of_their_own_time() {
    let mut server = Server::new(&["--message-expiry", "off", "--channel-expiry", "off"]);
    let directory = tempfile::tempdir().unwrap();
    let corpus = Corpus::made(directory.path(), 2, 40, 20);
    // The second half of the history is imported first.
    let halves = directory.path().join("halves.jsonl");
    let line = |l: &crate::support::corpus::Line| {
        json!({"channel": l.channel, "at": l.at, "sender": l.sender, "body": l.body}).to_string() + "\n"
    };
    let (early, late) = corpus.lines.split_at(40);
    std::fs::write(&halves, late.iter().chain(early).map(line).collect::<String>()).unwrap();
    server.operate("import", &[halves.to_str().unwrap()]).must_exit(0);
    server.start();
    let mut owner = server.owner();
    let channels = owner.get("/api/channels").ok(200)["channels"].as_array().unwrap().clone();
    assert_eq!(channels.len(), 2);
    for channel in &channels {
        let messages = owner.history(&text(channel, "id"), 7);
        let key = |m: &Value| (text(m, "at"), number(m, "offset"));
        assert_eq!(messages.len(), 40);
        assert!(messages.windows(2).all(|pair| key(&pair[0]) < key(&pair[1])));
        let expected = corpus.lines.iter().filter(|line| channel["name"] == line.channel.as_str());
        let mut expected: Vec<_> = expected.map(|line| line.body.as_str()).collect();
        let mut got: Vec<_> = messages.iter().map(|m| m["body"].as_str().unwrap()).collect();
        assert_eq!(messages[0]["sender"], Value::Null);
        assert!(messages[0]["sender_name"].as_str().unwrap().starts_with("sender-"));
        assert!(messages[0]["recorded_at"].as_str().unwrap() > messages[0]["at"].as_str().unwrap());
        expected.sort_unstable();
        got.sort_unstable();
        assert_eq!(got, expected);
    }
}
