//! A server that answers each request as a test says.

use std::sync::{Arc, Mutex};

use scrollback_client::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a connection's only request is answered with; then it ends, or stays open without another word.
pub(crate) struct Reply {
    pub(crate) bytes: String,
    pub(crate) stays: bool,
}

impl Reply {
    pub(crate) fn json(status: u16, headers: &str, body: &str) -> Reply {
        let length = body.len();
        let bytes = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}");
        Reply { bytes, stays: false }
    }

    pub(crate) fn stream(bytes: &str, stays: bool) -> Reply {
        let bytes = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{bytes}");
        Reply { bytes, stays }
    }

    pub(crate) fn lost() -> Reply {
        Reply { bytes: String::new(), stays: false }
    }
}

/// A server that answers as it is told; and what it was asked.
pub(crate) struct Fake {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// `answer` gets each request and how many of the same path came before.
    pub(crate) async fn start(answer: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Fake {
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

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url, "token").unwrap()
    }

    pub(crate) fn asked(&self, path_begins: &str) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|request| path(request).starts_with(path_begins)).cloned().collect()
    }
}

pub(crate) fn path(request: &str) -> &str {
    request.split(' ').nth(1).unwrap_or("").split('?').next().unwrap_or("")
}

pub(crate) fn header<'r>(request: &'r str, name: &str) -> &'r str {
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

/// A boot at offset 2 with a channel.
pub(crate) fn boot() -> Reply {
    let body = r#"{"user":{"id":"U1","name":"ada","role":"owner"},"resume_point":2,"resume_token":"2-00000002","heartbeat":15,"users":[{"id":"U1","name":"ada","role":"owner"}],"channels":[{"id":"C2","name":"general","at":"2026-11-21T14:13:41.235916Z","private":false,"creator":"U1","last_offset":2,"offset":2}],"messages":[],"truncated":false}"#;
    Reply::json(200, "", body)
}

pub(crate) fn hello() -> String {
    begun(2, 15)
}

/// The first word of a stream behind this offset, whose server says so often that it lives, in seconds.
pub(crate) fn begun(offset: u64, heartbeat: u64) -> String {
    let data = format!(
        r#"{{"type":"hello","resume":"ok","head":{offset},"resume_token":"{offset}-0000000{offset}","heartbeat":{heartbeat}}}"#
    );
    format!("retry: 10\nevent: hello\ndata: {data}\n\n")
}

pub(crate) fn message(offset: u64) -> String {
    format!(
        "id: {offset}-0000000{}\nevent: message\ndata: {{\"offset\":{offset},\"at\":\"2026-11-21T14:13:41.{offset:06}Z\",\"type\":\"message\",\"event\":\"sent\",\"id\":\"M{offset}\",\"channel\":\"C2\",\"sender\":\"U1\",\"body\":\"text {offset}\"}}\n\n",
        offset % 10
    )
}

/// Waits for this as somebody does who gives up after a few tries; none if they did.
pub(crate) async fn impatiently<T>(waiting: impl Future<Output = T>) -> Option<T> {
    let mut polls = 0;
    let mut waiting = std::pin::pin!(waiting);
    std::future::poll_fn(|context| {
        let polled = waiting.as_mut().poll(context);
        polls += 1;
        match polled {
            std::task::Poll::Ready(came) => std::task::Poll::Ready(Some(came)),
            std::task::Poll::Pending if polls > 4 => std::task::Poll::Ready(None),
            std::task::Poll::Pending => std::task::Poll::Pending,
        }
    })
    .await
}
