//! The line that is written of a stream once it is over: why, for how long, and how much came and went. Nothing is in it that
//! its client has said.

use tokio::time::Instant;

use super::control::Bye;
use super::line::End;
use crate::http::requests;

/// What a stream has sent since it began.
#[derive(Debug)]
pub(super) struct Tally {
    began: Instant,
    pub(super) events: u64,
    /// What its socket has taken, heads and signs of life included.
    pub(super) bytes: u64,
}

/// What else is known of a WebSocket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Talked {
    /// How many sessions were opened on it.
    pub(super) sessions: u64,
    /// How many times a watch was begun to be read on it.
    pub(super) watches: u64,
    /// How many messages its client has sent.
    pub(super) messages: u64,
}

impl Tally {
    /// Nothing yet.
    pub(super) fn begin() -> Tally {
        Tally { began: Instant::now(), events: 0, bytes: 0 }
    }

    /// Tells of the end.
    pub(super) fn tell(&self, end: &End, talked: Option<Talked>) {
        let (reason, close_code) = match end {
            End::Gone | End::Withdrawn => ("gone", None),
            End::Closed => ("closed", None),
            End::Told(reason) => (reason.name(), None),
            End::Refused(code, why) => (*why, Some(*code)),
        };
        let seconds = self.began.elapsed().as_secs();
        let Tally { events, bytes, .. } = *self;
        let sessions = talked.map(|talked| talked.sessions);
        let watches = talked.map(|talked| talked.watches);
        let messages = talked.map(|talked| talked.messages);
        // A line's level is fixed where it is written.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    reason,
                    close_code,
                    seconds,
                    sessions,
                    watches,
                    events,
                    bytes,
                    messages,
                    "the stream has ended"
                )
            };
        }
        requests::of_stream(|| if is_news(end) { line!(info) } else { line!(debug) });
    }
}

/// Whether an operator hears of it unasked: the server has ended what could have gone on. What ends all streams at once has
/// a line of its own, and that clients come and go is nothing new.
fn is_news(end: &End) -> bool {
    match end {
        End::Told(reason) => !matches!(reason, Bye::Shutdown | Bye::Storage),
        End::Refused(..) => true,
        End::Gone | End::Closed | End::Withdrawn => false,
    }
}
