//! What becomes of a reader of a watch, apart from any transport.

use std::sync::Arc;

use scrollback_log::Offset;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::registry::{Readership, Watch};
use super::set::Change;
use crate::streams::identity::Identity;
use crate::streams::{Bye, Ending, Position, Pulse, Reader, Streams};

/// What a transport is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Tell of these; who has been told of them stands there.
    Changed(Vec<Change>, Position),
    /// Say that all is told that there was when the reader came. Once in a life.
    CaughtUp(Position),
    /// Say where the reader stands: there was nothing to tell for a while.
    Checkpoint(Position),
    /// Give a sign of life.
    Heartbeat,
    /// Wait for the next pulse, or until then: what is held back is told then.
    Wait(Option<Instant>),
    /// Say why it is over, and be done.
    Ended(Bye),
}

/// A reader of a watch.
pub(super) struct Reading {
    streams: Arc<Streams>,
    pub(super) readership: Readership,
    identity: Identity,
    pulses: watch::Receiver<Pulse>,
    /// All changes up to here are told.
    seen: Offset,
    /// The published head when the views were last looked at.
    at: Position,
    /// The same of the look whose changes are all told.
    given: Position,
    /// Where the client knows that it stands.
    told: Offset,
    /// Whether the views were looked at, and whether that was said.
    looked: bool,
    caught_up: bool,
    /// When the next notice may be given.
    next_at: Option<Instant>,
    beat: u64,
    /// Whether nobody is left who could wake it.
    is_left: bool,
}

impl Reading {
    /// One for `reader`, who was told all up to `after`. None if the watch is over.
    pub(super) fn begin(
        streams: &Arc<Streams>,
        reader: Arc<dyn Reader>,
        watch: &Arc<Watch>,
        after: Offset,
        as_stream: bool,
    ) -> Option<Reading> {
        let readership = watch.read(as_stream)?;
        let pulses = streams.pulse.clone();
        let beat = pulses.borrow().beat;
        Some(Reading {
            streams: Arc::clone(streams),
            readership,
            identity: Identity::new(reader),
            pulses,
            seen: after,
            at: Position::BEGINNING,
            given: Position::BEGINNING,
            told: after,
            looked: false,
            caught_up: false,
            next_at: None,
            beat,
            is_left: false,
        })
    }

    /// Where a reader stands that has been told what all steps before the newest have given; the beginning before that.
    pub(super) fn given(&self) -> Position {
        self.given
    }

    /// Where it stands once it is told what the newest step has given.
    pub(super) fn at(&self) -> Position {
        self.at
    }

    /// Whether it has looked at the views, so that [`Reading::at`] tells something.
    pub(super) fn has_looked(&self) -> bool {
        self.looked
    }

    /// Looks for what ends it at once.
    pub(super) fn over(&mut self) -> Option<Bye> {
        let pulse = *self.pulses.borrow();
        self.identity.look(&pulse).err().or_else(|| self.readership.over())
    }

    /// What to do next. All that the step before gave is told.
    pub(super) fn step(&mut self) -> Step {
        self.given = self.at;
        let pulse = *self.pulses.borrow_and_update();
        if let Some(reason) = self.over() {
            return Step::Ended(reason);
        }
        if pulse.ending == Some(Ending::Shutdown) || self.is_left {
            return Step::Ended(Bye::Shutdown);
        }
        // Before it looks again, or whoever watches what always changes would be told nothing else.
        if self.looked && !self.caught_up {
            self.caught_up = true;
            return Step::CaughtUp(self.at);
        }
        if pulse.beat != self.beat {
            self.beat = pulse.beat;
            self.identity.reader.touch();
            self.readership.renew();
            if self.at.offset > self.told {
                self.told = self.at.offset;
                return Step::Checkpoint(self.at);
            }
            return Step::Heartbeat;
        }
        if self.looked && pulse.head.offset <= self.at.offset {
            return Step::Wait(None);
        }
        let now = Instant::now();
        if let Some(next) = self.next_at.filter(|next| *next > now) {
            return Step::Wait(Some(next));
        }
        match self.look() {
            Err(reason) => Step::Ended(reason),
            Ok(Some(changes)) => {
                self.next_at = Some(now + self.readership.max_delay());
                self.told = self.at.offset;
                Step::Changed(changes, self.at)
            }
            // The first time there is something to say all the same.
            Ok(None) if self.looked && !self.caught_up => {
                self.caught_up = true;
                Step::CaughtUp(self.at)
            }
            Ok(None) => Step::Wait(None),
        }
    }

    /// Looks at the views; none if nothing has changed. Views can be ahead of what is published, for a moment: then the pulse
    /// that publishes it is on its way, and nothing is told before.
    ///
    /// # Errors
    /// Why it is over.
    fn look(&mut self) -> Result<Option<Vec<Change>>, Bye> {
        // Before the views, so that all up to it is in them.
        let head = Position::from(self.streams.log.head());
        let (at, changes) =
            self.streams.look(|views| (views.at(), self.readership.changes(views, self.seen)));
        let changes = changes?;
        if at > self.streams.log.head().offset {
            return Ok(None);
        }
        (self.looked, self.seen, self.at) = (true, at, head);
        Ok((!changes.is_empty()).then_some(changes))
    }

    /// Waits until there may be something to do.
    pub(super) async fn wait(&mut self, until: Option<Instant>) {
        let held = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.pulses.changed() => self.is_left |= changed.is_err(),
            _ = self.readership.touched.changed() => {}
            () = held => {}
        }
    }
}
