//! One file per command.

pub(crate) mod backup;
pub(crate) mod compact;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod expire;
pub(crate) mod export;
pub(crate) mod health;
pub(crate) mod import;
pub(crate) mod replay;
pub(crate) mod restore;
pub(crate) mod serve;
pub(crate) mod tail;
pub(crate) mod user;
pub(crate) mod verify;

use std::sync::Arc;

use scrollback_api::{Node, Settings};
use scrollback_log::clock::SystemClock;

use crate::cli::Common;
use crate::output::Progress;

/// Opens a data directory that must be there, with everything running but HTTP; for the offline commands that write.
fn open_node(common: &Common) -> anyhow::Result<Node> {
    opened(common, |progress| Ok(Node::open_existing(offline(common), Arc::new(SystemClock), progress)?))
}

/// As [`open_node`], for the commands with which a server's life can begin: makes the data directory if it is not there.
fn open_or_create_node(common: &Common) -> anyhow::Result<Node> {
    opened(common, |progress| Ok(Node::open(offline(common), Arc::new(SystemClock), progress)?))
}

/// Nobody streams from a node without HTTP, so no event is encoded.
fn offline(common: &Common) -> Settings {
    let mut settings = common.settings();
    settings.streams.ring_bytes_max = 0;
    settings
}

fn opened(
    common: &Common,
    open: impl FnOnce(&mut dyn FnMut(scrollback_projections::Progress)) -> anyhow::Result<Node>,
) -> anyhow::Result<Node> {
    let mut progress = Progress::start("replaying", common);
    let node = open(&mut |at| progress.fold(at));
    progress.end();
    node
}
