//! Reading the log itself: the events that some filters choose, each as the server shows it, and nothing made of them.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::client::Client;
use crate::error::{Away, Ended};
use crate::event::Event;
use crate::feed::{Fed, Feed};
use crate::stream::{Start, Transport, Wanted};

/// How a [`Tail`] reads.
#[derive(Clone, Debug)]
pub struct TailOptions {
    transport: Transport,
    filters: Vec<Value>,
}

impl Default for TailOptions {
    fn default() -> TailOptions {
        TailOptions { transport: Transport::Sse, filters: Vec::new() }
    }
}

impl TailOptions {
    /// How events come; by [`Transport::Sse`] when nothing else was said.
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> TailOptions {
        self.transport = transport;
        self
    }

    /// Only events of which all these conditions hold, `[["type","=","message"]]` for example; of several filters one must.
    /// Without any, every event that the user may see. docs/api.md has what conditions there are, and how many.
    #[must_use]
    pub fn filter(mut self, conditions: Value) -> TailOptions {
        self.filters.push(conditions);
        self
    }
}

/// Reads events for as long as they come: each once, in the order of the log, however often the connection is lost.
///
/// As of a [`Follower`](crate::Follower), everything happens inside [`Tail::next`].
pub struct Tail {
    feed: Feed<RawEvent>,
    wanted: Wanted,
    ended: Option<Ended>,
}

/// What [`Tail::next`] tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum Tailed {
    /// The next event.
    Event(RawEvent),
    /// What follows is live.
    CaughtUp,
    /// The server is away. It is tried again for ever.
    Away {
        /// What happened.
        why: Away,
        /// How long it is until the next try.
        retry_in: Duration,
    },
}

/// An event as it was written by the server: the same JSON on every transport, with whatever a later version has in it.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct RawEvent(Box<RawValue>);

impl RawEvent {
    /// The JSON, on one line.
    #[must_use]
    pub fn json(&self) -> &str {
        self.0.get()
    }

    /// What it says.
    ///
    /// # Errors
    /// [`Ended::Unreadable`] when it lacks what such an event must have.
    pub fn read(&self) -> Result<Event, Ended> {
        serde_json::from_str(self.json()).map_err(|error| Ended::Unreadable(error.to_string()))
    }
}

impl Client {
    /// Reads events from `start` on, without a boot and without a state.
    #[must_use]
    pub fn tail(&self, start: Start, options: TailOptions) -> Tail {
        Tail {
            feed: Feed::new(self.address.clone(), options.transport),
            wanted: Wanted { start, filters: options.filters },
            ended: None,
        }
    }
}

impl Tail {
    /// Waits for the next event. May be dropped at any time and called again: nothing is lost.
    ///
    /// # Errors
    /// When it is no use to go on; the same again from then on. [`Ended::Elsewhere`] when the server's log is not the one
    /// that it began in: what to do then is for the program to say.
    pub async fn next(&mut self) -> Result<Tailed, Ended> {
        loop {
            if let Some((event, passed)) = self.feed.dealt() {
                if let Some(passed) = passed {
                    self.wanted.start = Start::After(passed);
                }
                return Ok(Tailed::Event(event));
            }
            if let Some(ended) = &self.ended {
                return Err(ended.clone());
            }
            match self.feed.next(|| self.wanted.clone()).await {
                Ok(Fed::Came) => {}
                Ok(Fed::Stands(at)) => self.wanted.start = Start::After(at),
                Ok(Fed::CaughtUp) => return Ok(Tailed::CaughtUp),
                Ok(Fed::Away(why, retry_in)) => return Ok(Tailed::Away { why, retry_in }),
                Ok(Fed::Elsewhere(elsewhere)) => self.ended = Some(Ended::Elsewhere(elsewhere)),
                Err(ended) => {
                    self.feed.leave();
                    self.ended = Some(ended);
                }
            }
        }
    }

    /// From where on another tail brings what this one has not given, as a [`Start`]. While events that came together are
    /// given one by one it lies before them; the offset of the last one that was given is then the place behind it.
    #[must_use]
    pub fn start(&self) -> &Start {
        &self.wanted.start
    }

    /// Takes leave of the server.
    pub async fn close(self) {
        self.feed.close().await;
    }
}
