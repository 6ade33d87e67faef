//! Importing a chat history from a file of JSON lines `{"channel","at","sender","body"}`.
//!
//! The file is read twice. The first pass ([`plan`]) checks every line, so that a bad one means that nothing is imported,
//! and finds out how much of the file the log holds already. The second ([`run`]) hands the rest to the writer in steps of
//! some thousand lines. A step and the note of how far it came are one batch, so they are in the log both or neither: an
//! import that was interrupted anywhere goes on with the first line that is missing, and one that was completed adds
//! nothing.
//!
//! What the log holds already is the longest beginning of the file that consists of whole steps: found by a digest of
//! times and lengths, and confirmed by comparing the texts, as far as they are not gone. A file that has grown since goes
//! on behind what it was.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod line;
mod lines;
mod plan;
mod run;
#[cfg(test)]
mod tests;

use std::io;

use scrollback_log::{ReadError, SubmitError};
use scrollback_projections::facts::FactError;

use crate::commands::Refusal;

pub use line::SENDER_BYTES_MAX;
pub use lines::{LINE_BYTES_MAX, OpenFile};
pub use plan::{ImportPlan, plan};
pub use run::{Imported, run};

/// How many lines one step has at most.
pub const STEP_LINES_MAX: usize = 4096;
/// A step is closed once its texts have this many bytes.
pub const STEP_BYTES_MAX: usize = 4 << 20;
/// How many bad lines are listed.
pub const LISTED_LINES_MAX: usize = 20;

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportProgress {
    /// This many lines have been checked.
    Checked(u64),
    /// This many of the lines that the log holds already have been compared with it.
    Compared {
        /// Compared so far.
        lines: u64,
        /// To be compared at most.
        of: u64,
    },
    /// This many lines are in the log.
    Imported {
        /// In the log, those of earlier runs included.
        lines: u64,
        /// All of the file.
        of: u64,
    },
}

/// A line that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number in the file, from 1.
    pub number: u64,
    /// What is wrong with it.
    pub what: String,
}

/// An import did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("the import file cannot be read: {0}")]
    File(#[from] io::Error),
    /// There are bad lines. Nothing was imported.
    #[error("{count} of the file's lines cannot be imported; nothing was{}", list(.lines, *.count))]
    BadLines {
        /// The first of them, at most [`LISTED_LINES_MAX`].
        lines: Vec<BadLine>,
        /// How many there are.
        count: u64,
    },
    /// The file is not what it was when the import began. The lines before are in the log; run the import again.
    #[error("the import file has changed while it was read; run the import again")]
    FileChanged,
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// A record is not a fact.
    #[error(transparent)]
    Fact(#[from] FactError),
    /// The writer did not write. The lines before are in the log; run the import again.
    #[error("{0}; run the import again, it goes on where it stopped")]
    NotWritten(#[from] SubmitError),
    /// The writer refused, as when another import runs beside this one.
    #[error("the import was refused: {0}; run it again, it goes on where it stopped")]
    Refused(Refusal),
}

fn list(lines: &[BadLine], count: u64) -> String {
    let mut text: String =
        lines.iter().map(|line| format!("\n  line {}: {}", line.number, line.what)).collect();
    if count > lines.len() as u64 {
        text.push_str(&format!("\n  and {} more", count - lines.len() as u64));
    }
    text
}
