//! What goes on beside a socket's rounds: messages that are being sent to channels, and sessions that are being opened.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::timeout;

use super::super::messages::Open;
use super::super::open::{self, Opened};
use super::super::{Hold, frames};
use super::Talk;
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
}

/// All that is under way.
#[derive(Default)]
pub(super) struct Work {
    all: FuturesUnordered<Doing>,
    bytes: usize,
    /// Whether a session is being opened: what its client says next may be about it, and waits.
    opening: bool,
}

impl Work {
    /// Whether more can be taken on.
    pub(super) fn has_room(&self) -> bool {
        !self.opening && self.all.len() < WORK_MAX && self.bytes < BYTES_MAX
    }

    /// Whether a session is being opened.
    pub(super) fn is_opening(&self) -> bool {
        self.opening
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
        self.work.opening = true;
        self.work
            .all
            .push(Box::pin(async move { Done::Opened(id, open::open(streams, user, nudge, wanted).await) }));
        Ok(())
    }

    /// Begins what is new, and sends the answers to all that is done, in one write.
    pub(super) async fn answer_ready(&mut self, first: Option<Done>) -> Result<bool, End> {
        let mut answers = Vec::new();
        if let Some(done) = first {
            answers.extend_from_slice(&self.settle(done));
        }
        while let Some(Some(done)) = self.work.all.next().now_or_never() {
            answers.extend_from_slice(&self.settle(done));
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
                        frames::hello(id.as_deref(), None, resume, None, head, window)
                    }
                    Err(problem) => frames::refusal(id.as_deref(), None, &problem),
                }
            }
        }
    }
}
