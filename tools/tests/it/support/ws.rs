//! A client of sessions over WebSocket. The handshake is written by hand, so that a test says what is in it; the frames are
//! another library's than the server's own code, and refuse what the standard does not allow.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use super::client::{Client, Request, text};
use super::http::{ANSWER_WAIT, Conn, Response};

/// The key of the example in RFC 6455: what matters is that the server shows that it has read it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Why a socket gave no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    /// The server closed it, with this code.
    Closed(Option<u16>),
    /// The connection broke, or ended without a Close.
    Broken,
    /// Nothing came in time.
    Silent,
}

/// The connection, as the library wants it.
struct Pipe(Conn);

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_some(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The request for the upgrade, complete but for the identity.
pub(crate) fn upgrade() -> Request {
    upgrade_of("/api/ws")
}

/// The same for another path.
pub(crate) fn upgrade_of(path: &str) -> Request {
    Request::get(path)
        .header("upgrade", "websocket")
        .header("connection", "Upgrade")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", KEY)
}

/// Asks for the upgrade with these headers besides; gives the connection behind it, or the refusal.
pub(crate) fn try_upgrade(client: &Client, headers: &[(&str, &str)]) -> io::Result<Result<Conn, Response>> {
    ask_upgrade(client, &headers.iter().fold(upgrade(), |request, (name, value)| request.header(name, value)))
}

/// The same with a request of the test's own.
pub(crate) fn ask_upgrade(client: &Client, request: &Request) -> io::Result<Result<Conn, Response>> {
    let mut conn = Conn::reach(&client.address)?;
    conn.write(&request.encode(client.address.clone(), &client.identity))?;
    let mut head = conn.read_head()?;
    if head.status != 101 {
        head.body = conn.read_rest(&head)?;
        return Ok(Err(head));
    }
    assert_eq!(head.header("upgrade").map(str::to_ascii_lowercase).as_deref(), Some("websocket"));
    assert_eq!(head.header("connection").map(str::to_ascii_lowercase).as_deref(), Some("upgrade"));
    assert_eq!(head.header("sec-websocket-accept"), Some(derive_accept_key(KEY.as_bytes()).as_str()));
    for absent in ["sec-websocket-extensions", "sec-websocket-protocol"] {
        assert_eq!(head.header(absent), None, "there are none");
    }
    Ok(Ok(conn))
}

/// An open socket.
pub(crate) struct Ws {
    socket: WebSocket<Pipe>,
    /// What came while something else was waited for, oldest first.
    kept: VecDeque<Value>,
    /// The server's last word, once it was said.
    closed: Option<Option<u16>>,
    /// Why, as far as it said.
    pub(crate) reason: String,
    asked: u64,
    /// Whether every message has a `type`, as ours have.
    typed: bool,
}

impl Ws {
    /// Opens a socket on a server that may be dying.
    pub(crate) fn try_open(client: &Client) -> io::Result<Result<Self, Response>> {
        Ok(try_upgrade(client, &[])?.map(Self::on))
    }

    fn on(conn: Conn) -> Self {
        let config = WebSocketConfig::default().read_buffer_size(16 << 10).write_buffer_size(0);
        let socket = WebSocket::from_raw_socket(Pipe(conn), Role::Client, Some(config));
        Self { socket, kept: VecDeque::new(), closed: None, reason: String::new(), asked: 0, typed: true }
    }

    #[track_caller]
    pub(crate) fn open(client: &Client) -> Self {
        match Self::try_open(client) {
            Ok(Ok(socket)) => socket,
            Ok(Err(refusal)) => panic!("the upgrade was refused: {} {}", refusal.status, refusal.text()),
            Err(error) => panic!("the socket did not open: {error}"),
        }
    }

    /// Opens a socket on which another protocol is spoken than ours.
    pub(crate) fn try_open_at(client: &Client, path: &str) -> io::Result<Result<Self, Response>> {
        Ok(ask_upgrade(client, &upgrade_of(path))?.map(|conn| Self { typed: false, ..Self::on(conn) }))
    }

    /// Asks for an upgrade that must be refused.
    #[track_caller]
    pub(crate) fn refusal(client: &Client, headers: &[(&str, &str)]) -> Response {
        match try_upgrade(client, headers) {
            Ok(Ok(_)) => panic!("the socket was opened, with {headers:?}"),
            Ok(Err(refusal)) => refusal,
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// Says something to a server that may be dying.
    pub(crate) fn try_say(&mut self, message: &Value) -> Result<(), Gone> {
        self.socket.send(Message::text(message.to_string())).map_err(|_| Gone::Broken)
    }

    #[track_caller]
    pub(crate) fn say(&mut self, message: &Value) {
        self.try_say(message).unwrap_or_else(|gone| panic!("{message} could not be said: {gone:?}"));
    }

    /// The next message of the server, waited for no longer than `wait`.
    pub(crate) fn try_next(&mut self, wait: Duration) -> Result<Value, Gone> {
        match self.kept.pop_front() {
            Some(message) => Ok(message),
            None => self.try_read(wait),
        }
    }

    fn try_read(&mut self, wait: Duration) -> Result<Value, Gone> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Gone::Silent);
            }
            self.socket.get_mut().0.set_wait(left);
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let message: Value =
                        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text:?}"));
                    assert!(message.is_object(), "{message}");
                    assert!(!self.typed || message["type"].is_string(), "{message}");
                    return Ok(message);
                }
                Ok(Message::Close(frame)) => {
                    self.reason = frame.as_ref().map(|frame| frame.reason.to_string()).unwrap_or_default();
                    self.closed = Some(frame.map(|frame| frame.code.into()));
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(other) => panic!("every message is a text: {other:?}"),
                Err(Error::Io(error))
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
                {
                    return Err(Gone::Silent);
                }
                Err(Error::Io(_) | Error::ConnectionClosed | Error::AlreadyClosed) => {
                    return Err(self.closed.map_or(Gone::Broken, Gone::Closed));
                }
                Err(Error::Protocol(error)) if error.to_string().contains("without closing handshake") => {
                    return Err(self.closed.map_or(Gone::Broken, Gone::Closed));
                }
                Err(error) => panic!("the server breaks the protocol: {error}"),
            }
        }
    }

    /// The next message that is wanted; others are kept for whoever wants them.
    #[track_caller]
    pub(crate) fn next_of(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(place) = self.kept.iter().position(&wanted) {
            return self.kept.remove(place).expect("it is there");
        }
        let deadline = Instant::now() + ANSWER_WAIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.try_read(left) {
                Ok(message) if wanted(&message) => return message,
                Ok(message) => self.kept.push_back(message),
                Err(gone) => panic!("what was waited for did not come: {gone:?}; kept: {:?}", self.kept),
            }
        }
    }

    /// Says something with an id of its own and gives what is answered to that.
    #[track_caller]
    pub(crate) fn ask(&mut self, mut message: Value) -> Value {
        self.asked += 1;
        let id = json!(format!("question {}", self.asked));
        message["id"] = id.clone();
        self.say(&message);
        self.next_of(|heard| heard["id"] == id)
    }

    /// Begins a session, or goes on with one; gives the `hello`.
    #[track_caller]
    pub(crate) fn session(&mut self, mut how: Value) -> Value {
        how["type"] = json!("open");
        let hello = self.ask(how);
        assert_eq!(hello["type"], "hello", "{hello}");
        hello
    }

    /// Begins a session that must begin, and gives its id.
    #[track_caller]
    pub(crate) fn session_id(&mut self, how: Value) -> String {
        let hello = self.session(how);
        assert_eq!(hello["resume"], "ok", "{hello}");
        text(&hello, "session")
    }

    /// The next message about a session.
    #[track_caller]
    pub(crate) fn next_in(&mut self, session: &str) -> Value {
        self.next_of(|message| message["session"] == session)
    }

    /// At least `count` events of a session, and where it stands after them.
    #[track_caller]
    pub(crate) fn take_events(&mut self, session: &str, count: usize) -> (Vec<Value>, String) {
        let (mut events, mut token) = (Vec::new(), String::new());
        while events.len() < count {
            let message = self.next_of(|m| m["session"] == session && m["type"] != "caught_up");
            match message["type"].as_str().unwrap_or("") {
                "events" => events.extend(message["events"].as_array().expect("events").iter().cloned()),
                "checkpoint" => {}
                _ => panic!("{message}"),
            }
            token = text(&message, "resume_token");
        }
        (events, token)
    }

    /// The events of a session up to the moment when it says that it is live.
    #[track_caller]
    pub(crate) fn caught_up(&mut self, session: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let message = self.next_in(session);
            match message["type"].as_str().unwrap_or("") {
                "events" => events.extend(message["events"].as_array().expect("events").iter().cloned()),
                "checkpoint" => {}
                "caught_up" => return events,
                _ => panic!("{message}"),
            }
        }
    }

    #[track_caller]
    pub(crate) fn ack(&mut self, session: &str, offset: u64) {
        self.say(&json!({"type": "ack", "session": session, "offset": offset}));
    }

    /// All that the server has said before it answers this.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<Value> {
        let answer = self.ask(json!({"type": "close", "session": "no such session"}));
        assert_eq!((&answer["type"], &answer["status"]), (&json!("answer"), &json!(404)), "{answer}");
        self.kept.drain(..).filter(|message| message["type"] != "heartbeat").collect()
    }

    /// Waits for the server's end of the socket; gives what it said before, and its code.
    #[track_caller]
    pub(crate) fn end(&mut self) -> (Vec<Value>, Gone) {
        let mut said = Vec::new();
        // Signs of life must not put the end off: the server sends them as long as it does not end the socket.
        let deadline = Instant::now() + ANSWER_WAIT;
        loop {
            match self.try_next(deadline.saturating_duration_since(Instant::now())) {
                Ok(message) if message["type"] == "heartbeat" => {}
                Ok(message) if !self.typed && message == json!({}) => {}
                Ok(message) => said.push(message),
                Err(Gone::Silent) => panic!("the socket does not end; it said {said:?}"),
                Err(gone) => return (said, gone),
            }
        }
    }

    /// Closes the socket in an orderly way and waits for the answer to that.
    #[track_caller]
    pub(crate) fn close(mut self) -> Gone {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        self.socket.close(Some(frame)).expect("a Close");
        self.end().1
    }

    /// Breaks the connection off without a word.
    pub(crate) fn cut(self) {
        self.socket.get_ref().0.shutdown(Shutdown::Both);
    }
}
