//! What the commands take that work on a data directory, or ask a running server.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use scrollback_log::Timestamp;
use serde_json::Value;

use super::values::{filter, time};

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
    /// A running server's URL, like `http://127.0.0.1:8080` or `https://chat.example`; its token comes from SCROLLBACK_TOKEN
    #[arg(long, env = "SCROLLBACK_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// A bearer token for --server; better given as SCROLLBACK_TOKEN, for a command line can be seen by others
    #[arg(long, env = "SCROLLBACK_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Compare the views of a running server with what its log adds up to
    #[arg(long, requires = "server")]
    pub(crate) live: bool,
    #[command(flatten)]
    pub(crate) from: Server,
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
    /// Begin with this many of the newest events of a server that the filters choose: 1 to 1000
    #[arg(long, value_name = "N", requires = "server", conflicts_with_all = ["after", "since"], value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) last: Option<u16>,
    /// Begin with what a server recorded at this time or later: a date like 2010-01-01 or a time like 2010-01-01T12:00:00Z
    #[arg(long, value_name = "TIME", requires = "server", conflicts_with = "after", value_parser = time)]
    pub(crate) since: Option<Timestamp>,
    /// Only events of a server of which all of these conditions hold, like `[["type","=","message"]]`; of several filters one must hold
    #[arg(long, value_name = "JSON", requires = "server", value_parser = filter)]
    pub(crate) filter: Vec<Value>,
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
