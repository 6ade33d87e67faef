//! A running server, for the commands that can talk to one.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use scrollback_client::{Client, Ended, Error, Method, RawEvent, Start, TailOptions, Tailed, Transport};
use scrollback_log::ResumePoint;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::cli::Server;

/// How many events one request of an export asks for.
const PAGE_EVENTS: usize = 500;
/// Where a check of the views is begun and looked at.
const VERIFY: &str = "/api/admin/verify";

/// A server and the token it is asked with.
pub(crate) struct Remote {
    url: String,
    client: Client,
    runtime: Runtime,
}

/// Of a server that was lost and may come back, how long it asks to stay away at least.
pub(crate) fn comes_back_after(error: &anyhow::Error) -> Option<Duration> {
    match error.downcast_ref() {
        Some(Error::Away(away)) => Some(away.retry_after.unwrap_or_default()),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Page {
    events: Vec<RawEvent>,
    /// None when the log cannot be gone on with from there.
    next: Option<String>,
    head: u64,
}

/// How a check of a server's views stands; see docs/api.md.
#[derive(Deserialize, Serialize)]
pub(crate) struct Check {
    pub(crate) state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) head: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) differs: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) what: Option<String>,
}

impl Remote {
    /// The server that was typed, if one was.
    ///
    /// # Errors
    /// When the URL cannot be used, or there is no token.
    pub(crate) fn of(typed: &Server) -> anyhow::Result<Option<Remote>> {
        let Some(url) = &typed.server else { return Ok(None) };
        let token = typed
            .token
            .as_deref()
            .context("a server wants a token: set SCROLLBACK_TOKEN (POST /api/tokens gives one)")?;
        let client = Client::new(url, token)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the runtime")?;
        Ok(Some(Remote { url: url.clone(), client, runtime }))
    }

    /// Writes every event after `after` up to the head of now as JSON lines.
    pub(crate) fn export(
        &self,
        after: u64,
        out: &mut dyn Write,
        progress: &mut dyn FnMut(u64, u64),
    ) -> anyhow::Result<()> {
        let mut place = after.to_string();
        let mut end = None;
        loop {
            let path = format!("/api/events/poll?after={place}&limit={PAGE_EVENTS}");
            let page: Page = self.call(Method::GET, &path, None)?;
            let next = page.next.with_context(|| {
                format!("{}: its log ends at {} and does not go on from {place}", self.url, page.head)
            })?;
            for event in &page.events {
                write_event(event, out)?;
            }
            let end = *end.get_or_insert(page.head);
            let at = ResumePoint::parse(&next).map_or(page.head, |point| point.offset.0);
            progress(at, end);
            if at >= end {
                return Ok(());
            }
            place = next;
        }
    }

    /// Writes events as they come, for ever; goes on by itself when the server was away.
    pub(crate) fn tail(&self, start: Start, filters: &[Value], out: &mut dyn Write) -> anyhow::Result<()> {
        // By polls: what has come is printed before more is asked for, so a reader of this program may be as slow as they like.
        let options = TailOptions::default().transport(Transport::Poll);
        let options = filters.iter().cloned().fold(options, TailOptions::filter);
        let mut tail = self.client.tail(start, options);
        loop {
            match self.runtime.block_on(tail.next()) {
                Ok(Tailed::Event(event)) => {
                    write_event(&event, out)?;
                    out.flush().context("writing to standard output")?;
                }
                Ok(Tailed::Away { why, retry_in }) => {
                    tracing::warn!("{}: {why}; next try in {retry_in:.1?}", self.url);
                }
                Ok(_) => {}
                Err(ended @ Ended::Elsewhere(_)) => {
                    let place = match tail.start() {
                        Start::After(place) => place.as_str(),
                        _ => "there",
                    };
                    return Err(ended).with_context(|| format!("{} cannot go on after {place}", self.url));
                }
                Err(ended) => return Err(ended).with_context(|| self.url.clone()),
            }
        }
    }

    /// Lets the server check its views, unless it does already.
    pub(crate) fn start_check(&self) -> anyhow::Result<Check> {
        self.call(Method::POST, VERIFY, Some(&json!({})))
    }

    /// How the newest check stands.
    pub(crate) fn check(&self) -> anyhow::Result<Check> {
        self.call(Method::GET, VERIFY, None)
    }

    /// Writes a server's backup, or the rest of one that was cut after `after`, to `out`. `progress` is told how many bytes
    /// have come. An error after which it [`comes_back_after`] some time leaves what has come in `out`.
    pub(crate) fn backup(
        &self,
        after: ResumePoint,
        out: &mut dyn Write,
        progress: &mut dyn FnMut(u64),
    ) -> anyhow::Result<()> {
        let named = || self.url.clone();
        self.runtime.block_on(async {
            let path = format!("/api/admin/backup?after={after}");
            let mut coming = self.client.download(&path).await.with_context(named)?;
            let mut bytes = 0;
            while let Some(piece) = coming.next().await.with_context(named)? {
                bytes += piece.len() as u64;
                out.write_all(&piece).context("writing the backup")?;
                progress(bytes);
            }
            Ok(())
        })
    }

    fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<T> {
        let answer = self.runtime.block_on(self.client.call(method, path, body));
        answer.with_context(|| self.url.clone())
    }
}

fn write_event(event: &RawEvent, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "{}", event.json()).context("writing to standard output")
}
