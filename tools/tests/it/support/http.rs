//! HTTP/1.1 over a plain socket or inside TLS, written by hand so that a test says exactly which bytes go out and sees exactly which
//! bytes come back: no pool, no redirects, no repair of what the server sends.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::server::Address;

/// No answer of the server takes longer than this; a test that waits longer has found a hang.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(40);

/// Where every code is listed with its status.
const API_DOC: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api.md"));

/// The largest head or body that a test is ready to read, so that a runaway answer ends the test, not the machine.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// One answer, complete.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of an answer that must have this status.
    #[track_caller]
    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.body.is_empty() {
            return Value::Null;
        }
        assert_eq!(self.media_type(), "application/json", "{}", self.text());
        serde_json::from_slice(&self.body).expect("an answer in JSON")
    }

    /// Asserts a refusal: this status, a complete `problem+json`, a code that is documented with this status; gives the
    /// code.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.media_type(), "application/problem+json", "{}", self.text());
        let problem: Value = serde_json::from_slice(&self.body).expect("a problem in JSON");
        for field in ["type", "title", "code", "detail"] {
            assert!(problem[field].is_string(), "`{field}` is missing in {problem}");
        }
        assert_eq!(problem["status"], status, "the status inside the problem: {problem}");
        let code = problem["code"].as_str().unwrap();
        assert_ne!(code, "internal", "a defect of the server: {problem}");
        let row = format!("| {status} | `{code}` |");
        assert!(API_DOC.contains(&row), "docs/api.md does not list {status} `{code}`");
        code.to_owned()
    }

    /// Asserts a refusal with this code.
    #[track_caller]
    pub(crate) fn refused_as(&self, status: u16, code: &str) {
        assert_eq!(self.refused(status), code, "{}", self.text());
    }

    fn media_type(&self) -> &str {
        self.header("content-type").unwrap_or("").split(';').next().unwrap_or("").trim()
    }
}

/// What bytes go through.
enum Pipe {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Pipe {
    fn tcp(&self) -> &TcpStream {
        match self {
            Pipe::Plain(stream) => stream,
            Pipe::Tls(stream) => &stream.sock,
        }
    }
}

/// A connection and what was read from it beyond the last answer.
pub(crate) struct Conn {
    pipe: Pipe,
    buffer: Vec<u8>,
    taken: usize,
}

impl Conn {
    /// A plain connection.
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        Self::on(TcpStream::connect_timeout(&address, ANSWER_WAIT)?)
    }

    /// A connection in the way that the address asks for.
    pub(crate) fn reach(address: &Address) -> io::Result<Self> {
        let way = address.way();
        let to = address.get();
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        if let Some(from) = way.from {
            socket.bind(&SocketAddr::new(from, 0).into())?;
        }
        if let Some(bytes) = way.receive_bytes {
            // Before it connects, or the other side is told of a larger window.
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.connect_timeout(&to.into(), ANSWER_WAIT)?;
        let mut conn = Self::on(socket.into())?;
        if let Some(patience) = way.patience {
            conn.set_wait(patience);
        }
        if let (Some(trust), Pipe::Plain(stream)) = (way.trust, &conn.pipe) {
            let name = ServerName::try_from("localhost").expect("a name");
            let mut session = ClientConnection::new(Arc::clone(&trust), name).map_err(io::Error::other)?;
            let mut stream = stream.try_clone()?;
            while session.is_handshaking() {
                session.complete_io(&mut stream)?;
            }
            conn.pipe = Pipe::Tls(Box::new(StreamOwned::new(session, stream)));
        }
        Ok(conn)
    }

    fn on(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WAIT))?;
        stream.set_write_timeout(Some(ANSWER_WAIT))?;
        Ok(Self { pipe: Pipe::Plain(stream), buffer: Vec::new(), taken: 0 })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.pipe {
            Pipe::Plain(stream) => stream.write_all(bytes),
            Pipe::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// The other end of a plain connection, for a thread of its own that writes.
    pub(crate) fn writer(&self) -> TcpStream {
        self.pipe.tcp().try_clone().expect("a socket")
    }

    pub(crate) fn set_wait(&mut self, wait: Duration) {
        self.pipe.tcp().set_read_timeout(Some(wait.max(Duration::from_millis(1)))).expect("a socket option");
    }

    pub(crate) fn set_write_wait(&mut self, wait: Duration) {
        self.pipe.tcp().set_write_timeout(Some(wait)).expect("a socket option");
    }

    /// What has come, as it is; waits if nothing has.
    pub(crate) fn read_some(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.buffer.len() && self.fill()? == 0 {
            return Ok(0);
        }
        let count = out.len().min(self.buffer.len() - self.taken);
        out[..count].copy_from_slice(&self.buffer[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }

    /// Says that nothing more is sent, or taken. What is broken already stays as it is.
    pub(crate) fn shutdown(&self, how: Shutdown) {
        let _ = self.pipe.tcp().shutdown(how);
    }

    /// Whether the server has hung up on this idle connection.
    pub(crate) fn is_stale(&self) -> bool {
        if self.pipe.tcp().set_nonblocking(true).is_err() {
            return true;
        }
        let peeked = self.pipe.tcp().peek(&mut [0]);
        let open = matches!(peeked, Err(ref error) if error.kind() == io::ErrorKind::WouldBlock);
        self.pipe.tcp().set_nonblocking(false).is_err() || !open
    }

    /// Reads until the server closes, or until `wait` of silence: for what is not one well-formed answer.
    pub(crate) fn read_to_close(&mut self, wait: Duration) -> (Vec<u8>, bool) {
        self.set_wait(wait);
        loop {
            match self.fill() {
                Ok(0) => return (self.buffer.split_off(self.taken), true),
                Ok(_) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
                    ) =>
                {
                    return (self.buffer.split_off(self.taken), true);
                }
                Err(_) => return (self.buffer.split_off(self.taken), false),
            }
        }
    }

    /// One complete answer.
    pub(crate) fn read_response(&mut self) -> io::Result<Response> {
        let mut response = self.read_head()?;
        response.body = self.read_rest(&response)?;
        Ok(response)
    }

    /// The body that follows this head.
    pub(crate) fn read_rest(&mut self, head: &Response) -> io::Result<Vec<u8>> {
        if head.status == 204 || head.status == 304 {
            return Ok(Vec::new());
        }
        if head.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
            let mut body = Vec::new();
            while let Some(chunk) = self.read_chunk()? {
                body.extend_from_slice(&chunk);
            }
            Ok(body)
        } else if let Some(length) = head.header("content-length") {
            let length = length.parse().map_err(io::Error::other)?;
            self.read_exactly(length)
        } else {
            while self.fill()? > 0 {}
            Ok(self.buffer.split_off(self.taken))
        }
    }

    /// The status line and the headers.
    pub(crate) fn read_head(&mut self) -> io::Result<Response> {
        let status_line = self.read_line()?;
        let status = status_line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..5))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| io::Error::other(format!("not a status line: {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                return Ok(Response { status, headers, body: Vec::new() });
            }
            let (name, value) =
                line.split_once(':').ok_or_else(|| io::Error::other(format!("not a header: {line:?}")))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The next chunk of a chunked body; none at its end. A chunk that has come only in part when the wait is over stays
    /// in the buffer, so that the call can be made again.
    pub(crate) fn read_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let unread = &self.buffer[self.taken..];
            if let Some(end) = unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&unread[..end]).into_owned();
                let length = usize::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16)
                    .map_err(|_| io::Error::other(format!("not a chunk length: {line:?}")))?;
                let (start, stop) = (end + 2, end + 2 + length);
                if let Some(b"\r\n") = unread.get(stop..stop + 2) {
                    let chunk = unread[start..stop].to_vec();
                    self.taken += stop + 2;
                    return Ok((length > 0).then_some(chunk));
                }
                if unread.len() >= stop + 2 {
                    return Err(io::Error::other("a chunk is longer than its length"));
                }
            }
            self.fill_or_fail()?;
        }
    }

    fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer[self.taken..].windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer[self.taken..self.taken + end].to_vec();
                self.taken += end + 2;
                return String::from_utf8(line).map_err(io::Error::other);
            }
            self.fill_or_fail()?;
        }
    }

    fn read_exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() - self.taken < length {
            self.fill_or_fail()?;
        }
        let bytes = self.buffer[self.taken..self.taken + length].to_vec();
        self.taken += length;
        Ok(bytes)
    }

    fn fill_or_fail(&mut self) -> io::Result<()> {
        match self.fill()? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        if self.buffer.len() - self.taken > ANSWER_BYTES_MAX {
            return Err(io::Error::other("the answer is larger than any answer should be"));
        }
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        let mut chunk = [0; 16 << 10];
        let count = match &mut self.pipe {
            Pipe::Plain(stream) => stream.read(&mut chunk)?,
            Pipe::Tls(stream) => stream.read(&mut chunk)?,
        };
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(count)
    }
}

/// Any text as a part of a query.
pub(crate) fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
