//! Events by Server-Sent Events.

use std::time::Duration;

use super::frames::{Frame, Frames};
use super::{Hello, Signal, Silence};
use crate::error::Error;
use crate::link::Address;

/// An open stream of events.
pub(crate) struct Sse(Frames);

impl Sse {
    pub(super) async fn open(address: &Address, after: &str, silence: Silence) -> Result<Sse, Error> {
        Ok(Sse(Frames::open(address, &format!("/api/events?resume_point={after}"), silence).await?))
    }

    pub(super) async fn next(&mut self) -> Result<Signal, Error> {
        self.0.next().await?.signal()
    }

    pub(super) fn retry(&self) -> Option<Duration> {
        self.0.retry()
    }
}

impl Frame {
    fn signal(self) -> Result<Signal, Error> {
        Ok(match self.kind.as_str() {
            "hello" => self.read::<Hello>()?.signal()?,
            "caught_up" => Signal::CaughtUp,
            "bye" => Signal::Bye(self.read()?),
            // A checkpoint has an id and no event.
            "checkpoint" => Signal::Events(Vec::new(), self.id),
            "heartbeat" => Signal::Alive,
            _ if self.id.is_some() => Signal::Events(vec![self.read()?], self.id),
            // A control event of a later version.
            _ => Signal::Alive,
        })
    }
}
