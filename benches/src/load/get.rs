//! GETs of one path: a closed loop, by default on one connection.

use anyhow::{Result, ensure};
use clap::Args;

use super::Target;
use super::closed_loop::{self, Answered, Exchange, Loop, Until};
use crate::client::{Client, Identity, request};
use crate::report::Report;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// The path, with its query.
    #[arg(long)]
    path: String,
    /// Requests in all.
    #[arg(long, default_value_t = 1_000)]
    count: u64,
    /// Kept-alive connections, one request at a time on each.
    #[arg(long, default_value_t = 1)]
    connections: usize,
}

struct Get {
    client: Client,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Exchange for Get {
    fn add(&mut self, _number: u64) {}

    async fn send(&mut self) -> Result<()> {
        self.client.send(&self.request).await
    }

    async fn receive(&mut self, answered: &mut Vec<Answered>) -> Result<()> {
        let answer = self.client.receive(&mut self.answer).await?;
        ensure!(answer.good(), "status {}: {}", answer.status, String::from_utf8_lossy(&self.answer));
        answered.push(Answered { number: None, good: true });
        Ok(())
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report> {
    let Target { addr, token, pids } = &arguments.target;
    let connect = async || {
        let mut get = Get {
            client: Client::connect(*addr).await?,
            request: request("GET", &arguments.path, Identity::Bearer(token), None),
            answer: Vec::new(),
        };
        // The first answer on a connection pays for more than the work.
        get.send().await?;
        get.receive(&mut Vec::new()).await?;
        Ok(get)
    };
    // One at a time, so that `send` has one to send.
    let size = Loop { connections: arguments.connections, depth: 1, until: Until::Requests(arguments.count) };
    closed_loop::connect_and_run(size, pids, connect)
}
