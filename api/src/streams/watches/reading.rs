//! What becomes of a reader of a watch, apart from any transport.

use std::sync::Arc;

use scrollback_log::Offset;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::readers::Entered;
use super::set::Change;
use super::watch::{Readership, Role, Watch};
use crate::streams::identity::Identity;
use crate::streams::pulse::Call;
use crate::streams::{Bye, Ending, Position, Pulse, Reader, Streams};

/// Of so many records since the last look the ring is asked which channels they are about, and of so many channels each is
/// looked for in the watch. Beyond that all channels of the watch are looked at.
const RECORDS_MAX: u64 = 256;
const CHANNELS_MAX: usize = 16;

/// What a transport is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::streams) enum Step {
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

/// Where somebody stands among the notices of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The setting of the watch whose notices they were; none if that is not said. Of another one it counts for nothing.
    pub epoch: Option<u64>,
    /// All changes up to here were told.
    pub after: Offset,
}

impl Place {
    /// Before all notices.
    pub const BEGINNING: Place = Place { epoch: None, after: Offset::BEGINNING };
}

/// A reader of a watch.
pub(in crate::streams) struct Reading {
    streams: Arc<Streams>,
    pub(super) readership: Readership,
    identity: Identity,
    pulses: watch::Receiver<Pulse>,
    calls: watch::Receiver<Call>,
    /// From before the first look on, so that no change after it is missed.
    _entered: Entered,
    /// All changes up to here are told.
    seen: Offset,
    /// The published head when the views were last looked at; where it began before that.
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
    /// The newest change of anybody's rights when the views were last looked at.
    rights_at: Offset,
    beat: u64,
    /// Whether a notice was given since the heartbeat before.
    spoke: bool,
    /// Whether nobody is left who could wake it.
    is_left: bool,
    /// Whether it was touched since it last looked, so that there may be something to tell.
    is_dirty: bool,
    /// Whether the views were ahead of the published head when it looked, so that it must look again at the next pulse,
    /// whatever that brings.
    is_behind: bool,
}

impl Reading {
    /// One for `reader`, who stands at this place.
    ///
    /// # Errors
    /// Why the watch cannot be read: it is over, or was set anew.
    pub(in crate::streams) fn begin(
        streams: &Arc<Streams>,
        reader: Arc<dyn Reader>,
        watch: &Arc<Watch>,
        place: Place,
        role: Role,
    ) -> Result<Reading, Bye> {
        let readership = watch.read(role)?;
        // Only now: a watch that is set anew while somebody comes must not be read from where they stood in the one before.
        let is_of_it = place.epoch.is_none_or(|epoch| epoch == readership.epoch);
        let after = if is_of_it { place.after } else { Offset::BEGINNING };
        let entered = streams.watches.readers.enter(watch);
        let pulses = streams.pulse.clone();
        let beat = pulses.borrow().beat;
        // Whoever stands further back than the ring reaches is told all again if it is over before they were told anything.
        let given = streams.ring.position(after).unwrap_or(Position::BEGINNING);
        Ok(Reading {
            streams: Arc::clone(streams),
            readership,
            identity: Identity::new(reader),
            pulses,
            calls: streams.calls.clone(),
            _entered: entered,
            seen: after,
            at: given,
            given,
            told: after,
            looked: false,
            caught_up: false,
            next_at: None,
            rights_at: Offset::BEGINNING,
            beat,
            spoke: false,
            is_left: false,
            is_dirty: false,
            is_behind: false,
        })
    }

    /// Where a reader stands that has been told what all steps before the newest have given; before that where it began, if
    /// the ring reaches back so far.
    pub(in crate::streams) fn given(&self) -> Position {
        self.given
    }

    /// Where it stands once it is told what the newest step has given.
    pub(in crate::streams) fn at(&self) -> Position {
        self.at
    }

    /// Which setting of the watch it reads.
    pub(in crate::streams) fn epoch(&self) -> u64 {
        self.readership.epoch
    }

    /// What the newest step has given is told, or as good as told.
    pub(in crate::streams) fn confirm(&mut self) {
        self.given = self.at;
    }

    /// The right to tell something now; none if it is over.
    pub(in crate::streams) fn by_right<T>(&self, tell: impl FnOnce() -> T) -> Option<T> {
        let turn = self.readership.turn()?;
        let told = tell();
        drop(turn);
        Some(told)
    }

    /// Whether it has looked at the views, so that [`Reading::at`] tells something.
    pub(in crate::streams) fn has_looked(&self) -> bool {
        self.looked
    }

    /// Has it look at the views in its next step, also if it was told of nothing.
    pub(super) fn look_again(&mut self) {
        self.is_dirty = true;
    }

    /// Looks for what ends it at once.
    pub(in crate::streams) fn over(&mut self) -> Option<Bye> {
        let pulse = *self.pulses.borrow();
        self.identity.look(&pulse).err().or_else(|| self.readership.over())
    }

    /// What to do next. All that the step before gave is told.
    pub(in crate::streams) fn step(&mut self) -> Step {
        self.confirm();
        self.hear();
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
        let is_beat = self.take_beat(&pulse);
        let now = Instant::now();
        let held = self.next_at.filter(|next| *next > now);
        let must_look = !self.looked || self.is_dirty || self.is_behind;
        let may_look = held.is_none() || self.streams.ring.rights_at() != self.rights_at;
        if must_look && may_look {
            match self.look(held.is_some()) {
                Err(reason) => return Step::Ended(reason),
                Ok(Some(changes)) => {
                    self.next_at = Some(now + self.readership.max_delay());
                    (self.told, self.spoke) = (self.at.offset, true);
                    return Step::Changed(changes, self.at);
                }
                // The first time there is something to say all the same.
                Ok(None) if self.looked && !self.caught_up => {
                    self.caught_up = true;
                    return Step::CaughtUp(self.at);
                }
                Ok(None) => {}
            }
        }
        // A notice since the heartbeat before was a sign of life too, and said where the reader stands.
        if !is_beat || std::mem::take(&mut self.spoke) {
            return Step::Wait(held.filter(|_| self.is_dirty));
        }
        self.take_mark().map_or(Step::Heartbeat, Step::Checkpoint)
    }

    /// At a heartbeat that its transport gives itself: where the reader stands, if that is news. It then has none in its steps.
    pub(in crate::streams) fn mark(&mut self) -> Option<Position> {
        if !self.caught_up || self.readership.over().is_some() {
            return None;
        }
        self.hear();
        let pulse = *self.pulses.borrow();
        if self.take_beat(&pulse) { self.take_mark() } else { None }
    }

    /// Whether there is a heartbeat for it, which then was.
    fn take_beat(&mut self, pulse: &Pulse) -> bool {
        let is_beat = pulse.beat != self.beat;
        if is_beat {
            self.beat = pulse.beat;
            self.identity.reader.touch();
            self.readership.renew();
        }
        is_beat
    }

    /// Where it stands, if its client does not know that; it then does.
    fn take_mark(&mut self) -> Option<Position> {
        let is_news = self.at.offset > self.told;
        self.told = self.told.max(self.at.offset);
        is_news.then_some(self.at)
    }

    /// Takes note of what it was told. Whoever was not touched since the last look has nothing to look at, so it stands as far
    /// as all were told.
    fn hear(&mut self) {
        // First the call: who was to be touched for what is up to there, was.
        let all_told = self.calls.borrow_and_update().all_told;
        if self.readership.touched.has_changed().unwrap_or(true) {
            self.readership.touched.mark_unchanged();
            self.is_dirty = true;
        }
        let is_clean = self.looked && !self.is_dirty && !self.is_behind;
        if is_clean && all_told.offset > self.at.offset {
            // The views that it saw can have been further.
            (self.seen, self.at) = (self.seen.max(all_told.offset), all_told);
        }
    }

    /// Looks at the views; none if nothing has changed. Views can be ahead of what is published, for a moment: then the pulse
    /// that publishes it is on its way, and nothing is told before. What `is_held` back is told only with a channel that is
    /// gone: whoever loses it is to know at once.
    ///
    /// # Errors
    /// Why it is over.
    fn look(&mut self, is_held: bool) -> Result<Option<Vec<Change>>, Bye> {
        // What is told from now on is told again. Before the views, so that nothing is between.
        self.readership.watch.take_news();
        // Before the views, so that all up to it is in them.
        let head = Position::from(self.streams.log.head());
        let (at, rights_at, changes) = self.streams.look(|views| {
            let (at, rights_at) = (views.at(), views.memberships().changed_at());
            let may_know =
                self.looked && rights_at == self.rights_at && at.0.saturating_sub(self.seen.0) <= RECORDS_MAX;
            let concerned =
                if may_know { self.streams.ring.channels_between(self.seen, at, CHANNELS_MAX) } else { None };
            (at, rights_at, self.readership.changes(views, self.seen, concerned.as_deref()))
        });
        let changes = changes?;
        let published = Position::from(self.streams.log.head());
        self.is_behind = at > published.offset;
        if self.is_behind {
            return Ok(None);
        }
        // The place is the one that the views were at: whoever goes on from an earlier one is told the same again.
        let place = [head, published].into_iter().find(|place| place.offset == at);
        let place = place.or_else(|| self.streams.ring.position(at)).unwrap_or(head);
        self.rights_at = rights_at;
        if is_held && !changes.iter().any(|change| matches!(change, Change::Gone(..))) {
            return Ok(None);
        }
        (self.looked, self.is_dirty, self.seen, self.at) = (true, false, at, place);
        Ok((!changes.is_empty()).then_some(changes))
    }

    /// Why the watch is not this reader's any more, whatever else there is to say.
    pub(in crate::streams) fn replaced(&self) -> Option<Bye> {
        self.readership.over()
    }

    /// Whether it must take its next step at the next pulse, whatever that brings.
    pub(in crate::streams) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Returns when it must look whether it may go on, or what has changed, or when what is held back until then is to be told.
    /// Whoever calls this waits for calls, too, and for pulses if it is behind.
    pub(in crate::streams) async fn woken(&mut self, until: Option<Instant>) {
        woken(&mut self.readership.touched, &mut self.is_dirty, until).await;
    }

    /// Waits until there may be something to do.
    pub(in crate::streams) async fn wait(&mut self, until: Option<Instant>) {
        tokio::select! {
            called = self.calls.changed() => self.is_left |= called.is_err(),
            changed = self.pulses.changed(), if self.is_behind => self.is_left |= changed.is_err(),
            () = woken(&mut self.readership.touched, &mut self.is_dirty, until) => {}
        }
    }
}

async fn woken(touched: &mut watch::Receiver<u64>, is_dirty: &mut bool, until: Option<Instant>) {
    let held = async {
        match until {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // Its sender is part of the watch, which is held.
        _ = touched.changed() => *is_dirty = true,
        () = held => {}
    }
}
