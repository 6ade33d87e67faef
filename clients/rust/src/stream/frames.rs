//! Server-Sent Events as frames: what stands between two blank lines, whatever it means.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::ACCEPT;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::{Silence, read};
use crate::error::Error;
use crate::link::{ANSWER_TIMEOUT, Address, Link};

/// No line is longer but by mistake: a message has 64 KiB, of which every byte may need six in JSON.
const LINE_BYTES_MAX: usize = 4 << 20;

/// An open stream of frames.
pub(crate) struct Frames {
    /// Drives the connection.
    _link: Link,
    body: Incoming,
    parser: Parser,
    silence: Silence,
}

impl Frames {
    pub(crate) async fn open(address: &Address, path: &str, silence: Silence) -> Result<Frames, Error> {
        let mut link = Link::open(address).await?;
        let request = link.request(Method::GET, path).header(ACCEPT, "text/event-stream");
        let answer = link.begin(request, None, ANSWER_TIMEOUT).await?;
        Ok(Frames { _link: link, body: answer.into_body(), parser: Parser::default(), silence })
    }

    /// The next frame. May be dropped while it waits: nothing is lost.
    pub(crate) async fn next(&mut self) -> Result<Frame, Error> {
        loop {
            if let Some(frame) = self.parser.next()? {
                return Ok(frame);
            }
            let reading = async {
                let Some(frame) = self.body.frame().await else {
                    return Err(Error::away("the stream has ended"));
                };
                Ok(frame.map_err(|error| Error::away(format!("the stream broke: {error}")))?.into_data())
            };
            if let Ok(data) = self.silence.watch(reading, "the stream is silent").await? {
                self.parser.push(&data);
            }
        }
    }

    /// The server says how often it says that it lives.
    pub(super) fn beats(&mut self, heartbeat: Duration) {
        self.silence.beats(heartbeat);
    }

    /// The last `retry:`.
    pub(crate) fn retry(&self) -> Option<Duration> {
        self.parser.retry
    }
}

/// The lines of a stream, put together to frames as the standard says.
#[derive(Default)]
struct Parser {
    bytes: Vec<u8>,
    /// How many of them were looked at.
    parsed: usize,
    /// The last `retry:`.
    retry: Option<Duration>,
    frame: Frame,
}

/// What stands between two blank lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) id: Option<String>,
    /// Its `event:`.
    pub(crate) kind: String,
    pub(crate) data: String,
}

impl Parser {
    fn push(&mut self, bytes: &Bytes) {
        self.bytes.drain(..self.parsed);
        self.parsed = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, if one has come.
    fn next(&mut self) -> Result<Option<Frame>, Error> {
        while let Some(length) = self.bytes[self.parsed..].iter().position(|byte| *byte == b'\n') {
            let line = &self.bytes[self.parsed..self.parsed + length];
            self.parsed += length + 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line =
                std::str::from_utf8(line).map_err(|_| Error::unreadable("a line that is not UTF-8"))?;
            if line.is_empty() {
                let frame = std::mem::take(&mut self.frame);
                if !frame.data.is_empty() {
                    return Ok(Some(frame));
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => self.frame.id = Some(value.to_owned()),
                "event" => value.clone_into(&mut self.frame.kind),
                "data" if self.frame.data.is_empty() => value.clone_into(&mut self.frame.data),
                "data" => self.frame.data.extend(["\n", value]),
                "retry" => self.retry = value.parse().ok().map(Duration::from_millis),
                _ => {}
            }
        }
        if self.bytes.len() - self.parsed > LINE_BYTES_MAX {
            return Err(Error::unreadable("a line that does not end"));
        }
        Ok(None)
    }
}

impl Frame {
    /// Its data, which is JSON.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        read(&self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_the_same_wherever_the_bytes_are_cut() {
        let text = ": comment\nretry: 1500\nevent: hello\ndata: {\"a\":1}\n\nid: 7-0a\r\nevent:message\r\ndata: x\r\ndata: y\r\n\r\n\n\n";
        let expected = [
            Frame { id: None, kind: "hello".into(), data: "{\"a\":1}".into() },
            Frame { id: Some("7-0a".into()), kind: "message".into(), data: "x\ny".into() },
        ];
        for cut in 0..text.len() {
            let mut parser = Parser::default();
            let mut frames = Vec::new();
            for part in [&text[..cut], &text[cut..]] {
                parser.push(&Bytes::copy_from_slice(part.as_bytes()));
                while let Some(frame) = parser.next().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, expected, "cut at {cut}");
            assert_eq!(parser.retry, Some(Duration::from_millis(1500)));
        }
    }

    #[test]
    fn a_line_that_does_not_end_is_given_up() {
        let mut parser = Parser::default();
        parser.push(&Bytes::from(vec![b'x'; LINE_BYTES_MAX + 1]));
        assert!(parser.next().is_err());
    }
}
