//! Watches that are read over a WebSocket, next to its sessions.

use std::time::Instant;

use serde_json::{Value, json};

use super::{notice, set, stream};
use crate::support::client::{Client, Request, number, text};
use crate::support::events::assert_is_token;
use crate::support::http::Response;
use crate::support::latency::must_be_within;
use crate::support::server::Server;
use crate::support::ws::{Gone, Ws};

/// Begins to read a watch that must be there, or that this sets; gives how it stands.
#[track_caller]
pub(super) fn read(socket: &mut Ws, name: &str, mut how: Value) -> Value {
    how["type"] = json!("watch");
    how["watch"] = json!(name);
    let answer = socket.ask(how);
    assert_eq!((&answer["type"], &answer["status"]), (&json!("answer"), &json!(200)), "{answer}");
    assert_eq!(answer["watch"], name, "{answer}");
    answer["body"].clone()
}

/// The next message about a watch.
#[track_caller]
pub(super) fn next_of(socket: &mut Ws, name: &str) -> Value {
    socket.next_of(|message| message["watch"] == name)
}

/// The next message about a watch, which must be of this type.
#[track_caller]
pub(super) fn next_as(socket: &mut Ws, name: &str, kind: &str) -> Value {
    let message = next_of(socket, name);
    assert_eq!(message["type"], kind, "{message}");
    message
}

/// The changes of the next notice of a watch; marks of where its reader stands are passed over.
#[track_caller]
fn changes(socket: &mut Ws, name: &str) -> Value {
    let message = socket.next_of(|message| message["watch"] == name && message["type"] != "checkpoint");
    assert_eq!(message["type"], "changed", "{message}");
    message["changed"].clone()
}

/// Asserts that the answer is a refusal as calls of the API have it, about this watch if that can be said.
#[track_caller]
fn refused_as(answer: &Value, status: u16, code: &str, about: Option<&str>) {
    assert_eq!((&answer["type"], &answer["status"]), (&json!("answer"), &json!(status)), "{answer}");
    assert_eq!(answer.get("watch").and_then(Value::as_str), about, "{answer}");
    let as_call = Response {
        status,
        headers: vec![("content-type".into(), "application/problem+json".into())],
        body: answer["body"].to_string().into_bytes(),
    };
    as_call.refused_as(status, code);
}

#[test]
fn a_socket_reads_watches_next_to_its_sessions_and_each_message_says_whose_it_is() {
    let (_server, mut owner) = Server::set_up(&[]);
    let [one, two, other] = ["one", "two", "other"].map(|name| owner.create_channel(name));
    let mut socket = Ws::open(&owner);
    let session = socket.session_id(json!({"resume_point": "now"}));
    socket.caught_up(&session);
    let watch = json!({"watch": [{"id": one}, {"id": two}], "max_delay_ms": 0});
    let kept = read(&mut socket, "w", json!({"set": watch}));
    assert_eq!((&kept["name"], &kept["status"][&one]["ok"]), (&json!("w"), &json!(true)), "{kept}");
    assert_eq!(owner.get("/api/watch/w").ok(200)["epoch"], kept["epoch"], "it is one as any other");
    assert_eq!(next_as(&mut socket, "w", "caught_up")["offset"], kept["head"]);
    let only_other = json!({"watch": [{"id": other}], "max_delay_ms": 0});
    read(&mut socket, "second", json!({"set": only_other}));
    next_as(&mut socket, "second", "caught_up");

    let said = owner.say(&one, "a secret");
    let notice = next_of(&mut socket, "w");
    let expected = json!({"type": "changed", "watch": "w", "epoch": kept["epoch"],
        "changed": [{"id": one, "offset": said["offset"]}], "head": said["offset"],
        "resume_point": notice["resume_point"]});
    assert_eq!(notice, expected);
    let place = text(&notice, "resume_point");
    let (epoch, token) = place.split_once('.').expect("an epoch and a token");
    assert_eq!(epoch, kept["epoch"].to_string());
    assert_is_token(token);
    let event = &socket.take_events(&session, 1).0[0];
    assert_eq!((&event["body"], &event["offset"]), (&json!("a secret"), &said["offset"]));
    let said = owner.say(&other, "elsewhere");
    assert_eq!(changes(&mut socket, "second"), json!([{"id": other, "offset": said["offset"]}]));
    owner.delete(&format!("/api/channels/{one}")).ok(200);
    assert_eq!(changes(&mut socket, "w"), json!([{"id": one, "gone": "deleted"}]));

    // Another socket goes on where the first one stood, and is told of each channel once.
    let missed = owner.say(&two, "missed");
    let missed = [owner.say(&two, "and this"), missed].map(|said| number(&said, "offset"));
    socket.cut();
    let mut socket = Ws::open(&owner);
    let still = read(&mut socket, "w", json!({"resume_point": place}));
    assert_eq!(still["epoch"], kept["epoch"]);
    assert_eq!(still["status"][&one], json!({"ok": false, "code": "not_found"}));
    let expected = json!([{"id": one, "gone": "deleted"}, {"id": two, "offset": missed[0]}]);
    assert_eq!(changes(&mut socket, "w"), expected);
    assert_eq!(next_as(&mut socket, "w", "caught_up")["offset"], missed[0]);
    // A plain offset is a place, too.
    assert_eq!(read(&mut socket, "w", json!({"resume_point": missed[1]}))["epoch"], kept["epoch"]);
    assert_eq!(next_as(&mut socket, "w", "bye")["reason"], "replaced", "its own reader before");
    assert_eq!(changes(&mut socket, "w"), json!([{"id": two, "offset": missed[0]}]));
}

#[test]
fn a_watch_has_one_reader_whatever_it_comes_by() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let watch = json!({"watch": [{"id": channel}], "max_delay_ms": 0});
    let epoch = number(&set(&mut owner, "w", &watch), "epoch");
    let mut by_events = stream(&owner, "w", None);
    by_events.until("caught_up");
    let mut first = Ws::open(&owner);
    let kept = read(&mut first, "w", json!({}));
    assert_eq!(number(&kept, "epoch"), epoch, "read as it was set");
    next_as(&mut first, "w", "caught_up");
    assert_eq!(by_events.goodbye()["reason"], "replaced", "by a socket");
    let mut second = Ws::open(&owner);
    read(&mut second, "w", json!({}));
    let bye = next_as(&mut first, "w", "bye");
    assert_eq!(bye["reason"], "replaced", "by another socket");
    next_as(&mut second, "w", "caught_up");
    let said = owner.say(&channel, "for the newest");
    assert_eq!(changes(&mut second, "w"), json!([{"id": channel, "offset": said["offset"]}]));
    // The other socket is open still, and goes on where it was told that it stood.
    read(&mut first, "w", json!({"resume_point": bye["resume_point"]}));
    assert_eq!(changes(&mut first, "w"), json!([{"id": channel, "offset": said["offset"]}]));
    assert_eq!(next_as(&mut second, "w", "bye")["reason"], "replaced");
    next_as(&mut first, "w", "caught_up");
    let mut by_events = stream(&owner, "w", None);
    by_events.until("caught_up");
    assert_eq!(next_as(&mut first, "w", "bye")["reason"], "replaced", "by a stream of events");
    let said = owner.say(&channel, "for the stream");
    assert_eq!(notice(&mut by_events), json!([{"id": channel, "offset": said["offset"]}]));
    assert_eq!(first.rest(), Vec::<Value>::new());
    assert_eq!(second.rest(), Vec::<Value>::new());
}

#[test]
fn what_is_set_anew_on_the_same_socket_is_told_apart_by_the_order_of_its_messages() {
    let (_server, mut owner) = Server::set_up(&[]);
    let [one, two] = ["one", "two"].map(|name| owner.create_channel(name));
    let mut socket = Ws::open(&owner);
    let of = |channel: &str, since| json!({"set": {"watch": [{"id": channel, "since": since}], "max_delay_ms": 0}});
    let before = read(&mut socket, "w", of(&one, 1));
    assert_eq!(changes(&mut socket, "w")[0]["id"], json!(one));
    next_as(&mut socket, "w", "caught_up");
    socket.say(&json!({"type": "watch", "watch": "w", "set": of(&two, 1)["set"]}));
    // First the old reader's last word, then the answer, then what the new one has to tell.
    let bye = next_as(&mut socket, "w", "bye");
    assert_eq!(bye["reason"], "replaced");
    assert!(text(&bye, "resume_point").starts_with(&format!("{}.", before["epoch"])), "{bye}");
    let answer = next_as(&mut socket, "w", "answer");
    assert!(answer["body"]["epoch"].as_u64() > before["epoch"].as_u64(), "{answer}");
    assert_eq!(answer.get("id"), None, "it was asked without one");
    assert_eq!(changes(&mut socket, "w"), json!([{"id": two, "offset": answer["body"]["head"]}]));
    owner.say(&one, "watched no more");
    let said = owner.say(&two, "watched");
    next_as(&mut socket, "w", "caught_up");
    let notice = next_as(&mut socket, "w", "changed");
    assert_eq!(notice["changed"], json!([{"id": two, "offset": said["offset"]}]));
    // Where somebody stood in another setting says nothing of this one.
    let mut how = of(&one, 1);
    how["resume_point"] = notice["resume_point"].clone();
    read(&mut socket, "w", how);
    next_as(&mut socket, "w", "bye");
    assert_eq!(changes(&mut socket, "w")[0]["id"], json!(one));
}

#[test]
fn a_watch_that_is_ended_or_set_anew_by_others_is_over_on_the_socket_and_the_socket_goes_on() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let watch = json!({"watch": [{"id": channel}], "max_delay_ms": 0});
    let mut socket = Ws::open(&owner);
    let session = socket.session_id(json!({"resume_point": "now"}));
    socket.caught_up(&session);
    let begin = |socket: &mut Ws| {
        read(socket, "w", json!({"set": watch}));
        next_as(socket, "w", "caught_up");
    };
    begin(&mut socket);
    set(&mut owner, "w", &watch);
    owner.say(&channel, "for nobody yet");
    assert_eq!(next_as(&mut socket, "w", "bye")["reason"], "replaced");
    begin(&mut socket);
    owner.delete("/api/watch/w").ok(204);
    owner.say(&channel, "for nobody");
    assert_eq!(next_as(&mut socket, "w", "bye")["reason"], "unwatched");
    begin(&mut socket);
    let mut other = Ws::open(&owner);
    let mut watching = |name: &str| other.ask(json!({"type": "unwatch", "watch": name}));
    let closed = watching("w");
    assert_eq!((&closed["type"], &closed["watch"]), (&json!("closed"), &json!("w")), "{closed}");
    assert_eq!(watching("w")["type"], "closed", "also of what is not there");
    assert_eq!(next_as(&mut socket, "w", "bye")["reason"], "unwatched", "another socket's wish");
    owner.get("/api/watch/w").refused_as(404, "unknown_watch");
    begin(&mut socket);
    assert_eq!(socket.ask(json!({"type": "unwatch", "watch": "w"}))["type"], "closed");
    owner.get("/api/watch/w").refused_as(404, "unknown_watch");
    let last = owner.say(&channel, "for the session only");
    while socket.take_events(&session, 1).0.last().unwrap()["offset"] != last["offset"] {}
    assert_eq!(socket.rest(), Vec::<Value>::new(), "whoever asked is not told as well");
}

#[test]
fn whoever_loses_a_channel_is_told_at_once_and_whoever_loses_their_identity_is_put_out() {
    let (_server, mut owner) = Server::set_up(&[]);
    let (member, id) = owner.invite_member("member");
    let open = owner.create_channel("open");
    let secret =
        text(&owner.post("/api/channels", &json!({"name": "secret", "private": true})).ok(201), "id");
    let join = Request::new("PUT", &format!("/api/channels/{secret}/members/{id}"));
    owner.send(&join).ok(200);
    let watch = |delay: u64| json!({"watch": [{"id": open}, {"id": secret}], "max_delay_ms": delay});
    let names = ["at once", "held back"].map(|name| name.replace(' ', "-"));
    let mut socket = Ws::open(&member);
    for (name, delay) in names.iter().zip([0, 60_000]) {
        read(&mut socket, name, json!({"set": watch(delay)}));
        next_as(&mut socket, name, "caught_up");
    }
    let said = owner.say(&secret, "for members");
    for name in &names {
        assert_eq!(changes(&mut socket, name), json!([{"id": secret, "offset": said["offset"]}]));
    }
    // What is held back otherwise is not held back for this, and comes along.
    let later = owner.say(&open, "within the delay");
    let moved = json!({"id": open, "offset": later["offset"]});
    assert_eq!(changes(&mut socket, &names[0]), json!([moved]));
    owner.delete(&format!("/api/channels/{secret}/members/{id}")).ok(200);
    let began = Instant::now();
    assert_eq!(changes(&mut socket, &names[0]), json!([{"id": secret, "gone": "forbidden"}]));
    assert_eq!(changes(&mut socket, &names[1]), json!([moved, {"id": secret, "gone": "forbidden"}]));
    must_be_within("SCROLLBACK_REVOKED_SECONDS_MAX", began.elapsed().as_secs_f64(), "a lost channel");
    owner.say(&secret, "not for the member");
    // A right that comes back brings nothing back, and one that others get is none of its business.
    owner.send(&join).ok(200);
    let said = owner.say(&open, "for everybody");
    assert_eq!(changes(&mut socket, &names[0]), json!([{"id": open, "offset": said["offset"]}]));

    let mut member: Client = member;
    member.post("/api/auth/logout", &json!({})).ok(204);
    let began = Instant::now();
    let (said, gone) = socket.end();
    must_be_within("SCROLLBACK_REVOKED_SECONDS_MAX", began.elapsed().as_secs_f64(), "a logout");
    assert_eq!(gone, Gone::Closed(Some(4401)));
    let byes: Vec<&Value> = said.iter().filter(|message| message["type"] == "bye").collect();
    assert_eq!(byes.iter().map(|bye| text(bye, "watch")).collect::<Vec<_>>(), names, "{said:?}");
    for bye in byes {
        let why = (&bye["reason"], &bye["code"]);
        assert_eq!(why, (&json!("revoked"), &json!("unauthenticated")), "{bye}");
    }
}

#[test]
fn a_stop_is_told_for_each_watch_and_a_new_start_goes_on_with_what_its_client_knows() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let token = owner.token("watcher");
    let mut owner = owner.with_token(&token);
    let channel = owner.create_channel("general");
    let watch = json!({"watch": [{"id": channel}], "max_delay_ms": 0});
    let mut socket = Ws::open(&owner);
    for name in ["one", "two"] {
        read(&mut socket, name, json!({"set": watch}));
        next_as(&mut socket, name, "caught_up");
    }
    let said = owner.say(&channel, "known");
    let known = number(&said, "offset");
    for name in ["one", "two"] {
        assert_eq!(changes(&mut socket, name), json!([{"id": channel, "offset": known}]));
    }
    server.stop();
    let (said, gone) = socket.end();
    assert_eq!(gone, Gone::Closed(Some(1012)));
    let byes: Vec<&Value> = said.iter().filter(|message| message["type"] == "bye").collect();
    assert_eq!(byes.iter().map(|bye| text(bye, "watch")).collect::<Vec<_>>(), ["one", "two"], "{said:?}");
    for bye in byes {
        assert_eq!((&bye["reason"], &bye["offset"]), (&json!("shutdown"), &json!(known)), "{bye}");
        number(bye, "retry");
    }
    server.start();
    let mut owner = server.client().with_token(&token);
    let missed = owner.say(&channel, "missed");
    let mut socket = Ws::open(&owner);
    let unknown = socket.ask(json!({"type": "watch", "watch": "one"}));
    refused_as(&unknown, 404, "unknown_watch", Some("one"));
    let again = json!({"watch": [{"id": channel, "since": known}], "max_delay_ms": 0});
    read(&mut socket, "one", json!({"set": again}));
    assert_eq!(changes(&mut socket, "one"), json!([{"id": channel, "offset": missed["offset"]}]));
}

#[test]
fn what_breaks_a_rule_is_refused_and_changes_nothing() {
    let (_server, mut owner) = Server::set_up(&[]);
    let (member, _) = owner.invite_member("member");
    let channel = owner.create_channel("general");
    let watch = json!({"watch": [{"id": channel}], "max_delay_ms": 0});
    let kept = set(&mut owner, "w", &watch);
    let mut socket = Ws::open(&owner);
    let many: Vec<Value> = (0..10_001).map(|_| json!({"id": "C0"})).collect();
    for (name, how, status, code) in [
        ("w w", json!({}), 400, "bad_watch"),
        ("\"", json!({"set": watch}), 400, "bad_watch"),
        ("nobody's", json!({}), 400, "bad_watch"),
        ("unknown", json!({}), 404, "unknown_watch"),
        ("w", json!({"set": {"watch": many}}), 400, "bad_watch"),
        ("w", json!({"set": {"watch": [], "lease_s": 9}}), 400, "bad_watch"),
        ("w", json!({"set": {"watch": [], "max_delay_ms": 60_001}}), 400, "bad_watch"),
        ("w", json!({"set": watch, "resume_point": "x"}), 400, "bad_resume_point"),
        ("w", json!({"set": watch, "resume_point": null}), 400, "bad_resume_point"),
        ("w", json!({"resume_point": "1.2.3"}), 400, "bad_resume_point"),
    ] {
        let mut asked = how.clone();
        (asked["type"], asked["watch"]) = (json!("watch"), json!(name));
        let about = ["w", "unknown"].contains(&name).then_some(name);
        refused_as(&socket.ask(asked), status, code, about);
    }
    for how in [
        json!({"set": null}),
        json!({"set": {"watch": channel}}),
        json!({"set": {"watch": [], "mode": "events"}}),
        json!({"set": {"watch": [{"id": channel, "since": -1}]}}),
        json!({"sets": watch}),
        json!({"watch": 7}),
    ] {
        let mut asked = how.clone();
        asked["type"] = json!("watch");
        if asked.get("watch").is_none() {
            asked["watch"] = json!("w");
        }
        refused_as(&socket.ask(asked), 422, "bad_schema", None);
    }
    refused_as(&socket.ask(json!({"type": "unwatch", "watch": "w w"})), 400, "bad_watch", None);
    // Nobody else's can be read.
    let mut of_member = Ws::open(&member);
    refused_as(&of_member.ask(json!({"type": "watch", "watch": "w"})), 404, "unknown_watch", Some("w"));
    of_member.ask(json!({"type": "unwatch", "watch": "w"}));
    assert_eq!(owner.get("/api/watch/w").ok(200)["epoch"], kept["epoch"]);
    // A socket reads so many and not more; one that it reads already it can read anew.
    for number in 0..64 {
        read(&mut socket, &number.to_string(), json!({"set": watch}));
    }
    let more = socket.ask(json!({"type": "watch", "watch": "more", "set": watch}));
    refused_as(&more, 409, "too_many_watches", Some("more"));
    owner.get("/api/watch/more").refused_as(404, "unknown_watch");
    read(&mut socket, "7", json!({"set": watch}));
    let said = owner.say(&channel, "for all of them");
    for name in (0..64).map(|number| number.to_string()) {
        let told = socket.next_of(|message| message["watch"] == *name && message["type"] == "changed");
        assert_eq!(told["changed"], json!([{"id": channel, "offset": said["offset"]}]));
    }
    assert_eq!(socket.ask(json!({"type": "unwatch", "watch": "8"}))["type"], "closed");
    read(&mut socket, "more", json!({"set": watch}));
}
