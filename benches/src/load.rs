//! The loads, one per file, and what they share.

pub(crate) mod catchup;
pub(crate) mod child;
pub(crate) mod closed_loop;
pub(crate) mod corpus;
pub(crate) mod dialect;
pub(crate) mod fanout;
mod filters;
pub(crate) mod get;
pub(crate) mod idle;
pub(crate) mod offer;
pub(crate) mod post;
mod publish;
pub(crate) mod rights;
pub(crate) mod seed;
mod transcript;
pub(crate) mod watch;
mod world;
pub(crate) mod ws_send;

use std::net::SocketAddr;
use std::sync::Once;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use tokio::task::JoinHandle;

use crate::sockets;

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

/// Waits until `condition` holds; false if it does not in time.
async fn wait_for(condition: impl Fn() -> bool, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(fanout::LOOK).await;
    }
    true
}

/// Waits until all streams are attached; a stream that fails before that says why.
async fn await_attached(tasks: &mut Vec<JoinHandle<Result<()>>>, attached: impl Fn() -> bool) -> Result<()> {
    wait_for(|| attached() || tasks.iter().any(JoinHandle::is_finished), sockets::ANSWER_WAIT).await;
    if let Some(ended) = tasks.iter().position(JoinHandle::is_finished) {
        tasks.swap_remove(ended).await?.context("a stream failed")?;
        bail!("a stream ended before it said hello");
    }
    ensure!(attached(), "not every stream said hello");
    Ok(())
}

/// Says why a stream is over before its time: of the first one, for a thousand have the same reason.
fn tell_end(open: &Result<bool>) {
    static FIRST: Once = Once::new();
    FIRST.call_once(|| match open {
        Ok(_) => eprintln!("a stream was ended by the server"),
        Err(error) => eprintln!("a stream was given up: {error:#}"),
    });
}
