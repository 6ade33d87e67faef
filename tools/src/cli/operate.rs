//! What the commands take that look at the machine and at this program, not at the data.

use std::net::SocketAddr;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, Subcommand};
use clap_complete::Shell;

use super::Serve;

#[derive(Debug, Args)]
pub(crate) struct ConfigFor {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every setting that `serve` would run under here, and where each comes from: flag, environment, file or default
    Show(Box<ShowConfig>),
}

#[derive(Debug, Args)]
pub(crate) struct ShowConfig {
    /// Print a complete settings file instead: what is set as it is, every default as a comment
    #[arg(long, conflicts_with = "json")]
    pub(crate) toml: bool,
    // The same flags as `serve`, so that what would be typed there can be tried here.
    #[command(flatten)]
    pub(crate) serve: Serve,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// How many times a small append is synced to time the disk
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=10_000))]
    pub(crate) syncs: u32,
    /// Do not run the commit path under strace, even when it is installed
    #[arg(long)]
    pub(crate) no_strace: bool,
    /// The server's mark: it refuses writes while the disk has less than this free
    #[arg(long, env = "SCROLLBACK_FREE_BYTES_MIN", default_value = "512MiB", value_name = "SIZE")]
    pub(crate) free_bytes_min: ByteSize,
    /// The server's limit: the most connections at once
    #[arg(long, env = "SCROLLBACK_CONNECTIONS_MAX", default_value_t = 16_384, value_name = "N")]
    pub(crate) connections_max: usize,
    /// Append to a log in this directory and end: what is watched from outside
    #[arg(long, hide = true, value_name = "DIR")]
    pub(crate) commit_in: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Health {
    /// The address to ask; the one that `serve` listens on, from the same variable and file, if not given
    #[arg(long, env = "SCROLLBACK_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write one page for each command into this directory; without it the main page is printed
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
