//! Channels, messages, idempotency keys.

use serde_json::json;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_created_listed_and_deleted() {
    let (world, owner) = World::set_up().await;
    let bob = world.member("Bob").await;
    let channel = bob.create_channel("Général").await;
    assert_eq!(
        channel,
        json!({"id": channel["id"], "name": "Général", "at": "2026-01-01T00:00:00.000000Z", "private": false,
            "creator": bob.id, "last_offset": channel["offset"], "offset": channel["offset"]})
    );
    for taken in ["général", "GE\u{301}NE\u{301}RAL"] {
        owner.post("/api/channels", &json!({"name": taken})).await.problem(409, "name_taken");
    }
    owner.post("/api/channels", &json!({"name": "a  b"})).await.problem(400, "bad_name");
    owner.post("/api/channels", &json!({"name": "x".repeat(1 << 18)})).await.problem(400, "bad_name");
    let said = bob.say(&text(&channel, "id"), "hello").await;
    let listed = owner.get("/api/channels").await.json(200);
    assert_eq!(listed["channels"][0]["last_offset"], said["offset"]);

    let carol = world.member("Carol").await;
    let path = format!("/api/channels/{}", text(&channel, "id"));
    carol.delete(&path).await.problem(403, "forbidden");
    let deleted = bob.delete(&path).await.json(200);
    assert_eq!(deleted, json!({"id": channel["id"], "offset": deleted["offset"]}));
    assert!(deleted["offset"].as_u64() > said["offset"].as_u64());
    bob.delete(&path).await.problem(404, "not_found");
    bob.post(&path, &json!({"body": "x"})).await.problem(404, "not_found");
    bob.get(&format!("{path}/messages")).await.problem(404, "not_found");
    bob.delete(&format!("/api/messages/{}", text(&said, "id"))).await.problem(404, "not_found");
    assert_eq!(owner.get("/api/channels").await.json(200), json!({"channels": []}));
    owner.create_channel("général").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_said_shown_and_taken_back_by_who_may() {
    let (world, owner) = World::set_up().await;
    let (bob, carol) = (world.member("Bob").await, world.member("Carol").await);
    let channel = text(&bob.create_channel("talk").await, "id");
    world.at(1);
    let body = "tab\tline\nquote\" \\ é \u{1f980} </script>\u{2028}";
    let said = bob.say(&channel, body).await;
    assert_eq!(
        said,
        json!({"id": said["id"], "at": "2026-01-01T00:00:01.000000Z", "channel": channel, "sender": bob.id,
            "body": body, "offset": said["offset"]})
    );
    let history = carol.get(&format!("/api/channels/{channel}/messages")).await.json(200);
    assert_eq!(history, json!({"messages": [said], "next": null, "prev": null}));
    let path = format!("/api/messages/{}", text(&said, "id"));
    carol.delete(&path).await.problem(403, "forbidden");
    let deleted = bob.delete(&path).await.json(200);
    assert_eq!(deleted["id"], said["id"]);
    assert!(deleted["offset"].as_u64() > said["offset"].as_u64());
    bob.delete(&path).await.problem(404, "not_found");
    let history = carol.get(&format!("/api/channels/{channel}/messages")).await.json(200);
    assert_eq!(history, json!({"messages": [], "next": null, "prev": null}));
    let again = text(&bob.say(&channel, "again").await, "id");
    owner.delete(&format!("/api/messages/{again}")).await.json(200);
    for other in [&channel, &bob.id, "M", "M0000000000001", "x"] {
        bob.delete(&format!("/api/messages/{other}")).await.problem(404, "not_found");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_breaks_a_rule_is_refused_and_nothing_is_recorded() {
    let (world, owner) = World::set_up().await;
    let path = format!("/api/channels/{}", text(&owner.create_channel("talk").await, "id"));
    let head = world.node.log.head().offset;
    for blank in ["", " ", "\n\t", "\u{3000}"] {
        owner.post(&path, &json!({"body": blank})).await.problem(400, "bad_body");
    }
    for control in ["a\0b", "a\rb", "\u{1b}[2J", "a\u{85}b"] {
        owner.post(&path, &json!({"body": control})).await.problem(400, "bad_body");
    }
    owner.post(&path, &json!({"body": "é".repeat(32 << 10) + "x"})).await.problem(413, "message_too_large");
    owner.post(&path, &json!({"body": 5})).await.problem(422, "bad_schema");
    owner.post(&path, &json!({"body": "x", "colour": "red"})).await.problem(422, "bad_schema");
    assert_eq!(world.node.log.head().offset, head);
    owner.post(&path, &json!({"body": "é".repeat(32 << 10)})).await.json(201);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_gives_the_first_answer_again() {
    let (world, owner) = World::set_up().await;
    let bob = world.member("Bob").await;
    let path = format!("/api/channels/{}", text(&owner.create_channel("talk").await, "id"));
    let say = |who: &Somebody, key: &str, body: &str| {
        let (who, headers, body) =
            (who.clone(), format!("idempotency-key: {key}\r\n"), json!({"body": body}));
        let path = path.clone();
        async move { who.post_with(&path, &headers, &body).await }
    };
    let first = say(&owner, "k 1", "hello").await;
    let head = world.node.log.head().offset;
    world.at(60);
    let again = say(&owner, "k 1", "hello").await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    say(&owner, "k 1", "hullo").await.problem(409, "key_reused");
    assert_eq!(world.node.log.head().offset, head);
    assert_ne!(
        say(&bob, "k 1", "hullo").await.json(201)["id"],
        first.json(201)["id"],
        "another's key is another key"
    );

    owner.delete(&format!("/api/messages/{}", text(&first.json(201), "id"))).await.json(200);
    let gone = say(&owner, "k 1", "hello").await.json(201);
    assert_eq!(gone["body"], "");
    assert_eq!(gone["deleted_at"], "2026-01-01T00:01:00.000000Z");
    assert_eq!((&gone["id"], &gone["at"]), (&first.json(201)["id"], &first.json(201)["at"]));
    for bad in [&"k".repeat(129), "\u{e9}", "", "a\r\nidempotency-key: b"] {
        say(&owner, bad, "hello").await.problem(400, "bad_key");
    }
    say(&owner, &"k".repeat(128), "hello").await.json(201);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_repeats_at_once_are_one_record() {
    let (world, owner) = World::set_up().await;
    let path = format!("/api/channels/{}", text(&owner.create_channel("talk").await, "id"));
    let tries: Vec<_> = (0..16)
        .map(|_| {
            let (owner, path) = (owner.clone(), path.clone());
            tokio::spawn(async move {
                owner.post_with(&path, "idempotency-key: k\r\n", &json!({"body": "once"})).await.json(201)
            })
        })
        .collect();
    let mut answers = Vec::new();
    for reply in tries {
        answers.push(reply.await.unwrap());
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(world.node.read_views().messages().len(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_creation_gives_the_channel_as_it_was() {
    let (world, owner) = World::set_up().await;
    let create = |name: &str| {
        let (owner, name) = (owner.clone(), name.to_owned());
        async move { owner.post_with("/api/channels", "idempotency-key: c\r\n", &json!({"name": name})).await }
    };
    let first = create("Talk").await;
    let path = format!("/api/channels/{}", text(&first.json(201), "id"));
    owner.post(&path, &json!({"body": "x"})).await.json(201);
    assert_eq!(create("Talk").await.body, first.body);
    create("talk").await.problem(409, "key_reused");
    owner.delete(&path).await.json(200);
    let gone = create("Talk").await.json(201);
    assert_eq!((&gone["id"], &gone["name"]), (&first.json(201)["id"], &json!("")));
    world.end().await;
}
