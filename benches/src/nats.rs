//! The text protocol of NATS, which comes over WebSocket as it does over TCP: a stream of bytes, whatever its frames.

use anyhow::{Context, Result, bail};
use memchr::memchr;

use crate::client::leading_number;
use crate::cut::{Event, Grammar, Sink};

const SUBJECT: &str = "bench";

/// What begins a conversation: no answer to each command, errors only.
const CONNECT: &str =
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"bench\",\"version\":\"1\"}\r\n";

/// The server's answer to a PING says that all before it was dealt with.
const PING: &str = "PING\r\n";

/// What a subscriber sends first. It is attached when it gets its PONG.
pub(crate) fn subscribe() -> String {
    format!("{CONNECT}SUB {SUBJECT} 1\r\n{PING}")
}

/// What a publisher sends first; answered by PONG.
pub(crate) fn connect() -> String {
    format!("{CONNECT}{PING}")
}

/// Appends what publishes a message.
pub(crate) fn publish(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(format!("PUB {SUBJECT} {}\r\n{text}\r\n", text.len()).as_bytes());
}

/// Appends the question that is answered by PONG once all messages before it were taken.
pub(crate) fn ask(out: &mut Vec<u8>) {
    out.extend_from_slice(PING.as_bytes());
}

/// A message is an event without a name; a PONG is an event named `hello`.
#[derive(Default)]
pub(crate) struct Nats;

impl Grammar for Nats {
    fn parse_one(&mut self, body: &[u8], _last: bool, sink: &mut impl Sink) -> Result<Option<usize>> {
        let Some(line_end) = memchr(b'\n', body).map(|end| end + 1) else { return Ok(None) };
        let line = body[..line_end].trim_ascii_end();
        if line.starts_with(b"MSG ") {
            let length = line.rsplit(|&byte| byte == b' ').next().and_then(leading_number);
            let length = usize::try_from(length.context("a message without a length")?)?;
            let whole = line_end + length + 2;
            if body.len() < whole {
                return Ok(None);
            }
            let data = &body[line_end..line_end + length];
            sink.event(Event { data, ..Event::default() }, &body[..whole]);
            return Ok(Some(whole));
        }
        match line {
            b"PONG" => sink.event(Event { name: b"hello", ..Event::default() }, line),
            // The server gives up a connection that leaves several unanswered, minutes apart; no window is that long.
            b"PING" => sink.event(Event { name: b"heartbeat", ..Event::default() }, line),
            _ if line.starts_with(b"INFO ") => {}
            _ => bail!("NATS: {}", String::from_utf8_lossy(line)),
        }
        Ok(Some(line_end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cut::tests::{assert_cut, cut};

    #[test]
    fn messages_are_the_same_however_their_bytes_arrive() -> Result<()> {
        let body =
            b"INFO {\"a\":1}\r\nPONG\r\nMSG bench 1 4\r\na\r\nb\r\nMSG bench 1 0\r\n\r\nMSG bench 1 3\r\nab";
        assert_cut(|| Nats, &[body], &[["", "hello", ""], ["", "", "a\r\nb"], ["", "", ""]])
    }

    #[test]
    fn an_error_is_no_event() {
        assert!(cut(Nats, &[b"-ERR 'Slow Consumer'\r\n"], 100).is_err());
    }
}
