//! Long polls.

use std::collections::VecDeque;
use std::pin::Pin;
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
    /// The poll that is under way. It is kept here, so that it goes on when the waiting for it is dropped.
    asking: Option<Asking>,
    after: String,
    /// Whether the log has been read up to its head.
    live: bool,
    /// Whether anything was answered yet.
    begun: bool,
    /// What the last answer has brought.
    signals: VecDeque<Signal>,
}

type Asking = Pin<Box<dyn Future<Output = Result<(Link, Page), Error>> + Send>>;

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
            asking: None,
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
        let asking = self.asking.get_or_insert_with(|| {
            // The first one answers at once, so that it is known where the stream stands.
            let wait = if self.live { WAIT } else { Duration::ZERO };
            Box::pin(ask(self.link.take(), self.address.clone(), self.after.clone(), wait))
        });
        let asked = asking.await;
        self.asking = None;
        let (link, page) = asked?;
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

async fn ask(
    link: Option<Link>,
    address: Address,
    after: String,
    wait: Duration,
) -> Result<(Link, Page), Error> {
    let mut link = match link.filter(|link| !link.is_closed()) {
        Some(link) => link,
        None => Link::open(&address).await?,
    };
    let path = format!("/api/events/poll?after={after}&wait={}&limit={PAGE_EVENTS}", wait.as_secs());
    let request = link.request(Method::GET, &path);
    let page = link.ask(request, None, wait + ANSWER_TIMEOUT).await?;
    Ok((link, page))
}
