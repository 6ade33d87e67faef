//! An HTTP/1.1 client for one kept-alive connection: requests are bytes made ahead, answers are read in order.
//! Several requests may be written before the first answer is read.

use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::chunked::Chunked;
use crate::sockets;

/// The head of an answer must fit.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The body of an answer must fit; streams are read elsewhere.
const BODY_BYTES_MAX: u64 = 64 << 20;

const READ_BYTES: usize = 64 << 10;

/// How a request shows who sends it.
#[derive(Clone, Copy)]
pub(crate) enum Identity<'a> {
    Nobody,
    Cookie(&'a str),
    Bearer(&'a str),
}

/// The bytes of a request.
pub(crate) fn request(method: &str, path: &str, identity: Identity<'_>, body: Option<&str>) -> Vec<u8> {
    let mut text = request_head(method, path, identity);
    if let Some(body) = body {
        // Writing to a string cannot fail.
        let _ = write!(text, "content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    }
    text.push_str("\r\n");
    text.push_str(body.unwrap_or(""));
    text.into_bytes()
}

/// The start of a request, to which more headers may be added.
pub(crate) fn request_head(method: &str, path: &str, identity: Identity<'_>) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    // Writing to a string cannot fail.
    let _ = match identity {
        Identity::Nobody => Ok(()),
        Identity::Cookie(cookie) => write!(text, "cookie: {cookie}\r\n"),
        Identity::Bearer(token) => write!(text, "authorization: Bearer {token}\r\n"),
    };
    text
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    Close,
}

/// The start of an answer.
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    pub(crate) cookie: Option<String>,
    /// What agrees to an upgrade to WebSocket.
    pub(crate) accept: Option<String>,
    /// Its length, the empty line included.
    pub(crate) bytes: usize,
}

impl Head {
    /// Reads the head that `input` starts with; none if it has not all arrived.
    pub(crate) fn parse(input: &[u8]) -> Result<Option<Self>> {
        let Some(end) = memmem::find(input, b"\r\n\r\n") else {
            ensure!(input.len() <= HEAD_BYTES_MAX, "an endless head");
            return Ok(None);
        };
        let text = std::str::from_utf8(&input[..end])?;
        let mut lines = text.split("\r\n");
        let status =
            lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).and_then(|line| line.get(..3));
        let status = status.context("not HTTP/1.1")?.parse()?;
        let mut head = Self { status, framing: Framing::Close, cookie: None, accept: None, bytes: end + 4 };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                head.framing = Framing::Length(value.parse()?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                ensure!(value.eq_ignore_ascii_case("chunked"), "unknown coding {value}");
                head.framing = Framing::Chunked;
            } else if name.eq_ignore_ascii_case("set-cookie") {
                head.cookie = value.split(';').next().map(str::to_owned);
            } else if name.eq_ignore_ascii_case("sec-websocket-accept") {
                head.accept = Some(value.to_owned());
            }
        }
        if status == 204 || status == 304 {
            head.framing = Framing::Length(0);
        }
        Ok(Some(head))
    }
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What lies before it in the buffer has been dealt with.
    start: usize,
    /// All that was read.
    pub(crate) bytes: u64,
}

/// An answer; its body is in the buffer that was given.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) cookie: Option<String>,
}

impl Answer {
    /// True for a 2xx status.
    pub(crate) fn good(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Client {
    pub(crate) async fn connect(server: SocketAddr) -> Result<Self> {
        Ok(Self::on(sockets::connect(server).await?))
    }

    /// Connects from the loopback address 127.0.0.`last`.
    pub(crate) async fn connect_from(server: SocketAddr, last: usize) -> Result<Self> {
        Ok(Self::on(sockets::connect_from(server, last).await?))
    }

    fn on(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::with_capacity(READ_BYTES), start: 0, bytes: 0 }
    }

    /// Sends the bytes of one or more requests.
    pub(crate) async fn send(&mut self, requests: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(requests).await?)
    }

    /// Whether the next answer has arrived, so that `receive` would not wait.
    pub(crate) fn answered(&self) -> Result<bool> {
        let rest = &self.buffer[self.start..];
        let Some(head) = Head::parse(rest)? else { return Ok(false) };
        Ok(match head.framing {
            Framing::Length(length) => rest.len() as u64 >= head.bytes as u64 + length,
            Framing::Chunked | Framing::Close => false,
        })
    }

    /// Reads the next answer.
    pub(crate) async fn receive(&mut self, body: &mut Vec<u8>) -> Result<Answer> {
        tokio::time::timeout(sockets::ANSWER_WAIT, self.receive_untimed(body)).await.context("no answer")?
    }

    async fn receive_untimed(&mut self, body: &mut Vec<u8>) -> Result<Answer> {
        body.clear();
        let head = loop {
            match Head::parse(&self.buffer[self.start..])? {
                Some(head) => break head,
                None => self.read().await?,
            }
        };
        self.start += head.bytes;
        match head.framing {
            Framing::Length(length) => {
                ensure!(length <= BODY_BYTES_MAX, "an answer of {length} bytes");
                let length = usize::try_from(length)?;
                while self.buffer.len() - self.start < length {
                    self.read().await?;
                }
                body.extend_from_slice(&self.buffer[self.start..self.start + length]);
                self.start += length;
            }
            Framing::Chunked => {
                let mut coding = Chunked::new();
                loop {
                    let sink = &mut |data: &[u8]| body.extend_from_slice(data);
                    self.start += coding.feed(&self.buffer[self.start..], sink)?;
                    ensure!(body.len() as u64 <= BODY_BYTES_MAX, "an endless answer");
                    if coding.done() {
                        break;
                    }
                    self.read().await?;
                }
            }
            Framing::Close => bail!("an answer {} that ends with the connection", head.status),
        }
        Ok(Answer { status: head.status, cookie: head.cookie })
    }

    /// One request, one answer that must be good; its body as text.
    pub(crate) async fn call(&mut self, request: &[u8]) -> Result<(String, Answer)> {
        let mut body = Vec::new();
        self.send(request).await?;
        let answer = self.receive(&mut body).await?;
        let text = String::from_utf8(body)?;
        ensure!(answer.good(), "status {}: {text}", answer.status);
        Ok((text, answer))
    }

    async fn read(&mut self) -> Result<()> {
        if self.start == self.buffer.len() || self.start >= READ_BYTES {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let read = self.stream.read_buf(&mut self.buffer).await?;
        ensure!(read > 0, "the server closed the connection");
        self.bytes += read as u64;
        Ok(())
    }
}

/// The string value of a field in flat JSON whose strings hold no escapes, as ids and tokens do.
pub(crate) fn string_field<'a>(json: &'a str, name: &str) -> Result<&'a str> {
    let key = format!("\"{name}\":\"");
    let start = json.find(&key).with_context(|| format!("no {name} in {json}"))? + key.len();
    let length = json[start..].find('"').with_context(|| format!("no end of {name} in {json}"))?;
    Ok(&json[start..start + length])
}

/// The number that `digits` starts with; none if it starts with none or with one too large.
pub(crate) fn leading_number(digits: &[u8]) -> Option<u64> {
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 || length > 18 {
        return None;
    }
    Some(digits[..length].iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_whole_or_not_at_all() -> Result<()> {
        let bytes =
            b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nSet-Cookie: identity=x; Path=/\r\n\r\nhello";
        let whole = bytes.len() - 5;
        for length in 0..whole {
            assert!(Head::parse(&bytes[..length])?.is_none());
        }
        let head = Head::parse(bytes)?.context("a head")?;
        assert_eq!((head.status, head.framing, head.bytes), (201, Framing::Length(5), whole));
        assert_eq!(head.cookie.as_deref(), Some("identity=x"));
        Ok(())
    }

    #[test]
    fn a_number_ends_at_the_first_other_byte() {
        assert_eq!(leading_number(b"1312-0a1b"), Some(1312));
        assert_eq!(leading_number(b"-1"), None);
        assert_eq!(leading_number(b"1234567890123456789"), None);
    }
}
