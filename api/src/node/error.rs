//! What can go wrong with a data directory as a whole.

use std::io;

use scrollback_log::backup::BackupError;
use scrollback_log::codec::CodecError;
use scrollback_log::compact::CompactError;
use scrollback_log::data_dir::DataDirError;
use scrollback_log::migrate::MigrateError;
use scrollback_log::restore::RestoreError;
use scrollback_log::synced::SyncedError;
use scrollback_log::{AppendError, Offset, OpenError, ReadError};
use scrollback_projections::facts::FactError;
use scrollback_projections::{CheckpointError, FoldError, OpenViewsError};

use crate::vault::VaultError;

/// A node cannot be opened, or cannot go on. Each message says what happened and, where it can be known, what to do.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The views cannot be had from the log.
    #[error(transparent)]
    Views(#[from] OpenViewsError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A record is damaged.
    #[error("{0}. `scrollback verify` lists all damage; restore a backup with `scrollback restore FILE`")]
    Read(#[from] ReadError),
    /// A record is not a fact that this version knows.
    #[error(transparent)]
    Fact(#[from] FactError),
    /// A record contradicts those before it.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The log did not take a record.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A checkpoint cannot be written or belongs to another log.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A compaction did not come to its end.
    #[error(transparent)]
    Compact(#[from] CompactError),
    /// A backup cannot be written or read.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// A log could not be made from a backup.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A log of an older format could not be brought to this one.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// There is no room to begin a log.
    #[error(
        "the disk has less free space than the mark of {free_bytes_min} bytes; free some, or lower the mark"
    )]
    DiskFull {
        /// The mark.
        free_bytes_min: u64,
    },
    /// A write failed earlier: what reached the disk is known after the next start.
    #[error("a write to the log has failed; start again to see what reached the disk")]
    WriteFailed,
    /// The operating system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was to be done.
        what: String,
        /// What the operating system said.
        source: io::Error,
    },
}

impl NodeError {
    /// Whether another process works on the data.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        matches!(
            self,
            NodeError::DataDir(DataDirError::InUse { .. })
                | NodeError::Log(OpenError::InUse(_) | OpenError::DataDir(DataDirError::InUse { .. }))
                | NodeError::Restore(RestoreError::Open(
                    OpenError::InUse(_) | OpenError::DataDir(DataDirError::InUse { .. })
                ))
                | NodeError::Migrate(MigrateError::Open(OpenError::InUse(_)))
                | NodeError::Vault(VaultError::Store(SyncedError::InUse { .. }))
        )
    }

    /// Whether something stored is not what was written, or is not all of it.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            NodeError::DataDir(error) | NodeError::Log(OpenError::DataDir(error)) => {
                matches!(error, DataDirError::CurrentMissing { .. } | DataDirError::CurrentDamaged { .. })
            }
            NodeError::Log(error) => is_damaged_log(error),
            NodeError::Views(error) => match error {
                OpenViewsError::LostLog { .. } | OpenViewsError::Fold(_) => true,
                OpenViewsError::Read(error) => is_damaged(error),
                OpenViewsError::BeyondHead { .. } | OpenViewsError::Checkpoint(_) => false,
            },
            NodeError::Fold(_) | NodeError::Fact(_) => true,
            NodeError::Vault(error) => {
                matches!(error, VaultError::Damaged { .. } | VaultError::Store(SyncedError::Damaged { .. }))
            }
            NodeError::Read(error) | NodeError::Checkpoint(CheckpointError::Read(error)) => is_damaged(error),
            NodeError::Append(error) | NodeError::Compact(CompactError::Erase(error)) => {
                matches!(error, AppendError::Damaged(_))
            }
            NodeError::Compact(error) => matches!(error, CompactError::Read(error) if is_damaged(error)),
            NodeError::Backup(error) | NodeError::Restore(RestoreError::Backup(error)) => {
                matches!(error, BackupError::Damaged { .. } | BackupError::Incomplete { .. })
            }
            NodeError::Restore(RestoreError::Open(error)) | NodeError::Migrate(MigrateError::Open(error)) => {
                is_damaged_log(error)
            }
            NodeError::Migrate(error) => matches!(error, MigrateError::Damaged { .. }),
            NodeError::Restore(RestoreError::Write(_))
            | NodeError::Checkpoint(_)
            | NodeError::DiskFull { .. }
            | NodeError::WriteFailed
            | NodeError::Io { .. } => false,
        }
    }

    /// A record that cannot be written.
    pub(crate) fn unencodable(source: CodecError) -> NodeError {
        FactError::Undecodable { offset: Offset::BEGINNING, source }.into()
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> NodeError {
        let what = what.into();
        move |source| NodeError::Io { what, source }
    }
}

fn is_damaged(error: &ReadError) -> bool {
    matches!(error, ReadError::Damaged { .. })
}

fn is_damaged_log(error: &OpenError) -> bool {
    matches!(
        error,
        OpenError::LostTail { .. }
            | OpenError::OtherChain { .. }
            | OpenError::WitnessMissing { .. }
            | OpenError::WitnessDamaged { .. }
            | OpenError::Damaged(_)
            | OpenError::Unreadable { .. }
    )
}
