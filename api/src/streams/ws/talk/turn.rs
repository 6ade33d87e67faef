//! A session's turn: what it has for its client.

use super::super::seats::{Seats, Sending};
use super::super::{close_code, frames};
use super::Talk;
use crate::http::requests;
use crate::streams::Bye;
use crate::streams::cut::{Cut, Form};
use crate::streams::line::End;
use crate::streams::subscription::Step;

/// What became of a session's turn.
pub(super) enum Advanced {
    /// There is nothing for it to do.
    Waits,
    /// It has done something, and there may be more.
    Moved,
    /// It is over, and gone from its place.
    Ended,
}

impl Talk {
    /// Gives one session a turn.
    pub(super) async fn advance(&mut self, place: usize) -> Result<Advanced, End> {
        let Seats { all, pulses, .. } = &mut self.seats;
        let seated = &mut all[place];
        let pulse = *pulses.borrow();
        let room = seated.flight.room();
        if seated.look(&pulse).is_none() && room == 0 {
            return Ok(Advanced::Waits);
        }
        let bytes_max = self.streams.limits.write_bytes_max;
        let cut = Cut { form: Form::Json, bytes_max, events_max: room.max(1), shared: true };
        let step = seated.subscription.step(pulses, cut).await;
        let id = &seated.seat.session.id;
        match step {
            Ok(Step::Events(taken)) => {
                seated.flight.add(taken.newest.unwrap_or(taken.through.offset), taken.events);
                let (bytes, events) = (frames::events(id, &taken), taken.events);
                // If somebody has taken the session meanwhile, its next turn finds that.
                if self.send_for(Sending::Session(place), bytes).await? {
                    self.wire.line.tally.events += events as u64;
                    self.seats.all[place].subscription.confirm();
                }
                Ok(Advanced::Moved)
            }
            Ok(Step::CaughtUp(at)) => {
                let frame = frames::caught_up(id, at);
                self.send(frame).await.map(|()| Advanced::Moved)
            }
            Ok(Step::Checkpoint(at)) => {
                let frame = frames::checkpoint(id, at);
                self.send(frame).await.map(|()| Advanced::Moved)
            }
            // The socket has one of its own.
            Ok(Step::Heartbeat) => Ok(Advanced::Moved),
            Ok(Step::Wait) => Ok(Advanced::Waits),
            Ok(Step::Ended(reason)) => self.end(place, reason).await,
            Err(error) => {
                requests::of_stream(|| tracing::error!(%error, "a session met damage"));
                self.end(place, Bye::Damaged).await
            }
        }
    }

    /// Ends one session; the socket with it if nothing else is on it and its user lost what it could show.
    pub(super) async fn end(&mut self, place: usize, reason: Bye) -> Result<Advanced, End> {
        match reason {
            // The whole socket ends in the next round, after its turn.
            Bye::Shutdown => return Ok(Advanced::Moved),
            Bye::Storage | Bye::Revoked => return Err(End::Told(reason)),
            _ => {}
        }
        let seated = self.seats.all.remove(place);
        self.streams.figures.stream_ended(reason);
        if reason != Bye::Replaced {
            self.streams.sessions.end(&seated.seat);
        }
        let bye = frames::bye(&seated.seat.session.id, reason, seated.subscription.given(), None);
        self.send(bye).await?;
        let is_left = self.seats.all.is_empty() && self.seats.watching.is_empty() && !self.work.is_opening();
        if reason == Bye::Excluded && is_left {
            return Err(End::Refused(close_code(reason), reason.name()));
        }
        Ok(Advanced::Ended)
    }
}
