//! Long polls.

use std::collections::VecDeque;
use std::time::Duration;

use http::Method;
use serde::Deserialize;

use super::{Hello, Signal};
use crate::error::Error;
use crate::event::Event;
use crate::link::{ANSWER_TIMEOUT, Address, Link};

/// How many events one request asks for.
const PAGE_EVENTS: usize = 500;
/// How long one request waits for something new.
const WAIT: Duration = Duration::from_secs(30);

/// One poll after the other, on one connection as long as it lasts.
pub(crate) struct Poll {
    address: Address,
    link: Option<Link>,
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
            address: address.clone(),
            link: None,
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
        // The first one answers at once, so that it is known where the stream stands.
        let wait = if self.live { WAIT } else { Duration::ZERO };
        let path =
            format!("/api/events/poll?after={}&wait={}&limit={PAGE_EVENTS}", self.after, wait.as_secs());
        // A connection whose answer is not waited for any more is of no use; so it is given back only after that.
        let mut link = match self.link.take().filter(|link| !link.is_closed()) {
            Some(link) => link,
            None => Link::open(&self.address).await?,
        };
        let request = link.request(Method::GET, &path);
        let page: Page = link.ask(request, None, wait + ANSWER_TIMEOUT).await?;
        self.link = Some(link);
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
