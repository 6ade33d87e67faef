//! What stands behind the listeners from the first moment on: nobody yet, then the server.
//!
//! A start may have to read the whole log, which takes minutes for a long one. The listeners answer all that time: that the
//! process lives, how far it is, and to everything else that it has to come again. There is no hand-over from one
//! listener or accept loop to another: each request is answered by what is there when it comes, so none is lost, and a
//! connection lives on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Method;
use scrollback_projections::Progress;
use tokio::runtime::Handle;
use tokio::sync::watch;
use warp::reply::Response;

use super::call::Server;
use super::health::{self, Ready, Replay};
use super::identity::Edges;
use super::problem::{Code, Problem};
use super::routes::Serves;
use crate::settings::Settings;

/// When a client may come again whose request came while the server was starting.
const STARTING_RETRY: Duration = Duration::from_secs(2);

/// A server that is there or will be.
pub struct Front {
    pub(super) settings: Arc<Settings>,
    /// Who is believed, also before there is a server.
    pub(super) edges: Edges,
    /// Turns true when the server begins to stop.
    pub(super) stopping: watch::Receiver<bool>,
    /// Where streams run.
    pub(super) streams_runtime: Handle,
    server: OnceLock<Arc<Server>>,
    replayed: AtomicU64,
    replay_to: AtomicU64,
}

impl Front {
    /// Nobody yet. Connections are limited by `settings`, and become streams on the runtime `streams`.
    #[must_use]
    pub fn new(settings: Arc<Settings>, stopping: watch::Receiver<bool>, streams: Handle) -> Arc<Front> {
        Arc::new(Front {
            edges: Edges::new(&settings),
            settings,
            stopping,
            streams_runtime: streams,
            server: OnceLock::new(),
            replayed: AtomicU64::new(0),
            replay_to: AtomicU64::new(0),
        })
    }

    /// A server that is there already.
    #[must_use]
    pub fn of(server: Arc<Server>) -> Arc<Front> {
        let settings = Arc::clone(&server.node.settings);
        let front = Front::new(settings, server.stopping.clone(), server.streams_runtime.clone());
        front.open(server);
        front
    }

    /// Notes how far the start has read the log.
    pub fn replayed(&self, progress: Progress) {
        self.replayed.store(progress.at.0, Ordering::Relaxed);
        self.replay_to.store(progress.head.0, Ordering::Relaxed);
    }

    /// From now on `server` answers. Only the first call does anything.
    pub fn open(&self, server: Arc<Server>) {
        let _ = self.server.set(server);
    }

    pub(super) fn server(&self) -> Option<&Arc<Server>> {
        self.server.get()
    }

    /// The answer to a request that comes before the server is there.
    pub(super) fn starting(&self, serves: Serves, method: &Method, path: &str) -> Result<Response, Problem> {
        let looks = serves == Serves::Calls && (method == Method::GET || method == Method::HEAD);
        match path {
            "/livez" if looks => Ok(health::alive_answer()),
            "/readyz" if looks => {
                let (at, head) =
                    (self.replayed.load(Ordering::Relaxed), self.replay_to.load(Ordering::Relaxed));
                Ok(Ready::starting(Replay { at, head }).answer())
            }
            _ => Err(Problem::new(Code::Starting, "the log is being read; /readyz tells how far it is")
                .retry_after(STARTING_RETRY)),
        }
    }
}
