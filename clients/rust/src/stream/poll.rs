//! Long polls.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Deserialize;

use super::asking::{Asking, WAIT};
use super::{Hello, Signal};
use crate::error::Error;
use crate::event::Event;
use crate::link::Address;

/// How many events one request asks for.
const PAGE_EVENTS: usize = 500;
/// One poll after the other.
pub(crate) struct Poll {
    asking: Asking<Page>,
    after: String,
    /// Whether the log has been read up to its head.
    live: bool,
    /// Whether anything was answered yet.
    begun: bool,
    /// What the last answer has brought.
    signals: VecDeque<Signal>,
}

#[derive(Deserialize)]
struct Page {
    resume: String,
    events: Vec<Event>,
    next: Option<String>,
    head: u64,
}

impl Poll {
    pub(super) fn new(address: &Address, after: &str) -> Poll {
        Poll {
            asking: Asking::new(address),
            after: after.to_owned(),
            live: false,
            begun: false,
            signals: VecDeque::new(),
        }
    }

    pub(super) async fn next(&mut self) -> Result<Signal, Error> {
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
            let (after, wait_s) = (&self.after, wait.as_secs());
            (format!("/api/events/poll?after={after}&wait={wait_s}&limit={PAGE_EVENTS}"), wait)
        });
        let page = page.await?;
        self.take(page)
    }

    fn take(&mut self, page: Page) -> Result<(), Error> {
        let signal = Hello { resume: page.resume }.signal()?;
        if matches!(signal, Signal::Elsewhere(_)) {
            self.signals.push_back(signal);
            return Ok(());
        }
        let next = page.next.ok_or_else(|| Error::unreadable("a page of events without a `next`"))?;
        let reached = next.split('-').next().and_then(|offset| offset.parse().ok());
        let reached: u64 = reached.ok_or_else(|| Error::unreadable(format!("the resume token {next:?}")))?;
        if !std::mem::replace(&mut self.begun, true) {
            self.signals.push_back(Signal::Begun);
        }
        self.after.clone_from(&next);
        self.signals.push_back(Signal::Events(page.events, Some(next)));
        if !self.live && reached >= page.head {
            self.live = true;
            self.signals.push_back(Signal::CaughtUp);
        }
        Ok(())
    }
}
