//! The second pass: the lines that are missing, in steps, to the writer.

use std::sync::mpsc::sync_channel;

use super::line::{Digest, LineReader};
use super::lines::{Lines, OpenFile};
use super::plan::ImportPlan;
use super::{ImportError, ImportProgress, STEP_BYTES_MAX, STEP_LINES_MAX};
use crate::Node;
use crate::commands::{Answer, Command, ImportLine, ImportStep};

/// How many steps may be ready while one is written.
const STEPS_WAITING_MAX: usize = 2;

/// What an import did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The lines of the file.
    pub lines: u64,
    /// The lines that this run put into the log.
    pub added: u64,
    /// The lines that were in the log already.
    pub already_there: u64,
    /// The records they became: messages, channels, notes of how far the import came.
    pub records: u64,
}

/// Imports the lines that `plan` found missing. The file is read, parsed and written by a thread each.
///
/// # Errors
/// See [`ImportError`].
pub fn run(
    node: &Node,
    plan: &ImportPlan,
    file: &OpenFile<'_>,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<Imported, ImportError> {
    let mut imported = Imported { lines: plan.lines, added: 0, already_there: plan.lines_done, records: 0 };
    if plan.lines_done == plan.lines {
        return Ok(imported);
    }
    std::thread::scope(|scope| {
        let (sender, steps) = sync_channel(STEPS_WAITING_MAX);
        scope.spawn(move || {
            let mut lines = Lines::start(scope, file);
            if let Err(error) = make_steps(&mut lines, plan, &mut |step| sender.send(Ok(step)).is_ok()) {
                // Nobody wants to know any more if this fails.
                let _ = sender.send(Err(error));
            }
        });
        for step in steps {
            let step = step?;
            let added = step.lines.len() as u64;
            match node.writer.submit_blocking(Command::Import(step))? {
                Answer::Done { records, .. } => imported.records += records,
                Answer::Refused(refusal) => return Err(ImportError::Refused(refusal)),
                Answer::Before(_) => {}
            }
            imported.added += added;
            progress(ImportProgress::Imported { lines: plan.lines_done + imported.added, of: plan.lines });
        }
        Ok(imported)
    })
}

/// Makes steps of the lines that are missing and hands them over, until they are no longer wanted.
fn make_steps(
    lines: &mut Lines,
    plan: &ImportPlan,
    hand_over: &mut dyn FnMut(ImportStep) -> bool,
) -> Result<(), ImportError> {
    let (mut reader, mut digest) = (LineReader::default(), Digest::default());
    let mut step: Vec<ImportLine> = Vec::with_capacity(STEP_LINES_MAX);
    let (mut steps_before, mut step_bytes) = (plan.steps, 0);
    while let Some((text, _)) = lines.next()? {
        let read = reader.read(text).map_err(|_| ImportError::FileChanged)?;
        digest.add(&read);
        if digest.lines <= plan.lines_done {
            continue;
        }
        step_bytes += read.text_bytes();
        step.push(read.into_line());
        let is_last = digest.lines == plan.lines;
        if !is_last && step.len() < STEP_LINES_MAX && step_bytes < STEP_BYTES_MAX {
            continue;
        }
        let (value, count) = (digest.value(), step.len());
        if is_last && value != plan.digest {
            return Err(ImportError::FileChanged);
        }
        let lines = std::mem::replace(&mut step, Vec::with_capacity(STEP_LINES_MAX));
        let lines_before = digest.lines - count as u64;
        if !hand_over(ImportStep { steps_before, lines_before, digest: value, lines }) || is_last {
            return Ok(());
        }
        steps_before += 1;
        step_bytes = 0;
    }
    // The end came before the last line.
    Err(ImportError::FileChanged)
}
