//! History pages against a plain sorted list.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;

/// Every message, page by page from one end to the other, each page ascending.
async fn walk(who: &Somebody, channel: &str, limit: usize, from_oldest: bool) -> Vec<Value> {
    let (mut all, mut query): (Vec<Value>, String) =
        (Vec::new(), if from_oldest { "after=oldest&".into() } else { String::new() });
    for page_number in 0..10_000 {
        let path = format!("/api/channels/{channel}/messages?{query}limit={limit}");
        let page = who.get(&path).await.json(200);
        let messages = page["messages"].as_array().unwrap().clone();
        assert!(messages.len() <= limit);
        // The end that was come from leads back, the first page's does not.
        let (forward, back) = if from_oldest { ("next", "prev") } else { ("prev", "next") };
        assert_eq!(page[back].is_null(), page_number == 0, "{page}");
        if from_oldest {
            all.extend(messages);
        } else {
            all.splice(0..0, messages);
        }
        match page[forward].as_str() {
            Some(cursor) => query = format!("{}={cursor}&", if from_oldest { "after" } else { "before" }),
            None => return all,
        }
    }
    panic!("there is no end of pages");
}

fn places(messages: &[Value]) -> Vec<(String, u64)> {
    messages.iter().map(|message| (text(message, "at"), message["offset"].as_u64().unwrap())).collect()
}

/// What a walk should give: every live message of the channel, by time, then offset.
fn expected(world: &World, channel: &str) -> Vec<(String, u64)> {
    let views = world.node.read_views();
    let channel = crate::ids::parse(crate::ids::IdKind::Channel, channel, views.origins()).unwrap();
    let messages = views.messages().of(channel).unwrap();
    let mut all: BTreeMap<(Timestamp, Offset), ()> =
        messages.by_time().iter().map(|place| (*place, ())).collect();
    for offset in messages.posted() {
        let time = world.node.log.read(Offset(offset), |record| record.time).unwrap().unwrap();
        all.insert((time, Offset(offset)), ());
    }
    all.into_keys().map(|(time, offset)| (crate::timestamps::show(time).to_string(), offset.0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_size_from_either_end_are_the_whole_history() {
    let (world, owner) = World::set_up().await;
    let channel = text(&owner.create_channel("mixed").await, "id");
    let start = START.0 / 1_000_000;
    // Imported messages before, between, at the very time of, and after the posted ones; some times twice.
    let mut lines = 0;
    for round in 0..6 {
        world.at(round * 10);
        for number in 0..7 {
            owner.say(&channel, &format!("posted {round} {number}")).await;
        }
        let second = start + round * 10;
        let seconds = [5, second - 3, second, second, second + 5, start + 1_000 + round, 5];
        world.import("mixed", lines, &seconds).await;
        lines += seconds.len() as u64;
    }
    let listed = expected(&world, &channel);
    assert_eq!(listed.len(), 84);
    for limit in [1, 2, 3, 7, 50, 84, 500] {
        for from_oldest in [true, false] {
            assert_eq!(
                places(&walk(&owner, &channel, limit, from_oldest).await),
                listed,
                "{limit} {from_oldest}"
            );
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_a_deleted_message_is_still_its_place() {
    let (world, owner) = World::set_up().await;
    let channel = text(&owner.create_channel("mixed").await, "id");
    world.import("mixed", 0, &[1, 2, 3]).await;
    for second in 0..3 {
        world.at(second);
        owner.say(&channel, "posted").await;
    }
    world.import("mixed", 3, &[START.0 / 1_000_000 + 1]).await;
    let get = |query: String| {
        let (owner, path) = (owner.clone(), format!("/api/channels/{channel}/messages?{query}"));
        async move { owner.get(&path).await.json(200) }
    };
    let all = walk(&owner, &channel, 500, true).await;
    for place in 0..all.len() {
        let older = get(format!("after=oldest&limit={}", place + 1)).await;
        let Some(next) = older["next"].as_str() else { continue };
        let newer = get(format!("after={next}")).await;
        assert_eq!(newer["messages"].as_array().unwrap(), &all[place + 1..]);
        let back = get(format!("before={}", newer["prev"].as_str().unwrap())).await;
        assert_eq!(back["messages"].as_array().unwrap(), &all[..=place]);
    }
    let first = get("after=oldest&limit=4".into()).await;
    let cursor = text(&first, "next");
    owner.delete(&format!("/api/messages/{}", text(&all[3], "id"))).await.json(200);
    assert_eq!(get(format!("after={cursor}")).await["messages"].as_array().unwrap(), &all[4..]);
    assert_eq!(get(format!("before={cursor}")).await["messages"].as_array().unwrap(), &all[..3]);
    for message in all.iter().enumerate().filter(|(place, _)| *place != 3) {
        owner.delete(&format!("/api/messages/{}", text(message.1, "id"))).await.json(200);
    }
    let empty = json!({"messages": [], "next": null, "prev": null});
    assert_eq!(get(format!("after={cursor}")).await, empty);
    assert_eq!(get(format!("before={cursor}")).await, empty);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_page_leads_back_to_what_is_there() {
    let (world, owner) = World::set_up().await;
    let channel = text(&owner.create_channel("talk").await, "id");
    let said = [
        owner.say(&channel, "one").await,
        owner.say(&channel, "two").await,
        owner.say(&channel, "three").await,
    ];
    let path = format!("/api/channels/{channel}/messages");
    let newest = owner.get(&format!("{path}?limit=2")).await.json(200);
    let cursor = text(&newest, "prev");
    owner.delete(&format!("/api/messages/{}", text(&said[0], "id"))).await.json(200);
    let empty = owner.get(&format!("{path}?before={cursor}")).await.json(200);
    assert_eq!((&empty["messages"], &empty["prev"]), (&json!([]), &Value::Null));
    let back = owner.get(&format!("{path}?after={}", text(&empty, "next"))).await.json(200);
    assert_eq!(back["messages"], json!(said[1..]));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_ends_at_its_bytes_and_goes_on_after_them() {
    let (world, owner) = World::set_up().await;
    let channel = text(&owner.create_channel("loud").await, "id");
    for number in 0..40 {
        owner.say(&channel, &format!("{number}{}", "x".repeat(60_000))).await;
    }
    let path = format!("/api/channels/{channel}/messages?limit=500");
    let page = owner.get(&path).await;
    assert!(page.body.len() < (1 << 20) + 1000, "{}", page.body.len());
    let page = page.json(200);
    assert_eq!(page["messages"].as_array().unwrap().len(), 17);
    assert!(page["next"].is_null() && page["prev"].is_string());
    assert_eq!(walk(&owner, &channel, 500, true).await.len(), 40);
    assert_eq!(walk(&owner, &channel, 500, false).await.len(), 40);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_message_shows_its_own_time_and_when_it_was_recorded() {
    let (world, owner) = World::set_up().await;
    world.import("old", 0, &[1]).await;
    let channel = owner.get("/api/channels").await.json(200)["channels"][0].clone();
    assert_eq!((&channel["name"], &channel["creator"]), (&json!("old"), &Value::Null));
    let page = owner.get(&format!("/api/channels/{}/messages", text(&channel, "id"))).await.json(200);
    let message = &page["messages"][0];
    assert_eq!(
        *message,
        json!({"id": message["id"], "at": "1970-01-01T00:00:01.000000Z", "channel": channel["id"], "sender": null,
            "sender_name": "ghost", "body": "at 1", "offset": message["offset"],
            "recorded_at": "2026-01-01T00:00:00.000000Z"})
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_makes_no_sense_is_refused() {
    let (world, owner) = World::set_up().await;
    let channel = text(&owner.create_channel("talk").await, "id");
    owner.say(&channel, "one").await;
    owner.say(&channel, "two").await;
    let path = format!("/api/channels/{channel}/messages");
    let cursor = text(&owner.get(&format!("{path}?limit=1")).await.json(200), "prev");
    for query in ["limit=0", "limit=501", "limit=-1", "limit=x", "limit=", "limit=1&limit=1", "bofore=x"] {
        owner.get(&format!("{path}?{query}")).await.problem(400, "bad_query");
    }
    owner.get(&format!("{path}?before={cursor}&after={cursor}")).await.problem(400, "bad_query");
    for bad in ["", "oldest", "x", &cursor[1..], &cursor.to_uppercase(), &format!("{cursor}0")] {
        owner.get(&format!("{path}?before={bad}")).await.problem(400, "bad_cursor");
    }
    owner.get("/api/channels/C000000000000/messages").await.problem(404, "not_found");
    world.end().await;
}
