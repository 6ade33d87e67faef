//! `serve`: the server, from opening the data to the last goodbye.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use scrollback_api::http::{self, Front, Server, Tls};
use scrollback_api::{Node, Settings};
use scrollback_log::clock::SystemClock;
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::allocator;
use crate::cli::{Common, Serve};
use crate::exit::Stop;
use crate::notify::Notifier;
use crate::output::Progress;
use crate::watchdog;

/// After a failed write reads go on this long, so that clients can be told, before the process ends.
const READS_AFTER_FAILURE: Duration = Duration::from_secs(3);

/// How long what runs on other threads may take to end after the drain.
const TASKS_END_WITHIN: Duration = Duration::from_secs(1);

/// How serving ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// By a signal, and drained.
    Stopped,
    /// A write failed.
    WriteFailed,
    /// By a second signal.
    Hurried,
}

pub(crate) fn run(common: &Common, typed: Box<Serve>) -> anyhow::Result<()> {
    if let Some(contradiction) = typed.contradiction() {
        return Err(Stop::Usage(contradiction.to_owned()).into());
    }
    allocator::settle();
    let settings = typed.settings(common);
    let threads = settings.threads.get();
    // Before the log is opened: a wrong file or a taken port is told at once, not after a long replay.
    let tls = load_tls(&settings)?;
    let listener = bind(settings.listen)?;
    let figures = settings.metrics_listen.map(bind).transpose()?;
    let progress = Progress::start("replaying", common);
    let notifier = Notifier::default();
    notifier.status("opening the data");
    let requests = runtime("requests", threads)?;
    let streams = runtime("streams", threads)?;
    let (end, node) =
        requests.block_on(serve(settings, progress, listener, tls, figures, streams.handle(), &notifier))?;
    if end != End::Stopped {
        if end == End::WriteFailed {
            tracing::error!("ending because a write failed; start again to see what reached the disk");
        }
        // Dropping the store after a failed write can hang, and a second signal asked for no more waiting.
        std::process::exit(1);
    }
    notifier.status("storing a checkpoint and closing the data");
    requests.shutdown_timeout(TASKS_END_WITHIN);
    streams.shutdown_timeout(TASKS_END_WITHIN);
    match Arc::try_unwrap(node) {
        Ok(node) => node.finish(),
        // A blocking read is still running; the data is closed all the same, only without sled's snapshot.
        Err(node) => node.close(),
    }
    .context("closing the data directory")?;
    tracing::info!("stopped");
    Ok(())
}

fn runtime(name: &str, threads: usize) -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_name(name)
        .worker_threads(threads)
        .enable_all()
        .build()
        .with_context(|| format!("starting the threads for {name}"))
}

fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    listener.set_nonblocking(true).with_context(|| format!("cannot listen on {address}"))?;
    Ok(listener)
}

/// Opens the data while the listeners answer that the server is starting.
async fn open(
    settings: Settings,
    mut progress: Progress,
    front: &Arc<Front>,
    serving: impl Future,
) -> anyhow::Result<Arc<Node>> {
    let told = Arc::clone(front);
    let mut notifier = Notifier::default();
    let opening = tokio::task::spawn_blocking(move || {
        let node = Node::open(settings, Arc::new(SystemClock), &mut |at| {
            told.replayed(at);
            progress.fold(at);
            notifier.replaying(at);
        });
        progress.end();
        node.map(Arc::new).map_err(anyhow::Error::from)
    });
    tokio::select! {
        node = opening => {
            let node = node.context("opening the data directory")??;
            node.start_housekeeping()?;
            Ok(node)
        }
        _ = serving => anyhow::bail!("serving ended by itself"),
    }
}

/// The certificate, if there is to be one.
fn load_tls(settings: &Settings) -> anyhow::Result<Option<Arc<Tls>>> {
    let Some(files) = &settings.tls else { return Ok(None) };
    if let Some(url) = settings.public_url.as_ref().filter(|url| !url.is_https()) {
        anyhow::bail!("--public-url {url} says that browsers come by http, but with --tls-cert they cannot");
    }
    Ok(Some(Arc::new(Tls::load(files.clone())?)))
}

async fn serve(
    settings: Settings,
    progress: Progress,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    figures: Option<TcpListener>,
    streams: &Handle,
    notifier: &Notifier,
) -> anyhow::Result<(End, Arc<Node>)> {
    let (stop, stopping) = watch::channel(false);
    let mut hangups = signal(SignalKind::hangup()).context("watching for signals")?;
    let address = listener.local_addr().context("reading the listener's address")?;
    let listener = tokio::net::TcpListener::from_std(listener).context("listening")?;
    let figures =
        figures.map(tokio::net::TcpListener::from_std).transpose().context("listening for /metrics")?;
    let front = Front::new(Arc::new(settings.clone()), stopping.clone(), streams.clone());
    let mut serving = std::pin::pin!(http::serve(Arc::clone(&front), listener, tls.clone(), figures));
    let node = open(settings, progress, &front, &mut serving).await?;
    let mut signals = [signal(SignalKind::terminate()), signal(SignalKind::interrupt())]
        .into_iter()
        .collect::<Result<Vec<Signal>, _>>()
        .context("watching for signals")?;
    let mut failed = node.writer.failed();
    let server = Server::new(Arc::clone(&node), stopping, streams.clone());
    let setup_token = server.setup_token().map(str::to_owned);
    front.open(server);
    let address = format!("{}://{address}", if tls.is_some() { "https" } else { "http" });
    println!("listening on {address}");
    if let Some(token) = setup_token {
        println!("setup token: {token}");
    }
    if node.read_views().people().is_empty() {
        tracing::info!("there are no users yet: POST /api/setup makes the first one, the owner");
    }
    let status = format!("serving on {address}");
    notifier.ready(&status);
    tokio::spawn(watchdog::watch(Arc::clone(&node), streams.clone(), Notifier::default()));
    loop {
        tokio::select! {
            () = any(&mut signals) => break,
            _ = hangups.recv() => {
                notifier.reloading();
                reload(tls.clone()).await;
                notifier.ready(&status);
            }
            _ = failed.wait_for(|failed| *failed) => {
                notifier.stopping("ending because a write failed");
                // New connections are taken too: whoever asks how the server is must be told.
                let _ = tokio::time::timeout(READS_AFTER_FAILURE, &mut serving).await;
                return Ok((End::WriteFailed, node));
            }
            _ = &mut serving => anyhow::bail!("serving ended by itself"),
        }
    }
    notifier.stopping("stopping: open requests are answered, streams are told");
    tracing::info!("stopping: no new requests, streams are told");
    stop.send_replace(true);
    tokio::select! {
        drained = serving => {
            if drained.cut > 0 {
                tracing::warn!(connections = drained.cut, "cut at the end of the drain");
            }
        }
        () = any(&mut signals) => return Ok((End::Hurried, node)),
    }
    let has_failed = *failed.borrow();
    Ok((if has_failed { End::WriteFailed } else { End::Stopped }, node))
}

/// Reads again, on SIGHUP, what can be read again while the server runs: certificate and key, as those who renew them expect.
/// Settings hold until the next start.
async fn reload(tls: Option<Arc<Tls>>) {
    let Some(tls) = tls else {
        tracing::info!("SIGHUP: there is no certificate, and settings are read at a start only");
        return;
    };
    match tokio::task::spawn_blocking(move || tls.reload()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the new certificate is refused, the old one stays"),
        Err(error) => tracing::error!(%error, "the certificate could not be read anew"),
    }
}

/// Waits for any of the signals.
async fn any(signals: &mut [Signal]) {
    let [one, other] = signals else { return std::future::pending().await };
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
