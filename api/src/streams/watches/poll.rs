//! A watch by polls: each says what has changed since the one before.

use std::sync::Arc;
use std::time::Duration;

use scrollback_log::Offset;
use tokio::time::{Instant, timeout_at};

use super::frames;
use super::reading::{Reading, Step};
use super::registry::Watch;
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
}

impl Streams {
    /// Answers a poll of `watch` by `reader`, who was told all up to `after`: at once if something has changed, else when it
    /// does or it has waited long enough.
    pub async fn poll_watch(
        self: &Arc<Self>,
        reader: Arc<dyn Reader>,
        watch: &Arc<Watch>,
        after: Offset,
        wait: Duration,
    ) -> WatchPolled {
        let _open = Open::count(self.figures);
        let deadline = Instant::now() + wait;
        let Some(mut reading) = Reading::begin(self, reader, watch, after, false) else {
            return WatchPolled::Unwatched;
        };
        let (changes, at) = loop {
            match reading.step() {
                Step::Changed(changes, at) => break (changes, at),
                Step::CaughtUp(_) | Step::Checkpoint(_) | Step::Heartbeat => {}
                Step::Wait(until) => {
                    let woken = timeout_at(deadline, reading.wait(until)).await;
                    if woken.is_err() && reading.has_looked() {
                        break (Vec::new(), reading.at());
                    }
                }
                Step::Ended(Bye::Revoked) => return WatchPolled::Revoked,
                Step::Ended(Bye::Replaced) => return WatchPolled::Replaced,
                Step::Ended(Bye::Unwatched) => return WatchPolled::Unwatched,
                Step::Ended(_) => break (Vec::new(), reading.at()),
            }
        };
        WatchPolled::Page(frames::page(reading.readership.epoch, &changes, at, &self.origins()))
    }
}
