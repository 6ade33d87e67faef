//! Reading the messages that a view named from the log.

use std::ops::ControlFlow;

use scrollback_log::{Log, Offset, Record};

use super::problem::Problem;

/// Two wanted records with at most this many others between them are read in one scan: to seek costs about as much as
/// to pass over them.
const PASSED_OVER_MAX: u64 = 128;

/// Shows the records at `offsets`, which ascend, until `visit` breaks. All must lie at or below the published head.
///
/// # Errors
/// When the log is damaged, or what `visit` gives.
pub(super) fn read_each(
    log: &Log,
    offsets: &[Offset],
    visit: &mut dyn FnMut(&Record<'_>) -> Result<ControlFlow<()>, Problem>,
) -> Result<(), Problem> {
    let mut rest = offsets;
    while let (Some(first), near) = (rest.first(), near(rest)) {
        let (run, beyond) = rest.split_at(near);
        let last = run.last().unwrap_or(first);
        let mut wanted = run.iter();
        let mut next = wanted.next();
        let mut outcome = Ok(ControlFlow::Continue(()));
        log.scan(*first, *last, &mut |record| {
            if next != Some(&record.offset) {
                return ControlFlow::Continue(());
            }
            next = wanted.next();
            outcome = visit(&record);
            if matches!(outcome, Ok(ControlFlow::Continue(()))) {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        if outcome?.is_break() {
            return Ok(());
        }
        rest = beyond;
    }
    Ok(())
}

/// How many of `offsets` can be read in one scan.
fn near(offsets: &[Offset]) -> usize {
    let gap = offsets.windows(2).position(|pair| pair[1].0 - pair[0].0 > PASSED_OVER_MAX);
    gap.map_or(offsets.len(), |last| last + 1)
}
