//! Redis' pub/sub, as its protocol (RESP 2) has it.

use anyhow::{Context, Result, bail};
use memchr::memchr;

use crate::client::leading_number;
use crate::cut::{Event, Grammar, Sink};

const CHANNEL: &str = "bench";

/// What a subscriber sends.
pub(crate) fn subscribe() -> Vec<u8> {
    format!("SUBSCRIBE {CHANNEL}\r\n").into_bytes()
}

/// Appends what publishes a message; answered by the number of those who were sent it.
pub(crate) fn publish(out: &mut Vec<u8>, text: &str) {
    let (channel_bytes, text_bytes) = (CHANNEL.len(), text.len());
    let command =
        format!("*3\r\n$7\r\nPUBLISH\r\n${channel_bytes}\r\n{CHANNEL}\r\n${text_bytes}\r\n{text}\r\n");
    out.extend_from_slice(command.as_bytes());
}

/// A message is an event without a name; that one is subscribed is an event named `hello`, and the answer to a PUBLISH one
/// named `published`.
#[derive(Default)]
pub(crate) struct PubSub;

impl Grammar for PubSub {
    fn parse_one(&mut self, body: &[u8], _last: bool, sink: &mut impl Sink) -> Result<Option<usize>> {
        let mut rest = body;
        let Some(line) = line(&mut rest) else { return Ok(None) };
        match line {
            [b':', ..] => sink.event(Event { name: b"published", ..Event::default() }, line),
            b"*3" => {
                let mut parts: [&[u8]; 3] = Default::default();
                for part in &mut parts {
                    match value(&mut rest)? {
                        Some(value) => *part = value,
                        None => return Ok(None),
                    }
                }
                let bytes = &body[..body.len() - rest.len()];
                match parts {
                    [b"message", _, data] => sink.event(Event { data, ..Event::default() }, bytes),
                    [b"subscribe", ..] => sink.event(Event { name: b"hello", ..Event::default() }, bytes),
                    [other, ..] => bail!("Redis says {}", String::from_utf8_lossy(other)),
                }
            }
            other => bail!("Redis: {}", String::from_utf8_lossy(other)),
        }
        Ok(Some(body.len() - rest.len()))
    }
}

/// Takes a line without its end.
fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = memchr(b'\n', rest)?;
    let line = rest[..end].trim_ascii_end();
    *rest = &rest[end + 1..];
    Some(line)
}

/// Takes a string or a number.
fn value<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>> {
    match line(rest) {
        None => Ok(None),
        Some([b':', number @ ..]) => Ok(Some(number)),
        Some([b'$', length @ ..]) => {
            let length = usize::try_from(leading_number(length).context("a string without a length")?)?;
            if rest.len() < length + 2 {
                return Ok(None);
            }
            let value = &rest[..length];
            *rest = &rest[length + 2..];
            Ok(Some(value))
        }
        Some(other) => bail!("Redis: an unexpected {}", String::from_utf8_lossy(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cut::tests::{assert_cut, cut};

    #[test]
    fn messages_are_the_same_however_their_bytes_arrive() -> Result<()> {
        let body = b"*3\r\n$9\r\nsubscribe\r\n$5\r\nbench\r\n:1\r\n\
            *3\r\n$7\r\nmessage\r\n$5\r\nbench\r\n$4\r\na\r\nb\r\n:1000\r\n*3\r\n$7\r\nmessage\r\n$5\r\nbench\r\n$1\r\nx";
        assert_cut(|| PubSub, &[body], &[["", "hello", ""], ["", "", "a\r\nb"], ["", "published", ""]])
    }

    #[test]
    fn an_error_is_no_event() {
        assert!(cut(PubSub, &[b"-ERR no\r\n"], 100).is_err());
    }
}
