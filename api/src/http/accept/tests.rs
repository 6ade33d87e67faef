use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::http::handoff::Handoff;
use crate::settings::ConnectionLimits;
use crate::streams::tests::client::{Client, PATIENCE};

/// A server whose paths do what tests need, and what it did.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) stopping: watch::Sender<bool>,
    pub(crate) served: Arc<AtomicUsize>,
    /// Lets a request to `/wait` go on.
    go_on: Arc<Notify>,
    pub(crate) server: JoinHandle<Drained>,
}

pub(crate) const LARGE_BYTES: usize = 8 << 20;

async fn serve(settings: Settings) -> Served {
    serve_by(None, settings).await
}

/// The same, inside TLS if there is `tls`.
pub(crate) async fn serve_by(tls: Option<Arc<Tls>>, settings: Settings) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stopping, stop) = watch::channel(false);
    let served = Arc::new(AtomicUsize::new(0));
    let go_on = Arc::new(Notify::new());
    let (count, notify) = (Arc::clone(&served), Arc::clone(&go_on));
    let answer = move |request: Request<Incoming>| {
        let notify = Arc::clone(&notify);
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            let peer = request.extensions().get::<Peer>().expect("where it comes from");
            assert!(peer.0.ip().is_loopback());
            let mut response = Response::new(request.uri().path().to_owned().into());
            match request.uri().path() {
                "/wait" => notify.notified().await,
                "/large" => response = Response::new(vec![b'x'; LARGE_BYTES].into()),
                "/stream" => Handoff::new(|Opened { mut socket, mut head, .. }| {
                    Box::pin(async move {
                        use tokio::io::AsyncWriteExt;
                        head.extend_from_slice(b"3\r\nabc\r\n0\r\n\r\n");
                        let _ = socket.write_all(&head).await;
                    })
                })
                .attach(&mut response),
                _ => {}
            }
            Ok::<_, Infallible>(response)
        }
    };
    let service = hyper::service::service_fn(answer);
    let server = tokio::spawn(async move {
        super::serve(listener, service, &settings, tls, stop, &Handle::current()).await
    });
    Served { address, stopping, served, go_on, server }
}

pub(crate) fn settings(change: impl FnOnce(&mut ConnectionLimits)) -> Settings {
    let mut settings = Settings::default();
    change(&mut settings.connections);
    settings
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")
}

/// The problem that a request alone on a connection gets, after which the connection must end.
async fn refusal(served: &Served, request: &str) -> (u16, String) {
    let mut client = Client::connect(served.address).await;
    let answer = client.ask(request).await.expect("an answer");
    let problem = answer.problem();
    assert_eq!(answer.field("connection"), Some("close"), "{request:?}");
    assert_eq!(client.rest().await, b"", "{request:?}");
    problem
}

pub(crate) fn problem(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_order() {
    let served = serve(Settings::default()).await;
    let mut client = Client::connect(served.address).await;
    client.send([get("/1"), get("/2")].concat()).await;
    for path in ["/1", "/2"] {
        assert_eq!(client.answer().await.unwrap().body, path.as_bytes());
    }
    assert_eq!(client.ask(get("/3")).await.unwrap().body, b"/3");
}

#[tokio::test]
async fn what_cannot_be_a_request_is_told_so_as_a_problem() {
    let served = serve(Settings::default()).await;
    for request in [
        "garbage\r\n\r\n",
        "GET / HTTP/9.9\r\nhost: test\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : test\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: te\0st\r\n\r\n",
        "G\x01T / HTTP/1.1\r\nhost: test\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: one\r\nhost: two\r\n\r\n",
        "GET / HTTP/1.1\nhost: test\n\n",
        "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: x\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: gzip\r\n\r\n",
        "POST / HTTP/1.0\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n",
    ] {
        assert_eq!(refusal(&served, request).await, problem(400, "bad_request"), "{request:?}");
    }
    assert_eq!(served.served.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_told_so_as_a_problem() {
    let served = serve(Settings::default()).await;
    let long = |bytes: usize| format!("GET /{} HTTP/1.1\r\nhost: test\r\n\r\n", "x".repeat(bytes));
    let many = |fields: usize| format!("GET / HTTP/1.1\r\nhost: test\r\n{}\r\n", "a: b\r\n".repeat(fields));
    for request in [long(17_000), long(70_000), long(600_000), many(100)] {
        assert_eq!(
            refusal(&served, &request).await,
            problem(431, "head_too_large"),
            "{} bytes",
            request.len()
        );
    }
    assert_eq!(served.served.load(Ordering::SeqCst), 0);
    for request in [long(16_000), many(99)] {
        assert_eq!(Client::connect(served.address).await.ask(request).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn no_second_request_gets_through_in_the_body_of_another() {
    let served = serve(Settings::default()).await;
    let smuggled = get("/smuggled");
    let requests = [
        format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
            5 + smuggled.len()
        ),
        format!(
            "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n{smuggled}"
        ),
        format!(
            "POST / HTTP/1.1\r\nhost: test\r\nx: y\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
        ),
        format!("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("GET / HTTP/1.1\r\nhost: test\r\n\r\n{}", smuggled.replace("\r\n", "\n")),
    ];
    for request in requests {
        let mut client = Client::connect(served.address).await;
        client.send(&request).await;
        let all = String::from_utf8(client.rest().await).unwrap();
        assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{request:?} got {all:?}");
        assert!(!all.contains("/smuggled"), "{request:?} got {all:?}");
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_and_a_silent_connection_are_ended() {
    let head_timeout = Duration::from_millis(200);
    let served = serve(settings(|limits| limits.head_timeout = head_timeout)).await;
    let mut slow = Client::connect(served.address).await;
    slow.send("GET / HTTP/1.1\r\nhost").await;
    let answer = slow.answer().await.unwrap();
    assert_eq!(answer.problem(), problem(408, "head_timeout"));
    assert_eq!(slow.rest().await, b"");
    assert_eq!(
        Client::connect(served.address).await.rest().await,
        b"",
        "it was told nothing, having asked nothing"
    );
    // One that has sent a request may lie idle for longer than that.
    let mut used = Client::connect(served.address).await;
    used.ask(get("/")).await.unwrap();
    tokio::time::sleep(3 * head_timeout).await;
    assert_eq!(used.ask(get("/again")).await.unwrap().body, b"/again");
    // And the head after it has its own time.
    used.send("GET").await;
    assert_eq!(used.answer().await.unwrap().status, 408);
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_cut_off() {
    let mut settings = Settings::default();
    settings.streams.write_timeout = Duration::from_millis(200);
    let served = serve(settings).await;
    let mut client = Client::connect(served.address).await;
    client.send(get("/large")).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert!(client.rest().await.len() < LARGE_BYTES, "it was sent all the same");
    let mut reads = Client::connect(served.address).await;
    assert_eq!(reads.ask(get("/large")).await.unwrap().body.len(), LARGE_BYTES);
}

#[tokio::test]
async fn a_handed_off_connection_first_gets_the_answers_before_it() {
    let served = serve(Settings::default()).await;
    let mut client = Client::connect(served.address).await;
    client.send([get("/large"), get("/stream"), get("/after")].concat()).await;
    assert_eq!(client.answer().await.unwrap().body.len(), LARGE_BYTES);
    let head = client.answer().await.unwrap();
    assert_eq!((head.status, head.field("transfer-encoding")), (200, Some("chunked")));
    assert_eq!(client.rest().await, b"3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(served.served.load(Ordering::SeqCst), 2, "what follows a stream is not a request");
}

#[tokio::test]
async fn one_address_has_no_more_than_its_number_of_connections() {
    let served = serve(settings(|limits| limits.per_address_max = Some(1))).await;
    let mut first = Client::connect(served.address).await;
    first.ask(get("/")).await.unwrap();
    let second = Client::connect(served.address).await.answer().await.unwrap();
    assert_eq!((second.problem(), second.field("retry-after")), (problem(429, "rate_limited"), Some("5")));
    drop(first);
    let again = async {
        while Client::connect(served.address)
            .await
            .ask(get("/"))
            .await
            .is_none_or(|answer| answer.status != 200)
        {}
    };
    timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn connections_beyond_the_total_wait_until_one_ends() {
    let served = serve(settings(|limits| limits.total_max = 1)).await;
    let mut first = Client::connect(served.address).await;
    first.ask(get("/")).await.unwrap();
    let mut second = Client::connect(served.address).await;
    second.send(get("/second")).await;
    assert!(
        timeout(Duration::from_millis(300), second.answer()).await.is_err(),
        "it was served beside the first"
    );
    drop(first);
    assert_eq!(second.answer().await.unwrap().body, b"/second");
}

#[tokio::test]
async fn a_stop_ends_idle_connections_lets_requests_finish_and_takes_no_new_ones() {
    let served = serve(Settings::default()).await;
    let mut idle = Client::connect(served.address).await;
    idle.ask(get("/")).await.unwrap();
    let silent = Client::connect(served.address).await;
    let mut busy = Client::connect(served.address).await;
    busy.send(get("/wait")).await;
    while served.served.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    served.stopping.send_replace(true);
    assert_eq!(idle.rest().await, b"");
    assert_eq!(silent.rest().await, b"");
    served.go_on.notify_one();
    assert_eq!(busy.answer().await.unwrap().body, b"/wait");
    assert_eq!(busy.rest().await, b"");
    assert_eq!(served.server.await.unwrap(), Drained { cut: 0 });
    assert!(TcpStream::connect(served.address).await.is_err(), "it still accepts");
}

#[tokio::test]
async fn a_request_that_does_not_finish_is_cut_when_the_drain_is_over() {
    let served = serve(Settings { drain_timeout: Duration::from_millis(100), ..Settings::default() }).await;
    let mut busy = Client::connect(served.address).await;
    busy.send(get("/wait")).await;
    while served.served.load(Ordering::SeqCst) < 1 {
        tokio::task::yield_now().await;
    }
    served.stopping.send_replace(true);
    assert_eq!(served.server.await.unwrap(), Drained { cut: 1 });
    assert_eq!(busy.rest().await, b"");
}
