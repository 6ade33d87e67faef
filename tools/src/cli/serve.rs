//! What `serve` takes: every setting of the server.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use scrollback_api::Settings;
use scrollback_api::settings::{PublicUrl, TlsFiles, TrustedProxy};
use scrollback_api::vault::SessionLives;

use super::Common;
use super::values::{Lifetime, duration, lifetime};

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The address to serve on; port 0 picks a free one
    #[arg(long, env = "SCROLLBACK_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    listen: SocketAddr,
    /// Serve /metrics here instead of on --listen, in plain HTTP
    #[arg(long, env = "SCROLLBACK_METRICS_LISTEN", value_name = "ADDR")]
    metrics_listen: Option<SocketAddr>,
    /// Speak HTTPS with this certificate, a chain in PEM, and --tls-key; SIGHUP reads both anew
    #[arg(long, env = "SCROLLBACK_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert, in PEM without a passphrase
    #[arg(long, env = "SCROLLBACK_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// The URL under which browsers reach the server, like `https://chat.example`
    #[arg(long, env = "SCROLLBACK_PUBLIC_URL", value_name = "URL")]
    public_url: Option<PublicUrl>,
    /// A proxy, or a network of them, whose X-Forwarded-For, -Proto and -Host count (repeatable)
    #[arg(long, env = "SCROLLBACK_TRUSTED_PROXY", value_delimiter = ',', value_name = "IP_OR_NETWORK")]
    trusted_proxy: Vec<TrustedProxy>,
    /// When a message expires, counted from its record: a duration like 90d, or off
    #[arg(long, env = "SCROLLBACK_MESSAGE_EXPIRY", default_value = "90d", value_name = "TIME", value_parser = lifetime)]
    message_expiry: Lifetime,
    /// When a channel expires, counted from its newest record: a duration like 90d, or off
    #[arg(long, env = "SCROLLBACK_CHANNEL_EXPIRY", default_value = "90d", value_name = "TIME", value_parser = lifetime)]
    channel_expiry: Lifetime,
    /// How often expiry looks
    #[arg(long, env = "SCROLLBACK_EXPIRY_EVERY", default_value = "1m", value_name = "TIME", value_parser = duration)]
    expiry_every: Duration,
    /// After how long without use a session dies
    #[arg(long, env = "SCROLLBACK_SESSION_IDLE", default_value = "7d", value_name = "TIME", value_parser = duration)]
    session_idle: Duration,
    /// After how long a session dies however much it is used
    #[arg(long, env = "SCROLLBACK_SESSION_LIFE", default_value = "400d", value_name = "TIME", value_parser = duration)]
    session_life: Duration,
    /// How long an invitation is open
    #[arg(long, env = "SCROLLBACK_INVITATION_LIFE", default_value = "24h", value_name = "TIME", value_parser = duration)]
    invitation_life: Duration,
    /// How many threads serve requests, and as many more streams; half the cores if not given
    #[arg(long, env = "SCROLLBACK_THREADS", value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// The most connections at once
    #[arg(long, env = "SCROLLBACK_CONNECTIONS_MAX", default_value_t = 16_384, value_name = "N")]
    connections_max: usize,
    /// The most connections at once from one address, or requests and streams where a trusted proxy brings them
    #[arg(long, env = "SCROLLBACK_CONNECTIONS_PER_ADDRESS_MAX", value_name = "N")]
    connections_per_address_max: Option<usize>,
    /// The most bytes of a request's head
    #[arg(long, env = "SCROLLBACK_HEAD_BYTES_MAX", default_value = "16KiB", value_name = "SIZE")]
    head_bytes_max: ByteSize,
    /// How long a request's head may take
    #[arg(long, env = "SCROLLBACK_HEAD_TIMEOUT", default_value = "10s", value_name = "TIME", value_parser = duration)]
    head_timeout: Duration,
    /// The most bytes of a request's body
    #[arg(long, env = "SCROLLBACK_BODY_BYTES_MAX", default_value = "512KiB", value_name = "SIZE")]
    body_bytes_max: ByteSize,
    /// How long a request's body may take
    #[arg(long, env = "SCROLLBACK_BODY_TIMEOUT", default_value = "30s", value_name = "TIME", value_parser = duration)]
    body_timeout: Duration,
    /// The least bytes a second at which a body must come, looked at every 10 s; 0 for no such limit
    #[arg(long, env = "SCROLLBACK_BODY_RATE_MIN", default_value = "1KiB", value_name = "SIZE")]
    body_rate_min: ByteSize,
    /// How many requests read many records at once: boots, pages, looks back
    #[arg(long, env = "SCROLLBACK_HEAVY_READS_MAX", default_value_t = 8, value_name = "N")]
    heavy_reads_max: usize,
    /// The most bytes of larger bodies and answers in memory at once
    #[arg(long, env = "SCROLLBACK_IN_FLIGHT_BYTES_MAX", default_value = "64MiB", value_name = "SIZE")]
    in_flight_bytes_max: ByteSize,
    /// The most memory the process may have, near which what needs much is refused; what its group of processes may have if
    /// not given
    #[arg(long, env = "SCROLLBACK_MEMORY_BYTES_MAX", value_name = "SIZE")]
    memory_bytes_max: Option<ByteSize>,
    /// The time between a stream's heartbeats
    #[arg(long, env = "SCROLLBACK_HEARTBEAT", default_value = "15s", value_name = "TIME", value_parser = duration)]
    heartbeat: Duration,
    /// How long a socket may take nothing of an answer or a stream before it ends as slow
    #[arg(long, env = "SCROLLBACK_WRITE_TIMEOUT", default_value = "10s", value_name = "TIME", value_parser = duration)]
    write_timeout: Duration,
    /// The least that a stream's client must take a second, over each such time, while there is more for it; 0 for any
    #[arg(long, env = "SCROLLBACK_STREAM_RATE_MIN", default_value = "4KiB", value_name = "SIZE")]
    stream_rate_min: ByteSize,
    /// How long a session over WebSocket is kept that no socket has
    #[arg(long, env = "SCROLLBACK_SESSION_RETENTION", default_value = "5m", value_name = "TIME", value_parser = duration)]
    session_retention: Duration,
    /// The most bytes of encoded frames kept for readers near the head
    #[arg(long, env = "SCROLLBACK_RING_BYTES_MAX", default_value = "16MiB", value_name = "SIZE")]
    ring_bytes_max: ByteSize,
    /// Refuse writes while the disk has less than this free
    #[arg(long, env = "SCROLLBACK_FREE_BYTES_MIN", default_value = "512MiB", value_name = "SIZE")]
    free_bytes_min: ByteSize,
    /// The store's cache
    #[arg(long, env = "SCROLLBACK_CACHE_BYTES", default_value = "32MiB", value_name = "SIZE")]
    cache_bytes: ByteSize,
    /// How many records a second the background scrub checks; 0 for none
    #[arg(long, env = "SCROLLBACK_SCRUB_RATE", default_value_t = 2_000, value_name = "N")]
    scrub_rate: u64,
    /// How many sign-ins an account or an address may try at once, then that many a minute
    #[arg(long, env = "SCROLLBACK_SIGN_IN_BURST", default_value_t = 10, value_name = "N")]
    sign_in_burst: u32,
    /// How many password hashes are computed at once, 19 MiB each; half the cores if not given
    #[arg(long, env = "SCROLLBACK_PASSWORD_HASHERS_MAX", value_name = "N")]
    password_hashers_max: Option<NonZeroUsize>,
    /// How many more wait for that; then log-ins are refused as busy
    #[arg(long, env = "SCROLLBACK_PASSWORD_WAITERS_MAX", default_value_t = 32, value_name = "N")]
    password_waiters_max: usize,
    /// How long open requests and streams may take to end at a stop
    #[arg(long, env = "SCROLLBACK_DRAIN_TIMEOUT", default_value = "5s", value_name = "TIME", value_parser = duration)]
    drain_timeout: Duration,
    /// The clock is right although it jumped: let expiry go on
    #[arg(long, env = "SCROLLBACK_CONFIRM_CLOCK")]
    confirm_clock: bool,
}

impl Serve {
    /// What is wrong with what was typed as a whole. The parser cannot say it: to it, what a settings file says is not there.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => Some("--tls-cert needs --tls-key"),
            (None, Some(_)) => Some("--tls-key needs --tls-cert"),
            _ => None,
        }
    }

    /// What was typed, over the defaults.
    pub(crate) fn settings(self, common: &Common) -> Settings {
        let mut settings = common.settings();
        settings.listen = self.listen;
        settings.metrics_listen = self.metrics_listen;
        settings.threads = self.threads.unwrap_or(settings.threads);
        settings.tls =
            self.tls_cert.zip(self.tls_key).map(|(certificate, key)| TlsFiles { certificate, key });
        settings.public_url = self.public_url;
        settings.trusted_proxies = self.trusted_proxy;
        settings.lifetimes.messages = self.message_expiry.0;
        settings.lifetimes.channels = self.channel_expiry.0;
        settings.lifetimes.expiry_every = self.expiry_every;
        settings.lifetimes.sessions = SessionLives { idle: self.session_idle, whole: self.session_life };
        settings.lifetimes.invitations = self.invitation_life;
        settings.lifetimes.clock_confirmed = self.confirm_clock;
        settings.connections.total_max = self.connections_max;
        settings.connections.per_address_max = self.connections_per_address_max;
        settings.connections.head_bytes_max =
            usize::try_from(self.head_bytes_max.as_u64()).unwrap_or(usize::MAX);
        settings.connections.head_timeout = self.head_timeout;
        settings.connections.body_bytes_max = self.body_bytes_max.as_u64();
        settings.connections.body_timeout = self.body_timeout;
        settings.streams.heartbeat = self.heartbeat;
        settings.streams.write_timeout = self.write_timeout;
        settings.streams.rate_min = self.stream_rate_min.as_u64();
        settings.streams.session_retention = self.session_retention;
        settings.streams.ring_bytes_max = usize::try_from(self.ring_bytes_max.as_u64()).unwrap_or(usize::MAX);
        settings.storage.free_bytes_min = self.free_bytes_min.as_u64();
        settings.storage.cache_bytes = self.cache_bytes.as_u64();
        settings.storage.scrub_records_per_second = self.scrub_rate;
        settings.connections.body_rate_min = self.body_rate_min.as_u64();
        settings.heavy_reads_max = self.heavy_reads_max;
        settings.in_flight_bytes_max =
            usize::try_from(self.in_flight_bytes_max.as_u64()).unwrap_or(usize::MAX);
        settings.memory_bytes_max = self.memory_bytes_max.map(|size| size.as_u64());
        settings.sign_in_burst = self.sign_in_burst;
        settings.password_hashers_max =
            self.password_hashers_max.map_or(settings.password_hashers_max, NonZeroUsize::get);
        settings.password_waiters_max = self.password_waiters_max;
        settings.drain_timeout = self.drain_timeout;
        settings
    }
}
