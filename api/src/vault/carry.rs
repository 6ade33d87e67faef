//! What of the vault goes into a backup, and what a restore makes of it: password hashes, and nothing else.

use scrollback_log::synced::SyncedBatch;
use scrollback_projections::facts::VaultKey;

use super::{BATCH_CHANGES_MAX, PasswordHash, Vault, VaultError};

/// How many bytes of a carried credential are its key.
const KEY_BYTES: usize = 16;

/// Checks that these are what [`Vault::carried`] gives.
///
/// # Errors
/// [`VaultError::BadCarried`].
pub fn check_carried(carried: &[Vec<u8>]) -> Result<(), VaultError> {
    read_carried(carried).map(drop)
}

fn read_carried(carried: &[Vec<u8>]) -> Result<Vec<(VaultKey, PasswordHash)>, VaultError> {
    let read = |bytes: &Vec<u8>| {
        let (key, hash) = bytes.split_first_chunk::<KEY_BYTES>()?;
        Some((VaultKey(*key), PasswordHash::parse(std::str::from_utf8(hash).ok()?)?))
    };
    carried.iter().map(read).collect::<Option<_>>().ok_or(VaultError::BadCarried)
}

impl Vault {
    /// The credential under `key` in the form that a backup carries: the key, then the password's hash.
    #[must_use]
    pub fn carried(&self, key: VaultKey) -> Option<Vec<u8>> {
        let hash = self.credential(key)?;
        Some([&key.0[..], hash.as_str().as_bytes()].concat())
    }

    /// Adds the credentials of a backup that are not here. One that is here is newer or the same. Returns how many were
    /// added.
    ///
    /// # Errors
    /// [`VaultError`]; [`VaultError::BadCarried`] when one of them is none.
    pub fn take_carried(&self, carried: &[Vec<u8>]) -> Result<usize, VaultError> {
        let mut new = read_carried(carried)?;
        let _changing = self.change()?;
        new.retain(|(key, _)| !self.read().credentials.contains_key(key));
        for some in new.chunks(BATCH_CHANGES_MAX) {
            let mut batch = SyncedBatch::default();
            for (key, hash) in some {
                batch.put(&self.credentials, &key.0, hash.as_str().as_bytes())?;
            }
            self.commit(batch)?;
            self.write().credentials.extend(some.iter().cloned());
        }
        Ok(new.len())
    }

    /// Ends every session and API token. Returns how many there were.
    ///
    /// # Errors
    /// As for [`Vault::revoke`].
    pub fn end_all(&self) -> Result<usize, VaultError> {
        let all = self.sessions_where(|_| true);
        self.revoke_these(&all)?;
        Ok(all.len())
    }
}
