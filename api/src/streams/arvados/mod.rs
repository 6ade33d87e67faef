//! Arvados' event protocol, version 0, on the subscription machine, so that its clients connect as they are.
//!
//! [`talk`] is one socket: what its client asks for (`ask.rs`) makes [`subscriptions`], which are one way through the log
//! ([`Subscription`](super::subscription::Subscription)) whose events are told as rows of Arvados' log (`row.rs`). `list.rs`
//! gives the same rows by pages, for clients that poll. What Arvados' filters say, `filters.rs` says to the machine.
//!
//! Only here and in `http/arvados/` is anything known of that protocol; the streams keep for it how far its lists have looked.

mod ask;
mod bounds;
mod filters;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub(crate) mod list;
mod looked;
mod row;
mod subscriptions;
mod talk;
#[cfg(test)]
mod tests;

pub(super) use looked::Looked;
pub(crate) use talk::Socket;
