//! How a socket ends.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use super::super::protocol::Heard;
use super::super::seats::Sending;
use super::super::{close_code, frames};
use super::{READ_BYTES, Talk};
use crate::streams::Bye;
use crate::streams::line::End;

/// How long a client that was told of the end may take to close the socket from its side; and one that was told that it is
/// slow, to have read that.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
const SLOW_CLOSE_WITHIN: Duration = Duration::from_secs(60);

impl Talk {
    /// Tells the client why the socket ends, session by session and watch by watch.
    pub(super) async fn say_goodbye(&mut self, reason: Bye) {
        let mut bytes = self.finish_work().await;
        let limits = &self.streams.limits;
        let retry = (reason == Bye::Shutdown)
            .then(|| rand::random_range(limits.retry_min..=limits.retry_max.max(limits.retry_min)));
        if self.line.is_torn()
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
        bytes.extend_from_slice(&frames::close(close_code(reason), reason.name()));
        self.line.finish(bytes).await;
        let within = if reason == Bye::Slow { SLOW_CLOSE_WITHIN } else { CLOSE_WITHIN };
        self.wait_for_the_end(within).await;
    }

    /// Says that the socket ends, for a reason of the protocol's or of one session's.
    pub(super) async fn close(&mut self, code: u16, why: &str) {
        let mut bytes = self.finish_work().await;
        bytes.extend_from_slice(&frames::close(code, why));
        self.line.finish(bytes).await;
        self.wait_for_the_end(CLOSE_WITHIN).await;
    }

    /// Answers the client's close, after all it has sent before.
    pub(super) async fn close_in_answer(&mut self) -> End {
        let mut bytes = self.finish_work().await;
        bytes.extend_from_slice(&self.protocol.take_outgoing());
        self.line.finish(bytes).await;
        End::Closed
    }

    /// Waits a little for the client to have read that: closing while it still sends would reset the connection, and what it
    /// has not read would be lost. A stop of the server does not wait for the slow.
    async fn wait_for_the_end(&mut self, within: Duration) {
        let mut pulses = self.seats.pulses.clone();
        let stops = pulses.wait_for(|pulse| pulse.ending.is_some() && within > CLOSE_WITHIN);
        let _ = timeout(within, async {
            tokio::select! {
                () = self.hear_the_end() => {}
                _ = stops => {}
            }
        })
        .await;
    }

    /// Reads until the client closes, too, and throws away what it says before that.
    async fn hear_the_end(&mut self) {
        while self.line.socket.tcp().readable().await.is_ok() {
            let mut buffer = [0; READ_BYTES];
            match self.line.socket.try_read(&mut buffer) {
                Ok(length) => self.protocol.feed(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => return,
            }
            loop {
                match self.protocol.read() {
                    Heard::Text(_) => {}
                    Heard::Nothing => break,
                    Heard::Close | Heard::Broken(..) => return,
                }
            }
        }
    }
}
