//! How a socket ends.

use super::super::seats::Sending;
use super::super::{close_code, frames};
use super::Talk;
use crate::streams::Bye;
use crate::streams::line::End;

impl Talk {
    /// Tells the client why the socket ends, session by session and watch by watch.
    pub(super) async fn say_goodbye(&mut self, reason: Bye) {
        let mut bytes = self.finish_work().await;
        let retry = (reason == Bye::Shutdown).then(|| self.streams.retry());
        if self.wire.line.is_torn()
            && let Some(Sending::Session(place)) = self.seats.sending
            && let Some(seated) = self.seats.all.get_mut(place)
        {
            seated.subscription.confirm();
        }
        for seated in &mut self.seats.all {
            let own = if seated.seat.turn().is_none() { Bye::Replaced } else { reason };
            self.streams.figures.stream_ended(own);
            bytes.extend_from_slice(&frames::bye(
                &seated.seat.session.id,
                own,
                seated.subscription.given(),
                retry,
            ));
        }
        bytes.extend_from_slice(&self.say_goodbye_to_watches(reason, retry));
        let pulses = self.seats.pulses.clone();
        self.wire.close(bytes, (close_code(reason), reason.name()), reason == Bye::Slow, pulses).await;
    }

    /// Says that the socket ends, for a reason of the protocol's or of one session's.
    pub(super) async fn close(&mut self, code: u16, why: &str) {
        let last_words = self.finish_work().await;
        self.wire.close(last_words, (code, why), false, self.seats.pulses.clone()).await;
    }

    /// Answers the client's close, after all it has sent before.
    pub(super) async fn close_in_answer(&mut self) -> End {
        let last_words = self.finish_work().await;
        self.wire.close_in_answer(last_words).await;
        End::Closed
    }
}
