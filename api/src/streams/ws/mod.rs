//! Sessions over WebSocket: several ways through the events on one socket, each of which can go on on another; and watches that
//! are read next to them.
//!
//! The socket has left the HTTP server like that of a stream of Server-Sent Events, and what is sent on it goes the same
//! way: events are shared bytes with a few of this session's own before and behind them, in one write. What the client
//! says is read by a protocol library that never sees the socket (`protocol.rs`), so that it keeps no buffer of its own for
//! what is sent. A session holds no events: it is a [`Subscription`](super::subscription::Subscription) and a count of
//! what its client has not acknowledged yet; what outlives a socket is in `sessions.rs`.

mod flight;
mod frames;
mod messages;
mod notices;
mod open;
mod protocol;
mod scanner;
mod seats;
pub(super) mod sessions;
mod talk;
#[cfg(test)]
pub(super) mod testing;
mod watching;
mod wire;

use std::pin::Pin;
use std::sync::Arc;

use super::control::Bye;
use super::watches::{Place, Watch};
use crate::http::problem::Problem;
use crate::http::shapes::SetWatch;
pub(super) use frames::texts;
pub(crate) use talk::Ws;
pub(crate) use wire::Holds;
pub(super) use wire::{Due, Said, Wire};

/// A message on its way: its JSON once it was sent, or why it was not.
pub(crate) type Posted = Pin<Box<dyn Future<Output = Result<Vec<u8>, Problem>> + Send>>;

/// A watch that is about to be read.
pub(crate) struct Found {
    pub(crate) watch: Arc<Watch>,
    /// The setting of it that `shown` tells of.
    pub(crate) epoch: u64,
    /// How it stands, as JSON.
    pub(crate) shown: Vec<u8>,
    /// Where its reader stands.
    pub(crate) place: Place,
}

/// A watch on its way, or why there is none.
pub(crate) type Finding = Pin<Box<dyn Future<Output = Result<Found, Problem>> + Send>>;

/// Who carries out what clients send.
pub(crate) trait Post: Send + Sync + 'static {
    /// Sends a message to a channel.
    fn post(&self, channel: String, body: String, idempotency_key: Option<String>) -> Posted;

    /// Finds the watch of this name, after it was set if that is wanted.
    fn watch(&self, name: String, set: Option<SetWatch>, resume_point: Option<String>) -> Finding;

    /// Ends the watch of this name.
    fn unwatch(&self, name: &str) -> Result<(), Problem>;
}

/// Memory that is counted until this is dropped.
pub(crate) trait Hold: Send {
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
