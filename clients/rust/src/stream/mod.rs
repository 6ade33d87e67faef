//! Events from the server, by one of three transports that bring the same.

pub(crate) mod asking;
pub(crate) mod frames;
mod poll;
mod sse;
mod wanted;
mod ws;

use std::time::Duration;

use poll::Poll;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sse::Sse;
use tokio::time::{Instant, timeout_at};
pub use wanted::Start;
pub(crate) use wanted::Wanted;
use ws::Ws;

use crate::error::Error;
use crate::link::Address;

/// A stream that is silent for so many heartbeats is given up: the other end may be gone without a word.
const HEARTBEATS_MISSED_MAX: u32 = 3;
/// How often a server says that it lives, until it has said how often: as often as one does that was set to nothing else.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// No stream is given up earlier, however often its server says that it lives.
const SILENCE_LEAST: Duration = Duration::from_secs(2);
/// Every stream is given up after that, however seldom its server says that it lives.
const SILENCE_MOST: Duration = Duration::from_secs(3_600);
/// How long it takes at most until what has come is read.
const MOMENT: Duration = Duration::from_millis(200);

/// How events come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// Server-Sent Events: one answer that does not end.
    Sse,
    /// Long polls: one request after the other, each answered when there is something. For where answers are held back
    /// until they end.
    Poll,
    /// A session over WebSocket: what was applied is acknowledged, and the server sends no more than a window of what was
    /// not.
    WebSocket,
}

/// What a stream brings; events are read as `E`.
#[derive(Debug)]
pub(crate) enum Signal<E> {
    /// Nothing but that the server lives.
    Alive,
    /// The stream has begun where it was asked to; that is behind this resume token, if it says so.
    Begun(Option<String>),
    /// It cannot: the log is another one, or ends before that point.
    Elsewhere(Elsewhere),
    /// These events, and where the stream stands after them.
    Events(Vec<E>, Option<String>),
    /// What follows is live.
    CaughtUp,
    /// The server has ended the stream.
    Bye(Bye),
}

/// Why the log cannot be followed on from a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Elsewhere {
    /// The log ends before that point.
    Ahead,
    /// The point is of another history than this log's: an older backup was restored, or the log was rolled back.
    OtherHistory,
}

impl Elsewhere {
    /// What the server says of a point to go on from; none if that is good.
    pub(crate) fn of(resume: &str) -> Result<Option<Elsewhere>, Error> {
        Ok(match resume {
            "ok" => None,
            "ahead" => Some(Elsewhere::Ahead),
            "other_history" => Some(Elsewhere::OtherHistory),
            other => return Err(Error::unreadable(format!("a stream that begins with {other:?}"))),
        })
    }
}

impl std::fmt::Display for Elsewhere {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Elsewhere::Ahead => "ends before that place",
            Elsewhere::OtherHistory => "has another history than the one that the place is of",
        })
    }
}

/// Why the server has ended a stream.
#[derive(Debug, Deserialize)]
pub(crate) struct Bye {
    pub(crate) reason: String,
    pub(crate) code: Option<String>,
    /// In how many milliseconds to come back.
    pub(crate) retry: Option<u64>,
}

/// What a stream says of its beginning.
#[derive(Deserialize)]
struct Hello {
    resume: String,
    resume_token: Option<String>,
    /// The seconds between two signs of life, if it says so.
    heartbeat: Option<u64>,
}

impl Hello {
    fn heartbeat(&self) -> Duration {
        self.heartbeat.map_or(HEARTBEAT, Duration::from_secs)
    }

    fn signal<E>(self) -> Result<Signal<E>, Error> {
        Ok(match Elsewhere::of(&self.resume)? {
            None => Signal::Begun(self.resume_token),
            Some(elsewhere) => Signal::Elsewhere(elsewhere),
        })
    }
}

/// An open stream.
pub(crate) enum Stream<E> {
    Sse(Sse),
    Poll(Poll<E>),
    Ws(Box<Ws>),
}

/// Watches that a stream does not stay silent.
pub(crate) struct Silence {
    patience: Duration,
    /// When something came last.
    heard: Instant,
    /// When somebody waited again for what should have come before.
    late: Option<Instant>,
}

impl Silence {
    pub(crate) fn new(heartbeat: Duration) -> Silence {
        Silence { patience: patience(heartbeat), heard: Instant::now(), late: None }
    }

    /// The server says how often it says that it lives.
    fn beats(&mut self, heartbeat: Duration) {
        self.patience = patience(heartbeat);
    }

    /// Waits for something to come. It is the stream that must not be silent for too long, so the time runs on when the
    /// waiting is dropped and begun again. What has come while nobody waited may have to be read first, by whoever drives the
    /// connection, who may have had no turn either: for that there is a moment in any case.
    async fn watch<T>(
        &mut self,
        coming: impl Future<Output = Result<T, Error>>,
        silent: &str,
    ) -> Result<T, Error> {
        let (over, now) = (self.heard + self.patience, Instant::now());
        let deadline = if now < over { over } else { *self.late.get_or_insert(now) + MOMENT };
        let came = timeout_at(deadline, coming).await;
        (self.heard, self.late) = (Instant::now(), None);
        came.unwrap_or_else(|_| Err(Error::away(silent)))
    }
}

fn patience(heartbeat: Duration) -> Duration {
    heartbeat.saturating_mul(HEARTBEATS_MISSED_MAX).clamp(SILENCE_LEAST, SILENCE_MOST)
}

/// What the server says, which is JSON.
fn read<T: DeserializeOwned>(json: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|error| Error::unreadable(error.to_string()))
}

/// The offset of a resume token.
pub(crate) fn offset_of(token: &str) -> Option<u64> {
    token.split('-').next()?.parse().ok()
}

/// What of a stream outlives its connection.
#[derive(Clone, Default)]
pub(crate) struct Session {
    /// The id of the session over WebSocket.
    pub(crate) id: Option<String>,
}

impl<E: DeserializeOwned + Send + 'static> Stream<E> {
    /// Opens a stream of what is wanted.
    pub(crate) async fn open(
        address: &Address,
        transport: Transport,
        wanted: Wanted,
        session: &Session,
    ) -> Result<Stream<E>, Error> {
        let silence = Silence::new(HEARTBEAT);
        Ok(match transport {
            Transport::Sse => Stream::Sse(Sse::open(address, &wanted, silence).await?),
            Transport::Poll => Stream::Poll(Poll::new(address, wanted)),
            Transport::WebSocket => {
                Stream::Ws(Box::new(Ws::open(address, &wanted, session.id.as_deref(), silence).await?))
            }
        })
    }

    /// What comes next. May be dropped while it waits: nothing is lost.
    pub(crate) async fn next(&mut self, session: &mut Session) -> Result<Signal<E>, Error> {
        match self {
            Stream::Sse(sse) => sse.next().await,
            Stream::Poll(poll) => poll.next().await,
            Stream::Ws(ws) => ws.next(session).await,
        }
    }

    /// Everything up to this offset was applied.
    pub(crate) fn acknowledge(&mut self, offset: u64) {
        if let Stream::Ws(ws) = self {
            ws.acknowledge(offset);
        }
    }

    /// How long the server asks to stay away when this stream is lost.
    pub(crate) fn retry(&self) -> Option<Duration> {
        match self {
            Stream::Sse(sse) => sse.retry(),
            Stream::Poll(_) | Stream::Ws(_) => None,
        }
    }

    /// Takes leave in an orderly way, so that the server keeps nothing for a return.
    pub(crate) async fn close(self) {
        if let Stream::Ws(ws) = self {
            ws.close().await;
        }
    }
}
