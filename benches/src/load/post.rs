//! Durable POSTs of messages to one channel: a closed loop on kept-alive connections.

use anyhow::Result;
use clap::Args;

use super::Target;
use super::closed_loop::{self, Answered, Exchange, Loop, Until};
use crate::client::{Client, Identity, request};
use crate::report::Report;
use crate::text;

/// How messages are sent in a closed loop.
#[derive(Args)]
pub(crate) struct Sends {
    /// Kept-alive connections.
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: usize,
    /// Requests under way on each of them.
    #[arg(long, default_value_t = 1)]
    pub(crate) depth: usize,
    /// How long.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// The length of a message's text.
    #[arg(long, default_value_t = 256)]
    pub(crate) bytes: usize,
}

impl Sends {
    pub(crate) fn size(&self) -> Loop {
        let until = Until::Seconds(self.seconds);
        Loop { connections: self.connections, depth: self.depth, until }
    }

    /// The text of the `number`-th message.
    pub(crate) fn text(bytes: usize, number: u64) -> String {
        text::message(&format!("{number:012} "), number, bytes)
    }
}

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// The id of the channel.
    #[arg(long)]
    channel: String,
    #[command(flatten)]
    sends: Sends,
}

struct Post {
    client: Client,
    path: String,
    token: String,
    bytes: usize,
    requests: Vec<u8>,
    answer: Vec<u8>,
}

impl Exchange for Post {
    fn add(&mut self, number: u64) {
        let body = format!("{{\"body\":\"{}\"}}", Sends::text(self.bytes, number));
        self.requests.extend(request("POST", &self.path, Identity::Bearer(&self.token), Some(&body)));
    }

    async fn send(&mut self) -> Result<()> {
        self.client.send(&self.requests).await?;
        self.requests.clear();
        Ok(())
    }

    async fn receive(&mut self, answered: &mut Vec<Answered>) -> Result<()> {
        loop {
            let good = self.client.receive(&mut self.answer).await?.good();
            answered.push(Answered { number: None, good });
            if !self.client.answered()? {
                return Ok(());
            }
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report> {
    let Target { addr, token, pids } = &arguments.target;
    closed_loop::connect_and_run(arguments.sends.size(), pids, async || {
        Ok(Post {
            client: Client::connect(*addr).await?,
            path: format!("/api/channels/{}", arguments.channel),
            token: token.clone(),
            bytes: arguments.sends.bytes,
            requests: Vec::new(),
            answer: Vec::new(),
        })
    })
}
