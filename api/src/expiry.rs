//! What time makes of things: messages and channels whose lifetime is over are deleted by a command like any other, so a
//! replay never depends on when expiry ran.
//!
//! Here is the one place beside the writer that looks at a clock. A clock that jumps ahead would delete everything, so
//! the timer pauses after a jump, with a warning, until the operator confirms that the clock is right.

use std::ops::ControlFlow;
use std::sync::PoisonError;
use std::time::Duration;

use scrollback_log::{Log, Offset, ReadError, SubmitError, Timestamp};
use scrollback_projections::facts::FactError;
use scrollback_projections::{ChannelMessages, Views};

use crate::Node;
use crate::commands::{Answer, Command, ExpiringChannel, MessageRef};
use crate::settings::Lifetimes;

/// How many things one step deletes at most.
pub const STEP_MAX: usize = 256;
/// How far the clock may move from the monotonic clock before expiry pauses.
pub const JUMP_MAX: Duration = Duration::from_secs(60 * 60);
/// How far the clock may stand after the newest record at start before expiry pauses.
pub const ABSENCE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Messages closer than this on average are read in one go, which is cheaper than one by one.
const DENSE_RECORDS_PER_MESSAGE: u64 = 8;

/// Expiry did not end well. What was deleted before stays deleted.
#[derive(Debug, thiserror::Error)]
pub enum ExpiryError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// A record is not a fact, or not the one that the views say it is.
    #[error(transparent)]
    Fact(#[from] FactError),
    /// The writer did not write.
    #[error(transparent)]
    NotWritten(#[from] SubmitError),
}

/// Why expiry pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockJump {
    /// The clock moved otherwise than time passed.
    #[error("the clock moved by {moved:?} while {passed:?} passed")]
    WhileRunning {
        /// By how much it moved, forwards or backwards.
        moved: Duration,
        /// How much time passed.
        passed: Duration,
    },
    /// The clock stands long after the newest record.
    #[error("the clock stands {0:?} after the newest record")]
    SinceLastRecord(Duration),
}

/// Watches the clock for jumps. Once it has seen one, it has seen it until the next start.
#[derive(Debug)]
pub struct ClockWatch {
    last: (Timestamp, Duration),
    jump: Option<ClockJump>,
}

impl ClockWatch {
    /// Begins to watch: `now` is what the clock shows, `passed` what the monotonic clock does, and the newest record is
    /// of `newest`.
    #[must_use]
    pub fn start(now: Timestamp, passed: Duration, newest: Timestamp) -> ClockWatch {
        let absence = distance(now, newest);
        let jump = (now > newest && absence > ABSENCE_MAX).then_some(ClockJump::SinceLastRecord(absence));
        ClockWatch { last: (now, passed), jump }
    }

    /// Compares the clock with the monotonic one. Returns the jump, if there ever was one.
    pub fn look(&mut self, now: Timestamp, passed: Duration) -> Option<ClockJump> {
        let (then, before) = std::mem::replace(&mut self.last, (now, passed));
        let passed = passed.saturating_sub(before);
        if self.jump.is_none() && distance(now, then.after(passed)) > JUMP_MAX {
            self.jump = Some(ClockJump::WhileRunning { moved: distance(now, then), passed });
        }
        self.jump
    }
}

fn distance(one: Timestamp, other: Timestamp) -> Duration {
    Duration::from_micros(one.0.abs_diff(other.0))
}

/// What one run of expiry deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Messages deleted in their own right.
    pub messages: u64,
    /// Channels deleted with all their messages.
    pub channels: u64,
}

/// Deletes what is over at `now`, in steps. `go_on` is asked between two steps.
///
/// # Errors
/// See [`ExpiryError`].
pub fn expire(
    node: &Node,
    lifetimes: &Lifetimes,
    now: Timestamp,
    go_on: &dyn Fn() -> bool,
) -> Result<Expired, ExpiryError> {
    let mut expired = Expired::default();
    // Channels first: a message's expiry would be a record about its channel and make that live on.
    if let Some(lifetime) = lifetimes.channels {
        let over = now.before(lifetime);
        while go_on() {
            let channels: Vec<_> = read(node)
                .channels()
                .iter()
                .filter(|(_, channel)| channel.last_time <= over)
                .map(|(channel, known)| ExpiringChannel { channel, last_offset: known.last_offset })
                .take(STEP_MAX)
                .collect();
            let deleted = submit(node, Vec::new(), channels)?;
            expired.channels += deleted;
            if deleted == 0 {
                break;
            }
        }
    }
    if let Some(lifetime) = lifetimes.messages {
        let over = now.before(lifetime);
        let first_kept = first_after(node, over)?;
        while go_on() {
            let messages = {
                let views = read(node);
                let recorded =
                    views.messages().iter().flat_map(|(_, messages)| messages.recorded_before(first_kept));
                recorded.take(STEP_MAX).collect()
            };
            let deleted = submit(node, message_refs(&node.log, messages)?, Vec::new())?;
            expired.messages += deleted;
            if deleted == 0 {
                break;
            }
        }
    }
    Ok(expired)
}

/// Deletes the messages that were said before `time`, by their own time, in one channel or in all. Returns how many; with
/// `dry_run` how many it would be. `progress` is told how many are done, of how many.
///
/// # Errors
/// See [`ExpiryError`].
pub fn expire_before(
    node: &Node,
    time: Timestamp,
    channel: Option<Offset>,
    dry_run: bool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<u64, ExpiryError> {
    let first_kept = first_after(node, Timestamp(time.0.saturating_sub(1)))?;
    let said_before = |messages: &ChannelMessages| {
        messages.posted().rank(first_kept.0 - 1)
            + messages.by_time().range(..(time, Offset::BEGINNING)).count() as u64
    };
    let all: u64 = {
        let views = read(node);
        in_channels(&views, channel).map(said_before).sum()
    };
    if dry_run {
        return Ok(all);
    }
    let mut done = 0;
    while done < all {
        let messages = {
            let views = read(node);
            let said = in_channels(&views, channel).flat_map(|messages| {
                let posted = messages.posted().iter().map(Offset).take_while(|offset| *offset < first_kept);
                let dated = messages.by_time().range(..(time, Offset::BEGINNING)).map(|(_, offset)| *offset);
                posted.chain(dated)
            });
            said.take(STEP_MAX).collect()
        };
        let deleted = submit(node, message_refs(&node.log, messages)?, Vec::new())?;
        if deleted == 0 {
            break;
        }
        done += deleted;
        progress(done, all);
    }
    Ok(done)
}

fn in_channels(views: &Views, only: Option<Offset>) -> impl Iterator<Item = &ChannelMessages> {
    let wanted = move |channel: Offset| only.is_none_or(|only| only == channel);
    views.messages().iter().filter(move |(channel, _)| wanted(*channel)).map(|(_, messages)| messages)
}

fn read(node: &Node) -> std::sync::RwLockReadGuard<'_, Views> {
    node.views.read().unwrap_or_else(PoisonError::into_inner)
}

/// Hands in what is over. Returns how much of it was deleted.
fn submit(
    node: &Node,
    messages: Vec<MessageRef>,
    channels: Vec<ExpiringChannel>,
) -> Result<u64, ExpiryError> {
    if messages.is_empty() && channels.is_empty() {
        return Ok(0);
    }
    match node.writer.submit_blocking(Command::Expire { messages, channels })? {
        Answer::Done { records, .. } => Ok(records),
        Answer::Before(_) | Answer::Refused(_) => Ok(0),
    }
}

/// The first record stamped later than `time`, or the one after the head.
fn first_after(node: &Node, time: Timestamp) -> Result<Offset, ReadError> {
    let later = Timestamp(time.0.saturating_add(1));
    // The published head, not that of the views, which are a moment ahead of it: what lies between was not looked at.
    let head = node.log.head().offset;
    let near = read(node).times().floor(later);
    let mut first = head.next();
    node.log.scan(near, head, &mut |record| {
        if record.time < later {
            return ControlFlow::Continue(());
        }
        first = record.offset;
        ControlFlow::Break(())
    })?;
    Ok(first)
}

/// What deletions say of these messages, read from their records.
fn message_refs(log: &Log, mut messages: Vec<Offset>) -> Result<Vec<MessageRef>, ExpiryError> {
    messages.sort_unstable();
    let (Some(first), Some(last)) = (messages.first().copied(), messages.last().copied()) else {
        return Ok(Vec::new());
    };
    let mut refs = Vec::with_capacity(messages.len());
    if last.0 - first.0 < DENSE_RECORDS_PER_MESSAGE * messages.len() as u64 {
        scan_refs(log, first, last, &messages, &mut refs)?;
    } else {
        for message in &messages {
            scan_refs(log, *message, *message, &messages, &mut refs)?;
        }
    }
    Ok(refs)
}

fn scan_refs(
    log: &Log,
    from: Offset,
    to: Offset,
    messages: &[Offset],
    refs: &mut Vec<MessageRef>,
) -> Result<(), ExpiryError> {
    let mut error = None;
    log.scan(from, to, &mut |record| {
        if messages.binary_search(&record.offset).is_err() {
            return ControlFlow::Continue(());
        }
        match MessageRef::of(&record) {
            Ok(message) => {
                refs.extend(message);
                ControlFlow::Continue(())
            }
            Err(found) => {
                error = Some(found);
                ControlFlow::Break(())
            }
        }
    })?;
    error.map_or(Ok(()), |error| Err(error.into()))
}

#[cfg(test)]
mod tests;
