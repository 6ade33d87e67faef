//! Where a reader wants to go on, and whether this log can take it from there.

use std::sync::Arc;

use scrollback_log::{Offset, ResumePoint};

use super::{Position, StreamError, Streams};
use crate::http::problem::{Code, Problem};

/// The word for the present head.
const NOW: &str = "now";

/// What a reader says of its past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumeFrom {
    /// It has seen all up to here.
    Point(ResumePoint),
    /// It wants only what comes.
    Now,
}

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

impl ResumeFrom {
    /// Where a reader without a past begins.
    pub const BEGINNING: ResumeFrom = ResumeFrom::Point(ResumePoint { offset: Offset::BEGINNING, tag: None });

    /// Reads what a request says: the `Last-Event-ID` header, which wins because a browser sends it by itself to the
    /// address it first asked, or else the parameter.
    ///
    /// # Errors
    /// [`Code::BadResumePoint`] for anything but an offset, a resume token or, in the parameter, `now`.
    pub fn read(header: Option<&[u8]>, parameter: Option<&str>) -> Result<ResumeFrom, Problem> {
        let point = |text: &str| ResumePoint::parse(text).map(ResumeFrom::Point);
        let from = match (header, parameter) {
            (Some(header), _) => std::str::from_utf8(header).ok().and_then(point),
            (None, Some(NOW)) => Some(ResumeFrom::Now),
            (None, Some(parameter)) => point(parameter),
            (None, None) => Some(ResumeFrom::BEGINNING),
        };
        from.ok_or(Problem::plain(Code::BadResumePoint))
    }
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
    /// Compares a reader's past with the log's. Reads the log only for a point that is neither recent nor the beginning.
    ///
    /// # Errors
    /// When the log cannot be read there.
    pub async fn resume(self: &Arc<Self>, from: ResumeFrom) -> Result<Resume, StreamError> {
        let head = Position::from(self.log.head());
        let ResumeFrom::Point(point) = from else { return Ok(Resume::Ok(head)) };
        if point.offset > head.offset {
            // The head never goes back within a run of the log, so a token from beyond it was given in one that a restore or
            // a rollback has ended.
            let is_of_another_run = point.tag.is_some() && self.origins().count() > 1;
            return Ok(if is_of_another_run { Resume::OtherHistory } else { Resume::Ahead });
        }
        let known = if point.offset == head.offset {
            Some(head)
        } else if point.offset == Offset::BEGINNING {
            Some(Position::BEGINNING)
        } else {
            self.ring.position(point.offset)
        };
        let position = match known {
            Some(position) => position,
            None => {
                let offset = point.offset;
                let tag = self.on_log(move |streams| Ok(streams.log.tag_at(offset)?)).await?;
                // A record at or below the head has a tag; if it had none, the reader would be beyond it.
                let Some(tag) = tag else { return Ok(Resume::Ahead) };
                Position { offset, tag }
            }
        };
        Ok(match point.tag {
            Some(tag) if tag != position.tag => Resume::OtherHistory,
            _ => Resume::Ok(position),
        })
    }
}
