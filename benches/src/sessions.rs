//! What a session of Scrollback says over WebSocket: messages of one JSON object each, of which those with events are taken
//! apart as they arrive.

use anyhow::{Context, Result, bail};
use memchr::{memchr, memmem};

use crate::client::leading_number;
use crate::cut::{Event, Grammar, Known, Sink};

/// What stands before the events of a message, without the bracket.
const EVENTS: &[u8] = b"\"events\":";

/// Every event begins with it.
const OFFSET: &[u8] = b"{\"offset\":";

/// How much is shown of what is neither.
const SHOWN_BYTES: usize = 40;

/// Where in a message the next byte stands.
#[derive(Default)]
enum At {
    #[default]
    Start,
    /// At the bracket or the comma before an event, or at the bracket behind the last one.
    Events,
    /// Behind the events.
    Rest,
}

/// One session; what it says that is no event is an event with the name of its type.
///
/// The bytes of an event are those from the bracket or comma before it on: the first of them is not its own.
#[derive(Default)]
pub(crate) struct Session {
    at: At,
    /// As `hello` has it.
    id: Vec<u8>,
    unacknowledged: u64,
    newest: u64,
}

/// The `id` of the message that opens a session.
const OPEN_ID: &str = "open";

/// The message that opens a session with these filters, in JSON.
pub(crate) fn open(filters: Option<&[String]>, resume_point: &str, window: u64) -> String {
    let filters = filters.map_or_else(String::new, |all| format!(r#""filters":[{}],"#, all.join(",")));
    format!(
        r#"{{"type":"open","id":"{OPEN_ID}",{filters}"resume_point":"{resume_point}","window":{window}}}"#
    )
}

/// What is at the start of each event's bytes, except before the first of a message.
pub(crate) const SEPARATOR: &[u8] = b",";

impl Session {
    /// The acknowledgement of all events so far, if there are as many that have none.
    pub(crate) fn acknowledge(&mut self, when: u64) -> Option<String> {
        if self.unacknowledged < when || self.id.is_empty() {
            return None;
        }
        self.unacknowledged = 0;
        let (session, offset) = (String::from_utf8_lossy(&self.id), self.newest);
        Some(format!(r#"{{"type":"ack","session":"{session}","offset":{offset}}}"#))
    }

    fn said(&mut self, message: &[u8], sink: &mut impl Sink) -> Result<()> {
        let name = text_field(message, b"\"type\":\"").unwrap_or_default();
        if name == b"answer" && text_field(message, b"\"id\":\"") == Some(OPEN_ID.as_bytes()) {
            bail!("the session was refused: {}", String::from_utf8_lossy(message));
        }
        if name == b"hello" {
            self.id = text_field(message, b"\"session\":\"").unwrap_or_default().to_vec();
        }
        sink.event(Event { id: b"", name, data: message }, message);
        Ok(())
    }

    fn event(&mut self, body: &[u8], sink: &mut impl Sink) -> Result<Option<usize>> {
        // Texts of the driver hold no brackets, and no event holds an object.
        let Some(end) = memchr(b'}', body) else { return Ok(None) };
        let bytes = &body[..=end];
        let data = &bytes[SEPARATOR.len()..];
        let id = data.strip_prefix(OFFSET).context("an event without an offset")?;
        let id = &id[..id.iter().take_while(|byte| byte.is_ascii_digit()).count()];
        self.newest = leading_number(id).context("an offset that is no number")?;
        self.unacknowledged += 1;
        sink.event(Event { id, name: b"", data }, bytes);
        Ok(Some(end + 1))
    }
}

/// The text that follows `key`, if it has no escapes.
fn text_field<'a>(message: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let start = memmem::find(message, key)? + key.len();
    let length = memchr(b'"', &message[start..])?;
    Some(&message[start..start + length])
}

impl Grammar for Session {
    fn parse_one(&mut self, body: &[u8], last: bool, sink: &mut impl Sink) -> Result<Option<usize>> {
        match (&self.at, body) {
            (At::Start, _) => {
                if let Some(at) = memmem::find(body, EVENTS) {
                    self.at = At::Events;
                    return Ok(Some(at + EVENTS.len()));
                }
                if last {
                    self.said(body, sink)?;
                    return Ok(Some(body.len()));
                }
                Ok(None)
            }
            (At::Events, [b']', ..]) => {
                self.at = At::Rest;
                Ok(Some(1))
            }
            // No events; the bracket behind them is next.
            (At::Events, [b'[', b']', ..]) => Ok(Some(1)),
            (At::Events, [b'[' | b',', ..]) => self.event(body, sink),
            (At::Events, _) => bail!(
                "neither an event nor the end of events: {:?}",
                String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES)])
            ),
            (At::Rest, _) => {
                if last {
                    self.at = At::Start;
                }
                Ok(Some(body.len()))
            }
        }
    }

    fn recognizes(&self) -> bool {
        matches!(self.at, At::Events)
    }

    fn passed(&mut self, known: Known) {
        if known.events > 0 {
            self.unacknowledged += known.events;
            self.newest = known.newest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cut::tests::{assert_cut, cut};

    #[test]
    fn messages_are_taken_apart_alike_however_their_bytes_arrive() -> Result<()> {
        let hello = br#"{"type":"hello","id":"r","session":"S1","resume":"ok","head":4}"#;
        let events = br#"{"type":"events","session":"S1","events":[{"offset":5,"x":1},{"offset":17,"x":2}],"resume_token":"17-aa"}"#;
        let none = br#"{"type":"events","session":"S1","events":[],"resume_token":"17-aa"}"#;
        let heartbeat = br#"{"type":"heartbeat"}"#;
        assert_cut(
            Session::default,
            &[hello, events, none, events, heartbeat],
            &[
                ["", "hello", std::str::from_utf8(hello)?],
                ["5", "", r#"{"offset":5,"x":1}"#],
                ["17", "", r#"{"offset":17,"x":2}"#],
                ["5", "", r#"{"offset":5,"x":1}"#],
                ["17", "", r#"{"offset":17,"x":2}"#],
                ["", "heartbeat", r#"{"type":"heartbeat"}"#],
            ],
        )
    }

    #[test]
    fn a_refusal_is_an_error_and_other_answers_are_not() -> Result<()> {
        let refused: &[u8] = br#"{"type":"answer","id":"open","status":400,"body":{}}"#;
        assert!(cut(Session::default(), &[refused], 1_000).is_err());
        let other: &[u8] = br#"{"type":"answer","id":"7","status":400,"body":{}}"#;
        assert_eq!(cut(Session::default(), &[other], 1_000)?.len(), 1);
        Ok(())
    }

    #[test]
    fn events_without_an_acknowledgement_are_counted_until_there_is_one() -> Result<()> {
        let mut session = Session::default();
        let messages: [&[u8]; 2] = [
            br#"{"type":"hello","session":"S1"}"#,
            br#"{"type":"events","session":"S1","events":[{"offset":5},{"offset":17}]}"#,
        ];
        for message in messages {
            cut(&mut session, &[message], 1_000)?;
        }
        assert_eq!(session.acknowledge(3), None);
        session.passed(Known { bytes: 9, events: 1, newest: 18 });
        let ack = session.acknowledge(3);
        assert_eq!(ack.as_deref(), Some(r#"{"type":"ack","session":"S1","offset":18}"#));
        assert_eq!(session.acknowledge(1), None);
        Ok(())
    }

    impl Grammar for &mut Session {
        fn parse_one(&mut self, body: &[u8], last: bool, sink: &mut impl Sink) -> Result<Option<usize>> {
            (**self).parse_one(body, last, sink)
        }
    }
}
