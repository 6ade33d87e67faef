//! The sessions on one socket, and what they wait for.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::super::identity::Identity;
use super::super::line::{End, Waiter};
use super::super::subscription::Subscription;
use super::super::{Bye, Pulse};
use super::flight::Flight;
use super::sessions::{Seat, SessionId};

/// A session that this socket has.
pub(super) struct Seated {
    pub(super) seat: Seat,
    pub(super) subscription: Subscription,
    pub(super) flight: Flight,
}

/// All that this socket has.
pub(super) struct Seats {
    pub(super) all: Vec<Seated>,
    pub(super) pulses: watch::Receiver<Pulse>,
    /// Woken when another socket has taken a session.
    pub(super) nudge: Arc<Notify>,
    pub(super) identity: Identity,
    /// Which of the sessions is just being sent something.
    pub(super) sending: Option<usize>,
    /// How many sessions have sat down here so far.
    pub(super) sat_down: u64,
}

impl Seats {
    /// The place of the session with this id, if nobody else has taken it.
    pub(super) fn find(&self, id: &str) -> Option<usize> {
        let id = SessionId::parse(id)?;
        self.all.iter().position(|seated| seated.seat.session.id == id && seated.seat.turn().is_some())
    }

    /// Looks for what ends the whole socket at once. What ends one session is left for its next step.
    pub(super) fn check(&mut self) -> Result<Pulse, Bye> {
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
        }
        let pulse = self.check().map_err(End::Told)?;
        let ended = self.sending.and_then(|place| self.all.get_mut(place)?.look(&pulse));
        ended.map_or(Ok(()), |_| Err(End::Withdrawn))
    }

    fn by_right<T>(&self, send: impl FnOnce() -> T) -> Option<T> {
        // Whoever wants to take the session waits until this is sent.
        let turn = match self.sending.and_then(|place| self.all.get(place)) {
            Some(seated) => Some(seated.seat.turn()?),
            None => None,
        };
        let sent = send();
        drop(turn);
        Some(sent)
    }

    fn slow(&mut self) {
        for seated in &mut self.all {
            seated.subscription.slow();
        }
    }
}
