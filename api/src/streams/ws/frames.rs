//! The bytes of what the server says.

use std::fmt::Write;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::StatusCode;

use super::super::cut::Taken;
use super::super::resume::Resume;
use super::super::{Bye, Position};
use super::sessions::SessionId;
use crate::http::problem::Problem;

/// A whole text message, from a server, which does not mask.
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
/// The longest payload whose length stands in the second byte, and the longest whose length stands in two more.
const SHORT_MAX: usize = 125;
const MIDDLE_MAX: usize = u16::MAX as usize;

/// A ping without a payload.
pub(super) const PING_FRAME: &[u8] = &[PING, 0];

fn header(kind: u8, length: usize, out: &mut Vec<u8>) {
    out.push(kind);
    if length <= SHORT_MAX {
        out.push(length as u8);
    } else if length <= MIDDLE_MAX {
        out.push(126);
        out.extend_from_slice(&(length as u16).to_be_bytes());
    } else {
        out.push(127);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
}

pub(super) fn text(json: &str) -> Bytes {
    let mut out = Vec::with_capacity(json.len() + 10);
    header(TEXT, json.len(), &mut out);
    out.extend_from_slice(json.as_bytes());
    out.into()
}

/// These messages, each of them JSON, as they are sent in one write.
pub(in crate::streams) fn texts<'a>(messages: impl IntoIterator<Item = &'a [u8]>) -> Bytes {
    let mut out = Vec::new();
    for json in messages {
        header(TEXT, json.len(), &mut out);
        out.extend_from_slice(json);
    }
    out.into()
}

/// Says that the socket ends.
pub(super) fn close(code: u16, reason: &str) -> Vec<u8> {
    let reason = &reason.as_bytes()[..reason.len().min(SHORT_MAX - 2)];
    let mut out = Vec::new();
    header(CLOSE, 2 + reason.len(), &mut out);
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason);
    out
}

/// Events of a session: shared bytes, with what is the session's own before and behind.
pub(super) fn events(session: &SessionId, taken: &Taken) -> impl Buf + Send + use<> {
    let prefix = format!("{{\"type\":\"events\",\"session\":\"{session}\",\"events\":[");
    let suffix = format!("],\"resume_token\":\"{}\"}}", taken.through);
    let mut own = Vec::with_capacity(prefix.len() + suffix.len() + 10);
    header(TEXT, prefix.len() + taken.chunk.len() + suffix.len(), &mut own);
    own.extend_from_slice(prefix.as_bytes());
    let middle = own.len();
    own.extend_from_slice(suffix.as_bytes());
    let mut before = Bytes::from(own);
    let behind = before.split_off(middle);
    before.chain(taken.chunk.bare()).chain(behind)
}

/// A session begins or goes on; none if its past is not this log's. `heartbeat` is the seconds between two signs of life.
pub(super) fn hello(
    id: Option<&str>,
    session: Option<&SessionId>,
    resume: Resume,
    at: Option<Position>,
    head: Position,
    window: usize,
    heartbeat: u64,
) -> Bytes {
    let session = quoted_or_null(session);
    let token = quoted_or_null(at.as_ref());
    text(&format!(
        "{{\"type\":\"hello\"{},\"session\":{session},\"resume\":\"{}\",\"head\":{},\"resume_token\":{token},\"window\":{window},\"heartbeat\":{heartbeat}}}",
        echo(id),
        resume.name(),
        head.offset,
    ))
}

pub(super) fn caught_up(session: &SessionId, at: Position) -> Bytes {
    text(&format!("{{\"type\":\"caught_up\",\"session\":\"{session}\",\"offset\":{}}}", at.offset))
}

pub(super) fn checkpoint(session: &SessionId, at: Position) -> Bytes {
    text(&format!("{{\"type\":\"checkpoint\",\"session\":\"{session}\",\"resume_token\":\"{at}\"}}"))
}

pub(super) fn heartbeat() -> Bytes {
    text("{\"type\":\"heartbeat\"}")
}

/// The session is no more, as its client wished.
pub(super) fn closed(id: Option<&str>, session: &SessionId) -> Bytes {
    text(&format!("{{\"type\":\"closed\"{},\"session\":\"{session}\"}}", echo(id)))
}

/// A message was sent. `message` is its JSON.
pub(super) fn sent(id: &str, message: &[u8]) -> Bytes {
    answer(&format!("{},\"status\":{}", echo(Some(id)), StatusCode::CREATED.as_u16()), message)
}

/// What a message of the client's is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum About<'a> {
    Session(SessionId),
    /// Of a watch the name, which needs no escapes.
    Watch(&'a str),
}

/// A message of the client's was not carried out.
pub(super) fn refusal(id: Option<&str>, about: Option<About<'_>>, problem: &Problem) -> Bytes {
    let mut fields = echo(id);
    // Formatting into a string does not fail.
    let _ = match about {
        Some(About::Session(session)) => write!(fields, ",\"session\":\"{session}\""),
        Some(About::Watch(name)) => write!(fields, ",\"watch\":\"{name}\""),
        None => Ok(()),
    };
    let _ = write!(fields, ",\"status\":{}", problem.code().status());
    if let Some(wait) = problem.wait() {
        let _ = write!(fields, ",\"retry\":{}", wait.as_millis());
    }
    answer(&fields, &problem.to_json())
}

/// What came of a message of the client's. `body` is JSON.
pub(super) fn answer(fields: &str, body: &[u8]) -> Bytes {
    let prefix = format!("{{\"type\":\"answer\"{fields},\"body\":");
    let mut out = Vec::with_capacity(prefix.len() + body.len() + 11);
    header(TEXT, prefix.len() + body.len() + 1, &mut out);
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(body);
    out.push(b'}');
    out.into()
}

/// The server ends the session.
pub(super) fn bye(session: &SessionId, reason: Bye, at: Option<Position>, retry: Option<Duration>) -> Bytes {
    let mut json = format!("{{\"type\":\"bye\",\"session\":\"{session}\",\"reason\":\"{}\"", reason.name());
    // Writing to a string cannot fail.
    if let Some(code) = reason.code() {
        let _ = write!(json, ",\"code\":\"{code}\"");
    }
    match at {
        Some(at) => {
            let _ = write!(json, ",\"offset\":{},\"resume_token\":\"{at}\"", at.offset);
        }
        None => json.push_str(",\"offset\":null,\"resume_token\":null"),
    }
    if let Some(retry) = retry {
        let _ = write!(json, ",\"retry\":{}", retry.as_millis());
    }
    json.push('}');
    text(&json)
}

/// The client's own name for what it asked, to be told again.
pub(super) fn echo(id: Option<&str>) -> String {
    match id.map(serde_json::to_string) {
        Some(Ok(id)) => format!(",\"id\":{id}"),
        _ => String::new(),
    }
}

fn quoted_or_null<T: std::fmt::Display>(shown: Option<&T>) -> String {
    shown.map_or_else(|| "null".to_owned(), |shown| format!("\"{shown}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_in_the_one_form_that_the_protocol_allows() {
        for (length, bytes) in [
            (0, vec![TEXT, 0]),
            (125, vec![TEXT, 125]),
            (126, vec![TEXT, 126, 0, 126]),
            (65_535, vec![TEXT, 126, 255, 255]),
            (65_536, vec![TEXT, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            header(TEXT, length, &mut out);
            assert_eq!(out, bytes, "{length}");
        }
    }

    #[test]
    fn a_close_reason_is_cut_where_a_control_frame_ends() {
        let close = close(4008, &"x".repeat(200));
        assert_eq!((close[0], close[1] as usize, close.len()), (CLOSE, SHORT_MAX, SHORT_MAX + 2));
        assert_eq!(&close[2..5], &[15, 168, b'x']);
    }

    #[test]
    fn an_id_is_told_again_as_json() {
        assert_eq!(echo(Some("a\"b")), ",\"id\":\"a\\\"b\"");
        assert_eq!(echo(None), "");
    }
}
