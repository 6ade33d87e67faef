//! The frames a backup is made of.
//!
//! ```text
//! 0  u8   kind      1 begin, 2 records, 3 attachment, 4 end
//! 1  u32  length    of the payload
//! 5  u32  crc32     of kind, length and payload
//! 9       the payload
//! ```
//! All numbers are little endian.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use super::{BACKUP_FORMAT, BackupError};
use crate::{ChainValue, Offset, Timestamp, codec};

/// What the payload of a backup's first frame begins with.
const MAGIC: &[u8; 18] = b"scrollback backup\n";
const HEADER_BYTES: usize = 9;
/// The longest payload: a chunk of the longest record, and an attachment, fit twice.
const PAYLOAD_BYTES_MAX: usize = 2 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    Begin = 1,
    Records = 2,
    Attachment = 3,
    End = 4,
}

/// What a part of a backup begins with; the first one starts before the first record, each further one where the one before
/// was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begin {
    /// The last record before this part, and the chain's value there.
    pub(super) after: Offset,
    pub(super) chain: ChainValue,
    /// Deletions up to here were carried out on disk before the part was begun.
    pub(super) erased_through: Offset,
    /// When it was begun.
    pub(super) made: Timestamp,
}

/// What a complete backup ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) offset: Offset,
    pub(super) chain: ChainValue,
    /// How many attachments there are.
    pub(super) attachments: u64,
}

/// Appends a frame whose payload is these pieces.
pub(super) fn write(kind: FrameKind, pieces: &[&[u8]], out: &mut Vec<u8>) {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    debug_assert!(length <= PAYLOAD_BYTES_MAX, "callers bound their payloads");
    let mut head = [0; 5];
    head[0] = kind as u8;
    head[1..].copy_from_slice(&(length as u32).to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head);
    pieces.iter().for_each(|piece| crc.update(piece));
    out.extend_from_slice(&head);
    out.extend_from_slice(&crc.finalize().to_le_bytes());
    pieces.iter().for_each(|piece| out.extend_from_slice(piece));
}

/// Appends what a part begins with.
pub(super) fn write_begin(begin: &Begin, out: &mut Vec<u8>) {
    write(FrameKind::Begin, &[MAGIC, &BACKUP_FORMAT.to_le_bytes(), &encode(begin)], out);
}

/// Appends what a complete backup ends with.
pub(super) fn write_end(end: &End, out: &mut Vec<u8>) {
    write(FrameKind::End, &[&encode(end)], out);
}

#[allow(
    clippy::expect_used,
    reason = "a few numbers are always encoded, and are shorter than a record's part"
)]
fn encode<T: Serialize>(fields: &T) -> Vec<u8> {
    codec::encode(fields).expect("numbers can be encoded")
}

/// A frame was not read.
pub(super) enum FrameError {
    /// The bytes end inside it.
    Cut,
    Wrong(String),
    Io(io::Error),
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> FrameError {
        if error.kind() == io::ErrorKind::UnexpectedEof { FrameError::Cut } else { FrameError::Io(error) }
    }
}

/// Reads the next frame's payload into `payload`; none when nothing follows. Returns how long the frame is.
pub(super) fn read(
    from: &mut impl Read,
    payload: &mut Vec<u8>,
) -> Result<Option<(FrameKind, u64)>, FrameError> {
    let mut header = [0; HEADER_BYTES];
    let mut filled = 0;
    while filled < HEADER_BYTES {
        match from.read(&mut header[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(FrameError::Cut),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(FrameError::Io(error)),
        }
    }
    let kind = match header[0] {
        1 => FrameKind::Begin,
        2 => FrameKind::Records,
        3 => FrameKind::Attachment,
        4 => FrameKind::End,
        other => return Err(FrameError::Wrong(format!("{other} is no kind of frame"))),
    };
    let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
    if length > PAYLOAD_BYTES_MAX {
        return Err(FrameError::Wrong(format!("a frame of {length} bytes is impossible")));
    }
    payload.resize(length, 0);
    from.read_exact(payload)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[..5]);
    crc.update(payload);
    if crc.finalize().to_le_bytes() != header[5..] {
        return Err(FrameError::Wrong("the frame's checksum is wrong".into()));
    }
    Ok(Some((kind, (HEADER_BYTES + length) as u64)))
}

/// Reads what a part begins with.
pub(super) fn begin_of(payload: &[u8], byte: u64) -> Result<Begin, BackupError> {
    let (format, fields) =
        payload.strip_prefix(MAGIC).and_then(<[u8]>::split_first_chunk).ok_or(BackupError::NotABackup)?;
    match u32::from_le_bytes(*format) {
        BACKUP_FORMAT => {}
        newer if newer > BACKUP_FORMAT => return Err(BackupError::Newer { found: newer }),
        other => return Err(BackupError::Damaged { byte, what: format!("there is no format {other}") }),
    }
    decode(fields, byte)
}

/// Reads the fields of a frame.
pub(super) fn decode<'a, T: Deserialize<'a>>(fields: &'a [u8], byte: u64) -> Result<T, BackupError> {
    codec::decode(fields)
        .map_err(|_| BackupError::Damaged { byte, what: "the frame's fields are impossible".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a byte every second time it is asked, and is interrupted in between; fails at its end.
    struct Halting<'a>(&'a [u8], bool);

    impl Read for Halting<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            match self.0.split_first() {
                _ if self.1 => Err(io::ErrorKind::Interrupted.into()),
                Some((first, rest)) => {
                    (buffer[0], self.0) = (*first, rest);
                    Ok(1)
                }
                None => Err(io::ErrorKind::ConnectionReset.into()),
            }
        }
    }

    #[test]
    fn a_frame_is_read_over_interruptions_and_an_error_is_told() {
        let mut bytes = Vec::new();
        write(FrameKind::Records, &[b"one", b"two"], &mut bytes);
        let mut payload = Vec::new();
        let mut from = Halting(&bytes, false);
        let frame = read(&mut from, &mut payload).ok().flatten().expect("a frame");
        assert!(frame == (FrameKind::Records, bytes.len() as u64) && payload == b"onetwo");
        assert!(matches!(read(&mut from, &mut payload), Err(FrameError::Io(_))));
        let cut = read(&mut &bytes[..4], &mut payload);
        assert!(matches!(cut, Err(FrameError::Cut)), "in its header");
    }

    #[test]
    fn a_newer_format_is_told_from_one_that_never_was() {
        let payload = |format: u32| [&MAGIC[..], &format.to_le_bytes()].concat();
        let newer = BACKUP_FORMAT + 1;
        assert!(matches!(begin_of(&payload(newer), 0), Err(BackupError::Newer { found }) if found == newer));
        assert!(matches!(begin_of(&payload(0), 7), Err(BackupError::Damaged { byte: 7, .. })));
    }
}
