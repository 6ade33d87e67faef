//! All watches, by user and name.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use scrollback_log::Offset;

use super::Options;
use super::readers::Readers;
use super::set::Set;
use super::watch::{Kept, Watch};

/// The most watches of a user, and the most channels in all of them.
const WATCHES_OF_USER_MAX: usize = 1_024;
const CHANNELS_OF_USER_MAX: usize = 200_000;

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
        if let Some(watch) = of_user.get(name) {
            watch.set_anew(epoch, set, options);
            return Ok(watch.kept());
        }
        let watch = Arc::new(Watch::new(user, epoch, set, options));
        let kept = watch.kept();
        of_user.insert(name.to_owned(), watch);
        Ok(kept)
    }

    /// The watch of this name, if there is one.
    pub fn get(&self, user: Offset, name: &str) -> Option<Arc<Watch>> {
        self.lock().get(&user)?.get(name).filter(|watch| watch.channels().is_some()).cloned()
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
            watch.end();
        }
    }

    /// Lets those go whose lease has ended.
    pub(in crate::streams) fn sweep(&self) {
        self.lock().retain(|_, of_user| {
            of_user.retain(|_, watch| !watch.end_if_over());
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
    all.filter_map(|watch| watch.channels())
        .fold((0, 0), |(watches, channels), more| (watches + 1, channels + more))
}

#[cfg(test)]
mod tests;
