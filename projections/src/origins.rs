//! Which origin was in force where: what turns offsets into ids and ids back into offsets.

use std::io;

use scrollback_log::origin::Birthplace;
use scrollback_log::{Offset, Origin};

use crate::pieces::{PieceError, PieceReader, PieceWriter};

/// The origins of this log, each from its record on.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    started: Vec<(Offset, Origin)>,
}

impl Origins {
    /// The origin in force at `offset`; none before the first record. An offset beyond the head will be born in the
    /// present origin, unless a new one is drawn before.
    #[must_use]
    pub fn at(&self, offset: Offset) -> Option<Origin> {
        let next = self.started.partition_point(|(start, _)| *start <= offset);
        Some(self.started.get(next.checked_sub(1)?)?.1)
    }

    /// The origin in force now.
    #[must_use]
    pub fn newest(&self) -> Option<Origin> {
        self.started.last().map(|(_, origin)| *origin)
    }

    /// Where the thing that the record at `offset` created was born: its id.
    #[must_use]
    pub fn birthplace(&self, offset: Offset) -> Option<Birthplace> {
        Some(Birthplace { origin: self.at(offset)?, offset })
    }

    /// The offset of a thing that was born in this log; none when another origin is in force there.
    #[must_use]
    pub fn local(&self, birthplace: Birthplace) -> Option<Offset> {
        (self.at(birthplace.offset) == Some(birthplace.origin)).then_some(birthplace.offset)
    }

    /// How many runs of the log there were: more than one once it was restored or a rollback was accepted.
    #[must_use]
    pub fn count(&self) -> usize {
        self.started.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.started.is_empty()
    }

    pub(crate) fn push(&mut self, offset: Offset, origin: Origin) {
        self.started.push((offset, origin));
    }

    pub(crate) fn write(&self, out: &mut PieceWriter<'_>) -> io::Result<()> {
        out.list(self.started.iter())
    }

    pub(crate) fn read(from: &mut PieceReader<'_>) -> Result<Origins, PieceError> {
        let mut origins = Origins::default();
        from.list(|(offset, origin)| origins.push(offset, origin))?;
        Ok(origins)
    }
}
