//! Notices of a watch from the server, by a stream or by polls.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::wire::{Change, Changed, Hello, Page};
use crate::error::Error;
use crate::link::Address;
use crate::stream::asking::{Asking, WAIT};
use crate::stream::frames::{Frame, Frames};
use crate::stream::{Bye, Silence};

/// What comes of a watch.
#[derive(Debug)]
pub(super) enum Signal {
    /// Nothing but that the server lives.
    Alive,
    /// What follows is of this epoch.
    Begun(u64),
    /// A notice of this epoch, and where its reader stands then (`EPOCH.TOKEN`), if it is the last part of it.
    Changed(u64, Vec<Change>, Option<String>),
    /// There was nothing to tell up to here.
    Stands(String),
    /// All is told that there was when the reader came.
    CaughtUp,
    /// The server has ended the stream.
    Bye(Bye),
}

/// A watch that is being read.
pub(super) enum Reader {
    Stream(Box<Stream>),
    Polls(Box<Polls>),
}

/// By Server-Sent Events.
pub(super) struct Stream {
    frames: Frames,
}

/// By long polls.
pub(super) struct Polls {
    asking: Asking<Page>,
    path: String,
    after: Option<String>,
    /// A server cannot know what one poll has told to hold the next one back, so the client keeps the pause between notices.
    pause: Duration,
    not_before: Option<Instant>,
    live: bool,
    /// What the last answer has brought and was not given yet.
    signals: VecDeque<Signal>,
}

impl Reader {
    /// What comes next. May be dropped while it waits: nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Signal, Error> {
        match self {
            Reader::Stream(stream) => stream.next().await,
            Reader::Polls(polls) => polls.next().await,
        }
    }

    /// How long the server asks to stay away when this reader is lost.
    pub(super) fn retry(&self) -> Option<Duration> {
        match self {
            Reader::Stream(stream) => stream.frames.retry(),
            Reader::Polls(_) => None,
        }
    }
}

impl Stream {
    /// A stream of the watch at this path, for a reader that stands at `after`.
    pub(super) async fn open(
        address: &Address,
        path: &str,
        after: Option<&str>,
        heartbeat: Duration,
    ) -> Result<Stream, Error> {
        let after = after.map_or_else(String::new, |after| format!("?resume_point={after}"));
        let frames = Frames::open(address, &format!("{path}/events{after}"), Silence::new(heartbeat)).await?;
        Ok(Stream { frames })
    }

    async fn next(&mut self) -> Result<Signal, Error> {
        signal(self.frames.next().await?)
    }
}

fn signal(frame: Frame) -> Result<Signal, Error> {
    Ok(match frame.kind.as_str() {
        "hello" => Signal::Begun(frame.read::<Hello>()?.epoch),
        "changed" => {
            let Changed { epoch, changed } = frame.read()?;
            Signal::Changed(epoch, changed, frame.id)
        }
        "caught_up" => Signal::CaughtUp,
        "bye" => Signal::Bye(frame.read()?),
        // Others are signs of life, or of a later version.
        _ => frame.id.map_or(Signal::Alive, Signal::Stands),
    })
}

impl Polls {
    /// Polls of the watch at this path, for a reader that stands at `after`.
    pub(super) fn new(address: &Address, path: &str, after: Option<&str>, pause: Duration) -> Polls {
        Polls {
            asking: Asking::new(address),
            path: path.to_owned(),
            after: after.map(str::to_owned),
            pause,
            not_before: None,
            live: false,
            signals: VecDeque::new(),
        }
    }

    async fn next(&mut self) -> Result<Signal, Error> {
        loop {
            if let Some(signal) = self.signals.pop_front() {
                return Ok(signal);
            }
            if let Some(at) = self.not_before {
                sleep_until(at).await;
                self.not_before = None;
            }
            let page = self.asking.ask(|| {
                // The first one answers at once, so that it is known when all is told that there was.
                let wait = if self.live { WAIT } else { Duration::ZERO };
                (poll(&self.path, self.after.as_deref(), wait), wait)
            });
            let page = page.await?;
            self.take(page);
        }
    }

    fn take(&mut self, Page { epoch, changed, next }: Page) {
        if !changed.is_empty() {
            self.not_before = Some(Instant::now() + self.pause);
        }
        self.signals.push_back(Signal::Begun(epoch));
        self.after = Some(next.clone());
        self.signals.push_back(Signal::Changed(epoch, changed, Some(next)));
        if !std::mem::replace(&mut self.live, true) {
            self.signals.push_back(Signal::CaughtUp);
        }
    }
}

/// Asks once how things stand.
pub(super) async fn look(address: &Address, path: &str) -> Result<Page, Error> {
    Asking::new(address).ask(|| (poll(path, None, Duration::ZERO), Duration::ZERO)).await
}

fn poll(path: &str, after: Option<&str>, wait: Duration) -> String {
    let after = after.map_or_else(String::new, |after| format!("&after={after}"));
    format!("{path}/changes?wait={}{after}", wait.as_secs())
}
