//! One of each frame that a server sends, for tests.

use std::time::Duration;

use bytes::{Buf, Bytes};
use scrollback_log::Offset;
use scrollback_projections::Origins;

use super::super::cut::Taken;
use super::super::resume::Resume;
use super::super::watches::set::{Change, Gone};
use super::super::{Bye, Chunk, Position};
use super::frames::About;
use super::sessions::SessionId;
use super::{frames, notices};
use crate::http::problem::{Code, Problem};

/// A setting of a watch.
const EPOCH: u64 = 98_413_367_520_012;

/// A frame, and what it is.
pub(in super::super) struct Said {
    pub(in super::super) what: &'static str,
    pub(in super::super) frame: Bytes,
}

/// All of them, those of a kind together; `chunk` is one event, `origins` those of a log with some channels.
pub(in super::super) fn every_frame(at: Position, chunk: Chunk, origins: &Origins) -> Vec<Said> {
    let session = SessionId::parse("S00112233445566778899aabbccddeeff").unwrap();
    let taken = Taken { chunk, through: at, newest: Some(Offset(7)), events: 1 };
    let busy = Problem::plain(Code::Busy).retry_after(Duration::from_secs(1));
    let mut events = frames::events(&session, &taken);
    let mut all = vec![
        ("hello", frames::hello(Some("1"), Some(&session), Resume::Ok(at), Some(at), at, 1_000, 15)),
        ("hello elsewhere", frames::hello(None, None, Resume::Ahead, None, at, 1, 1)),
        ("events", events.copy_to_bytes(events.remaining())),
        ("caught up", frames::caught_up(&session, at)),
        ("caught up of a watch", notices::caught_up("w", at)),
        ("checkpoint", frames::checkpoint(&session, at)),
        ("checkpoint of a watch", notices::checkpoint("w", EPOCH, at)),
        ("heartbeat", frames::heartbeat()),
        ("answer", frames::sent("\"quoted\"", b"{}")),
        (
            "answer",
            frames::refusal(None, Some(About::Session(session)), &Problem::plain(Code::UnknownSession)),
        ),
        ("answer", frames::refusal(Some("1"), None, &busy)),
        ("answer to a watch", notices::reading(Some("1"), "w", b"{}")),
        ("answer about a watch", frames::refusal(None, Some(About::Watch("w")), &busy)),
        ("closed", frames::closed(None, &session)),
        ("closed watch", notices::closed(Some("1"), "w")),
        ("bye to come back", frames::bye(&session, Bye::Shutdown, Some(at), Some(Duration::from_secs(3)))),
    ];
    // A session is no watch.
    let reasons = Bye::ALL.into_iter().filter(|reason| *reason != Bye::Unwatched);
    all.extend(reasons.map(|reason| ("bye", frames::bye(&session, reason, None, None))));
    let reasons = Bye::ALL.into_iter().filter(|reason| !matches!(reason, Bye::Excluded | Bye::Damaged));
    all.extend(reasons.map(|reason| ("bye of a watch", notices::bye("w", reason, EPOCH, at, None))));
    let retry = Some(Duration::from_secs(3));
    all.push(("bye of a watch to come back", notices::bye("w", Bye::Shutdown, EPOCH, at, retry)));
    let changes = [
        Change::Moved(Offset(3), Offset(7)),
        Change::Gone(Offset(4), Gone::Deleted),
        Change::Gone(Offset(5), Gone::Forbidden),
    ];
    for is_last in [true, false] {
        all.push(("notice", notices::changed("w", EPOCH, &changes, at, is_last, origins)));
    }
    all.into_iter().map(|(what, frame)| Said { what, frame }).collect()
}
