//! Whether this log can take a reader on from where it wants to begin.

use std::sync::Arc;

use scrollback_log::Offset;

use super::selection::Selection;
use super::start::Start;
use super::{Position, StreamError, Streams};

/// Whether a reader's past is this log's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// It is: the reader goes on after this.
    Ok(Position),
    /// The point lies beyond the head: the reader has seen what this log does not have.
    Ahead,
    /// The tag is not this log's: the reader has seen another history.
    OtherHistory,
}

impl Resume {
    /// As `hello` and polls name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Resume::Ok(_) => "ok",
            Resume::Ahead => "ahead",
            Resume::OtherHistory => "other_history",
        }
    }

    /// Where the reader stands; none if it cannot go on here.
    #[must_use]
    pub fn position(self) -> Option<Position> {
        if let Resume::Ok(position) = self { Some(position) } else { None }
    }
}

impl Streams {
    /// Finds the place that a stream with this selection begins at, and compares a reader's past with the log's. Reads the log
    /// for a place that is neither recent nor the beginning; for [`Start::Last`] as much of it as holds so many events.
    ///
    /// # Errors
    /// When the log cannot be read there.
    pub async fn resume(
        self: &Arc<Self>,
        start: &Start,
        selection: &Arc<Selection>,
    ) -> Result<Resume, StreamError> {
        let head = Position::from(self.log.head());
        let point = match *start {
            Start::After(point) => point,
            Start::Now => return Ok(Resume::Ok(head)),
            Start::Last(count) => {
                return Ok(Resume::Ok(self.before_last(count, selection, (Offset::BEGINNING, head)).await?));
            }
            Start::Since(time) => return Ok(Resume::Ok(self.before_time(time).await?)),
        };
        if point.offset > head.offset {
            // The head never goes back within a run of the log, so a token from beyond it was given in one that a restore or
            // a rollback has ended.
            let is_of_another_run = point.tag.is_some() && self.origins().count() > 1;
            return Ok(if is_of_another_run { Resume::OtherHistory } else { Resume::Ahead });
        }
        // A record at or below the head has a tag; if it had none, the reader would be beyond it.
        let Some(position) = self.position(point.offset).await? else { return Ok(Resume::Ahead) };
        Ok(match point.tag {
            Some(tag) if tag != position.tag => Resume::OtherHistory,
            _ => Resume::Ok(position),
        })
    }

    /// The position at `offset`; none beyond the head.
    ///
    /// # Errors
    /// When the log cannot be read there.
    pub(super) async fn position(self: &Arc<Self>, offset: Offset) -> Result<Option<Position>, StreamError> {
        let head = Position::from(self.log.head());
        if offset == head.offset {
            return Ok(Some(head));
        }
        if offset == Offset::BEGINNING {
            return Ok(Some(Position::BEGINNING));
        }
        if let Some(position) = self.ring.position(offset) {
            return Ok(Some(position));
        }
        let tag = self.on_log(move |streams| Ok(streams.log.tag_at(offset)?)).await?;
        Ok(tag.map(|tag| Position { offset, tag }))
    }
}
