//! Durable POSTs of messages to one channel: a closed loop on kept-alive connections.

use anyhow::Result;
use clap::Args;

use super::Target;
use super::closed_loop::{self, Exchange, Until};
use crate::client::{Client, Identity, request};
use crate::report::Report;
use crate::text;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// The id of the channel.
    #[arg(long)]
    channel: String,
    /// Kept-alive connections, one request at a time on each.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// How long.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// The length of a message's text.
    #[arg(long, default_value_t = 256)]
    bytes: usize,
}

struct Post {
    client: Client,
    path: String,
    token: String,
    bytes: usize,
    answer: Vec<u8>,
}

impl Exchange for Post {
    async fn exchange(&mut self, number: u64) -> Result<bool> {
        let body =
            format!("{{\"body\":\"{}\"}}", text::message(&format!("{number:012} "), number, self.bytes));
        let request = request("POST", &self.path, Identity::Bearer(&self.token), Some(&body));
        self.client.send(&request).await?;
        Ok(self.client.receive(&mut self.answer).await?.good())
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report> {
    let Target { addr, token, pids } = &arguments.target;
    closed_loop::connect_and_run(arguments.connections, Until::Seconds(arguments.seconds), pids, async || {
        Ok(Post {
            client: Client::connect(*addr).await?,
            path: format!("/api/channels/{}", arguments.channel),
            token: token.clone(),
            bytes: arguments.bytes,
            answer: Vec::new(),
        })
    })
}
