//! Cutting a row of events into chunks: one rule for what was read from the ring and from the log, on every transport.

use scrollback_log::Offset;

use super::chunk::Builder;
use super::frame::Frame;
use super::{Chunk, Position};

/// What stands between two events in their JSON form.
const BETWEEN: u8 = b',';

/// How events are written one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// As Server-Sent Events.
    Sse,
    /// As JSON objects with a comma between two.
    Json,
}

/// How large a chunk may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cut {
    /// How its events are written.
    pub form: Form,
    /// The most bytes, unless a single event has more.
    pub bytes_max: usize,
    /// The most events; at least one.
    pub events_max: usize,
    /// Whether other readers are likely to want the same: then it ends where theirs do, and is kept for them.
    pub shared: bool,
}

/// Events taken for a reader.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The events, none of them if the reader gets none of what it moved over.
    pub chunk: Chunk,
    /// Where the reader stands now.
    pub through: Position,
    /// The newest event in the chunk.
    pub newest: Option<Offset>,
    /// How many events are in the chunk.
    pub events: usize,
}

/// A chunk being cut.
pub(super) struct Cutter {
    cut: Cut,
    chunk: Builder,
    through: Option<Position>,
    newest: Option<Offset>,
    events: usize,
}

impl Cutter {
    /// An empty one with room for `capacity` bytes.
    pub(super) fn new(cut: Cut, capacity: usize) -> Cutter {
        Cutter { cut, chunk: Builder::with_capacity(capacity), through: None, newest: None, events: 0 }
    }

    /// Whether the event with this frame can be added. One event always can.
    pub(super) fn has_room(&self, frame: &Frame, bytes: &[u8]) -> bool {
        let more = self.between() + self.written(frame, bytes).len();
        self.events == 0
            || (self.events < self.cut.events_max && self.chunk.len() + more <= self.cut.bytes_max)
    }

    /// Adds an event of the record at `place`, given as its frame's bytes; says no, and stands where it stood, if there is
    /// no room for it.
    pub(super) fn push(&mut self, place: Position, frame: &Frame, bytes: &[u8]) -> bool {
        if !self.has_room(frame, bytes) {
            return false;
        }
        if self.between() > 0 {
            self.chunk.out().push(BETWEEN);
        }
        let written = self.written(frame, bytes);
        self.chunk.out().extend_from_slice(written);
        self.events += 1;
        self.newest = Some(place.offset);
        self.pass(place);
        true
    }

    fn written<'a>(&self, frame: &Frame, bytes: &'a [u8]) -> &'a [u8] {
        match self.cut.form {
            Form::Sse => bytes,
            Form::Json => &bytes[frame.json(bytes.len())],
        }
    }

    /// How many bytes stand before the next event.
    fn between(&self) -> usize {
        usize::from(self.events > 0 && self.cut.form == Form::Json)
    }

    /// Moves over a record that the reader gets nothing of.
    pub(super) fn pass(&mut self, place: Position) {
        self.through = Some(place);
    }

    /// What was cut; none if it has not moved at all.
    pub(super) fn finish(self) -> Option<Taken> {
        let Cutter { chunk, through, newest, events, .. } = self;
        Some(Taken { chunk: chunk.finish(), through: through?, newest, events })
    }
}
