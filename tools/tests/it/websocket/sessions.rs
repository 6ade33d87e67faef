//! A session's life on one socket: the past and the live, filters, starts, the window, several at once, bad words.

use serde_json::{Value, json};

use super::{offsets, refused, with_events};
use crate::support::client::{number, text};
use crate::support::events::{assert_is_token, offset_of};
use crate::support::http::ANSWER_WAIT;
use crate::support::raw_ws::{self, RawWs};
use crate::support::ws::{Gone, Ws};

#[test]
fn a_session_shows_the_past_and_then_what_comes() {
    let (_server, mut owner, channels) = with_events(&[]);
    let all = owner.poll_all("0");
    let head = number(&owner.get("/api/events/poll?after=0").ok(200), "head");
    let mut socket = Ws::open(&owner);
    let hello = socket.session(json!({"resume_point": "0"}));
    assert_eq!(
        (&hello["resume"], &hello["head"], &hello["window"]),
        (&json!("ok"), &json!(head), &json!(1000))
    );
    assert_is_token(&text(&hello, "resume_token"));
    assert_eq!(offset_of(&text(&hello, "resume_token")), 0);
    let session = text(&hello, "session");
    assert_eq!(socket.caught_up(&session), all);
    let said = owner.say(&channels[0], "new");
    let (events, token) = socket.take_events(&session, 1);
    assert_eq!((events.len(), &events[0]["offset"]), (1, &said["offset"]));
    assert_is_token(&token);
    assert_eq!(owner.poll_all(&token), Vec::<Value>::new(), "where it stands");
    assert_eq!(owner.poll_all("0").len(), all.len() + 1);
    assert_eq!(socket.close(), Gone::Closed(Some(1000)));
}

#[test]
fn one_event_has_the_same_bytes_as_on_other_transports() {
    let (_server, mut owner, _) = with_events(&[]);
    let poll = owner.get("/api/events/poll?after=0&limit=500").text();
    let events = poll.split_once("\"events\":[").unwrap().1.rsplit_once("],\"next\"").unwrap().0;
    let mut socket = RawWs::open(&owner);
    socket.say(&raw_ws::text(r#"{"type":"open","resume_point":"0"}"#)).unwrap();
    let mut seen = Vec::new();
    loop {
        let frame = String::from_utf8(socket.next(ANSWER_WAIT).unwrap().payload).unwrap();
        if frame.contains("\"type\":\"caught_up\"") {
            break;
        }
        if let Some((_, rest)) = frame.split_once("\"events\":[") {
            let end = rest.find("],\"resume_token\"").expect("the events come before the token");
            seen.push(rest[..end].to_owned());
        }
    }
    assert_eq!(seen.join(","), events);
}

#[test]
fn filters_and_starts_choose_what_a_session_shows() {
    let (_server, mut owner, channels) = with_events(&[]);
    let all = owner.poll_all("0");
    let of_type = |kind: &'static str| move |event: &&Value| event["type"] == kind;
    let messages: Vec<Value> = all.iter().filter(of_type("message")).cloned().collect();
    let in_first: Vec<Value> = messages.iter().filter(|e| e["channel"] == channels[0]).cloned().collect();
    let middle = &all[all.len() / 2];
    let filter = json!([[["type", "=", "message"]]]);
    let since = text(middle, "at");
    let cases: Vec<(Value, Vec<Value>)> = vec![
        (json!({"resume_point": "0"}), all.clone()),
        (json!({}), all.clone()),
        (json!({"resume_point": "now"}), vec![]),
        (json!({"resume_point": middle["offset"].to_string()}), all[all.len() / 2 + 1..].to_vec()),
        (json!({"filters": filter, "resume_point": "0"}), messages.clone()),
        (
            json!({"filters": [[["type", "=", "message"], ["channel", "=", channels[0]]]], "resume_point": "0"}),
            in_first.clone(),
        ),
        (json!({"filters": filter, "last": 3}), messages[messages.len() - 3..].to_vec()),
        (json!({"last": 2}), all[all.len() - 2..].to_vec()),
        (json!({"since": since}), all.iter().filter(|e| text(e, "at") >= since).cloned().collect()),
    ];
    let mut socket = Ws::open(&owner);
    for (how, expected) in cases {
        let session = socket.session_id(how.clone());
        assert_eq!(offsets(&socket.caught_up(&session)), offsets(&expected), "{how}");
        assert_eq!(socket.ask(json!({"type": "close", "session": session}))["type"], "closed");
    }
}

#[test]
fn a_full_window_waits_for_an_acknowledgement_and_then_goes_on() {
    let (_server, mut owner, _) = with_events(&[]);
    let all = owner.poll_all("0");
    let mut socket = Ws::open(&owner);
    let hello = socket.session(json!({"resume_point": "0", "window": 3}));
    assert_eq!(hello["window"], 3);
    let session = text(&hello, "session");
    let mut seen = socket.take_events(&session, 3).0;
    assert_eq!(seen, all[..3]);
    assert_eq!(socket.rest(), Vec::<Value>::new(), "the window is full");
    // Going back, or saying it again, says nothing new.
    socket.ack(&session, 0);
    assert_eq!(socket.rest(), Vec::<Value>::new());
    socket.ack(&session, number(&all[0], "offset"));
    seen.extend(socket.take_events(&session, 1).0);
    assert_eq!(seen, all[..4]);
    socket.ack(&session, number(&all[0], "offset"));
    assert_eq!(socket.rest(), Vec::<Value>::new(), "two and one more are under way");
    while seen.len() < all.len() {
        socket.ack(&session, number(seen.last().unwrap(), "offset"));
        let more = socket.take_events(&session, 3.min(all.len() - seen.len())).0;
        assert!(more.len() <= 3, "{}", more.len());
        seen.extend(more);
    }
    assert_eq!(seen, all);
}

#[test]
fn several_sessions_on_one_socket_do_not_touch_each_other() {
    let (_server, mut owner, channels) = with_events(&[]);
    let mut socket = Ws::open(&owner);
    let only = |channel: &str| json!([[["type", "=", "message"], ["channel", "=", channel]]]);
    let full = socket.session_id(json!({"resume_point": "0", "window": 1}));
    let [first, second] =
        [0, 1].map(|n| socket.session_id(json!({"filters": only(&channels[n]), "resume_point": "0"})));
    assert!(full != first && first != second && full != second);
    let all = owner.poll_all("0");
    let of = |channel: &str| -> Vec<Value> {
        all.iter().filter(|e| e["type"] == "message" && e["channel"] == channel).cloned().collect()
    };
    assert_eq!(socket.caught_up(&second), of(&channels[1]));
    assert_eq!(socket.caught_up(&first), of(&channels[0]));
    let said = [owner.say(&channels[1], "for the second"), owner.say(&channels[0], "for the first")];
    assert_eq!(socket.take_events(&first, 1).0[0]["offset"], said[1]["offset"]);
    assert_eq!(socket.take_events(&second, 1).0[0]["offset"], said[0]["offset"]);
    assert_eq!(socket.take_events(&full, 1).0, all[..1]);
    // The end of one is the end of one.
    assert_eq!(socket.ask(json!({"type": "close", "session": first}))["session"], json!(first));
    owner.say(&channels[0], "for nobody");
    let said = owner.say(&channels[1], "for the second");
    assert_eq!(socket.take_events(&second, 1).0[0]["offset"], said["offset"]);
    assert_eq!(socket.rest(), Vec::<Value>::new());
}

#[test]
fn a_point_that_is_not_in_this_log_begins_no_session() {
    let (_server, owner, _) = with_events(&[]);
    let mut socket = Ws::open(&owner);
    let session = socket.session_id(json!({"resume_point": "0"}));
    socket.caught_up(&session);
    for (point, resume) in [("100000", "ahead"), ("5-00000000", "other_history")] {
        let hello = socket.session(json!({"resume_point": point}));
        assert_eq!(hello["resume"], resume, "{hello}");
        assert_eq!((&hello["session"], &hello["resume_token"]), (&Value::Null, &Value::Null));
    }
    assert_eq!(socket.rest(), Vec::<Value>::new());
}

#[test]
fn what_cannot_be_understood_is_answered_and_nothing_else_happens() {
    let (_server, mut owner, channels) = with_events(&[]);
    let mut socket = Ws::open(&owner);
    let session = socket.session_id(json!({"resume_point": "now"}));
    socket.caught_up(&session);
    let long = "x".repeat(129);
    let bad = [
        (400, json!({"type": "nonsense", "id": "a"})),
        (422, json!({"id": "a"})),
        (422, json!({"type": 5, "id": "a"})),
        (422, json!({"type": "open", "id": "a", "nonsense": 1})),
        (422, json!({"type": "open", "id": "a", "window": "x"})),
        (422, json!({"type": "close", "id": "a"})),
        (422, json!({"type": "ack", "session": session, "offset": "x", "id": "a"})),
        (400, json!({"type": "ack", "session": session, "offset": 1_000_000})),
        (422, json!({"type": "send", "id": "a", "channel": channels[0]})),
        (400, json!({"type": "open", "id": "a", "window": 0})),
        (400, json!({"type": "open", "id": "a", "window": 65_537})),
        (400, json!({"type": "open", "id": "a", "filters": []})),
        (400, json!({"type": "open", "id": "a", "filters": [[["type", "<", "message"]]]})),
        (400, json!({"type": "open", "id": "a", "filters": [[["nonsense", "=", "message"]]]})),
        (400, json!({"type": "open", "id": "a", "resume_point": "x"})),
        (400, json!({"type": "open", "id": "a", "resume_point": ""})),
        (400, json!({"type": "open", "id": "a", "resume_point": "0", "last": 5})),
        (400, json!({"type": "open", "id": "a", "since": "yesterday"})),
        (404, json!({"type": "close", "id": "a", "session": "nonsense"})),
        (404, json!({"type": "open", "id": "a", "session": "nonsense"})),
        (400, json!({"type": "open", "id": long})),
    ];
    for (status, message) in bad {
        socket.say(&message);
        let answer = socket.next_of(|heard| heard["type"] == "answer");
        // Which of the two it is for a value of the wrong kind is not told here.
        let told = number(&answer, "status") as u16;
        assert!(
            told == status || (told, status) == (400, 422) || (told, status) == (422, 400),
            "{message}: {answer}"
        );
        refused(&answer, told);
        if message["id"] == "a" {
            assert_eq!(answer["id"], "a", "{message}: {answer}");
        }
    }
    // Nor does it harm the session that was there.
    let said = owner.say(&channels[0], "still there");
    assert_eq!(socket.take_events(&session, 1).0[0]["offset"], said["offset"]);
    assert_eq!(socket.rest(), Vec::<Value>::new());
    let mut raw = RawWs::open(&owner);
    for text in
        ["", "x", "{", "[]", "null", "5", "\"open\"", "{\"type\":\"open\"} {}", "{\"type\":\"open\",}"]
    {
        raw.say(&raw_ws::text(text)).unwrap();
        let answer: Value = serde_json::from_slice(&raw.next(ANSWER_WAIT).unwrap().payload).unwrap();
        let status = number(&answer, "status") as u16;
        assert!([400, 422].contains(&status), "{text}: {answer}");
        refused(&answer, status);
        assert_eq!(answer.get("id"), None, "{text}: {answer}");
    }
}
