//! All watches, and who reads them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use scrollback_log::Offset;
use scrollback_projections::Views;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Options;
use super::readers::Readers;
use super::set::{Change, Set, Standing};
use crate::streams::Bye;

/// The most watches of a user, and the most channels in all of them.
const WATCHES_OF_USER_MAX: usize = 1_024;
const CHANNELS_OF_USER_MAX: usize = 200_000;

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
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all who read it.
    pub(super) fn touch(&self) {
        self.touched.send_modify(|count| *count += 1);
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

    /// What its reader is to be told that has been told all up to `seen`.
    ///
    /// # Errors
    /// Why it is over: of what was set since, this reader knows nothing.
    pub(super) fn changes(&self, views: &Views, seen: Offset) -> Result<Vec<Change>, Bye> {
        let mut state = self.watch.lock();
        match self.over_by(&state) {
            Some(reason) => Err(reason),
            None => Ok(state.set.changes(views, self.watch.user, seen)),
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

/// A user has as many watches, or watched channels, as one may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyWatches;

/// The watches of all users.
#[derive(Debug)]
pub struct Watches {
    known: Mutex<HashMap<Offset, HashMap<String, Arc<Watch>>>>,
    pub(in crate::streams) readers: Arc<Readers>,
    /// Never given twice, also when a watch is ended and set again: so a straggler is known by its epoch. Begins anywhere, so
    /// that it is hardly that of before a restart either.
    next_epoch: AtomicU64,
}

impl Default for Watches {
    fn default() -> Watches {
        // Far below 2^53, which every JSON parser keeps apart.
        let next_epoch = AtomicU64::new(rand::random::<u64>() >> 16);
        Watches { known: Mutex::default(), readers: Arc::default(), next_epoch }
    }
}

impl Watches {
    /// Sets the watch of this name, in place of the one before.
    ///
    /// # Errors
    /// When the user would have too many.
    pub fn set(&self, user: Offset, name: &str, set: Set, options: Options) -> Result<Kept, TooManyWatches> {
        let mut known = self.lock();
        let of_user = known.entry(user).or_default();
        let (watches, channels) =
            counted(of_user.iter().filter(|(other, _)| *other != name).map(|(_, watch)| watch));
        if watches >= WATCHES_OF_USER_MAX || channels + set.len() > CHANNELS_OF_USER_MAX {
            return Err(TooManyWatches);
        }
        let epoch = self.next_epoch.fetch_add(1, Ordering::Relaxed);
        let expires_at = Instant::now() + options.lease;
        let new = State {
            epoch,
            set,
            options,
            streams: 0,
            is_streamed: false,
            polls: 0,
            expires_at,
            is_over: false,
        };
        let kept = new.kept();
        if let Some(watch) = of_user.get(name) {
            {
                let mut state = watch.lock();
                // Numbers of streams go on, so that one of before is never taken for a new one.
                let streams = state.streams;
                *state = State { streams, ..new };
            }
            watch.touch();
            return Ok(kept);
        }
        let watch = Arc::new(Watch {
            user,
            state: Mutex::new(new),
            touched: watch::Sender::new(0),
            has_news: AtomicBool::new(false),
        });
        of_user.insert(name.to_owned(), watch);
        Ok(kept)
    }

    /// The watch of this name, if there is one.
    pub fn get(&self, user: Offset, name: &str) -> Option<Arc<Watch>> {
        self.lock().get(&user)?.get(name).filter(|watch| !watch.lock().is_over()).cloned()
    }

    /// Ends the watch of this name, if there is one: nothing is told of it after this.
    pub fn end(&self, user: Offset, name: &str) {
        let ended = {
            let mut known = self.lock();
            let Some(of_user) = known.get_mut(&user) else { return };
            let ended = of_user.remove(name);
            if of_user.is_empty() {
                known.remove(&user);
            }
            ended
        };
        if let Some(watch) = ended {
            watch.lock().is_over = true;
            watch.touch();
        }
    }

    /// Lets those go whose lease has ended.
    pub(in crate::streams) fn sweep(&self) {
        self.lock().retain(|_, of_user| {
            of_user.retain(|_, watch| {
                let mut state = watch.lock();
                // Whoever still holds it finds it ended: what nobody can find any more must not live on.
                state.is_over = state.is_over();
                !state.is_over
            });
            !of_user.is_empty()
        });
    }

    /// How many there are whose lease has not ended, and how many channels they watch.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        counted(self.lock().values().flat_map(HashMap::values))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Offset, HashMap<String, Arc<Watch>>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many of these are not over, and how many channels they watch.
fn counted<'a>(all: impl Iterator<Item = &'a Arc<Watch>>) -> (usize, usize) {
    all.fold((0, 0), |(watches, channels), watch| {
        let state = watch.lock();
        if state.is_over() { (watches, channels) } else { (watches + 1, channels + state.set.len()) }
    })
}

#[cfg(test)]
mod tests;
