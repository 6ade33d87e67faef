//! What the operator's commands do with a data directory that no server holds.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use scrollback_log::compact::{self as compaction, Compacted, Step};
use scrollback_log::data_dir::DataDir;
use scrollback_log::verify::{self as verification, Report};
use scrollback_log::{Appender, Head, Log, LogOptions, Offset};
use scrollback_projections::{Progress, ViewSettings, Views, checkpoint, open_views};
use serde_json::json;

use super::error::NodeError;
use super::operator::role_name;
use crate::ids::{self, IdKind};
use crate::streams::frame::Encoder;
use crate::timestamps;

/// How many bytes of events are gathered before they are written.
const WRITE_BYTES: usize = 64 << 10;

/// The least number of records that are looked at for the newest events.
const NEWEST_RECORDS_MIN: u64 = 64;

/// A data directory opened for reading, with its views.
struct Opened {
    dir: DataDir,
    log: Arc<Log>,
    appender: Appender,
    views: Views,
}

fn open(data: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Opened, NodeError> {
    let dir = DataDir::open_existing(data)?;
    let (log, appender) = scrollback_log::open(&dir, &LogOptions::default())?;
    let views = open_views(&log, &dir.views(), ViewSettings::default(), progress)?.views;
    Ok(Opened { dir, log, appender, views })
}

/// Checks every record of the log in `data`.
///
/// # Errors
/// See [`NodeError`]; damaged records are no error but part of the report.
pub fn verify(data: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Report, NodeError> {
    let dir = DataDir::open_existing(data)?;
    let mut told = |step: verification::Progress| progress(Progress { at: step.at, head: step.head });
    Ok(verification::verify(&dir, &LogOptions::default(), &mut told)?)
}

/// Views that were rebuilt from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// Where they stand.
    pub head: Head,
    /// The digest of their canonical form: equal views have equal digests.
    pub digest: [u8; 32],
}

/// Rebuilds the views of `data` from the log alone and stores them as the checkpoint. A missing or damaged witness is put
/// up with: every record is checked first then, and the witness is written anew.
///
/// # Errors
/// See [`NodeError`].
pub fn rebuild(
    data: &Path,
    settings: ViewSettings,
    progress: &mut dyn FnMut(Progress),
) -> Result<Rebuilt, NodeError> {
    let dir = DataDir::open_existing(data)?;
    let mut told = |step: verification::Progress| progress(Progress { at: step.at, head: step.head });
    let (log, _appender) = scrollback_log::open_accepting_witness(&dir, &LogOptions::default(), &mut told)?;
    let views = scrollback_projections::rebuild(&log, settings, progress)?;
    checkpoint::write(&dir.views(), &views, &log)?.commit()?;
    Ok(Rebuilt { head: log.head(), digest: views.digest() })
}

/// Drops the space of erased texts in `data`, so that no byte of them is left, and re-packs the log. Offsets stay.
///
/// # Errors
/// See [`NodeError`].
pub fn compact(
    data: &Path,
    settings: ViewSettings,
    progress: &mut dyn FnMut(Progress),
) -> Result<Compacted, NodeError> {
    let dir = DataDir::open_existing(data)?;
    let (log, appender) = scrollback_log::open(&dir, &LogOptions::default())?;
    let views = open_views(&log, &dir.views(), settings, progress)?.views;
    // The one on disk may name channels that have been deleted since.
    checkpoint::write(&dir.views(), &views, &log)?.commit()?;
    drop(views);
    let mut told = |step| {
        if let Step::Copying(verification::Progress { at, head }) = step {
            progress(Progress { at, head });
        }
    };
    Ok(compaction::compact(&dir, log, appender, &LogOptions::default(), &mut told)?)
}

/// Writes every public event after `after` as one JSON line: the same bytes that a stream shows.
///
/// # Errors
/// See [`NodeError`].
pub fn export(
    data: &Path,
    after: Offset,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), NodeError> {
    let Opened { dir: _dir, log, appender: _appender, views } = open(data, &mut |_| {})?;
    let mut events = Events { out, bytes: Vec::new(), scratch: Vec::new() };
    events.write(&log, &views, after, views.at(), &|_| true, b"", progress)?;
    events.flush()
}

/// Writes the newest `count` public events after `after` as one JSON line each. Reads about as much of the log as that takes.
///
/// # Errors
/// See [`NodeError`].
pub fn export_newest(data: &Path, after: Offset, count: usize, out: &mut dyn Write) -> Result<(), NodeError> {
    let Opened { dir: _dir, log, appender: _appender, views } = open(data, &mut |_| {})?;
    let mut span = 2 * count as u64 + NEWEST_RECORDS_MIN;
    loop {
        let from = Offset(views.at().0.saturating_sub(span)).max(after);
        let mut lines = Vec::new();
        let mut events = Events { out: &mut lines, bytes: Vec::new(), scratch: Vec::new() };
        events.write(&log, &views, from, views.at(), &|_| true, b"", &mut |_| {})?;
        events.flush()?;
        let lines: Vec<&[u8]> = lines.split_inclusive(|byte| *byte == b'\n').collect();
        if lines.len() >= count || from == after {
            return lines[lines.len().saturating_sub(count)..]
                .iter()
                .try_for_each(|line| out.write_all(line))
                .map_err(not_written);
        }
        // Deletions and other things that are no news can fill any stretch of the log.
        span = span.saturating_mul(4);
    }
}

/// Writes the state of `data` as it was at `at` as one JSON object: users, channels, and the live messages as their events,
/// in the order of the log, less what has been erased since.
///
/// # Errors
/// See [`NodeError`].
pub fn write_state(
    data: &Path,
    at: Offset,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), NodeError> {
    // The masks of the deletions up to the head must hold: what was deleted later is gone here too.
    let Opened { dir: _dir, log, appender: _appender, views: now } = open(data, &mut |_| {})?;
    let views = scrollback_projections::rebuild_to(&log, at, now.settings(), progress)?;
    drop(now);
    let state = json!({
        "offset": views.at(),
        "at": timestamps::show(views.time()).to_string(),
        "users": users(&views),
        "channels": channels(&views),
    });
    let text = state.to_string();
    let open = text.strip_suffix('}').unwrap_or(&text);
    write!(out, "{open},\"messages\":[").map_err(not_written)?;
    let mut events = Events { out, bytes: Vec::new(), scratch: Vec::new() };
    let is_live = |offset: Offset| views.messages().iter().any(|(_, messages)| messages.contains(offset));
    events.write(&log, &views, Offset::BEGINNING, at, &is_live, b",", &mut |_| {})?;
    events.flush()?;
    writeln!(out, "]}}").map_err(not_written)
}

fn users(views: &Views) -> Vec<serde_json::Value> {
    let shown = views.people().iter().map(|(user, person)| {
        json!({
            "id": ids::show(IdKind::User, user, views.origins()),
            "name": person.name,
            "role": role_name(person.role),
            "active": person.active,
        })
    });
    shown.collect()
}

fn channels(views: &Views) -> Vec<serde_json::Value> {
    let user = |user| ids::show(IdKind::User, user, views.origins());
    let shown = views.channels().iter().map(|(channel, known)| {
        let mut shown = json!({
            "id": ids::show(IdKind::Channel, channel, views.origins()),
            "name": known.name,
            "at": timestamps::show(known.at).to_string(),
            "private": known.private,
            "creator": known.creator.map(user),
            "last_offset": known.last_offset,
            "messages": views.messages().of(channel).map_or(0, |messages| messages.len()),
        });
        if let Some(members) = views.memberships().members(channel) {
            shown["members"] = members.keys().map(|member| user(*member)).collect();
        }
        shown
    });
    shown.collect()
}

/// Writes events as lines.
struct Events<'a> {
    out: &'a mut dyn Write,
    bytes: Vec<u8>,
    scratch: Vec<u8>,
}

impl Events<'_> {
    /// Writes the wanted events after `after` up to `to`, each but the first after `between`.
    #[allow(clippy::too_many_arguments, reason = "two callers, and no two of these belong together")]
    fn write(
        &mut self,
        log: &Log,
        views: &Views,
        after: Offset,
        to: Offset,
        wanted: &dyn Fn(Offset) -> bool,
        between: &[u8],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), NodeError> {
        let mut outcome = Ok(());
        let mut is_first = true;
        let mut encoder = Encoder::new(views.origins(), views.memberships().private());
        log.scan(after.next(), to, &mut |record| {
            self.scratch.clear();
            let frame = match encoder.encode(&record, &mut self.scratch) {
                Ok(frame) => frame.filter(|_| wanted(record.offset)),
                Err(error) => {
                    outcome = Err(error.into());
                    return ControlFlow::Break(());
                }
            };
            if let Some(frame) = frame {
                if !std::mem::take(&mut is_first) {
                    self.bytes.extend_from_slice(between);
                }
                self.bytes.extend_from_slice(&self.scratch[frame.json(self.scratch.len())]);
                self.bytes.push(b'\n');
            }
            if self.bytes.len() >= WRITE_BYTES {
                outcome = self.flush();
                progress(Progress { at: record.offset, head: to });
            }
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        outcome
    }

    fn flush(&mut self) -> Result<(), NodeError> {
        let written = self.out.write_all(&self.bytes).map_err(not_written);
        self.bytes.clear();
        written
    }
}

fn not_written(source: io::Error) -> NodeError {
    NodeError::Io { what: "writing the output".into(), source }
}

/// How many bytes the files in `data` have.
///
/// # Errors
/// [`NodeError::Io`].
pub fn directory_bytes(data: &Path) -> Result<u64, NodeError> {
    let mut bytes = 0;
    let mut waiting = vec![data.to_owned()];
    while let Some(dir) = waiting.pop() {
        let at = |source| NodeError::Io { what: format!("reading {}", dir.display()), source };
        for entry in std::fs::read_dir(&dir).map_err(at)? {
            let entry = entry.map_err(at)?;
            let about = entry.metadata().map_err(at)?;
            if about.is_dir() {
                waiting.push(entry.path());
            } else {
                bytes += about.len();
            }
        }
    }
    Ok(bytes)
}
