//! An open stream of events, whatever carries them: bytes go from the socket into one buffer that all streams share, the
//! transfer's own bytes are taken off there, and the rest is cut into events.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Poll, ready};

use anyhow::{Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::chunked::Chunked;
use crate::client::{Framing, Head};
use crate::cut::{Cutter, Event, Grammar, Sink};
use crate::nats::Nats;
use crate::pubsub::PubSub;
use crate::sessions::Session;
use crate::sockets;
use crate::sse::Sse;
use crate::ws::{self, Frames};

/// Larger than what a stream gets between two reads at the highest load, small enough for the processor's cache.
const READ_BYTES: usize = 256 << 10;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// How a stream is opened, and what comes through it.
#[derive(Clone)]
pub(crate) struct Opening {
    /// What is sent first; with an answer of HTTP, except to Redis.
    pub(crate) request: Vec<u8>,
    /// What is said once that was answered.
    pub(crate) then: Vec<u8>,
    pub(crate) protocol: Protocol,
}

/// What an opened stream speaks.
#[derive(Clone, Copy)]
pub(crate) enum Protocol {
    /// Server-Sent Events.
    Sse,
    /// A session of Scrollback over WebSocket, which acknowledges as soon as that many events have come.
    Session { acknowledge_at: u64 },
    /// WebSocket, each message an event.
    Messages,
    /// NATS over WebSocket.
    Nats,
    /// Redis, subscribed or publishing.
    PubSub,
}

/// What lies between the socket and the events.
enum Transfer {
    Plain,
    Chunked(Chunked),
    Frames(Frames),
}

/// What the events are cut by.
enum Cut {
    Sse(Cutter<Sse>),
    Session { cutter: Cutter<Session>, acknowledge_at: u64 },
    Messages(Cutter<Whole>),
    Nats(Cutter<Nats>),
    PubSub(Cutter<PubSub>),
}

/// An open stream.
pub(crate) struct Stream {
    tcp: TcpStream,
    transfer: Transfer,
    cut: Cut,
    /// What came in one read with the head.
    early: Vec<u8>,
    /// What the stream itself has to answer.
    out: Vec<u8>,
    /// All that was read, the transfer's own bytes included.
    pub(crate) bytes: u64,
    /// All that was sent once the stream was open.
    pub(crate) sent: u64,
}

impl Stream {
    /// Opens the `index`-th of many streams and reads the head of the answer.
    pub(crate) async fn open(server: SocketAddr, index: usize, opening: &Opening) -> Result<Self> {
        let tcp = sockets::connect_nth(server, index).await?;
        tokio::time::timeout(sockets::ANSWER_WAIT, Self::start(tcp, opening)).await?
    }

    async fn start(mut tcp: TcpStream, opening: &Opening) -> Result<Self> {
        tcp.write_all(&opening.request).await?;
        let (transfer, early) = match opening.protocol {
            Protocol::PubSub => (Transfer::Plain, Vec::new()),
            _ => head(&mut tcp).await?,
        };
        let cut = match opening.protocol {
            Protocol::Sse => Cut::Sse(Cutter::default()),
            Protocol::Session { acknowledge_at } => {
                Cut::Session { cutter: Cutter::default(), acknowledge_at }
            }
            Protocol::Messages => Cut::Messages(Cutter::default()),
            Protocol::Nats => Cut::Nats(Cutter::default()),
            Protocol::PubSub => Cut::PubSub(Cutter::default()),
        };
        let mut stream = Self { tcp, transfer, cut, early, out: Vec::new(), bytes: 0, sent: 0 };
        if !opening.then.is_empty() {
            stream.say(&opening.then).await?;
        }
        Ok(stream)
    }

    /// Sends a message: as it is, or over WebSocket in one frame.
    pub(crate) async fn say(&mut self, message: &[u8]) -> Result<()> {
        self.put(message);
        self.send().await
    }

    /// Adds a message to what is sent next.
    pub(crate) fn put(&mut self, message: &[u8]) {
        match self.transfer {
            Transfer::Frames(_) => ws::text(&mut self.out, message),
            _ => self.out.extend_from_slice(message),
        }
    }

    /// Sends what was put.
    pub(crate) async fn send(&mut self) -> Result<()> {
        self.tcp.write_all(&self.out).await?;
        self.sent += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }

    /// Waits for bytes, reads once, and gives the events that are whole now to `sink`; false at the stream's end.
    pub(crate) async fn read(&mut self, sink: &mut impl Sink) -> Result<bool> {
        let open = if self.early.is_empty() {
            std::future::poll_fn(|context| {
                READ_BUFFER.with_borrow_mut(|buffer| {
                    let mut buffer = ReadBuf::new(buffer);
                    ready!(Pin::new(&mut self.tcp).poll_read(context, &mut buffer))?;
                    if buffer.filled().is_empty() {
                        return Poll::Ready(anyhow::Ok(false));
                    }
                    Poll::Ready(self.take(buffer.filled(), sink))
                })
            })
            .await?
        } else {
            let early = std::mem::take(&mut self.early);
            self.take(&early, sink)?
        };
        if !self.out.is_empty() {
            self.send().await?;
        }
        Ok(open)
    }

    fn take(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<bool> {
        self.bytes += bytes.len() as u64;
        let open = match &mut self.transfer {
            Transfer::Plain => {
                self.cut.feed(bytes, false, sink)?;
                true
            }
            Transfer::Chunked(coding) => {
                let (cut, mut outcome) = (&mut self.cut, Ok(()));
                coding.feed(bytes, &mut |data| {
                    if outcome.is_ok() {
                        outcome = cut.feed(data, false, sink);
                    }
                })?;
                outcome?;
                !coding.done()
            }
            Transfer::Frames(frames) => {
                let cut = &mut self.cut;
                frames.feed(bytes, &mut self.out, &mut |data, last| cut.feed(data, last, sink))?;
                !frames.closed()
            }
        };
        if let Cut::Session { cutter, acknowledge_at } = &mut self.cut
            && let Some(ack) = cutter.grammar().acknowledge(*acknowledge_at)
        {
            ws::text(&mut self.out, ack.as_bytes());
        }
        Ok(open)
    }
}

/// Reads the head of the answer to a request for a stream: how it goes on, and what came of it with the head.
async fn head(tcp: &mut TcpStream) -> Result<(Transfer, Vec<u8>)> {
    let mut early = Vec::with_capacity(1024);
    let head = loop {
        ensure!(tcp.read_buf(&mut early).await? > 0, "the server closed the connection");
        if let Some(head) = Head::parse(&early)? {
            break head;
        }
    };
    let transfer = match head.framing {
        _ if ws::agreed(&head) => Transfer::Frames(Frames::new()),
        _ if head.status != 200 => bail!("the stream was refused: {}", String::from_utf8_lossy(&early)),
        Framing::Chunked => Transfer::Chunked(Chunked::new()),
        Framing::Close => Transfer::Plain,
        Framing::Length(length) => bail!("a stream of {length} bytes"),
    };
    Ok((transfer, early.split_off(head.bytes)))
}

impl Cut {
    fn feed(&mut self, data: &[u8], last: bool, sink: &mut impl Sink) -> Result<()> {
        match self {
            Self::Sse(cutter) => cutter.feed(data, last, sink),
            Self::Session { cutter, .. } => cutter.feed(data, last, sink),
            Self::Messages(cutter) => cutter.feed(data, last, sink),
            Self::Nats(cutter) => cutter.feed(data, last, sink),
            Self::PubSub(cutter) => cutter.feed(data, last, sink),
        }
    }
}

/// Each message is an event.
#[derive(Default)]
struct Whole;

impl Grammar for Whole {
    fn parse_one(&mut self, body: &[u8], last: bool, sink: &mut impl Sink) -> Result<Option<usize>> {
        if !last {
            return Ok(None);
        }
        sink.event(Event { data: body, ..Event::default() }, body);
        Ok(Some(body.len()))
    }

    // What is recognized may end in the middle of a message.
    fn recognizes(&self) -> bool {
        false
    }
}
