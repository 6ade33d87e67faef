//! Scrollback's commands, HTTP interface, event streams and vault.
//!
//! The way of a request: [`http`] parses and authenticates it and hands a [`commands::Command`] to the log's writer loop,
//! whose [`commands::machine`] decides it against the published views, appends, syncs, applies the records to the views
//! and to the [`streams::ring`] and publishes the new head. Streams hold an offset and nothing else: they read what lies
//! between it and the head from the ring, or from the log when they are behind it.
//!
//! [`node::Node`] is an opened data directory with all of that running, with or without HTTP in front of it: `serve` and
//! the offline commands that write use the same one.

mod background;
pub mod commands;
pub mod expiry;
mod figures;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod ids;
pub mod import;
pub mod memory;
pub mod names;
pub mod node;
mod past;
pub mod rights;
pub mod settings;
pub mod socket;
pub mod space;
pub mod streams;
pub mod timestamps;
pub mod vault;

pub use node::Node;
pub use settings::Settings;
