use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper_util::service::TowerToHyperService;
use rand::RngExt;
use scrollback_log::Offset;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use warp::Filter;

use super::client::{Client, Frame, PATIENCE, Stream};
use super::{CHANNEL, OWNER, World, limits, said};
use crate::http::accept::{self, Drained};
use crate::http::query::Query;
use crate::http::tls_tests::Paper;
use crate::settings::{Settings, StreamLimits};
use crate::streams::{Position, Reader, Streams, http};

/// More than what the system's buffers of one connection can hold.
const LARGE_BYTES: usize = 32 << 20;

/// A server of nothing but the stream of a world, and of one answer with a large head.
struct Served {
    world: Arc<World>,
    streams: Arc<Streams>,
    address: SocketAddr,
    reader: Arc<Live>,
    server: JoinHandle<Drained>,
    /// What it proves with who it is, if it is inside TLS.
    paper: Option<Paper>,
}

impl Served {
    async fn connect(&self) -> Client {
        match &self.paper {
            None => Client::connect(self.address).await,
            Some(paper) => paper.connect(self.address).await,
        }
    }

    async fn open(&self, query: &str) -> Stream {
        Stream::on(self.connect().await, query, "").await
    }
}

/// Whether it lives, and how often it was touched.
struct Live(AtomicBool, AtomicUsize);

impl Reader for Live {
    fn is_live(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn touch(&self) {
        self.1.fetch_add(1, Ordering::AcqRel);
    }

    fn user(&self) -> Offset {
        OWNER
    }
}

async fn serve(world: World, limits: StreamLimits) -> Served {
    serve_by(None, world, limits).await
}

/// The same plain and inside TLS.
async fn serve_both_ways(world: impl Fn() -> World, limits: StreamLimits) -> [Served; 2] {
    [serve(world(), limits.clone()).await, serve_by(Some(Paper::new()), world(), limits).await]
}

async fn serve_by(paper: Option<Paper>, world: World, limits: StreamLimits) -> Served {
    let world = Arc::new(world);
    let streams = world.streams(limits.clone());
    let reader = Arc::new(Live(AtomicBool::new(true), AtomicUsize::new(0)));
    let (shared, identity) = (Arc::clone(&streams), Arc::clone(&reader));
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let events = warp::path!("api" / "events").and(query).and(warp::header::headers_cloned()).then(
        move |query: String, headers: ::http::HeaderMap| {
            let (streams, reader) = (Arc::clone(&shared), Arc::clone(&identity));
            async move {
                let answer = http::events(streams, reader, Query::parse(&query).unwrap(), &headers).await;
                answer.unwrap_or_else(crate::http::problem::Problem::into_response)
            }
        },
    );
    let large = warp::path!("large").map(|| {
        let mut answer = warp::reply::Response::default();
        let large = ::http::HeaderValue::from_bytes(&vec![b'x'; LARGE_BYTES]).unwrap();
        answer.headers_mut().insert("x-large", large);
        answer
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = Settings { streams: limits, drain_timeout: Duration::from_secs(5), ..Settings::default() };
    let stopping = world.stopping.subscribe();
    let tls = paper.as_ref().map(Paper::tls);
    let server = tokio::spawn(async move {
        let service = TowerToHyperService::new(warp::service(events.or(large).unify()));
        accept::serve(listener, service, &settings, tls, stopping, &Handle::current()).await
    });
    Served { world, streams, address, reader, server, paper }
}

/// Waits until something has become true.
async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let wait = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn offsets(frames: &[Frame]) -> Vec<u64> {
    let events = frames.iter().filter(|frame| frame.json["event"].is_string());
    events.map(|frame| frame.json["offset"].as_u64().unwrap()).collect()
}

fn head(world: &World) -> Position {
    Position::from(world.log.head())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_says_hello_shows_the_past_says_that_it_is_live_and_goes_on() {
    let served = serve(World::new(1 << 20), limits()).await;
    let mut stream = Stream::open(served.address, "?resume_point=2", "").await;
    for (field, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
    ] {
        assert_eq!(stream.head.field(field), Some(value), "{}", stream.head.head);
    }
    let frames = stream.until("caught_up").await;
    let token = Position { offset: Offset(2), tag: served.world.log.tag_at(Offset(2)).unwrap().unwrap() };
    assert_eq!(
        frames[0].json,
        json!({"type": "hello", "resume": "ok", "head": 3, "resume_token": token.to_string(), "heartbeat": 15})
    );
    assert!((1000..=8000).contains(&frames[0].retry.unwrap()), "{frames:?}");
    assert_eq!(offsets(&frames), [3]);
    assert_eq!(frames[1].id, Some(head(&served.world).to_string()));
    assert_eq!(frames[2].json, json!({"type": "caught_up", "offset": 3}));
    for n in 0..20 {
        let offset = served.world.say(CHANNEL, &format!("live {n}"));
        let frame = stream.expect("message").await;
        assert_eq!(
            (frame.json["offset"].as_u64(), frame.json["body"].as_str()),
            (Some(offset.0), Some(&*format!("live {n}")))
        );
    }
}

#[tokio::test]
async fn an_old_client_gets_the_stream_without_chunks() {
    let served = serve(World::new(1 << 20), limits()).await;
    let mut client = Client::connect(served.address).await;
    let head = client.ask("GET /api/events HTTP/1.0\r\n\r\n").await.unwrap();
    assert!(head.head.starts_with("HTTP/1.0 200 OK\r\n"), "{}", head.head);
    assert_eq!(head.field("transfer-encoding"), None);
    served.world.stopping.send_replace(true);
    let text = String::from_utf8(client.rest().await).unwrap();
    assert!(text.starts_with("retry: ") && text.ends_with("\n\n"), "{text:?}");
    assert!(text.contains("event: caught_up\n") && text.contains("event: bye\n"), "{text:?}");
}

#[tokio::test]
async fn a_client_of_another_history_gets_nothing_but_heartbeats() {
    let heartbeat = Duration::from_millis(20);
    let served = serve(World::new(1 << 20), StreamLimits { heartbeat, ..limits() }).await;
    for (point, resume) in [("99", "ahead"), ("2-ffffffff", "other_history")] {
        let mut stream = Stream::open(served.address, "", &format!("last-event-id: {point}\r\n")).await;
        let hello = stream.expect("hello").await;
        assert_eq!(
            hello.json,
            json!({"type": "hello", "resume": resume, "head": served.world.head().0, "resume_token": null, "heartbeat": 1})
        );
        assert_eq!(hello.retry, Some(60_000));
        served.world.say(CHANNEL, "not for this client");
        for _ in 0..3 {
            stream.expect("heartbeat").await;
        }
    }
}

#[tokio::test]
async fn an_open_stream_is_a_use_of_its_session_at_every_heartbeat() {
    let heartbeat = Duration::from_millis(20);
    let served = serve(World::new(1 << 20), StreamLimits { heartbeat, ..limits() }).await;
    let mut stream = Stream::open(served.address, "", "").await;
    for heartbeats in 1..4 {
        stream.until("heartbeat").await;
        assert!(served.reader.1.load(Ordering::Acquire) >= heartbeats);
    }
}

#[tokio::test]
async fn a_reader_that_is_shown_nothing_is_told_where_it_stands() {
    let heartbeat = Duration::from_millis(500);
    let served = serve(World::new(1 << 20), StreamLimits { heartbeat, ..limits() }).await;
    let mut stream = Stream::open(served.address, "?type=user&resume_point=now", "").await;
    stream.until("caught_up").await;
    let first = served.world.say(CHANNEL, "one");
    let frames = stream.until("heartbeat").await;
    let checkpoint = frames.iter().find(|frame| frame.kind == "checkpoint").unwrap();
    assert_eq!(checkpoint.json, json!({"type": "checkpoint", "offset": first.0}));
    assert_eq!(checkpoint.id, Some(head(&served.world).to_string()));
    // Before the next heartbeat, if there is much that it is not shown.
    served.world.write((0..300).map(|n| said(CHANNEL, &n.to_string())).collect());
    let frames = stream.until("checkpoint").await;
    assert_eq!(frames.last().unwrap().id, Some(head(&served.world).to_string()));
}

#[tokio::test]
async fn a_revoked_reader_is_told_so_and_where_it_stood() {
    let served = serve(World::new(1 << 20), limits()).await;
    let mut stream = Stream::open(served.address, "", "").await;
    stream.until("caught_up").await;
    served.world.revocations.send_modify(|count| *count += 1);
    served.world.say(CHANNEL, "somebody else was revoked");
    stream.expect("message").await;
    served.reader.0.store(false, Ordering::Release);
    let stood = head(&served.world);
    served.world.revocations.send_modify(|count| *count += 1);
    let bye = stream.expect("bye").await;
    let wanted = json!({"type": "bye", "reason": "revoked", "code": "unauthenticated", "offset": stood.offset.0, "resume_token": stood.to_string()});
    assert_eq!((bye.json, stream.next().await, stream.ended_well()), (wanted, None, true));
    let mut late = Stream::open(served.address, "", "").await;
    late.expect("hello").await;
    assert_eq!(late.expect("bye").await.json["reason"], "revoked", "revoked between log-in and stream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_says_goodbye_to_every_stream_and_ends() {
    let served = serve(World::new(1 << 20), limits()).await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        let mut stream = Stream::open(served.address, "", "").await;
        stream.until("caught_up").await;
        streams.push(stream);
    }
    served.world.stopping.send_replace(true);
    for stream in &mut streams {
        let bye = stream.expect("bye").await;
        assert_eq!(
            (&bye.json["reason"], &bye.json["resume_token"]),
            (&json!("shutdown"), &json!(head(&served.world).to_string()))
        );
        assert_eq!((stream.next().await, stream.ended_well()), (None, true));
    }
    assert_eq!(served.server.await.unwrap(), Drained { cut: 0 });
    assert!(tokio::net::TcpStream::connect(served.address).await.is_err(), "it still accepts");
}

#[tokio::test]
async fn a_log_that_takes_no_more_writes_ends_streams() {
    let served = serve(World::new(1 << 20), limits()).await;
    let mut stream = Stream::open(served.address, "", "").await;
    stream.until("caught_up").await;
    served.world.storage_failed.send_replace(true);
    assert_eq!(stream.expect("bye").await.json["reason"], "storage");
    assert_eq!((stream.next().await, stream.ended_well()), (None, true));
}

#[tokio::test]
async fn a_stream_ends_at_damage_with_the_place_before_it() {
    let world = World::new(0);
    for n in 0..200 {
        world.say(CHANNEL, &format!("{n} {}", "x".repeat(4000)));
    }
    let (chunk, _) = world.disk.chunks().into_iter().rfind(|(first, _)| first.0 <= 100).unwrap();
    world.disk.damage(chunk, |bytes| bytes[40] ^= 1);
    let served = serve(world, limits()).await;
    for _ in 0..2 {
        let mut stream = Stream::open(served.address, "", "").await;
        let frames = stream.until("bye").await;
        let bye = &frames.last().unwrap().json;
        let shown = offsets(&frames);
        assert_eq!(
            (bye["reason"].as_str(), bye["offset"].as_u64()),
            (Some("damaged"), shown.last().copied())
        );
        assert_eq!(shown, (2..chunk.0).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn an_answer_before_a_stream_on_its_connection_comes_whole() {
    for served in serve_both_ways(|| World::new(1 << 20), limits()).await {
        // The stream ends as soon as it has begun, and the connection with it.
        served.reader.0.store(false, Ordering::Release);
        let mut client = served.connect().await;
        // Behind a body that it has not asked for the HTTP server goes on to the next request before its answer is written.
        let large = "GET /large HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n-";
        client.send(format!("{large}GET /api/events HTTP/1.1\r\nhost: test\r\n\r\n")).await;
        let came = String::from_utf8(client.rest().await).unwrap();
        let (answer, stream) = came.split_once("\r\n\r\n").unwrap();
        let large = answer.lines().find_map(|line| line.strip_prefix("x-large: ")).unwrap();
        assert_eq!(large.bytes().filter(|byte| *byte == b'x').count(), LARGE_BYTES);
        assert!(stream.starts_with("HTTP/1.1 200 OK\r\n") && stream.contains("event: bye\n"), "{stream}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_is_ended_and_harms_nobody() {
    let write_timeout = Duration::from_secs(2);
    let limits = StreamLimits { write_timeout, ..limits() };
    for served in serve_both_ways(|| World::new(1 << 20), limits).await {
        let mut quick = served.open("?resume_point=now").await;
        quick.until("caught_up").await;
        let mut stuck = served.open("?resume_point=now").await;
        stuck.until("caught_up").await;
        let open = served.streams.open();
        assert_eq!(open, 2);
        let body = "x".repeat(60 << 10);
        let writing = {
            let world = Arc::clone(&served.world);
            // More than what the system's buffers of one connection can hold.
            tokio::task::spawn_blocking(move || {
                (0..400).map(|_| world.say(CHANNEL, &body).0).collect::<Vec<_>>()
            })
        };
        let mut got = Vec::new();
        for _ in 0..400 {
            got.push(quick.expect("message").await.json["offset"].as_u64().unwrap());
        }
        assert_eq!(got, writing.await.unwrap());
        until("the stuck stream ends", || served.streams.open() == 1).await;
        while stuck.client.more().await {}
        served.world.say(CHANNEL, "still there");
        assert_eq!(quick.expect("message").await.json["body"], "still there");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_is_noticed_while_nothing_happens() {
    for served in serve_both_ways(|| World::new(1 << 20), limits()).await {
        let mut stream = served.open("").await;
        stream.until("caught_up").await;
        assert_eq!(served.streams.open(), 1);
        stream.client.send("whatever a client says while it listens\r\n\r\n").await;
        served.world.say(CHANNEL, "it does not matter");
        stream.expect("message").await;
        drop(stream);
        until("the stream is gone", || served.streams.open() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_readers_that_join_at_any_moment_see_every_event_once() {
    const READERS: usize = 1_000;
    const LAST: &str = "the last one";
    // A ring so small that many have to begin in the log.
    let served = Arc::new(serve(World::new(100_000), limits()).await);
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let served = Arc::clone(&served);
            tokio::spawn(async move {
                let pause = Duration::from_micros(rand::random_range(0..1_500_000));
                tokio::time::sleep(pause).await;
                let known = served.world.head().0;
                let after = match reader % 4 {
                    0 => 0,
                    1 => known.saturating_sub(rand::random_range(0..50)),
                    _ => rand::random_range(0..=known),
                };
                let mut stream = Stream::open(served.address, &format!("?resume_point={after}"), "").await;
                let joined = stream.expect("hello").await.json["head"].as_u64().unwrap();
                let (mut events, mut gone) = (Vec::new(), Vec::new());
                loop {
                    // Not parsed as JSON: there are a million of them.
                    let frame = stream.next_text().await.unwrap();
                    let Some(token) = frame.strip_prefix("id: ") else { continue };
                    let offset: u64 = token.split('-').next().unwrap().parse().unwrap();
                    assert!(frame.contains(&format!("\"offset\":{offset},")), "{frame}");
                    events.push(offset);
                    if frame.contains("\"deleted_at\"") {
                        gone.push(offset);
                        assert!(frame.contains("\"body\":\"\""), "{frame}");
                    }
                    if frame.contains(LAST) {
                        return (after, joined, events, gone);
                    }
                }
            })
        })
        .collect();
    // (message, deletion)
    let mut deletions = Vec::new();
    let mut newest = Vec::new();
    for n in 0..600_u64 {
        if n % 5 == 4 {
            let at = rand::rng().random_range(0..newest.len());
            let message = newest.swap_remove(at);
            deletions.push((message, served.world.delete_message(CHANNEL, message)));
        } else {
            newest.push(served.world.say(CHANNEL, &format!("said {n} {}", "x".repeat(200))));
            newest.drain(..newest.len().saturating_sub(40));
        }
        if n % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let last = served.world.say(CHANNEL, LAST).0;
    for reader in readers {
        let (after, joined, events, gone) =
            tokio::time::timeout(4 * PATIENCE, reader).await.unwrap().unwrap();
        assert_eq!(events, (after.max(1) + 1..=last).collect::<Vec<_>>(), "after {after}");
        for (message, deletion) in &deletions {
            let in_time = deletion.0 <= joined && message.0 > after;
            assert!(!in_time || gone.contains(&message.0), "{message} was gone when the reader came");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inside_tls_a_stream_is_the_same_and_ends_as_tls_wants_it() {
    let served = serve_by(Some(Paper::new()), World::new(0), limits()).await;
    // Far more than a session holds at once, from the log.
    let body = "x".repeat(60 << 10);
    for _ in 0..20 {
        served.world.say(CHANNEL, &body);
    }
    let mut stream = served.open("").await;
    assert_eq!(stream.head.field("connection"), Some("close"));
    assert_eq!(offsets(&stream.until("caught_up").await), (2..=23).collect::<Vec<_>>());
    for n in 0..20 {
        served.world.say(CHANNEL, &format!("live {n}"));
        assert_eq!(stream.expect("message").await.json["body"], format!("live {n}"));
    }
    served.world.stopping.send_replace(true);
    assert_eq!(stream.expect("bye").await.json["reason"], "shutdown");
    assert_eq!((stream.next().await, stream.ended_well()), (None, true));
    assert!(!stream.client.more().await && !stream.client.cut, "the end was not told inside TLS");
    assert_eq!(served.server.await.unwrap(), Drained { cut: 0 });
}
