//! Being told that channels have changed: a watch, for whoever reads them by other calls.
//!
//! A setting of a watch is what one `PUT` made, and has an epoch. Whatever can bring a notice (a stream, a poll, a request that
//! is under way) belongs to one setting and is dropped *before* the next one is asked for, or the end; and what a server says
//! under another epoch is not heard. So nothing of an old setting comes through, whatever a server does.
//!
//! A notice may be lost: by a server, by what lies between, by a connection that is dead and does not say so. So a setting
//! is relied upon for so long only. Then the watch is set anew, and the answer, taken by the server in one moment with the
//! registration, says how each channel stands: what is newer than what was told is told now. A program that reads what it is
//! told of has then set its watch first and read second, and is late by the interval at worst, and never wrong.

mod book;
mod losses;
mod reader;
mod requests;
#[cfg(test)]
mod tests;
mod watched;
mod wire;

use std::collections::VecDeque;
use std::time::Duration;

use book::Book;
use http::Method;
use reader::{Polls, Reader, Signal};
use requests::{Done, Work};
use tokio::time::{Instant, timeout_at};
pub use watched::{Means, WatchOptions, Watched};
pub use wire::Gone;
use wire::{Change, Set, Setting};

use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::{Away, Ended, Error};
use crate::link::{ANSWER_TIMEOUT, Link};
use crate::stream::Elsewhere;

/// A setting is relied upon for the interval, less at most this part of it: clients that began together do not stay so.
const JITTER: f64 = 0.25;

/// Tells of channels that have changed, and nothing of what.
///
/// As with a [`Follower`](crate::Follower) everything happens inside [`Watch::next`]. A watch that is dropped is kept by the
/// server until its lease ends; [`Watch::unwatch`] ends it at once.
pub struct Watch {
    client: Client,
    options: WatchOptions,
    /// Below which the server has it.
    path: String,
    book: Book,
    /// What has come and was not told yet; what is known moves on only when it is told.
    heard: VecDeque<Heard>,
    /// The setting that is read; none when the watch has to be set.
    set: Option<Current>,
    reader: Option<Reader>,
    /// The request that is under way. It is kept here, so that who waits for a notice and gives up lets it go on.
    work: Option<Work>,
    check: Check,
    /// Whether the server may be another one than it was, or have another log.
    doubted: bool,
    backoff: Backoff,
    /// The same of settings that somebody else has replaced or ended. It begins anew only when one was left alone for its time.
    contested: Backoff,
    retry_at: Option<Instant>,
    ended: Option<Ended>,
}

/// Whether the program wants to know how things stand now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    No,
    Wanted,
    /// The request that is under way answers it.
    Asked,
}

/// The setting that is read.
struct Current {
    epoch: u64,
    max_delay: Duration,
    /// After three times as long a silence a stream is opened again.
    heartbeat: Duration,
    anew_at: Instant,
    /// Where a reader of it stands.
    after: Option<String>,
    /// Whether a reader of it was let in.
    read: bool,
}

/// What was heard and is not told yet.
enum Heard {
    Change(Change),
    CaughtUp,
}

/// What [`Watch::next`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The channel's newest record is this one. Offsets of a channel only grow.
    Changed {
        /// The channel.
        channel: String,
        /// Its newest record.
        offset: u64,
    },
    /// The channel is not watched, or not any more, and this is the last that is told of it.
    Gone {
        /// The channel.
        channel: String,
        /// Why.
        why: Gone,
    },
    /// Everything that there was is told; what follows is live. After a [`Watch::check`], the answer to it.
    CaughtUp,
    /// The server's log is not the one that the offsets were of: what was read of any channel may be gone. All of them are
    /// told anew.
    Elsewhere(Elsewhere),
    /// The server is away, or somebody else has set the watch. It is tried again for ever.
    Away {
        /// What happened.
        why: Away,
        /// How long it is until the next try.
        retry_in: Duration,
    },
}

impl Client {
    /// Watches channels. Read what is told of, when it is told: nothing has to be read before.
    #[must_use]
    pub fn watch(&self, watched: impl Into<Watched>, options: WatchOptions) -> Watch {
        let book = Book::new(watched.into());
        Watch {
            client: self.clone(),
            path: format!("/api/watch/{}", options.name),
            options,
            doubted: book.place().is_some(),
            book,
            heard: VecDeque::new(),
            set: None,
            reader: None,
            work: None,
            check: Check::No,
            backoff: Backoff::default(),
            contested: Backoff::default(),
            retry_at: None,
            ended: None,
        }
    }
}

impl Watch {
    /// The channels that are watched, each with the newest offset that was told. A watch can be gone on with from it.
    #[must_use]
    pub fn watched(&self) -> Watched {
        self.book.watched()
    }

    /// Waits for the next notice. May be dropped at any time and called again: nothing is lost.
    ///
    /// # Errors
    /// When it is no use to go on; the same again from then on. [`Client::watch`] goes on from [`Watch::watched`].
    pub async fn next(&mut self) -> Result<Notice, Ended> {
        loop {
            if let Some(notice) = self.tell() {
                return Ok(notice);
            }
            if let Some(ended) = &self.ended {
                return Err(ended.clone());
            }
            if let Some(at) = self.retry_at {
                tokio::time::sleep_until(at).await;
                self.retry_at = None;
            }
            match self.step().await {
                Ok(None) => {}
                Ok(Some(notice)) => return Ok(notice),
                Err(error) => {
                    if let Some(notice) = self.fail(error) {
                        return Ok(notice);
                    }
                }
            }
        }
    }

    /// Watches these channels and no others from now on. What was told of those that stay is still known, unless `watched` says
    /// what is.
    ///
    /// When this returns nothing is left by which a notice of the old set could come; the server is asked after that, by
    /// [`Watch::next`].
    pub fn replace(&mut self, watched: impl Into<Watched>) {
        self.revoke();
        // What was not told is not known either, so it shows again.
        self.heard.clear();
        self.book.replace(watched.into());
    }

    /// Lets [`Watch::next`] ask at once how things stand, and tell [`Notice::CaughtUp`] after that.
    pub fn check(&mut self) {
        // A request that is under way may have been answered before this moment.
        self.check = Check::Wanted;
        self.retry_at = None;
    }

    /// Ends the watch. Nothing is told of it from the moment on that this is called, and only then is the server asked.
    ///
    /// # Errors
    /// When the server was not reached, or refuses: then it ends by itself when its lease does.
    pub async fn unwatch(mut self) -> Result<(), Error> {
        self.revoke();
        let mut link = Link::open(&self.client.address).await?;
        let request = link.request(Method::DELETE, &self.path);
        link.begin(request, None, ANSWER_TIMEOUT).await.map(drop)
    }

    /// Drops everything by which something of the setting could come.
    fn revoke(&mut self) {
        self.reader = None;
        self.work = None;
        self.set = None;
    }

    /// Tells the next thing that was heard and is news.
    fn tell(&mut self) -> Option<Notice> {
        while let Some(heard) = self.heard.pop_front() {
            let notice = match heard {
                Heard::Change(change) => self.book.tell(change),
                Heard::CaughtUp => Some(Notice::CaughtUp),
            };
            if notice.is_some() {
                return notice;
            }
        }
        None
    }

    /// The next thing to do. All that was heard is told.
    async fn step(&mut self) -> Result<Option<Notice>, Error> {
        if let Some(work) = &mut self.work {
            let done = work.await;
            self.work = None;
            return Ok(self.finish(done?));
        }
        let Some(set) = &self.set else {
            self.work = Some(self.set());
            return Ok(None);
        };
        if self.options.means == Means::Manual && self.check == Check::No {
            return std::future::pending().await;
        }
        if set.anew_at <= Instant::now() {
            self.contested.reset();
            self.revoke();
            return Ok(None);
        }
        let address = self.client.address.clone();
        let (path, after) = (self.path.clone(), set.after.clone());
        if self.check != Check::No {
            self.check = Check::Asked;
            // From the beginning, wherever the reader stands: so it makes up for what was lost before.
            self.work = Some(requests::look(address, path));
            return Ok(None);
        }
        let Some(reader) = &mut self.reader else {
            if self.options.means == Means::Poll {
                let polls = Polls::new(&address, &path, after.as_deref(), set.max_delay);
                self.reader = Some(Reader::Polls(Box::new(polls)));
                return Ok(None);
            }
            self.work = Some(requests::open(address, path, after, set.heartbeat));
            return Ok(None);
        };
        match timeout_at(set.anew_at, reader.next()).await {
            Ok(signal) => self.hear(signal?),
            // It is set anew then.
            Err(_) => Ok(None),
        }
    }

    /// Sets the watch. Only now, when nothing of the old setting is left.
    fn set(&mut self) -> Work {
        // How its channels stand is as good as a look.
        if self.check == Check::Wanted {
            self.check = Check::Asked;
        }
        let body = Set::new(self.book.wanted(), &self.options);
        let place = self.book.place().filter(|_| self.doubted);
        requests::set(&self.client.address, &self.path, &body, place)
    }

    fn finish(&mut self, done: Done) -> Option<Notice> {
        match done {
            Done::Set(setting, elsewhere) => return self.begin(&setting, elsewhere),
            Done::Opened(notices) => self.reader = Some(Reader::Stream(notices)),
            Done::Looked(page) => {
                if self.set.as_ref().is_none_or(|set| set.epoch != page.epoch) {
                    return Some(self.lose_setting());
                }
                self.heard.extend(page.changed.into_iter().map(Heard::Change));
                self.stand(page.next);
                if self.was_asked() {
                    self.heard.push_back(Heard::CaughtUp);
                }
            }
        }
        None
    }

    /// Whether the request that was answered is the answer to a check.
    fn was_asked(&mut self) -> bool {
        let was_asked = self.check == Check::Asked;
        if was_asked {
            self.check = Check::No;
        }
        was_asked
    }

    fn begin(&mut self, setting: &Setting, elsewhere: Option<Elsewhere>) -> Option<Notice> {
        self.doubted = false;
        if let Some(elsewhere) = elsewhere.or_else(|| self.book.contradicted(setting.status())) {
            // Set without what was known, it says how everything stands.
            self.book.forget();
            return Some(Notice::Elsewhere(elsewhere));
        }
        self.heard.extend(setting.status().map(Heard::Change));
        if self.was_asked() || self.options.means == Means::Manual {
            self.backoff.reset();
            self.heard.push_back(Heard::CaughtUp);
        }
        self.set = Some(Current {
            epoch: setting.epoch,
            max_delay: Duration::from_millis(setting.max_delay_ms),
            heartbeat: Duration::from_secs(setting.heartbeat),
            anew_at: Instant::now() + relied_upon(self.options.anew_every, rand::random()),
            after: None,
            // Who asks only when told to cannot ask over and over.
            read: self.options.means == Means::Manual,
        });
        None
    }

    /// Notes where a reader of this setting stands; it may stand before what was heard and not told yet, for that stays.
    fn stand(&mut self, place: String) {
        if let (Some(set), Some((epoch, token))) = (&mut self.set, place.split_once('.'))
            && epoch.parse() == Ok(set.epoch)
        {
            self.book.stand_at(token);
            set.after = Some(place);
        }
    }

    fn hear(&mut self, signal: Signal) -> Result<Option<Notice>, Error> {
        let Some(set) = &mut self.set else { return Ok(None) };
        match signal {
            Signal::Alive => {}
            Signal::Begun(epoch) if epoch == set.epoch => {
                set.read = true;
                self.doubted = false;
                self.backoff.reset();
            }
            Signal::Begun(_) => return Ok(Some(self.lose_setting())),
            Signal::Changed(epoch, changes, place) if epoch == set.epoch => {
                self.heard.extend(changes.into_iter().map(Heard::Change));
                if let Some(place) = place {
                    self.stand(place);
                }
            }
            // A straggler of another setting.
            Signal::Changed(..) => {}
            Signal::Stands(place) => self.stand(place),
            Signal::CaughtUp => self.heard.push_back(Heard::CaughtUp),
            Signal::Bye(bye) => return self.part(bye).map(Some),
        }
        Ok(None)
    }
}

/// For how long a setting is relied upon; `drawn` is a number from 0 to 1.
fn relied_upon(interval: Duration, drawn: f64) -> Duration {
    interval.mul_f64(1.0 - JITTER * drawn.clamp(0.0, 1.0))
}
