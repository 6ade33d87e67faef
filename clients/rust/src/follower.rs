//! Following the log: boot, stream, fold, and again from where it was when the stream is lost.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::{Away, Ended, Error};
use crate::event::Event;
use crate::shapes::Boot;
use crate::state::{Joined, Needs, State};
use crate::stream::{Bye, Elsewhere, Session, Signal, Stream, Transport};

/// Follows the log for one user and keeps their [`State`] up to date.
///
/// Everything happens inside [`Follower::next`]: there is no task behind it and no queue. Whoever calls it rarely reads slowly,
/// and catches up when they call again.
pub struct Follower {
    client: Client,
    transport: Transport,
    state: Option<State>,
    /// Why a boot is due.
    boot: Option<Boots>,
    stream: Option<Stream>,
    session: Session,
    /// The request that is under way. It is kept here, so that who waits for an update and gives up lets it go on.
    work: Option<Work>,
    /// Events that came together and are not applied yet; then where the stream stands after them.
    events: VecDeque<Event>,
    passed: Option<String>,
    /// The newest of them.
    newest: Option<u64>,
    backoff: Backoff,
    retry_at: Option<Instant>,
    ended: Option<Ended>,
}

/// A request that is under way.
type Work = Pin<Box<dyn Future<Output = Result<Done, Error>> + Send>>;

/// What a request has brought.
enum Done {
    Booted(Boots, Box<Boot>),
    Opened(Box<Stream>),
    /// The channel that the event in front needs.
    Joined(Option<Joined>),
}

/// What [`Follower::next`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Update {
    /// The state is a new one: whatever was made of the last one has to be made anew.
    Booted(Boots),
    /// This event was applied to the state.
    Event(Event),
    /// The state is up to date; what follows is live.
    CaughtUp,
    /// The server is away. It is tried again for ever.
    Away {
        /// What happened.
        why: Away,
        /// How long it is until the next try.
        retry_in: Duration,
    },
}

/// Why there was a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Boots {
    /// There was no state.
    First,
    /// The server's log is not the one that the state was of.
    Elsewhere(Elsewhere),
    /// The user became an owner, or is one no more, and so sees other private channels.
    Rights,
}

impl Follower {
    pub(crate) fn new(client: Client, transport: Transport, state: Option<State>) -> Follower {
        Follower {
            client,
            transport,
            boot: state.is_none().then_some(Boots::First),
            state,
            stream: None,
            session: Session::default(),
            work: None,
            events: VecDeque::new(),
            passed: None,
            newest: None,
            backoff: Backoff::default(),
            retry_at: None,
            ended: None,
        }
    }

    /// What is known; none before the first boot.
    #[must_use]
    pub fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// Waits for the next change. May be dropped at any time and called again: nothing is lost.
    ///
    /// # Errors
    /// When it is no use to go on; the same again from then on. The state stays, and [`Client::resume`] goes on from it.
    pub async fn next(&mut self) -> Result<Update, Ended> {
        loop {
            if let Some(ended) = &self.ended {
                return Err(ended.clone());
            }
            if let Some(at) = self.retry_at {
                tokio::time::sleep_until(at).await;
                self.retry_at = None;
            }
            match self.step().await {
                Ok(Some(update)) => return Ok(update),
                Ok(None) => {}
                Err(Error::Ended(ended)) => {
                    self.stream = None;
                    self.ended = Some(ended);
                }
                Err(Error::Away(why)) => {
                    let asked = why.retry_after.or_else(|| self.stream.as_ref().and_then(Stream::retry));
                    return Ok(self.lose(why, asked));
                }
            }
        }
    }

    /// Takes leave of the server and gives the state, with which [`Client::resume`] goes on some time.
    pub async fn close(mut self) -> Option<State> {
        if let Some(stream) = self.stream.take() {
            stream.close().await;
        }
        self.state
    }

    /// The next thing to do; what it has to tell, if anything.
    async fn step(&mut self) -> Result<Option<Update>, Error> {
        if let Some(work) = &mut self.work {
            let done = work.await;
            self.work = None;
            return Ok(self.finish(done?));
        }
        let client = self.client.clone();
        if let Some(why) = self.boot {
            let work = async move { Ok(Done::Booted(why, Box::new(client.boot().await?))) };
            self.work = Some(Box::pin(work));
            return Ok(None);
        }
        let Some(state) = &mut self.state else {
            self.boot = Some(Boots::First);
            return Ok(None);
        };
        if let Some(event) = self.events.front() {
            match state.needs(event) {
                Needs::Nothing => return Ok(self.apply(None)),
                Needs::Channel(channel) => {
                    let offset = event.offset;
                    let work = async move { Ok(Done::Joined(client.joined(&channel, offset).await?)) };
                    self.work = Some(Box::pin(work));
                }
                Needs::Boot => self.begin_anew(Boots::Rights),
            }
            return Ok(None);
        }
        let Some(stream) = &mut self.stream else {
            let (transport, heartbeat) = (self.transport, state.heartbeat());
            let (after, session) = (state.resume_token().to_owned(), self.session.clone());
            self.work = Some(Box::pin(async move {
                let opened = Stream::open(&client.address, transport, &after, &session, heartbeat);
                Ok(Done::Opened(Box::new(opened.await?)))
            }));
            return Ok(None);
        };
        let signal = stream.next(&mut self.session).await?;
        self.hear(signal)
    }

    fn finish(&mut self, done: Done) -> Option<Update> {
        match done {
            Done::Booted(why, boot) => {
                self.state = Some(State::new(*boot));
                self.boot = None;
                Some(Update::Booted(why))
            }
            Done::Opened(stream) => {
                self.stream = Some(*stream);
                None
            }
            Done::Joined(joined) => self.apply(joined),
        }
    }

    /// Applies the event in front.
    fn apply(&mut self, joined: Option<Joined>) -> Option<Update> {
        let event = self.events.pop_front()?;
        let is_news = self.state.as_mut()?.apply(&event, joined);
        self.pass();
        is_news.then_some(Update::Event(event))
    }

    fn hear(&mut self, signal: Signal) -> Result<Option<Update>, Error> {
        match signal {
            Signal::Alive => {}
            Signal::Begun => self.backoff.reset(),
            Signal::Elsewhere(elsewhere) => self.begin_anew(Boots::Elsewhere(elsewhere)),
            Signal::Events(events, passed) => {
                // A session wants to hear of events only; a checkpoint is none.
                self.newest = events.last().map(|event| event.offset);
                self.events.extend(events);
                self.passed = passed;
                self.pass();
            }
            Signal::CaughtUp => return Ok(Some(Update::CaughtUp)),
            Signal::Bye(bye) => return self.part(bye).map(Some),
        }
        Ok(None)
    }

    /// When all that came together is applied, the next stream begins behind it, and the server is told.
    fn pass(&mut self) {
        if !self.events.is_empty() {
            return;
        }
        if let (Some(state), Some(passed)) = (&mut self.state, self.passed.take()) {
            state.pass(passed);
            if let (Some(stream), Some(newest)) = (&mut self.stream, self.newest.take()) {
                stream.acknowledge(newest);
            }
        }
    }

    fn begin_anew(&mut self, why: Boots) {
        self.boot = Some(why);
        self.leave();
        self.session.id = None;
    }

    /// The server ends the stream; what that means.
    fn part(&mut self, bye: Bye) -> Result<Update, Error> {
        let why = match (bye.reason.as_str(), bye.code.as_deref()) {
            ("revoked", Some("unauthenticated")) => return Err(Ended::Unauthenticated.into()),
            ("revoked", _) => Away::new("a private channel was lost; the stream goes on without it"),
            (reason, _) => Away::new(format!("the server has ended the stream: {reason}")),
        };
        // Whoever lost a channel need not stay away: the server is there.
        let asked = match bye.reason.as_str() {
            "revoked" => None,
            _ => {
                bye.retry.map(Duration::from_millis).or_else(|| self.stream.as_ref().and_then(Stream::retry))
            }
        };
        Ok(self.lose(why, asked))
    }

    /// Stays away for a while.
    fn lose(&mut self, why: Away, asked: Option<Duration>) -> Update {
        self.leave();
        let retry_in = self.backoff.next(asked, rand::random());
        self.retry_at = Some(Instant::now() + retry_in);
        Update::Away { why, retry_in }
    }

    /// Drops the stream, and what came of it and was not applied: it comes again.
    fn leave(&mut self) {
        self.stream = None;
        self.work = None;
        self.events.clear();
        self.passed = None;
    }
}
