//! Rights that end while streams are open, on every transport that holds one.

use std::time::Instant;

use serde_json::{Value, json};

use super::offsets;
use crate::support::client::{Client, Request, number, text};
use crate::support::events::{End, Events};
use crate::support::http::ANSWER_WAIT;
use crate::support::latency::must_be_within;
use crate::support::losses::{Loss, losses};
use crate::support::server::Server;
use crate::support::ws::{Gone, Ws};

#[test]
fn whoever_loses_their_identity_is_told_and_put_out() {
    let (server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    for Loss { what, client, take_away } in losses(&server, &owner) {
        let mut socket = Ws::open(&client);
        let sessions = [json!({"resume_point": "now"}), json!({"resume_point": "now", "window": 1})]
            .map(|how| socket.session_id(how));
        sessions.iter().for_each(|session| drop(socket.caught_up(session)));
        let mut stream = Events::open(&client, "?resume_point=now", None);
        stream.until("caught_up");
        // The window of one of the sessions is full.
        let said = number(&owner.say(&channel, "seen"), "offset");
        assert_eq!(offsets(&socket.take_events(&sessions[1], 1).0), [said], "{what}");
        take_away();
        let began = Instant::now();
        let (heard, gone) = socket.end();
        must_be_within("SCROLLBACK_REVOKED_SECONDS_MAX", began.elapsed().as_secs_f64(), what);
        assert_eq!(gone, Gone::Closed(Some(4401)), "{what}");
        let byes: Vec<&Value> = heard.iter().filter(|message| message["type"] == "bye").collect();
        assert_eq!(byes.len(), 2, "{what}: {heard:?}");
        for bye in byes {
            assert_eq!(
                (&bye["reason"], &bye["code"]),
                (&json!("revoked"), &json!("unauthenticated")),
                "{what}"
            );
            assert!(sessions.iter().any(|session| bye["session"] == *session), "{bye}");
            assert!(number(bye, "offset") >= said - 1, "{bye}");
            text(bye, "resume_token");
        }
        let bye = stream.goodbye();
        assert_eq!((&bye["reason"], &bye["code"]), (&json!("revoked"), &json!("unauthenticated")), "{what}");
        owner.say(&channel, "not for them");
        Ws::refusal(&client, &[]).refused_as(401, "unauthenticated");
        Events::refusal(&client, "", None).refused_as(401, "unauthenticated");
    }
    // Whoever is still somebody noticed nothing.
    let mut socket = Ws::open(&owner);
    let session = socket.session_id(json!({"resume_point": "now"}));
    socket.caught_up(&session);
}

#[test]
fn a_session_that_is_kept_is_not_for_whoever_has_lost_their_identity() {
    let (server, mut owner) = Server::set_up(&[]);
    let (mut member, id) = owner.invite_member("member");
    let token = member.token("program");
    let mut socket = Ws::open(&server.client().with_token(&token));
    let session = socket.session_id(json!({"resume_point": "0"}));
    socket.caught_up(&session);
    socket.cut();
    // With another identity of the same user it goes on.
    let mut socket = Ws::open(&member);
    assert_eq!(socket.session(json!({"session": session}))["session"], json!(session));
    socket.cut();
    owner.put(&format!("/api/users/{id}"), &json!({"active": false})).ok(200);
    Ws::refusal(&member, &[]).refused_as(401, "unauthenticated");
}

pub(super) fn private_channel(owner: &mut Client, name: &str) -> String {
    text(&owner.post("/api/channels", &json!({"name": name, "private": true})).ok(201), "id")
}

pub(super) fn join(owner: &mut Client, channel: &str, user: &str) -> Value {
    owner.send(&Request::new("PUT", &format!("/api/channels/{channel}/members/{user}"))).ok(200)
}

pub(super) fn leave(owner: &mut Client, channel: &str, user: &str) -> Value {
    owner.delete(&format!("/api/channels/{channel}/members/{user}")).ok(200)
}

#[test]
fn whoever_loses_a_channel_is_told_and_goes_on_without_it() {
    let (_server, mut owner) = Server::set_up(&[]);
    let (member, id) = owner.invite_member("member");
    let open = owner.create_channel("open");
    let secret = private_channel(&mut owner, "secret");
    owner.say(&secret, "before");
    let joined = join(&mut owner, &secret, &id);
    let only = |channel: &str| json!([[["channel", "=", channel]]]);
    let mut alone = Ws::open(&member);
    let all_alone = alone.session_id(json!({"resume_point": "0"}));
    let mut socket = Ws::open(&member);
    let all = socket.session_id(json!({"resume_point": "0"}));
    let of_secret = socket.session_id(json!({"resume_point": "0", "filters": only(&secret)}));
    let of_open = socket.session_id(json!({"resume_point": "0", "filters": only(&open)}));
    let mut stream = Events::open(&member, "", None);
    let seen = socket.caught_up(&all);
    assert!(seen.iter().any(|event| event["body"] == "before"), "a member sees what was before: {seen:?}");
    let added = seen.iter().find(|event| event["type"] == "member").expect("the event of joining");
    assert_eq!(
        (&added["event"], &added["user"], &added["offset"]),
        (&json!("added"), &json!(id), &joined["offset"])
    );
    assert_eq!(added["history_after"], joined["history_after"]);
    socket.caught_up(&of_secret);
    socket.caught_up(&of_open);
    assert_eq!(offsets(&alone.caught_up(&all_alone)), offsets(&stream.caught_up()));

    let removed = number(&leave(&mut owner, &secret, &id), "offset");
    let began = Instant::now();
    let hidden = number(&owner.say(&secret, "not for the member"), "offset");
    let shown = number(&owner.say(&open, "for everybody"), "offset");
    let forbidden = |bye: &Value| {
        assert_eq!(
            (&bye["type"], &bye["reason"], &bye["code"]),
            (&json!("bye"), &json!("revoked"), &json!("forbidden"))
        );
        assert!(number(bye, "offset") < removed, "it goes on before what took the right away: {bye}");
        text(bye, "resume_token")
    };
    let token = forbidden(&socket.next_in(&all));
    forbidden(&socket.next_in(&of_secret));
    let stream_token = forbidden(&stream.goodbye());
    // A socket without a session that lives has nothing to be for.
    let (heard, gone) = alone.end();
    assert_eq!((heard.len(), gone), (1, Gone::Closed(Some(4403))), "{heard:?}");
    must_be_within("SCROLLBACK_REVOKED_SECONDS_MAX", began.elapsed().as_secs_f64(), "lost membership");
    forbidden(&heard[0]);
    // One that could not show the channel goes on.
    assert_eq!(offsets(&socket.take_events(&of_open, 1).0), [shown]);
    let all = socket.session_id(json!({"resume_point": token}));
    let after: Vec<u64> = offsets(&socket.caught_up(&all));
    assert_eq!(after, [removed, shown], "but {hidden}");
    assert_eq!(offsets(&Events::open(&member, "", Some(&stream_token)).caught_up()), after);
    assert_eq!(offsets(&member.clone().poll_all(&token)), after);

    // Back again it is told from where to read what it missed.
    let joined = join(&mut owner, &secret, &id);
    let events = socket.take_events(&all, 1).0;
    assert_eq!((&events[0]["event"], &events[0]["offset"]), (&json!("added"), &joined["offset"]));
    let from = number(&events[0], "history_after").to_string();
    let query = format!("?channel={secret}&resume_point={from}");
    let missed = offsets(&Events::open(&member, &query, None).caught_up());
    assert!(missed.contains(&hidden), "{missed:?}");
    let said = number(&owner.say(&secret, "for the member again"), "offset");
    assert_eq!(offsets(&socket.take_events(&all, 1).0), [said]);
}

#[test]
fn an_owner_who_is_one_no_more_is_shown_no_more_than_others() {
    let (_server, mut owner) = Server::set_up(&[]);
    let (deputy, id) = owner.invite_member("deputy");
    owner.put(&format!("/api/users/{id}"), &json!({"role": "owner"})).ok(200);
    let secret = private_channel(&mut owner, "secret");
    let mut socket = Ws::open(&deputy);
    let session = socket.session_id(json!({"resume_point": "0"}));
    assert!(
        offsets(&socket.caught_up(&session))
            .contains(&number(&owner.say(&secret, "x"), "offset").saturating_sub(1))
    );
    socket.take_events(&session, 1);
    owner.put(&format!("/api/users/{id}"), &json!({"role": "member"})).ok(200);
    let hidden = number(&owner.say(&secret, "not for members"), "offset");
    let (heard, gone) = socket.end();
    assert_eq!(gone, Gone::Closed(Some(4403)));
    let bye = heard.last().expect("a goodbye");
    assert_eq!((&bye["reason"], &bye["code"]), (&json!("revoked"), &json!("forbidden")), "{heard:?}");
    let again = deputy.clone().poll_all("0");
    assert!(!offsets(&again).contains(&hidden));
    assert!(again.iter().all(|event| event["channel"] != secret && event["id"] != secret), "{again:?}");
}

#[test]
fn a_poll_that_waits_is_no_way_around_lost_rights() {
    let (_server, mut owner) = Server::set_up(&[]);
    let (member, id) = owner.invite_member("member");
    let secret = private_channel(&mut owner, "secret");
    join(&mut owner, &secret, &id);
    let head = text(&member.clone().get("/api/boot").ok(200), "resume_token");
    let mut polling = member.clone();
    let path = format!("/api/events/poll?after={head}&wait=30");
    let waiting = std::thread::spawn(move || polling.get(&path));
    // A stream that is told of it has been overtaken by nothing that came before.
    let mut stream = Events::open(&member, "?resume_point=now", None);
    stream.until("caught_up");
    leave(&mut owner, &secret, &id);
    let hidden = number(&owner.say(&secret, "hidden"), "offset");
    assert_eq!(stream.goodbye()["code"], "forbidden");
    assert!(matches!(stream.try_next(ANSWER_WAIT), Err(End::Closed | End::Broken)));
    let page = waiting.join().unwrap().ok(200);
    assert!(!offsets(page["events"].as_array().unwrap()).contains(&hidden), "{page}");
    let rest = member.clone().poll_all(&text(&page, "next"));
    assert!(!offsets(&rest).contains(&hidden), "{rest:?}");
}
