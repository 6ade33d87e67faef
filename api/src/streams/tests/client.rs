//! A client that speaks HTTP byte by byte, so that tests see what is really sent.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than anything that is waited for takes, so that a test that fails does not hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What bytes go through both ways.
pub(crate) trait Pipe: AsyncRead + AsyncWrite + Send + Unpin {}
impl<P: AsyncRead + AsyncWrite + Send + Unpin> Pipe for P {}

/// A connection.
pub(crate) struct Client {
    socket: Box<dyn Pipe>,
    /// What was read and not yet taken.
    pub(crate) bytes: Vec<u8>,
    /// Whether the connection ended without the other side having said so.
    pub(crate) cut: bool,
}

/// The head of an answer, and its body if it has a length.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// One frame of a stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) id: Option<String>,
    pub(crate) kind: String,
    pub(crate) retry: Option<u64>,
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let of = |line: &'_ str| line.split_once(": ").map(|(name, _)| name.to_owned());
        let line =
            self.head.lines().find(|line| of(line).is_some_and(|found| found.eq_ignore_ascii_case(name)))?;
        Some(line.split_once(": ")?.1)
    }

    /// The code of the problem that this answer must be.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.field("content-type"), Some("application/problem+json"), "{self:?}");
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(body["status"], self.status);
        (self.status, body["code"].as_str().unwrap().to_owned())
    }
}

impl Client {
    pub(crate) async fn connect(server: SocketAddr) -> Client {
        Client::on(TcpStream::connect(server).await.unwrap())
    }

    /// A client on a connection that is there.
    pub(crate) fn on(socket: impl Pipe + 'static) -> Client {
        Client { socket: Box::new(socket), bytes: Vec::new(), cut: false }
    }

    pub(crate) async fn send(&mut self, request: impl AsRef<[u8]>) {
        self.socket.write_all(request.as_ref()).await.unwrap();
    }

    /// Reads once more; false at the end of the connection, however it came.
    pub(crate) async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.socket.read_buf(&mut self.bytes)).await.expect("nothing came");
        self.cut |= read.is_err();
        read.is_ok_and(|read| read > 0)
    }

    /// Reads to the end of the connection and gives all that came.
    pub(crate) async fn rest(mut self) -> Vec<u8> {
        while self.more().await {}
        self.bytes
    }

    /// The next answer; none if the connection ends instead.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(end) = self.bytes.windows(4).position(|at| at == b"\r\n\r\n") {
                break end + 4;
            }
            if !self.more().await {
                return None;
            }
        };
        let head = String::from_utf8(self.bytes.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length: usize = answer.field("content-length").map_or(0, |length| length.parse().unwrap());
        while self.bytes.len() < length {
            assert!(self.more().await, "a body that is too short");
        }
        answer.body = self.bytes.drain(..length).collect();
        Some(answer)
    }

    pub(crate) async fn ask(&mut self, request: impl AsRef<[u8]>) -> Option<Answer> {
        self.send(request).await;
        self.answer().await
    }
}

/// An open stream.
pub(crate) struct Stream {
    pub(crate) client: Client,
    pub(crate) head: Answer,
    text: Vec<u8>,
    /// How much of the text was taken.
    taken: usize,
    over: bool,
}

impl Stream {
    /// Opens `GET /api/events` with this query and these further header lines.
    pub(crate) async fn open(server: SocketAddr, query: &str, lines: &str) -> Stream {
        Stream::on(Client::connect(server).await, query, lines).await
    }

    /// The same on a connection that is there.
    pub(crate) async fn on(mut client: Client, query: &str, lines: &str) -> Stream {
        let request = format!("GET /api/events{query} HTTP/1.1\r\nhost: test\r\n{lines}\r\n");
        let head = client.ask(request).await.expect("no answer");
        assert_eq!(head.status, 200, "{head:?}");
        Stream { client, head, text: Vec::new(), taken: 0, over: false }
    }

    /// The next frame; none at the end of the body or of the connection.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        Some(parse(&self.next_text().await?))
    }

    /// The next frame's text.
    pub(crate) async fn next_text(&mut self) -> Option<String> {
        loop {
            // A chunk ends with a whole frame, so this is UTF-8; searching text is quick even without optimisation.
            let left = std::str::from_utf8(&self.text[self.taken..]).unwrap();
            if let Some(end) = left.find("\n\n") {
                self.taken += end + 2;
                return Some(left[..end + 2].to_owned());
            }
            self.text.drain(..std::mem::take(&mut self.taken));
            if self.over || !self.chunk().await {
                assert!(self.text.is_empty(), "a frame without an end: {:?}", self.text);
                return None;
            }
        }
    }

    /// Takes one chunk off the connection.
    async fn chunk(&mut self) -> bool {
        loop {
            if let Some(line) = self.client.bytes.windows(2).position(|at| at == b"\r\n") {
                let size = std::str::from_utf8(&self.client.bytes[..line]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                let end = line + 2 + size;
                if self.client.bytes.len() >= end + 2 {
                    self.text.extend_from_slice(&self.client.bytes[line + 2..end]);
                    assert_eq!(&self.client.bytes[end..end + 2], b"\r\n");
                    self.client.bytes.drain(..end + 2);
                    self.over = size == 0;
                    return !self.over;
                }
            }
            if !self.client.more().await {
                return false;
            }
        }
    }

    /// Whether the body was ended as HTTP wants it, and not by the connection's end.
    pub(crate) fn ended_well(&self) -> bool {
        self.over
    }

    /// The next frame, which must be of this type.
    pub(crate) async fn expect(&mut self, kind: &str) -> Frame {
        let frame = self.next().await.unwrap_or_else(|| panic!("the stream ended before {kind}"));
        assert_eq!(frame.kind, kind, "{frame:?}");
        frame
    }

    /// Frames up to and with the first of this type.
    pub(crate) async fn until(&mut self, kind: &str) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await.unwrap_or_else(|| panic!("the stream ended before {kind}"));
            let last = frame.kind == kind;
            frames.push(frame);
            if last {
                return frames;
            }
        }
    }
}

fn parse(text: &str) -> Frame {
    let mut frame = Frame { id: None, kind: String::new(), retry: None, json: Value::Null };
    for line in text.trim_end().lines() {
        let (field, value) = line.split_once(": ").unwrap();
        match field {
            "id" => frame.id = Some(value.to_owned()),
            "event" => frame.kind = value.to_owned(),
            "retry" => frame.retry = Some(value.parse().unwrap()),
            "data" => frame.json = serde_json::from_str(value).unwrap(),
            other => panic!("a field {other:?}"),
        }
    }
    assert_eq!(frame.json["type"], frame.kind.as_str(), "the event field is the type");
    frame
}
