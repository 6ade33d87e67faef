//! A socket that a stream is written to: all at once while it takes that, and else under the watch of who waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::{Instant, sleep_until, timeout};

use super::Streams;
use super::control::Bye;
use super::ended::Tally;
use crate::http::requests;
use crate::socket::{Sent, Socket};

/// A write that takes longer than this makes the client a slow one.
const SLOW_AFTER: Duration = Duration::from_millis(250);
/// How often a client whose socket is full is looked at for what may end it: at every pulse hundreds of slow clients would take
/// the processor from the others.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the system may take to say that a socket takes more since it was allowed to.
const NEWS_WITHIN: Duration = Duration::from_secs(1);

/// Why a stream is over.
#[derive(Debug)]
pub(super) enum End {
    /// The client is gone, or cannot be told anything any more.
    Gone,
    /// The client has ended it in an orderly way.
    Closed,
    /// The client is told why.
    Told(Bye),
    /// A socket is closed with this code, for this reason.
    Refused(u16, &'static str),
    /// What is just being sent is not to be sent any more.
    Withdrawn,
}

impl End {
    /// The log cannot be read as it was written, or what was read is not what it should be.
    pub(super) fn damaged(error: &dyn std::error::Error) -> End {
        requests::of_stream(|| tracing::error!(%error, "a stream met damage"));
        End::Told(Bye::Damaged)
    }
}

/// Who waits while a socket is full.
pub(super) trait Waiter: Send {
    /// Returns when something has happened that may end the stream, or fails if it did.
    fn look(&mut self) -> impl Future<Output = Result<(), End>> + Send;

    /// Sends more of what is being sent, by the right to; none if that is lost.
    fn by_right<T>(&self, send: impl FnOnce() -> T) -> Option<T>;

    /// The client is a slow one.
    fn slow(&mut self);
}

/// The socket and what is known of its client.
pub(super) struct Line {
    streams: Arc<Streams>,
    pub(super) socket: Socket,
    pub(super) tally: Tally,
    /// Whether the socket has taken only part of what was sent, or not even the head, so that nothing else can follow.
    torn: bool,
    /// What is left of that.
    rest: Bytes,
}

impl Line {
    /// A socket on which nothing was sent yet of what must come first.
    pub(super) fn new(streams: Arc<Streams>, socket: Socket) -> Line {
        // What the client does not take waits here and not in the system's memory.
        socket.bound_unsent(streams.limits.unsent_bytes_max);
        Line { streams, socket, tally: Tally::begin(), torn: true, rest: Bytes::new() }
    }

    /// Sends all of `bytes`.
    pub(super) async fn send(
        &mut self,
        mut bytes: impl Buf + Send,
        waiter: &mut impl Waiter,
    ) -> Result<(), End> {
        if self.begin(&mut bytes)? { Ok(()) } else { self.go_on(bytes, waiter).await.map(drop) }
    }

    /// Sends all of `bytes`, which is begun only by the waiter's right to. Returns whether it was sent, as [`Line::go_on`] does.
    pub(super) async fn send_by_right(
        &mut self,
        mut bytes: impl Buf + Send,
        waiter: &mut impl Waiter,
    ) -> Result<bool, End> {
        let Some(begun) = waiter.by_right(|| self.begin(&mut bytes)) else { return Ok(false) };
        if begun? { Ok(true) } else { self.go_on(bytes, waiter).await }
    }

    /// Sends what the socket takes now of `bytes`; says whether that was all. If not, [`Line::go_on`] must follow.
    pub(super) fn begin(&mut self, bytes: &mut impl Buf) -> Result<bool, End> {
        self.streams.figures.stream_bytes.increment(bytes.remaining() as u64);
        Ok(self.try_send(bytes)? == Sent::All)
    }

    /// Sends the rest of what was begun. Returns whether it was sent: none of it was if it was withdrawn in time. Half of it
    /// cannot be taken back, and nothing could follow it, so that is sent to its end.
    pub(super) async fn go_on(
        &mut self,
        mut bytes: impl Buf + Send,
        waiter: &mut impl Waiter,
    ) -> Result<bool, End> {
        self.streams.passes.handled();
        // In a box, so that a stream that waits does not carry the state of one that is stuck.
        let rest = bytes.copy_to_bytes(bytes.remaining());
        match Box::pin(self.send_slowly(rest, waiter)).await {
            Ok(()) => Ok(true),
            Err(End::Withdrawn) => Ok(false),
            Err(end) => Err(end),
        }
    }

    /// Sends what the socket takes now.
    fn try_send(&mut self, bytes: &mut impl Buf) -> Result<Sent, End> {
        let before = bytes.remaining();
        let sent = self.socket.try_send(bytes).map_err(|_| End::Gone)?;
        self.tally.bytes += (before - bytes.remaining()) as u64;
        match sent {
            Sent::All => self.torn = false,
            Sent::Some => self.torn = true,
            Sent::Nothing => {}
        }
        Ok(sent)
    }

    async fn send_slowly(&mut self, mut bytes: Bytes, waiter: &mut impl Waiter) -> Result<(), End> {
        let limits = &self.streams.limits;
        let (window, rate, unsent_max) = (limits.write_timeout, limits.rate_min, limits.unsent_bytes_max);
        let least = usize::try_from(rate.saturating_mul(window.as_secs())).unwrap_or(usize::MAX).max(1);
        let slow_at = Instant::now() + SLOW_AFTER;
        let (mut window_ends, mut taken) = (Instant::now() + window, 0);
        let mut withdrawn = false;
        let mut look_at = Instant::now() + LOOK_EVERY;
        loop {
            let mut now = Instant::now();
            let look = async {
                sleep_until(look_at).await;
                waiter.look().await
            };
            tokio::select! {
                biased;
                looked = look => {
                    look_at = Instant::now() + LOOK_EVERY;
                    match looked {
                        Ok(()) => continue,
                        Err(End::Withdrawn) if self.torn => {
                            // What follows says why, and must not wait for the client: the system takes the little that is
                            // left.
                            withdrawn = true;
                            self.socket.bound_unsent(usize::MAX);
                        }
                        Err(end) => {
                            self.rest = bytes;
                            return Err(end);
                        }
                    }
                }
                _ = self.socket.writable() => {}
                () = sleep_until(if now < slow_at { slow_at.min(window_ends) } else { window_ends }) => {}
            }
            now = Instant::now();
            let before = bytes.len();
            let sent = match self.torn {
                true => self.try_send(&mut bytes)?,
                false => waiter.by_right(|| self.try_send(&mut bytes)).ok_or(End::Withdrawn)??,
            };
            if sent == Sent::All {
                if withdrawn {
                    self.socket.bound_unsent(unsent_max);
                }
                return Ok(());
            }
            taken += before - bytes.len();
            if now >= window_ends {
                if taken < least {
                    self.rest = bytes;
                    return Err(End::Told(Bye::Slow));
                }
                (window_ends, taken) = (now + window, 0);
            }
            if now >= slow_at {
                waiter.slow();
            }
        }
    }

    /// Whether something was begun to be sent and [`Line::finish`] sends the rest of it: so it is as good as sent.
    pub(super) fn is_torn(&self) -> bool {
        self.torn
    }

    /// Sends the last words, behind what was begun, and says that nothing more comes. What was to be sent and not begun is not
    /// sent. Its client is told however little it takes, and however late it will read that: the system, which gives a
    /// connection up whose client takes nothing any more, keeps that little until then.
    pub(super) async fn finish(&mut self, last_words: Vec<u8>) {
        self.socket.bound_unsent(usize::MAX);
        // If the socket was full, that it is not any more is news.
        let _ = timeout(NEWS_WITHIN, self.socket.writable()).await;
        let begun = if self.torn { std::mem::take(&mut self.rest) } else { Bytes::new() };
        let mut bytes = begun.chain(Bytes::from(last_words));
        // Whether it comes through or not, the stream is over.
        if matches!(self.try_send(&mut bytes), Ok(Sent::All)) {
            self.socket.say_end();
        }
    }
}
