//! What all calls share: methods, origins, bodies, limits, waiting for a state, health.

use std::time::Duration;

use serde_json::json;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_method_is_told_apart_from_a_wrong_path() {
    let (world, owner) = World::set_up().await;
    let wrong = owner.request("PATCH", "/api/channels", "", "").await;
    wrong.problem(405, "method_not_allowed");
    assert_eq!(wrong.header("allow"), Some("GET, HEAD, POST, OPTIONS"));
    let wrong = owner.get("/api/setup").await;
    wrong.problem(405, "method_not_allowed");
    assert_eq!(wrong.header("allow"), Some("POST, OPTIONS"));
    owner.request("HEAD", "/api/events", "", "").await.nothing(405);
    for unknown in [
        "/api",
        "/api/",
        "/api/channels/",
        "/api/Channels",
        "/api/boot/",
        "/x",
        "/api/channels/a/b",
        "/api//boot",
    ] {
        owner.get(unknown).await.problem(404, "not_found");
        owner.request("PATCH", unknown, "", "").await.problem(404, "not_found");
    }
    let options = owner.request("OPTIONS", "/api/channels/C1", "", "").await;
    options.nothing(204);
    assert_eq!(options.header("allow"), Some("POST, DELETE, OPTIONS"));
    let head = owner.request("HEAD", "/api/auth/me", "", "").await;
    let get = owner.get("/api/auth/me").await;
    head.nothing(200);
    assert_eq!(head.header("content-length"), get.header("content-length"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_valid_identity_nothing_is_shown_and_no_body_is_read() {
    let (world, owner) = World::set_up().await;
    let nobody = world.nobody();
    for path in [
        "/api/boot",
        "/api/channels",
        "/api/users",
        "/api/tokens",
        "/api/auth/me",
        "/api/events",
        "/api/events/poll",
        "/api/channels/C1/messages",
    ] {
        let reply = nobody.get(path).await;
        reply.problem(401, "unauthenticated");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"scrollback\""));
    }
    nobody.request("POST", "/api/channels", "", "not json").await.problem(401, "unauthenticated");
    for token in ["x", "", "0123456789abcdef", &format!("{}x", owner.token), &owner.token[1..]] {
        Somebody { token: format!("{token} "), ..owner.clone() }
            .get("/api/auth/me")
            .await
            .problem(401, "unauthenticated");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_page_can_change_nothing() {
    let (world, owner) = World::set_up().await;
    let foreign = "origin: https://evil.example\r\n";
    owner.post_with("/api/channels", foreign, &json!({"name": "x"})).await.problem(403, "foreign_origin");
    owner.request("DELETE", "/api/channels/C1", foreign, "").await.problem(403, "foreign_origin");
    world.nobody().post_with("/api/auth/login", foreign, &json!({})).await.problem(403, "foreign_origin");
    let own = format!("origin: http://{}\r\n", world.address);
    owner.post_with("/api/channels", &own, &json!({"name": "x"})).await.json(201);
    owner.request("GET", "/api/channels", foreign, "").await.json(200);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_must_be_announced_in_json_and_within_bounds() {
    let (world, owner) = World::set_up().await;
    let post = |headers: &str, body: &str| {
        let (owner, headers, body) = (owner.clone(), headers.to_owned(), body.to_owned());
        async move { owner.request("POST", "/api/channels", &headers, &body).await }
    };
    post("", "{\"name\":\"x\"}").await.problem(415, "unsupported_media_type");
    post("content-type: text/plain\r\n", "{\"name\":\"x\"}").await.problem(415, "unsupported_media_type");
    let json = "content-type: application/json\r\n";
    post(json, "").await.problem(400, "not_json");
    post(json, "{\"name\":").await.problem(400, "not_json");
    post(json, "[\"x\"]").await.problem(422, "bad_schema");
    let head =
        format!("POST /api/channels HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n{json}", owner.token);
    raw(world.address, format!("{head}connection: close\r\n\r\n").as_bytes())
        .await
        .problem(411, "length_required");
    let chunked =
        format!("{head}connection: close\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n");
    raw(world.address, chunked.as_bytes()).await.problem(411, "length_required");
    // The client sends all of it before it reads; it must still be able to read the answer.
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(1 << 20));
    post(json, &large).await.problem(413, "body_too_large");
    assert_eq!(world.node.read_views().channels().len(), 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_two_ends_is_refused_and_nothing_behind_it_is_read() {
    let (world, owner) = World::set_up().await;
    let head = format!(
        "POST /api/channels HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n",
        owner.token
    );
    let behind = format!("{head}content-length: 12\r\n\r\n{{\"name\":\"x\"}}");
    for fields in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
    ] {
        let reply = raw(world.address, format!("{head}{fields}\r\n0\r\n\r\n{behind}").as_bytes()).await;
        reply.problem(400, "bad_request");
        assert_eq!(reply.header("connection"), Some("close"));
    }
    assert_eq!(world.node.read_views().channels().len(), 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_not_waited_for_without_end() {
    let world = World::with(|settings| settings.connections.body_timeout = Duration::from_millis(100)).await;
    let owner = world.owner().await;
    let head = format!(
        "POST /api/channels HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n",
        owner.token
    );
    let reply = raw(world.address, format!("{head}{{\"name\"").as_bytes()).await;
    reply.problem(408, "body_timeout");
    assert_eq!(reply.header("connection"), Some("close"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_can_be_waited_for() {
    let (world, owner) = World::set_up().await;
    let head = world.node.log.head().offset.0;
    let (path, wanted) = (format!("/api/channels?at_least={}", head + 1), owner.clone());
    let waiting = tokio::spawn(async move { wanted.get(&path).await });
    owner.create_channel("talk").await;
    assert_eq!(waiting.await.unwrap().json(200)["channels"].as_array().unwrap().len(), 1);
    for path in ["/api/boot", "/api/users", "/api/tokens", "/api/auth/me", "/api/events/poll"] {
        owner.get(&format!("{path}?at_least={head}")).await.json(200);
        for bad in ["-1", "x", "", "18446744073709551616", "1-00000000"] {
            owner.get(&format!("{path}?at_least={bad}")).await.problem(400, "bad_query");
        }
    }
    owner.get("/api/channels?at_lest=1").await.problem(400, "bad_query");
    let behind = owner.get("/api/channels?at_least=18446744073709551615").await;
    behind.problem(409, "behind");
    assert!(behind.header("retry-after").is_some());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_figures_are_told_to_anybody_at_any_time() {
    let world = World::new().await;
    let nobody = world.nobody();
    assert_eq!(nobody.get("/livez").await.json(200)["status"], "alive");
    let ready = nobody.get("/readyz").await.json(200);
    assert_eq!(
        (&ready["status"], &ready["set_up"], &ready["writable"]),
        (&json!("ready"), &json!(false), &json!(true))
    );
    let document = nobody.get("/api/openapi.json").await.json(200);
    assert_eq!(document["openapi"], "3.1.0");
    let owner = world.owner().await;
    owner.get("/api/nothing").await.problem(404, "not_found");
    let figures = nobody.get("/metrics").await;
    assert_eq!(figures.status, 200);
    assert!(figures.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    for figure in [
        "scrollback_head_offset",
        "scrollback_users",
        "scrollback_streams_open",
        "scrollback_texts_to_erase",
        "process_resident_memory_bytes",
        "scrollback_problems_total{code=\"not_found\"}",
        "scrollback_batches_total",
        "scrollback_records_total",
    ] {
        assert!(figures.text().contains(figure), "{figure} is missing in\n{}", figures.text());
    }
    let page = nobody.get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("/api/openapi.json"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_with_a_listener_of_their_own_are_nowhere_else() {
    let world = World::with(|settings| settings.metrics_listen = Some("127.0.0.1:9".parse().unwrap())).await;
    world.nobody().get("/metrics").await.problem(404, "not_found");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let calls = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let front = Front::of(Arc::clone(&world.server));
    let serving = tokio::spawn(super::super::serve(front, calls, None, Some(listener)));
    let figures = Somebody { address, ..world.nobody() };
    assert_eq!(figures.get("/metrics").await.status, 200);
    figures.get("/livez").await.problem(404, "not_found");
    figures.get("/api/boot").await.problem(503, "setup_required");
    world.stop.send_replace(true);
    serving.await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nearly_full_disk_stops_writes_but_neither_reads_nor_logging_out() {
    // Between half of the mark and the mark, whatever the disk.
    let free = crate::space::Space::new(std::env::temp_dir(), 0).free_bytes().unwrap();
    let world = World::with(|settings| settings.storage.free_bytes_min = free / 10).await;
    let owner = world.owner().await;
    let channel = text(&owner.create_channel("talk").await, "id");
    let token = text(&owner.post("/api/tokens", &json!({"label": "x"})).await.json(201), "token");
    let dir = world.node.settings.data.clone();
    world.stop.send_replace(true);
    world.serving.await.unwrap();
    drop(world.server);
    world.node.close().unwrap();
    drop(world.node);

    let mut settings = Settings { data: dir, ..Settings::default() };
    settings.storage.free_bytes_min = free + free / 2;
    let node = Arc::new(Node::open(settings, world.clock.clone(), &mut |_| {}).unwrap());
    let (stop, stopping) = watch::channel(false);
    let server = Server::new(Arc::clone(&node), stopping, Handle::current());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let owner = Somebody { address: listener.local_addr().unwrap(), ..owner };
    let serving = tokio::spawn(super::super::serve(Front::of(server), listener, None, None));
    let full = owner.post(&format!("/api/channels/{channel}"), &json!({"body": "x"})).await;
    full.problem(503, "disk_full");
    assert!(full.header("retry-after").is_some());
    owner.post("/api/invite", &json!({})).await.problem(503, "disk_full");
    owner.post("/api/tokens", &json!({"label": "y"})).await.problem(503, "disk_full");
    owner.get("/api/boot").await.json(200);
    let ready = owner.get("/readyz").await.json(503);
    assert_eq!((&ready["reasons"], &ready["writable"]), (&json!(["disk_full"]), &json!(false)));
    let program = Somebody { token, ..owner.clone() };
    program.post("/api/auth/logout", &json!({})).await.nothing(204);
    program.get("/api/auth/me").await.problem(401, "unauthenticated");
    stop.send_replace(true);
    serving.await.unwrap();
    node.close().unwrap();
}
