//! What readers of a watch are told, in bytes.

use std::fmt::Write;
use std::time::Duration;

use scrollback_log::Offset;
use scrollback_projections::Origins;

use super::set::Change;
use crate::ids::{self, IdKind};
use crate::streams::{Chunk, Position};

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
    let id = if is_last { format!("id: {at}\n") } else { String::new() };
    chunk(&format!(
        "{id}event: changed\ndata: {{\"type\":\"changed\",\"epoch\":{epoch},\"changed\":{},\"head\":{}}}\n\n",
        list(changes, origins),
        at.offset
    ))
}

/// The answer to a poll: who has got it stands at `at`.
pub(super) fn page(epoch: u64, changes: &[Change], at: Position, origins: &Origins) -> Vec<u8> {
    let changed = list(changes, origins);
    format!("{{\"epoch\":{epoch},\"changed\":{changed},\"head\":{},\"next\":\"{at}\"}}", at.offset)
        .into_bytes()
}

fn list(changes: &[Change], origins: &Origins) -> String {
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
