//! Taking a connection out of the HTTP server, for an answer that does not end.
//!
//! A stream inside the HTTP server would keep that connection's buffers and state for as long as it is open. So a
//! handler answers with a head and, in the answer's extensions, a [`Handoff`]; the connection's task takes the socket out
//! of the HTTP server, frees that, writes the head itself and goes on as the stream.

use std::future::Future;
use std::io::Write;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::response::Parts;
use http::{Extensions, StatusCode, Version};
use warp::reply::Response;

use crate::socket::Socket;
pub use crate::streams::outlet::Framing;

/// What a stream gets of the connection that it was.
pub struct Opened {
    /// The socket.
    pub socket: Socket,
    /// The answer's head, which must be sent first.
    pub head: Vec<u8>,
    /// How what follows must be delimited, if the stream is a body.
    pub framing: Framing,
    /// What the client has said behind its request.
    pub early: Bytes,
}

/// What a connection becomes.
pub type Stream = Box<dyn FnOnce(Opened) -> Running + Send>;
/// A stream that runs until it ends.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Says in an answer's extensions that its connection is to become a stream.
#[derive(Clone)]
pub struct Handoff(Arc<Mutex<Option<Stream>>>);

impl Handoff {
    /// The connection shall become this.
    #[must_use]
    pub fn new(stream: impl FnOnce(Opened) -> Running + Send + 'static) -> Handoff {
        Handoff(Arc::new(Mutex::new(Some(Box::new(stream)))))
    }

    /// Puts it into an answer, whose status and headers will be sent.
    pub fn attach(self, response: &mut Response) {
        response.extensions_mut().insert(self);
    }

    /// Lets the stream run inside what `wrap` makes of it.
    pub(super) fn wrap(&self, wrap: impl FnOnce(Running) -> Running + Send + 'static) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stream) = slot.take() {
            *slot = Some(Box::new(move |opened| wrap(stream(opened))));
        }
    }

    /// Takes the stream out of an answer's extensions, once.
    pub(super) fn take(extensions: &mut Extensions) -> Option<Stream> {
        let Handoff(stream) = extensions.remove()?;
        stream.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The head of an answer that is to be followed by a stream, and how the stream is delimited for a client that spoke
/// this version.
pub(super) fn head(parts: &Parts, version: Version) -> (Vec<u8>, Framing) {
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        // It says itself what the connection becomes.
        let mut head = start(parts, "HTTP/1.1");
        head.extend_from_slice(b"\r\n");
        return (head, Framing::Bare);
    }
    let (name, framing, field) = if version == Version::HTTP_10 {
        ("HTTP/1.0", Framing::Bare, "")
    } else {
        ("HTTP/1.1", Framing::Chunked, "transfer-encoding: chunked\r\n")
    };
    let mut head = start(parts, name);
    head.extend_from_slice(field.as_bytes());
    head.extend_from_slice(b"connection: close\r\n\r\n");
    (head, framing)
}

/// A whole answer, for a connection that the HTTP server has lost.
pub(super) fn refusal(parts: &Parts, body: &[u8]) -> Vec<u8> {
    let mut answer = start(parts, "HTTP/1.1");
    // Writing to a vector cannot fail.
    let _ = write!(answer, "content-length: {}\r\n\r\n", body.len());
    answer.extend_from_slice(body);
    answer
}

/// The status line and the fields.
fn start(parts: &Parts, version: &str) -> Vec<u8> {
    let mut head = Vec::with_capacity(256);
    let reason = parts.status.canonical_reason().unwrap_or_default();
    // Writing to a vector cannot fail.
    let _ = write!(head, "{version} {} {reason}\r\n", parts.status.as_str());
    for (name, value) in &parts.headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head
}
