//! Before the server is there.

use serde_json::json;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn until_the_server_is_there_only_health_is_answered_and_then_everything_on_the_same_listener() {
    let world = World::new().await;
    let (stop, stopping) = watch::channel(false);
    let front = Front::new(Arc::clone(&world.node.settings), stopping, Handle::current());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = Somebody { address: listener.local_addr().unwrap(), ..world.nobody() };
    let serving = tokio::spawn(super::super::serve(Arc::clone(&front), listener, None, None));
    assert_eq!(nobody.get("/livez").await.json(200)["status"], "alive");
    front.replayed(scrollback_projections::Progress { at: Offset(7), head: Offset(9) });
    let told = nobody.get("/readyz").await.json(503);
    assert_eq!(told, json!({"status": "not_ready", "reasons": ["starting"], "replay": {"at": 7, "head": 9}}));
    let early = nobody.get("/api/boot").await;
    early.problem(503, "starting");
    assert_eq!(early.header("retry-after"), Some("2"));
    nobody.post("/api/setup", &json!({"name": "a", "password": "b"})).await.problem(503, "starting");
    front.open(Arc::clone(&world.server));
    assert_eq!(nobody.get("/readyz").await.json(200)["status"], "ready");
    nobody.get("/api/boot").await.problem(503, "setup_required");
    stop.send_replace(true);
    serving.await.unwrap();
    drop(front);
    world.end().await;
}
