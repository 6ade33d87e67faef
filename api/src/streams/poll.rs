//! The long poll: the same events, a page at a time, for clients that cannot hold a stream.

use std::sync::Arc;
use std::time::Duration;

use scrollback_log::Offset;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::filter::Filter;
use super::resume::{Resume, ResumeFrom};
use super::{Position, Pulse, Reader, StreamError, Streams, read_log};
use crate::figures::Figures;

/// A page ends at this many bytes, whatever its limit.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// A poll whose filter matches little looks at least this long, however short it would wait: so an empty page whose
/// `next` lies before the head is rare.
const LOOK_MIN: Duration = Duration::from_secs(1);

/// What a poll asks for.
#[derive(Clone, Debug)]
pub struct Poll {
    /// Where the client stands.
    pub after: ResumeFrom,
    /// Which events it wants.
    pub filter: Option<Filter>,
    /// How long it waits for the first event.
    pub wait: Duration,
    /// The most events it wants; at least one.
    pub limit: usize,
}

/// How a poll ended.
#[derive(Debug)]
pub enum Polled {
    /// The answer's JSON.
    Page(Vec<u8>),
    /// The reader's identity is no longer valid.
    Revoked,
}

/// The events of an answer, as they are collected.
struct Page {
    json: Vec<u8>,
    count: usize,
    limit: usize,
    full: bool,
}

impl Page {
    fn new(limit: usize) -> Page {
        Page { json: Vec::new(), count: 0, limit, full: false }
    }

    /// Takes one more event; says no if the page has no room for it. A page takes at least one.
    fn push(&mut self, event: &[u8]) -> bool {
        if self.full || (self.count > 0 && self.json.len() + event.len() >= PAGE_BYTES_MAX) {
            self.full = true;
            return false;
        }
        if self.count > 0 {
            self.json.push(b',');
        }
        self.json.extend_from_slice(event);
        self.count += 1;
        self.full = self.count >= self.limit;
        true
    }
}

/// A poll under way, counted.
struct Open(&'static Figures);

impl Open {
    fn count(figures: &'static Figures) -> Open {
        figures.polls_open.increment(1);
        Open(figures)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.polls_open.decrement(1);
    }
}

impl Streams {
    /// Answers a poll: at once if there is an event for it or it cannot go on here, else when one comes or it has waited
    /// long enough.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn poll(self: &Arc<Self>, reader: &dyn Reader, poll: Poll) -> Result<Polled, StreamError> {
        let _open = Open::count(self.figures);
        let until = Instant::now() + poll.wait;
        let look_until = until.max(Instant::now() + LOOK_MIN);
        let resume = self.resume(poll.after).await?;
        let Some(mut at) = resume.position() else {
            return Ok(Polled::Page(answer(resume, &[], None, self.log.head().offset)));
        };
        let mut pulse: watch::Receiver<Pulse> = self.pulse.clone();
        loop {
            pulse.mark_unchanged();
            if !reader.is_live() {
                return Ok(Polled::Revoked);
            }
            let head = self.log.head().offset;
            let mut page = Page::new(poll.limit);
            while at.offset < head && !page.full && Instant::now() < look_until {
                (at, page) = self.fill(at, head, poll.filter.as_ref(), page).await?;
            }
            let over = Instant::now() >= until || pulse.borrow().ending.is_some();
            if page.count > 0 || over {
                return Ok(Polled::Page(answer(resume, &page.json, Some(at), head)));
            }
            // Whatever woke it, the next round looks again; a time that is up ends it.
            if let Ok(Err(_)) = timeout_at(until, pulse.changed()).await {
                return Ok(Polled::Page(answer(resume, &[], Some(at), head)));
            }
        }
    }

    /// Moves from `at` towards `head`, collecting; does not move only if the page is full.
    async fn fill(
        self: &Arc<Self>,
        at: Position,
        head: Offset,
        filter: Option<&Filter>,
        mut page: Page,
    ) -> Result<(Position, Page), StreamError> {
        let near = self.ring.each_json(at.offset, head, filter, |event| page.push(event));
        if near.is_some() || page.full {
            return Ok((near.unwrap_or(at), page));
        }
        let filter = filter.cloned();
        self.on_log(move |streams| {
            let (log, origins) = (&streams.log, streams.origins());
            let through =
                read_log::each_json(log, &origins, (at.offset, head), filter.as_ref(), &mut |event| {
                    page.push(event)
                })?;
            Ok((through.unwrap_or(at), page))
        })
        .await
    }
}

fn answer(resume: Resume, events: &[u8], next: Option<Position>, head: Offset) -> Vec<u8> {
    let next = next.map_or_else(|| "null".to_owned(), |next| format!("\"{next}\""));
    let start = format!("{{\"resume\":\"{}\",\"events\":[", resume.name());
    let end = format!("],\"next\":{next},\"head\":{head}}}");
    [start.as_bytes(), events, end.as_bytes()].concat()
}
