//! Private channels: who is shown what, and that what is hidden is answered as what never was.

use serde_json::json;

use super::*;

/// The whole answer but for the name that its log lines bear.
fn bytes(reply: &Reply) -> (String, Vec<u8>) {
    let head: Vec<&str> =
        reply.head.lines().filter(|line| !line.to_lowercase().starts_with("x-request-id:")).collect();
    let date = |line: &&str| !line.to_lowercase().starts_with("date:");
    (head.into_iter().filter(date).collect::<Vec<_>>().join("\n"), reply.body.clone())
}

fn members(channel: &str) -> String {
    format!("/api/channels/{channel}/members")
}

fn member(channel: &str, user: &str) -> String {
    format!("/api/channels/{channel}/members/{user}")
}

async fn add(by: &Somebody, channel: &str, user: &Somebody) -> Value {
    by.request("PUT", &member(channel, &user.id), "", "").await.json(200)
}

async fn listed(who: &Somebody, path: &str) -> Vec<String> {
    let answer = who.get(path).await.json(200);
    answer["channels"].as_array().unwrap().iter().map(|channel| text(channel, "id")).collect()
}

/// What a call by id asks: method, path with `CHANNEL`, `MESSAGE` and `USER` in it, body.
const CALLS: &[(&str, &str, &str)] = &[
    ("POST", "/api/channels/CHANNEL", r#"{"body":"is anybody there"}"#),
    ("POST", "/api/channels/CHANNEL", r#"{"body":""}"#),
    ("DELETE", "/api/channels/CHANNEL", ""),
    ("GET", "/api/channels/CHANNEL/messages", ""),
    ("GET", "/api/channels/CHANNEL/messages?limit=0", ""),
    ("GET", "/api/channels/CHANNEL/messages?after=oldest&limit=1", ""),
    ("GET", "/api/channels/CHANNEL/messages?before=CURSOR", ""),
    ("GET", "/api/channels/CHANNEL/messages?at=AT", ""),
    ("GET", "/api/channels/CHANNEL/messages?at=AT&after=oldest", ""),
    ("GET", "/api/channels/CHANNEL/members", ""),
    ("HEAD", "/api/channels/CHANNEL/members", ""),
    ("OPTIONS", "/api/channels/CHANNEL/members", ""),
    ("PUT", "/api/channels/CHANNEL/members/USER", ""),
    ("PUT", "/api/channels/CHANNEL/members/U00000000000", ""),
    ("DELETE", "/api/channels/CHANNEL/members/USER", ""),
    ("DELETE", "/api/channels/CHANNEL/members/U00000000000", ""),
    ("PATCH", "/api/channels/CHANNEL/members/USER", ""),
    ("DELETE", "/api/messages/MESSAGE", ""),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_yours_is_answered_byte_for_byte_as_what_never_was() {
    let (world, owner) = World::set_up().await;
    let (ann, bob) = (world.member("Ann").await, world.member("Bob").await);
    let moderator = world.member("Mo").await;
    owner.put(&format!("/api/users/{}", moderator.id), &json!({"role": "moderator"})).await.json(200);
    let hidden = ann.create_private("hidden").await;
    ann.say(&hidden, "the first").await;
    let said = text(&ann.say(&hidden, &"a long text ".repeat(1000)).await, "id");
    let gone = ann.create_private("gone").await;
    let gone_with_it = text(&ann.say(&gone, "x").await, "id");
    ann.delete(&format!("/api/channels/{gone}")).await.json(200);
    let at = world.node.log.head().offset.0;
    // Ids of this log that never named a channel or a message: their places are those of users, and of nothing yet.
    let never = |kind: char, id: &str| format!("{kind}{}", &id[1..]);
    let beyond = crate::ids::show(
        crate::ids::IdKind::Channel,
        Offset(at + 1_000_000),
        world.node.read_views().origins(),
    );
    let nothing = [(never('C', &bob.id), never('M', &bob.id)), (beyond.clone(), never('M', &beyond))];
    let not_theirs = [(&hidden, &said), (&gone, &gone_with_it)];
    let cursor = text(&ann.get(&format!("/api/channels/{hidden}/messages?limit=1")).await.json(200), "prev");
    let head = world.node.log.head().offset;
    let asked = async || {
        let mut told = Vec::new();
        for who in [&bob, &moderator] {
            for (method, path, body) in CALLS {
                let ask = async |channel: &str, message: &str| {
                    let path = path.replace("CHANNEL", channel).replace("MESSAGE", message);
                    let path = path.replace("USER", &ann.id).replace("CURSOR", &cursor);
                    let path = path.replace("AT", &at.to_string());
                    let headers = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
                    bytes(&who.request(method, &path, headers, body).await)
                };
                let expected = ask(&nothing[0].0, &nothing[0].1).await;
                assert_eq!(ask(&nothing[1].0, &nothing[1].1).await, expected, "{method} {path}");
                for (channel, message) in not_theirs {
                    assert_eq!(ask(channel, message).await, expected, "{method} {path}");
                }
                told.push(expected.0.split(' ').nth(1).unwrap().to_owned());
            }
        }
        told
    };
    let told = asked().await;
    assert!(told.iter().any(|status| status == "404") && told.iter().all(|status| !status.starts_with('5')));
    assert_eq!(world.node.log.head().offset, head, "nothing was recorded");
    // The same calls reach what is there.
    ann.get(&members(&hidden)).await.json(200);
    ann.say(&hidden, "again").await;
    ann.delete(&format!("/api/messages/{said}")).await.json(200);
    // Nothing of it reaches the writer for the one and not for the other: where there is none, both are told so, or neither.
    world.node.writer.stop();
    assert!(asked().await.iter().any(|status| status == "503"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_channel_is_shown_to_its_members_and_to_owners_only() {
    let (world, owner) = World::set_up().await;
    let (ann, bob) = (world.member("Ann").await, world.member("Bob").await);
    let open = text(&ann.create_channel("open").await, "id");
    let created = ann.post("/api/channels", &json!({"name": "hidden", "private": true})).await.json(201);
    assert_eq!((&created["private"], &created["creator"]), (&json!(true), &json!(ann.id)));
    let hidden = text(&created, "id");
    ann.say(&hidden, "a secret").await;
    ann.say(&open, "no secret").await;
    let at = world.node.log.head().offset.0;
    for path in ["/api/channels".to_owned(), "/api/boot".into(), format!("/api/channels?at={at}")] {
        for who in [&ann, &owner] {
            assert_eq!(listed(who, &path).await, [open.clone(), hidden.clone()], "{path}");
        }
        assert_eq!(listed(&bob, &path).await, std::slice::from_ref(&open), "{path}");
        assert!(!bob.get(&path).await.text().contains("hidden"), "{path}");
    }
    let boot = bob.get("/api/boot").await.json(200);
    assert_eq!(boot["messages"].as_array().unwrap().len(), 1);
    assert_eq!(boot["resume_point"], at, "the state is exact there for whoever sees less of it too");
    for who in [&ann, &owner] {
        let boot = who.get("/api/boot").await.json(200);
        assert_eq!(boot["messages"].as_array().unwrap().len(), 2);
        let page = who.get(&format!("/api/channels/{hidden}/messages")).await.json(200);
        assert_eq!(page["messages"][0]["body"], "a secret");
    }
    // Its name is taken for everybody.
    bob.post("/api/channels", &json!({"name": "HIDDEN"})).await.problem(409, "name_taken");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_are_listed_read_from_the_start_and_go() {
    let (world, _) = World::set_up().await;
    let (ann, bob, carol) =
        (world.member("Ann").await, world.member("Bob").await, world.member("Carol").await);
    let hidden = ann.create_private("hidden").await;
    let created = world.node.log.head().offset.0;
    let before = ann.say(&hidden, "before").await;
    let carols = add(&ann, &hidden, &carol).await;
    let bobs = add(&carol, &hidden, &bob).await;
    assert_eq!(
        bobs,
        json!({"channel": hidden, "user": bob.id, "offset": bobs["offset"], "history_after": created - 1})
    );
    assert_eq!(add(&ann, &hidden, &bob).await, bobs, "the second time it is the same answer");
    assert_eq!(add(&ann, &hidden, &ann).await["offset"], created);
    assert_eq!(
        bob.get(&members(&hidden)).await.json(200),
        json!({"members": [
            {"id": ann.id, "name": "Ann", "since": created},
            {"id": carol.id, "name": "Carol", "since": carols["offset"]},
            {"id": bob.id, "name": "Bob", "since": bobs["offset"]},
        ]})
    );
    let page = format!("/api/channels/{hidden}/messages");
    assert_eq!(bob.get(&page).await.json(200)["messages"], json!([before]));
    let at = bobs["offset"].as_u64().unwrap() - 1;
    assert_eq!(bob.get(&format!("{page}?at={at}")).await.json(200)["messages"], json!([before]));
    carol.delete(&member(&hidden, &ann.id)).await.problem(403, "forbidden");
    let gone = ann.delete(&member(&hidden, &carol.id)).await.json(200);
    assert_eq!(gone, json!({"channel": hidden, "user": carol.id, "offset": gone["offset"]}));
    bob.delete(&member(&hidden, &bob.id)).await.json(200);
    for who in [&bob, &carol] {
        who.get(&page).await.problem(404, "not_found");
        who.get(&format!("{page}?at={at}")).await.problem(404, "not_found");
        who.get(&members(&hidden)).await.problem(404, "not_found");
        assert!(listed(who, &format!("/api/channels?at={at}")).await.is_empty(), "rights of now");
    }
    ann.delete(&member(&hidden, &bob.id)).await.problem(404, "not_found");
    ann.request("PUT", &member(&hidden, "U00000000000"), "", "").await.problem(404, "not_found");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_channel_has_no_members_to_list_add_or_remove() {
    let (world, owner) = World::set_up().await;
    let bob = world.member("Bob").await;
    let open = text(&owner.create_channel("open").await, "id");
    for who in [&owner, &bob] {
        who.get(&members(&open)).await.problem(409, "not_private");
        who.request("PUT", &member(&open, &bob.id), "", "").await.problem(409, "not_private");
        who.delete(&member(&open, &bob.id)).await.problem(409, "not_private");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_creation_is_the_first_only_if_it_asks_for_the_same() {
    let (world, _) = World::set_up().await;
    let ann = world.member("Ann").await;
    let create = async |private: bool| {
        let body = json!({"name": "hidden", "private": private});
        ann.post_with("/api/channels", "idempotency-key: k\r\n", &body).await
    };
    let first = create(true).await.json(201);
    assert_eq!(create(true).await.json(201), first);
    create(false).await.problem(409, "key_reused");
    ann.delete(&member(&text(&first, "id"), &ann.id)).await.json(200);
    assert_eq!(create(true).await.json(201), first, "also once they see it no more");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_private_channel_stays_with_its_last_members() {
    let (world, owner) = World::set_up().await;
    let (ann, bob) = (world.member("Ann").await, world.member("Bob").await);
    let hidden = ann.create_private("hidden").await;
    ann.say(&hidden, "a secret").await;
    add(&ann, &hidden, &bob).await;
    let at = world.node.log.head().offset.0;
    bob.delete(&member(&hidden, &bob.id)).await.json(200);
    ann.delete(&format!("/api/channels/{hidden}")).await.json(200);
    let (list, page) = (format!("/api/channels?at={at}"), format!("/api/channels/{hidden}/messages?at={at}"));
    for who in [&ann, &owner] {
        let channel = &who.get(&list).await.json(200)["channels"][0];
        assert_eq!((&channel["id"], &channel["name"]), (&json!(hidden), &json!("")));
        assert_eq!(who.get(&page).await.json(200)["messages"][0]["body"], "");
    }
    assert!(listed(&bob, &list).await.is_empty());
    bob.get(&page).await.problem(404, "not_found");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_tells_who_added_and_removed_whom_where() {
    let (world, owner) = World::set_up().await;
    let (ann, bob) = (world.member("Ann").await, world.member("Bob").await);
    let hidden = ann.create_private("hidden").await;
    add(&ann, &hidden, &bob).await;
    bob.delete(&member(&hidden, &bob.id)).await.json(200);
    let page = owner.get("/api/admin/audit?limit=2").await.json(200);
    let told = |action: &str, by: &Somebody, entry: &Value| {
        assert_eq!(
            *entry,
            json!({"offset": entry["offset"], "at": entry["at"], "action": action, "by": by.id,
                "subject": bob.id, "channel": hidden})
        );
    };
    told("member_removed", &bob, &page["entries"][0]);
    told("member_added", &ann, &page["entries"][1]);
    world.end().await;
}
