//! Who gets a socket at all.

use serde_json::json;

use crate::support::client::Request;
use crate::support::server::Server;
use crate::support::ws::{Ws, ask_upgrade, try_upgrade, upgrade};

#[test]
fn only_somebody_with_an_identity_gets_a_socket() {
    let (server, mut owner) = Server::set_up(&[]);
    let token = owner.token("program");
    let nobody = server.client();
    Ws::refusal(&nobody, &[]).refused_as(401, "unauthenticated");
    Ws::refusal(&nobody.with_token("0".repeat(64).as_str()), &[]).refused_as(401, "unauthenticated");
    for client in [owner.clone(), nobody.with_token(&token)] {
        let mut socket = Ws::open(&client);
        socket.session_id(json!({}));
    }
    owner.post("/api/auth/logout", &json!({})).ok(204);
    Ws::refusal(&owner, &[]).refused_as(401, "unauthenticated");
}

#[test]
fn a_server_that_nobody_has_set_up_has_no_sockets() {
    let server = Server::started(&[]);
    Ws::refusal(&server.client(), &[]).refused_as(503, "setup_required");
}

#[test]
fn a_page_of_another_origin_gets_no_socket() {
    let (server, owner) = Server::set_up(&[]);
    let port = server.address.get().port();
    let own = format!("http://127.0.0.1:{port}");
    let foreign = [
        "https://evil.example".to_owned(),
        "null".into(),
        String::new(),
        format!("https://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{}", port ^ 1),
        "http://127.0.0.1".into(),
        format!("http://127.0.0.1.evil.example:{port}"),
        format!("http://localhost:{port}"),
        format!("{own}, https://evil.example"),
        format!("ws://127.0.0.1:{port}"),
        "garbage".into(),
    ];
    for origin in &foreign {
        let refusal = Ws::refusal(&owner, &[("origin", origin)]);
        refusal.refused_as(403, "foreign_origin");
        // Nor is there more to learn for a page whose user is nobody here.
        Ws::refusal(&server.client(), &[("origin", origin)]).refused_as(403, "foreign_origin");
    }
    for site in ["cross-site", "same-site", "cross-origin", "", "Same-Origin"] {
        Ws::refusal(&owner, &[("sec-fetch-site", site)]).refused_as(403, "foreign_origin");
    }
    let evil = "https://evil.example";
    for both in [
        [("origin", own.as_str()), ("origin", evil)],
        [("sec-fetch-site", "same-origin"), ("origin", evil)],
        [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
    ] {
        Ws::refusal(&owner, &both).refused_as(403, "foreign_origin");
    }
    for headers in [vec![("origin", own.as_str())], vec![("sec-fetch-site", "same-origin")]] {
        let opened = try_upgrade(&owner, &headers).unwrap();
        assert!(opened.is_ok(), "an own page: {headers:?}");
    }
}

#[test]
fn what_is_no_upgrade_to_websocket_13_is_told_so() {
    let (_server, owner) = Server::set_up(&[]);
    let refused = |request: &Request| {
        let answer = owner.clone().send(request);
        answer.refused_as(426, "upgrade_required");
        assert_eq!(answer.header("upgrade").map(str::to_ascii_lowercase).as_deref(), Some("websocket"));
        answer
    };
    refused(&Request::get("/api/ws"));
    let with = |skip: &str, name: &str, value: &str| {
        let all = [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let kept = all.into_iter().filter(|(header, _)| *header != skip);
        let kept = kept.chain((!name.is_empty()).then_some((name, value)));
        kept.fold(Request::get("/api/ws"), |request, (name, value)| request.header(name, value))
    };
    refused(&with("upgrade", "", ""));
    refused(&with("upgrade", "upgrade", "h2c"));
    refused(&with("connection", "", ""));
    for version in ["8", "12", "14", "x"] {
        let answer = refused(&with("sec-websocket-version", "sec-websocket-version", version));
        assert_eq!(answer.header("sec-websocket-version"), Some("13"), "which version is spoken");
    }
    // A key that is none is a request that the standard does not allow.
    for key in ["", "x", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZSBpcyBsb25n"] {
        let answer = owner.clone().send(&with("sec-websocket-key", "sec-websocket-key", key));
        assert!([400, 426].contains(&answer.status), "{key:?}: {}", answer.text());
    }
    let answer = owner.clone().send(&with("sec-websocket-key", "", ""));
    assert!([400, 426].contains(&answer.status), "{}", answer.text());
    owner.clone().send(&Request::post("/api/ws", &json!({}))).refused_as(405, "method_not_allowed");
}

#[test]
fn names_of_headers_and_their_words_are_read_as_the_standard_says() {
    let (_server, owner) = Server::set_up(&[]);
    let opened = |request: Request| {
        let answer = ask_upgrade(&owner, &request).unwrap();
        answer.unwrap_or_else(|refusal| panic!("{request:?}: {} {}", refusal.status, refusal.text()));
    };
    let request = |upgrade: &str, connection: &str| {
        Request::get("/api/ws")
            .header("Upgrade", upgrade)
            .header("Connection", connection)
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    opened(request("WebSocket", "keep-alive, Upgrade"));
    opened(request("websocket", "upgrade"));
    // What is offered besides is passed over.
    opened(upgrade().header("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"));
    opened(upgrade().header("sec-websocket-protocol", "chat, superchat"));
}
