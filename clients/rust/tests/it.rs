//! The library against servers that do what a good one seldom does: lose an answer, ask to wait, fall silent.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use scrollback_client::{Boots, Client, Ended, SendError, Transport, Update};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a connection's only request is answered with; then it ends, or stays open without another word.
struct Reply {
    bytes: String,
    stays: bool,
}

impl Reply {
    fn json(status: u16, headers: &str, body: &str) -> Reply {
        let length = body.len();
        let bytes = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}");
        Reply { bytes, stays: false }
    }

    fn stream(bytes: &str, stays: bool) -> Reply {
        let bytes = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{bytes}");
        Reply { bytes, stays }
    }

    fn lost() -> Reply {
        Reply { bytes: String::new(), stays: false }
    }
}

/// A server that answers as it is told; and what it was asked.
struct Fake {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// `answer` gets each request and how many of the same path came before.
    async fn start(answer: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (noted, answer) = (Arc::clone(&asked), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                tokio::spawn(async move {
                    let request = read_request(&mut socket).await;
                    let reply = {
                        let mut noted = noted.lock().unwrap();
                        let before = noted.iter().filter(|before| path(before) == path(&request)).count();
                        noted.push(request.clone());
                        answer(&request, before)
                    };
                    // In drops, so that whatever waits for the rest is seen to lose nothing.
                    for drop in reply.bytes.as_bytes().chunks(7) {
                        if socket.write_all(drop).await.is_err() {
                            return;
                        }
                        tokio::task::yield_now().await;
                    }
                    if reply.stays {
                        let _ = socket.read(&mut [0]).await;
                    }
                });
            }
        });
        Fake { url, asked }
    }

    fn client(&self) -> Client {
        Client::new(&self.url, "token").unwrap()
    }

    fn asked(&self, path_begins: &str) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|request| path(request).starts_with(path_begins)).cloned().collect()
    }
}

fn path(request: &str) -> &str {
    request.split(' ').nth(1).unwrap_or("").split('?').next().unwrap_or("")
}

fn header<'r>(request: &'r str, name: &str) -> &'r str {
    request.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("")
}

async fn read_request(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length: usize = header(head, "content-length: ").parse().unwrap_or(0);
            if body.len() >= length {
                return text;
            }
        }
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return text;
        }
    }
}

const SENT: &str =
    r#"{"id":"M3","at":"2026-11-21T14:13:41.276219Z","channel":"C2","sender":"U1","body":"hi","offset":3}"#;

/// A boot at offset 2 with a channel.
fn boot() -> Reply {
    let body = r#"{"user":{"id":"U1","name":"ada","role":"owner"},"resume_point":2,"resume_token":"2-00000002","heartbeat":15,"users":[{"id":"U1","name":"ada","role":"owner"}],"channels":[{"id":"C2","name":"general","at":"2026-11-21T14:13:41.235916Z","private":false,"creator":"U1","last_offset":2,"offset":2}],"messages":[],"truncated":false}"#;
    Reply::json(200, "", body)
}

fn hello() -> String {
    begun(2, 15)
}

/// The first word of a stream behind this offset, whose server says so often that it lives, in seconds.
fn begun(offset: u64, heartbeat: u64) -> String {
    let data = format!(
        r#"{{"type":"hello","resume":"ok","head":{offset},"resume_token":"{offset}-0000000{offset}","heartbeat":{heartbeat}}}"#
    );
    format!("retry: 10\nevent: hello\ndata: {data}\n\n")
}

fn message(offset: u64) -> String {
    format!(
        "id: {offset}-0000000{}\nevent: message\ndata: {{\"offset\":{offset},\"at\":\"2026-11-21T14:13:41.{offset:06}Z\",\"type\":\"message\",\"event\":\"sent\",\"id\":\"M{offset}\",\"channel\":\"C2\",\"sender\":\"U1\",\"body\":\"text {offset}\"}}\n\n",
        offset % 10
    )
}

#[tokio::test]
async fn a_message_whose_answer_was_lost_is_sent_again_under_the_same_key() {
    let fake = Fake::start(|_, before| match before {
        0 => Reply::lost(),
        1 => Reply::json(503, "retry-after: 0\r\n", r#"{"code":"outcome_unknown","detail":""}"#),
        _ => Reply::json(201, "", SENT),
    })
    .await;
    assert_eq!(fake.client().send("C2", "hi").await.unwrap().offset, 3);
    let asked = fake.asked("/api/channels/C2");
    let keys: Vec<&str> = asked.iter().map(|request| header(request, "idempotency-key: ")).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys[0].len() == 32 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert!(asked.iter().all(|request| request.ends_with(r#"{"body":"hi"}"#)), "{asked:?}");
    fake.client().send("C2", "hi").await.unwrap();
    let asked = fake.asked("/api/channels/C2");
    assert_ne!(
        header(&asked[3], "idempotency-key: "),
        header(&asked[0], "idempotency-key: "),
        "a new message"
    );
}

#[tokio::test]
async fn a_message_that_is_refused_is_not_sent_again() {
    let fake = Fake::start(|_, _| Reply::json(404, "", r#"{"code":"not_found","detail":"no"}"#)).await;
    let error = fake.client().send("C2", "hi").await.unwrap_err();
    let SendError::Ended(Ended::Refused(problem)) = error else { panic!("{error:?}") };
    assert_eq!((problem.status, problem.code.as_str()), (404, "not_found"));
    assert_eq!(fake.asked("/").len(), 1);
}

#[tokio::test]
async fn a_send_ends_at_its_bound_and_tells_its_key() {
    let fake = Fake::start(|_, _| Reply::lost()).await;
    let began = Instant::now();
    let error = fake.client().send_under("C2", "hi", "my key", Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(&error, SendError::Unknown { key, .. } if key == "my key"), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(fake.asked("/").len() > 1, "it was tried again");
}

#[tokio::test]
async fn who_is_asked_to_wait_waits() {
    let fake = Fake::start(|_, before| match before {
        0 => Reply::json(503, "retry-after: 1\r\n", r#"{"code":"starting","detail":""}"#),
        _ => boot(),
    })
    .await;
    let mut follower = fake.client().follow(Transport::Sse);
    let began = Instant::now();
    let away = follower.next().await.unwrap();
    assert!(
        matches!(&away, Update::Away { retry_in, .. } if *retry_in >= Duration::from_secs(1)),
        "{away:?}"
    );
    assert_eq!(follower.next().await, Ok(Update::Booted(Boots::First)));
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_stream_that_is_silent_for_some_heartbeats_is_given_up_and_opened_where_it_was() {
    let fake = Fake::start(|request, before| match path(request) {
        "/api/boot" => boot(),
        _ if before == 0 => Reply::stream(&(begun(2, 1) + &message(3)), true),
        _ => Reply::stream(&(hello() + &message(4)), true),
    })
    .await;
    let mut follower = fake.client().follow(Transport::Sse);
    let mut away = Vec::new();
    while follower.state().is_none_or(|state| state.offset() < 4) {
        if let Update::Away { why, .. } = follower.next().await.unwrap() {
            away.push(why.what);
        }
    }
    assert_eq!(away, ["the stream is silent"]);
    let asked = fake.asked("/api/events");
    assert!(asked[0].contains("?resume_point=2-00000002 "), "{}", asked[0]);
    assert!(asked[1].contains("?resume_point=3-00000003 "), "{}", asked[1]);
}

#[tokio::test]
async fn waiting_may_be_dropped_at_any_time_and_nothing_is_lost_or_seen_twice() {
    const LAST: u64 = 60;
    let fake = Fake::start(|request, before| match path(request) {
        "/api/boot" => boot(),
        // The second time some come again, which a good server does not do.
        _ if before == 0 => Reply::stream(&(hello() + &(3..40).map(message).collect::<String>()), false),
        _ => Reply::stream(&(hello() + &(30..=LAST).map(message).collect::<String>()), true),
    })
    .await;
    let mut follower = fake.client().follow(Transport::Sse);
    let (mut seen, mut dropped) = (Vec::new(), 0);
    while seen.last() != Some(&LAST) {
        // Polled a few times only, wherever it is by then.
        let polls = std::cell::Cell::new(0);
        let mut next = std::pin::pin!(follower.next());
        let update = std::future::poll_fn(|context| {
            let polled = next.as_mut().poll(context);
            polls.set(polls.get() + 1);
            match polled {
                std::task::Poll::Ready(update) => std::task::Poll::Ready(Some(update)),
                std::task::Poll::Pending if polls.get() > 4 => std::task::Poll::Ready(None),
                std::task::Poll::Pending => std::task::Poll::Pending,
            }
        });
        match update.await {
            Some(update) => {
                if let Update::Event(event) = update.unwrap() {
                    seen.push(event.offset);
                }
            }
            None => dropped += 1,
        }
    }
    assert_eq!(seen, (3..=LAST).collect::<Vec<_>>());
    let known = follower.state().unwrap();
    assert_eq!(known.messages("C2").count(), seen.len());
    assert!(dropped > 0, "it was never dropped");
}

#[tokio::test]
async fn who_is_no_user_any_more_is_told_so_for_good() {
    let fake = Fake::start(|request, _| match path(request) {
        "/api/boot" => boot(),
        _ => Reply::json(401, "", r#"{"code":"unauthenticated","detail":""}"#),
    })
    .await;
    for transport in [Transport::Sse, Transport::Poll, Transport::WebSocket] {
        let mut follower = fake.client().follow(transport);
        assert_eq!(follower.next().await, Ok(Update::Booted(Boots::First)));
        for _ in 0..2 {
            assert_eq!(follower.next().await, Err(Ended::Unauthenticated), "{transport:?}");
        }
        assert_eq!(follower.close().await.unwrap().offset(), 2, "what is known stays");
    }
}
