//! One request on its way through a handler, and what outlives it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLockReadGuard};
use std::time::Duration;

use bytes::Bytes;
use governor::clock::DefaultClock;
use http::{HeaderMap, Method, StatusCode};
use scrollback_log::{Offset, Timestamp};
use scrollback_projections::Views;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tracing::Span;
use warp::path::FullPath;
use warp::reply::Response;

use super::identity::{Caller, Edges};
use super::in_flight::{Held, Holder, InFlight, Reads};
use super::limits::SignInLimits;
use super::path::Variables;
use super::problem::{Code, Problem};
use super::query::Query;
use super::reply;
use super::setup_token::SetupToken;
use crate::commands::{Answer, Command};
use crate::node::Node;
use crate::streams::{Sources, Streams};
use crate::vault::VaultError;

/// How long a request waits for the state that `at_least` asks for.
pub(super) const BEHIND_AFTER: Duration = Duration::from_secs(5);
/// When a client may ask again for a state that was not reached.
const BEHIND_RETRY: Duration = Duration::from_secs(1);

/// What all requests share.
pub struct Server {
    /// The opened data directory.
    pub(super) node: Arc<Node>,
    pub(super) edges: Edges,
    pub(super) sign_ins: SignInLimits<DefaultClock>,
    pub(super) setup_token: Option<SetupToken>,
    pub(super) streams: Arc<Streams>,
    /// Where streams run, so that requests do not wait for them.
    pub(super) streams_runtime: Handle,
    /// Turns true when the server begins to stop.
    pub(super) stopping: watch::Receiver<bool>,
    heavy_reads: Semaphore,
    reads: Reads,
    pub(super) in_flight: InFlight,
    /// One backup at a time: it reads as fast as it is taken.
    pub(super) backups: Arc<Semaphore>,
    /// Once true, always true: users are never forgotten.
    set_up: AtomicBool,
}

/// One request whose route and sender are known and whose body is read.
pub(super) struct Call {
    pub(super) server: Arc<Server>,
    pub(super) method: Method,
    pub(super) path: FullPath,
    /// Where in the path its variable parts lie.
    pub(super) variables: Variables,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    /// Where the request comes from, as far as that can be believed.
    pub(super) address: IpAddr,
    /// Where the connection comes from.
    pub(super) peer: IpAddr,
    /// Empty when the call takes none.
    pub(super) body: Bytes,
    /// Who sends it; always somebody where the route wants that.
    pub(super) caller: Option<Caller>,
    /// The memory of the body, for as long as the call lives.
    pub(super) _held: Held,
}

impl Server {
    /// The state of a server on `node`. A set-up token is drawn when it listens beyond loopback and nobody has set it
    /// up. Streams will run on the runtime `streams`.
    #[must_use]
    pub fn new(node: Arc<Node>, stopping: watch::Receiver<bool>, streams: Handle) -> Arc<Server> {
        let _entered = streams.enter();
        let settings = Arc::clone(&node.settings);
        let sources = Sources {
            log: Arc::clone(&node.log),
            ring: Arc::clone(&node.ring),
            views: Arc::clone(&node.views),
            revocations: node.vault.revocations(),
            storage_failed: node.writer.failed(),
            shutdown: stopping.clone(),
        };
        let set_up = !views(&node).people().is_empty();
        let open_to_others = !settings.listen.ip().to_canonical().is_loopback();
        Arc::new(Server {
            edges: Edges::new(&settings),
            sign_ins: SignInLimits::new(settings.sign_in_burst, DefaultClock::default()),
            setup_token: (open_to_others && !set_up).then(SetupToken::draw),
            heavy_reads: Semaphore::new(settings.heavy_reads_max.clamp(1, Semaphore::MAX_PERMITS)),
            reads: Reads::default(),
            in_flight: InFlight::new(settings.in_flight_bytes_max, node.memory.clone()),
            backups: Arc::new(Semaphore::new(1)),
            set_up: AtomicBool::new(set_up),
            streams: Streams::start(sources, settings.streams.clone(), settings.drain_timeout),
            streams_runtime: streams.clone(),
            stopping,
            node,
        })
    }

    /// What `POST /api/setup` must bring, for the operator to read at the start; none when it needs nothing.
    #[must_use]
    pub fn setup_token(&self) -> Option<&str> {
        self.setup_token.as_ref().map(SetupToken::show)
    }

    /// Whether there is an owner.
    pub(super) fn is_set_up(&self) -> bool {
        if self.set_up.load(Ordering::Acquire) {
            return true;
        }
        let set_up = !self.views().people().is_empty();
        self.set_up.store(set_up, Ordering::Release);
        set_up
    }

    /// The views, locked for reading. Not to be held while anything waits.
    pub(super) fn views(&self) -> RwLockReadGuard<'_, Views> {
        views(&self.node)
    }

    /// The present time, for the vault and for invitations.
    pub(super) fn now(&self) -> Timestamp {
        self.node.clock.now()
    }

    /// Who sends a request with these headers.
    ///
    /// # Errors
    /// 401 for nobody, and for somebody who is not active.
    pub(super) fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        self.authenticate_token(self.edges.token(headers))
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// 401 for none and nobody's, and for somebody who is not active.
    pub(super) fn authenticate_token(&self, token: Option<&str>) -> Result<Caller, Problem> {
        let unknown = || Problem::new(Code::Unauthenticated, "log in, or send a token that is still good");
        let token = token.ok_or_else(unknown)?;
        let session = self.node.vault.authenticate(token, self.now()).ok_or_else(unknown)?;
        let role = {
            let views = self.views();
            let person = views.people().get(session.user).filter(|person| person.active);
            person.ok_or_else(unknown)?.role
        };
        Ok(Caller { user: session.user, role, session })
    }

    /// Hands a command to the writer loop and waits until its outcome is durable.
    ///
    /// # Errors
    /// When it was refused, or not written, or nobody knows.
    pub(super) async fn submit(&self, command: Command) -> Result<Answer, Problem> {
        match self.node.writer.submit(command).await? {
            Answer::Refused(refusal) => Err(refusal.into()),
            done => Ok(done),
        }
    }

    /// Runs what waits for the disk on a thread that may.
    ///
    /// # Errors
    /// What `work` gives, or that it panicked.
    pub(super) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Server) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let server = Arc::clone(self);
        // The lines that are written there belong to the request too.
        let span = Span::current();
        match tokio::task::spawn_blocking(move || span.in_scope(|| work(&server))).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%error, "a request's blocking part failed");
                Err(Problem::plain(Code::Internal))
            }
        }
    }

    /// Runs what reads many records, a bounded number of them at once; a bounded number of each holder's waits. It takes
    /// at most `bytes` of memory meanwhile.
    ///
    /// # Errors
    /// As for [`Server::blocking`]; [`Code::Busy`] when too many of the holder's wait, or there is no memory for it.
    pub(super) async fn heavy_read<T: Send + 'static>(
        self: &Arc<Self>,
        holder: Holder,
        bytes: usize,
        work: impl FnOnce(&Server) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let _reading = self.reads.begin(holder)?;
        // The semaphore is never closed.
        let _permit = self.heavy_reads.acquire().await.map_err(|_| Problem::plain(Code::Internal))?;
        let _promise = self.node.memory.promise(bytes as u64)?;
        self.blocking(work).await
    }

    /// Waits until everything up to `offset` is published. The views are applied a moment before their head is, so what
    /// was read from them may lie ahead of what the log shows. For threads that may block.
    ///
    /// # Errors
    /// When a write fails meanwhile, so that the head will not come.
    pub(super) fn settle(&self, offset: Offset) -> Result<(), Problem> {
        if self.node.log.head().offset >= offset {
            return Ok(());
        }
        Handle::current().block_on(self.reach(offset))
    }

    /// Waits until everything up to `offset` is published, for as long as a request may wait for a state.
    ///
    /// # Errors
    /// 409 when it is not in time.
    pub(super) async fn reach(&self, offset: Offset) -> Result<(), Problem> {
        let mut head = self.node.log.watch_head();
        match tokio::time::timeout(BEHIND_AFTER, head.wait_for(|head| head.offset >= offset)).await {
            Ok(Ok(_)) => Ok(()),
            _ => {
                Err(Problem::new(Code::Behind, "the log has not reached the offset that `at_least` asks for")
                    .retry_after(BEHIND_RETRY))
            }
        }
    }
}

fn views(node: &Node) -> RwLockReadGuard<'_, Views> {
    node.views.read().unwrap_or_else(PoisonError::into_inner)
}

impl Call {
    /// The variable part of the path, the first if there are two.
    pub(super) fn variable(&self) -> &str {
        self.variable_at(0)
    }

    /// The second variable part of the path.
    pub(super) fn second_variable(&self) -> &str {
        self.variable_at(1)
    }

    fn variable_at(&self, place: usize) -> &str {
        let range = self.variables.get(place).cloned().unwrap_or_default();
        self.path.as_str().get(range).unwrap_or("")
    }

    /// Who holds the memory that this costs.
    pub(super) fn holder(&self) -> Holder {
        Holder::of(self.caller.as_ref(), self.address)
    }

    /// Who sends it.
    ///
    /// # Errors
    /// 401 when nobody is known; on a route that wants somebody the routing has seen to that.
    pub(super) fn caller(&self) -> Result<&Caller, Problem> {
        self.caller.as_ref().ok_or_else(|| Problem::plain(Code::Unauthenticated))
    }
}

impl Server {
    /// 200 with the JSON that such a read gives.
    ///
    /// # Errors
    /// As for [`Server::heavy_read`] and [`Server::large_answer`].
    pub(super) async fn large_read(
        self: &Arc<Self>,
        holder: Holder,
        bytes: usize,
        work: impl FnOnce(&Server) -> Result<Vec<u8>, Problem> + Send + 'static,
    ) -> Result<Response, Problem> {
        let json = self.heavy_read(holder, bytes, work).await?;
        self.large_answer(holder, json)
    }

    /// 200 with JSON that may be large.
    ///
    /// # Errors
    /// [`Code::Busy`] when there is no room for it beside what others have not taken yet.
    pub(super) fn large_answer(&self, holder: Holder, json: Vec<u8>) -> Result<Response, Problem> {
        Ok(reply::json_bytes(StatusCode::OK, self.in_flight.answer(holder, json)?))
    }
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Problem {
        match error {
            VaultError::DiskFull => scrollback_log::SubmitError::DiskFull.into(),
            VaultError::TooManyTokens => Problem::new(Code::TooManyTokens, "revoke a token first"),
            VaultError::PasswordChanged => {
                Problem::new(Code::BadCredentials, "the password was changed meanwhile")
            }
            VaultError::Damaged { .. } | VaultError::BadCarried | VaultError::Store(_) => {
                tracing::error!(%error, "the vault failed");
                scrollback_log::SubmitError::OutcomeUnknown.into()
            }
        }
    }
}
