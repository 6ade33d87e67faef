//! What of a session outlives its socket, and who has it now.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use scrollback_log::Offset;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::filter::Filters;

/// The most sessions of a user, those that nobody has now included.
const SESSIONS_OF_USER_MAX: usize = 16_384;
/// The most values in the filters of all of them: some megabytes.
const VALUES_OF_USER_MAX: usize = 65_536;
/// How often it is looked again which sessions of a user are over who has as many as may be.
const SWEEP_AGAIN: Duration = Duration::from_secs(1);

/// The name of a session: random, and opening nothing to anybody but its user.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SessionId(u128);

impl SessionId {
    /// Reads an id in the form in which it is shown.
    pub(super) fn parse(text: &str) -> Option<SessionId> {
        let digits = text.strip_prefix('S')?;
        let number = u128::from_str_radix(digits, 16).ok().map(SessionId)?;
        (number.to_string() == text).then_some(number)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S{:032x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How many sessions there are. Counted as they come and go: to look through all of them would hold up whoever opens one.
#[derive(Debug, Default)]
struct Count {
    known: AtomicUsize,
    /// Those of them that nobody has now.
    kept: AtomicUsize,
}

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    user: Offset,
    pub(super) filters: Filters,
    /// The most events under way.
    pub(super) window: usize,
    held: Mutex<Held>,
    count: Arc<Count>,
}

#[derive(Debug)]
struct Held {
    /// Up to where its client has dealt with all events.
    acknowledged: Offset,
    /// Counts who has had it.
    holder: u64,
    /// Wakes its holder; none when nobody has it.
    nudge: Option<Arc<Notify>>,
    /// Since when nobody has it.
    left_at: Option<Instant>,
}

/// The right to say something in a session's name, for as long as nobody else takes it.
pub(super) struct Seat {
    pub(super) session: Arc<Session>,
    holder: u64,
}

/// Held while something is said. Whoever takes the session waits for it.
pub(super) struct Turn<'a>(MutexGuard<'a, Held>);

impl Session {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to where all is acknowledged.
    pub(super) fn acknowledged(&self) -> Offset {
        self.lock().acknowledged
    }

    /// Takes the session from whoever has it. Returns up to where all is acknowledged: nothing more is said by the one before.
    fn take(self: &Arc<Self>, nudge: &Arc<Notify>) -> (Seat, Offset) {
        let mut held = self.lock();
        held.holder += 1;
        if let Some(before) = held.nudge.replace(Arc::clone(nudge)) {
            before.notify_one();
        }
        if held.left_at.take().is_some() {
            self.count.kept.fetch_sub(1, Ordering::Relaxed);
        }
        (Seat { session: Arc::clone(self), holder: held.holder }, held.acknowledged)
    }
}

impl Seat {
    /// The right to speak now; none if somebody else has the session.
    pub(super) fn turn(&self) -> Option<Turn<'_>> {
        let held = self.session.lock();
        (held.holder == self.holder).then_some(Turn(held))
    }

    /// Its client has dealt with all up to here.
    pub(super) fn acknowledge(&self, offset: Offset) {
        if let Some(Turn(mut held)) = self.turn() {
            held.acknowledged = held.acknowledged.max(offset);
        }
    }

    /// Leaves the session to whoever comes for it.
    fn leave(&self) {
        if let Some(Turn(mut held)) = self.turn() {
            (held.nudge, held.left_at) = (None, Some(Instant::now()));
            self.session.count.kept.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The sessions of one user.
#[derive(Debug, Default)]
struct OfUser {
    by_id: HashMap<SessionId, Arc<Session>>,
    /// How many values the filters of all of them have.
    values: usize,
    /// When it was last looked which of them are over, because there were too many.
    swept: Option<Instant>,
}

impl OfUser {
    fn have_room_for(&self, session: &Session) -> bool {
        self.by_id.len() < SESSIONS_OF_USER_MAX
            && self.values + session.filters.values() <= VALUES_OF_USER_MAX
    }

    fn remove(&mut self, session: &Session) {
        if let Some(removed) = self.by_id.remove(&session.id) {
            self.values -= removed.filters.values();
        }
    }

    /// When half of those that nobody has had been left; none if there are none.
    fn left_in_the_middle(&self) -> Option<Instant> {
        let mut left: Vec<Instant> =
            self.by_id.values().filter_map(|session| session.lock().left_at).collect();
        let middle = left.len() / 2;
        (!left.is_empty()).then(|| *left.select_nth_unstable(middle).1)
    }

    fn retain(&mut self, keep: impl Fn(&Session) -> bool) {
        self.by_id.retain(|_, session| keep(session));
        self.values = self.by_id.values().map(|session| session.filters.values()).sum();
    }
}

/// The sessions of all users.
#[derive(Debug)]
pub(in super::super) struct Sessions {
    retention: Duration,
    known: Mutex<HashMap<Offset, OfUser>>,
    count: Arc<Count>,
}

/// A user has as many sessions as one may have.
#[derive(Debug)]
pub(super) struct TooMany;

impl Sessions {
    /// None yet; one that nobody has is kept for `retention`.
    pub(in super::super) fn new(retention: Duration) -> Sessions {
        Sessions { retention, known: Mutex::default(), count: Arc::default() }
    }

    /// How many sessions there are, and how many of them nobody has now.
    pub(in super::super) fn count(&self) -> (usize, usize) {
        let Count { known, kept } = &*self.count;
        (known.load(Ordering::Relaxed), kept.load(Ordering::Relaxed))
    }

    /// A new session of `user`, which goes on after `at`.
    ///
    /// # Errors
    /// When the user has too many that somebody has.
    pub(super) fn begin(
        &self,
        user: Offset,
        filters: Filters,
        window: usize,
        at: Offset,
        nudge: &Arc<Notify>,
    ) -> Result<Seat, TooMany> {
        let held = Mutex::new(Held { acknowledged: at, holder: 0, nudge: None, left_at: None });
        let (id, count) = (SessionId(rand::random()), Arc::clone(&self.count));
        let session = Arc::new(Session { id, user, filters, window, held, count });
        let mut known = self.lock();
        let sessions = known.entry(user).or_default();
        if !sessions.have_room_for(&session) && sessions.swept.is_none_or(|at| at.elapsed() >= SWEEP_AGAIN) {
            sessions.swept = Some(Instant::now());
            self.let_go(sessions, |session| self.is_over(session));
            // A client that keeps losing its connection must not shut itself out with what it has left behind.
            while !sessions.have_room_for(&session)
                && let Some(median) = sessions.left_in_the_middle()
            {
                self.let_go(sessions, |session| session.lock().left_at.is_some_and(|at| at <= median));
            }
        }
        if !sessions.have_room_for(&session) {
            return Err(TooMany);
        }
        sessions.values += session.filters.values();
        sessions.by_id.insert(session.id, Arc::clone(&session));
        self.count.known.fetch_add(1, Ordering::Relaxed);
        Ok(session.take(nudge).0)
    }

    /// Takes the session of `user` with this id, if there is one.
    pub(super) fn take(&self, user: Offset, id: &str, nudge: &Arc<Notify>) -> Option<(Seat, Offset)> {
        let id = SessionId::parse(id)?;
        let known = self.lock();
        let session = known.get(&user)?.by_id.get(&id).filter(|session| !self.is_over(session))?;
        Some(session.take(nudge))
    }

    /// Looks at the session of `user` with this id, if there is one, and leaves it with whoever has it.
    pub(super) fn look(&self, user: Offset, id: &str) -> Option<Arc<Session>> {
        let id = SessionId::parse(id)?;
        let known = self.lock();
        known.get(&user)?.by_id.get(&id).filter(|session| !self.is_over(session)).cloned()
    }

    /// The session is no more, if whoever says so still has it.
    pub(super) fn end(&self, seat: &Seat) {
        let mut known = self.lock();
        let Some(Turn(mut held)) = seat.turn() else { return };
        // Nobody has it any more, and it is not left to anybody either.
        held.holder += 1;
        self.count.known.fetch_sub(1, Ordering::Relaxed);
        let session = &seat.session;
        if let Some(sessions) = known.get_mut(&session.user) {
            sessions.remove(session);
            if sessions.by_id.is_empty() {
                known.remove(&session.user);
            }
        }
    }

    /// Lets those go that nobody has come for.
    pub(in super::super) fn sweep(&self) {
        self.lock().retain(|_, sessions| {
            self.let_go(sessions, |session| self.is_over(session));
            !sessions.by_id.is_empty()
        });
    }

    /// Lets those of one user go that are `over`: of those that nobody has.
    fn let_go(&self, sessions: &mut OfUser, over: impl Fn(&Session) -> bool) {
        let before = sessions.by_id.len();
        sessions.retain(|session| !over(session));
        let gone = before - sessions.by_id.len();
        self.count.known.fetch_sub(gone, Ordering::Relaxed);
        self.count.kept.fetch_sub(gone, Ordering::Relaxed);
    }

    fn is_over(&self, session: &Session) -> bool {
        session.lock().left_at.is_some_and(|left_at| left_at.elapsed() >= self.retention)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Offset, OfUser>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
