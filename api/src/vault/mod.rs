//! Secrets, in a database of their own: password hashes, sessions, API tokens, invitation secrets. None of them ever
//! enters the log.
//!
//! The log names entries by random [`VaultKey`]s. An entry is durable before the record that names it is submitted, so
//! a crash in between leaves an entry that nothing names; [`Vault::sweep`] removes those at start, and
//! [`Vault::forget`] removes one whose command was refused.
//!
//! Everything is mirrored in memory: to authenticate a request is one hash and one look-up. What takes rights away takes
//! effect in memory first and is then made durable; what gives rights is made durable first.
//!
//! Writing calls wait for a sync: call them from a thread that may block.

mod carry;
mod passwords;
mod session;
mod stored;
mod upkeep;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use scrollback_log::synced::{SyncedBatch, SyncedDb, SyncedError, SyncedTree};
use scrollback_log::{Offset, Timestamp};
use scrollback_projections::facts::VaultKey;
use tokio::sync::watch;

pub use carry::check_carried;
pub use passwords::{HashError, PasswordHash, Passwords};
pub use session::{Session, SessionKind, SessionLives, TokenId};
pub use upkeep::Swept;

use crate::memory::Memory;
use crate::space::Space;
use session::{Secret, SecretHash};

/// The most sessions one user may have; with one more, the one that was not used for the longest time dies.
pub const SESSIONS_PER_USER_MAX: usize = 256;
/// The most API tokens one user may have.
pub const TOKENS_PER_USER_MAX: usize = 256;
/// sled's cache for the vault, which is read once, at open.
const CACHE_BYTES: u64 = 1 << 20;
/// How many changes are committed together when many are due at once.
const BATCH_CHANGES_MAX: usize = 512;

/// The vault of one data directory.
pub struct Vault {
    // Declared before the database: it must outlive its tables.
    credentials: SyncedTree,
    sessions: SyncedTree,
    invitations: SyncedTree,
    db: SyncedDb,
    /// Password hashing, bounded in how much runs at once.
    pub passwords: Passwords,
    entries: RwLock<Entries>,
    /// Held through every change, so that store and memory change in the same order.
    changing: Mutex<()>,
    revocations: watch::Sender<u64>,
    space: Space,
    session_lives: SessionLives,
    failed: watch::Sender<bool>,
}

#[derive(Default)]
struct Entries {
    credentials: HashMap<VaultKey, PasswordHash>,
    sessions: HashMap<SecretHash, Arc<Session>>,
    invitations: HashMap<SecretHash, VaultKey>,
}

/// How a vault behaves.
#[derive(Clone, Debug)]
pub struct VaultOptions {
    /// How long a session lives.
    pub session_lives: SessionLives,
    /// How many password hashes are computed at once.
    pub password_hashers_max: usize,
    /// How many more wait for their turn.
    pub password_waiters_max: usize,
    /// Says whether there is memory for a hash.
    pub memory: Memory,
    /// Says whether there is room for writes.
    pub space: Space,
    /// Is set when a write has failed: what reached the disk is unknown, and the process is to end.
    pub failed: watch::Sender<bool>,
}

/// A call to the vault did not end well.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The disk is nearly full. Nothing was done.
    #[error("the disk is nearly full; the vault takes no writes until space is freed")]
    DiskFull,
    /// The user has as many API tokens as there may be. Nothing was done.
    #[error("a user has at most {TOKENS_PER_USER_MAX} API tokens; revoke one first")]
    TooManyTokens,
    /// The password was changed since it was checked. Nothing was done.
    #[error("the password was changed meanwhile")]
    PasswordChanged,
    /// An entry is not what was written.
    #[error(
        "the vault's entry {key} in {table} is damaged: restore the vault from a backup, or remove the directory `vault` and set new passwords with `scrollback user passwd`"
    )]
    Damaged {
        /// Which table.
        table: &'static str,
        /// The entry's key, in hexadecimal digits.
        key: String,
    },
    /// What a backup carries is no password's hash.
    #[error("the backup carries something that is no password's hash")]
    BadCarried,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] SyncedError),
}

impl Vault {
    /// Opens the vault in `dir`, creating it if it is not there, and reads it into memory.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn open(dir: &Path, options: &VaultOptions) -> Result<Vault, VaultError> {
        let db = SyncedDb::open(dir, CACHE_BYTES)?;
        let vault = Vault {
            credentials: db.tree(stored::CREDENTIALS)?,
            sessions: db.tree(stored::SESSIONS)?,
            invitations: db.tree(stored::INVITATIONS)?,
            db,
            passwords: Passwords::new(
                options.password_hashers_max,
                options.password_waiters_max,
                options.memory.clone(),
            ),
            entries: RwLock::default(),
            changing: Mutex::new(()),
            revocations: watch::Sender::new(0),
            space: options.space.clone(),
            session_lives: options.session_lives,
            failed: options.failed.clone(),
        };
        vault.load()?;
        Ok(vault)
    }

    fn load(&self) -> Result<(), VaultError> {
        let mut entries = self.write();
        for entry in self.credentials.iter() {
            let (key, value) = entry?;
            entries
                .credentials
                .insert(stored::vault_key(stored::CREDENTIALS, &key)?, stored::password(&key, &value)?);
        }
        for entry in self.sessions.iter() {
            let (key, value) = entry?;
            let session = stored::session(&key, &value)?;
            entries.sessions.insert(session.hash, Arc::new(session));
        }
        for entry in self.invitations.iter() {
            let (key, value) = entry?;
            let (key, hash) = stored::invitation(&key, &value)?;
            entries.invitations.insert(hash, key);
        }
        Ok(())
    }

    /// Stores a password's hash under a new key, for the record of a new user to name.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn add_credential(&self, hash: PasswordHash) -> Result<VaultKey, VaultError> {
        let _changing = self.change()?;
        let key = VaultKey(rand::random());
        let mut batch = SyncedBatch::default();
        batch.put(&self.credentials, &key.0, hash.as_str().as_bytes())?;
        self.commit(batch)?;
        self.write().credentials.insert(key, hash);
        Ok(key)
    }

    /// The password's hash under `key`.
    #[must_use]
    pub fn credential(&self, key: VaultKey) -> Option<PasswordHash> {
        self.read().credentials.get(&key).cloned()
    }

    /// Replaces the password of `user` and ends all their sessions. Returns the token of a new session.
    ///
    /// # Errors
    /// See [`VaultError`]; [`VaultError::PasswordChanged`] when `verified` is no longer the password's hash.
    pub fn change_password(
        &self,
        user: Offset,
        key: VaultKey,
        verified: &PasswordHash,
        to: PasswordHash,
        now: Timestamp,
    ) -> Result<(String, Arc<Session>), VaultError> {
        let _changing = self.change()?;
        self.check_verified(key, verified)?;
        let (secret, session) = Session::draw(user, SessionKind::Session, String::new(), now);
        let ended = self.sessions_where(|known| known.user == user && known.kind == SessionKind::Session);
        let mut batch = SyncedBatch::default();
        batch.put(&self.credentials, &key.0, to.as_str().as_bytes())?;
        self.put_session(&mut batch, &session)?;
        for session in &ended {
            batch.remove(&self.sessions, &session.hash.0);
        }
        self.commit(batch)?;
        let session = Arc::new(session);
        let mut entries = self.write();
        entries.credentials.insert(key, to);
        entries.sessions.insert(session.hash, Arc::clone(&session));
        drop(entries);
        self.end(&ended);
        Ok((secret.show(), session))
    }

    /// Sets a password without asking for the old one, as the operator may, and ends all the user's sessions and API tokens.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn set_password(&self, user: Offset, key: VaultKey, to: PasswordHash) -> Result<(), VaultError> {
        {
            let _changing = self.change()?;
            let mut batch = SyncedBatch::default();
            batch.put(&self.credentials, &key.0, to.as_str().as_bytes())?;
            self.commit(batch)?;
            self.write().credentials.insert(key, to);
        }
        self.revoke_all(user)
    }

    /// Opens a session for a user whose password was found to match `verified`. Returns its token, which is not
    /// stored anywhere.
    ///
    /// # Errors
    /// See [`VaultError`]; [`VaultError::PasswordChanged`] when `verified` is no longer the password's hash.
    pub fn open_session(
        &self,
        user: Offset,
        key: VaultKey,
        verified: &PasswordHash,
        now: Timestamp,
    ) -> Result<(String, Arc<Session>), VaultError> {
        let _changing = self.change()?;
        self.check_verified(key, verified)?;
        let mut over = self.sessions_where(|known| known.user == user && known.kind == SessionKind::Session);
        over.sort_by_key(|known| std::cmp::Reverse(known.last_used()));
        over.drain(..over.len().min(SESSIONS_PER_USER_MAX - 1));
        self.add_session(user, SessionKind::Session, String::new(), now, &over)
    }

    /// Makes an API token for a user. Returns its text, which is not stored anywhere.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn create_token(
        &self,
        user: Offset,
        label: String,
        now: Timestamp,
    ) -> Result<(String, Arc<Session>), VaultError> {
        let _changing = self.change()?;
        if self.tokens_of(user).len() >= TOKENS_PER_USER_MAX {
            return Err(VaultError::TooManyTokens);
        }
        self.add_session(user, SessionKind::Token, label, now, &[])
    }

    fn add_session(
        &self,
        user: Offset,
        kind: SessionKind,
        label: String,
        now: Timestamp,
        over: &[Arc<Session>],
    ) -> Result<(String, Arc<Session>), VaultError> {
        let (secret, session) = Session::draw(user, kind, label, now);
        let mut batch = SyncedBatch::default();
        self.put_session(&mut batch, &session)?;
        for session in over {
            batch.remove(&self.sessions, &session.hash.0);
        }
        self.commit(batch)?;
        let session = Arc::new(session);
        self.write().sessions.insert(session.hash, Arc::clone(&session));
        self.end(over);
        Ok((secret.show(), session))
    }

    /// The living session or API token with this token, which counts as its use.
    #[must_use]
    pub fn authenticate(&self, token: &str, now: Timestamp) -> Option<Arc<Session>> {
        let hash = Secret::parse(token)?.hash();
        let session = self.read().sessions.get(&hash).cloned()?;
        if !session.is_live() || session.is_over(now, self.session_lives) {
            return None;
        }
        session.touch(now);
        Some(session)
    }

    /// The API tokens of a user, oldest first.
    #[must_use]
    pub fn tokens_of(&self, user: Offset) -> Vec<Arc<Session>> {
        let mut tokens = self.sessions_where(|known| known.user == user && known.kind == SessionKind::Token);
        tokens.sort_by_key(|token| (token.created, token.id));
        tokens
    }

    /// Ends one session or API token. It is dead at once, even if this then fails.
    ///
    /// # Errors
    /// See [`VaultError`]; after an error it may live again after the next start.
    pub fn revoke(&self, session: &Arc<Session>) -> Result<(), VaultError> {
        self.revoke_these(std::slice::from_ref(session))
    }

    /// Ends the API token of `user` with this id. Returns whether there was one.
    ///
    /// # Errors
    /// As for [`Vault::revoke`].
    pub fn revoke_token(&self, user: Offset, id: TokenId) -> Result<bool, VaultError> {
        let found = self
            .sessions_where(|known| known.user == user && known.kind == SessionKind::Token && known.id == id);
        self.revoke_these(&found)?;
        Ok(!found.is_empty())
    }

    /// Ends all sessions and API tokens of a user.
    ///
    /// # Errors
    /// As for [`Vault::revoke`].
    pub fn revoke_all(&self, user: Offset) -> Result<(), VaultError> {
        let all = {
            // One that is being opened right now must be among them.
            let _changing = self.change_if(true)?;
            self.sessions_where(|known| known.user == user)
        };
        self.revoke_these(&all)
    }

    /// Counts revocations: who holds a session looks at [`Session::is_live`] after every change.
    #[must_use]
    pub fn revocations(&self) -> watch::Receiver<u64> {
        self.revocations.subscribe()
    }

    /// Draws an invitation's secret and stores its hash under a new key, for the invitation's record to name. Returns
    /// its token, which is not stored anywhere.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn add_invitation(&self) -> Result<(String, VaultKey), VaultError> {
        let _changing = self.change()?;
        let (token, hash) = session::draw_invitation();
        let key = VaultKey(rand::random());
        let mut batch = SyncedBatch::default();
        batch.put(&self.invitations, &key.0, &hash.0)?;
        self.commit(batch)?;
        self.write().invitations.insert(hash, key);
        Ok((token, key))
    }

    /// The key under which the secret of this invitation token is stored. Whether an open invitation names it is another
    /// question.
    #[must_use]
    pub fn invitation(&self, token: &str) -> Option<VaultKey> {
        let hash = session::parse_invitation(token)?;
        self.read().invitations.get(&hash).copied()
    }

    /// Whether a write has failed: the vault takes none any more until the next start.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.db.has_failed()
    }

    fn revoke_these(&self, sessions: &[Arc<Session>]) -> Result<(), VaultError> {
        if sessions.is_empty() {
            return Ok(());
        }
        self.end(sessions);
        let _changing = self.change_for_revocation()?;
        for sessions in sessions.chunks(BATCH_CHANGES_MAX) {
            let mut batch = SyncedBatch::default();
            sessions.iter().for_each(|session| batch.remove(&self.sessions, &session.hash.0));
            self.commit(batch)?;
        }
        Ok(())
    }

    /// Makes sessions dead in memory and tells those who hold them.
    fn end(&self, sessions: &[Arc<Session>]) {
        if sessions.is_empty() {
            return;
        }
        let mut entries = self.write();
        for session in sessions {
            session.end();
            entries.sessions.remove(&session.hash);
        }
        drop(entries);
        self.revocations.send_modify(|count| *count += 1);
    }

    fn commit(&self, batch: SyncedBatch<'_>) -> Result<(), VaultError> {
        let outcome = self.db.commit(batch);
        if self.has_failed() {
            self.failed.send_replace(true);
        }
        Ok(outcome?)
    }

    fn put_session<'a>(&'a self, batch: &mut SyncedBatch<'a>, session: &Session) -> Result<(), VaultError> {
        let (value, last_used) = stored::encode_session(session)?;
        batch.put(&self.sessions, &session.hash.0, &value)?;
        session.stored(last_used);
        Ok(())
    }

    fn check_verified(&self, key: VaultKey, verified: &PasswordHash) -> Result<(), VaultError> {
        let unchanged = self.read().credentials.get(&key) == Some(verified);
        if unchanged { Ok(()) } else { Err(VaultError::PasswordChanged) }
    }

    fn sessions_where(&self, wanted: impl Fn(&Session) -> bool) -> Vec<Arc<Session>> {
        self.read().sessions.values().filter(|session| wanted(session)).cloned().collect()
    }

    fn change(&self) -> Result<MutexGuard<'_, ()>, VaultError> {
        self.change_if(self.space.for_writes())
    }

    fn change_for_revocation(&self) -> Result<MutexGuard<'_, ()>, VaultError> {
        self.change_if(self.space.for_revocations())
    }

    fn change_if(&self, has_space: bool) -> Result<MutexGuard<'_, ()>, VaultError> {
        if !has_space {
            return Err(VaultError::DiskFull);
        }
        Ok(self.changing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Entries> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Entries> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
