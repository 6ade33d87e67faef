//! The rows by pages, for clients that poll: the same way through the log, as far as a page reaches.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use scrollback_log::Offset;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::bounds::Bounds;
use super::filters::{self, WrongFilter};
use super::row::{self, NotAnEvent};
use crate::streams::cut::{Cut, Form, Taken};
use crate::streams::filter::{FilterError, Filters};
use crate::streams::poll::Open;
use crate::streams::resume::Resume;
use crate::streams::selection::Selection;
use crate::streams::subscription::{Step, Subscription};
use crate::streams::{Bye, Position, Reader, StreamError, Streams};

/// The most rows of a page, and how many there are if the client does not say.
pub(crate) const LIMIT_MAX: u64 = 1_000;
pub(crate) const LIMIT_DEFAULT: u64 = 100;
/// A page ends at this many bytes, whatever its limit; one row it always has.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// Which rows are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// As Arvados has them.
    pub(crate) filters: Value,
    /// Whether the newest come first.
    pub(crate) newest_first: bool,
    /// How many rows are left out before the page.
    pub(crate) skip: usize,
    /// The most rows.
    pub(crate) limit: usize,
    /// Whether it is told how many there are.
    pub(crate) count: bool,
}

/// What a list came to.
#[derive(Debug)]
pub(crate) enum Listed {
    /// The answer's JSON.
    Page(Vec<u8>),
    /// The reader's identity is no longer valid.
    Revoked,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    /// The filters are none.
    #[error("filters: {0}")]
    Filters(String),
    /// The log cannot be read.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// What was read is not what it should be.
    #[error(transparent)]
    Event(#[from] NotAnEvent),
}

impl From<WrongFilter> for ListError {
    fn from(error: WrongFilter) -> ListError {
        ListError::Filters(error.to_string())
    }
}

impl From<FilterError> for ListError {
    fn from(error: FilterError) -> ListError {
        ListError::Filters(error.to_string())
    }
}

/// A page.
#[derive(Serialize)]
struct Answer<'a> {
    kind: &'static str,
    offset: usize,
    limit: usize,
    /// How many rows there are from the first one on: one more than came if there are more, for to count them all the whole
    /// log would have to be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    items_available: Option<usize>,
    items: Vec<&'a RawValue>,
}

/// Rows as they are gathered.
struct Page<'w> {
    wanted: &'w Wanted,
    /// Nothing behind this.
    to: Offset,
    rows: VecDeque<Box<RawValue>>,
    bytes: usize,
    /// How many rows were left out before it, of those that come.
    skipped: usize,
    /// Whether there is more behind it.
    more: bool,
}

/// The page that is wanted.
///
/// # Errors
/// When the filters are none, or the log cannot be read.
pub(crate) async fn list(
    streams: &Arc<Streams>,
    reader: Arc<dyn Reader>,
    wanted: &Wanted,
) -> Result<Listed, ListError> {
    let _open = Open::count(streams.figures);
    let filter = filters::read(&wanted.filters, &streams.origins())?;
    let Bounds { mut after, to, since } = Bounds::of(&filter);
    let filters = Filters::any_of(vec![filter])?;
    let head = Position::from(streams.log.head());
    let mut page =
        Page { wanted, to: to.min(head.offset), rows: VecDeque::new(), bytes: 0, skipped: 0, more: false };
    if let Some(time) = since {
        after = after.max(streams.before_time(time).await?.offset);
    }
    let selection = streams.selection(reader.user(), &filters);
    if let Some(looked) = streams.looked.up_to(&selection) {
        after = after.max(looked);
    }
    if after >= page.to {
        return Ok(Listed::Page(page.answer()));
    }
    let mut from = streams.position(after).await?;
    if wanted.newest_first {
        let mut latest = streams.position(page.to).await?.unwrap_or(head);
        if wanted.skip > 0 {
            // What is left out is not read, so it takes neither memory nor the page's bytes.
            latest = streams.before_last(wanted.skip as u64, &selection, (after, latest)).await?;
            page.to = latest.offset;
            if after >= page.to {
                return Ok(Listed::Page(page.answer()));
            }
        }
        let count = (wanted.limit + 1) as u64;
        from = Some(streams.before_last(count, &selection, (after, latest)).await?);
    }
    // What lies at or below the head has a place.
    let mut from = from.unwrap_or(Position::BEGINNING);
    let mut pulses = streams.pulse.clone();
    let mut way = Subscription::begin(streams, Arc::clone(&reader), Resume::Ok(from), filters.clone());
    let events_max = wanted.skip + wanted.limit + 1;
    let cut = Cut { form: Form::Json, bytes_max: PAGE_BYTES_MAX, events_max, shared: false };
    loop {
        match way.step(&mut pulses, cut).await? {
            Step::Events(taken) => {
                if page.take(streams, &taken)?.is_break() {
                    break;
                }
            }
            Step::Checkpoint(place) if place.offset >= page.to => break,
            // A client that gives up before the end is to be further at its next poll.
            Step::Checkpoint(place) => looked(streams, &page, (&selection, &way), place.offset),
            Step::Heartbeat => {}
            Step::Ended(Bye::Revoked) => return Ok(Listed::Revoked),
            // A channel was lost: the rest is looked at by the rights that are left.
            Step::Ended(Bye::Excluded) => {
                from = way.given().unwrap_or(from);
                way = Subscription::begin(streams, Arc::clone(&reader), Resume::Ok(from), filters.clone());
            }
            // An empty page would say that there is nothing more.
            Step::Ended(_) => return Err(StreamError::Stopping.into()),
            Step::CaughtUp(_) | Step::Wait => break,
        }
    }
    looked(streams, &page, (&selection, &way), page.to);
    Ok(Listed::Page(page.answer()))
}

/// Notes how far this page was looked for, as long as there is nothing in it.
fn looked(
    streams: &Streams,
    page: &Page<'_>,
    (selection, way): (&Arc<Selection>, &Subscription),
    to: Offset,
) {
    // The way goes by the rights of a moment later, which may be others.
    if page.is_empty() && Arc::ptr_eq(selection, way.selection()) {
        streams.looked.note(Arc::clone(selection), to.min(page.to));
    }
}

impl Page<'_> {
    /// Takes rows; says whether there is room for more.
    fn take(&mut self, streams: &Streams, taken: &Taken) -> Result<ControlFlow<()>, ListError> {
        let origins = streams.origins();
        for event in row::events(&taken.chunk.bare())? {
            if event.offset > self.to.0 {
                return Ok(ControlFlow::Break(()));
            }
            if !self.wanted.newest_first && self.skipped < self.wanted.skip {
                self.skipped += 1;
                continue;
            }
            let mut row = event.row(&origins)?;
            row.kind = Some("arvados#log");
            let row = serde_json::value::to_raw_value(&row).map_err(NotAnEvent::from)?;
            if self.push(row).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(if taken.through.offset >= self.to { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Whether nothing was found at all.
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.skipped == 0 && !self.more
    }

    fn push(&mut self, row: Box<RawValue>) -> ControlFlow<()> {
        let bytes = row.get().len();
        if !self.wanted.newest_first {
            let full = self.rows.len() >= self.wanted.limit || self.bytes + bytes > PAGE_BYTES_MAX;
            if full && !self.rows.is_empty() {
                self.more = true;
                return ControlFlow::Break(());
            }
        }
        self.bytes += bytes;
        self.rows.push_back(row);
        // Of the newest the oldest give way.
        while self.wanted.newest_first
            && self.rows.len() > 1
            && (self.rows.len() > self.wanted.limit || self.bytes > PAGE_BYTES_MAX)
            && let Some(oldest) = self.rows.pop_front()
        {
            self.bytes -= oldest.get().len();
            self.more = true;
        }
        ControlFlow::Continue(())
    }

    fn answer(mut self) -> Vec<u8> {
        if self.wanted.newest_first {
            self.rows.make_contiguous().reverse();
        }
        let items: Vec<&RawValue> = self.rows.iter().map(|row| &**row).collect();
        let available = self.wanted.skip + items.len() + usize::from(self.more);
        let answer = Answer {
            kind: "arvados#logList",
            offset: self.wanted.skip,
            limit: self.wanted.limit,
            items_available: self.wanted.count.then_some(available),
            items,
        };
        serde_json::to_vec(&answer).unwrap_or_default()
    }
}
