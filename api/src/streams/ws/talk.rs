//! One socket: what the client says and what its sessions and watches bring, in turn.

mod ending;
mod hear;
mod telling;
mod turn;
mod work;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::sync::Notify;
use tokio::task::coop::consume_budget;

use super::super::ended::Talked;
use super::super::identity::Identity;
use super::super::line::End;
use super::super::{Bye, Counted, Ending, Reader, Streams};
use super::seats::{Seats, Sending};
use super::wire::{Due, Holds, Wire};
use super::{Post, frames, watching};
use crate::socket::Socket;
use turn::Advanced;
use work::{Done, Work};

/// A socket that is about to begin.
pub(crate) struct Ws {
    streams: Arc<Streams>,
    reader: Arc<dyn Reader>,
    post: Arc<dyn Post>,
    holds: Holds,
}

/// A running socket.
struct Talk {
    streams: Arc<Streams>,
    post: Arc<dyn Post>,
    wire: Wire,
    seats: Seats,
    work: Work,
    /// How many messages its client has sent so far.
    messages: u64,
    beat: u64,
    /// Whether it is a pulse that has woken it.
    pulsed: bool,
}

impl Ws {
    /// One for `reader`, whose messages `post` sends; `holds` counts what large ones have in memory.
    #[must_use]
    pub(crate) fn new(
        streams: Arc<Streams>,
        reader: Arc<dyn Reader>,
        post: Arc<dyn Post>,
        holds: Holds,
    ) -> Ws {
        Ws { streams, reader, post, holds }
    }

    /// Sends `head`, the answer's head, and talks until client or server ends it. `early` is what the client has said
    /// before.
    pub(crate) async fn run(self, socket: Socket, head: Vec<u8>, early: Bytes) {
        let Ws { streams, reader, post, holds } = self;
        let _counted = Counted::new(&streams, &streams.figures.ws_open);
        let (pulses, calls) = (streams.pulse.clone(), streams.calls.clone());
        let beat = pulses.borrow().beat;
        let wire = Wire::new(Arc::clone(&streams), socket, &early, holds);
        let seats = Seats {
            all: Vec::new(),
            watching: Vec::new(),
            pulses,
            calls,
            nudge: Arc::new(Notify::new()),
            identity: Identity::new(reader),
            sending: None,
            sat_down: 0,
            watched: 0,
        };
        let mut talk =
            Talk { streams, post, wire, seats, work: Work::default(), messages: 0, beat, pulsed: false };
        let Err(end) = talk.run(head.into()).await;
        match end {
            End::Told(reason) => talk.say_goodbye(reason).await,
            End::Refused(code, why) => talk.close(code, why).await,
            End::Gone | End::Closed | End::Withdrawn => {}
        }
        let Seats { sat_down: sessions, watched: watches, .. } = talk.seats;
        let talked = Talked { sessions, watches, messages: talk.messages };
        talk.wire.line.tally.tell(&end, Some(talked));
    }
}

impl Talk {
    async fn run(&mut self, head: Bytes) -> Result<Infallible, End> {
        self.send(head).await?;
        loop {
            let pulse = self.seats.check().map_err(End::Told)?;
            if pulse.ending == Some(Ending::Shutdown) {
                self.streams.wait_for_turn().await;
                return Err(End::Told(Bye::Shutdown));
            }
            if pulse.beat != self.beat {
                self.beat = pulse.beat;
                self.seats.identity.reader.touch();
                // One write, and one wake of either side, for all that is a sign of life.
                let signs = [frames::heartbeat(), self.marks()].concat();
                let signs = self.wire.with_ping(signs.into())?;
                self.send(signs).await?;
            }
            let mut busy = self.hear().await?;
            busy |= self.answer_ready(None).await?;
            let mut place = 0;
            while place < self.seats.all.len() {
                match self.advance(place).await? {
                    Advanced::Waits => place += 1,
                    Advanced::Moved => (busy, place) = (true, place + 1),
                    Advanced::Ended => busy = true,
                }
            }
            place = 0;
            while place < self.seats.watching.len() {
                match self.tell(place).await? {
                    Advanced::Waits => place += 1,
                    Advanced::Moved => (busy, place) = (true, place + 1),
                    Advanced::Ended => busy = true,
                }
            }
            if busy {
                // A client that always has more to say, or takes all it gets, must not keep others from their turns.
                consume_budget().await;
            } else if !self.seats.follow_heads() || *self.seats.pulses.borrow() == pulse {
                self.wait().await?;
            }
            // Else a pulse came while one session was at work, and those before it have not looked at it.
        }
    }

    /// Waits until there is something to do, and does what is not for the next round.
    async fn wait(&mut self) -> Result<(), End> {
        if std::mem::take(&mut self.pulsed) {
            self.streams.passes.handled();
        }
        let may_hear = self.work.has_room();
        let follow = self.seats.follow_heads();
        let woken = {
            let _waiting = follow.then(|| self.streams.passes.wait());
            tokio::select! {
                changed = self.seats.pulses.changed(), if follow => {
                    changed.map_err(|_| End::Gone)?;
                    Woken::Pulse
                }
                called = self.seats.calls.changed() => {
                    called.map_err(|_| End::Gone)?;
                    Woken::Round
                }
                () = self.seats.nudge.notified() => Woken::Round,
                () = watching::woken(&mut self.seats.watching) => Woken::Round,
                due = self.wire.wait(may_hear) => match due? {
                    Due::Hear => Woken::Round,
                    Due::Ping => Woken::Ping,
                },
                done = self.work.next() => Woken::Done(done),
            }
        };
        match woken {
            Woken::Round => Ok(()),
            Woken::Pulse => {
                self.pulsed = true;
                Ok(())
            }
            Woken::Done(done) => self.answer_ready(Some(done)).await.map(drop),
            Woken::Ping => self.ping().await,
        }
    }

    /// Asks whether the client is there, or gives it up.
    async fn ping(&mut self) -> Result<(), End> {
        // The answer may have come at this very moment.
        self.hear().await?;
        self.wire.ping(self.work.has_room(), &mut self.seats).await
    }

    async fn send(&mut self, bytes: impl Buf + Send) -> Result<(), End> {
        self.wire.line.send(bytes, &mut self.seats).await
    }

    /// Sends what is for this one, begun only while it is not over. Returns whether it was sent.
    async fn send_for(&mut self, whom: Sending, bytes: impl Buf + Send) -> Result<bool, End> {
        self.seats.sending = Some(whom);
        let sent = self.wire.line.send_by_right(bytes, &mut self.seats).await?;
        self.seats.sending = None;
        Ok(sent)
    }
}

/// What a wait came to.
enum Woken {
    /// There may be something for any part of a round.
    Round,
    /// A pulse has come.
    Pulse,
    /// Something that went on beside is done.
    Done(Done),
    /// It is time to ask, or to have been answered.
    Ping,
}
