//! Reading a backup: every byte is checked, and every record's place in the chain.

use std::io::Read;

use super::frame::{self, Begin, End, FrameError, FrameKind};
use super::{ATTACHMENT_BYTES_MAX, ATTACHMENTS_BYTES_MAX, BackupError};
use crate::chain;
use crate::chunk::Header;
use crate::envelope::Envelope;
use crate::{Head, Offset, ResumePoint, Timestamp};

/// Reads a backup.
pub struct BackupReader<R> {
    from: R,
    /// How many bytes of whole, sound frames were read.
    bytes: u64,
    /// How many of them there were after the last whole frame of records, and the last record in it.
    records_end: u64,
    records_head: Head,
    /// The last record that was read. It can lie inside a frame that turns out not to be sound.
    at: Head,
    begun: Option<Begin>,
    /// When the newest part was begun.
    made: Timestamp,
    records: u64,
    attachments: Vec<Vec<u8>>,
    /// How many bytes these have.
    attached: usize,
}

/// How far the records of a backup go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How many bytes they take; what follows is to be thrown away before the rest is appended.
    pub bytes: u64,
    /// Where the rest is to begin.
    pub after: ResumePoint,
}

/// What a complete backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The newest record.
    pub head: Head,
    /// When its last part was begun.
    pub made: Timestamp,
    /// All deletions up to here were carried out on disk before it was begun.
    pub erased_through: Offset,
    /// How many records there are.
    pub records: u64,
    /// What goes with the log.
    pub attachments: Vec<Vec<u8>>,
}

impl<R: Read> BackupReader<R> {
    /// Reads the backup that `from` gives.
    pub fn new(from: R) -> BackupReader<R> {
        BackupReader {
            from,
            bytes: 0,
            records_end: 0,
            records_head: Head::default(),
            at: Head::default(),
            begun: None,
            made: Timestamp::default(),
            records: 0,
            attachments: Vec::new(),
            attached: 0,
        }
    }

    /// Reads to the end, showing each record to `take`, which stops the reading by an error.
    ///
    /// # Errors
    /// See [`BackupError`], and what `take` gives.
    pub fn read<E: From<BackupError>>(
        &mut self,
        take: &mut dyn FnMut(&Envelope<'_>) -> Result<(), E>,
    ) -> Result<Summary, E> {
        let (mut payload, mut unpacked) = (Vec::new(), Vec::new());
        loop {
            let (kind, length) = self.frame(&mut payload)?;
            match (kind, self.begun) {
                (FrameKind::Begin, _) => self.begin(&payload)?,
                (_, None) => return Err(BackupError::NotABackup.into()),
                (FrameKind::Records, _) => self.chunk(&payload, &mut unpacked, take)?,
                (FrameKind::Attachment, _) => self.attach(std::mem::take(&mut payload))?,
                (FrameKind::End, Some(first)) => {
                    let summary = self.end(&payload, first)?;
                    match frame::read(&mut self.from, &mut payload) {
                        Ok(None) => {}
                        Err(FrameError::Io(error)) => return Err(BackupError::from(error).into()),
                        _ => return Err(self.damaged("something follows the end").into()),
                    }
                    return Ok(summary);
                }
            }
            self.bytes += length;
            if matches!(kind, FrameKind::Begin | FrameKind::Records) {
                (self.records_end, self.records_head) = (self.bytes, self.at);
            }
        }
    }

    /// How far the whole frames of records go that were read, all of them sound. Also for a backup that was complete and is to be gone on
    /// with.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let Head { offset, chain, .. } = self.records_head;
        let tag = (offset > Offset::BEGINNING).then(|| chain.tag());
        Standing { bytes: self.records_end, after: ResumePoint { offset, tag } }
    }

    fn frame(&mut self, payload: &mut Vec<u8>) -> Result<(FrameKind, u64), BackupError> {
        match frame::read(&mut self.from, payload) {
            Ok(Some(frame)) => Ok(frame),
            Err(FrameError::Io(error)) => Err(error.into()),
            Err(FrameError::Wrong(_)) if self.begun.is_none() => Err(BackupError::NotABackup),
            Err(FrameError::Wrong(what)) => Err(self.damaged(what)),
            Ok(None) | Err(FrameError::Cut) if self.begun.is_none() => Err(BackupError::NotABackup),
            Ok(None) | Err(FrameError::Cut) => Err(BackupError::Incomplete { after: self.at.offset }),
        }
    }

    fn attach(&mut self, attachment: Vec<u8>) -> Result<(), BackupError> {
        self.attached += attachment.len();
        if attachment.len() > ATTACHMENT_BYTES_MAX || self.attached > ATTACHMENTS_BYTES_MAX {
            return Err(self.damaged("what goes with the log is longer than it may be"));
        }
        self.attachments.push(attachment);
        Ok(())
    }

    fn begin(&mut self, payload: &[u8]) -> Result<(), BackupError> {
        let begin = frame::begin_of(payload, self.bytes)?;
        if (begin.after, begin.chain) != (self.at.offset, self.at.chain) {
            return Err(self.damaged("a part follows that does not go on where the one before was cut"));
        }
        // Those of a part that was cut come again.
        self.attachments.clear();
        self.attached = 0;
        self.made = begin.made;
        self.begun.get_or_insert(begin);
        Ok(())
    }

    fn chunk<E: From<BackupError>>(
        &mut self,
        payload: &[u8],
        unpacked: &mut Vec<u8>,
        take: &mut dyn FnMut(&Envelope<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (first, chunk) =
            payload.split_first_chunk().ok_or_else(|| self.damaged("the frame is too short"))?;
        let first = Offset(u64::from_le_bytes(*first));
        if first != self.at.offset.next() {
            return Err(self.damaged(format!("record {first} follows record {}", self.at.offset)).into());
        }
        let header = Header::decode(chunk).map_err(|error| self.damaged(error.to_string()))?;
        let records = header.records(first, unpacked).map_err(|error| self.damaged(error.to_string()))?;
        for record in records {
            let envelope = record.map_err(|error| self.damaged(error.to_string()))?;
            let chain = chain::chain(&self.at.chain, envelope.link(), envelope.commitment().as_ref());
            let time_went_back = self.at.offset > Offset::BEGINNING && envelope.time < self.at.time;
            if chain.tag() != envelope.tag || time_went_back {
                return Err(self.misfit(envelope.offset).into());
            }
            self.at = Head { offset: envelope.offset, time: envelope.time, chain };
            self.records += 1;
            take(&envelope)?;
        }
        if self.at.chain != header.chain {
            return Err(self.misfit(self.at.offset).into());
        }
        Ok(())
    }

    fn end(&mut self, payload: &[u8], first: Begin) -> Result<Summary, BackupError> {
        let End { offset, chain, attachments } = frame::decode(payload, self.bytes)?;
        let counted = attachments == self.attachments.len() as u64;
        if (offset, chain) != (self.at.offset, self.at.chain) || !counted {
            return Err(self.damaged("its end does not fit what comes before"));
        }
        Ok(Summary {
            head: self.at,
            made: self.made,
            erased_through: first.erased_through,
            records: self.records,
            attachments: std::mem::take(&mut self.attachments),
        })
    }

    fn misfit(&self, offset: Offset) -> BackupError {
        self.damaged(format!("record {offset} does not fit the chain of hashes"))
    }

    fn damaged(&self, what: impl Into<String>) -> BackupError {
        BackupError::Damaged { byte: self.bytes, what: what.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::fuzzing;
    use crate::chunk::{ChunkOptions, Packer};
    use crate::envelope::StoredText;
    use crate::{ChainValue, Kind, Schema, Tag};

    #[test]
    fn a_part_whose_last_chunk_is_sound_only_at_its_beginning_is_gone_on_with_before_that_chunk() {
        let mut bytes = Vec::new();
        fuzzing::begin(Offset::BEGINNING, ChainValue::BEGINNING, &mut bytes);
        let records_begin = bytes.len() as u64;
        let mut packer = Packer::new(ChunkOptions::default());
        let mut record = Envelope {
            offset: Offset::FIRST,
            time: Timestamp(1),
            kind: Kind(1),
            schema: Schema(1),
            tag: Tag(0),
            kept: b"kept",
            text: StoredText::None,
        };
        let chain = chain::chain(&ChainValue::BEGINNING, record.link(), None);
        record.tag = chain.tag();
        packer.push(&record, chain);
        packer.push(&Envelope { offset: Offset(2), tag: Tag(!record.tag.0), ..record }, chain);
        for (first, chunk) in packer.finish() {
            fuzzing::frame(2, &[&first.0.to_le_bytes(), &chunk[..]].concat(), &mut bytes);
        }
        let mut reader = BackupReader::new(&bytes[..]);
        let mut shown = 0;
        let outcome = reader.read::<BackupError>(&mut |_| {
            shown += 1;
            Ok(())
        });
        assert!(matches!(outcome, Err(BackupError::Damaged { .. })));
        assert_eq!(shown, 1);
        let after = ResumePoint { offset: Offset::BEGINNING, tag: None };
        assert_eq!(reader.standing(), Standing { bytes: records_begin, after });
    }
}
