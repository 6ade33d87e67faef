//! One watch, and whoever reads it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use scrollback_log::Offset;
use scrollback_projections::Views;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Options;
use super::set::{Change, Set, Standing};
use crate::streams::Bye;

/// A watch.
#[derive(Debug)]
pub struct Watch {
    user: Offset,
    state: Mutex<State>,
    /// Changes whenever whoever reads must look whether they still may, or what has changed.
    touched: watch::Sender<u64>,
    /// Set while its readers were told of a change and none has looked since: to tell them again would wake somebody whose
    /// notice is held back anyway.
    has_news: AtomicBool,
}

#[derive(Debug)]
struct State {
    epoch: u64,
    set: Set,
    options: Options,
    /// Counts the streams that have read it, of which the newest counts.
    streams: u64,
    /// Whether the newest of them still reads, and how many polls wait.
    is_streamed: bool,
    polls: u32,
    expires_at: Instant,
    is_over: bool,
}

impl State {
    fn new(epoch: u64, set: Set, options: Options) -> State {
        State {
            epoch,
            set,
            options,
            streams: 0,
            is_streamed: false,
            polls: 0,
            expires_at: Instant::now() + options.lease,
            is_over: false,
        }
    }

    /// Whether its lease has ended, or it was ended.
    fn is_over(&self) -> bool {
        self.is_over || (!self.is_streamed && self.polls == 0 && Instant::now() >= self.expires_at)
    }

    fn renew(&mut self) {
        self.expires_at = Instant::now() + self.options.lease;
    }

    fn kept(&self) -> Kept {
        let left = self.expires_at.saturating_duration_since(Instant::now());
        Kept { epoch: self.epoch, options: self.options, left }
    }
}

/// How a watch is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Which setting of it this is.
    pub epoch: u64,
    /// As it was set.
    pub options: Options,
    /// How long it is kept from now on if nobody reads or renews it.
    pub left: Duration,
}

/// How somebody reads a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::streams) enum Role {
    /// With a poll, of which there may be several.
    Poll,
    /// As a stream, of which the newest counts.
    Stream,
    /// As a stream, but only as it was set under this epoch: who has set it anew since must not be put out by somebody who
    /// does not know of that.
    StreamOf(u64),
}

/// Somebody who reads a watch: as it was set when they began.
#[derive(Debug)]
pub(super) struct Readership {
    pub(super) watch: Arc<Watch>,
    pub(super) epoch: u64,
    /// The number of the stream; none of a poll, of which there may be several.
    stream: Option<u64>,
    pub(super) touched: watch::Receiver<u64>,
}

/// Held while something is told. Whoever sets or ends the watch waits for it.
pub(super) struct Turn<'a>(#[allow(dead_code, reason = "held, not looked at")] MutexGuard<'a, State>);

impl Watch {
    /// One of this user's, set so under this epoch.
    pub(super) fn new(user: Offset, epoch: u64, set: Set, options: Options) -> Watch {
        let state = State::new(epoch, set, options);
        Watch {
            user,
            state: Mutex::new(state),
            touched: watch::Sender::new(0),
            has_news: AtomicBool::new(false),
        }
    }

    /// Sets it anew, under an epoch of its own: whoever reads it is replaced.
    pub(super) fn set_anew(&self, epoch: u64, set: Set, options: Options) {
        {
            let mut state = self.lock();
            // Numbers of streams go on, so that one of before is never taken for a new one.
            let streams = state.streams;
            *state = State { streams, ..State::new(epoch, set, options) };
        }
        self.touch();
    }

    /// Ends it: nothing is told of it after this.
    pub(super) fn end(&self) {
        self.lock().is_over = true;
        self.touch();
    }

    /// Ends it if its lease has ended, and says whether it is over. Whoever still holds it finds it ended: what nobody can find
    /// any more must not live on.
    pub(super) fn end_if_over(&self) -> bool {
        let mut state = self.lock();
        state.is_over = state.is_over();
        state.is_over
    }

    /// How many channels it watches; none if it is over.
    pub(super) fn channels(&self) -> Option<usize> {
        let state = self.lock();
        (!state.is_over()).then(|| state.set.len())
    }

    /// How it is kept.
    pub(super) fn kept(&self) -> Kept {
        self.lock().kept()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all who read it.
    pub(super) fn touch(&self) {
        self.touched.send_modify(|count| *count += 1);
    }

    /// Shows the channels that are in it.
    pub(super) fn with_channels<T>(&self, show: impl FnOnce(&mut dyn Iterator<Item = Offset>) -> T) -> T {
        show(&mut self.lock().set.channels())
    }

    /// Whether one of these channels is in it. Yes if that cannot be told at once: a look too many does no harm.
    pub(super) fn may_have_any(&self, channels: &[Offset]) -> bool {
        match self.state.try_lock() {
            Ok(state) => channels.iter().any(|channel| state.set.has(*channel)),
            Err(_) => true,
        }
    }

    /// One of its channels has changed, and that is published.
    pub(super) fn tell_of_news(&self) {
        if !self.has_news.swap(true, Ordering::AcqRel) {
            self.touch();
        }
    }

    /// Somebody is about to look. What is published after this is told again; what was before, they find.
    pub(super) fn take_news(&self) {
        self.has_news.swap(false, Ordering::AcqRel);
    }

    /// Begins to read it.
    ///
    /// # Errors
    /// Why it cannot be read: it is over, or was set anew.
    pub(super) fn read(self: &Arc<Self>, role: Role) -> Result<Readership, Bye> {
        let touched = self.touched.subscribe();
        let mut state = self.lock();
        if state.is_over() {
            return Err(Bye::Unwatched);
        }
        if matches!(role, Role::StreamOf(epoch) if epoch != state.epoch) {
            return Err(Bye::Replaced);
        }
        state.renew();
        let as_stream = role != Role::Poll;
        let stream = as_stream.then(|| {
            state.streams += 1;
            state.is_streamed = true;
            state.streams
        });
        if stream.is_none() {
            state.polls += 1;
        }
        let epoch = state.epoch;
        drop(state);
        if as_stream {
            self.touch();
        }
        Ok(Readership { watch: Arc::clone(self), epoch, stream, touched })
    }

    /// Which setting of it is in force.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    /// Keeps it for its lease from now on. None if it is over.
    #[must_use]
    pub fn renew(&self) -> Option<Kept> {
        let mut state = self.lock();
        if state.is_over() {
            return None;
        }
        state.renew();
        Some(state.kept())
    }

    /// How it is kept, and how its channels stand.
    #[must_use]
    pub fn standings(&self, views: &Views) -> (Kept, Vec<Standing>) {
        let state = self.lock();
        (state.kept(), state.set.standings(views, self.user))
    }
}

impl Readership {
    /// Why it is over, if it is.
    pub(super) fn over(&self) -> Option<Bye> {
        self.over_by(&self.watch.lock())
    }

    fn over_by(&self, state: &State) -> Option<Bye> {
        if state.is_over {
            return Some(Bye::Unwatched);
        }
        let is_replaced =
            state.epoch != self.epoch || self.stream.is_some_and(|stream| stream != state.streams);
        is_replaced.then_some(Bye::Replaced)
    }

    /// The right to tell something now; none if it is over.
    pub(super) fn turn(&self) -> Option<Turn<'_>> {
        let state = self.watch.lock();
        if self.over_by(&state).is_some() { None } else { Some(Turn(state)) }
    }

    /// What its reader is to be told that has been told all up to `seen`; `concerned` as in [`Set::changes`].
    ///
    /// # Errors
    /// Why it is over: of what was set since, this reader knows nothing.
    pub(super) fn changes(
        &self,
        views: &Views,
        seen: Offset,
        concerned: Option<&[Offset]>,
    ) -> Result<Vec<Change>, Bye> {
        let mut state = self.watch.lock();
        match self.over_by(&state) {
            Some(reason) => Err(reason),
            None => Ok(state.set.changes(views, self.watch.user, seen, concerned)),
        }
    }

    pub(super) fn max_delay(&self) -> Duration {
        self.watch.lock().options.max_delay
    }

    pub(super) fn renew(&self) {
        self.watch.lock().renew();
    }
}

impl Drop for Readership {
    fn drop(&mut self) {
        let mut state = self.watch.lock();
        if self.over_by(&state).is_none() {
            state.renew();
            match self.stream {
                Some(_) => state.is_streamed = false,
                None => state.polls -= 1,
            }
        }
    }
}
