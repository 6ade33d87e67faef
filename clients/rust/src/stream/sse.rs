//! Events by Server-Sent Events.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::frames::{Frame, Frames};
use super::{Hello, Signal, Silence, Wanted};
use crate::error::Error;
use crate::link::Address;

/// An open stream of events.
pub(crate) struct Sse(Frames);

impl Sse {
    pub(super) async fn open(address: &Address, wanted: &Wanted, silence: Silence) -> Result<Sse, Error> {
        let path = format!("/api/events?{}", wanted.query("resume_point"));
        Ok(Sse(Frames::open(address, &path, silence).await?))
    }

    pub(super) async fn next<E: DeserializeOwned>(&mut self) -> Result<Signal<E>, Error> {
        let frame = self.0.next().await?;
        if frame.kind == "hello" {
            let hello: Hello = frame.read()?;
            self.0.beats(hello.heartbeat());
            return hello.signal();
        }
        frame.signal()
    }

    pub(super) fn retry(&self) -> Option<Duration> {
        self.0.retry()
    }
}

impl Frame {
    fn signal<E: DeserializeOwned>(self) -> Result<Signal<E>, Error> {
        Ok(match self.kind.as_str() {
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
