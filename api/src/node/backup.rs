//! A backup of a node, made while it goes on: the log, and the password hashes that its users need.

use std::sync::{Arc, PoisonError, RwLock};

use scrollback_log::backup::{BackupWriter, BeginError};
use scrollback_log::verify::Progress;
use scrollback_log::{Head, ResumePoint};
use scrollback_projections::Views;
use scrollback_projections::facts::VaultKey;

use super::{Node, NodeError};
use crate::vault::Vault;

/// A backup on its way. It holds nothing of the log between two steps.
pub struct Backup {
    /// None once it is complete.
    writer: Option<BackupWriter>,
    progress: Progress,
    views: Arc<RwLock<Views>>,
    vault: Arc<Vault>,
}

impl Backup {
    /// Begins a backup of `node`, or goes on with one that was cut after `after`. Appends its first bytes to `out`.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn begin(node: &Node, after: ResumePoint, out: &mut Vec<u8>) -> Result<Backup, BeginError> {
        let writer = BackupWriter::begin(Arc::clone(&node.log), after, node.clock.now(), out)?;
        let progress = writer.progress();
        let (views, vault) = (Arc::clone(&node.views), Arc::clone(&node.vault));
        Ok(Backup { writer: Some(writer), progress, views, vault })
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Appends about a MiB of it to `out`. Returns its newest record once it is complete; then there is nothing more to do.
    ///
    /// # Errors
    /// [`NodeError::Read`] when the log cannot be read, [`NodeError::Backup`].
    pub fn step(&mut self, out: &mut Vec<u8>) -> Result<Option<Head>, NodeError> {
        let Some(mut writer) = self.writer.take() else { return Ok(None) };
        let more = writer.step(out)?;
        self.progress = writer.progress();
        if more {
            self.writer = Some(writer);
            return Ok(None);
        }
        for key in self.named() {
            match self.vault.carried(key) {
                Some(credential) => writer.attach(&credential, out)?,
                None => tracing::warn!("a user's password is not in the vault; the backup goes without it"),
            }
        }
        Ok(Some(writer.finish(out)))
    }

    /// The credentials of the users whom the backup holds.
    fn named(&self) -> Vec<VaultKey> {
        let views = self.views.read().unwrap_or_else(PoisonError::into_inner);
        let people = views.people().iter().take_while(|(user, _)| *user <= self.progress.at);
        people.map(|(_, person)| person.credential).collect()
    }
}
