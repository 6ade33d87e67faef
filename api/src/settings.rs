//! Every limit and period of the server, with its default.

mod edge;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use edge::origin_of;
pub use edge::{BadPublicUrl, BadTrustedProxy, PublicUrl, TlsFiles, TrustedProxy};

use crate::vault::SessionLives;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What can be set. `Settings::default()` is what the documentation calls the defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data directory.
    pub data: PathBuf,
    /// The address to serve on.
    pub listen: SocketAddr,
    /// Where `/metrics` is served instead of on `listen`.
    pub metrics_listen: Option<SocketAddr>,
    /// How many threads serve requests, and how many others serve streams. The writer, the store and slow reads have
    /// threads of their own.
    pub threads: NonZeroUsize,
    /// The certificate with which `listen` speaks HTTPS; without it, it speaks HTTP.
    pub tls: Option<TlsFiles>,
    /// The URL under which browsers reach the server; an `https` one makes cookies `Secure`.
    pub public_url: Option<PublicUrl>,
    /// Peers whose `X-Forwarded-For`, `-Proto` and `-Host` count.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// What time makes of things.
    pub lifetimes: Lifetimes,
    /// What one connection may cost.
    pub connections: ConnectionLimits,
    /// What a stream may cost.
    pub streams: StreamLimits,
    /// What the store may use.
    pub storage: StorageLimits,
    /// How many log-ins, set-ups and accepted invitations one account or one address may try at once; then that many a
    /// minute.
    pub sign_in_burst: u32,
    /// How many password hashes are computed at once; each costs 19 MiB.
    pub password_hashers_max: usize,
    /// How many more wait for that; what comes then is refused as busy.
    pub password_waiters_max: usize,
    /// How many requests read many records of the log at once; each takes up to some 12 MiB meanwhile.
    pub heavy_reads_max: usize,
    /// The most bytes of larger bodies and answers in memory at once.
    pub in_flight_bytes_max: usize,
    /// The most bytes of memory the process may have; none for what its group of processes may. Near it, what needs much is
    /// refused as busy.
    pub memory_bytes_max: Option<u64>,
    /// How long open requests and streams may take to end at a stop.
    pub drain_timeout: Duration,
}

/// What time makes of things.
#[derive(Clone, Debug)]
pub struct Lifetimes {
    /// How long after its record a message expires; none for never.
    pub messages: Option<Duration>,
    /// How long after its newest record a channel expires; none for never.
    pub channels: Option<Duration>,
    /// How often expiry looks.
    pub expiry_every: Duration,
    /// How long idempotency keys are remembered, in log time.
    pub idempotency_keys: Duration,
    /// How long a session lives.
    pub sessions: SessionLives,
    /// How long an invitation is open.
    pub invitations: Duration,
    /// The operator says that the clock is right although it jumped, so that expiry goes on.
    pub clock_confirmed: bool,
}

/// What one connection may cost.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// The most connections at once.
    pub total_max: usize,
    /// The most connections at once from one address, or requests and streams if they come through a trusted proxy; none
    /// for no such limit.
    pub per_address_max: Option<usize>,
    /// The most bytes of a request's head.
    pub head_bytes_max: usize,
    /// How long a request's head may take.
    pub head_timeout: Duration,
    /// The most bytes of a request's body.
    pub body_bytes_max: u64,
    /// How long a request's body may take.
    pub body_timeout: Duration,
    /// The least bytes a second at which a body must come, looked at every ten seconds; 0 for no such limit.
    pub body_rate_min: u64,
}

/// What a stream may cost.
#[derive(Clone, Debug)]
pub struct StreamLimits {
    /// The time between heartbeats.
    pub heartbeat: Duration,
    /// The most bytes of encoded frames kept for readers that are near the head; 0 for none, when nobody streams.
    pub ring_bytes_max: usize,
    /// The most bytes handed to a socket in one write.
    pub write_bytes_max: usize,
    /// The most bytes that the system keeps of what a stream has sent while its client takes nothing.
    pub unsent_bytes_max: usize,
    /// How long a socket may take nothing of what is written to it before its stream ends as slow, or its connection with the
    /// answer that it does not take.
    pub write_timeout: Duration,
    /// The least bytes a second that a stream's client must take over each `write_timeout` while there is more for it, else
    /// the stream ends as slow; 0 for no such limit.
    pub rate_min: u64,
    /// The most bytes of one message from a client over WebSocket.
    pub message_bytes_max: usize,
    /// How often a WebSocket's client is asked whether it is still there.
    pub ping_every: Duration,
    /// How long it may take to answer.
    pub pong_within: Duration,
    /// How long a session is kept that no socket has.
    pub session_retention: Duration,
    /// The least `retry` a stream tells its client.
    pub retry_min: Duration,
    /// The greatest `retry` a stream tells its client.
    pub retry_max: Duration,
    /// The longest a poll may wait.
    pub poll_wait_max: Duration,
    /// How many readers read the log at once when they are behind the ring.
    pub log_readers_max: usize,
    /// How far apart wakes are put when a pass over all streams takes longer than half of it.
    pub coalesce: Duration,
}

impl StreamLimits {
    /// The time between heartbeats as clients are told it: in seconds, and at least one.
    #[must_use]
    pub fn heartbeat_seconds(&self) -> u64 {
        self.heartbeat.as_secs() + u64::from(self.heartbeat.subsec_nanos() > 0)
    }
}

/// What the store may use.
#[derive(Clone, Debug)]
pub struct StorageLimits {
    /// Writes are refused while the data directory's file system has less than this free.
    pub free_bytes_min: u64,
    /// sled's cache.
    pub cache_bytes: u64,
    /// A checkpoint is taken at least every this many records.
    pub checkpoint_every_records: u64,
    /// A checkpoint is taken at least this often while records come.
    pub checkpoint_every: Duration,
    /// How many records a second the background scrub checks; 0 for none.
    pub scrub_records_per_second: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            data: PathBuf::from("./scrollback-data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            metrics_listen: None,
            threads: half_the_cores(),
            tls: None,
            public_url: None,
            trusted_proxies: Vec::new(),
            lifetimes: Lifetimes {
                messages: Some(90 * DAY),
                channels: Some(90 * DAY),
                expiry_every: Duration::from_secs(60),
                idempotency_keys: 30 * DAY,
                sessions: SessionLives { idle: 7 * DAY, whole: 400 * DAY },
                invitations: DAY,
                clock_confirmed: false,
            },
            connections: ConnectionLimits {
                total_max: 16_384,
                per_address_max: None,
                head_bytes_max: 16 << 10,
                head_timeout: Duration::from_secs(10),
                body_bytes_max: 512 << 10,
                body_timeout: Duration::from_secs(30),
                body_rate_min: 1 << 10,
            },
            streams: StreamLimits {
                heartbeat: Duration::from_secs(15),
                ring_bytes_max: 16 << 20,
                write_bytes_max: 64 << 10,
                unsent_bytes_max: 128 << 10,
                write_timeout: Duration::from_secs(10),
                rate_min: 4 << 10,
                message_bytes_max: 512 << 10,
                ping_every: Duration::from_secs(20),
                pong_within: Duration::from_secs(10),
                session_retention: Duration::from_secs(5 * 60),
                retry_min: Duration::from_secs(1),
                retry_max: Duration::from_secs(8),
                poll_wait_max: Duration::from_secs(60),
                log_readers_max: 4,
                coalesce: Duration::from_millis(20),
            },
            storage: StorageLimits {
                free_bytes_min: 512 << 20,
                cache_bytes: 32 << 20,
                checkpoint_every_records: 250_000,
                checkpoint_every: Duration::from_secs(300),
                scrub_records_per_second: 2_000,
            },
            sign_in_burst: 10,
            password_hashers_max: half_the_cores().get(),
            password_waiters_max: 32,
            heavy_reads_max: 8,
            in_flight_bytes_max: 64 << 20,
            memory_bytes_max: None,
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// At least one. More threads mostly wake each other: a request hops between them and the writer, which needs a core too.
fn half_the_cores() -> NonZeroUsize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    NonZeroUsize::new(cores / 2).unwrap_or(NonZeroUsize::MIN)
}
