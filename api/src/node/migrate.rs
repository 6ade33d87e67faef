//! A log of an older format becomes one of this format, offsets kept.
//!
//! The new log is written beside the old one, folded from its first record to its last, and rid of the texts that its
//! deletions name; only then it becomes the current one. The old one is kept as a data directory of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use scrollback_log::data_dir::DataDir;
use scrollback_log::migrate::{OldContents, OldLog};
use scrollback_log::restore::{self, Staged};
use scrollback_log::verify as verification;
use scrollback_log::{Head, LogOptions, Masks, Offset};
use scrollback_projections::{Progress, ViewSettings, Views, checkpoint, format0};

use super::{NodeError, store_and_close};

/// How many records a dry run really migrates, to know how long all of them would take.
const SAMPLE_RECORDS: u64 = 50_000;

/// A part of the work, told while it goes on or before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The old log's records are read and checked.
    Checking(Progress),
    /// They are written as a log of this format.
    Writing(Progress),
    /// That log is folded.
    Folding(Progress),
    /// The texts that were deleted are erased.
    Erasing,
    /// Copies of what belongs to the old log are put where it will be kept.
    Keeping,
    /// The log's own part of the switch.
    Log(restore::Step),
    /// The views are stored.
    Storing,
}

/// What a migration did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// What the old log holds.
    pub old: OldContents,
    /// Where the log ends, before and after.
    pub head: Offset,
    /// How many texts were deleted and still in the old log: they are not in the new one.
    pub erased: u64,
    /// How long it took, or about how long it would take.
    pub took: Duration,
    /// Where the old log is kept; none after a dry run.
    pub kept: Option<PathBuf>,
}

/// Brings the log of `data` to this program's format; none if it has it already. With `dry_run` every record is read, the first
/// ones are migrated to see how long that takes, and nothing is changed.
///
/// # Errors
/// See [`NodeError`]. Until the very end the old log stays the current one.
pub fn migrate(
    data: &Path,
    settings: ViewSettings,
    dry_run: bool,
    progress: &mut dyn FnMut(Step),
) -> Result<Option<Migrated>, NodeError> {
    let begun = Instant::now();
    let dir = DataDir::open_existing(data)?;
    let options = LogOptions::default();
    let Some(old) = OldLog::open(&dir, &options)? else {
        // A newer format, and whatever else is wrong with it, is told as at any start.
        drop(scrollback_log::open(&dir, &options)?);
        return Ok(None);
    };
    let head = old.head()?;
    let contents = old.check(&format0::split, &mut |at| progress(Step::Checking(told(at))))?;
    let checked = begun.elapsed();
    let to = if dry_run { head.min(Offset(SAMPLE_RECORDS)) } else { head };
    let mut staged =
        old.stage(&dir, to, &options, &format0::split, &mut |at| progress(Step::Writing(told(at))))?;
    // Nothing is read from it any more, and its directory is about to move.
    drop(old);
    let prepared = prepare(&mut staged, settings, progress);
    let (views, erased) = match prepared {
        Ok(prepared) if !dry_run => prepared,
        other => {
            let discarded = staged.discard(&dir);
            let (_, erased) = other?;
            discarded?;
            let sampled = begun.elapsed().saturating_sub(checked);
            let took = checked + sampled.mul_f64(head.0 as f64 / to.0.max(1) as f64);
            return Ok(Some(Migrated { old: contents, head, erased, took, kept: None }));
        }
    };
    progress(Step::Keeping);
    let kept = staged.keep_replaced(&dir)?;
    checkpoint::remove(&dir.views())?;
    staged.adopt(&dir, &mut |step| progress(Step::Log(step)))?;
    progress(Step::Storing);
    let Head { offset, .. } = store_and_close(&dir, &options, &views, staged.log, staged.appender)?;
    Ok(Some(Migrated { old: contents, head: offset, erased, took: begun.elapsed(), kept }))
}

/// Folds a log that was written anew and erases what its deletions name. Returns how many texts that were.
fn prepare(
    staged: &mut Staged,
    settings: ViewSettings,
    progress: &mut dyn FnMut(Step),
) -> Result<(Views, u64), NodeError> {
    let views = scrollback_projections::rebuild(&staged.log, settings, &mut |at| {
        progress(Step::Folding(at));
    })?;
    progress(Step::Erasing);
    let erased = staged.log.with_masks(Masks::texts_waiting);
    while staged.appender.erase_step()? {}
    Ok((views, erased))
}

fn told(at: verification::Progress) -> Progress {
    Progress { at: at.at, head: at.head }
}

#[cfg(test)]
mod tests;
