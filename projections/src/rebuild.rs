//! From a log to its views: the checkpoint if there is a usable one, then every record after it.
//!
//! Whoever folds at a start also restores the masks: the texts whose deletion is durable and not yet carried out must be
//! hidden before the first reader comes. They are in the checkpoint for the deletions before it, and met on the way for
//! those after it.

use std::ops::ControlFlow;
use std::path::Path;

use scrollback_log::{Log, Offset, ReadError};

use crate::checkpoint::{self, CheckpointError, Contents, LoadError, RebuildReason, Stored};
use crate::{FoldError, ViewSettings, Views};

/// How many records are folded between two reports of progress.
const PROGRESS_RECORDS: u64 = 16_384;

/// How far a fold has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The newest record that is folded.
    pub at: Offset,
    /// The last one that will be.
    pub head: Offset,
}

/// What the views were built on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointState {
    /// A checkpoint at this offset; only what follows was read from the log.
    Used(Offset),
    /// There was none; the whole log was read.
    Absent,
    /// There was one, and it could not be used; the whole log was read.
    Rebuilt(RebuildReason),
}

/// The views of the whole log.
#[derive(Debug)]
pub struct Opened {
    /// The views, at the log's head.
    pub views: Views,
    /// What they were built on.
    pub from: CheckpointState,
}

/// The views cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenViewsError {
    /// The checkpoint is newer than the log, or its past is not this log's past: the log was lost, rolled back or replaced.
    #[error(
        "the checkpoint stands at record {checkpoint}, but the log {}; a newer log was lost or another one was put in \
         its place. Put the right log back; to go on with this one, run `scrollback replay`, which rebuilds the views \
         from it",
        if .checkpoint > .head { format!("ends at record {head}") } else { "is another one up to there".into() }
    )]
    LostLog {
        /// Where the checkpoint stands.
        checkpoint: Offset,
        /// Where the log ends.
        head: Offset,
    },
    /// A state was asked for that the log has not reached.
    #[error("there is no record {asked}: the log ends at record {head}")]
    BeyondHead {
        /// What was asked for.
        asked: Offset,
        /// Where the log ends.
        head: Offset,
    },
    /// A record cannot be folded.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The operating system does not let us at the checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// The views of the whole log, from the checkpoint in `views_dir` if it can be used. Masks in `log` every text whose
/// deletion is not yet carried out on disk. For a start: nobody may append meanwhile.
///
/// # Errors
/// See [`OpenViewsError`]. A missing or damaged checkpoint, one of another version or of other settings, is no error.
pub fn open_views(
    log: &Log,
    views_dir: &Path,
    settings: ViewSettings,
    progress: &mut dyn FnMut(Progress),
) -> Result<Opened, OpenViewsError> {
    checkpoint::remove_beside(views_dir)?;
    let reason = match load(log, views_dir, settings) {
        Ok(None) => None,
        Ok(Some(Contents { views, waiting })) => {
            let from = CheckpointState::Used(views.at());
            for (deletion, targets) in waiting {
                if deletion.offset > log.erased_through() {
                    log.mask(deletion, targets);
                }
            }
            let views = catch_up(log, views, progress)?;
            return Ok(Opened { views, from });
        }
        Err(LoadFailed::Unusable(reason)) => {
            tracing::warn!(%reason, "the views are rebuilt from the log");
            Some(reason)
        }
        Err(LoadFailed::Refused(error)) => return Err(error),
    };
    let views = rebuild(log, settings, progress)?;
    Ok(Opened { views, from: reason.map_or(CheckpointState::Absent, CheckpointState::Rebuilt) })
}

/// The views of the whole log, from its records alone, whatever checkpoint there is. Masks in `log` every text whose
/// deletion is not yet carried out on disk.
///
/// # Errors
/// [`OpenViewsError::Fold`], [`OpenViewsError::Read`].
pub fn rebuild(
    log: &Log,
    settings: ViewSettings,
    progress: &mut dyn FnMut(Progress),
) -> Result<Views, OpenViewsError> {
    catch_up(log, Views::new(settings), progress)
}

/// The views as they were at `offset`, less the texts erased since. Masks nothing.
///
/// # Errors
/// [`OpenViewsError::BeyondHead`], [`OpenViewsError::Fold`], [`OpenViewsError::Read`].
pub fn rebuild_to(
    log: &Log,
    offset: Offset,
    settings: ViewSettings,
    progress: &mut dyn FnMut(Progress),
) -> Result<Views, OpenViewsError> {
    let head = log.head().offset;
    if offset > head {
        return Err(OpenViewsError::BeyondHead { asked: offset, head });
    }
    let mut views = Views::new(settings);
    fold_to(log, &mut views, offset, false, progress)?;
    Ok(views)
}

/// Takes `views` on to `to`, for whoever folds piece by piece. Masks nothing. Views that stand there or beyond stay as they are.
///
/// # Errors
/// As for [`rebuild_to`]. The views stand at the last record that could be folded.
pub fn fold_on(log: &Log, views: &mut Views, to: Offset) -> Result<(), OpenViewsError> {
    let head = log.head().offset;
    if to > head {
        return Err(OpenViewsError::BeyondHead { asked: to, head });
    }
    if views.at() < to { fold_to(log, views, to, false, &mut |_| {}) } else { Ok(()) }
}

enum LoadFailed {
    Unusable(RebuildReason),
    Refused(OpenViewsError),
}

impl From<LoadError> for LoadFailed {
    fn from(error: LoadError) -> LoadFailed {
        match error {
            LoadError::Unusable(reason) => LoadFailed::Unusable(reason),
            LoadError::Io(error) => LoadFailed::Refused(error.into()),
        }
    }
}

/// Reads the checkpoint, if there is one, once it is clear that it is one of this log. That comes first: a checkpoint
/// of another version or of other settings still tells a lost log.
fn load(log: &Log, views_dir: &Path, settings: ViewSettings) -> Result<Option<Contents>, LoadFailed> {
    let Some(stored) = Stored::open(views_dir)? else { return Ok(None) };
    let (checkpoint, chain) = stored.stand();
    let head = log.head().offset;
    let here = if checkpoint > head {
        None
    } else {
        log.chain_at(checkpoint).map_err(|error| LoadFailed::Refused(error.into()))?
    };
    if here != Some(chain) {
        return Err(LoadFailed::Refused(OpenViewsError::LostLog { checkpoint, head }));
    }
    Ok(Some(stored.read(settings)?))
}

fn catch_up(
    log: &Log,
    mut views: Views,
    progress: &mut dyn FnMut(Progress),
) -> Result<Views, OpenViewsError> {
    fold_to(log, &mut views, log.head().offset, true, progress)?;
    Ok(views)
}

/// Folds the records after `views` up to `to`; with `mask`, masks what their deletions name.
fn fold_to(
    log: &Log,
    views: &mut Views,
    to: Offset,
    mask: bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), OpenViewsError> {
    let erased_through = log.erased_through();
    let mut refused = None;
    log.scan(views.at().next(), to, &mut |record| {
        match views.fold(&record) {
            Ok(gone) => {
                if mask
                    && record.offset > erased_through
                    && let Some(named) = gone.named(&record)
                {
                    log.mask(named.deletion, named.targets);
                }
            }
            Err(error) => {
                refused = Some(error);
                return ControlFlow::Break(());
            }
        }
        if record.offset.0.is_multiple_of(PROGRESS_RECORDS) {
            progress(Progress { at: record.offset, head: to });
        }
        ControlFlow::Continue(())
    })?;
    if let Some(error) = refused {
        return Err(error.into());
    }
    if views.at() < to {
        let what = format!("the log ends before record {to}, its head");
        return Err(ReadError::Damaged { offset: views.at().next(), place: "the log".into(), what }.into());
    }
    progress(Progress { at: views.at(), head: to });
    Ok(())
}
