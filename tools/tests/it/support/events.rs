//! A reader of the event stream: the chunked answer, the lines of Server-Sent Events in it, and the resume point
//! that a real client would remember.

use std::io;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Client, Request};
use super::http::{ANSWER_WAIT, Conn, Response};

/// One frame, parsed as the standard says.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) id: Option<String>,
    pub(crate) kind: String,
    pub(crate) data: String,
}

impl Frame {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error} in {:?}", self.data))
    }

    /// Whether this is an event of the log, not one that only steers the stream.
    pub(crate) fn is_event(&self) -> bool {
        self.json().get("event").is_some()
    }
}

/// Why a stream gave no frame.
#[derive(Debug)]
pub(crate) enum End {
    /// The server ended the answer.
    Closed,
    /// The connection broke.
    Broken,
    /// Nothing came in time.
    Silent,
}

/// An open stream.
pub(crate) struct Events {
    conn: Conn,
    text: Vec<u8>,
    parsed: usize,
    /// The last `retry:` seen.
    pub(crate) retry_ms: Option<u64>,
    /// The last `id:` seen: what a client resumes with.
    pub(crate) last_id: Option<String>,
    pub(crate) head: Response,
}

impl Events {
    /// Opens a stream on a server that may be dying.
    pub(crate) fn try_open(
        client: &Client,
        query: &str,
        last_id: Option<&str>,
    ) -> io::Result<Result<Self, Response>> {
        Self::try_open_at(client, &format!("/api/events{query}"), last_id)
    }

    /// The same of any call that answers with a stream.
    pub(crate) fn try_open_at(
        client: &Client,
        path: &str,
        last_id: Option<&str>,
    ) -> io::Result<Result<Self, Response>> {
        let mut request = Request::get(path).header("accept", "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let mut conn = Conn::reach(&client.address)?;
        conn.write(&request.encode(client.address.clone(), &client.identity))?;
        let mut head = conn.read_head()?;
        if head.status != 200 {
            if let Some(length) = head.header("content-length").and_then(|v| v.parse::<usize>().ok()) {
                let (bytes, _) = conn.read_to_close(Duration::from_millis(300));
                head.body = bytes.into_iter().take(length).collect();
            }
            return Ok(Err(head));
        }
        Ok(Ok(Self {
            conn,
            text: Vec::new(),
            parsed: 0,
            retry_ms: None,
            last_id: last_id.map(str::to_owned),
            head,
        }))
    }

    #[track_caller]
    pub(crate) fn open(client: &Client, query: &str, last_id: Option<&str>) -> Self {
        match Self::try_open(client, query, last_id) {
            Ok(Ok(events)) => events,
            Ok(Err(refusal)) => panic!("the stream was refused: {} {}", refusal.status, refusal.text()),
            Err(error) => panic!("the stream did not open: {error}"),
        }
    }

    /// Asks for a stream that must be refused.
    #[track_caller]
    pub(crate) fn refusal(client: &Client, query: &str, last_id: Option<&str>) -> Response {
        match Self::try_open(client, query, last_id) {
            Ok(Ok(_)) => panic!("the stream was opened"),
            Ok(Err(refusal)) => refusal,
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// The next frame, waited for no longer than `wait`.
    pub(crate) fn try_next(&mut self, wait: Duration) -> Result<Frame, End> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(frame) = self.parse() {
                if let Some(id) = &frame.id {
                    self.last_id = Some(id.clone());
                }
                return Ok(frame);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(End::Silent);
            }
            self.conn.set_wait(left);
            match self.conn.read_chunk() {
                Ok(Some(chunk)) => {
                    self.text.drain(..std::mem::take(&mut self.parsed));
                    self.text.extend_from_slice(&chunk);
                }
                Ok(None) => return Err(End::Closed),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(End::Silent);
                }
                Err(_) => return Err(End::Broken),
            }
        }
    }

    #[track_caller]
    pub(crate) fn next(&mut self) -> Frame {
        self.try_next(ANSWER_WAIT).unwrap_or_else(|end| panic!("the stream gave no frame: {end:?}"))
    }

    /// Frames up to and with the first one of this type.
    #[track_caller]
    pub(crate) fn until(&mut self, kind: &str) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next();
            let last = frame.kind == kind;
            frames.push(frame);
            if last {
                return frames;
            }
        }
    }

    /// The events of the log up to the moment when the stream says that it is live.
    #[track_caller]
    pub(crate) fn caught_up(&mut self) -> Vec<Value> {
        self.until("caught_up").iter().filter(|frame| frame.is_event()).map(Frame::json).collect()
    }

    /// The next `count` events of the log.
    #[track_caller]
    pub(crate) fn take_events(&mut self, count: usize) -> Vec<Value> {
        let mut events = Vec::new();
        while events.len() < count {
            let frame = self.next();
            if frame.is_event() {
                events.push(frame.json());
            }
        }
        events
    }

    /// Waits for the server's goodbye and for the end of the answer; gives the goodbye.
    #[track_caller]
    pub(crate) fn goodbye(&mut self) -> Value {
        let bye = self.until("bye").pop().expect("a last frame").json();
        match self.try_next(ANSWER_WAIT) {
            Err(End::Closed | End::Broken) => bye,
            other => panic!("after the goodbye: {other:?}"),
        }
    }

    /// Takes one frame off the text received, if a whole one is there. Comments and empty frames are passed over.
    fn parse(&mut self) -> Option<Frame> {
        while let Some(end) = self.text[self.parsed..].windows(2).position(|pair| pair == b"\n\n") {
            let block = self.text[self.parsed..self.parsed + end].to_vec();
            let block = String::from_utf8(block).expect("a stream in UTF-8");
            self.parsed += end + 2;
            let mut frame = Frame { id: None, kind: "message".into(), data: String::new() };
            let mut data = Vec::new();
            for line in block.lines().filter(|line| !line.is_empty() && !line.starts_with(':')) {
                let (field, value) = line.split_once(':').unwrap_or((line, ""));
                let value = value.strip_prefix(' ').unwrap_or(value);
                match field {
                    "id" => frame.id = Some(value.to_owned()),
                    "event" => frame.kind = value.to_owned(),
                    "data" => data.push(value),
                    "retry" => self.retry_ms = Some(value.parse().expect("a time to retry after")),
                    other => panic!("a field {other:?} in the stream"),
                }
            }
            assert!(data.len() <= 1, "one event is one data line: {block:?}");
            if let Some(data) = data.pop() {
                frame.data = data.to_owned();
                return Some(frame);
            }
        }
        None
    }
}

/// The offset that a resume token starts with.
#[track_caller]
pub(crate) fn offset_of(token: &str) -> u64 {
    let offset = token.split('-').next().unwrap_or("");
    offset.parse().unwrap_or_else(|_| panic!("not a resume token: {token:?}"))
}

/// Asserts the form `OFFSET-TAG`, the tag being 8 hex digits.
#[track_caller]
pub(crate) fn assert_is_token(token: &str) {
    let (offset, tag) = token.split_once('-').unwrap_or_else(|| panic!("not a resume token: {token:?}"));
    assert!(offset.parse::<u64>().is_ok(), "{token:?}");
    assert!(tag.len() == 8 && tag.bytes().all(|b| b.is_ascii_hexdigit()), "{token:?}");
}
