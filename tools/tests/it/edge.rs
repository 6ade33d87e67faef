//! The edge of the HTTP server: what is refused before any call is reached, and the calls about the server itself.

use serde_json::{Value, json};

use crate::support::PASSWORD;
use crate::support::client::{Request, text};
use crate::support::server::Server;

/// The largest body that the server reads.
const BODY_BYTES_MAX: usize = 512 << 10;

#[test]
fn an_unknown_path_is_not_found_and_a_wrong_method_is_told_the_right_ones() {
    let (_server, mut owner) = Server::set_up(&[]);
    for path in [
        "/api",
        "/api/",
        "/api/nothing",
        "/nothing",
        "/api/channels/",
        "/api/channels/C1/nothing",
        "/..",
        "//",
    ] {
        owner.get(path).refused_as(404, "not_found");
    }
    let known = [
        ("DELETE", "/api/boot", vec!["GET"]),
        ("PUT", "/api/channels", vec!["GET", "POST"]),
        ("GET", "/api/setup", vec!["POST"]),
        ("GET", "/api/auth/login", vec!["POST"]),
        ("PATCH", "/api/channels/C1", vec!["POST", "DELETE"]),
        ("POST", "/api/messages/M1", vec!["DELETE"]),
        ("PUT", "/api/events", vec!["GET"]),
        ("POST", "/api/events/poll", vec!["GET"]),
        ("DELETE", "/api/invite/token", vec!["GET", "POST"]),
        ("POST", "/livez", vec!["GET"]),
    ];
    for (method, path, methods) in known {
        let response = owner.send(&Request::new(method, path).json(&json!({})));
        response.refused_as(405, "method_not_allowed");
        let allow = response.header("allow").expect("Allow").to_owned();
        for wanted in methods {
            assert!(allow.split(',').any(|m| m.trim() == wanted), "{method} {path}: Allow: {allow}");
        }
        assert!(!allow.split(',').any(|m| m.trim() == method), "{method} {path}: Allow: {allow}");
    }
}

#[test]
fn a_body_must_be_json_of_the_right_form() {
    let (_server, mut owner) = Server::set_up(&[]);
    let path = "/api/channels";
    let typed = |kind: &str, body: &[u8]| Request::new("POST", path).header("content-type", kind).bytes(body);
    let name = br#"{"name":"general"}"#;
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "multipart/form-data"]
    {
        owner.send(&typed(kind, name)).refused(415);
    }
    owner.send(&Request::new("POST", path).bytes(name)).refused_as(415, "unsupported_media_type");
    let bad: [&[u8]; 9] = [
        b"",
        b"{",
        b"{\"name\":}",
        b"\xff\xfe",
        b"{\"name\":\"\xff\"}",
        b"{\"name\":\"a\"} x",
        b"nul",
        b"{\"name\":\"\\ud800\"}",
        b"{\"name\":\"a\x01\"}",
    ];
    for body in bad {
        let response = owner.send(&typed("application/json", body));
        assert_eq!(response.status, 400, "{:?}: {}", String::from_utf8_lossy(body), response.text());
        response.refused_as(400, "not_json");
    }
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let response = owner.send(&typed("application/json", &deep));
    assert!(matches!(response.status, 400 | 422), "{}", response.status);
    owner.post(path, &json!(["general"])).refused(422);
    owner.post(path, &json!({"name": {"name": "general"}})).refused(422);
    assert_eq!(owner.get(path).ok(200)["channels"], json!([]));
    for kind in ["application/json; charset=utf-8", "Application/JSON"] {
        let name = json!({"name": kind});
        owner.send(&typed(kind, name.to_string().as_bytes())).ok(201);
    }
}

#[test]
fn a_body_too_large_is_refused() {
    let (_server, mut owner) = Server::set_up(&[]);
    let padded = |bytes: usize| {
        let body = format!(r#"{{"name":"general"}}{}"#, " ".repeat(bytes - 18));
        Request::new("POST", "/api/channels")
            .header("content-type", "application/json")
            .bytes(body.as_bytes())
    };
    owner.send(&padded(BODY_BYTES_MAX + 1)).refused_as(413, "body_too_large");
    owner.send(&padded(BODY_BYTES_MAX)).ok(201);
}

#[test]
fn a_body_of_unknown_length_is_refused() {
    let (_server, mut owner) = Server::set_up(&[]);
    let chunked = Request::new("POST", "/api/channels")
        .header("content-type", "application/json")
        .header("transfer-encoding", "chunked");
    // The body follows the head by hand: a chunked one has no length to declare.
    let mut conn = crate::support::http::Conn::open(owner.address.get()).unwrap();
    conn.write(&chunked.encode(owner.address.clone(), &owner.identity)).unwrap();
    conn.write(b"12\r\n{\"name\":\"general\"}\r\n0\r\n\r\n").unwrap();
    conn.read_response().unwrap().refused(411);
    let none = Request::new("POST", "/api/channels").header("content-type", "application/json");
    owner.send(&none).refused_as(411, "length_required");
    assert_eq!(owner.get("/api/channels").ok(200)["channels"], json!([]));
}

#[test]
fn a_request_from_another_site_changes_nothing() {
    let (server, mut owner) = Server::set_up(&[]);
    let create =
        |origin: &str| Request::post("/api/channels", &json!({"name": "general"})).header("origin", origin);
    for origin in ["https://evil.example", "http://127.0.0.1:1", "null", "http://localhost", "garbage"] {
        owner.send(&create(origin)).refused_as(403, "foreign_origin");
    }
    let login = Request::post("/api/auth/login", &json!({"name": "owner", "password": PASSWORD}));
    server.client().send(&login.header("origin", "https://evil.example")).refused_as(403, "foreign_origin");
    let delete = Request::new("DELETE", "/api/messages/M1").header("origin", "https://evil.example");
    owner.send(&delete).refused_as(403, "foreign_origin");
    owner.send(&create(&format!("http://{}", server.address.get()))).ok(201);
    owner.send(&Request::get("/api/channels").header("origin", "https://evil.example")).ok(200);
}

#[test]
fn the_public_url_is_the_servers_own_origin() {
    let (_server, mut owner) = Server::set_up(&["--public-url", "https://chat.example.org"]);
    let create =
        |origin: &str| Request::post("/api/channels", &json!({"name": "general"})).header("origin", origin);
    owner.send(&create("https://chat.example.org.evil.example")).refused_as(403, "foreign_origin");
    owner.send(&create("http://chat.example.org")).refused_as(403, "foreign_origin");
    owner.send(&create("https://chat.example.org")).ok(201);
}

#[test]
fn a_proxy_is_believed_only_where_it_is_named() {
    let login = |n: u8| {
        Request::post(
            "/api/auth/login",
            &json!({"name": format!("nobody {n}"), "password": "not the password"}),
        )
        .header("x-forwarded-for", &format!("203.0.113.{n}"))
    };
    let (server, _) = Server::set_up(&[]);
    let mut client = server.client();
    let statuses: Vec<u16> = (0..25).map(|n| client.send(&login(n)).status).collect();
    assert!(statuses.contains(&429), "25 log-ins of one address at once: {statuses:?}");
    let (server, _) = Server::set_up(&["--trusted-proxy", "127.0.0.1"]);
    let mut client = server.client();
    let statuses: Vec<u16> = (0..25).map(|n| client.send(&login(n)).status).collect();
    assert!(!statuses.contains(&429), "one log-in from each of 25 addresses: {statuses:?}");
}

#[test]
fn every_call_but_a_few_needs_an_identity() {
    let (server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let message = text(&owner.say(&channel, "hello"), "id");
    let mut nobody = server.client();
    for path in [
        "/api/boot",
        "/api/channels",
        &format!("/api/channels/{channel}/messages"),
        "/api/users",
        "/api/tokens",
        "/api/auth/me",
        "/api/events/poll?after=0",
    ] {
        nobody.get(path).refused(401);
    }
    for (path, body) in [
        ("/api/channels", json!({"name": "other"})),
        (&format!("/api/channels/{channel}"), json!({"body": "hello"})),
        ("/api/invite", json!({})),
        ("/api/tokens", json!({"label": "x"})),
        ("/api/password", json!({"password": PASSWORD, "to": PASSWORD})),
    ] {
        nobody.post(path, &body).refused(401);
    }
    nobody.delete(&format!("/api/messages/{message}")).refused(401);
    nobody.delete(&format!("/api/channels/{channel}")).refused(401);
    nobody.put("/api/users/U1", &json!({"role": "owner"})).refused(401);
    assert_eq!(owner.history(&channel, 50).len(), 1);
}

#[test]
fn the_server_tells_how_it_is() {
    let (mut server, mut owner) = Server::set_up(&[]);
    for _ in 0..2 {
        let mut nobody = server.client();
        assert_eq!(nobody.get("/livez").status, 200);
        let ready = nobody.get("/readyz");
        assert!(ready.ok(200).is_object(), "{}", ready.text());
        let metrics = nobody.get("/metrics");
        assert_eq!(metrics.status, 200);
        assert!(metrics.header("content-type").unwrap().starts_with("text/plain"), "{:?}", metrics.headers);
        for line in metrics.text().lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let value = line.rsplit(' ').next().unwrap();
            assert!(value.parse::<f64>().is_ok(), "not a sample: {line}");
        }
        let front = nobody.get("/");
        assert_eq!(front.status, 200);
        assert!(
            front.text().to_lowercase().contains("scrollback") && front.text().contains("/api"),
            "{}",
            front.text()
        );
        server.restart();
    }
    owner.get("/api/auth/me").ok(200);
}

#[test]
fn the_description_of_the_api_is_the_one_in_the_docs() {
    let server = Server::started(&[]);
    let served: Value = server.client().get("/api/openapi.json").ok(200);
    assert!(text(&served, "openapi").starts_with("3.1"), "{}", served["openapi"]);
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let golden = std::fs::read_to_string(golden).expect("docs/openapi.json");
    let golden: Value = serde_json::from_str(&golden).expect("docs/openapi.json in JSON");
    assert!(
        golden == served,
        "docs/openapi.json is not what the server says; see docs/api.md for how to renew it"
    );
}

#[test]
fn every_call_of_the_contract_is_described() {
    let server = Server::started(&[]);
    let served = server.client().get("/api/openapi.json").ok(200);
    let mut described: Vec<String> = Vec::new();
    for (path, item) in served["paths"].as_object().expect("paths") {
        // The names of parameters are the document's own.
        let path: Vec<&str> =
            path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect();
        for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            described.push(format!("{} {}", method.to_uppercase(), path.join("/")));
        }
    }
    let calls = [
        "POST /api/setup",
        "POST /api/auth/login",
        "POST /api/auth/logout",
        "GET /api/auth/me",
        "POST /api/password",
        "POST /api/tokens",
        "GET /api/tokens",
        "DELETE /api/tokens/{}",
        "POST /api/invite",
        "GET /api/invite/{}",
        "POST /api/invite/{}",
        "GET /api/users",
        "PUT /api/users/{}",
        "GET /api/boot",
        "POST /api/channels",
        "GET /api/channels",
        "DELETE /api/channels/{}",
        "POST /api/channels/{}",
        "GET /api/channels/{}/messages",
        "DELETE /api/messages/{}",
        "GET /api/events",
        "GET /api/events/poll",
        "GET /livez",
        "GET /readyz",
        "GET /metrics",
    ];
    for call in calls {
        assert!(described.iter().any(|d| d == call), "{call} is not described");
    }
}
