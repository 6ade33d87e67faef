//! What is removed when nobody asks for it: entries that no record names, sessions that nobody uses.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use scrollback_log::Timestamp;
use scrollback_log::synced::SyncedBatch;
use scrollback_projections::Views;
use scrollback_projections::facts::VaultKey;

use super::session::Session;
use super::{BATCH_CHANGES_MAX, Vault, VaultError};

/// How old the stored time of a session's last use may become before it is written again.
const LAST_USED_STORED_EVERY: Duration = Duration::from_secs(60 * 60);

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Password hashes that no user has.
    pub credentials: usize,
    /// Sessions and API tokens of nobody, or of somebody who is not active.
    pub sessions: usize,
    /// Secrets of invitations that are not open.
    pub invitations: usize,
}

impl Vault {
    /// Removes a password's hash or an invitation's secret that no record names or will name.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn forget(&self, key: VaultKey) -> Result<(), VaultError> {
        let _changing = self.change_for_revocation()?;
        let mut entries = self.write();
        entries.credentials.remove(&key);
        entries.invitations.retain(|_, known| *known != key);
        drop(entries);
        let mut batch = SyncedBatch::default();
        batch.remove(&self.credentials, &key.0);
        batch.remove(&self.invitations, &key.0);
        self.commit(batch)
    }

    /// Removes the entries that no record names, and the sessions of users who are not active. Only right while no
    /// command that names an entry is under way.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn sweep(&self, views: &Views) -> Result<Swept, VaultError> {
        let named: HashSet<VaultKey> = views.people().iter().map(|(_, person)| person.credential).collect();
        let open: HashSet<VaultKey> =
            views.invitations().iter().map(|(_, invitation)| invitation.secret).collect();
        let (credentials, invitations, sessions) = {
            let entries = self.read();
            let credentials: Vec<_> =
                entries.credentials.keys().filter(|key| !named.contains(key)).copied().collect();
            let invitations: Vec<_> =
                entries.invitations.values().filter(|key| !open.contains(key)).copied().collect();
            let dead = |session: &&Arc<Session>| {
                views.people().get(session.user).is_none_or(|person| !person.active)
            };
            let sessions: Vec<_> = entries.sessions.values().filter(dead).cloned().collect();
            (credentials, invitations, sessions)
        };
        let swept = Swept {
            credentials: credentials.len(),
            sessions: sessions.len(),
            invitations: invitations.len(),
        };
        if swept == Swept::default() {
            return Ok(swept);
        }
        self.revoke_these(&sessions)?;
        let _changing = self.change_for_revocation()?;
        let mut entries = self.write();
        entries.credentials.retain(|key, _| named.contains(key));
        entries.invitations.retain(|_, key| open.contains(key));
        drop(entries);
        for keys in credentials.chunks(BATCH_CHANGES_MAX) {
            let mut batch = SyncedBatch::default();
            keys.iter().for_each(|key| batch.remove(&self.credentials, &key.0));
            self.commit(batch)?;
        }
        for keys in invitations.chunks(BATCH_CHANGES_MAX) {
            let mut batch = SyncedBatch::default();
            keys.iter().for_each(|key| batch.remove(&self.invitations, &key.0));
            self.commit(batch)?;
        }
        Ok(swept)
    }

    /// Ends the sessions that were not used for too long and stores when the others were last used, if that has not been
    /// stored for an hour. To be called now and then.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn maintain(&self, now: Timestamp) -> Result<(), VaultError> {
        self.revoke_these(&self.sessions_where(|known| known.is_over(now, self.session_lives)))?;
        let stale = self.sessions_where(|known| known.stored_use_is_older_than(LAST_USED_STORED_EVERY));
        for sessions in stale.chunks(BATCH_CHANGES_MAX) {
            let _changing = self.change()?;
            let mut batch = SyncedBatch::default();
            // One that was revoked since must not come back.
            for session in sessions.iter().filter(|session| session.is_live()) {
                self.put_session(&mut batch, session)?;
            }
            self.commit(batch)?;
        }
        Ok(())
    }
}
