//! What owners and the operator did, as owners read it.

use scrollback_projections::facts::Role;
use serde_json::{Value, json};

use super::*;
use crate::node::operator;

fn actions(page: &Value) -> Vec<(String, Value, Value)> {
    let entries = page["entries"].as_array().unwrap();
    entries
        .iter()
        .map(|entry| {
            (entry["action"].as_str().unwrap().to_owned(), entry["by"].clone(), entry["subject"].clone())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_reads_who_did_what_to_whose_rights() {
    let (world, owner) = World::set_up().await;
    let owner_id = owner.get("/api/auth/me").await.json(200)["id"].clone();
    let member = world.member("member").await;
    let member_id = member.get("/api/auth/me").await.json(200)["id"].clone();
    owner.post("/api/invite", &json!({})).await.json(201);
    let channel = owner.create_channel("general").await["id"].as_str().unwrap().to_owned();
    let said = member.say(&channel, "something").await;
    let message = said["id"].clone();
    let path = format!("/api/messages/{}", message.as_str().unwrap());
    assert_eq!(owner.delete(&path).await.status, 200);
    let own = owner.say(&channel, "my own").await;
    assert_eq!(owner.delete(&format!("/api/messages/{}", own["id"].as_str().unwrap())).await.status, 200);
    let change = format!("/api/users/{}", member_id.as_str().unwrap());
    assert_eq!(owner.put(&change, &json!({"role": "moderator"})).await.status, 200);
    assert_eq!(owner.get("/api/admin/backup").await.status, 200);
    let node = Arc::clone(&world.node);
    let set =
        tokio::task::spawn_blocking(move || operator::set_password(&node, "member", "another password"));
    set.await.unwrap().unwrap();
    let node = Arc::clone(&world.node);
    let add =
        tokio::task::spawn_blocking(move || operator::add_user(&node, "third", "a password", Role::Member));
    add.await.unwrap().unwrap();

    let page = owner.get("/api/admin/audit").await.json(200);
    let found = actions(&page);
    let expected = [
        ("user_created", json!(null), None),
        ("password_set", json!(null), Some(member_id.clone())),
        ("backup_taken", owner_id.clone(), Some(json!(null))),
        ("user_changed", owner_id.clone(), Some(member_id.clone())),
        ("message_deleted", owner_id.clone(), Some(message)),
        ("invitation_issued", owner_id.clone(), None),
        ("user_created", json!(null), Some(member_id)),
        ("user_created", json!(null), Some(owner_id)),
        ("origin_started", json!(null), Some(json!(null))),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((action, by, subject), (expected_action, expected_by, expected_subject)) in
        found.iter().zip(&expected)
    {
        assert_eq!((action.as_str(), by), (*expected_action, expected_by));
        assert!(expected_subject.as_ref().is_none_or(|expected| expected == subject), "{action}: {subject}");
    }
    assert_eq!(page["next"], json!(null));
    assert_eq!(page["entries"][3]["role"], "moderator");

    // Page by page it is the same.
    let (mut all, mut next) = (Vec::new(), String::new());
    loop {
        let page = owner.get(&format!("/api/admin/audit?limit=2{next}")).await.json(200);
        all.extend(actions(&page));
        let Some(before) = page["next"].as_u64() else { break };
        next = format!("&before={before}");
    }
    assert_eq!(all, found);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_owner_reads_the_audit() {
    let (world, owner) = World::set_up().await;
    let member = world.member("member").await;
    member.get("/api/admin/audit").await.problem(403, "forbidden");
    world.nobody().get("/api/admin/audit").await.problem(401, "unauthenticated");
    owner.get("/api/admin/audit?limit=0").await.problem(400, "bad_query");
    owner.get("/api/admin/audit?before=x").await.problem(400, "bad_query");
}
