//! Server-Sent Events, read as cheaply as they can be while every one is still looked at: bytes go from the socket
//! into one buffer that all streams share and are parsed there; only an event cut by the end of a read is copied.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Poll, ready};

use anyhow::{Result, ensure};
use memchr::{memchr, memmem};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::chunked::Chunked;
use crate::client::{Framing, Head};
use crate::sockets;

/// Larger than what a stream gets between two reads at the highest load, small enough for the processor's cache.
const READ_BYTES: usize = 256 << 10;

/// An event that does not fit is not one of ours.
const EVENT_BYTES_MAX: usize = 1 << 20;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// One event, or one block of comments (which has neither id nor data).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    pub(crate) id: &'a [u8],
    pub(crate) name: &'a [u8],
    pub(crate) data: &'a [u8],
}

/// Who is shown the events of a stream.
pub(crate) trait Sink {
    /// How many bytes at the start of `body`, which begins with an event, are whole events that it recognizes as they
    /// are: they are not parsed.
    fn known(&mut self, _body: &[u8]) -> usize {
        0
    }

    /// The next event, and the bytes it was read from.
    fn event(&mut self, event: Event<'_>, bytes: &[u8]);
}

impl<F: FnMut(Event<'_>)> Sink for F {
    fn event(&mut self, event: Event<'_>, _bytes: &[u8]) {
        self(event);
    }
}

/// Cuts a body into events.
#[derive(Default)]
struct Events {
    /// The start of an event whose end has not arrived.
    carry: Vec<u8>,
}

impl Events {
    fn feed(&mut self, mut body: &[u8], sink: &mut impl Sink) -> Result<()> {
        if body.is_empty() {
            return Ok(());
        }
        if !self.carry.is_empty() {
            let end = if self.carry.ends_with(b"\n") && body[0] == b'\n' {
                Some(1)
            } else {
                memmem::find(body, b"\n\n").map(|end| end + 2)
            };
            self.carry.extend_from_slice(&body[..end.unwrap_or(body.len())]);
            ensure!(self.carry.len() <= EVENT_BYTES_MAX, "an endless event");
            let Some(end) = end else { return Ok(()) };
            parse(&self.carry, sink);
            self.carry.clear();
            body = &body[end..];
        }
        let whole = parse(body, sink);
        self.carry.extend_from_slice(&body[whole..]);
        Ok(())
    }
}

/// Gives every whole event in `body` to `sink` and says how many bytes they took.
fn parse(body: &[u8], sink: &mut impl Sink) -> usize {
    let mut at = 0;
    loop {
        at += sink.known(&body[at..]);
        let Some(length) = parse_one(&body[at..], sink) else { return at };
        at += length;
    }
}

/// Gives the first event in `body` to `sink` and says how many bytes it took; none if it is not all there.
fn parse_one(body: &[u8], sink: &mut impl Sink) -> Option<usize> {
    let (mut at, mut event) = (0, Event::default());
    loop {
        let length = memchr(b'\n', &body[at..])?;
        let line = &body[at..at + length];
        at += length + 1;
        if line.is_empty() {
            sink.event(event, &body[..at]);
            return Some(at);
        } else if let Some(value) = line.strip_prefix(b"data: ") {
            event.data = value;
        } else if let Some(value) = line.strip_prefix(b"id: ") {
            event.id = value;
        } else if let Some(value) = line.strip_prefix(b"event: ") {
            event.name = value;
        }
    }
}

/// An open stream.
pub(crate) struct Stream {
    tcp: TcpStream,
    coding: Option<Chunked>,
    events: Events,
    /// What came in one read with the head.
    early: Vec<u8>,
    /// All that was read, the coding's own bytes included.
    pub(crate) bytes: u64,
}

impl Stream {
    /// Opens the `index`-th of many streams and reads the head of the answer.
    pub(crate) async fn open(server: SocketAddr, index: usize, request: &[u8]) -> Result<Self> {
        let tcp = sockets::connect_nth(server, index).await?;
        tokio::time::timeout(sockets::ANSWER_WAIT, Self::start(tcp, request)).await?
    }

    async fn start(mut tcp: TcpStream, request: &[u8]) -> Result<Self> {
        tcp.write_all(request).await?;
        let mut early = Vec::with_capacity(1024);
        let head = loop {
            ensure!(tcp.read_buf(&mut early).await? > 0, "the server closed the connection");
            if let Some(head) = Head::parse(&early)? {
                break head;
            }
        };
        ensure!(head.status == 200, "the stream was refused: {}", String::from_utf8_lossy(&early));
        let coding = match head.framing {
            Framing::Chunked => Some(Chunked::new()),
            Framing::Close => None,
            Framing::Length(length) => anyhow::bail!("a stream of {length} bytes"),
        };
        let early = early.split_off(head.bytes);
        Ok(Self { tcp, coding, events: Events::default(), early, bytes: 0 })
    }

    /// Waits for bytes, reads once, and gives the events that are whole now to `sink`; false at the stream's end.
    pub(crate) async fn read(&mut self, sink: &mut impl Sink) -> Result<bool> {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            return self.take(&early, sink);
        }
        std::future::poll_fn(|context| {
            READ_BUFFER.with_borrow_mut(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(&mut self.tcp).poll_read(context, &mut buffer))?;
                if buffer.filled().is_empty() {
                    return Poll::Ready(Ok(false));
                }
                Poll::Ready(self.take(buffer.filled(), sink))
            })
        })
        .await
    }

    fn take(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<bool> {
        self.bytes += bytes.len() as u64;
        let Some(coding) = &mut self.coding else {
            self.events.feed(bytes, sink)?;
            return Ok(true);
        };
        let (events, mut outcome) = (&mut self.events, Ok(()));
        coding.feed(bytes, &mut |data| {
            if outcome.is_ok() {
                outcome = events.feed(data, sink);
            }
        })?;
        outcome?;
        Ok(!coding.done())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_their_bytes_arrive() -> Result<()> {
        let body =
            b"event: hello\ndata: {}\n\n: hi\n\nid: 7-aa\nevent: message\ndata: x\n\nid: 8-bb\n\nid: 9";
        for piece in 1..=body.len() {
            let (mut events, mut seen) = (Events::default(), Vec::new());
            for part in body.chunks(piece) {
                events.feed(part, &mut |event: Event<'_>| {
                    seen.push([event.id, event.name, event.data].map(|field| field.to_vec()));
                })?;
            }
            let expected: Vec<[Vec<u8>; 3]> =
                [["", "hello", "{}"], ["", "", ""], ["7-aa", "message", "x"], ["8-bb", "", ""]]
                    .map(|event| event.map(|field| field.as_bytes().to_vec()))
                    .into();
            assert_eq!(seen, expected, "in pieces of {piece}");
        }
        Ok(())
    }
}
