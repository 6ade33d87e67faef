//! What readers of a watch are told, in bytes.

use std::fmt::Write;
use std::time::Duration;

use scrollback_log::Offset;
use scrollback_projections::Origins;

use super::set::Change;
use crate::ids::{self, IdKind};
use crate::streams::{Bye, Chunk, Position};

/// The first frame.
pub(super) fn hello(epoch: u64, head: Offset, retry: Duration) -> Chunk {
    chunk(&format!(
        "retry: {}\nevent: hello\ndata: {{\"type\":\"hello\",\"epoch\":{epoch},\"head\":{head}}}\n\n",
        retry.as_millis()
    ))
}

/// A notice of these changes. Who has got it stands at `at` if it is the last of them: only then it has an id.
pub(super) fn changed(
    epoch: u64,
    changes: &[Change],
    at: Position,
    is_last: bool,
    origins: &Origins,
) -> Chunk {
    let id = if is_last { format!("id: {}\n", place(epoch, at)) } else { String::new() };
    chunk(&format!(
        "{id}event: changed\ndata: {{\"type\":\"changed\",\"epoch\":{epoch},\"changed\":{},\"head\":{}}}\n\n",
        list(changes, origins),
        at.offset
    ))
}

/// Where a reader stands: of another setting of the watch it says nothing.
pub(in crate::streams) fn place(epoch: u64, at: Position) -> String {
    format!("{epoch}.{at}")
}

/// All up to here was told.
pub(super) fn checkpoint(epoch: u64, at: Position) -> Chunk {
    chunk(&format!(
        "id: {}\nevent: checkpoint\ndata: {{\"type\":\"checkpoint\",\"offset\":{}}}\n\n",
        place(epoch, at),
        at.offset
    ))
}

/// The last frame.
pub(super) fn bye(reason: Bye, epoch: u64, at: Position) -> Chunk {
    let code = reason.code().map_or_else(String::new, |code| format!(",\"code\":\"{code}\""));
    chunk(&format!(
        "event: bye\ndata: {{\"type\":\"bye\",\"reason\":\"{}\"{code},\"offset\":{},\"resume_point\":\"{}\"}}\n\n",
        reason.name(),
        at.offset,
        place(epoch, at)
    ))
}

/// The answer to a poll: who has got it stands at `at`.
pub(super) fn page(epoch: u64, changes: &[Change], at: Position, origins: &Origins) -> Vec<u8> {
    let (changed, head, next) = (list(changes, origins), at.offset, place(epoch, at));
    format!("{{\"epoch\":{epoch},\"changed\":{changed},\"head\":{head},\"next\":\"{next}\"}}").into_bytes()
}

/// Changes, as JSON.
pub(in crate::streams) fn list(changes: &[Change], origins: &Origins) -> String {
    let mut list = String::from("[");
    for change in changes {
        if list.len() > 1 {
            list.push(',');
        }
        let id = |channel| ids::show(IdKind::Channel, channel, origins);
        // Writing to a string cannot fail.
        let _ = match *change {
            Change::Moved(channel, newest) => {
                write!(list, "{{\"id\":\"{}\",\"offset\":{newest}}}", id(channel))
            }
            Change::Gone(channel, gone) => {
                write!(list, "{{\"id\":\"{}\",\"gone\":\"{}\"}}", id(channel), gone.name())
            }
        };
    }
    list.push(']');
    list
}

fn chunk(text: &str) -> Chunk {
    Chunk::of(|out| out.extend_from_slice(text.as_bytes()))
}
