//! How far imports came: what lets a second run of the same import find its place and add nothing twice.

use std::collections::BTreeMap;
use std::io;

use scrollback_log::Offset;
use serde::{Deserialize, Serialize};

use crate::pieces::{PieceError, PieceReader, PieceWriter};

/// One step of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportStep {
    /// The step's own record; the messages lie before it.
    pub offset: Offset,
    /// The lines of the file before this step.
    pub lines_before: u64,
    /// The lines of the file after this step.
    pub lines: u64,
    /// The digest of the file's first `lines` lines.
    pub digest: [u8; 16],
    /// The record of line `lines_before + 1`.
    pub first: Offset,
}

/// The steps of all imports.
#[derive(Clone, Debug, Default)]
pub struct Imports {
    steps: Vec<ImportStep>,
    by_digest: BTreeMap<[u8; 16], usize>,
}

impl Imports {
    /// The newest step that ended with these first lines.
    #[must_use]
    pub fn by_digest(&self, digest: &[u8; 16]) -> Option<&ImportStep> {
        self.steps.get(*self.by_digest.get(digest)?)
    }

    /// All steps, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &ImportStep> {
        self.steps.iter()
    }

    /// How many steps there were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether nothing was ever imported.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(crate) fn push(&mut self, step: ImportStep) {
        self.by_digest.insert(step.digest, self.steps.len());
        self.steps.push(step);
    }

    pub(crate) fn write(&self, out: &mut PieceWriter<'_>) -> io::Result<()> {
        out.list(self.steps.iter())
    }

    pub(crate) fn read(from: &mut PieceReader<'_>) -> Result<Imports, PieceError> {
        let mut imports = Imports::default();
        from.list(|step| imports.push(step))?;
        Ok(imports)
    }
}
