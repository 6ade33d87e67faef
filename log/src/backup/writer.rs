//! Making a backup of a log that goes on growing.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::frame::{self, Begin, End, FrameKind};
use super::{ATTACHMENT_BYTES_MAX, ATTACHMENTS_BYTES_MAX, BackupError};
use crate::chain;
use crate::chunk::{ChunkOptions, Encoding, Packer};
use crate::envelope::StoredText;
use crate::verify::Progress;
use crate::{Head, Log, Offset, ReadError, ResumePoint, Timestamp};

/// About how many bytes of chunks one step appends.
const STEP_BYTES: usize = 1 << 20;
/// Chunks of a backup are read in one go, so they are larger than the log's.
const CHUNKS: ChunkOptions =
    ChunkOptions { records_max: 4096, raw_bytes_max: 256 << 10, encoding: Encoding::Lz4 };

/// Makes a backup of a log, step by step, holding nothing of the log between two steps.
///
/// It ends at the head, or somewhat before it: wherever no record in it is one whose text was deleted behind its end.
pub struct BackupWriter {
    log: Arc<Log>,
    /// The last record that was written.
    at: Head,
    /// The record it will end at.
    end: Offset,
    /// The newest deletion of a text that was left out.
    covers: Offset,
    attachments: u64,
    attached: usize,
}

/// A backup cannot be gone on with from there.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The log has not come so far.
    #[error("the log ends at offset {head}, before {after}")]
    Ahead {
        /// Where the backup was cut.
        after: Offset,
        /// The log's head.
        head: Offset,
    },
    /// The log has another past than the backup.
    #[error("the log has another history than the backup: its record at offset {0} is another one")]
    OtherHistory(Offset),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl BackupWriter {
    /// Begins a backup, or goes on with one that was cut after `after`. Appends its first bytes to `out`. `made` is the
    /// present time.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn begin(
        log: Arc<Log>,
        after: ResumePoint,
        made: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<BackupWriter, BeginError> {
        let head = log.head();
        let chain = log.chain_at(after.offset)?;
        let chain = chain.ok_or(BeginError::Ahead { after: after.offset, head: head.offset })?;
        if after.tag.is_some_and(|tag| tag != chain.tag()) {
            return Err(BeginError::OtherHistory(after.offset));
        }
        let erased_through = log.erased_through();
        frame::write_begin(&Begin { after: after.offset, chain, erased_through, made }, out);
        let at = Head { offset: after.offset, time: Timestamp(i64::MIN), chain };
        Ok(BackupWriter { log, at, end: head.offset, covers: Offset::BEGINNING, attachments: 0, attached: 0 })
    }

    /// How far it has come. Its end can still move on.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress { at: self.at.offset, head: self.end }
    }

    /// Appends about a MiB of records to `out`. Returns whether there are more.
    ///
    /// # Errors
    /// [`ReadError`]; the backup cannot be gone on with.
    pub fn step(&mut self, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        let mut packer = Packer::new(CHUNKS);
        let mut broken = None;
        let BackupWriter { log, at, end, covers, .. } = self;
        log.scan_stored(at.offset.next(), *end, &mut |envelope| {
            let chain = chain::chain(&at.chain, envelope.link(), envelope.commitment().as_ref());
            if chain.tag() != envelope.tag {
                broken = Some(envelope.offset);
                return ControlFlow::Break(());
            }
            if let StoredText::Erased { deletion, .. } = envelope.text {
                *covers = deletion.offset.max(*covers);
            }
            packer.push(envelope, chain);
            *at = Head { offset: envelope.offset, time: envelope.time, chain };
            if packer.closed_bytes() >= STEP_BYTES {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        if let Some(offset) = broken {
            let what = "the record does not fit the chain of hashes".into();
            return Err(ReadError::Damaged { offset, place: "the log".into(), what });
        }
        for (first, chunk) in packer.finish() {
            frame::write(FrameKind::Records, &[&first.0.to_le_bytes(), &chunk], out);
        }
        if self.at.offset >= self.end && self.covers > self.end {
            // A text was left out whose deletion came later: the backup must hold the deletion too.
            self.end = self.log.head().offset;
        }
        Ok(self.at.offset < self.end)
    }

    /// Appends something that goes with the log, after the last record.
    ///
    /// # Errors
    /// When it has more than [`ATTACHMENT_BYTES_MAX`] bytes, or all together more than [`ATTACHMENTS_BYTES_MAX`].
    pub fn attach(&mut self, attachment: &[u8], out: &mut Vec<u8>) -> Result<(), BackupError> {
        self.attached += attachment.len();
        if attachment.len() > ATTACHMENT_BYTES_MAX || self.attached > ATTACHMENTS_BYTES_MAX {
            return Err(std::io::Error::other("what goes with the log is too long for a backup").into());
        }
        frame::write(FrameKind::Attachment, &[attachment], out);
        self.attachments += 1;
        Ok(())
    }

    /// Appends the end. Returns the newest record in the backup.
    pub fn finish(self, out: &mut Vec<u8>) -> Head {
        let Head { offset, chain, .. } = self.at;
        frame::write_end(&End { offset, chain, attachments: self.attachments }, out);
        self.at
    }
}
