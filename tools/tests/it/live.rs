//! `verify --live`: a running server compares its views with its log.

use serde_json::{Value, json};

use crate::support::client::text;
use crate::support::server::{Server, run, scrollback};

#[test]
fn the_views_of_a_running_server_are_what_its_log_adds_up_to() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    for n in 0..50 {
        let said = owner.say(&channel, &format!("number {n}"));
        if n % 3 == 0 {
            owner.delete(&format!("/api/messages/{}", text(&said, "id"))).ok(200);
        }
    }
    let token = owner.token("auditor");
    assert_eq!(owner.get("/api/admin/verify").ok(200), json!({"state": "none"}));
    let plain = server.ask(&token, "verify", &["--live"]);
    assert!(plain.must_exit(0).stdout.contains("70 records add up to"), "{plain:?}");
    let checked = server.ask(&token, "verify", &["--live", "--json"]);
    let checked: Value = serde_json::from_str(&checked.must_exit(0).stdout).unwrap();
    assert_eq!((&checked["state"], &checked["at"]), (&json!("equal"), &json!(70)));
    let metrics = server.client().get("/metrics").text();
    assert!(metrics.contains("scrollback_checks_total{verdict=\"equal\"} 2\n"), "{metrics}");
    server.stop();
    let replayed = server.operate("replay", &["--json"]);
    let replayed: Value = serde_json::from_str(&replayed.must_exit(0).stdout).unwrap();
    assert_eq!(replayed["digest"], checked["digest"], "{replayed}");
}

#[test]
fn only_an_owner_may_have_a_server_checked() {
    let (server, mut owner) = Server::set_up(&[]);
    let (mut member, _) = owner.invite_member("bob");
    member.get("/api/admin/verify").refused_as(403, "forbidden");
    member.post("/api/admin/verify", &json!({})).refused_as(403, "forbidden");
    let refused = server.ask(&member.token("curious"), "verify", &["--live"]);
    assert!(refused.must_exit(1).stderr.contains("forbidden"), "{refused:?}");
    owner.post("/api/admin/verify", &json!({"x": 1})).refused_as(422, "bad_schema");
    assert_eq!(owner.get("/api/admin/verify").ok(200)["state"], "none");
    let without = run(scrollback().args(["verify", "--live"]));
    assert!(without.must_exit(2).stderr.contains("--server"), "{without:?}");
}

#[test]
fn a_log_that_cannot_be_folded_is_told_as_damage() {
    let (mut server, mut owner) = Server::set_up(&["--scrub-rate", "0"]);
    let channel = owner.create_channel("general");
    let hit = crate::health::damage_one_of_many(&mut server, &mut owner, &channel);
    let token = owner.token("auditor");
    let checked = server.ask(&token, "verify", &["--live", "--json"]);
    let told: Value = serde_json::from_str(checked.must_exit(3).stdout.lines().next().unwrap()).unwrap();
    assert_eq!(told["state"], "damaged", "{told}");
    assert!(told["at"].as_u64().unwrap() < hit, "{told}, {hit}");
}
