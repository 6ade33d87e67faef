//! One of each frame that a server sends, for tests.

use std::time::Duration;

use bytes::{Buf, Bytes};
use scrollback_log::Offset;

use super::super::cut::Taken;
use super::super::resume::Resume;
use super::super::{Bye, Chunk, Position};
use super::frames;
use super::sessions::SessionId;
use crate::http::problem::{Code, Problem};

/// A frame, and what it is.
pub(in super::super) struct Said {
    pub(in super::super) what: &'static str,
    pub(in super::super) frame: Bytes,
}

/// All of them, those of a kind together; `chunk` is one event.
pub(in super::super) fn every_frame(at: Position, chunk: Chunk) -> Vec<Said> {
    let session = SessionId::parse("S00112233445566778899aabbccddeeff").unwrap();
    let taken = Taken { chunk, through: at, newest: Some(Offset(7)), events: 1 };
    let busy = Problem::plain(Code::Busy).retry_after(Duration::from_secs(1));
    let mut events = frames::events(&session, &taken);
    let mut all = vec![
        ("hello", frames::hello(Some("1"), Some(&session), Resume::Ok(at), Some(at), at, 1_000)),
        ("hello elsewhere", frames::hello(None, None, Resume::Ahead, None, at, 1)),
        ("events", events.copy_to_bytes(events.remaining())),
        ("caught up", frames::caught_up(&session, at)),
        ("checkpoint", frames::checkpoint(&session, at)),
        ("heartbeat", frames::heartbeat()),
        ("answer", frames::sent("\"quoted\"", b"{}")),
        ("answer", frames::refusal(None, Some(session), &Problem::plain(Code::UnknownSession))),
        ("answer", frames::refusal(Some("1"), None, &busy)),
        ("closed", frames::closed(None, &session)),
        ("bye to come back", frames::bye(&session, Bye::Shutdown, Some(at), Some(Duration::from_secs(3)))),
    ];
    // A session is no watch.
    let reasons = Bye::ALL.into_iter().filter(|reason| *reason != Bye::Unwatched);
    all.extend(reasons.map(|reason| ("bye", frames::bye(&session, reason, None, None))));
    all.into_iter().map(|(what, frame)| Said { what, frame }).collect()
}
