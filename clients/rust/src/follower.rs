//! Following the log: boot, read, fold, and boot again when that is the only way.

use std::pin::Pin;
use std::time::Duration;

use crate::client::Client;
use crate::error::{Away, Ended, Error};
use crate::event::Event;
use crate::feed::{Fed, Feed};
use crate::shapes::Boot;
use crate::state::{Joined, Needs, State};
use crate::stream::{Elsewhere, Start, Transport, Wanted};

/// Follows the log for one user and keeps their [`State`] up to date.
///
/// Everything happens inside [`Follower::next`]: there is no task behind it and no queue. Whoever calls it rarely reads slowly,
/// and catches up when they call again.
pub struct Follower {
    client: Client,
    feed: Feed<Event>,
    state: Option<State>,
    /// Why a boot is due.
    boot: Option<Boots>,
    /// The request that is under way. It is kept here, so that who waits for an update and gives up lets it go on.
    work: Option<Work>,
    ended: Option<Ended>,
}

/// A request that is under way.
type Work = Pin<Box<dyn Future<Output = Result<Done, Error>> + Send>>;

/// What a request has brought.
enum Done {
    Booted(Boots, Box<Boot>),
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
            feed: Feed::new(client.address.clone(), transport),
            client,
            boot: state.is_none().then_some(Boots::First),
            state,
            work: None,
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
            match self.step().await {
                Ok(Some(update)) => return Ok(update),
                Ok(None) => {}
                Err(Error::Ended(ended)) => {
                    self.feed.leave();
                    self.ended = Some(ended);
                }
                Err(Error::Away(why)) => {
                    let retry_in = self.feed.lose(why.retry_after);
                    self.work = None;
                    return Ok(Update::Away { why, retry_in });
                }
            }
        }
    }

    /// Takes leave of the server and gives the state, with which [`Client::resume`] goes on some time.
    pub async fn close(self) -> Option<State> {
        self.feed.close().await;
        self.state
    }

    /// The next thing to do; what it has to tell, if anything.
    async fn step(&mut self) -> Result<Option<Update>, Error> {
        self.feed.rest().await;
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
        if let Some(event) = self.feed.front() {
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
        let wanted = || Wanted { start: Start::After(state.resume_token().to_owned()), filters: Vec::new() };
        Ok(match self.feed.next(wanted).await? {
            Fed::Came => None,
            Fed::Stands(at) => {
                state.pass(at);
                None
            }
            Fed::CaughtUp => Some(Update::CaughtUp),
            Fed::Away(why, retry_in) => Some(Update::Away { why, retry_in }),
            Fed::Elsewhere(elsewhere) => {
                self.begin_anew(Boots::Elsewhere(elsewhere));
                None
            }
        })
    }

    fn finish(&mut self, done: Done) -> Option<Update> {
        match done {
            Done::Booted(why, boot) => {
                self.state = Some(State::new(*boot));
                self.boot = None;
                Some(Update::Booted(why))
            }
            Done::Joined(joined) => self.apply(joined),
        }
    }

    /// Applies the event in front.
    fn apply(&mut self, joined: Option<Joined>) -> Option<Update> {
        let state = self.state.as_mut()?;
        let (event, passed) = self.feed.dealt()?;
        let is_news = state.apply(&event, joined);
        if let Some(passed) = passed {
            state.pass(passed);
        }
        is_news.then_some(Update::Event(event))
    }

    fn begin_anew(&mut self, why: Boots) {
        self.boot = Some(why);
        self.feed.leave();
        self.work = None;
    }
}
