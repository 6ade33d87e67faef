//! Accounts: logging in and out, passwords, bearer tokens, invitations, roles.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::PASSWORD;
use crate::support::client::{Client, Identity, text};
use crate::support::events::Events;
use crate::support::server::Server;

#[test]
fn logging_in_gives_an_identity_and_logging_out_takes_it_away() {
    let (server, _) = Server::set_up(&[]);
    let mut client = server.client();
    client.get("/api/auth/me").refused_as(401, "unauthenticated");
    let user = client.log_in("owner", PASSWORD);
    assert_eq!(user["role"], "owner");
    assert_eq!(client.get("/api/auth/me").ok(200)["id"], user["id"]);
    let logged_out = client.post("/api/auth/logout", &json!({}));
    assert_eq!(logged_out.status, 204);
    client.get("/api/auth/me").refused(401);
}

#[test]
fn the_cookie_cannot_be_read_by_scripts_or_sent_from_other_sites() {
    let (server, _) = Server::set_up(&[]);
    let response = server.client().post("/api/auth/login", &json!({"name": "owner", "password": PASSWORD}));
    let cookie = response.header("set-cookie").expect("a cookie").to_ascii_lowercase();
    assert!(cookie.starts_with("identity="), "{cookie}");
    assert!(cookie.contains("httponly") && cookie.contains("samesite=strict"), "{cookie}");
    assert!(!cookie.contains("secure"), "the cookie would be lost over plain http: {cookie}");
}

#[test]
fn an_https_public_url_makes_the_cookie_secure() {
    let (server, _) = Server::set_up(&["--public-url", "https://chat.example.org"]);
    let response = server.client().post("/api/auth/login", &json!({"name": "owner", "password": PASSWORD}));
    let cookie = response.header("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.starts_with("__Host-identity="), "{cookie}");
    assert!(cookie.to_ascii_lowercase().contains("secure"), "{cookie}");
}

#[test]
fn a_wrong_password_and_an_unknown_name_are_told_the_same() {
    let (server, _) = Server::set_up(&[]);
    let mut client = server.client();
    let wrong = client.post("/api/auth/login", &json!({"name": "owner", "password": "not the password"}));
    let unknown = client.post("/api/auth/login", &json!({"name": "nobody", "password": "not the password"}));
    wrong.refused_as(401, "bad_credentials");
    unknown.refused_as(401, "bad_credentials");
    assert_eq!(wrong.text(), unknown.text());
    assert!(wrong.header("set-cookie").is_none());
}

#[test]
fn a_name_logs_in_however_it_is_written() {
    let server = Server::started(&[]);
    server.client().post("/api/setup", &json!({"name": "Jose\u{301}", "password": PASSWORD})).ok(201);
    let user = server.client().log_in("JOS\u{c9}", PASSWORD);
    assert_eq!(user["name"], "Jos\u{e9}");
}

#[test]
fn a_session_outlives_a_restart() {
    let (mut server, mut owner) = Server::set_up(&[]);
    server.restart();
    assert_eq!(owner.get("/api/auth/me").ok(200)["name"], "owner");
}

#[test]
fn an_identity_that_is_none_is_refused() {
    let (server, mut owner) = Server::set_up(&[]);
    let token = owner.token("program");
    let mut client = server.client();
    for bad in ["", "x", &token[..token.len() - 1], &format!("{token}x"), &token.to_uppercase()] {
        client.identity = Identity::Bearer(bad.to_owned());
        client.get("/api/auth/me").refused(401);
        client.identity = Identity::Cookie(format!("identity={bad}"));
        client.get("/api/auth/me").refused(401);
    }
}

#[test]
fn a_new_password_ends_every_other_session() {
    let (server, mut owner) = Server::set_up(&[]);
    let mut other = server.client();
    other.log_in("owner", PASSWORD);
    let mut stream = Events::open(&other, "?resume_point=now", None);
    stream.until("caught_up");
    let wrong = json!({"password": "not the password", "to": "a new password"});
    owner.post("/api/password", &wrong).refused_as(400, "wrong_password");
    owner
        .post("/api/password", &json!({"password": PASSWORD, "to": "1234567"}))
        .refused_as(400, "bad_password");
    other.get("/api/auth/me").ok(200);

    let old = owner.clone();
    let changed = owner.post("/api/password", &json!({"password": PASSWORD, "to": "a new password"}));
    assert_eq!(changed.status, 204, "{}", changed.text());
    owner.adopt(&changed);
    owner.get("/api/auth/me").ok(200);
    other.get("/api/auth/me").refused(401);
    old.clone().get("/api/auth/me").refused(401);
    assert_eq!(stream.goodbye()["reason"], "revoked");
    let old_password = json!({"name": "owner", "password": PASSWORD});
    server.client().post("/api/auth/login", &old_password).refused(401);
    server.client().log_in("owner", "a new password");
}

#[test]
fn logging_out_ends_the_streams_of_that_session_only() {
    let (server, owner) = Server::set_up(&[]);
    let mut other = server.client();
    other.log_in("owner", PASSWORD);
    let mut stays = Events::open(&owner, "?resume_point=now", None);
    let mut ends = Events::open(&other, "?resume_point=now", None);
    stays.until("caught_up");
    ends.until("caught_up");
    assert_eq!(other.post("/api/auth/logout", &json!({})).status, 204);
    assert_eq!(ends.goodbye()["reason"], "revoked");
    let channel = owner.clone().create_channel("still there");
    assert_eq!(stays.take_events(1)[0]["id"], json!(channel));
}

#[test]
fn a_bearer_token_is_shown_once_and_can_be_revoked() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let made = owner.post("/api/tokens", &json!({"label": "robot"})).ok(201);
    let (id, token) = (text(&made, "id"), text(&made, "token"));
    assert_eq!(made["label"], "robot");
    let listed = owner.get("/api/tokens").ok(200);
    assert!(listed.to_string().contains(&id) && !listed.to_string().contains(&token), "{listed}");
    server.restart();
    let mut robot = server.client().with_token(&token);
    assert_eq!(robot.get("/api/auth/me").ok(200)["name"], "owner");
    let mut stream = Events::open(&robot, "?resume_point=now", None);
    stream.until("caught_up");
    let revoked = owner.delete(&format!("/api/tokens/{id}"));
    assert!(matches!(revoked.status, 200 | 204), "{}", revoked.text());
    assert_eq!(stream.goodbye()["reason"], "revoked");
    robot.get("/api/auth/me").refused(401);
    owner.delete(&format!("/api/tokens/{id}")).refused(404);
    assert!(!owner.get("/api/tokens").ok(200).to_string().contains(&id));
}

#[test]
fn nobody_revokes_the_token_of_somebody_else() {
    let (_server, mut owner) = Server::set_up(&[]);
    let id = text(&owner.post("/api/tokens", &json!({"label": "robot"})).ok(201), "id");
    let (mut member, _) = owner.invite_member("member");
    member.delete(&format!("/api/tokens/{id}")).refused(404);
    assert!(owner.get("/api/tokens").ok(200).to_string().contains(&id));
    assert!(!member.get("/api/tokens").ok(200).to_string().contains(&id));
}

#[test]
fn an_invitation_makes_one_member() {
    let (server, mut owner) = Server::set_up(&[]);
    let me = owner.get("/api/auth/me").ok(200);
    let invitation = owner.post("/api/invite", &json!({})).ok(201);
    let path = format!("/api/invite/{}", text(&invitation, "token"));
    let mut guest = server.client();
    let seen = guest.get(&path).ok(200);
    assert_eq!(seen["issuer"], json!({"id": me["id"], "name": "owner"}));
    assert_eq!(seen["id"], invitation["id"]);
    assert_eq!(seen["expires_at"], invitation["expires_at"]);

    // A try that fails does not use the invitation up.
    guest.post(&path, &json!({"name": "OWNER", "password": PASSWORD})).refused_as(409, "name_taken");
    guest.post(&path, &json!({"name": " guest", "password": PASSWORD})).refused_as(400, "bad_name");
    guest.post(&path, &json!({"name": "guest", "password": "short"})).refused(400);
    let response = guest.post(&path, &json!({"name": "guest", "password": PASSWORD}));
    let user = response.ok(201);
    assert_eq!((&user["name"], &user["role"]), (&json!("guest"), &json!("member")));
    guest.adopt(&response);
    guest.get("/api/auth/me").ok(200);
    guest.get(&path).refused(404);
    guest.post(&path, &json!({"name": "another", "password": PASSWORD})).refused(404);
    server.client().log_in("guest", PASSWORD);
}

#[test]
fn the_token_of_an_invitation_is_not_in_the_log() {
    let (_server, mut owner) = Server::set_up(&[]);
    let invitation = owner.post("/api/invite", &json!({})).ok(201);
    let token = text(&invitation, "token");
    assert!(token.len() >= 22, "128 bits do not fit in {token:?}");
    let events = owner.poll_all("0");
    assert_eq!(events.len(), 1, "an invitation is not streamed: {events:?}");
    assert!(!text(&invitation, "id").contains(&token));
}

#[test]
fn one_invitation_accepted_by_many_at_once_makes_one_member() {
    let (server, mut owner) = Server::set_up(&[]);
    let token = text(&owner.post("/api/invite", &json!({})).ok(201), "token");
    let answers: Vec<_> = (0..6)
        .map(|n| {
            let (mut guest, path) = (server.client(), format!("/api/invite/{token}"));
            std::thread::spawn(move || {
                guest.post(&path, &json!({"name": format!("guest {n}"), "password": PASSWORD}))
            })
        })
        .collect::<Vec<_>>()
        .into_iter()
        .map(|handle| handle.join().unwrap())
        .collect();
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 1, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert!(matches!(answer.status, 404 | 409), "{}", answer.text());
    }
    assert_eq!(owner.get("/api/users").ok(200)["users"].as_array().unwrap().len(), 2);
}

#[test]
fn one_name_taken_by_two_invitations_at_once_makes_one_member() {
    let (server, mut owner) = Server::set_up(&[]);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let token = text(&owner.post("/api/invite", &json!({})).ok(201), "token");
            let mut guest = server.client();
            std::thread::spawn(move || {
                let body = json!({"name": "guest", "password": PASSWORD});
                guest.post(&format!("/api/invite/{token}"), &body).status
            })
        })
        .collect();
    let mut statuses: Vec<_> = threads.into_iter().map(|handle| handle.join().unwrap()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409]);
}

#[test]
fn the_owner_gives_and_takes_roles() {
    let (_server, mut owner) = Server::set_up(&[]);
    let (mut member, id) = owner.invite_member("member");
    let path = format!("/api/users/{id}");
    member.put(&path, &json!({"role": "owner"})).refused(403);
    let changed = owner.put(&path, &json!({"role": "moderator"})).ok(200);
    assert_eq!((&changed["role"], &changed["active"]), (&json!("moderator"), &json!(true)));
    member.put(&path, &json!({"role": "owner"})).refused(403);
    owner.put(&path, &json!({"role": "king"})).refused(422);
    owner.put("/api/users/U0000000000000000", &json!({"role": "member"})).refused(404);

    let event = owner.poll_all("0").pop().unwrap();
    assert_eq!(event["offset"], changed["offset"]);
    assert_eq!(
        (&event["type"], &event["event"], &event["role"]),
        (&json!("user"), &json!("changed"), &json!("moderator"))
    );
    assert_eq!(member.get("/api/auth/me").ok(200)["role"], "moderator");
    let listed = member.get("/api/users").ok(200);
    let ids: HashSet<_> = listed["users"].as_array().unwrap().iter().map(|user| text(user, "id")).collect();
    assert!(ids.contains(&id) && ids.len() == 2, "{listed}");
}

#[test]
fn the_last_owner_cannot_step_down() {
    let (_server, mut owner) = Server::set_up(&[]);
    let me = text(&owner.get("/api/auth/me").ok(200), "id");
    let (mut member, id) = owner.invite_member("member");
    let path = format!("/api/users/{me}");
    owner.put(&path, &json!({"role": "member"})).refused_as(409, "last_owner");
    owner.put(&path, &json!({"active": false})).refused_as(409, "last_owner");
    owner.put(&format!("/api/users/{id}"), &json!({"role": "owner"})).ok(200);
    owner.put(&path, &json!({"role": "member"})).ok(200);
    owner.put(&path, &json!({"role": "owner"})).refused(403);
    member.put(&format!("/api/users/{id}"), &json!({"role": "moderator"})).refused(409);
}

#[test]
fn a_user_who_is_switched_off_is_out_at_once() {
    let (server, mut owner) = Server::set_up(&[]);
    let (mut member, id) = owner.invite_member("member");
    let mut robot = server.client().with_token(&member.token("robot"));
    let mut stream = Events::open(&member, "?resume_point=now", None);
    stream.until("caught_up");
    let changed = owner.put(&format!("/api/users/{id}"), &json!({"active": false})).ok(200);
    assert_eq!(changed["active"], false);
    assert_eq!(stream.goodbye()["reason"], "revoked");
    member.get("/api/auth/me").refused(401);
    robot.get("/api/auth/me").refused(401);
    let again = json!({"name": "member", "password": PASSWORD});
    server.client().post("/api/auth/login", &again).refused(401);
    owner.put(&format!("/api/users/{id}"), &json!({"active": true})).ok(200);
    server.client().log_in("member", PASSWORD);
}

#[test]
fn too_many_log_ins_are_put_off() {
    let (server, _) = Server::set_up(&[]);
    let mut client = server.client();
    let mut put_off = None;
    for _ in 0..30 {
        let response =
            client.post("/api/auth/login", &json!({"name": "owner", "password": "not the password"}));
        if response.status == 429 {
            put_off = Some(response);
            break;
        }
        response.refused(401);
    }
    let response = put_off.expect("30 log-ins at once are too many");
    response.refused_as(429, "rate_limited");
    let wait: u64 = response.header("retry-after").expect("Retry-After").parse().expect("whole seconds");
    assert!((1..=60).contains(&wait), "{wait}");
}

#[test]
fn the_ten_log_ins_of_an_account_are_not_used_up_by_another_kind_of_call() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    for n in 0..100 {
        owner.say(&channel, &format!("message {n}"));
    }
    owner.post("/api/auth/login", &json!({"name": "owner", "password": PASSWORD})).ok(200);
}

#[test]
fn passwords_have_8_to_128_characters() {
    let (server, mut owner) = Server::set_up(&[]);
    let mut sign_up = |name: &str, password: &str| -> u16 {
        let token = text(&owner.post("/api/invite", &json!({})).ok(201), "token");
        let body: Value = json!({"name": name, "password": password});
        Client::new(server.address.clone()).post(&format!("/api/invite/{token}"), &body).status
    };
    assert_eq!(sign_up("a", "1234567"), 400);
    assert_eq!(sign_up("b", "12345678"), 201);
    assert_eq!(sign_up("c", &"\u{fc}".repeat(128)), 201);
    assert_eq!(sign_up("d", &"\u{fc}".repeat(129)), 400);
}
