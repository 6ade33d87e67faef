//! A body of Server-Sent Events on a socket of its own, whatever it tells of.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;

use super::chunk::LAST_CHUNK;
use super::control::Bye;
use super::line::{End, Line, Waiter};
use super::{Chunk, Counted, Streams};
use crate::socket::Socket;

/// How a stream's bytes are delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// As chunks, which HTTP/1.1 has.
    Chunked,
    /// By the end of the connection, as HTTP/1.0 must.
    Bare,
}

/// An open body. It counts as an open stream until it is dropped.
pub(super) struct Outlet {
    pub(super) streams: Arc<Streams>,
    pub(super) line: Line,
    framing: Framing,
    _counted: Counted,
}

impl Outlet {
    /// On this socket, on which nothing was sent yet of the answer's head.
    pub(super) fn open(streams: Arc<Streams>, socket: Socket, framing: Framing) -> Outlet {
        let counted = Counted::new(&streams, &streams.figures.sse_open);
        Outlet { line: Line::new(Arc::clone(&streams), socket), streams, framing, _counted: counted }
    }

    pub(super) fn framed(&self, chunk: &Chunk) -> Bytes {
        match self.framing {
            Framing::Chunked => chunk.chunked(),
            Framing::Bare => chunk.bare(),
        }
    }

    /// Sends the answer's head and the first frame.
    pub(super) async fn begin(
        &mut self,
        mut head: Vec<u8>,
        hello: &Chunk,
        waiter: &mut impl Waiter,
    ) -> Result<(), End> {
        head.extend_from_slice(&self.framed(hello));
        self.line.send(Bytes::from(head), waiter).await
    }

    pub(super) async fn send(&mut self, chunk: &Chunk, waiter: &mut impl Waiter) -> Result<(), End> {
        let bytes = self.framed(chunk);
        self.line.send(bytes, waiter).await
    }

    /// Why the stream ends when there is nothing more to send: at a stop, after its turn.
    pub(super) async fn ended(&self, reason: Bye) -> Result<Infallible, End> {
        if reason == Bye::Shutdown {
            self.streams.wait_for_turn().await;
        }
        Err(End::Told(reason))
    }

    /// Ends the stream for this reason, with this last frame.
    pub(super) async fn say_goodbye(&mut self, reason: Bye, bye: &Chunk) {
        self.streams.figures.stream_ended(reason);
        let mut bytes = Vec::from(self.framed(bye));
        if self.framing == Framing::Chunked {
            bytes.extend_from_slice(LAST_CHUNK);
        }
        self.line.finish(bytes).await;
    }
}
