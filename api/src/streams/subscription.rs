//! What becomes of a reader between its beginning and its end, apart from any transport.
//!
//! ```text
//!              ┌─ the past is this log's ─▶ Backlog ── at the head ──▶ Live ─┐
//!     begin ───┤                               │                             ├─▶ Ended
//!              └─ it is not ─▶ Elsewhere ──────┴─────────────────────────────┘
//! ```
//!
//! A transport asks for one [`Step`] after the other and does what it says: it sends events, says that the reader has caught
//! up, where it stands or that the server lives, waits for the next [`Pulse`], or ends. So every transport gives the same
//! events in the same order, and a reader that leaves one of them at an offset goes on there with any other. What a
//! transport sends takes time; while it does, it asks [`Subscription::interrupt`] at every pulse whether it must stop.

use std::pin::pin;
use std::sync::Arc;

use scrollback_log::Offset;
use tokio::sync::watch;

use super::control::Bye;
use super::cursor::{Cursor, Next};
use super::cut::{Cut, Taken};
use super::filter::Filters;
use super::identity::Identity;
use super::resume::Resume;
use super::selection::{Selection, What};
use super::sight::Sight;
use super::{Ending, Position, Pulse, Reader, StreamError, Streams};

/// A reader that was given nothing for this many records is told where it stands.
const CHECKPOINT_RECORDS: u64 = 256;

/// Where a subscription is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is given what was there before it came.
    Backlog,
    /// It has been at the head; what it is given now is new.
    Live,
    /// Its past is not this log's, so there is nothing to give it.
    Elsewhere,
    /// It is over, for this reason.
    Ended(Bye),
}

/// What a transport is to do next.
#[derive(Debug)]
pub enum Step {
    /// Send these events.
    Events(Taken),
    /// Say that what follows is live. Once in a life.
    CaughtUp(Position),
    /// Say where the reader stands, for it was given nothing of much that it moved over.
    Checkpoint(Position),
    /// Give a sign of life.
    Heartbeat,
    /// Wait for the next pulse.
    Wait,
    /// Say why it is over, and be done.
    Ended(Bye),
}

/// A reader on its way through the log.
pub struct Subscription {
    streams: Arc<Streams>,
    guard: Guard,
    selection: Arc<Selection>,
    /// The change of rights that the selection goes by.
    selected_at: Offset,
    phase: Phase,
    /// None if the reader's past is not this log's.
    cursor: Option<Cursor>,
    /// The newest head that it knows of.
    reached: Position,
    /// Where a reader stands that has got all that it was given. Behind the cursor while events are being sent.
    given: Option<Position>,
    /// Once it is over: where it stood when all was read that may still be on its way to the client.
    read: Option<Position>,
    beat: u64,
}

/// Whether the reader may go on, and what it gets.
struct Guard {
    identity: Identity,
    /// The newest change of anybody's rights when the reader's were last looked at.
    rights_at: Offset,
    what: What,
}

impl Guard {
    fn new(streams: &Streams, reader: Arc<dyn Reader>, filters: Filters) -> Guard {
        // First the mark, then the rights, which may be newer: then they are looked at once more.
        let rights_at = streams.ring.rights_at();
        let sight = streams.look(|views| Sight::of(views, reader.user()));
        Guard { identity: Identity::new(reader), rights_at, what: What { filters, sight } }
    }

    /// Looks for what ends a subscription at once.
    fn look(&mut self, streams: &Streams, pulse: &Pulse) -> Result<(), Bye> {
        self.identity.look(pulse)?;
        let rights_at = streams.ring.rights_at();
        if self.rights_at == rights_at {
            return Ok(());
        }
        self.rights_at = rights_at;
        self.look_at_rights(streams)
    }

    /// Whoever loses a channel that they might be given something of is told.
    fn look_at_rights(&mut self, streams: &Streams) -> Result<(), Bye> {
        let What { filters, sight } = &mut self.what;
        streams.look(|views| {
            let now = Sight::of(views, self.identity.reader.user());
            if now == *sight {
                return Ok(());
            }
            let before = std::mem::replace(sight, now);
            let mut lost = before.lost(sight, views.memberships().private());
            let told = lost.any(|channel| filters.may_match_channel(channel));
            if told { Err(Bye::Excluded) } else { Ok(()) }
        })
    }
}

impl Subscription {
    /// One for `reader`, which wants what passes the filters, from where `resume` says.
    #[must_use]
    pub fn begin(
        streams: &Arc<Streams>,
        reader: Arc<dyn Reader>,
        resume: Resume,
        filters: Filters,
    ) -> Subscription {
        let given = resume.position();
        // The log's own head, not the pulse's, which can be a moment older: who has just been told of a write finds it. And
        // before the rights, which then are no older than it.
        let reached = Position::from(streams.log.head());
        let guard = Guard::new(streams, reader, filters);
        Subscription {
            selection: streams.selections.get(&guard.what),
            selected_at: guard.rights_at,
            streams: Arc::clone(streams),
            guard,
            phase: if given.is_some() { Phase::Backlog } else { Phase::Elsewhere },
            cursor: given.map(Cursor::new),
            reached,
            given,
            read: None,
            beat: streams.pulse.borrow().beat,
        }
    }

    /// Where it is in its life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What it gets.
    pub(super) fn selection(&self) -> &Arc<Selection> {
        &self.selection
    }

    /// The head that it knows of.
    #[must_use]
    pub fn reached(&self) -> Position {
        self.reached
    }

    /// Where a reader stands that has got all that is confirmed; none if its past is not this log's.
    #[must_use]
    pub fn given(&self) -> Option<Position> {
        self.given
    }

    /// All that it was given is with the client, or will be, whatever has ended meanwhile.
    pub fn confirm(&mut self) {
        self.given = self.cursor.as_ref().map(Cursor::at).or(self.read).or(self.given);
    }

    /// The client does not take what it gets: nothing is read ahead for it any more.
    pub fn slow(&mut self) {
        if let Some(cursor) = &mut self.cursor {
            cursor.slow();
        }
    }

    /// Ends it for a reason of the transport's.
    pub fn end(&mut self, reason: Bye) {
        self.phase = Phase::Ended(reason);
        self.read = self.cursor.take().map(|cursor| cursor.at()).or(self.read);
    }

    /// Looks whether it must end at once, whatever is being sent.
    pub fn interrupt(&mut self, pulse: &Pulse) -> Option<Bye> {
        if self.ended().is_none()
            && let Err(reason) = self.guard.look(&self.streams, pulse)
        {
            self.end(reason);
        }
        self.ended()
    }

    /// What to do next. All that the step before gave is taken for confirmed, unless it is over since.
    ///
    /// # Errors
    /// When the log cannot be read; it is over then, as damaged.
    pub async fn step(&mut self, pulses: &mut watch::Receiver<Pulse>, cut: Cut) -> Result<Step, StreamError> {
        loop {
            let (pulse, step) = self.step_at(pulses, cut).await?;
            // A pulse that came while the log was read counts as seen: nobody would be woken by it again.
            if !matches!(step, Step::Wait) || *pulses.borrow() == pulse {
                return Ok(step);
            }
        }
    }

    /// What to do next by the pulse of now, and that pulse.
    async fn step_at(
        &mut self,
        pulses: &mut watch::Receiver<Pulse>,
        cut: Cut,
    ) -> Result<(Pulse, Step), StreamError> {
        self.given = self.cursor.as_ref().map(Cursor::at).or(self.given);
        let pulse = *pulses.borrow_and_update();
        if self.interrupt(&pulse).is_none() && pulse.ending == Some(Ending::Shutdown) {
            self.end(Bye::Shutdown);
        }
        if pulse.head.offset > self.reached.offset {
            self.reached = pulse.head;
        }
        if self.selected_at != self.guard.rights_at {
            self.selected_at = self.guard.rights_at;
            self.selection = self.streams.selections.get(&self.guard.what);
        }
        loop {
            if let Some(reason) = self.ended() {
                return Ok((pulse, Step::Ended(reason)));
            }
            if let Some(place) = self.passed_over(CHECKPOINT_RECORDS) {
                return Ok((pulse, Step::Checkpoint(place)));
            }
            match self.advance(pulses, cut).await? {
                Some(taken) if taken.events > 0 => return Ok((pulse, Step::Events(taken))),
                Some(_) => self.given = self.cursor.as_ref().map(Cursor::at),
                None => break,
            }
        }
        if let Some(reason) = self.ended() {
            return Ok((pulse, Step::Ended(reason)));
        }
        if self.phase == Phase::Backlog
            && let Some(place) = self.given
        {
            self.phase = Phase::Live;
            return Ok((pulse, Step::CaughtUp(place)));
        }
        if pulse.beat != self.beat {
            if let Some(place) = self.passed_over(1) {
                return Ok((pulse, Step::Checkpoint(place)));
            }
            self.beat = pulse.beat;
            self.guard.identity.reader.touch();
            return Ok((pulse, Step::Heartbeat));
        }
        Ok((pulse, Step::Wait))
    }

    fn ended(&self) -> Option<Bye> {
        if let Phase::Ended(reason) = self.phase { Some(reason) } else { None }
    }

    /// Where the reader stands, if it was not told for at least `records` records.
    fn passed_over(&mut self, records: u64) -> Option<Position> {
        let cursor = self.cursor.as_mut().filter(|cursor| cursor.passed_over() >= records)?;
        cursor.told();
        Some(cursor.at())
    }

    /// Moves by one chunk; none at the head, or when it has ended meanwhile.
    async fn advance(
        &mut self,
        pulses: &mut watch::Receiver<Pulse>,
        cut: Cut,
    ) -> Result<Option<Taken>, StreamError> {
        let Some(mut cursor) = self.cursor.take() else { return Ok(None) };
        let next = {
            let mut next = pin!(cursor.next(&self.streams, self.reached.offset, cut, &self.selection));
            loop {
                // The read goes on whatever pulses come, else many of them would keep a slow read from ever ending.
                tokio::select! {
                    biased;
                    next = &mut next => break next,
                    changed = pulses.changed() => {
                        let looked = self.guard.look(&self.streams, &pulses.borrow_and_update());
                        // Nobody is left to tell of anything: the server has stopped.
                        let looked = looked.and(changed.map_err(|_| Bye::Shutdown));
                        if let Err(reason) = looked {
                            self.phase = Phase::Ended(reason);
                            return Ok(None);
                        }
                    }
                }
            }
        };
        match next {
            Ok(next) => {
                self.cursor = Some(cursor);
                Ok(if let Next::Moved(taken) = next { Some(taken) } else { None })
            }
            Err(error) => {
                self.end(Bye::Damaged);
                Err(error)
            }
        }
    }
}
