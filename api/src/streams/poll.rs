//! The long poll: the same events, a page at a time, for clients that cannot hold a stream.

use std::sync::Arc;
use std::time::Duration;

use scrollback_log::Offset;
use tokio::time::{Instant, timeout_at};

use super::control::Bye;
use super::cut::{Cut, Form};
use super::filter::Filters;
use super::resume::Resume;
use super::start::Start;
use super::subscription::{Step, Subscription};
use super::{Chunk, Position, Reader, StreamError, Streams};
use crate::figures::Figures;

/// A page ends at this many bytes, whatever its limit.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// A poll whose filter matches little looks at least this long, however short it would wait: so an empty page whose
/// `next` lies before the head is rare.
const LOOK_MIN: Duration = Duration::from_secs(1);

/// What a poll asks for.
#[derive(Clone, Debug)]
pub struct Poll {
    /// Where the page begins.
    pub start: Start,
    /// Which events it wants.
    pub filters: Filters,
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

/// A poll under way, counted.
pub(super) struct Open(&'static Figures);

impl Open {
    pub(super) fn count(figures: &'static Figures) -> Open {
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
    pub async fn poll(self: &Arc<Self>, reader: Arc<dyn Reader>, poll: Poll) -> Result<Polled, StreamError> {
        let _open = Open::count(self.figures);
        let Poll { start, filters, wait, limit } = poll;
        let until = Instant::now() + wait;
        let look_until = until.max(Instant::now() + LOOK_MIN);
        let resume = self.resume(&start, &self.selection(reader.user(), &filters)).await?;
        if resume.position().is_none() {
            return Ok(Polled::Page(answer(resume, &Chunk::default(), None, self.log.head().offset)));
        }
        let mut pulses = self.pulse.clone();
        let mut subscription = Subscription::begin(self, reader, resume, filters);
        let cut = Cut { form: Form::Json, bytes_max: PAGE_BYTES_MAX, events_max: limit, shared: false };
        let (events, next) = loop {
            match subscription.step(&mut pulses, cut).await? {
                Step::Events(taken) => break (taken.chunk, Some(taken.through)),
                Step::Ended(Bye::Revoked) => return Ok(Polled::Revoked),
                Step::Checkpoint(place) if Instant::now() >= look_until => {
                    break (Chunk::default(), Some(place));
                }
                Step::Checkpoint(_) | Step::CaughtUp(_) | Step::Heartbeat => {}
                Step::Wait
                    if timeout_at(until, pulses.changed()).await.is_ok_and(|changed| changed.is_ok()) => {}
                Step::Wait | Step::Ended(_) => break (Chunk::default(), subscription.given()),
            }
        };
        Ok(Polled::Page(answer(resume, &events, next, subscription.reached().offset)))
    }
}

fn answer(resume: Resume, events: &Chunk, next: Option<Position>, head: Offset) -> Vec<u8> {
    let next = next.map_or_else(|| "null".to_owned(), |next| format!("\"{next}\""));
    let start = format!("{{\"resume\":\"{}\",\"events\":[", resume.name());
    let end = format!("],\"next\":{next},\"head\":{head}}}");
    [start.as_bytes(), &events.bare(), end.as_bytes()].concat()
}
