//! The turn of a watch's reader: what it has for its client.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::super::frames::About;
use super::super::messages::{self, ReadWatch};
use super::super::seats::{Seats, Sending};
use super::super::watching::{self, Watching};
use super::super::{Found, Hold, notices};
use super::Talk;
use super::turn::Advanced;
use super::work::Done;
use crate::http::problem::Problem;
use crate::streams::line::End;
use crate::streams::watches::reading::Step;
use crate::streams::watches::set::Change;
use crate::streams::watches::{self, CHANGES_MAX};
use crate::streams::{Bye, Position};

impl Talk {
    /// Begins to find a watch, which then is read here.
    pub(super) fn watch(&mut self, wanted: ReadWatch, hold: Option<Box<dyn Hold>>) -> Result<(), Problem> {
        let ReadWatch { id, watch, set, resume_point } = wanted;
        watching::refuse(&self.seats.watching, &watch)?;
        let found = self.post.watch(watch.clone(), set, messages::point(resume_point.as_ref())?);
        self.work.begin(async move { Done::Found { id, watch, found: found.await, hold } });
        Ok(())
    }

    /// Begins to read a watch that was found. Returns what the client is told: first, if it is read here already, that this is
    /// over, so that all that is said of it after the answer is of the new reader.
    pub(super) fn begin_to_read(
        &mut self,
        id: Option<&str>,
        name: String,
        found: &Found,
    ) -> Result<Bytes, Problem> {
        let Seats { watching: all, identity, watched, .. } = &mut self.seats;
        let before = all.iter().position(|watching| watching.name == name);
        let answer = notices::reading(id, &name, &found.shown);
        let new = Watching::begin(&self.streams, &identity.reader, name, found)?;
        let mut said = BytesMut::new();
        if let Some(place) = before {
            self.streams.figures.stream_ended(Bye::Replaced);
            said.extend_from_slice(&last_words(&all.remove(place), Bye::Replaced));
        }
        said.extend_from_slice(&answer);
        all.push(new);
        *watched += 1;
        Ok(said.freeze())
    }

    /// Ends a watch, whoever reads it. Returns what the client is told.
    pub(super) fn unwatch(&mut self, id: Option<&str>, name: &str) -> Result<Bytes, Problem> {
        self.post.unwatch(name)?;
        // Whoever asks is answered, and not told of it as well.
        self.seats.watching.retain(|watching| watching.name != name);
        Ok(notices::closed(id, name))
    }

    /// Gives the reader of one watch a turn.
    pub(super) async fn tell(&mut self, place: usize) -> Result<Advanced, End> {
        let watching = &mut self.seats.watching[place];
        watching.held_until = None;
        let step = watching.reading.step();
        let (name, epoch) = (&*watching.name, watching.reading.epoch());
        let told = match step {
            Step::Changed(changes, at) => self.tell_changes(place, &changes, at).await?,
            Step::CaughtUp(at) => {
                let frame = notices::caught_up(name, at);
                self.tell_one(place, frame).await?
            }
            Step::Checkpoint(at) => {
                let frame = notices::checkpoint(name, epoch, at);
                self.tell_one(place, frame).await?
            }
            // The socket has one of its own.
            Step::Heartbeat => true,
            Step::Wait(until) => {
                watching.held_until = until;
                return Ok(Advanced::Waits);
            }
            Step::Ended(reason) => return self.end_reading(place, reason).await,
        };
        if told {
            return Ok(Advanced::Moved);
        }
        // Not all of it is told, so that is the end, and not one step more.
        let reason = self.seats.watching[place].reading.over().unwrap_or(Bye::Replaced);
        self.end_reading(place, reason).await
    }

    /// At a heartbeat: where the readers of watches stand, those who do not know it.
    pub(super) fn marks(&mut self) -> Bytes {
        let mut all = BytesMut::new();
        for Watching { name, reading, .. } in &mut self.seats.watching {
            if let Some(at) = reading.mark() {
                all.extend_from_slice(&notices::checkpoint(name, reading.epoch(), at));
            }
        }
        all.freeze()
    }

    /// Tells of changes. Returns whether all of them were told: the watch can be set anew or ended meanwhile.
    async fn tell_changes(&mut self, place: usize, changes: &[Change], at: Position) -> Result<bool, End> {
        let origins = self.streams.origins();
        let mut parts = changes.chunks(CHANGES_MAX).peekable();
        while let Some(part) = parts.next() {
            let Watching { name, reading, .. } = &self.seats.watching[place];
            let is_last = parts.peek().is_none();
            let frame = notices::changed(name, reading.epoch(), part, at, is_last, &origins);
            let sent = self.tell_one(place, frame).await;
            if is_last && sent.is_err() && self.wire.line.is_torn() {
                // Whoever is put out now still gets the rest of it.
                self.seats.watching[place].reading.confirm();
            }
            if !sent? {
                return Ok(false);
            }
            self.wire.line.tally.events += part.len() as u64;
        }
        Ok(true)
    }

    /// Sends one frame, which is begun only while the watch is as it was: whoever sets it anew or ends it is answered when no
    /// more comes. Returns whether it was sent.
    async fn tell_one(&mut self, place: usize, frame: Bytes) -> Result<bool, End> {
        self.send_for(Sending::Notice(place), frame).await
    }

    /// Says that a watch is not read here any more.
    async fn end_reading(&mut self, place: usize, reason: Bye) -> Result<Advanced, End> {
        if matches!(reason, Bye::Shutdown | Bye::Storage | Bye::Revoked) {
            return Err(End::Told(reason));
        }
        let watching = self.seats.watching.remove(place);
        self.streams.figures.stream_ended(reason);
        self.send(last_words(&watching, reason)).await?;
        Ok(Advanced::Ended)
    }

    /// The last words of all readers of watches, when the socket ends.
    pub(super) fn say_goodbye_to_watches(&self, reason: Bye, retry: Option<Duration>) -> Bytes {
        let mut all = BytesMut::new();
        for Watching { name, reading, .. } in &self.seats.watching {
            let own = reading.replaced().unwrap_or(reason);
            self.streams.figures.stream_ended(own);
            all.extend_from_slice(&notices::bye(name, own, reading.epoch(), reading.given(), retry));
        }
        all.freeze()
    }
}

fn last_words(watching: &Watching, reason: Bye) -> Bytes {
    let Watching { name, reading, .. } = watching;
    notices::bye(name, reason, reading.epoch(), reading.given(), None)
}

/// What a refusal is about, if the name of the watch can be said again.
pub(super) fn sayable(name: &str) -> Option<About<'_>> {
    watches::is_name(name).then_some(About::Watch(name))
}
