//! What the kernel allows: a server of one thread that waits on epoll and knows just enough HTTP for `driver post` and
//! `driver fanout`.
//!
//! Each round takes what all connections have sent, writes it to a file as one group with one fdatasync if there is a
//! file, gives every event to every reader by one send, and all its answers to every sender by one. It keeps no order but
//! the order of arrival, checks nothing and knows nobody. A reader whose socket is full is cut off.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use memchr::memmem;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::{append, frames};
use crate::client::leading_number;
use crate::report::Report;
use crate::sockets;

const LISTENER: u64 = 0;

/// Connections looked at in one round; the most that share one sync.
const READY_MAX: usize = 1_024;

const READ_BYTES: usize = 64 << 10;

const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: hello\ndata: {\"type\":\"hello\"}\n\n";

#[derive(Args)]
pub(crate) struct Arguments {
    /// The port of 127.0.0.1 to listen on; 0 for a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Write what is posted to a file in this directory, and sync it before the answer.
    #[arg(long)]
    log: Option<PathBuf>,
}

/// A connection that may send requests.
struct Connection {
    stream: TcpStream,
    /// Of a request that has not all arrived.
    input: Vec<u8>,
    /// Answers to what was posted in this round.
    answers: Vec<u8>,
}

/// What was posted in one round.
struct Post {
    connection: u64,
    body: Vec<u8>,
}

struct Server {
    epoll: rustix::fd::OwnedFd,
    listener: TcpListener,
    connections: HashMap<u64, Connection>,
    /// The connections that became streams; nothing is read from them any more.
    readers: Vec<TcpStream>,
    next: u64,
    offset: u64,
    log: Option<Log>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report> {
    sockets::raise_open_files()?;
    let log = arguments.log.as_deref().map(Log::create).transpose()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, arguments.port))?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    println!("listening on http://{}", listener.local_addr()?);
    let (connections, readers) = (HashMap::new(), Vec::new());
    Server { epoll, listener, connections, readers, next: LISTENER + 1, offset: 0, log }.serve()
}

impl Server {
    fn serve(&mut self) -> Result<Report> {
        let mut ready = Vec::with_capacity(READY_MAX);
        let mut buffer = vec![0; READ_BYTES];
        let mut posts = Vec::new();
        loop {
            ready.clear();
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut ready), None)?;
            for event in &ready {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    id => self.read(id, &mut buffer, &mut posts)?,
                }
            }
            if let (Some(log), false) = (&mut self.log, posts.is_empty()) {
                log.append(&posts)?;
            }
            for post in &posts {
                self.publish(post)?;
            }
            for post in posts.drain(..) {
                self.answer(post.connection)?;
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            epoll::add(&self.epoll, &stream, EventData::new_u64(self.next), EventFlags::IN)?;
            self.connections.insert(self.next, Connection { stream, input: Vec::new(), answers: Vec::new() });
            self.next += 1;
        }
    }

    fn read(&mut self, id: u64, buffer: &mut [u8], posts: &mut Vec<Post>) -> Result<()> {
        let connection = self.connections.get_mut(&id).context("an event of a connection that is gone")?;
        match connection.stream.read(buffer) {
            // Closing a socket takes it out of epoll.
            Ok(0) | Err(_) => drop(self.connections.remove(&id)),
            Ok(read) => {
                connection.input.extend_from_slice(&buffer[..read]);
                if connection.input.starts_with(b"GET ") && connection.input.ends_with(b"\r\n\r\n") {
                    return self.start_stream(id);
                }
                while let Some(body) = connection.next_post()? {
                    posts.push(Post { connection: id, body });
                }
            }
        }
        Ok(())
    }

    fn start_stream(&mut self, id: u64) -> Result<()> {
        let mut reader = self.connections.remove(&id).context("a reader that is gone")?.stream;
        epoll::delete(&self.epoll, &reader)?;
        reader.write_all(STREAM_HEAD)?;
        self.readers.push(reader);
        Ok(())
    }

    fn publish(&mut self, post: &Post) -> Result<()> {
        self.offset += 1;
        let offset = self.offset;
        if !self.readers.is_empty() {
            let event = event(offset, &post.body)?;
            self.readers.retain_mut(|reader| {
                // A send that is cut short would leave the stream broken; dropping it is the honest end.
                matches!(reader.write(event.as_bytes()), Ok(sent) if sent == event.len())
            });
        }
        // A sender may be gone by now.
        let Some(sender) = self.connections.get_mut(&post.connection) else { return Ok(()) };
        let body = format!("{{\"offset\":{offset}}}");
        let answer = format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        sender.answers.extend_from_slice(answer.as_bytes());
        Ok(())
    }

    /// Sends a connection all its answers at once.
    fn answer(&mut self, id: u64) -> Result<()> {
        let Some(sender) = self.connections.get_mut(&id) else { return Ok(()) };
        // Another of its posts may have been the one that was first here.
        if !sender.answers.is_empty() {
            sender.stream.write_all(&sender.answers)?;
            sender.answers.clear();
        }
        Ok(())
    }
}

/// An event as long as one of Scrollback's.
fn event(offset: u64, body: &[u8]) -> Result<String> {
    let text = String::from_utf8_lossy(body);
    let Some(text) = text.strip_prefix('{') else { bail!("a body that is no object") };
    Ok(format!(
        "id: {offset}-00000000\nevent: message\ndata: {{\"offset\":{offset},\
         \"at\":\"2025-01-01T00:00:00.000000Z\",\"type\":\"message\",\"event\":\"sent\",\
         \"id\":\"M00000000000000\",\"channel\":\"C00000000000000\",\
         \"sender\":\"U00000000000000\",{text}\n\n"
    ))
}

impl Connection {
    /// Takes the body of the next POST from the input.
    fn next_post(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(head) = memmem::find(&self.input, b"\r\n\r\n").map(|end| end + 4) else { return Ok(None) };
        const LENGTH: &[u8] = b"content-length: ";
        let length = memmem::find(&self.input[..head], LENGTH).map(|at| at + LENGTH.len());
        let length = length.and_then(|at| leading_number(&self.input[at..]));
        let end = head + usize::try_from(length.context("a POST without a length")?)?;
        if self.input.len() < end {
            return Ok(None);
        }
        let body = self.input[head..end].to_vec();
        self.input.drain(..end);
        Ok(Some(body))
    }
}

/// A file written round and round, filled with zeros ahead as the floor of appending has it.
struct Log {
    file: File,
    at: u64,
    group: Vec<u8>,
}

impl Log {
    fn create(dir: &Path) -> Result<Self> {
        let path = dir.join("floor-server");
        let file = append::zero_filled(&path)?;
        // Nobody needs its name any more, and so nothing has to remove it.
        fs::remove_file(&path)?;
        Ok(Self { file, at: 0, group: Vec::new() })
    }

    fn append(&mut self, posts: &[Post]) -> Result<()> {
        self.group.clear();
        posts.iter().for_each(|post| frames::write(&mut self.group, &post.body));
        if self.at + self.group.len() as u64 > append::FILE_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(&self.group, self.at)?;
        self.at += self.group.len() as u64;
        Ok(self.file.sync_data()?)
    }
}
