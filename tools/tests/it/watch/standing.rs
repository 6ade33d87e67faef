//! Where readers of a watch stand: what a poll waits for and how it ends, and what a place is worth.

use std::thread::JoinHandle;

use serde_json::{Value, json};

use super::socket::{next_as, read};
use super::{goodbye_at_once, notice, set, stream};
use crate::support::client::{Client, number, text};
use crate::support::http::Response;
use crate::support::server::Server;
use crate::support::until;
use crate::support::ws::Ws;

/// A poll for so many seconds by somebody who knows all there is; it waits when this returns.
fn waiting_poll(client: &Client, seconds: u64) -> JoinHandle<Response> {
    let (mut polling, mut looking) = (client.clone(), client.clone());
    let head = text(&looking.get("/api/boot").ok(200), "resume_token");
    let path = format!("/api/watch/w/changes?after={head}&wait={seconds}");
    let poll = std::thread::spawn(move || polling.get(&path));
    let is_open = "scrollback_streams_open{kind=\"poll\"} 1";
    until("the poll waits", || looking.get("/metrics").text().contains(is_open).then_some(()));
    poll
}

#[test]
fn a_poll_that_waits_is_told_when_its_watch_is_set_anew_or_ended_or_its_user_has_left() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let what = json!({"watch": [{"id": channel}], "max_delay_ms": 0});
    set(&mut owner, "w", &what);
    let poll = waiting_poll(&owner, 60);
    set(&mut owner, "w", &what);
    poll.join().unwrap().refused_as(409, "watch_replaced");
    let poll = waiting_poll(&owner, 60);
    owner.delete("/api/watch/w").ok(204);
    poll.join().unwrap().refused_as(404, "unknown_watch");
    let token = owner.token("watcher");
    let mut watcher = owner.with_token(&token);
    set(&mut watcher, "w", &what);
    let poll = waiting_poll(&watcher, 60);
    watcher.post("/api/auth/logout", &json!({})).ok(204);
    poll.join().unwrap().refused_as(401, "unauthenticated");
}

#[test]
fn a_poll_that_waits_in_vain_says_how_far_it_is_true_that_nothing_has_changed() {
    let (_server, mut owner) = Server::set_up(&[]);
    let [mine, other] = ["mine", "other"].map(|name| owner.create_channel(name));
    set(&mut owner, "w", &json!({"watch": [{"id": mine}]}));
    let poll = waiting_poll(&owner, 2);
    let elsewhere = number(&owner.say(&other, "elsewhere"), "offset");
    let page = poll.join().unwrap().ok(200);
    assert_eq!((&page["changed"], number(&page, "head")), (&json!([]), elsewhere), "{page}");
    // Whoever goes on from there is told of nothing but what is new.
    let said = owner.say(&mine, "here");
    let next = owner.get(&format!("/api/watch/w/changes?after={}&wait=60", text(&page, "next"))).ok(200);
    assert_eq!(next["changed"], json!([{"id": mine, "offset": said["offset"]}]));
}

#[test]
fn a_place_of_another_log_counts_for_nothing_and_all_is_told_again() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let said = number(&owner.say(&channel, "there"), "offset");
    let kept = set(&mut owner, "w", &json!({"watch": [{"id": channel, "since": 0}], "max_delay_ms": 0}));
    let token = text(&owner.get("/api/boot").ok(200), "resume_token");
    let (offset, tag) = token.split_once('-').unwrap();
    let other_tag = if tag == "00000000" { "11111111" } else { "00000000" };
    let all = json!([{"id": channel, "offset": said}]);
    let epoch = &kept["epoch"];
    for (place, expected) in [
        (token.clone(), json!([])),
        (format!("{epoch}.{token}"), json!([])),
        (format!("{offset}-{other_tag}"), all.clone()),
        (format!("{epoch}.{offset}-{other_tag}"), all.clone()),
        (format!("{epoch}.{}", said + 1_000), all.clone()),
    ] {
        let page = owner.get(&format!("/api/watch/w/changes?after={place}")).ok(200);
        assert_eq!(page["changed"], expected, "by a poll, from {place}");
        if expected == all {
            assert_eq!(notice(&mut stream(&owner, "w", Some(&place))), all, "by events, from {place}");
            let mut socket = Ws::open(&owner);
            read(&mut socket, "w", json!({"resume_point": place}));
            assert_eq!(next_as(&mut socket, "w", "changed")["changed"], all, "by a socket, from {place}");
        }
    }
}

#[test]
fn a_renewed_watch_has_its_whole_lease_again() {
    let (_server, mut owner) = Server::set_up(&[]);
    let whole = number(&set(&mut owner, "w", &json!({"watch": [], "lease_s": 60})), "left_s");
    let left = |owner: &mut Client| number(&owner.get("/api/watch/w").ok(200), "left_s");
    until("some of the lease is over", || (left(&mut owner) + 2 <= whole).then_some(()));
    let renewed: Value = owner.post("/api/watch/w/renew", &json!({})).ok(200);
    assert!(number(&renewed, "left_s") >= whole, "{renewed}");
}

#[test]
fn a_stop_ends_the_streams_of_watches_with_a_place_and_a_new_start_knows_no_watch() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let token = owner.token("watcher");
    let mut owner = owner.with_token(&token);
    let channel = owner.create_channel("general");
    let what = json!({"watch": [{"id": channel}], "max_delay_ms": 0});
    let epoch = number(&set(&mut owner, "w", &what), "epoch");
    let mut events = stream(&owner, "w", None);
    let known = number(&owner.say(&channel, "told"), "offset");
    notice(&mut events);
    server.stop();
    let bye = goodbye_at_once(&mut events);
    assert_eq!((&bye["reason"], number(&bye, "offset")), (&json!("shutdown"), known), "{bye}");
    assert!(text(&bye, "resume_point").starts_with(&format!("{epoch}.{known}-")), "{bye}");
    server.start();
    let mut owner = server.client().with_token(&token);
    owner.get("/api/watch/w").refused_as(404, "unknown_watch");
    let missed = number(&owner.say(&channel, "missed"), "offset");
    set(&mut owner, "w", &json!({"watch": [{"id": channel, "since": known}], "max_delay_ms": 0}));
    assert_eq!(notice(&mut stream(&owner, "w", None)), json!([{"id": channel, "offset": missed}]));
}

#[test]
fn what_is_held_back_on_a_socket_is_told_once_the_delay_is_over() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let mut socket = Ws::open(&owner);
    // Long, so that a machine that pauses does not take what belongs together apart.
    read(&mut socket, "w", json!({"set": {"watch": [{"id": channel}], "max_delay_ms": 1_000}}));
    next_as(&mut socket, "w", "caught_up");
    for told in 0..3 {
        let mut newest = number(&owner.say(&channel, "at once, or held back"), "offset");
        if told > 0 {
            newest = number(&owner.say(&channel, "held back with it"), "offset");
        }
        let notice = next_as(&mut socket, "w", "changed");
        assert_eq!(notice["changed"], json!([{"id": channel, "offset": newest}]), "notice {told}");
    }
}
