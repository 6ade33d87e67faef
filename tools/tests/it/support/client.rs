//! A user of the API: one kept-alive connection and one identity.

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::{Conn, Response};
use super::server::{Address, PROCESS_WAIT};

/// A connection idle for longer is not used again: the server may be closing it at that very moment.
const REUSE_WITHIN: Duration = Duration::from_secs(3);

/// Who the client says it is.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    Nobody,
    Cookie(String),
    Bearer(String),
}

/// One request, as it will be written.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self { method: method.into(), path: path.into(), headers: Vec::new(), body: None }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: &str, body: &Value) -> Self {
        Self::new("POST", path).json(body)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").bytes(body.to_string().as_bytes())
    }

    pub(crate) fn bytes(mut self, body: &[u8]) -> Self {
        self.body = Some(body.to_vec());
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub(crate) fn encode(&self, address: Address, identity: &Identity) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\nhost: {}\r\n", self.method, self.path, address.get());
        match identity {
            Identity::Nobody => {}
            Identity::Cookie(cookie) => bytes.push_str(&format!("cookie: {cookie}\r\n")),
            Identity::Bearer(token) => bytes.push_str(&format!("authorization: Bearer {token}\r\n")),
        }
        for (name, value) in &self.headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body {
            bytes.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        bytes.push_str("\r\n");
        let mut bytes = bytes.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or(b""));
        bytes
    }
}

/// What became of a request that was sent until it was answered.
pub(crate) struct Tried {
    pub(crate) status: u16,
    pub(crate) tries: usize,
}

/// A user of one server. A clone has the same identity and a connection of its own.
pub(crate) struct Client {
    pub(crate) address: Address,
    pub(crate) identity: Identity,
    conn: Option<(Conn, Instant)>,
}

impl Clone for Client {
    fn clone(&self) -> Self {
        Self { address: self.address.clone(), identity: self.identity.clone(), conn: None }
    }
}

impl Client {
    pub(crate) fn new(address: Address) -> Self {
        Self { address, identity: Identity::Nobody, conn: None }
    }

    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { address: self.address.clone(), identity: Identity::Bearer(token.into()), conn: None }
    }

    /// The same user, who comes by another place.
    pub(crate) fn at(&self, address: Address) -> Self {
        Self { address, ..self.clone() }
    }

    /// Sends a request to a server that may be dying: an error means that its outcome is unknown.
    pub(crate) fn try_send(&mut self, request: &Request) -> io::Result<Response> {
        let kept = self.conn.take().filter(|(_, used)| used.elapsed() < REUSE_WITHIN).map(|(conn, _)| conn);
        let mut conn = match kept {
            Some(conn) if !conn.is_stale() => conn,
            _ => Conn::reach(&self.address)?,
        };
        conn.write(&request.encode(self.address.clone(), &self.identity))?;
        let response = conn.read_response()?;
        if !response.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close")) {
            self.conn = Some((conn, Instant::now()));
        }
        Ok(response)
    }

    #[track_caller]
    pub(crate) fn send(&mut self, request: &Request) -> Response {
        match self.try_send(request) {
            Ok(response) => response,
            Err(error) => panic!("{} {}: {error}", request.method, request.path),
        }
    }

    /// Sends a request to a server that is being killed and started until it has an answer that says what became of it.
    #[track_caller]
    pub(crate) fn insist(&mut self, request: &Request, expected: &[u16]) -> (Tried, Value) {
        let deadline = Instant::now() + PROCESS_WAIT;
        for tries in 1.. {
            assert!(Instant::now() < deadline, "no answer to {request:?}");
            match self.try_send(request) {
                Ok(response) if expected.contains(&response.status) => {
                    let body = if response.status < 300 { response.ok(response.status) } else { json!(null) };
                    return (Tried { status: response.status, tries }, body);
                }
                Ok(response) => {
                    response.refused(503);
                }
                Err(_) => {}
            }
            // The next try waits in `Address::get` until the server listens again.
            std::thread::sleep(Duration::from_millis(2));
        }
        unreachable!("tries are not counted to an end")
    }

    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.send(&Request::get(path))
    }

    /// What the figure of this name, and with these labels if it has some, is now; none if it is not told of, as a count of what
    /// never happened may not be.
    #[track_caller]
    pub(crate) fn figure(&mut self, name: &str) -> Option<u64> {
        let figures = self.get("/metrics").text();
        let value = figures.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(value.parse::<f64>().expect("a figure is a number") as u64)
    }

    #[track_caller]
    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Response {
        self.send(&Request::post(path, body))
    }

    #[track_caller]
    pub(crate) fn put(&mut self, path: &str, body: &Value) -> Response {
        self.send(&Request::new("PUT", path).json(body))
    }

    #[track_caller]
    pub(crate) fn delete(&mut self, path: &str) -> Response {
        self.send(&Request::new("DELETE", path))
    }

    /// Takes on the identity that an answer to a log-in or sign-up sets.
    #[track_caller]
    pub(crate) fn adopt(&mut self, response: &Response) {
        let cookie = response.header("set-cookie").expect("an answer that sets a cookie");
        self.identity = Identity::Cookie(cookie.split(';').next().unwrap_or("").to_owned());
    }

    #[track_caller]
    pub(crate) fn log_in(&mut self, name: &str, password: &str) -> Value {
        let response = self.post("/api/auth/login", &json!({"name": name, "password": password}));
        let user = response.ok(200);
        self.adopt(&response);
        user
    }

    /// A bearer token of this user's.
    #[track_caller]
    pub(crate) fn token(&mut self, label: &str) -> String {
        text(&self.post("/api/tokens", &json!({"label": label})).ok(201), "token")
    }

    /// A new member, by invitation; its client is logged in.
    #[track_caller]
    pub(crate) fn invite_member(&mut self, name: &str) -> (Self, String) {
        let invitation = self.post("/api/invite", &json!({})).ok(201);
        let mut member = Self::new(self.address.clone());
        let path = format!("/api/invite/{}", text(&invitation, "token"));
        let response = member.post(&path, &json!({"name": name, "password": super::PASSWORD}));
        let id = text(&response.ok(201), "id");
        member.adopt(&response);
        (member, id)
    }

    #[track_caller]
    pub(crate) fn create_channel(&mut self, name: &str) -> String {
        text(&self.post("/api/channels", &json!({"name": name})).ok(201), "id")
    }

    /// Sends a message and gives the whole answer.
    #[track_caller]
    pub(crate) fn say(&mut self, channel: &str, body: &str) -> Value {
        self.post(&format!("/api/channels/{channel}"), &json!({"body": body})).ok(201)
    }

    /// Every event after an offset, by the poll, to the head of the moment.
    #[track_caller]
    pub(crate) fn poll_all(&mut self, after: &str) -> Vec<Value> {
        let mut events = Vec::new();
        let mut after = after.to_owned();
        loop {
            let page = self.get(&format!("/api/events/poll?after={after}&wait=0&limit=500")).ok(200);
            assert_eq!(page["resume"], "ok", "{page}");
            let got = page["events"].as_array().expect("events").clone();
            after = text(&page, "next");
            if got.is_empty() && super::events::offset_of(&after) >= page["head"].as_u64().expect("a head") {
                return events;
            }
            events.extend(got);
        }
    }

    /// Every message of a channel, oldest first, page by page.
    #[track_caller]
    pub(crate) fn history(&mut self, channel: &str, limit: usize) -> Vec<Value> {
        let mut messages = Vec::new();
        let mut cursor = "oldest".to_owned();
        loop {
            let page = self.get(&format!("/api/channels/{channel}/messages?after={cursor}&limit={limit}"));
            let page = page.ok(200);
            messages.extend(page["messages"].as_array().expect("messages").iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => return messages,
            }
        }
    }
}

/// A field that must be a text.
#[track_caller]
pub(crate) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("`{field}` should be a text in {value}")).to_owned()
}

/// A field that must be a whole number.
#[track_caller]
pub(crate) fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("`{field}` should be a number in {value}"))
}
