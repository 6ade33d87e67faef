//! The loads, one per file, and what they share.

pub(crate) mod catchup;
pub(crate) mod child;
pub(crate) mod closed_loop;
pub(crate) mod corpus;
pub(crate) mod dialect;
pub(crate) mod fanout;
pub(crate) mod get;
pub(crate) mod idle;
pub(crate) mod offer;
pub(crate) mod post;
pub(crate) mod seed;
mod transcript;

use std::net::SocketAddr;

use clap::Args;

/// The server under load.
#[derive(Args, Clone)]
pub(crate) struct Target {
    /// Where it listens.
    #[arg(long)]
    pub(crate) addr: SocketAddr,
    /// A bearer token.
    #[arg(long, default_value = "")]
    pub(crate) token: String,
    /// Its process; repeat for each, when it has several.
    #[arg(long = "pid")]
    pub(crate) pids: Vec<u32>,
}
