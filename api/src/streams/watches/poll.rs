//! A watch by polls: each says what has changed since the one before.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::frames;
use super::reading::{Place, Reading, Step};
use super::watch::{Role, Watch};
use crate::streams::poll::Open;
use crate::streams::{Bye, Reader, Streams};

/// What a poll came to.
#[derive(Debug)]
pub enum WatchPolled {
    /// The changes, as JSON: none if there were none in time.
    Page(Vec<u8>),
    /// The identity was revoked meanwhile.
    Revoked,
    /// The watch was set anew meanwhile.
    Replaced,
    /// There is no such watch, or no more.
    Unwatched,
    /// The server ends its streams, before it could look.
    Ending,
}

impl From<Bye> for WatchPolled {
    fn from(reason: Bye) -> WatchPolled {
        match reason {
            Bye::Revoked | Bye::Excluded => WatchPolled::Revoked,
            Bye::Replaced => WatchPolled::Replaced,
            Bye::Unwatched => WatchPolled::Unwatched,
            Bye::Shutdown | Bye::Slow | Bye::Storage | Bye::Damaged => WatchPolled::Ending,
        }
    }
}

impl Streams {
    /// Answers a poll of `watch` by `reader`, who stands at this place: at once if something has changed, else when it
    /// does or it has waited long enough.
    pub async fn poll_watch(
        self: &Arc<Self>,
        reader: Arc<dyn Reader>,
        watch: &Arc<Watch>,
        place: Place,
        wait: Duration,
    ) -> WatchPolled {
        let _open = Open::count(self.figures);
        let deadline = Instant::now() + wait;
        let mut reading = match Reading::begin(self, reader, watch, place, Role::Poll) {
            Ok(reading) => reading,
            Err(reason) => return reason.into(),
        };
        let mut is_late = false;
        let (changes, at) = loop {
            match reading.step() {
                Step::Changed(changes, at) => break (changes, at),
                Step::CaughtUp(_) | Step::Checkpoint(_) | Step::Heartbeat => {}
                // The pulse that lets it look is on its way.
                Step::Wait(until) if !reading.has_looked() => reading.wait(until).await,
                Step::Wait(_) if is_late => break (Vec::new(), reading.at()),
                Step::Wait(until) => {
                    is_late = timeout_at(deadline, reading.wait(until)).await.is_err();
                    if is_late {
                        // So that it can say how far it is true that nothing has changed.
                        reading.look_again();
                    }
                }
                Step::Ended(Bye::Shutdown | Bye::Storage) if reading.has_looked() => {
                    break (Vec::new(), reading.at());
                }
                Step::Ended(reason) => return reason.into(),
            }
        };
        let page = frames::page(reading.readership.epoch, &changes, at, &self.origins());
        // As late as can be: what was set or ended meanwhile was not for this poll.
        match reading.over().filter(|reason| *reason != Bye::Storage) {
            Some(reason) => reason.into(),
            None => WatchPolled::Page(page),
        }
    }
}
