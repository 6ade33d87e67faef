//! Sessions over WebSocket: several ways through the events on one socket, each of which can go on on another.
//!
//! The socket has left the HTTP server like that of a stream of Server-Sent Events, and what is sent on it goes the same
//! way: events are shared bytes with a few of this session's own before and behind them, in one write. What the client
//! says is read by a protocol library that never sees the socket (`protocol.rs`), so that it keeps no buffer of its own for
//! what is sent. A session holds no events: it is a [`Subscription`](super::subscription::Subscription) and a count of
//! what its client has not acknowledged yet; what outlives a socket is in `sessions.rs`.

mod flight;
mod frames;
mod messages;
mod open;
mod protocol;
mod scanner;
mod seats;
pub(super) mod sessions;
mod talk;
#[cfg(test)]
pub(super) mod testing;
mod wire;

use std::pin::Pin;

use super::control::Bye;
use crate::http::problem::Problem;
pub use talk::Ws;
pub use wire::Holds;
pub(super) use wire::{Due, Said, Wire};

/// A message on its way: its JSON once it was sent, or why it was not.
pub type Posted = Pin<Box<dyn Future<Output = Result<Vec<u8>, Problem>> + Send>>;

/// Who carries out what clients send.
pub trait Post: Send + Sync + 'static {
    /// Sends a message to a channel.
    fn post(&self, channel: String, body: String, idempotency_key: Option<String>) -> Posted;

    /// Begins to count what large messages of this client have in memory.
    fn hold(&self) -> Box<dyn Hold>;
}

/// Memory that is counted until this is dropped.
pub trait Hold: Send {
    /// Takes so many bytes more; says no if there is no room for them.
    fn take(&mut self, bytes: usize) -> bool;
}

/// The close code of a socket that the server ends for this reason.
pub(super) fn close_code(reason: Bye) -> u16 {
    match reason {
        Bye::Shutdown => 1012,
        Bye::Slow => 4008,
        Bye::Revoked => 4401,
        Bye::Excluded => 4403,
        Bye::Replaced | Bye::Unwatched => 1000,
        Bye::Storage | Bye::Damaged => 1011,
    }
}
