//! What is told of watches over a socket, in bytes. The same as over Server-Sent Events, but that each message says of which watch
//! it is.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use scrollback_projections::Origins;

use super::super::watches::frames::{list, place};
use super::super::watches::set::Change;
use super::super::{Bye, Position};
use super::frames::{answer, echo, text};

/// A watch is read from now on. `shown` is how it stands, as JSON.
pub(super) fn reading(id: Option<&str>, watch: &str, shown: &[u8]) -> Bytes {
    answer(&format!("{},\"watch\":\"{watch}\",\"status\":200", echo(id)), shown)
}

/// A notice of these changes. Who has got it stands at `at` if it is the last of them: only then it has a resume point.
pub(super) fn changed(
    watch: &str,
    epoch: u64,
    changes: &[Change],
    at: Position,
    is_last: bool,
    origins: &Origins,
) -> Bytes {
    let mut json = format!(
        "{{\"type\":\"changed\",\"watch\":\"{watch}\",\"epoch\":{epoch},\"changed\":{},\"head\":{}",
        list(changes, origins),
        at.offset
    );
    if is_last {
        // Writing to a string cannot fail.
        let _ = write!(json, ",\"resume_point\":\"{}\"", place(epoch, at));
    }
    json.push('}');
    text(&json)
}

pub(super) fn caught_up(watch: &str, at: Position) -> Bytes {
    text(&format!("{{\"type\":\"caught_up\",\"watch\":\"{watch}\",\"offset\":{}}}", at.offset))
}

pub(super) fn checkpoint(watch: &str, epoch: u64, at: Position) -> Bytes {
    let place = place(epoch, at);
    text(&format!("{{\"type\":\"checkpoint\",\"watch\":\"{watch}\",\"resume_point\":\"{place}\"}}"))
}

/// The watch is no more, as its client wished.
pub(super) fn closed(id: Option<&str>, watch: &str) -> Bytes {
    text(&format!("{{\"type\":\"closed\"{},\"watch\":\"{watch}\"}}", echo(id)))
}

/// The watch is not read here any more.
pub(super) fn bye(watch: &str, reason: Bye, epoch: u64, at: Position, retry: Option<Duration>) -> Bytes {
    let mut json = format!("{{\"type\":\"bye\",\"watch\":\"{watch}\",\"reason\":\"{}\"", reason.name());
    // Writing to a string cannot fail.
    if let Some(code) = reason.code() {
        let _ = write!(json, ",\"code\":\"{code}\"");
    }
    let _ = write!(json, ",\"offset\":{},\"resume_point\":\"{}\"", at.offset, place(epoch, at));
    if let Some(retry) = retry {
        let _ = write!(json, ",\"retry\":{}", retry.as_millis());
    }
    json.push('}');
    text(&json)
}
