//! The first pass: is every line good, and how many of them does the log hold already?

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::PoisonError;

use scrollback_log::Record;
use scrollback_projections::facts::{self, Fact, FactError};
use scrollback_projections::{ImportStep, Views};

use super::line::{Digest, LineReader, ReadLine};
use super::lines::{LINE_BYTES_MAX, Lines, OpenFile};
use super::{BadLine, ImportError, ImportProgress, LISTED_LINES_MAX};
use crate::Node;
use crate::commands::ImportLine;

/// How often progress is told, in lines.
const PROGRESS_EVERY_LINES: u64 = 4096;

/// What an import will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportPlan {
    /// The lines of the file; blank ones do not count.
    pub lines: u64,
    /// The lines that the log holds already: the first ones of the file.
    pub lines_done: u64,
    /// The digest of the whole file, to notice when it changes.
    pub(super) digest: [u8; 16],
    /// How many steps of imports the log holds.
    pub(super) steps: usize,
}

/// Checks the whole file and finds what of it the log holds already. Changes nothing.
///
/// # Errors
/// See [`ImportError`].
pub fn plan(
    node: &Node,
    file: &OpenFile<'_>,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<ImportPlan, ImportError> {
    let known: Vec<ImportStep> = {
        let views = node.views.read().unwrap_or_else(PoisonError::into_inner);
        views.imports().iter().copied().collect()
    };
    let (digest, matching) = check(file, &known, progress)?;
    let lines_done = if matching.is_empty() { 0 } else { confirm(node, file, &matching, progress)? };
    Ok(ImportPlan { lines: digest.lines, lines_done, digest: digest.value(), steps: known.len() })
}

/// Reads every line. Returns the digest of all and those of the `known` steps that end where the file's digest is theirs.
fn check(
    file: &OpenFile<'_>,
    known: &[ImportStep],
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<(Digest, Vec<ImportStep>), ImportError> {
    let mut ends: HashMap<u64, Vec<&ImportStep>> = HashMap::new();
    for step in known {
        ends.entry(step.lines).or_default().push(step);
    }
    let (mut reader, mut digest) = (LineReader::default(), Digest::default());
    let (mut bad, mut bad_count) = (Vec::new(), 0);
    let mut matching = Vec::new();
    std::thread::scope(|scope| {
        let mut lines = Lines::start(scope, file);
        while let Some((text, number)) = lines.next()? {
            match read(&mut reader, text) {
                Ok(line) => digest.add(&line),
                Err(what) => {
                    bad_count += 1;
                    if bad.len() < LISTED_LINES_MAX {
                        bad.push(BadLine { number, what });
                    }
                    continue;
                }
            }
            if let Some(steps) = ends.get(&digest.lines) {
                let value = digest.value();
                matching.extend(steps.iter().filter(|step| step.digest == value).map(|step| **step));
            }
            if digest.lines.is_multiple_of(PROGRESS_EVERY_LINES) {
                progress(ImportProgress::Checked(digest.lines));
            }
        }
        Ok::<_, ImportError>(())
    })?;
    if bad_count > 0 {
        return Err(ImportError::BadLines { lines: bad, count: bad_count });
    }
    progress(ImportProgress::Checked(digest.lines));
    Ok((digest, matching))
}

fn read<'a>(reader: &mut LineReader, text: &'a [u8]) -> Result<ReadLine<'a>, String> {
    if text.len() > LINE_BYTES_MAX {
        return Err(format!("a line has at most {LINE_BYTES_MAX} bytes"));
    }
    reader.read(text)
}

/// How many of the file's first lines are those of `steps`, text for text.
fn confirm(
    node: &Node,
    file: &OpenFile<'_>,
    steps: &[ImportStep],
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<u64, ImportError> {
    let of = steps.iter().map(|step| step.lines).max().unwrap_or(0);
    let mut reader = LineReader::default();
    let mut waiting: VecDeque<ImportLine> = VecDeque::new();
    let mut done = 0;
    std::thread::scope(|scope| {
        let mut lines = Lines::start(scope, file);
        loop {
            // The longest first; of two files with the same times and lengths, only one has the same texts.
            let mut next: Vec<&ImportStep> = steps.iter().filter(|step| step.lines_before == done).collect();
            next.sort_by_key(|step| std::cmp::Reverse((step.lines, step.offset)));
            let Some(longest) = next.first() else { return Ok(done) };
            while (waiting.len() as u64) < longest.lines - done {
                let Some((text, _)) = lines.next()? else { return Err(ImportError::FileChanged) };
                waiting.push_back(read(&mut reader, text).map_err(|_| ImportError::FileChanged)?.into_line());
            }
            let mut same = None;
            for step in next {
                if holds(node, step, &waiting)? {
                    same = Some(step);
                    break;
                }
            }
            let Some(step) = same else { return Ok(done) };
            waiting.drain(..usize::try_from(step.lines - done).unwrap_or(usize::MAX).min(waiting.len()));
            done = step.lines;
            progress(ImportProgress::Compared { lines: done, of });
        }
    })
}

/// Whether the records of `step` are the first ones of `lines`. A text that is gone may have been any.
fn holds(node: &Node, step: &ImportStep, lines: &VecDeque<ImportLine>) -> Result<bool, ImportError> {
    let last = step.first.plus((step.lines - step.lines_before).saturating_sub(1));
    let mut lines = lines.iter();
    let (mut same, mut error) = (true, None);
    let views = node.views.read().unwrap_or_else(PoisonError::into_inner);
    node.log.scan(step.first, last, &mut |record| {
        match lines.next().map(|line| is_record_of(line, &record, &views)) {
            Some(Ok(true)) => return ControlFlow::Continue(()),
            Some(Err(found)) => error = Some(found),
            Some(Ok(false)) | None => {}
        }
        same = false;
        ControlFlow::Break(())
    })?;
    match error {
        Some(error) => Err(error.into()),
        None => Ok(same),
    }
}

fn is_record_of(line: &ImportLine, record: &Record<'_>, views: &Views) -> Result<bool, FactError> {
    let Fact::MessageImported(kept) = Fact::decode(record)? else { return Ok(false) };
    let text: Option<facts::Imported<'_>> = facts::text(record)?;
    let channel = views.channels().get(kept.channel);
    Ok(kept.at == line.at
        && channel.is_none_or(|channel| channel.folded == line.channel.folded())
        && text.is_none_or(|text| text.sender_name == line.sender_name && text.body == line.body))
}
