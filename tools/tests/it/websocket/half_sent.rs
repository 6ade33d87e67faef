//! Readers whose socket is full, so that something is half sent, at the moment when something ends: they are told like others.

use serde_json::{Value, json};

use super::ends::{join, leave, private_channel};
use super::offsets;
use crate::support::PASSWORD;
use crate::support::client::{Client, number, text};
use crate::support::events::{End, Events, Frame, offset_of};
use crate::support::http::ANSWER_WAIT;
use crate::support::server::Server;
use crate::support::ws::{Gone, Ws};

/// Some times as much as the system takes for a reader that reads nothing.
const BACKLOG: usize = 160;
const BODY_BYTES: usize = 60_000;

/// A server with a long backlog in this channel.
fn fill(owner: &mut Client, channel: &str) -> Vec<u64> {
    let body = "x".repeat(BODY_BYTES);
    (0..BACKLOG).map(|_| number(&owner.say(channel, &body), "offset")).collect()
}

/// The first events of a session: so it is being sent its backlog.
#[track_caller]
fn first_events(socket: &mut Ws, session: &str) -> Vec<u64> {
    offsets(&socket.take_events(session, 1).0)
}

/// The events of a session up to its `bye`, those that came before included, and that.
#[track_caller]
fn events_and_bye(mut got: Vec<u64>, socket: &mut Ws, session: &str) -> (Vec<u64>, Value) {
    loop {
        let message = socket.next_in(session);
        match message["type"].as_str().unwrap_or("") {
            "events" => got.extend(offsets(message["events"].as_array().expect("events"))),
            "bye" => return (got, message),
            _ => panic!("{}", message["type"]),
        }
    }
}

/// Asserts that a reader was ended in the middle of what it was given, and stands behind what it has got.
#[track_caller]
fn ended_in_the_middle(got: &[u64], backlog: &[u64], bye: &Value, reason: &str, code: Option<&str>) {
    assert_eq!((&bye["reason"], bye["code"].as_str()), (&json!(reason), code));
    assert!(got.last() < backlog.last(), "it was given all before it ended: {got:?}");
    assert!(got.is_sorted_by(|one, next| one < next), "{got:?}");
    let stands = number(bye, "offset");
    assert_eq!(
        (Some(stands), stands),
        (got.last().copied(), offset_of(&text(bye, "resume_token"))),
        "{got:?}"
    );
}

#[test]
fn whoever_loses_their_identity_in_a_backlog_is_told_where_they_stand() {
    let (server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let (mut member, _) = owner.invite_member("member");
    let backlog = fill(&mut owner, &channel);
    let mut socket = Ws::open(&member);
    let session = socket.session_id(json!({"resume_point": "0", "window": 65_536}));
    let mut stream = Events::open(&member, "", None);
    stream.until("message");
    let first = first_events(&mut socket, &session);
    member.post("/api/auth/logout", &json!({})).ok(204);

    let (got, bye) = events_and_bye(first, &mut socket, &session);
    ended_in_the_middle(&got, &backlog, &bye, "revoked", Some("unauthenticated"));
    assert_eq!(socket.end(), (vec![], Gone::Closed(Some(4401))));
    let frames = stream.until("bye");
    let bye = frames.last().expect("a last frame").json();
    let got: Vec<Value> = frames.iter().filter(|frame| frame.is_event()).map(Frame::json).collect();
    ended_in_the_middle(&offsets(&got), &backlog, &bye, "revoked", Some("unauthenticated"));
    assert!(matches!(stream.try_next(ANSWER_WAIT), Err(End::Closed)), "an answer that is whole");

    let mut again = server.client();
    again.log_in("member", PASSWORD);
    let rest = Events::open(&again, "", Some(&text(&bye, "resume_token"))).caught_up();
    let missed = backlog.iter().filter(|offset| **offset > number(&bye, "offset")).copied();
    assert_eq!(offsets(&rest), missed.collect::<Vec<_>>());
}

#[test]
fn whoever_loses_a_channel_in_a_backlog_is_told_and_the_other_sessions_of_the_socket_go_on() {
    let (_server, mut owner) = Server::set_up(&[]);
    let open = owner.create_channel("open");
    let secret = private_channel(&mut owner, "secret");
    let (member, id) = owner.invite_member("member");
    join(&mut owner, &secret, &id);
    let backlog = fill(&mut owner, &secret);
    let mut socket = Ws::open(&member);
    let of_open = socket.session_id(json!({"resume_point": "now", "filters": [[["channel", "=", open]]]}));
    socket.caught_up(&of_open);
    let all = socket.session_id(json!({"resume_point": "0", "window": 65_536}));
    let mut stream = Events::open(&member, "", None);
    stream.until("message");
    let first = first_events(&mut socket, &all);
    let removed = number(&leave(&mut owner, &secret, &id), "offset");
    let shown = number(&owner.say(&open, "for everybody"), "offset");

    let (got, bye) = events_and_bye(first, &mut socket, &all);
    ended_in_the_middle(&got, &backlog, &bye, "revoked", Some("forbidden"));
    assert_eq!(offsets(&socket.take_events(&of_open, 1).0), [shown]);
    let again = socket.session_id(json!({"resume_point": bye["resume_token"]}));
    assert_eq!(offsets(&socket.caught_up(&again)), [removed, shown]);
    assert_eq!(stream.goodbye()["code"], "forbidden");
}

#[test]
fn a_session_that_is_taken_in_a_backlog_is_replaced_and_the_other_sessions_of_the_socket_go_on() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let backlog = fill(&mut owner, &channel);
    let mut old = Ws::open(&owner);
    let other = old.session_id(json!({"resume_point": "now"}));
    old.caught_up(&other);
    let taken = old.session_id(json!({"resume_point": "0", "window": 65_536}));
    let first = first_events(&mut old, &taken);
    let mut new = Ws::open(&owner);
    assert_eq!(new.session(json!({"session": taken}))["session"], json!(taken));

    let (got, bye) = events_and_bye(first, &mut old, &taken);
    ended_in_the_middle(&got, &backlog, &bye, "replaced", None);
    let all = offsets(&new.caught_up(&taken));
    assert!(all.starts_with(&got) && all.ends_with(&backlog), "nothing was acknowledged: {all:?}");
    let said = number(&owner.say(&channel, "to both"), "offset");
    assert_eq!(offsets(&old.take_events(&other, 1).0), [said]);
    assert_eq!(offsets(&new.take_events(&taken, 1).0), [said]);
}
