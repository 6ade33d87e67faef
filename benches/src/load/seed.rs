//! Sets a fresh server up: an owner, a token, a channel and, if wanted, messages in it.

use std::cell::Cell;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tokio::task::LocalSet;

use super::Target;
use crate::client::{Client, Identity, request, string_field};
use crate::report::Report;
use crate::{sockets, text};

/// Connections that fill the channel.
const CONNECTIONS: usize = 64;

/// Requests written at once on each of them.
const BURST: u64 = 16;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// The name of the channel.
    #[arg(long, default_value = "bench")]
    channel: String,
    /// Messages to fill the channel with.
    #[arg(long, default_value_t = 0)]
    messages: u64,
    /// The length of a message's text.
    #[arg(long, default_value_t = 256)]
    bytes: usize,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report> {
    sockets::raise_open_files()?;
    sockets::runtime()?.block_on(LocalSet::new().run_until(seed(arguments)))
}

async fn seed(arguments: &Arguments) -> Result<Report> {
    let addr = arguments.target.addr;
    let mut client = Client::connect(addr).await?;
    let body = r#"{"name":"owner","password":"correct horse battery staple"}"#;
    let setup = client.call(&request("POST", "/api/setup", Identity::Nobody, Some(body))).await;
    let (_, answer) = setup.context("setting up")?;
    let cookie = answer.cookie.context("set-up gave no cookie")?;
    let body = r#"{"label":"bench"}"#;
    let (json, _) =
        client.call(&request("POST", "/api/tokens", Identity::Cookie(&cookie), Some(body))).await?;
    let token = string_field(&json, "token")?;
    let body = format!("{{\"name\":\"{}\"}}", arguments.channel);
    let request = request("POST", "/api/channels", Identity::Bearer(token), Some(&body));
    let (json, _) = client.call(&request).await?;
    let channel = string_field(&json, "id")?;
    fill(arguments, token, channel).await?;
    let mut report = Report::default();
    report.put("ADDR", addr).put("TOKEN", token).put("CHANNEL", channel);
    Ok(report)
}

async fn fill(arguments: &Arguments, token: &str, channel: &str) -> Result<()> {
    let next = Rc::new(Cell::new(0));
    let mut tasks = Vec::new();
    for _ in 0..CONNECTIONS {
        let filler = Filler {
            client: Client::connect(arguments.target.addr).await?,
            path: format!("/api/channels/{channel}"),
            token: token.to_owned(),
            bytes: arguments.bytes,
        };
        tasks.push(tokio::task::spawn_local(filler.fill(Rc::clone(&next), arguments.messages)));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// One of the connections that fill the channel together.
struct Filler {
    client: Client,
    path: String,
    token: String,
    bytes: usize,
}

impl Filler {
    async fn fill(mut self, next: Rc<Cell<u64>>, messages: u64) -> Result<()> {
        let (mut posts, mut body) = (Vec::new(), Vec::new());
        while next.get() < messages {
            let burst = next.get()..messages.min(next.get() + BURST);
            next.set(burst.end);
            posts.clear();
            for number in burst.clone() {
                let body = format!("{{\"body\":\"{}\"}}", text::message("", number, self.bytes));
                posts.extend(request("POST", &self.path, Identity::Bearer(&self.token), Some(&body)));
            }
            self.client.send(&posts).await?;
            for _ in burst {
                let answer = self.client.receive(&mut body).await?;
                ensure!(answer.good(), "status {}: {}", answer.status, String::from_utf8_lossy(&body));
            }
        }
        Ok(())
    }
}
