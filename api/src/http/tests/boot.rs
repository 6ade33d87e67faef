//! Boot: one exact state, within bounds.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn boot_is_the_state_at_its_resume_point() {
    let (world, owner) = World::set_up().await;
    let bob = world.member("Bob").await;
    let one = owner.create_channel("one").await;
    let other = bob.create_channel("other").await;
    let mut said = Vec::new();
    for number in 0..4 {
        world.at(number);
        said.push(owner.say(&text(&one, "id"), &format!("one {number}")).await);
        said.push(bob.say(&text(&other, "id"), &format!("other {number}")).await);
    }
    world.import("other", 0, &[1, START.0 / 1_000_000 + 2]).await;
    let boot = bob.get("/api/boot").await.json(200);
    assert_eq!(boot["user"], json!({"id": bob.id, "name": "Bob", "role": "member"}));
    let head = world.node.log.head();
    assert_eq!(boot["resume_point"], head.offset.0);
    assert_eq!(boot["resume_token"], format!("{}-{}", head.offset, head.chain.tag()));
    assert_eq!(boot["heartbeat"], 15);
    assert_eq!(boot["users"].as_array().unwrap().len(), 2);
    assert_eq!(boot["channels"], bob.get("/api/channels").await.json(200)["channels"]);
    assert_eq!(boot["truncated"], false);
    let mut expected: Vec<Value> = Vec::new();
    for channel in [&one, &other] {
        let page = bob.get(&format!("/api/channels/{}/messages", text(channel, "id"))).await.json(200);
        expected.extend(page["messages"].as_array().unwrap().clone());
    }
    expected.sort_by_key(|message| (text(message, "at"), message["offset"].as_u64()));
    assert_eq!(boot["messages"], json!(expected));
    assert_eq!(expected.len(), 10);

    let boot = bob.get("/api/boot?messages=2").await.json(200);
    let bodies: Vec<_> =
        boot["messages"].as_array().unwrap().iter().map(|message| text(message, "body")).collect();
    assert_eq!(bodies, ["one 2", &format!("at {}", START.0 / 1_000_000 + 2), "one 3", "other 3"]);
    assert_eq!(boot["truncated"], false, "there are no fewer than were asked for");
    assert_eq!(bob.get("/api/boot?messages=0").await.json(200)["messages"], json!([]));
    for bad in ["501", "-1", "x", ""] {
        bob.get(&format!("/api/boot?messages={bad}")).await.problem(400, "bad_query");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boot_keeps_to_its_bounds_and_says_so() {
    let (world, owner) = World::set_up().await;
    let seconds: Vec<i64> = (0..500).collect();
    for number in 0..11 {
        world.import(&format!("channel {number}"), 500 * number, &seconds).await;
    }
    let boot = owner.get("/api/boot?messages=500").await.json(200);
    assert_eq!(boot["truncated"], true);
    let messages = boot["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 5_000);
    for channel in boot["channels"].as_array().unwrap() {
        let of_it: Vec<_> = messages.iter().filter(|message| message["channel"] == channel["id"]).collect();
        assert!((454..=455).contains(&of_it.len()), "{}", of_it.len());
        assert_eq!(of_it.last().unwrap()["body"], "at 499", "the newest of each");
    }
    assert_eq!(owner.get("/api/boot?messages=454").await.json(200)["truncated"], false);

    let loud = text(&owner.create_channel("loud").await, "id");
    for number in 0..80 {
        owner.say(&loud, &format!("{number} {}", "x".repeat(60_000))).await;
    }
    let reply = owner.get("/api/boot?messages=100").await;
    assert!(reply.body.len() < (4 << 20) + 10_000, "{}", reply.body.len());
    let boot = reply.json(200);
    assert_eq!(boot["truncated"], true);
    let messages = boot["messages"].as_array().unwrap();
    let of_loud: Vec<_> = messages.iter().filter(|message| message["channel"] == json!(loud)).collect();
    assert!((60..70).contains(&of_loud.len()), "{}", of_loud.len());
    assert!(text(of_loud.last().unwrap(), "body").starts_with("79 "));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boot_and_the_events_after_it_are_all_there_is_whatever_races() {
    let (world, owner) = World::set_up().await;
    let channel = text(&owner.create_channel("talk").await, "id");
    let writer = {
        let (owner, channel) = (owner.clone(), channel.clone());
        tokio::spawn(async move {
            let mut live = Vec::new();
            for number in 0..150 {
                let said = owner.say(&channel, &format!("message {number}")).await;
                live.push(text(&said, "id"));
                if number % 3 == 2 {
                    let taken_back = live.swap_remove(number % live.len());
                    owner.delete(&format!("/api/messages/{taken_back}")).await.json(200);
                }
            }
            live
        })
    };
    let mut boots = Vec::new();
    while !writer.is_finished() {
        boots.push(owner.get("/api/boot?messages=500").await.json(200));
    }
    let mut live = writer.await.unwrap();
    live.sort();
    assert!(boots.len() > 3);
    for boot in boots {
        let mut seen: BTreeMap<String, Value> = BTreeMap::new();
        for message in boot["messages"].as_array().unwrap() {
            seen.insert(text(message, "id"), message.clone());
        }
        let mut after = text(&boot, "resume_token");
        loop {
            let page = owner.get(&format!("/api/events/poll?after={after}&limit=500")).await.json(200);
            assert_eq!(page["resume"], "ok");
            for event in page["events"].as_array().unwrap() {
                assert!(event["offset"].as_u64() > boot["resume_point"].as_u64());
                let id = text(event, "id");
                match event["event"].as_str().unwrap() {
                    "sent" => assert!(seen.insert(id.clone(), event.clone()).is_none(), "{id} came twice"),
                    "deleted" => assert!(seen.remove(&id).is_some(), "{id} was never there"),
                    _ => {}
                }
            }
            if page["events"].as_array().unwrap().is_empty() {
                break;
            }
            after = text(&page, "next");
        }
        assert_eq!(seen.into_keys().collect::<Vec<_>>(), live);
    }
    world.end().await;
}
