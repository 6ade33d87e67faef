//! The socket as the HTTP server sees it: every byte read passes a [`HeadGuard`], and what the server does of its own
//! accord can be seen from outside while it holds the socket.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::head_guard::{Fault, HeadGuard};
use crate::socket::Socket;

/// How an answer that the HTTP server makes by itself begins: always an error in what the client sent.
const OWN_ANSWER: &[u8] = b"HTTP/1.1 4";
/// Where in it the status lies.
const OWN_STATUS: std::ops::Range<usize> = 9..12;

/// What is known of a connection from outside the HTTP server.
#[derive(Debug)]
pub(super) struct Watch {
    /// What the guard found. Nothing more is read then.
    pub(super) fault: Option<Fault>,
    /// Since when a head is coming in.
    pub(super) head_since: Option<Instant>,
    /// Since when the socket takes nothing of what is to be written.
    pub(super) blocked_since: Option<Instant>,
    /// Whether all that was to be written is written.
    pub(super) flushed: bool,
    /// How many requests went to a handler.
    pub(super) requests: u64,
    /// Whether the newest of them is still there.
    pub(super) in_flight: bool,
    /// Whether a handler's answer is still to be written.
    pub(super) answer_due: bool,
    /// The status of the answer that the HTTP server wanted to give by itself. It was not sent.
    pub(super) own_answer: Option<u16>,
}

/// A watch, shared by the connection's task and its socket.
#[derive(Clone, Debug)]
pub(super) struct Watched(Arc<Mutex<Watch>>);

impl Watched {
    fn new() -> Watched {
        Watched(Arc::new(Mutex::new(Watch {
            fault: None,
            head_since: None,
            blocked_since: None,
            flushed: true,
            requests: 0,
            in_flight: false,
            answer_due: false,
            own_answer: None,
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Watch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The socket.
pub(super) struct Wire {
    socket: Socket,
    guard: HeadGuard,
    watched: Watched,
}

impl Wire {
    pub(super) fn new(socket: Socket, head_bytes_max: usize) -> (Wire, Watched) {
        let watched = Watched::new();
        (Wire { socket, guard: HeadGuard::new(head_bytes_max), watched: watched.clone() }, watched)
    }

    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Whether these bytes are the HTTP server's own answer, which must not be sent: the client gets a problem instead.
    fn holds_back(&self, bytes: &[u8]) -> bool {
        let mut watch = self.watched.lock();
        if watch.own_answer.is_some() {
            return true;
        }
        if !watch.in_flight && !watch.answer_due && watch.flushed && bytes.starts_with(OWN_ANSWER) {
            let status =
                bytes.get(OWN_STATUS).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            watch.own_answer = status;
        }
        watch.answer_due = false;
        watch.flushed = false;
        watch.own_answer.is_some()
    }

    fn wrote(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let mut watch = self.watched.lock();
        watch.blocked_since = match outcome {
            Poll::Pending => Some(watch.blocked_since.unwrap_or_else(Instant::now)),
            Poll::Ready(_) => None,
        };
        outcome
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.watched.lock().fault.is_some() {
            // The connection's task looks at the fault after every poll; nothing needs to wake it.
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(context, buffer))?;
        let outcome = self.guard.feed(&buffer.filled()[before..]);
        let mut watch = self.watched.lock();
        watch.head_since = self.guard.in_head().then(|| watch.head_since.unwrap_or_else(Instant::now));
        if let Err(fault) = outcome {
            watch.fault = Some(fault);
            buffer.set_filled(before);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.holds_back(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let outcome = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.wrote(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.holds_back(parts.iter().find(|part| !part.is_empty()).map_or(&[], |part| part)) {
            return Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()));
        }
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(context, parts);
        self.wrote(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// Called when nothing is left to be written; but what is encrypted may still wait for the socket.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.socket).poll_flush(context);
        let mut watch = self.watched.lock();
        watch.flushed = outcome.is_ready();
        watch.blocked_since = match outcome {
            Poll::Pending => Some(watch.blocked_since.unwrap_or_else(Instant::now)),
            Poll::Ready(_) => None,
        };
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.watched.lock().own_answer.is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
