//! Long polls.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::asking::{Asking, WAIT};
use super::{Elsewhere, Signal, Start, Wanted, offset_of};
use crate::error::Error;
use crate::link::Address;

/// How many events one request asks for.
const PAGE_EVENTS: usize = 500;

/// One poll after the other.
pub(crate) struct Poll<E> {
    asking: Asking<Page<E>>,
    wanted: Wanted,
    /// Whether the log has been read up to its head.
    live: bool,
    /// Whether anything was answered yet.
    begun: bool,
    /// What the last answer has brought.
    signals: VecDeque<Signal<E>>,
}

#[derive(Deserialize)]
struct Page<E> {
    resume: String,
    events: Vec<E>,
    next: Option<String>,
    head: u64,
}

impl<E: DeserializeOwned + Send + 'static> Poll<E> {
    pub(super) fn new(address: &Address, wanted: Wanted) -> Poll<E> {
        Poll { asking: Asking::new(address), wanted, live: false, begun: false, signals: VecDeque::new() }
    }

    pub(super) async fn next(&mut self) -> Result<Signal<E>, Error> {
        loop {
            if let Some(signal) = self.signals.pop_front() {
                return Ok(signal);
            }
            self.ask().await?;
        }
    }

    async fn ask(&mut self) -> Result<(), Error> {
        let page = self.asking.ask(|| {
            // The first one answers at once, so that it is known where the stream stands.
            let wait = if self.live { WAIT } else { Duration::ZERO };
            let (query, wait_s) = (self.wanted.query("after"), wait.as_secs());
            (format!("/api/events/poll?{query}&wait={wait_s}&limit={PAGE_EVENTS}"), wait)
        });
        let page = page.await?;
        self.take(page)
    }

    fn take(&mut self, page: Page<E>) -> Result<(), Error> {
        if let Some(elsewhere) = Elsewhere::of(&page.resume)? {
            self.signals.push_back(Signal::Elsewhere(elsewhere));
            return Ok(());
        }
        let next = page.next.ok_or_else(|| Error::unreadable("a page of events without a `next`"))?;
        let reached =
            offset_of(&next).ok_or_else(|| Error::unreadable(format!("the resume token {next:?}")))?;
        if !std::mem::replace(&mut self.begun, true) {
            self.signals.push_back(Signal::Begun(None));
        }
        self.wanted.start = Start::After(next.clone());
        self.signals.push_back(Signal::Events(page.events, Some(next)));
        if !self.live && reached >= page.head {
            self.live = true;
            self.signals.push_back(Signal::CaughtUp);
        }
        Ok(())
    }
}
