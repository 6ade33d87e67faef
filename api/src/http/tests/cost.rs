use super::*;
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::Service;
#[tokio::test(flavor = "current_thread")]
#[ignore]
async fn cost() {
    let (world, owner) = World::set_up().await;
    let service = hyper_util::service::TowerToHyperService::new(warp::service(super::super::filter(
        Arc::clone(&world.server),
        super::super::Serves::Calls,
    )));
    let channel = text(&owner.create_channel("x").await, "id");
    let body = format!("{{\"body\":\"{}\"}}", "x".repeat(256));
    for (method, path, body) in [
        ("GET", "/livez".to_owned(), ""),
        ("GET", "/api/auth/me".to_owned(), ""),
        ("GET", "/nope".to_owned(), ""),
        ("POST", "/api/channels/C0000".to_owned(), &body),
        ("POST", format!("/api/channels/{channel}"), &body),
    ] {
        let mut best = f64::MAX;
        for _ in 0..400 {
            let requests: Vec<_> = (0..20)
                .map(|_| {
                    let mut r = http::Request::builder()
                        .method(method)
                        .uri(path.as_str())
                        .header("host", "127.0.0.1:1")
                        .header("authorization", format!("Bearer {}", owner.token));
                    if !body.is_empty() {
                        r = r
                            .header("content-type", "application/json")
                            .header("content-length", body.len().to_string());
                    }
                    r.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
                })
                .collect();
            let begin = std::time::Instant::now();
            for request in requests {
                std::hint::black_box(service.call(request).await.unwrap());
            }
            best = best.min(begin.elapsed().as_secs_f64() / 20.0 * 1e6);
        }
        println!("{method} {path}: {best:.2} us");
    }
    world.end().await;
}
