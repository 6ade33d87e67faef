//! A running server, for the commands that can talk to one.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use scrollback_log::ResumePoint;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::cli::Server;

/// How many events one request asks for.
const PAGE_EVENTS: usize = 500;
/// How long one poll waits for something new.
const POLL_WAIT: Duration = Duration::from_secs(30);
/// Beyond the wait, how long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait before a lost server is asked again, at first and at most.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MOST: Duration = Duration::from_secs(8);

/// A server's address and the token it is asked with.
pub(crate) struct Remote {
    authority: String,
    /// For an https URL: what is trusted, and the name that the server must prove to have.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    token: String,
    runtime: Runtime,
}

/// The server was not reached, or the connection broke: worth another try.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unreachable(String);

/// The body of an answer that is coming in, and what drives its connection.
type Answering = (Incoming, JoinHandle<hyper::Result<()>>);

/// Whether a server was lost that may come back.
pub(crate) fn is_worth_another_try(error: &anyhow::Error) -> bool {
    error.is::<Unreachable>()
}

#[derive(Deserialize)]
struct Page {
    resume: String,
    events: Vec<Box<RawValue>>,
    next: String,
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

#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: Option<String>,
}

impl Remote {
    /// The server that was typed, if one was.
    ///
    /// # Errors
    /// When the URL cannot be used, or there is no token.
    pub(crate) fn of(typed: &Server) -> anyhow::Result<Option<Remote>> {
        let Some(url) = &typed.server else { return Ok(None) };
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is not a URL"))?;
        let host = uri.host().with_context(|| format!("{url:?} names no host"))?;
        let (port, tls) = match uri.scheme_str() {
            Some("http") => (80, None),
            Some("https") => {
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
                    .with_context(|| format!("{host:?} is no name that a certificate can have"))?;
                (443, Some((trust()?, name)))
            }
            _ => anyhow::bail!("{url:?}: only http:// and https:// URLs can be used"),
        };
        let token = typed
            .token
            .clone()
            .context("a server wants a token: set SCROLLBACK_TOKEN (POST /api/tokens gives one)")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the runtime")?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(port));
        Ok(Some(Remote { authority, tls, token, runtime }))
    }

    /// Writes every event after `after` up to the head of now as JSON lines.
    pub(crate) fn export(
        &self,
        after: u64,
        out: &mut dyn Write,
        progress: &mut dyn FnMut(u64, u64),
    ) -> anyhow::Result<()> {
        let mut next = after.to_string();
        let mut end = None;
        loop {
            let page = self.poll(&format!("after={next}"), Duration::ZERO)?;
            let end = *end.get_or_insert(page.head);
            write_events(&page, out)?;
            let at = ResumePoint::parse(&page.next).map_or(page.head, |point| point.offset.0);
            progress(at, end);
            if at >= end {
                return Ok(());
            }
            next = page.next;
        }
    }

    /// Writes events as they come, for ever; goes on by itself when the server was away. `start` is the parameter that says
    /// where it begins.
    pub(crate) fn tail(&self, start: String, filters: &[String], out: &mut dyn Write) -> anyhow::Result<()> {
        let filters: String = filters.iter().map(|filter| format!("&filter={}", escaped(filter))).collect();
        let mut next = start;
        let mut retry = RETRY_FIRST;
        loop {
            match self.poll(&format!("{next}{filters}"), POLL_WAIT) {
                Ok(page) => {
                    write_events(&page, out)?;
                    out.flush().context("writing to standard output")?;
                    next = format!("after={}", page.next);
                    retry = RETRY_FIRST;
                }
                Err(error) if is_worth_another_try(&error) => {
                    tracing::warn!("{error:#}; trying again");
                    std::thread::sleep(retry);
                    retry = (retry * 2).min(RETRY_MOST);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Lets the server check its views, unless it does already.
    pub(crate) fn start_check(&self) -> anyhow::Result<Check> {
        self.ask_check(Method::POST)
    }

    /// How the newest check stands.
    pub(crate) fn check(&self) -> anyhow::Result<Check> {
        self.ask_check(Method::GET)
    }

    fn ask_check(&self, method: Method) -> anyhow::Result<Check> {
        let ask = async { tokio::time::timeout(ANSWER_TIMEOUT, self.ask(method, "/api/admin/verify")).await };
        let body = self
            .runtime
            .block_on(ask)
            .map_err(|_| Unreachable(format!("{} does not answer", self.authority)))??;
        serde_json::from_slice(&body).context("the server's answer does not say how a check stands")
    }

    fn poll(&self, query: &str, wait: Duration) -> anyhow::Result<Page> {
        let path = format!("/api/events/poll?{query}&wait={}&limit={PAGE_EVENTS}", wait.as_secs());
        let body = self
            .runtime
            // The timer belongs to the runtime, so it must be made inside.
            .block_on(async { tokio::time::timeout(wait + ANSWER_TIMEOUT, self.get(&path)).await })
            .map_err(|_| Unreachable(format!("{} does not answer", self.authority)))??;
        let page: Page =
            serde_json::from_slice(&body).context("the server's answer is not a page of events")?;
        match page.resume.as_str() {
            "ok" => Ok(page),
            "ahead" => {
                anyhow::bail!("the server's log ends at {} and does not reach {}", page.head, point(query))
            }
            _ => anyhow::bail!(
                "the server's log has another history than the one {} comes from; start again",
                point(query)
            ),
        }
    }

    /// Writes a server's backup, or the rest of one that was cut after `after`, to `out`. `progress` is told how many bytes
    /// have come. An error that [`is_worth_another_try`] leaves what has come in `out`.
    pub(crate) fn backup(
        &self,
        after: ResumePoint,
        out: &mut dyn Write,
        progress: &mut dyn FnMut(u64),
    ) -> anyhow::Result<()> {
        self.runtime.block_on(async {
            let (mut body, driver) =
                self.begin(Method::GET, &format!("/api/admin/backup?after={after}")).await?;
            let mut bytes = 0;
            loop {
                let frame = tokio::time::timeout(ANSWER_TIMEOUT, body.frame());
                let frame = frame
                    .await
                    .map_err(|_| Unreachable(format!("{} sends nothing any more", self.authority)))?;
                let Some(frame) = frame else { break };
                let frame = frame.map_err(|error| self.lost(&error))?;
                if let Ok(data) = frame.into_data() {
                    bytes += data.len() as u64;
                    out.write_all(&data).context("writing the backup")?;
                    progress(bytes);
                }
            }
            driver.abort();
            Ok(())
        })
    }

    fn lost(&self, error: &dyn std::fmt::Display) -> Unreachable {
        Unreachable(format!("{}: {error}", self.authority))
    }

    async fn get(&self, path: &str) -> anyhow::Result<Bytes> {
        self.ask(Method::GET, path).await
    }

    /// Sends a request; one that is no `GET` with `{}` as its body.
    async fn ask(&self, method: Method, path: &str) -> anyhow::Result<Bytes> {
        let (body, driver) = self.begin(method, path).await?;
        let body = body.collect().await.map_err(|error| self.lost(&error))?.to_bytes();
        driver.abort();
        Ok(body)
    }

    /// Sends such a request and gives the body of a good answer, and what drives the connection.
    async fn begin(&self, method: Method, path: &str) -> anyhow::Result<Answering> {
        let stream = TcpStream::connect(&self.authority).await.map_err(|error| self.lost(&error))?;
        let Some((connector, name)) = &self.tls else { return self.begin_on(stream, method, path).await };
        match connector.connect(name.clone(), stream).await {
            Ok(stream) => self.begin_on(stream, method, path).await,
            // What the server says of itself is wrong; it will not be right the next time.
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                Err(error).with_context(|| format!("{} does not prove that it is itself", self.authority))
            }
            Err(error) => Err(self.lost(&error).into()),
        }
    }

    async fn begin_on<S>(&self, stream: S, method: Method, path: &str) -> anyhow::Result<Answering>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.lost(&error))?;
        let driver = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(&method)
            .uri(path)
            .header("host", &self.authority)
            .header("authorization", format!("Bearer {}", self.token));
        let mut body = Bytes::new();
        if method != Method::GET {
            request = request.header("content-type", "application/json");
            body = Bytes::from_static(b"{}");
        }
        let request = request.body(Full::new(body)).context("making the request")?;
        let answer = sender.send_request(request).await.map_err(|error| self.lost(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok((answer.into_body(), driver));
        }
        let body = answer.into_body().collect().await.map_err(|error| self.lost(&error))?.to_bytes();
        driver.abort();
        let told = serde_json::from_slice::<Problem>(&body)
            .map(|problem| format!("{} {}", problem.code, problem.detail.unwrap_or_default()))
            .unwrap_or_default();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return Err(self.lost(&format!("{status} {told}")).into());
        }
        anyhow::bail!("{} answers {status} {told}", self.authority)
    }
}

/// Trusts what this machine trusts: its own certificates, or those that `SSL_CERT_FILE` names.
fn trust() -> anyhow::Result<TlsConnector> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(found.certs);
    anyhow::ensure!(
        good > 0,
        "this machine trusts no certificate: install ca-certificates, or name a file of them in SSL_CERT_FILE"
    );
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("preparing TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The resume point in a poll's query.
fn point(query: &str) -> &str {
    let start = query.split('&').next().unwrap_or(query);
    start.trim_start_matches("after=")
}

/// Any text as a part of a query.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn write_events(page: &Page, out: &mut dyn Write) -> anyhow::Result<()> {
    for event in &page.events {
        writeln!(out, "{event}").context("writing to standard output")?;
    }
    Ok(())
}
