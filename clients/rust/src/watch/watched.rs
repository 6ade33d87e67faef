//! What a program wants to be told of, and how.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::state::State;

/// How long a watch is relied upon when nothing else was said.
const ANEW_EVERY: Duration = Duration::from_secs(300);
/// It is not set anew more often.
const ANEW_EVERY_LEAST: Duration = Duration::from_secs(1);
/// The most: a time that lies further ahead than a clock can tell is none.
const ANEW_EVERY_MOST: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Channels, and up to which offset each of them is known. Can be written to a disk by serde, to be gone on with later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    pub(crate) channels: BTreeMap<String, Option<u64>>,
    /// A resume token of the log whose offsets these are.
    pub(crate) place: Option<String>,
}

impl Watched {
    /// No channels.
    #[must_use]
    pub fn new() -> Watched {
        Watched::default()
    }

    /// And this channel, of which nothing is known: it is told of at once.
    #[must_use]
    pub fn channel(mut self, id: impl Into<String>) -> Watched {
        self.channels.insert(id.into(), None);
        self
    }

    /// And this channel, which is known up to `offset`: it is told of once there is something newer.
    #[must_use]
    pub fn channel_at(mut self, id: impl Into<String>, offset: u64) -> Watched {
        self.channels.insert(id.into(), Some(offset));
        self
    }

    /// With a resume token of the log whose offsets these are: so the server can tell whether its log is still that one.
    #[must_use]
    pub fn place(mut self, resume_token: impl Into<String>) -> Watched {
        self.place = Some(resume_token.into());
        self
    }

    /// The channels, each with the offset up to which it is known, if it is.
    pub fn channels(&self) -> impl Iterator<Item = (&str, Option<u64>)> {
        self.channels.iter().map(|(id, known)| (id.as_str(), *known))
    }
}

/// Channels of which nothing is known.
impl<S: Into<String>> FromIterator<S> for Watched {
    fn from_iter<I: IntoIterator<Item = S>>(ids: I) -> Watched {
        ids.into_iter().fold(Watched::new(), Watched::channel)
    }
}

/// All channels of a state, each known as far as the state goes.
impl From<&State> for Watched {
    fn from(state: &State) -> Watched {
        let known = |channel: &crate::shapes::Channel| (channel.id.clone(), Some(state.offset()));
        Watched {
            channels: state.channels().map(known).collect(),
            place: Some(state.resume_token().to_owned()),
        }
    }
}

/// By which means notices come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Means {
    /// Server-Sent Events: at once.
    #[default]
    Sse,
    /// Long polls, for where answers are held back until they end: at once, too.
    Poll,
    /// Nothing is asked for but by [`Watch::check`](crate::Watch::check).
    Manual,
}

/// How a watch is set and read.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    pub(crate) name: String,
    pub(crate) means: Means,
    pub(crate) max_delay: Option<Duration>,
    pub(crate) lease: Option<Duration>,
    pub(crate) anew_every: Duration,
}

impl Default for WatchOptions {
    /// By Server-Sent Events, under a name that nobody else has.
    fn default() -> WatchOptions {
        WatchOptions {
            name: format!("{:032x}", rand::random::<u128>()),
            means: Means::default(),
            max_delay: None,
            lease: None,
            anew_every: ANEW_EVERY,
        }
    }
}

impl WatchOptions {
    /// Under this name, 1 to 64 of `A-Za-z0-9_-`: a watch that the user has under it is replaced.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> WatchOptions {
        WatchOptions { name: name.into(), ..self }
    }

    /// By these means.
    #[must_use]
    pub fn means(self, means: Means) -> WatchOptions {
        WatchOptions { means, ..self }
    }

    /// From one notice to the next it is at least that long; the server has 250 ms if nothing was said, and a minute at most.
    #[must_use]
    pub fn max_delay(self, max_delay: Duration) -> WatchOptions {
        WatchOptions { max_delay: Some(max_delay), ..self }
    }

    /// How long the server keeps it while nobody reads it; 5 minutes if nothing was said.
    #[must_use]
    pub fn lease(self, lease: Duration) -> WatchOptions {
        WatchOptions { lease: Some(lease), ..self }
    }

    /// How long it is relied upon, 5 minutes if nothing was said, a second at least and thirty days at most: then it is set
    /// anew, and whatever was lost on the way shows.
    #[must_use]
    pub fn anew_every(self, interval: Duration) -> WatchOptions {
        WatchOptions { anew_every: interval.clamp(ANEW_EVERY_LEAST, ANEW_EVERY_MOST), ..self }
    }
}
