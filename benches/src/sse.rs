//! Server-Sent Events.

use anyhow::Result;
use memchr::memchr;

use crate::cut::{Event, Grammar, Sink};

/// One event, or one block of comments (which has neither id nor data), ends with an empty line.
#[derive(Default)]
pub(crate) struct Sse;

impl Grammar for Sse {
    fn parse_one(&mut self, body: &[u8], _last: bool, sink: &mut impl Sink) -> Result<Option<usize>> {
        let (mut at, mut event) = (0, Event::default());
        while let Some(length) = memchr(b'\n', &body[at..]) {
            let line = &body[at..at + length];
            at += length + 1;
            if line.is_empty() {
                sink.event(event, &body[..at]);
                return Ok(Some(at));
            } else if let Some(value) = line.strip_prefix(b"data: ") {
                event.data = value;
            } else if let Some(value) = line.strip_prefix(b"id: ") {
                event.id = value;
            } else if let Some(value) = line.strip_prefix(b"event: ") {
                event.name = value;
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cut::tests::assert_cut;

    #[test]
    fn events_are_the_same_however_their_bytes_arrive() -> Result<()> {
        let body =
            b"event: hello\ndata: {}\n\n: hi\n\nid: 7-aa\nevent: message\ndata: x\n\nid: 8-bb\n\nid: 9";
        assert_cut(
            || Sse,
            &[body],
            &[["", "hello", "{}"], ["", "", ""], ["7-aa", "message", "x"], ["8-bb", "", ""]],
        )
    }
}
