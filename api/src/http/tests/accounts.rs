//! Set-up, log-in, invitations, users, tokens.

use serde_json::json;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn of_many_set_ups_at_once_one_succeeds() {
    let world = World::new().await;
    let somebody = world.nobody();
    somebody.get("/api/boot").await.problem(503, "setup_required");
    somebody.get("/api/nothing").await.problem(503, "setup_required");
    let tries = (0..4).map(|number| {
        let somebody = somebody.clone();
        tokio::spawn(async move {
            somebody.post("/api/setup", &json!({"name": format!("ada{number}"), "password": PASSWORD})).await
        })
    });
    let mut made = 0;
    for reply in tries.collect::<Vec<_>>() {
        let reply = reply.await.unwrap();
        if reply.status == 201 {
            let user = reply.json(201);
            assert_eq!(user["role"], "owner");
            assert!(user["offset"].is_u64() && text(&user, "id").starts_with('U'));
            let cookie = format!("cookie: {}\r\n", reply.cookie());
            let me = somebody.request("GET", "/api/auth/me", &cookie, "").await.json(200);
            assert_eq!(me, json!({"id": user["id"], "name": user["name"], "role": "owner"}));
            made += 1;
        } else {
            reply.problem(409, "already_set_up");
        }
    }
    assert_eq!(made, 1);
    assert_eq!(world.node.read_views().people().len(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_the_set_up_wants_the_printed_token() {
    let world = World::with(|settings| settings.listen = "0.0.0.0:8080".parse().unwrap()).await;
    let somebody = world.nobody();
    let body = |token: Value| json!({"name": "ada", "password": PASSWORD, "setup_token": token});
    somebody
        .post("/api/setup", &json!({"name": "ada", "password": PASSWORD}))
        .await
        .problem(403, "wrong_setup_token");
    somebody.post("/api/setup", &body(json!("x"))).await.problem(403, "wrong_setup_token");
    somebody.post("/api/setup", &body(json!(null))).await.problem(422, "bad_schema");
    let token = world.server.setup_token().expect("a token is drawn").to_owned();
    somebody.post("/api/setup", &body(json!(token))).await.json(201);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_opens_a_session_and_its_change_ends_the_others() {
    let world = World::new().await;
    assert!(world.server.setup_token().is_none(), "on loopback none is needed");
    let ada = world.nobody();
    ada.post("/api/setup", &json!({"name": "Ada", "password": PASSWORD})).await.json(201);
    let log_in = |name: &'static str, password: &'static str| {
        let ada = ada.clone();
        async move { ada.post("/api/auth/login", &json!({"name": name, "password": password})).await }
    };
    log_in("ada", "wrong horse").await.problem(401, "bad_credentials");
    log_in("eve", PASSWORD).await.problem(401, "bad_credentials");
    log_in("  ", PASSWORD).await.problem(401, "bad_credentials");
    log_in("ada", "x").await.problem(401, "bad_credentials");
    let (one, other) = (log_in("ADA", PASSWORD).await, log_in("Ada", PASSWORD).await);
    assert_eq!(one.json(200)["name"], "Ada");
    assert_ne!(one.cookie(), other.cookie());
    let with = |cookie: &str| format!("cookie: {cookie}\r\n");
    let me = |cookie: String| {
        let ada = ada.clone();
        async move { ada.request("GET", "/api/auth/me", &format!("cookie: {cookie}\r\n"), "").await }
    };

    let change = |password: &str, to: &str| json!({"password": password, "to": to});
    let one_cookie = with(&one.cookie());
    ada.post_with("/api/password", &one_cookie, &change("wrong horse", "new horse battery"))
        .await
        .problem(400, "wrong_password");
    ada.post_with("/api/password", &one_cookie, &change(PASSWORD, "short"))
        .await
        .problem(400, "bad_password");
    me(other.cookie()).await.json(200);
    let changed = ada.post_with("/api/password", &one_cookie, &change(PASSWORD, "new horse battery")).await;
    changed.nothing(204);
    me(one.cookie()).await.problem(401, "unauthenticated");
    me(other.cookie()).await.problem(401, "unauthenticated");
    me(changed.cookie()).await.json(200);
    log_in("ada", PASSWORD).await.problem(401, "bad_credentials");

    let out = ada.post_with("/api/auth/logout", &with(&changed.cookie()), &json!({})).await;
    out.nothing(204);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    me(changed.cookie()).await.problem(401, "unauthenticated");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_dies_after_seven_idle_days_and_not_before() {
    let (world, owner) = World::set_up().await;
    const WEEK: i64 = 7 * 24 * 60 * 60;
    let credential = world.node.read_views().people().get(owner.offset).unwrap().credential;
    let hash =
        world.node.vault.passwords.hash_blocking(&crate::names::Password::parse(PASSWORD).unwrap()).unwrap();
    world.node.vault.set_password(owner.offset, credential, hash.clone()).unwrap();
    let (token, _) =
        world.node.vault.open_session(owner.offset, credential, &hash, world.clock.now()).unwrap();
    let session = Somebody { token, ..owner };
    world.at(WEEK - 1);
    session.get("/api/auth/me").await.json(200);
    world.at(2 * WEEK - 2);
    session.get("/api/auth/me").await.json(200);
    world.at(3 * WEEK);
    session.get("/api/auth/me").await.problem(401, "unauthenticated");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_makes_one_user_and_a_failed_try_does_not_use_it_up() {
    let (world, owner) = World::set_up().await;
    let invitation = owner.post("/api/invite", &json!({})).await.json(201);
    assert_eq!(invitation["issuer"], json!(owner.id));
    assert_eq!(invitation["issued_at"], "2026-01-01T00:00:00.000000Z");
    assert_eq!(invitation["expires_at"], "2026-01-02T00:00:00.000000Z");
    let path = format!("/api/invite/{}", text(&invitation, "token"));
    let somebody = world.nobody();
    let shown = somebody.get(&path).await.json(200);
    assert_eq!(
        shown,
        json!({"id": invitation["id"], "issuer": {"id": owner.id, "name": "Owner"},
            "issued_at": invitation["issued_at"], "expires_at": invitation["expires_at"]})
    );
    let body = |name: &str, password: &str| json!({"name": name, "password": password});
    somebody.post(&path, &body(" bob", PASSWORD)).await.problem(400, "bad_name");
    somebody.post(&path, &body("bob", "short")).await.problem(400, "bad_password");
    somebody.post(&path, &body("OWNER", PASSWORD)).await.problem(409, "name_taken");
    somebody.post(&path, &json!({"name": "bob"})).await.problem(422, "bad_schema");
    let tries = (0..3).map(|number| {
        let (somebody, path) = (somebody.clone(), path.clone());
        tokio::spawn(async move { somebody.post(&path, &body(&format!("bob{number}"), PASSWORD)).await })
    });
    let mut made = 0;
    for reply in tries.collect::<Vec<_>>() {
        let reply = reply.await.unwrap();
        if reply.status == 201 {
            assert_eq!(reply.json(201)["role"], "member");
            made += 1;
        } else {
            reply.problem(404, "not_found");
        }
    }
    assert_eq!(made, 1);
    somebody.get(&path).await.problem(404, "not_found");
    somebody.get("/api/invite/0123456789abcdef0123456789abcdef").await.problem(404, "not_found");
    let id = format!("/api/invite/{}", text(&invitation, "id"));
    somebody.get(&id).await.problem(404, "not_found");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_over_after_its_day_and_not_before() {
    let (world, owner) = World::set_up().await;
    const DAY: i64 = 24 * 60 * 60;
    let path =
        format!("/api/invite/{}", text(&owner.post("/api/invite", &json!({})).await.json(201), "token"));
    world.at(DAY - 1);
    world.nobody().get(&path).await.json(200);
    world.at(DAY);
    world.nobody().get(&path).await.problem(404, "not_found");
    world.nobody().post(&path, &json!({"name": "bob", "password": PASSWORD})).await.problem(404, "not_found");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_change_users_and_the_last_one_stays() {
    let (world, owner) = World::set_up().await;
    let bob = world.member("Bob").await;
    let change = |who: &Somebody| format!("/api/users/{}", who.id);
    bob.put(&change(&bob), &json!({"role": "owner"})).await.problem(403, "forbidden");
    owner.put(&change(&bob), &json!({})).await.problem(422, "bad_schema");
    owner.put(&change(&bob), &json!({"role": "king"})).await.problem(422, "bad_schema");
    owner.put(&change(&bob), &json!({"role": null})).await.problem(422, "bad_schema");
    owner.put("/api/users/U000000000000", &json!({"active": false})).await.problem(404, "not_found");
    owner.put(&change(&owner), &json!({"role": "member"})).await.problem(409, "last_owner");
    owner.put(&change(&owner), &json!({"active": false})).await.problem(409, "last_owner");
    let changed = owner.put(&change(&bob), &json!({"role": "moderator"})).await.json(200);
    assert!(changed["offset"].is_u64());
    assert_eq!(
        changed,
        json!({"id": bob.id, "name": "Bob", "role": "moderator", "active": true, "offset": changed["offset"]})
    );
    bob.get("/api/auth/me").await.json(200);
    owner.put(&change(&bob), &json!({"active": false})).await.json(200);
    bob.get("/api/auth/me").await.problem(401, "unauthenticated");
    let users = owner.get("/api/users").await.json(200);
    assert_eq!(
        users,
        json!({"users": [{"id": owner.id, "name": "Owner", "role": "owner", "active": true},
            {"id": bob.id, "name": "Bob", "role": "moderator", "active": false}]})
    );
    owner.put(&change(&bob), &json!({"active": true})).await.json(200);
    bob.get("/api/auth/me").await.problem(401, "unauthenticated");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_works_until_it_is_revoked_and_only_by_its_user() {
    let (world, owner) = World::set_up().await;
    let bob = world.member("Bob").await;
    owner.post("/api/tokens", &json!({"label": ""})).await.problem(400, "bad_label");
    let made = owner.post("/api/tokens", &json!({"label": "backup"})).await.json(201);
    let program = Somebody { token: text(&made, "token"), ..owner.clone() };
    assert_eq!(program.get("/api/auth/me").await.json(200)["id"], json!(owner.id));
    let listed = owner.get("/api/tokens").await.json(200);
    let listed = listed["tokens"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().any(|token| token["id"] == made["id"] && token["label"] == "backup"));
    assert!(listed.iter().all(|token| token.get("token").is_none()), "shown once");
    let path = format!("/api/tokens/{}", text(&made, "id"));
    bob.delete(&path).await.problem(404, "not_found");
    program.get("/api/auth/me").await.json(200);
    owner.delete(&path).await.nothing(204);
    program.get("/api/auth/me").await.problem(401, "unauthenticated");
    owner.delete(&path).await.problem(404, "not_found");
    owner.delete("/api/tokens/x").await.problem(404, "not_found");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_cannot_be_tried_without_end() {
    let world = World::with(|settings| settings.sign_in_burst = 3).await;
    world.owner().await;
    let somebody = world.nobody();
    let body = json!({"name": "nobody here", "password": PASSWORD});
    for _ in 0..3 {
        somebody.post("/api/auth/login", &body).await.problem(401, "bad_credentials");
    }
    let limited = somebody.post("/api/auth/login", &body).await;
    limited.problem(429, "rate_limited");
    assert!((1..=20).contains(&limited.header("retry-after").unwrap().parse().unwrap()));
    world.end().await;
}
