//! The sessions and watches on one socket, and what they wait for.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::super::identity::Identity;
use super::super::line::{End, Waiter};
use super::super::pulse::Call;
use super::super::subscription::Subscription;
use super::super::{Bye, Pulse};
use super::flight::Flight;
use super::sessions::{Seat, SessionId};
use super::watching::{self, Watching};

/// A session that this socket has.
pub(super) struct Seated {
    pub(super) seat: Seat,
    pub(super) subscription: Subscription,
    pub(super) flight: Flight,
}

/// What is just being sent is for this one, and not to be begun once it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// The session at this place.
    Session(usize),
    /// The reader of a watch at this place.
    Notice(usize),
}

/// All that this socket has.
pub(super) struct Seats {
    pub(super) all: Vec<Seated>,
    pub(super) watching: Vec<Watching>,
    pub(super) pulses: watch::Receiver<Pulse>,
    pub(super) calls: watch::Receiver<Call>,
    /// Woken when another socket has taken a session.
    pub(super) nudge: Arc<Notify>,
    pub(super) identity: Identity,
    pub(super) sending: Option<Sending>,
    /// How many sessions have sat down here so far, and how many times a watch was begun to be read.
    pub(super) sat_down: u64,
    pub(super) watched: u64,
}

impl Seats {
    /// The place of the session with this id, if nobody else has taken it.
    pub(super) fn find(&self, id: &str) -> Option<usize> {
        let id = SessionId::parse(id)?;
        self.all.iter().position(|seated| seated.seat.session.id == id && seated.seat.turn().is_some())
    }

    /// Whether a new head concerns the socket, whatever it brings. Watches are told of what is theirs.
    pub(super) fn follow_heads(&self) -> bool {
        !self.all.is_empty() || self.watching.iter().any(|watching| watching.reading.is_behind())
    }

    /// Looks for what ends the whole socket at once. What ends one session is left for its next step.
    pub(super) fn check(&mut self) -> Result<Pulse, Bye> {
        self.calls.mark_unchanged();
        let pulse = *self.pulses.borrow_and_update();
        self.identity.look(&pulse)?;
        for seated in &mut self.all {
            seated.look(&pulse);
        }
        Ok(pulse)
    }
}

impl Seated {
    /// Looks for what ends the session.
    pub(super) fn look(&mut self, pulse: &Pulse) -> Option<Bye> {
        if self.seat.turn().is_none() {
            self.subscription.end(Bye::Replaced);
        }
        self.subscription.interrupt(pulse)
    }
}

impl Waiter for Seats {
    async fn look(&mut self) -> Result<(), End> {
        tokio::select! {
            biased;
            changed = self.pulses.changed() => changed.map_err(|_| End::Gone)?,
            () = self.nudge.notified() => {}
            () = watching::woken(&mut self.watching) => {}
        }
        let pulse = self.check().map_err(End::Told)?;
        let ended = match self.sending {
            Some(Sending::Session(place)) => self.all.get_mut(place).and_then(|seated| seated.look(&pulse)),
            Some(Sending::Notice(place)) => {
                self.watching.get_mut(place).and_then(|watching| watching.reading.over())
            }
            None => None,
        };
        ended.map_or(Ok(()), |_| Err(End::Withdrawn))
    }

    fn by_right<T>(&self, send: impl FnOnce() -> T) -> Option<T> {
        match self.sending {
            None => Some(send()),
            Some(Sending::Session(place)) => {
                // Whoever wants to take the session waits until this is sent.
                let turn = self.all.get(place)?.seat.turn()?;
                let sent = send();
                drop(turn);
                Some(sent)
            }
            Some(Sending::Notice(place)) => self.watching.get(place)?.reading.by_right(send),
        }
    }

    fn slow(&mut self) {
        for seated in &mut self.all {
            seated.subscription.slow();
        }
    }
}
