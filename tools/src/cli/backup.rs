//! What `backup` and `restore` take.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::{Confirm, Server};

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to write, which must not be there; `-` for standard output. Until it is complete it is called FILE.part, and
    /// a second run goes on with that
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) from: Server,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["file", "accept_current"])))]
pub(crate) struct Restore {
    /// The backup; `-` for standard input
    pub(crate) file: Option<PathBuf>,
    /// Go on with the log as it is, after its tail was lost or an older copy was put in its place
    #[arg(long)]
    pub(crate) accept_current: bool,
    #[command(flatten)]
    pub(crate) confirm: Confirm,
}
