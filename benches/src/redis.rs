//! Redis Streams under the loads that have a likeness there: XADD for a POST, XRANGE for catching up.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream as BlockingStream};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use memchr::memchr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cpu::Window;
use crate::load::closed_loop::{self, Answered, Exchange};
use crate::load::post::Sends;
use crate::report::Report;
use crate::sockets;
use crate::text;

const STREAM: &str = "bench";

/// Commands written at once when filling a stream.
const FILL_BURST: usize = 1_000;

/// Replies are nested this deep at most: a list of entries, an entry, its fields.
const DEPTH_MAX: u32 = 4;

#[derive(Args)]
struct Server {
    /// Where Redis listens.
    #[arg(long)]
    addr: SocketAddr,
    /// Its process.
    #[arg(long = "pid")]
    pids: Vec<u32>,
}

#[derive(Args)]
pub(crate) struct PostArguments {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    sends: Sends,
}

#[derive(Args)]
pub(crate) struct FillArguments {
    #[command(flatten)]
    server: Server,
    /// Entries.
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// The length of an entry's one value.
    #[arg(long, default_value_t = 256)]
    bytes: usize,
}

#[derive(Args)]
pub(crate) struct RangeArguments {
    #[command(flatten)]
    server: Server,
    /// Entries asked for at once.
    #[arg(long, default_value_t = 10_000)]
    page: u64,
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes());
    }
    bytes
}

struct Add {
    stream: TcpStream,
    commands: Vec<u8>,
    /// What has arrived and is not a whole reply.
    replies: Vec<u8>,
    bytes: usize,
}

impl Exchange for Add {
    fn add(&mut self, number: u64) {
        let text = Sends::text(self.bytes, number);
        self.commands.extend(command(&["XADD", STREAM, "*", "body", &text]));
    }

    async fn send(&mut self) -> Result<()> {
        self.stream.write_all(&self.commands).await?;
        self.commands.clear();
        Ok(())
    }

    async fn receive(&mut self, answered: &mut Vec<Answered>) -> Result<()> {
        while answered.is_empty() {
            ensure!(self.stream.read_buf(&mut self.replies).await? > 0, "Redis closed the connection");
            let mut rest = &self.replies[..];
            while let Some((good, length)) = added(rest) {
                answered.push(Answered { number: None, good });
                rest = &rest[length..];
            }
            let taken = self.replies.len() - rest.len();
            self.replies.drain(..taken);
        }
        Ok(())
    }
}

/// Whether the reply to XADD that `replies` begins with is good, and its length; none if it has not all arrived. The id
/// comes as `$15\r\n...\r\n`; an error as one line.
fn added(replies: &[u8]) -> Option<(bool, usize)> {
    let good = replies.first()? == &b'$';
    let first = memchr(b'\n', replies)? + 1;
    if !good {
        return Some((false, first));
    }
    Some((true, first + memchr(b'\n', &replies[first..])? + 1))
}

/// Durable appends: every XADD is in the append-only file and synced before it is answered.
pub(crate) fn post(arguments: &PostArguments) -> Result<Report> {
    let Server { addr, pids } = &arguments.server;
    closed_loop::connect_and_run(arguments.sends.size(), pids, async || {
        let stream = sockets::connect(*addr).await?;
        let (commands, replies) = (Vec::new(), Vec::new());
        Ok(Add { stream, commands, replies, bytes: arguments.sends.bytes })
    })
}

/// Fills the stream for `range`.
pub(crate) fn fill(arguments: &FillArguments) -> Result<Report> {
    let mut redis = Blocking::connect(arguments.server.addr)?;
    let mut adds = Vec::new();
    for first in (0..arguments.messages).step_by(FILL_BURST) {
        let burst = first..arguments.messages.min(first + FILL_BURST as u64);
        adds.clear();
        for number in burst.clone() {
            adds.extend(command(&["XADD", STREAM, "*", "body", &text::message("", number, arguments.bytes)]));
        }
        redis.stream.write_all(&adds)?;
        for _ in burst {
            redis.reply(&mut Reply::default(), 0)?;
        }
    }
    let mut report = Report::default();
    report.put("messages", arguments.messages);
    Ok(report)
}

/// Reads the whole stream.
pub(crate) fn range(arguments: &RangeArguments) -> Result<Report> {
    let mut redis = Blocking::connect(arguments.server.addr)?;
    let page = arguments.page.to_string();
    let (mut entries, mut bytes, mut from) = (0, 0, "-".to_owned());
    let window = Window::open(&arguments.server.pids)?;
    let started = Instant::now();
    loop {
        redis.stream.write_all(&command(&["XRANGE", STREAM, &from, "+", "COUNT", &page]))?;
        let mut reply = Reply::default();
        redis.reply(&mut reply, 0)?;
        entries += reply.entries;
        bytes += reply.bytes;
        if reply.entries == 0 {
            break;
        }
        from = format!("({}", String::from_utf8(reply.newest_id)?);
    }
    let seconds = started.elapsed().as_secs_f64();
    let used = window.close()?;
    let mut report = Report::default();
    report
        .put("events", entries)
        .rate("events_per_s", entries, seconds)
        .ratio("mb_per_s", bytes as f64 / seconds / 1e6);
    used.put(&mut report);
    Ok(report)
}

/// A reply to XRANGE, counted.
#[derive(Default)]
struct Reply {
    entries: u64,
    newest_id: Vec<u8>,
    /// Of all strings.
    bytes: u64,
    string: Vec<u8>,
}

struct Blocking {
    stream: BlockingStream,
    input: BufReader<BlockingStream>,
}

impl Blocking {
    fn connect(addr: SocketAddr) -> Result<Self> {
        let stream = BlockingStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(sockets::ANSWER_WAIT))?;
        let input = BufReader::with_capacity(256 << 10, stream.try_clone()?);
        Ok(Self { stream, input })
    }

    /// Reads one value, `depth` lists deep, and counts it.
    fn reply(&mut self, reply: &mut Reply, depth: u32) -> Result<()> {
        ensure!(depth < DEPTH_MAX, "a reply nested too deep");
        let (kind, length) = self.line()?;
        match kind {
            b'*' => {
                for index in 0..length {
                    self.reply(reply, depth + 1)?;
                    if depth == 1 && index == 0 {
                        reply.entries += 1;
                        std::mem::swap(&mut reply.newest_id, &mut reply.string);
                    }
                }
            }
            b'$' => {
                reply.bytes += length;
                reply.string.resize(usize::try_from(length)? + 2, 0);
                self.input.read_exact(&mut reply.string)?;
                reply.string.truncate(usize::try_from(length)?);
            }
            other => bail!("an unexpected reply {:?}", char::from(other)),
        }
        Ok(())
    }

    /// Reads the line that begins a value: its kind and its length.
    fn line(&mut self) -> Result<(u8, u64)> {
        let buffer = self.input.fill_buf()?;
        // Most lines lie whole in the buffer.
        let mut cut = Vec::new();
        let line = match memchr(b'\n', buffer) {
            Some(end) => &buffer[..=end],
            None => {
                self.input.read_until(b'\n', &mut cut)?;
                &cut
            }
        };
        let (&kind, digits) = line.split_first().context("Redis closed the connection")?;
        if kind == b'-' {
            bail!("Redis: {}", String::from_utf8_lossy(line));
        }
        let length = crate::client::leading_number(digits).context("a reply without a length")?;
        let taken = if cut.is_empty() { line.len() } else { 0 };
        self.input.consume(taken);
        Ok((kind, length))
    }
}
