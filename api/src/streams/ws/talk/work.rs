//! What goes on beside a socket's rounds: messages that are being sent to channels, sessions that are being opened, and watches
//! that are being found.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::timeout;

use super::super::messages::Open;
use super::super::open::{self, Opened};
use super::super::{Found, Hold, frames};
use super::Talk;
use super::telling::sayable;
use crate::http::problem::Problem;
use crate::streams::Position;
use crate::streams::line::End;

/// The most that goes on at once, and the most bytes of the messages: nothing more is read meanwhile.
const WORK_MAX: usize = 256;
const BYTES_MAX: usize = 1 << 20;
/// How long a socket that ends waits for what goes on.
const FINISH_WITHIN: Duration = Duration::from_millis(500);

/// Something under way.
type Doing = Pin<Box<dyn Future<Output = Done> + Send>>;

/// What it came to.
pub(super) enum Done {
    /// A message was sent, or not: its answer, and how many bytes the message had.
    Sent(Bytes, usize),
    /// A session was opened, or not; and what its client called that.
    Opened(Option<String>, Result<Opened, Problem>),
    /// A watch was found, or not; what its client called that, and the memory of what it asked with.
    Found { id: Option<String>, watch: String, found: Result<Found, Problem>, hold: Option<Box<dyn Hold>> },
}

/// All that is under way.
#[derive(Default)]
pub(super) struct Work {
    all: FuturesUnordered<Doing>,
    bytes: usize,
    /// Whether a session is being opened, or a watch found: what its client says next may be about it, and waits.
    opening: bool,
}

impl Work {
    /// Whether more can be taken on.
    pub(super) fn has_room(&self) -> bool {
        !self.opening && self.all.len() < WORK_MAX && self.bytes < BYTES_MAX
    }

    /// Whether something is being opened.
    pub(super) fn is_opening(&self) -> bool {
        self.opening
    }

    /// Takes on something to which what the client says next may refer.
    pub(super) fn begin(&mut self, opening: impl Future<Output = Done> + Send + 'static) {
        self.opening = true;
        self.all.push(Box::pin(opening));
    }

    /// What is done next. For ever when there is nothing.
    pub(super) async fn next(&mut self) -> Done {
        match self.all.next().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }
}

impl Talk {
    /// Sends a message to its channel. It is on its way when the work is looked at next.
    pub(super) fn post(
        &mut self,
        id: String,
        (channel, body, key): (String, String, Option<String>),
        bytes: usize,
        hold: Option<Box<dyn Hold>>,
    ) {
        let posted = self.post.post(channel, body, key);
        self.work.bytes += bytes;
        self.work.all.push(Box::pin(async move {
            let posted = posted.await;
            drop(hold);
            let answer = match posted {
                Ok(message) => frames::sent(&id, &message),
                Err(problem) => frames::refusal(Some(&id), None, &problem),
            };
            Done::Sent(answer, bytes)
        }));
    }

    /// Opens a session.
    pub(super) fn open(&mut self, wanted: Open) -> Result<(), Problem> {
        open::refuse(&self.seats, &wanted)?;
        let (streams, nudge) = (Arc::clone(&self.streams), Arc::clone(&self.seats.nudge));
        let (user, id) = (self.seats.identity.reader.user(), wanted.id.clone());
        self.work.begin(async move { Done::Opened(id, open::open(streams, user, nudge, wanted).await) });
        Ok(())
    }

    /// Begins what is new, and sends the answers to all that is done, in one write.
    pub(super) async fn answer_ready(&mut self, first: Option<Done>) -> Result<bool, End> {
        let (mut answers, mut holds) = (Vec::new(), Vec::new());
        let mut settle = |talk: &mut Talk, mut done: Done| {
            if let Done::Found { hold, .. } = &mut done {
                // The answer is about as large as what was asked.
                holds.extend(hold.take());
            }
            answers.extend_from_slice(&talk.settle(done));
        };
        if let Some(done) = first {
            settle(self, done);
        }
        while let Some(Some(done)) = self.work.all.next().now_or_never() {
            settle(self, done);
        }
        if answers.is_empty() {
            return Ok(false);
        }
        self.send(Bytes::from(answers)).await.map(|()| true)
    }

    /// Waits a little for what is under way when the socket ends, and gives all answers: what was sent may be durable.
    pub(super) async fn finish_work(&mut self) -> Vec<u8> {
        let mut answers = Vec::new();
        let _ = timeout(FINISH_WITHIN, async {
            while let Some(done) = self.work.all.next().await {
                if let Done::Sent(answer, _) = done {
                    answers.extend_from_slice(&answer);
                }
            }
        })
        .await;
        answers
    }

    /// Takes note of what is done. Returns what the client is told.
    fn settle(&mut self, done: Done) -> Bytes {
        match done {
            Done::Sent(answer, bytes) => {
                self.work.bytes -= bytes;
                answer
            }
            Done::Opened(id, opened) => {
                self.work.opening = false;
                match opened {
                    Ok(Opened::Session(seat, at)) => {
                        open::sit_down(&self.streams, &mut self.seats, id.as_deref(), seat, at)
                    }
                    Ok(Opened::Elsewhere(resume, window)) => {
                        let head = Position::from(self.streams.log.head());
                        let heartbeat = self.streams.limits.heartbeat_seconds();
                        frames::hello(id.as_deref(), None, resume, None, head, window, heartbeat)
                    }
                    Err(problem) => frames::refusal(id.as_deref(), None, &problem),
                }
            }
            Done::Found { id, watch, found, .. } => {
                self.work.opening = false;
                let id = id.as_deref();
                let told = found.and_then(|found| self.begin_to_read(id, watch.clone(), &found));
                told.unwrap_or_else(|problem| frames::refusal(id, sayable(&watch), &problem))
            }
        }
    }
}
