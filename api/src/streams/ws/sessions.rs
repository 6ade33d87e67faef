//! What of a session outlives its socket, and who has it now.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use scrollback_log::Offset;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::filter::Filters;

/// The most sessions of a user, those that nobody has now included.
const SESSIONS_OF_USER_MAX: usize = 16_384;

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

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    user: Offset,
    pub(super) filters: Filters,
    /// The most events under way.
    pub(super) window: usize,
    held: Mutex<Held>,
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

    /// Takes the session from whoever has it. Returns up to where all is acknowledged: nothing more is said by the one before.
    fn take(self: &Arc<Self>, nudge: &Arc<Notify>) -> (Seat, Offset) {
        let mut held = self.lock();
        held.holder += 1;
        if let Some(before) = held.nudge.replace(Arc::clone(nudge)) {
            before.notify_one();
        }
        held.left_at = None;
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
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The sessions of all users.
#[derive(Debug)]
pub(in super::super) struct Sessions {
    retention: Duration,
    known: Mutex<HashMap<Offset, HashMap<SessionId, Arc<Session>>>>,
}

/// A user has as many sessions as one may have.
#[derive(Debug)]
pub(super) struct TooMany;

impl Sessions {
    /// None yet; one that nobody has is kept for `retention`.
    pub(in super::super) fn new(retention: Duration) -> Sessions {
        Sessions { retention, known: Mutex::default() }
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
        let session = Arc::new(Session { id: SessionId(rand::random()), user, filters, window, held });
        let mut known = self.lock();
        let sessions = known.entry(user).or_default();
        if sessions.len() >= SESSIONS_OF_USER_MAX {
            sessions.retain(|_, session| !self.is_over(session));
        }
        if sessions.len() >= SESSIONS_OF_USER_MAX {
            return Err(TooMany);
        }
        sessions.insert(session.id, Arc::clone(&session));
        Ok(session.take(nudge).0)
    }

    /// Takes the session of `user` with this id, if there is one.
    pub(super) fn take(&self, user: Offset, id: &str, nudge: &Arc<Notify>) -> Option<(Seat, Offset)> {
        let id = SessionId::parse(id)?;
        let session = self.lock().get(&user)?.get(&id).cloned()?;
        (!self.is_over(&session)).then(|| session.take(nudge))
    }

    /// The session is no more.
    pub(super) fn end(&self, session: &Session) {
        let mut known = self.lock();
        if let Some(sessions) = known.get_mut(&session.user) {
            sessions.remove(&session.id);
            if sessions.is_empty() {
                known.remove(&session.user);
            }
        }
    }

    /// Lets those go that nobody has come for.
    pub(in super::super) fn sweep(&self) {
        self.lock().retain(|_, sessions| {
            sessions.retain(|_, session| !self.is_over(session));
            !sessions.is_empty()
        });
    }

    fn is_over(&self, session: &Session) -> bool {
        session.lock().left_at.is_some_and(|left_at| left_at.elapsed() >= self.retention)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Offset, HashMap<SessionId, Arc<Session>>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Offset = Offset(2);
    const BOB: Offset = Offset(3);

    fn begin(sessions: &Sessions, nudge: &Arc<Notify>) -> Seat {
        sessions.begin(ADA, Filters::default(), 10, Offset(5), nudge).ok().unwrap()
    }

    #[tokio::test]
    async fn whoever_takes_a_session_goes_on_after_what_is_acknowledged_and_the_one_before_says_nothing_more()
    {
        let sessions = Sessions::new(Duration::from_secs(60));
        let (first_nudge, second_nudge) = (Arc::default(), Arc::default());
        let first = begin(&sessions, &first_nudge);
        first.acknowledge(Offset(9));
        first.acknowledge(Offset(7));
        let id = first.session.id.to_string();
        assert!(first.turn().is_some());
        let (second, acknowledged) = sessions.take(ADA, &id, &second_nudge).unwrap();
        assert_eq!(acknowledged, Offset(9), "going back says nothing new");
        assert!(first.turn().is_none() && second.turn().is_some());
        first_nudge.notified().await;
        first.acknowledge(Offset(20));
        drop(first);
        assert!(second.turn().is_some(), "the one before leaves nothing");
        drop(second);
        assert_eq!(sessions.take(ADA, &id, &second_nudge).unwrap().1, Offset(9));
    }

    #[test]
    fn a_session_is_there_for_its_own_user_and_under_its_one_name() {
        let sessions = Sessions::new(Duration::from_secs(60));
        let nudge = Arc::default();
        let seat = begin(&sessions, &nudge);
        let id = seat.session.id.to_string();
        assert!(sessions.take(BOB, &id, &nudge).is_none());
        for other in ["", "S", "S1", &id.to_uppercase(), &id[1..], &format!("{id}0"), &id.replace('S', "S+")]
        {
            assert!(sessions.take(ADA, other, &nudge).is_none(), "{other}");
        }
        assert!(seat.turn().is_some(), "nobody has taken it");
        sessions.end(&seat.session);
        assert!(sessions.take(ADA, &id, &nudge).is_none());
        assert!(sessions.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_has_is_kept_for_a_while_and_what_somebody_has_for_ever() {
        let sessions = Sessions::new(Duration::from_secs(60));
        let nudge = Arc::default();
        let (kept, left) = (begin(&sessions, &nudge), begin(&sessions, &nudge));
        let ids = [&kept, &left].map(|seat| seat.session.id.to_string());
        drop(left);
        tokio::time::advance(Duration::from_secs(59)).await;
        sessions.sweep();
        let left = sessions.take(ADA, &ids[1], &nudge).unwrap().0;
        drop(left);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(sessions.take(ADA, &ids[1], &nudge).is_none(), "whether it was swept or not");
        sessions.sweep();
        assert_eq!(sessions.lock()[&ADA].len(), 1);
        assert!(kept.turn().is_some());
    }

    #[test]
    fn a_user_has_so_many_sessions_and_not_more() {
        let sessions = Sessions::new(Duration::ZERO);
        let nudge = Arc::default();
        let mut seats: Vec<Seat> = (0..SESSIONS_OF_USER_MAX).map(|_| begin(&sessions, &nudge)).collect();
        assert!(sessions.begin(ADA, Filters::default(), 1, Offset(0), &nudge).is_err());
        assert!(sessions.begin(BOB, Filters::default(), 1, Offset(0), &nudge).is_ok());
        seats.pop();
        assert!(
            sessions.begin(ADA, Filters::default(), 1, Offset(0), &nudge).is_ok(),
            "one was left, and is over"
        );
    }
}
