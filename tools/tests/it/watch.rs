//! Watches, as docs/api.md has them.

mod large;
mod promises;
mod races;
mod socket;
mod stalled;
mod standing;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{Client, Request, number, text};
use crate::support::events::{Events, Frame, assert_is_token};
use crate::support::http::ANSWER_WAIT;
use crate::support::server::Server;

fn set(client: &mut Client, name: &str, what: &Value) -> Value {
    client.put(&format!("/api/watch/{name}"), what).ok(200)
}

#[track_caller]
fn stream(client: &Client, name: &str, last_id: Option<&str>) -> Events {
    let opened =
        Events::try_open_at(client, &format!("/api/watch/{name}/events"), last_id).expect("an answer");
    opened.unwrap_or_else(|refusal| panic!("{} {}", refusal.status, refusal.text()))
}

/// The next notice. Signs of life are not taken for one that is only late.
#[track_caller]
fn next_notice(stream: &mut Events) -> Frame {
    let deadline = Instant::now() + ANSWER_WAIT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let frame = stream.try_next(left).unwrap_or_else(|end| panic!("no notice came: {end:?}"));
        assert_ne!(frame.kind, "bye", "{}", frame.data);
        if frame.kind == "changed" {
            return frame;
        }
    }
}

/// The goodbye of a stream that is over, before which no notice may come.
#[track_caller]
fn goodbye_at_once(stream: &mut Events) -> Value {
    let frames = stream.until("bye");
    let is_quiet = frames.iter().all(|frame| frame.kind != "changed");
    assert!(is_quiet, "{frames:?}");
    frames.last().expect("a goodbye").json()
}

/// The changes that it tells of.
#[track_caller]
fn notice(stream: &mut Events) -> Value {
    next_notice(stream).json()["changed"].clone()
}

#[test]
fn a_watch_tells_that_channels_change_and_nothing_of_what() {
    let (_server, mut owner) = Server::set_up(&[]);
    let [one, two, other] = ["one", "two", "other"].map(|name| owner.create_channel(name));
    let kept = set(&mut owner, "list", &json!({"watch": [{"id": one}, {"id": two}], "max_delay_ms": 0}));
    assert_eq!(kept["status"][&one]["ok"], true, "{kept}");
    assert_eq!(kept["status"].as_object().map(serde_json::Map::len), Some(2));
    let mut watcher = stream(&owner, "list", None);
    let hello = watcher.next().json();
    assert_eq!((&hello["type"], &hello["epoch"]), (&json!("hello"), &kept["epoch"]));
    assert_eq!(watcher.next().kind, "caught_up", "nothing has changed");

    owner.say(&other, "not watched");
    let said = owner.say(&one, "a secret");
    let frame = next_notice(&mut watcher);
    let expected = json!({"type": "changed", "epoch": kept["epoch"],
        "changed": [{"id": one, "offset": said["offset"]}], "head": said["offset"]});
    assert_eq!(frame.json(), expected);
    let id = frame.id.expect("a place to go on from");
    let (epoch, token) = id.split_once('.').expect("an epoch and a token");
    assert_eq!(epoch, kept["epoch"].to_string());
    assert_is_token(token);
    let deleted = owner.delete(&format!("/api/messages/{}", text(&said, "id"))).ok(200);
    assert_eq!(notice(&mut watcher), json!([{"id": one, "offset": deleted["offset"]}]));
    owner.delete(&format!("/api/channels/{one}")).ok(200);
    assert_eq!(notice(&mut watcher), json!([{"id": one, "gone": "deleted"}]));
    let said = owner.say(&two, "still watched");
    assert_eq!(notice(&mut watcher), json!([{"id": two, "offset": said["offset"]}]));
    let now = owner.get("/api/watch/list").ok(200);
    assert_eq!(now["status"][&one], json!({"ok": false, "code": "not_found"}));
    assert_eq!(now["status"][&two], json!({"ok": true, "offset": said["offset"]}));
    // Whoever comes back is told of each channel once.
    let more = owner.say(&two, "while nobody listened");
    let after = format!("/api/watch/list/changes?after={}", number(&said, "offset"));
    assert_eq!(owner.get(&after).ok(200)["changed"], json!([{"id": two, "offset": more["offset"]}]));
}

#[test]
fn a_watch_that_is_set_anew_read_by_another_or_ended_tells_nothing_more_to_whoever_read_it() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let what = json!({"watch": [{"id": channel}], "max_delay_ms": 0});
    let first = number(&set(&mut owner, "w", &what), "epoch");
    let mut replaced = stream(&owner, "w", None);
    replaced.until("caught_up");
    let mut newer = stream(&owner, "w", None);
    newer.until("caught_up");
    owner.say(&channel, "for the newer one");
    assert_eq!(goodbye_at_once(&mut replaced)["reason"], "replaced", "by another stream");
    notice(&mut newer);
    let second = number(&set(&mut owner, "w", &what), "epoch");
    assert!(second > first);
    owner.say(&channel, "for the new ones");
    assert_eq!(goodbye_at_once(&mut newer)["reason"], "replaced", "by a new setting");
    let mut last = stream(&owner, "w", None);
    assert_eq!(notice(&mut last).as_array().map(Vec::len), Some(1));
    owner.delete("/api/watch/w").ok(204);
    owner.delete("/api/watch/w").ok(204);
    owner.say(&channel, "for nobody");
    assert_eq!(goodbye_at_once(&mut last)["reason"], "unwatched");
    for path in ["", "/changes"] {
        owner.get(&format!("/api/watch/w{path}")).refused_as(404, "unknown_watch");
    }
    owner.post("/api/watch/w/renew", &json!({})).refused_as(404, "unknown_watch");
}

#[test]
fn after_a_kill_a_watch_is_set_again_and_tells_what_its_client_does_not_know() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let token = owner.token("watcher");
    let mut owner = owner.with_token(&token);
    let channels = ["one", "two", "three"].map(|name| owner.create_channel(name));
    let known = channels.clone().map(|channel| number(&owner.say(&channel, "known"), "offset"));
    let newest = number(&owner.say(&channels[1], "missed"), "offset");
    let wanted = |known: &[u64; 3]| -> Value {
        channels.iter().zip(known).map(|(id, since)| json!({"id": id, "since": since})).collect()
    };
    set(&mut owner, "w", &json!({"watch": wanted(&known)}));
    server.kill9();
    server.start();
    let mut owner = server.client().with_token(&token);
    owner.get("/api/watch/w/changes").refused_as(404, "unknown_watch");
    let kept = set(&mut owner, "w", &json!({"watch": wanted(&known)}));
    assert_eq!(kept["status"][&channels[1]]["offset"], json!(newest));
    let expected = json!([{"id": channels[1], "offset": newest}]);
    assert_eq!(owner.get("/api/watch/w/changes").ok(200)["changed"], expected);
    let mut watcher = stream(&owner, "w", None);
    assert_eq!(notice(&mut watcher), expected);
    let id = watcher.last_id.clone();
    drop(watcher);
    let later = owner.say(&channels[2], "later");
    let mut again = stream(&owner, "w", id.as_deref());
    assert_eq!(notice(&mut again), json!([{"id": channels[2], "offset": later["offset"]}]));
    // Where somebody stood in another setting says nothing of this one: EventSource comes back with it by itself.
    let id = again.last_id.clone();
    set(&mut owner, "w", &json!({"watch": wanted(&known)}));
    let mut anew = stream(&owner, "w", id.as_deref());
    let expected = [(&channels[1], newest), (&channels[2], number(&later, "offset"))];
    let expected: Value =
        expected.map(|(id, offset)| json!({"id": id, "offset": offset})).into_iter().collect();
    assert_eq!(notice(&mut anew), expected);
    let beyond = set(&mut owner, "w", &json!({"watch": wanted(&[known[0], newest, 1_000_000])}));
    assert_eq!(beyond["status"][&channels[2]], json!({"ok": false, "code": "ahead"}));
}

#[test]
fn many_changes_within_the_delay_are_one_notice_of_the_newest() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let delay = Duration::from_millis(400);
    set(&mut owner, "w", &json!({"watch": [{"id": channel}], "max_delay_ms": delay.as_millis() as u64}));
    let mut watcher = stream(&owner, "w", None);
    watcher.until("caught_up");
    let began = Instant::now();
    let newest = (0..200).map(|n| number(&owner.say(&channel, &n.to_string()), "offset")).max();
    let mut told = Vec::new();
    while told.last() < newest.as_ref() {
        told.push(number(&notice(&mut watcher)[0], "offset"));
    }
    assert!(told.is_sorted_by(|one, next| one < next), "{told:?}");
    // The first at once, then one for each whole delay.
    let most = 2 + began.elapsed().as_millis() / delay.as_millis();
    assert!(told.len() as u128 <= most, "{} in {:?}", told.len(), began.elapsed());
}

#[test]
fn whoever_loses_a_channel_is_told_that_and_a_hidden_one_cannot_be_told_from_none() {
    let (_server, mut owner) = Server::set_up(&[]);
    let (mut member, id) = owner.invite_member("member");
    let open = owner.create_channel("open");
    let secret =
        text(&owner.post("/api/channels", &json!({"name": "secret", "private": true})).ok(201), "id");
    let what = json!({"watch": [{"id": secret}, {"id": open}, {"id": "nonsense"}], "max_delay_ms": 0});
    let status = set(&mut member, "w", &what)["status"].clone();
    assert_eq!(status[&secret], json!({"ok": false, "code": "not_found"}));
    assert_eq!(status["nonsense"], json!({"ok": false, "code": "bad_id"}));
    owner.send(&Request::new("PUT", &format!("/api/channels/{secret}/members/{id}"))).ok(200);
    assert_eq!(set(&mut member, "w", &what)["status"][&secret]["ok"], true);
    let mut watcher = stream(&member, "w", None);
    watcher.until("caught_up");
    let said = owner.say(&secret, "for members");
    assert_eq!(notice(&mut watcher), json!([{"id": secret, "offset": said["offset"]}]));
    owner.delete(&format!("/api/channels/{secret}/members/{id}")).ok(200);
    assert_eq!(notice(&mut watcher), json!([{"id": secret, "gone": "forbidden"}]));
    owner.say(&secret, "not for the member");
    let said = owner.say(&open, "for everybody");
    assert_eq!(notice(&mut watcher), json!([{"id": open, "offset": said["offset"]}]));
    // Whose watch it is nobody else can tell.
    owner.get("/api/watch/w").refused_as(404, "unknown_watch");
    member.post("/api/auth/logout", &json!({})).ok(204);
    let bye = watcher.goodbye();
    assert_eq!((&bye["reason"], &bye["code"]), (&json!("revoked"), &json!("unauthenticated")));
}

#[test]
fn what_breaks_a_rule_is_refused_with_the_reason_and_changes_nothing() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let kept = set(&mut owner, "w", &json!({"watch": [{"id": channel}], "lease_s": 3600}));
    assert_eq!((number(&kept, "lease_s"), number(&kept, "max_delay_ms")), (3600, 250));
    let many: Vec<Value> = (0..10_001).map(|_| json!({"id": channel})).collect();
    for (name, what, code) in [
        ("w.w", json!({"watch": []}), "bad_watch"),
        (&*"w".repeat(65), json!({"watch": []}), "bad_watch"),
        ("w", json!({"watch": many}), "bad_watch"),
        ("w", json!({"watch": [], "max_delay_ms": 60_001}), "bad_watch"),
        ("w", json!({"watch": [], "lease_s": 9}), "bad_watch"),
        ("w", json!({"watch": [], "lease_s": 3601}), "bad_watch"),
    ] {
        owner.put(&format!("/api/watch/{name}"), &what).refused_as(400, code);
    }
    for what in [
        json!({}),
        json!({"watch": channel}),
        json!({"watch": [channel]}),
        json!({"watch": [{"id": channel, "since": null}]}),
        json!({"watch": [], "mode": "events"}),
        json!({"watch": [], "lease_s": 10.5}),
        json!({"watch": [{"id": channel, "since": -1}]}),
        json!({"watch": [{"id": channel, "since": 9_223_372_036_854_775_808_u64}]}),
    ] {
        owner.put("/api/watch/w", &what).refused_as(422, "bad_schema");
    }
    for path in ["changes?wait=61", "changes?after=", "changes?afer=1", "events?resume_point=x"] {
        assert_eq!(owner.get(&format!("/api/watch/w/{path}")).status, 400, "{path}");
    }
    let still = owner.get("/api/watch/w").ok(200);
    assert_eq!((&still["epoch"], &still["status"]), (&kept["epoch"], &kept["status"]));
    let empty = set(&mut owner, "empty", &json!({"watch": [], "lease_s": 60.0}));
    assert_eq!(empty["lease_s"], 60, "to JSON that is a whole number");
    assert_eq!(empty["status"], json!({}));
    let renewed = owner.post("/api/watch/empty/renew", &json!({})).ok(200);
    assert_eq!((&renewed["epoch"], renewed.get("status")), (&empty["epoch"], None));
    assert_eq!(owner.get("/api/watch/empty/changes").ok(200)["changed"], json!([]), "{empty}");
}
