//! The frames that steer a stream. They have a `type` and no `event`; of them only a checkpoint has an id.

use std::io::Write;
use std::time::Duration;

use super::resume::Resume;
use super::{Chunk, Position};

/// Why a stream is ended by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bye {
    /// The server is stopping.
    Shutdown,
    /// The client did not take what was sent.
    Slow,
    /// The identity that opened the stream is no longer valid.
    Revoked,
    /// The reader has lost a channel that the stream could show.
    Excluded,
    /// The session goes on elsewhere, or the watch is read by another stream or was set anew.
    Replaced,
    /// The watch was ended.
    Unwatched,
    /// The log takes no more writes.
    Storage,
    /// The log cannot be read as it was written.
    Damaged,
}

impl Bye {
    /// All of them, in this order.
    pub const ALL: [Bye; 8] = [
        Bye::Shutdown,
        Bye::Slow,
        Bye::Revoked,
        Bye::Excluded,
        Bye::Replaced,
        Bye::Unwatched,
        Bye::Storage,
        Bye::Damaged,
    ];

    /// As clients are told.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Bye::Shutdown => "shutdown",
            Bye::Slow => "slow",
            Bye::Revoked | Bye::Excluded => "revoked",
            Bye::Replaced => "replaced",
            Bye::Unwatched => "unwatched",
            Bye::Storage => "storage",
            Bye::Damaged => "damaged",
        }
    }

    /// What is lost, as the code of the problem that asking for it again would meet; for what was revoked.
    #[must_use]
    pub fn code(self) -> Option<&'static str> {
        match self {
            Bye::Revoked => Some("unauthenticated"),
            Bye::Excluded => Some("forbidden"),
            _ => None,
        }
    }
}

/// The first frame of a stream, how long the client should wait before it comes back, and the seconds between two signs of
/// life.
pub(super) fn hello(resume: Resume, head: Position, retry: Duration, heartbeat: u64) -> Chunk {
    let token = match resume.position() {
        Some(position) => format!("\"{position}\""),
        None => "null".to_owned(),
    };
    chunk(format_args!(
        "retry: {}\nevent: hello\ndata: {{\"type\":\"hello\",\"resume\":\"{}\",\"head\":{},\"resume_token\":{token},\"heartbeat\":{heartbeat}}}\n\n",
        retry.as_millis(),
        resume.name(),
        head.offset,
    ))
}

/// The sign of life.
pub(super) fn heartbeat() -> Chunk {
    chunk(format_args!("event: heartbeat\ndata: {{\"type\":\"heartbeat\"}}\n\n"))
}

/// The client has all there was when it came, and what follows is live.
pub(super) fn caught_up(at: Position) -> Chunk {
    chunk(format_args!("event: caught_up\ndata: {{\"type\":\"caught_up\",\"offset\":{}}}\n\n", at.offset))
}

/// The client may go on from here, although nothing that it wants lies before.
pub(super) fn checkpoint(at: Position) -> Chunk {
    chunk(format_args!(
        "id: {at}\nevent: checkpoint\ndata: {{\"type\":\"checkpoint\",\"offset\":{}}}\n\n",
        at.offset
    ))
}

/// The last frame of a stream.
pub(super) fn bye(reason: Bye, at: Option<Position>) -> Chunk {
    let (offset, token) = match at {
        Some(at) => (at.offset.to_string(), format!("\"{at}\"")),
        None => ("null".to_owned(), "null".to_owned()),
    };
    let code = reason.code().map_or_else(String::new, |code| format!(",\"code\":\"{code}\""));
    chunk(format_args!(
        "event: bye\ndata: {{\"type\":\"bye\",\"reason\":\"{}\"{code},\"offset\":{offset},\"resume_token\":{token}}}\n\n",
        reason.name(),
    ))
}

fn chunk(text: std::fmt::Arguments<'_>) -> Chunk {
    Chunk::of(|out| {
        // Writing to a vector cannot fail.
        let _ = out.write_fmt(text);
    })
}
