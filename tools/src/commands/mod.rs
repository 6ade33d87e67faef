//! One file per command.

pub(crate) mod compact;
pub(crate) mod expire;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod replay;
pub(crate) mod serve;
pub(crate) mod tail;
pub(crate) mod user;
pub(crate) mod verify;

use std::sync::Arc;

use scrollback_api::Node;
use scrollback_log::clock::SystemClock;

use crate::cli::Common;
use crate::output::Progress;

/// Opens a data directory that must be there, with everything running but HTTP; for the offline commands that write.
fn open_node(common: &Common) -> anyhow::Result<Node> {
    let mut progress = Progress::start("replaying", common);
    let node = Node::open_existing(common.settings(), Arc::new(SystemClock), &mut |at| progress.fold(at));
    progress.end();
    Ok(node?)
}
