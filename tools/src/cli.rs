//! What can be typed. Every flag can also be given as an environment variable `SCROLLBACK_...`.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand, ValueEnum};
use scrollback_api::{Settings, timestamps};
use scrollback_log::Timestamp;
use scrollback_projections::ViewSettings;

/// A self-hosted chat server whose memory is one log.
#[derive(Debug, Parser)]
#[command(name = "scrollback", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The data directory
    #[arg(
        long,
        global = true,
        env = "SCROLLBACK_DATA",
        default_value = "./scrollback-data",
        value_name = "DIR"
    )]
    pub(crate) data: PathBuf,
    /// Print machine-readable JSON
    #[arg(long, global = true, env = "SCROLLBACK_JSON")]
    pub(crate) json: bool,
    /// How long idempotency keys are remembered, in log time; the same for every command, or the views are rebuilt
    #[arg(long, global = true, env = "SCROLLBACK_KEY_RETENTION", default_value = "30d", value_name = "TIME", value_parser = duration)]
    pub(crate) key_retention: Duration,
    /// What to log on standard error: error, warn, info, debug, trace, or a filter like `warn,scrollback_api=debug`
    #[arg(long, global = true, env = "SCROLLBACK_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
}

impl Common {
    /// The settings that every command runs under.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings { data: self.data.clone(), ..Settings::default() };
        settings.lifetimes.idempotency_keys = self.key_retention;
        settings
    }

    /// What the views depend on beside the log.
    pub(crate) fn view_settings(&self) -> ViewSettings {
        ViewSettings { key_retention: self.key_retention }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Serve(Box<Serve>),
    /// Rebuild the views from the log, or print the state as it was at an offset
    Replay(Replay),
    /// Drop the space of erased texts and re-pack the log, offsets kept
    Compact(Confirm),
    /// Check every record of the log: checksums, order, the chain of hashes
    Verify,
    /// Write a backup of the log and the password hashes, from a data directory or a running server
    Backup(Backup),
    /// Make a backup the log of the data directory, or go on with a log that has lost its tail
    Restore(Restore),
    /// Print every public event as JSON lines
    Export(Export),
    /// Print new events as they come (from a server), or the newest ones (from a data directory)
    Tail(Tail),
    /// Import a chat history of JSON lines {"channel","at","sender","body"}, plain or .gz
    Import(Import),
    /// Expire messages older than a time
    Expire(Expire),
    /// Add, change and list users
    User(User),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The address to serve on; port 0 picks a free one
    #[arg(long, env = "SCROLLBACK_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    listen: SocketAddr,
    /// Serve /metrics here instead of on --listen
    #[arg(long, env = "SCROLLBACK_METRICS_LISTEN", value_name = "ADDR")]
    metrics_listen: Option<SocketAddr>,
    /// The URL under which browsers reach the server
    #[arg(long, env = "SCROLLBACK_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// A peer whose X-Forwarded-For counts (repeatable)
    #[arg(long, env = "SCROLLBACK_TRUSTED_PROXY", value_delimiter = ',', value_name = "IP")]
    trusted_proxy: Vec<IpAddr>,
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
    /// How long an invitation is open
    #[arg(long, env = "SCROLLBACK_INVITATION_LIFE", default_value = "24h", value_name = "TIME", value_parser = duration)]
    invitation_life: Duration,
    /// How many threads serve requests, and as many more streams; half the cores if not given
    #[arg(long, env = "SCROLLBACK_THREADS", value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// The most connections at once
    #[arg(long, env = "SCROLLBACK_CONNECTIONS_MAX", default_value_t = 16_384, value_name = "N")]
    connections_max: usize,
    /// The most connections at once from one address
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
    /// The time between a stream's heartbeats
    #[arg(long, env = "SCROLLBACK_HEARTBEAT", default_value = "15s", value_name = "TIME", value_parser = duration)]
    heartbeat: Duration,
    /// How long a stream's socket may take nothing before it ends as slow
    #[arg(long, env = "SCROLLBACK_WRITE_TIMEOUT", default_value = "10s", value_name = "TIME", value_parser = duration)]
    write_timeout: Duration,
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
    /// How long open requests and streams may take to end at a stop
    #[arg(long, env = "SCROLLBACK_DRAIN_TIMEOUT", default_value = "5s", value_name = "TIME", value_parser = duration)]
    drain_timeout: Duration,
    /// The clock is right although it jumped: let expiry go on
    #[arg(long, env = "SCROLLBACK_CONFIRM_CLOCK")]
    confirm_clock: bool,
}

impl Serve {
    /// What was typed, over the defaults.
    pub(crate) fn settings(self, common: &Common) -> Settings {
        let mut settings = common.settings();
        settings.listen = self.listen;
        settings.metrics_listen = self.metrics_listen;
        settings.threads = self.threads.unwrap_or(settings.threads);
        settings.public_url = self.public_url;
        settings.trusted_proxies = self.trusted_proxy;
        settings.lifetimes.messages = self.message_expiry.0;
        settings.lifetimes.channels = self.channel_expiry.0;
        settings.lifetimes.expiry_every = self.expiry_every;
        settings.lifetimes.session_idle = self.session_idle;
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
        settings.streams.ring_bytes_max = usize::try_from(self.ring_bytes_max.as_u64()).unwrap_or(usize::MAX);
        settings.storage.free_bytes_min = self.free_bytes_min.as_u64();
        settings.storage.cache_bytes = self.cache_bytes.as_u64();
        settings.storage.scrub_records_per_second = self.scrub_rate;
        settings.sign_in_burst = self.sign_in_burst;
        settings.drain_timeout = self.drain_timeout;
        settings
    }
}

/// A duration, or none for `off`.
#[derive(Clone, Copy, Debug)]
struct Lifetime(Option<Duration>);

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Print the state as it was at this offset (less erased texts) instead of rebuilding the views
    #[arg(long, value_name = "OFFSET")]
    pub(crate) to: Option<u64>,
    /// Bring a log of an older format to this program's; the old one is kept
    #[arg(long, conflicts_with = "to")]
    pub(crate) migrate: bool,
    #[command(flatten)]
    pub(crate) confirm: Confirm,
}

#[derive(Debug, Args)]
pub(crate) struct Confirm {
    /// Go on without asking
    #[arg(long)]
    pub(crate) yes: bool,
    /// Say what would be done and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Server {
    /// A running server's URL, like http://127.0.0.1:8080; its token comes from SCROLLBACK_TOKEN
    #[arg(long, env = "SCROLLBACK_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// A bearer token for --server; better given as SCROLLBACK_TOKEN, for a command line can be seen by others
    #[arg(long, env = "SCROLLBACK_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to write, which must not be there; `-` for standard output. Until it is complete it is called FILE.part, and
    /// a second run goes on with that
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) from: Server,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["file", "accept_current"])))]
pub(crate) struct Restore {
    /// The backup; `-` for standard input
    pub(crate) file: Option<PathBuf>,
    /// Go on with the log as it is, after its tail was lost or an older copy was put in its place
    #[arg(long)]
    pub(crate) accept_current: bool,
    #[command(flatten)]
    pub(crate) confirm: Confirm,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) from: Server,
    /// Only what comes after this offset
    #[arg(long, default_value_t = 0, value_name = "OFFSET")]
    pub(crate) after: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    pub(crate) from: Server,
    /// Go on after this offset or resume token; without it, from now (with --server) or the newest --lines events
    #[arg(long, value_name = "OFFSET_OR_TOKEN")]
    pub(crate) after: Option<String>,
    /// How many events of a data directory to print
    #[arg(long, short = 'n', default_value_t = 10, value_name = "N")]
    pub(crate) lines: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file of JSON lines; .gz is unpacked
    pub(crate) file: PathBuf,
    /// Check the file and say what would be imported
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Expire {
    /// Expire the messages said before this time: a date like 2010-01-01 or a time like 2010-01-01T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) before: Timestamp,
    /// Only in this channel
    #[arg(long, value_name = "NAME")]
    pub(crate) channel: Option<String>,
    #[command(flatten)]
    pub(crate) confirm: Confirm,
}

#[derive(Debug, Args)]
pub(crate) struct User {
    #[command(subcommand)]
    pub(crate) command: UserCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user; the password is asked for, or read from standard input when that is no terminal
    Add {
        /// The user's name
        name: String,
        /// The user's role
        #[arg(long, value_enum, default_value_t = RoleName::Member)]
        role: RoleName,
    },
    /// Give a user a new password; their sessions die
    Passwd {
        /// The user's name
        name: String,
    },
    /// Give a user another role
    Role {
        /// The user's name
        name: String,
        /// The new role
        #[arg(value_enum)]
        role: RoleName,
    },
    /// Keep a user from logging in; their sessions die
    Disable {
        /// The user's name
        name: String,
        /// Let them log in again
        #[arg(long)]
        undo: bool,
    },
    /// List the users
    List,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RoleName {
    Member,
    Moderator,
    Owner,
}

impl From<RoleName> for scrollback_projections::facts::Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Member => Self::Member,
            RoleName::Moderator => Self::Moderator,
            RoleName::Owner => Self::Owner,
        }
    }
}

fn duration(typed: &str) -> Result<Duration, String> {
    humantime::parse_duration(typed).map_err(|error| format!("{error} (try 90d, 24h, 10s)"))
}

fn lifetime(typed: &str) -> Result<Lifetime, String> {
    if typed == "off" { Ok(Lifetime(None)) } else { duration(typed).map(|time| Lifetime(Some(time))) }
}

fn time(typed: &str) -> Result<Timestamp, String> {
    timestamps::parse(typed)
        .or_else(|| timestamps::parse(&format!("{typed}T00:00:00Z")))
        .ok_or_else(|| "not a time (try 2010-01-01 or 2010-01-01T12:00:00Z)".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_typed_defaults_are_the_settings_defaults() {
        let cli = Cli::parse_from(["scrollback", "serve"]);
        let Command::Serve(serve) = cli.command else { panic!("serve was typed") };
        assert_eq!(format!("{:?}", serve.settings(&cli.common)), format!("{:?}", Settings::default()));
    }

    #[test]
    fn a_date_is_the_midnight_it_begins_with() {
        assert_eq!(time("2010-01-01").unwrap(), time("2010-01-01T00:00:00Z").unwrap());
        assert!(time("yesterday").is_err());
    }
}
