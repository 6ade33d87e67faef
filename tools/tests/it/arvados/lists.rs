//! The log by pages.

use serde_json::{Value, json};

use super::offsets;
use crate::support::client::{Client, Request, number, text};
use crate::support::http::escaped;
use crate::support::server::Server;

#[track_caller]
fn list(client: &mut Client, filters: &Value, rest: &str) -> (Vec<u64>, Value) {
    let path = format!("/arvados/v1/logs?filters={}&{rest}", escaped(&filters.to_string()));
    let page = client.get(&path).ok(200);
    let items = page["items"].as_array().expect("items");
    (items.iter().map(|item| number(item, "id")).collect(), page)
}

/// A server with some channels and messages; gives the channels.
fn with_events() -> (Server, Client, [String; 2]) {
    let (server, mut owner) = Server::set_up(&[]);
    let channels = [owner.create_channel("first"), owner.create_channel("second")];
    for n in 0..40 {
        let said = owner.say(&channels[n % 2], &format!("message {n}"));
        if n % 5 == 0 {
            owner.delete(&format!("/api/messages/{}", text(&said, "id"))).ok(200);
        }
    }
    (server, owner, channels)
}

#[test]
fn pages_of_any_size_and_either_order_put_together_are_the_log() {
    let (_server, mut owner, _) = with_events();
    let all = offsets(&mut owner, |_| true);
    for limit in [1, 7, 1000] {
        let (mut up, mut after) = (Vec::new(), 0);
        loop {
            let rest = format!("order=id%20asc&limit={limit}&alt=json");
            let (ids, page) = list(&mut owner, &json!([["id", ">", after.to_string()]]), &rest);
            let more = number(&page, "items_available") > ids.len() as u64;
            up.extend(ids);
            after = up.last().copied().unwrap_or(0);
            if !more {
                break;
            }
        }
        assert_eq!(up, all, "{limit}");
        let (mut down, mut before) = (Vec::new(), u64::MAX);
        loop {
            let (ids, page) = list(&mut owner, &json!([["id", "<", before]]), &format!("limit={limit}"));
            let more = number(&page, "items_available") > ids.len() as u64;
            down.extend(ids);
            before = down.last().copied().unwrap_or(0);
            if !more {
                break;
            }
        }
        down.reverse();
        assert_eq!(down, all, "{limit}");
    }
    let (second, page) = list(&mut owner, &json!([]), "order=id&limit=5&offset=5&count=none");
    assert_eq!(second, all[5..10]);
    assert_eq!(page.get("items_available"), None);
    let (second, _) = list(&mut owner, &json!([]), "order=id%20desc&limit=5&offset=5");
    let newest: Vec<u64> = all.iter().rev().skip(5).take(5).copied().collect();
    assert_eq!(second, newest);
}

#[test]
fn filters_choose_rows_and_wrong_ones_are_refused_where_the_client_looks() {
    let (_server, mut owner, channels) = with_events();
    let of_first = json!([["object_owner_uuid", "=", channels[0]], ["event_type", "=", "delete"]]);
    let wanted =
        offsets(&mut owner, |event| event["channel"] == json!(channels[0]) && event["event"] == "deleted");
    assert!(!wanted.is_empty());
    assert_eq!(list(&mut owner, &of_first, "order=id").0, wanted);
    // As a form, as the library does with filters that are long.
    let form = format!("order=id&filters={}", escaped(&of_first.to_string()));
    let by_post = Request::new("POST", "/arvados/v1/logs")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-http-method-override", "GET")
        .bytes(form.as_bytes());
    let page = owner.send(&by_post).ok(200);
    let ids: Vec<u64> = page["items"].as_array().unwrap().iter().map(|item| number(item, "id")).collect();
    assert_eq!(ids, wanted);

    for (query, code) in [
        ("filters=%5B", "bad_query"),
        ("filters=%5B%5B%22colour%22,%22%3D%22,%22red%22%5D%5D", "bad_filters"),
        ("order=event_type", "bad_query"),
        ("limit=0", "bad_query"),
        ("select=%5B%22id%22%5D", "bad_query"),
    ] {
        let refused = owner.get(&format!("/arvados/v1/logs?{query}"));
        let problem: Value = serde_json::from_str(&refused.text()).unwrap();
        assert_eq!(refused.refused(400), code, "{query}");
        assert_eq!(problem["errors"], json!([problem["detail"]]), "{query}");
    }
    let nobody = owner.with_token("nonsense").get("/arvados/v1/logs");
    assert!(nobody.text().contains("\"errors\":["), "{}", nobody.text());
    assert_eq!(nobody.refused(401), "unauthenticated");
    assert!(!owner.get("/api/channels?x=1").text().contains("errors"), "our own calls tell it once");
}

#[test]
fn a_list_that_found_nothing_finds_what_has_come_since() {
    let (_server, mut owner, channels) = with_events();
    let (mut bob, id) = owner.invite_member("bob");
    let private =
        text(&owner.post("/api/channels", &json!({"name": "secret", "private": true})).ok(201), "id");
    owner.say(&private, "said before anybody was let in");
    let seldom = json!([["object_uuid", "=", private], ["id", ">", "1"]]);
    for _ in 0..2 {
        assert_eq!(list(&mut bob, &seldom, "order=id").0, [0; 0]);
        assert_eq!(list(&mut bob, &json!([["id", ">", u64::MAX]]), "order=id").0, [0; 0]);
        owner.say(&channels[0], "something else");
    }
    // What was hidden when it looked is shown once it may be seen.
    owner.put(&format!("/api/channels/{private}/members/{id}"), &json!({})).ok(200);
    let seen = offsets(&mut owner, |event| {
        event["id"] == json!(private) || (event["type"] == "member" && event["channel"] == json!(private))
    });
    assert_eq!(list(&mut bob, &seldom, "order=id").0, seen);
    assert_eq!(seen.len(), 2);
    let of_type = json!([["event_type", "=", "delete"], ["object_uuid", "=", channels[0]]]);
    assert_eq!(list(&mut owner, &of_type, "order=id").0, [0; 0]);
    let gone = number(&owner.delete(&format!("/api/channels/{}", channels[0])).ok(200), "offset");
    assert_eq!(list(&mut owner, &of_type, "order=id").0, [gone]);
    assert_eq!(list(&mut owner, &of_type, "").0, [gone]);
}

#[test]
fn a_list_shows_nobody_what_they_may_not_see_nor_a_deleted_text() {
    let (_server, mut owner) = Server::set_up(&[]);
    let private =
        text(&owner.post("/api/channels", &json!({"name": "secret", "private": true})).ok(201), "id");
    let open_to_all = owner.create_channel("general");
    let (mut bob, _) = owner.invite_member("bob");
    owner.say(&private, "hidden words");
    let said = owner.say(&open_to_all, "deleted words");
    owner.delete(&format!("/api/messages/{}", text(&said, "id"))).ok(200);
    let page = bob.get("/arvados/v1/logs?order=id").ok(200);
    let shown = page.to_string();
    assert!(
        !shown.contains("hidden words") && !shown.contains(&private) && !shown.contains("deleted words"),
        "{shown}"
    );
    let ids: Vec<u64> = page["items"].as_array().unwrap().iter().map(|item| number(item, "id")).collect();
    assert_eq!(ids, offsets(&mut bob, |_| true));
    assert!(owner.get("/arvados/v1/logs").text().contains("hidden words"));
}

#[test]
fn large_rows_come_in_pages_of_their_own() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    for _ in 0..30 {
        owner.say(&channel, &"\"".repeat(60_000));
    }
    let all = offsets(&mut owner, |_| true);
    let (mut up, mut pages) = (Vec::new(), 0);
    loop {
        let after = up.last().copied().unwrap_or(0);
        let (ids, page) = list(&mut owner, &json!([["id", ">", after]]), "order=id&limit=1000");
        assert!(page.to_string().len() < (1 << 20) + (1 << 18), "a page is bounded");
        pages += 1;
        let more = number(&page, "items_available") > ids.len() as u64;
        up.extend(ids);
        if !more {
            break;
        }
    }
    assert_eq!(up, all);
    assert!(pages >= 3, "{pages}");
    // The newest of all, although they are the last to fit.
    let (newest, _) = list(&mut owner, &json!([]), "limit=1000");
    assert_eq!(newest.first(), all.last());
    let from = all.len() - newest.len();
    assert_eq!(newest.iter().rev().copied().collect::<Vec<_>>(), all[from..]);
}

#[test]
fn an_id_of_another_log_is_that_of_nothing_here() {
    // In both the same has happened, so that their ids differ by the log alone.
    let [(_here, mut owner, _), (_there, mut other, _)] = [with_events(), with_events()];
    let all = offsets(&mut owner, |_| true);
    let first = |client: &mut Client| {
        let messages = json!([["object_kind", "=", "scrollback#message"]]);
        list(client, &messages, "order=id&limit=1").1["items"][0].clone()
    };
    let (own, foreign) = (first(&mut owner), first(&mut other));
    assert_eq!(own["id"], foreign["id"]);
    let mut find = |attribute: &str, operator: &str, operand: &Value| {
        list(&mut owner, &json!([[attribute, operator, operand]]), "order=id&limit=1000").0
    };
    for attribute in ["uuid", "object_uuid", "object_owner_uuid"] {
        let (own, foreign) = (&own[attribute], &foreign[attribute]);
        let both = json!([foreign, own]);
        let found = find(attribute, "=", own);
        let rest: Vec<u64> = all.iter().copied().filter(|id| !found.contains(id)).collect();
        assert!(!found.is_empty() && !rest.is_empty(), "{attribute}");
        assert_eq!(find(attribute, "=", foreign), [0; 0], "{attribute}");
        assert_eq!(find(attribute, "!=", foreign), all, "{attribute}");
        assert_eq!(find(attribute, "in", &both), found, "{attribute}");
        assert_eq!(find(attribute, "not in", &both), rest, "{attribute}");
    }
    // So nothing comes behind it either.
    for operator in [">", ">="] {
        assert_eq!(find("uuid", operator, &foreign["uuid"]), [0; 0], "{operator}");
    }
}
