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
