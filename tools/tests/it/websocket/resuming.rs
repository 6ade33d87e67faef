//! A session that goes on on another socket: after the old one broke, while it is open, after a restart, and never for somebody
//! else.

use serde_json::{Value, json};

use super::{offsets, refused, with_events};
use crate::support::client::{number, text};
use crate::support::events::offset_of;
use crate::support::until;
use crate::support::ws::{Gone, Ws};

#[test]
fn a_session_goes_on_elsewhere_and_the_old_socket_gets_not_one_event_more() {
    let (_server, mut owner, channels) = with_events(&[]);
    let mut old = Ws::open(&owner);
    let session = old.session_id(json!({"resume_point": "0"}));
    let seen = old.caught_up(&session);
    let acked = number(&seen[seen.len() - 3], "offset");
    old.ack(&session, acked);
    // Acknowledgements have no answer; what was said before this was answered has been heard.
    old.rest();
    let other = old.session_id(json!({"resume_point": "now"}));
    old.caught_up(&other);

    let mut new = Ws::open(&owner);
    let hello = new.session(json!({"session": session}));
    assert_eq!((&hello["session"], &hello["resume"]), (&json!(session), &json!("ok")));
    assert_eq!(offset_of(&text(&hello, "resume_token")), acked, "{hello}");
    let bye = old.next_in(&session);
    assert_eq!((&bye["type"], &bye["reason"]), (&json!("bye"), &json!("replaced")), "{bye}");
    assert_eq!(bye.get("code"), None, "{bye}");
    assert_eq!(owner.poll_all(&text(&bye, "resume_token")).len(), 0, "where it stood: {bye}");

    let mut said = Vec::new();
    for n in 0..20 {
        said.push(number(&owner.say(&channels[0], &format!("live {n}")), "offset"));
    }
    let expected: Vec<u64> =
        offsets(&seen[seen.len() - 2..]).into_iter().chain(said.iter().copied()).collect();
    assert_eq!(offsets(&new.take_events(&session, expected.len()).0), expected);
    // The other session of the old socket stays there.
    assert_eq!(offsets(&old.take_events(&other, said.len()).0), said);
    let late: Vec<Value> = old.rest().into_iter().filter(|message| message["session"] == session).collect();
    assert_eq!(late, Vec::<Value>::new());
}

#[test]
fn a_session_whose_connection_broke_goes_on_after_the_last_acknowledgement() {
    let (_server, mut owner, channels) = with_events(&[]);
    let all = owner.poll_all("0");
    let mut socket = Ws::open(&owner);
    let filters = json!([[["type", "!=", "user"]]]);
    let session = socket.session_id(json!({"filters": filters, "resume_point": "0", "window": 5}));
    let seen = socket.take_events(&session, 5).0;
    socket.ack(&session, number(&seen[1], "offset"));
    socket.rest();
    socket.cut();
    let said = number(&owner.say(&channels[1], "while it was away"), "offset");
    let wanted: Vec<u64> =
        offsets(&all).into_iter().chain([said]).filter(|o| *o > number(&seen[1], "offset")).collect();

    let mut socket = Ws::open(&owner);
    let hello = socket.session(json!({"session": session}));
    assert_eq!((&hello["session"], &hello["window"]), (&json!(session), &json!(5)), "as it was opened");
    let mut again = Vec::new();
    while again.len() < wanted.len() {
        let events = socket.take_events(&session, 1).0;
        socket.ack(&session, number(events.last().unwrap(), "offset"));
        again.extend(events);
    }
    assert_eq!(offsets(&again), wanted);
    socket.rest();
    socket.cut();
    // Where the client knows better than its last acknowledgement it goes on from there; going back it does not.
    let before = wanted[2].to_string();
    let mut socket = Ws::open(&owner);
    let hello = socket.session(json!({"session": session, "resume_point": before}));
    assert_eq!(offset_of(&text(&hello, "resume_token")), said, "{hello}");
    let more = [owner.say(&channels[1], "one"), owner.say(&channels[1], "two")];
    assert_eq!(
        offsets(&socket.take_events(&session, 2).0),
        [number(&more[0], "offset"), number(&more[1], "offset")]
    );
    socket.cut();
    let mut socket = Ws::open(&owner);
    socket.session(json!({"session": session, "resume_point": more[0]["offset"].to_string()}));
    assert_eq!(offsets(&socket.take_events(&session, 1).0), [number(&more[1], "offset")]);
}

#[test]
fn an_orderly_close_ends_the_sessions_of_a_socket() {
    let (_server, owner, _) = with_events(&[]);
    let mut socket = Ws::open(&owner);
    let sessions = [socket.session_id(json!({})), socket.session_id(json!({"resume_point": "now"}))];
    assert_eq!(socket.close(), Gone::Closed(Some(1000)));
    let mut socket = Ws::open(&owner);
    for session in &sessions {
        let answer = socket.ask(json!({"type": "open", "session": session}));
        assert_eq!(refused(&answer, 404), "unknown_session");
    }
    let session = socket.session_id(json!({}));
    let closed = socket.ask(json!({"type": "close", "session": session}));
    assert_eq!((&closed["type"], &closed["session"]), (&json!("closed"), &json!(session)));
    for message in [json!({"type": "open", "session": session}), json!({"type": "close", "session": session})]
    {
        assert_eq!(refused(&socket.ask(message), 404), "unknown_session");
    }
}

#[test]
fn a_session_of_somebody_else_is_as_if_there_were_none() {
    let (_server, mut owner, channels) = with_events(&[]);
    let mut socket = Ws::open(&owner);
    let session = socket.session_id(json!({"resume_point": "now"}));
    socket.caught_up(&session);
    let (thief, _) = owner.invite_member("thief");
    let mut theirs = Ws::open(&thief);
    // As long as the real one, and not the real one.
    let unknown: String = session.chars().rev().collect();
    assert_ne!(unknown, session);
    for kind in ["open", "close"] {
        let mut answers = [&session, &unknown].map(|id| theirs.ask(json!({"type": kind, "session": id})));
        for answer in &mut answers {
            assert_eq!(refused(answer, 404), "unknown_session");
            answer["id"] = json!("");
        }
        assert_eq!(answers[0], answers[1]);
    }
    theirs.ack(&session, 1_000_000);
    let mut began = [&session, &unknown]
        .map(|id| theirs.session(json!({"session": id, "resume_point": "0", "window": 7})));
    for hello in &mut began {
        assert_ne!(hello["session"], json!(session));
        (hello["id"], hello["session"]) = (json!(""), json!(""));
    }
    assert_eq!(began[0], began[1]);
    let said = owner.say(&channels[0], "nothing happened");
    let (events, _) = socket.take_events(&session, 1);
    assert_eq!(events[0]["type"], "user", "the thief itself was new");
    let last = if events.len() > 1 { events } else { socket.take_events(&session, 1).0 };
    assert_eq!(last.last().unwrap()["offset"], said["offset"]);
}

#[test]
fn after_a_restart_a_session_begins_anew_at_the_same_place() {
    let (mut server, mut owner, channels) = with_events(&[]);
    let filters = json!([[["type", "=", "message"], ["channel", "=", channels[0]]]]);
    let of_first = |events: Vec<Value>| -> Vec<Value> {
        events.into_iter().filter(|e| e["type"] == "message" && e["channel"] == channels[0]).collect()
    };
    let (mut session, mut token, mut seen) = (String::new(), "0".to_owned(), Vec::new());
    for round in 0..3 {
        let mut socket = Ws::open(&owner);
        let mut how = json!({"filters": filters, "resume_point": token, "window": 4});
        if round > 0 {
            how["session"] = json!(session);
            let unknown = socket.ask(json!({"type": "open", "session": session}));
            assert_eq!(refused(&unknown, 404), "unknown_session");
        }
        let hello = socket.session(how);
        assert_ne!(text(&hello, "session"), session, "{hello}");
        assert_eq!(hello["window"], 4);
        session = text(&hello, "session");
        let (events, stands) = socket.take_events(&session, 1);
        seen.extend(events);
        token = stands;
        if round == 1 {
            server.kill9();
            server.start();
        } else {
            let stopping = std::thread::spawn(move || socket.end());
            server.restart();
            let (said, gone) = stopping.join().unwrap();
            let bye = said.iter().find(|message| message["type"] == "bye").expect("a goodbye");
            assert_eq!((&bye["session"], &bye["reason"]), (&json!(session), &json!("shutdown")));
            assert!(number(bye, "retry") > 0, "{bye}");
            assert_eq!(gone, Gone::Closed(Some(1012)));
            // What was on its way is what the client has got.
            for message in said.iter().filter(|message| message["type"] == "events") {
                seen.extend(message["events"].as_array().unwrap().iter().cloned());
                token = text(message, "resume_token");
            }
        }
        owner.say(&channels[0], &format!("between {round}"));
    }
    let mut socket = Ws::open(&owner);
    let session = socket.session_id(json!({"filters": filters, "resume_point": token}));
    seen.extend(socket.caught_up(&session));
    assert_eq!(offsets(&seen), offsets(&of_first(owner.poll_all("0"))));
}

#[test]
fn a_session_that_nobody_comes_back_for_is_forgotten() {
    let (_server, owner, _) = with_events(&["--session-retention", "1s"]);
    let mut socket = Ws::open(&owner);
    let kept = socket.session_id(json!({"resume_point": "now"}));
    let mut left: Vec<String> = (0..60).map(|_| socket.session_id(json!({"resume_point": "now"}))).collect();
    socket.cut();
    let mut socket = Ws::open(&owner);
    assert_eq!(socket.session(json!({"session": kept}))["session"], json!(kept), "it is kept for a while");
    // Whoever is asked for lives on; so each look is at another one.
    until("a session is forgotten", || {
        let session = left.pop().expect("60 looks last longer than a second");
        let answer = socket.ask(json!({"type": "open", "session": session}));
        if answer["type"] == "hello" {
            std::thread::sleep(std::time::Duration::from_millis(80));
            return None;
        }
        assert_eq!(refused(&answer, 404), "unknown_session");
        Some(())
    });
    assert_eq!(socket.ask(json!({"type": "close", "session": kept}))["type"], "closed", "one in use is not");
}
