//! Backups: the log as one stream of bytes that can be cut, gone on with, and read back into a log. docs/format.md draws it.
//!
//! [`BackupWriter`] makes one while the log goes on growing. It ends at one offset, and holds the texts that were there
//! when it came by them, less those whose deletion it holds: so nothing that was deleted before it ended can come back
//! from it. [`BackupReader`] checks every byte of one, and [`crate::restore`] makes a log of it.
//!
//! What is not the log's own but must go with it (password hashes) travels as *attachments*, which mean nothing here.

mod frame;
mod reader;
mod writer;

use std::io;

pub use reader::{BackupReader, Standing, Summary};
pub use writer::{BackupWriter, BeginError};

use crate::Offset;

/// The format of the backups that this program writes and reads.
pub const BACKUP_FORMAT: u32 = 1;
/// The most bytes one attachment may have.
pub const ATTACHMENT_BYTES_MAX: usize = 1 << 20;

/// The most bytes all attachments of a backup may have: the passwords of some two million users.
pub const ATTACHMENTS_BYTES_MAX: usize = 256 << 20;

/// A backup cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It does not begin like one.
    #[error("this is not a backup made by Scrollback, or its beginning is damaged")]
    NotABackup,
    /// A newer program wrote it.
    #[error(
        "the backup has format {found}, newer than this program's {BACKUP_FORMAT}; use the program that wrote it, or a newer one"
    )]
    Newer {
        /// Its format.
        found: u32,
    },
    /// It is not what was written.
    #[error("the backup is damaged at byte {byte}: {what}")]
    Damaged {
        /// Where the frame begins that cannot be read.
        byte: u64,
        /// What is wrong with it.
        what: String,
    },
    /// It ends too early.
    #[error(
        "the backup is incomplete: it was cut after record {after}. `scrollback backup` goes on with a FILE.part"
    )]
    Incomplete {
        /// The last record in it.
        after: Offset,
    },
    /// The operating system refused.
    #[error("the backup cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Frames with any content, for [`crate::fuzzing`].
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing {
    use super::frame::{self, Begin, End};
    use crate::{ChainValue, Offset, Timestamp};

    pub(crate) fn begin(after: Offset, chain: ChainValue, out: &mut Vec<u8>) {
        let begin = Begin { after, chain, erased_through: Offset::BEGINNING, made: Timestamp(1) };
        frame::write_begin(&begin, out);
    }

    pub(crate) fn end(offset: Offset, chain: ChainValue, attachments: u64, out: &mut Vec<u8>) {
        frame::write_end(&End { offset, chain, attachments }, out);
    }

    /// A frame of a kind that there need not be.
    pub(crate) fn frame(kind: u8, payload: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.push(kind);
        out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&out[start..]);
        crc.update(payload);
        out.extend_from_slice(&crc.finalize().to_le_bytes());
        out.extend_from_slice(payload);
    }
}
