//! Where a stream is to begin.

use scrollback_log::{Offset, ResumePoint, Timestamp};

use crate::http::problem::{Code, Problem};
use crate::http::query::Query;
use crate::timestamps;

/// The most events that a stream can begin with by their number.
pub const LAST_MAX: u64 = 1_000;
/// The word for the present head.
const NOW: &str = "now";

/// Where a stream is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// After what the reader has seen.
    After(ResumePoint),
    /// At the head: the reader wants only what comes.
    Now,
    /// So that it brings this many of the newest events that the reader wants: 1 to [`LAST_MAX`].
    Last(u64),
    /// At the first record that was written at this time or later; at the head when there is none yet.
    Since(Timestamp),
}

/// What does not say where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// More than one start.
    #[error("a stream begins at one place: give a resume point, `last` or `since`, not several of them")]
    Several,
    /// Neither an offset, nor a resume token, nor `now`.
    #[error("a resume point is an offset, a resume token or `now`")]
    ResumePoint,
    /// Not a number that can be asked for.
    #[error("`last` must be a whole number from 1 to {LAST_MAX}")]
    Last,
    /// Not a time.
    #[error("`since` must be a time like 2004-11-15T01:00:00Z")]
    Since,
}

impl Start {
    /// Where a reader without a past begins.
    pub const BEGINNING: Start = Start::After(ResumePoint { offset: Offset::BEGINNING, tag: None });

    /// The start that one of these says; the beginning if there is none.
    ///
    /// # Errors
    /// When there are several, or it says none.
    pub fn from_parts(
        resume_point: Option<&str>,
        last: Option<u64>,
        since: Option<&str>,
    ) -> Result<Start, StartError> {
        match (resume_point, last, since) {
            (None, None, None) => Ok(Start::BEGINNING),
            (Some(NOW), None, None) => Ok(Start::Now),
            (Some(point), None, None) => {
                ResumePoint::parse(point).map(Start::After).ok_or(StartError::ResumePoint)
            }
            (None, Some(last @ 1..=LAST_MAX), None) => Ok(Start::Last(last)),
            (None, Some(_), None) => Err(StartError::Last),
            (None, None, Some(since)) => timestamps::parse(since).map(Start::Since).ok_or(StartError::Since),
            _ => Err(StartError::Several),
        }
    }

    /// Takes the start from a request: from the `Last-Event-ID` header, which wins because a browser sends it by itself to
    /// the address it first asked, or else from the parameters `resume_point` (whose name is `point`), `last` and `since`.
    ///
    /// # Errors
    /// [`Code::BadResumePoint`] for a resume point that is none (in the header `now` is none); [`Code::BadQuery`] for
    /// several starts, or another that is none.
    pub fn take(query: &mut Query, point: &str, header: Option<&[u8]>) -> Result<Start, Problem> {
        let (point, since) = (query.take(point)?, query.take("since")?);
        if let Some(header) = header {
            // Whatever the address says, it said at first too.
            query.take("last")?;
            let seen = std::str::from_utf8(header).ok().and_then(ResumePoint::parse);
            return seen.map(Start::After).ok_or(Problem::plain(Code::BadResumePoint));
        }
        let last = query.take_number("last", 1, LAST_MAX)?;
        Ok(Start::from_parts(point.as_deref(), last, since.as_deref())?)
    }
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Problem {
        match error {
            StartError::ResumePoint => Problem::plain(Code::BadResumePoint),
            _ => Problem::new(Code::BadQuery, error.to_string()),
        }
    }
}
