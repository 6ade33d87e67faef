//! A session over WebSocket.
//!
//! The framing is tungstenite's, which knows nothing of tasks: it reads from and writes to two buffers in memory, and what
//! moves bytes between them and the socket may be dropped at any point without a byte lost.

use std::io::{self, Read, Write};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::header::{CONNECTION, HeaderName, UPGRADE};
use http::{Method, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

use super::{Bye, Hello, Session, Signal, Silence, Wanted, read};
use crate::error::{Ended, Error};
use crate::link::{ANSWER_TIMEOUT, Address, Link, within};

const VERSION: &str = "13";
const SEC_WEBSOCKET_ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");
/// The server closes with this when the identity is no longer valid.
const CLOSED_UNAUTHENTICATED: u16 = 4401;
/// How much is read at once.
const READ_BYTES: usize = 16 << 10;
/// How long leave is taken at most.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// An open socket with one session.
pub(crate) struct Ws {
    /// Drives the connection.
    _link: Link,
    socket: TokioIo<Upgraded>,
    frames: WebSocket<Buffers>,
    session: Option<String>,
    silence: Silence,
    /// The last word of the server, if it was a Close.
    closed: Option<CloseFrame>,
}

/// What has come and was not read yet, and what is to go.
#[derive(Default)]
struct Buffers {
    came: BytesMut,
    to_go: BytesMut,
    ended: bool,
}

impl Read for Buffers {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.came.is_empty() && !self.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = out.len().min(self.came.len());
        self.came.copy_to_slice(&mut out[..length]);
        Ok(length)
    }
}

impl Write for Buffers {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to_go.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a message of the server is; the rest of it is read when that is known, so that events can be read as they are
/// written.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Begun {
    session: Option<String>,
    #[serde(flatten)]
    hello: Hello,
}

#[derive(Deserialize)]
struct Events<E> {
    events: Vec<E>,
    resume_token: String,
}

#[derive(Deserialize)]
struct Checkpoint {
    resume_token: String,
}

#[derive(Deserialize)]
struct Answer {
    status: u16,
    retry: Option<u64>,
    body: Value,
}

impl Ws {
    pub(super) async fn open(
        address: &Address,
        wanted: &Wanted,
        session: Option<&str>,
        silence: Silence,
    ) -> Result<Ws, Error> {
        let mut link = Link::open(address).await?;
        let key = generate_key();
        let request = link
            .request(Method::GET, "/api/ws")
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header("sec-websocket-version", VERSION)
            .header("sec-websocket-key", &key);
        let answer = link.begin(request, None, ANSWER_TIMEOUT).await?;
        let accepted = answer.headers().get(SEC_WEBSOCKET_ACCEPT).map(|value| value.as_bytes());
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS
            || accepted != Some(derive_accept_key(key.as_bytes()).as_bytes())
        {
            return Err(Error::unreadable("an answer to the upgrade that is no WebSocket"));
        }
        let lost = |error: hyper::Error| Error::away(format!("the socket broke: {error}"));
        let socket = TokioIo::new(hyper::upgrade::on(answer).await.map_err(lost)?);
        let config = WebSocketConfig::default().read_buffer_size(READ_BYTES).write_buffer_size(0);
        let frames = WebSocket::from_raw_socket(Buffers::default(), Role::Client, Some(config));
        let mut ws = Ws { _link: link, socket, frames, session: None, silence, closed: None };
        // With a session that is still there the server goes on with it, and else begins one at the same place.
        let mut open = wanted.fields();
        open.insert("type".to_owned(), "open".into());
        if let Some(session) = session {
            open.insert("session".to_owned(), session.into());
        }
        ws.say(&open.into());
        Ok(ws)
    }

    pub(super) async fn next<E: DeserializeOwned>(
        &mut self,
        session: &mut Session,
    ) -> Result<Signal<E>, Error> {
        loop {
            if let Some(text) = self.take()? {
                return self.hear(&text, session);
            }
            let moved = move_bytes(&mut self.socket, self.frames.get_mut());
            self.silence.watch(moved, "the socket is silent").await?;
        }
    }

    pub(super) fn acknowledge(&mut self, offset: u64) {
        if let Some(session) = &self.session {
            self.say(&json!({"type": "ack", "session": session, "offset": offset}));
        }
    }

    pub(super) async fn close(mut self) {
        // What goes wrong now does not matter: the server looks after what is left behind.
        let _ = self.frames.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }));
        let closing = async {
            while self.take()?.is_some() || !self.frames.get_ref().ended {
                move_bytes(&mut self.socket, self.frames.get_mut()).await?;
            }
            Ok(())
        };
        let _ = within(CLOSE_TIMEOUT, closing, || Error::away("no leave was taken")).await;
    }

    /// Puts a message to what is to go; an error of the framing is met again where it is read.
    fn say(&mut self, message: &Value) {
        let _ = self.frames.send(Message::text(message.to_string()));
    }

    /// The next whole text that has come.
    fn take(&mut self) -> Result<Option<String>, Error> {
        loop {
            match self.frames.read() {
                Ok(Message::Text(text)) => return Ok(Some(text.as_str().to_owned())),
                Ok(Message::Close(frame)) => self.closed = frame.or_else(|| self.closed.take()),
                // A ping is answered by the framing.
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(None);
                }
                Err(error) => {
                    return Err(match &self.closed {
                        Some(frame) if u16::from(frame.code) == CLOSED_UNAUTHENTICATED => {
                            Ended::Unauthenticated.into()
                        }
                        Some(frame) => Error::away(format!("the server closed the socket: {frame}")),
                        None => Error::away(format!("the socket broke: {error}")),
                    });
                }
            }
        }
    }

    fn hear<E: DeserializeOwned>(&mut self, text: &str, session: &mut Session) -> Result<Signal<E>, Error> {
        Ok(match read::<Kind>(text)?.kind.as_str() {
            "hello" => {
                let Begun { session: id, hello } = read(text)?;
                (self.session, session.id) = (id.clone(), id);
                self.silence.beats(hello.heartbeat());
                hello.signal()?
            }
            "events" => {
                let Events { events, resume_token } = read(text)?;
                Signal::Events(events, Some(resume_token))
            }
            "checkpoint" => {
                let Checkpoint { resume_token } = read(text)?;
                Signal::Events(Vec::new(), Some(resume_token))
            }
            "caught_up" => Signal::CaughtUp,
            "bye" => {
                let bye: Bye = read(text)?;
                // These are the ends after which a session may be gone on with; else a new one begins at the same place.
                if !matches!(bye.reason.as_str(), "slow" | "shutdown") {
                    session.id = None;
                }
                Signal::Bye(bye)
            }
            "answer" => {
                let Answer { status, retry, body } = read(text)?;
                // Whatever it was that the server knows nothing of or has no room for: a new session need not meet it.
                session.id = None;
                let retry = retry.map(Duration::from_millis);
                return Err(match Error::refused(status, retry, body.to_string().as_bytes()) {
                    Error::Ended(Ended::Refused(problem)) if matches!(problem.status, 404 | 409) => {
                        Error::away(problem.to_string())
                    }
                    error => error,
                });
            }
            // A sign of life, or what this library never asks for.
            _ => Signal::Alive,
        })
    }
}

/// Sends what is to go, and takes what comes; until something has come.
async fn move_bytes(socket: &mut TokioIo<Upgraded>, buffers: &mut Buffers) -> Result<(), Error> {
    let broke = |error: io::Error| Error::away(format!("the socket broke: {error}"));
    while !buffers.to_go.is_empty() {
        socket.write_buf(&mut buffers.to_go).await.map_err(broke)?;
    }
    socket.flush().await.map_err(broke)?;
    buffers.came.reserve(READ_BYTES);
    buffers.ended = socket.read_buf(&mut buffers.came).await.map_err(broke)? == 0;
    Ok(())
}
