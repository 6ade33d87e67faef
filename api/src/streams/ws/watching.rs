//! The watches that a socket reads, next to its sessions.

use std::sync::Arc;

use futures_util::future::select_all;
use tokio::time::Instant;

use super::super::watches::reading::Reading;
use super::super::watches::watch::Role;
use super::super::{Bye, Reader, Streams};
use super::Found;
use crate::http::problem::{Code, Problem};

/// The most watches that one socket reads.
const WATCHES_MAX: usize = 64;

/// A watch that this socket reads.
pub(super) struct Watching {
    pub(super) name: String,
    pub(super) reading: Reading,
    /// Until when what there may be to tell is held back; none if nothing is.
    pub(super) held_until: Option<Instant>,
}

impl Watching {
    /// Begins to read a watch that was found under this name, if it still is what was found.
    pub(super) fn begin(
        streams: &Arc<Streams>,
        reader: &Arc<dyn Reader>,
        name: String,
        found: &Found,
    ) -> Result<Watching, Problem> {
        let (reader, role) = (Arc::clone(reader), Role::StreamOf(found.epoch));
        match Reading::begin(streams, reader, &found.watch, found.place, role) {
            Ok(reading) => Ok(Watching { name, reading, held_until: None }),
            Err(Bye::Replaced) => Err(Problem::plain(Code::WatchReplaced)),
            Err(_) => Err(Problem::plain(Code::UnknownWatch)),
        }
    }
}

/// Whether one more can be read under this name: one that is read already makes room for itself.
pub(super) fn refuse(watching: &[Watching], name: &str) -> Result<(), Problem> {
    if watching.len() >= WATCHES_MAX && watching.iter().all(|watching| watching.name != name) {
        let detail = format!("a socket reads at most {WATCHES_MAX} watches");
        return Err(Problem::new(Code::TooManyWatches, detail));
    }
    Ok(())
}

/// Returns when one of them must look whether it may still be read, or tells what was held back. For ever when there is none.
pub(super) async fn woken(watching: &mut [Watching]) {
    if watching.is_empty() {
        return std::future::pending().await;
    }
    let each = watching.iter_mut().map(|Watching { reading, held_until, .. }| {
        let until = *held_until;
        Box::pin(async move { reading.woken(until).await })
    });
    select_all(each).await;
}
