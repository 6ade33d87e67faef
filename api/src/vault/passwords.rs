//! Password hashing: Argon2id with 19 MiB, two passes, one lane; only so many at once, and only so many that wait.
//!
//! Each is computed on a thread of low priority, so that a storm of log-ins takes processor time that nobody else wants.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::background::step_back;
use crate::figures::figures;
use crate::memory::{Memory, Promise};
use crate::names::Password;

/// How much memory one hash takes.
const MEMORY_KIB: u32 = 19 * 1024;
const MEMORY_BYTES: u64 = (MEMORY_KIB as u64) << 10;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What a claimed password is compared with when there is no such user: the comparison takes as long and never matches,
/// because no password is empty.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c2Nyb2xsYmFjayBkdW1teQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password's hash in the PHC string format, which names its own parameters.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Arc<str>);

impl PasswordHash {
    /// Reads a stored hash.
    pub(super) fn parse(text: &str) -> Option<PasswordHash> {
        Phc::new(text).ok().map(|_| PasswordHash(text.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// A hash that nobody computed and no password has, for tests that need any: a real one takes its time.
    #[cfg(test)]
    pub(crate) fn of_nothing(salt: &str) -> PasswordHash {
        PasswordHash::parse(&format!("$argon2id$v=19$m=19456,t=2,p=1${salt:A<22}${}", "A".repeat(43)))
            .unwrap()
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// A password could not be hashed or compared.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The hash function refused.
    #[error("a password could not be hashed: {0}")]
    Refused(String),
    /// The server is stopping.
    #[error("a password could not be hashed because the server is stopping")]
    Stopping,
    /// As many wait as may. Nothing was computed.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// There is no memory for it now. Nothing was computed.
    #[error("there is no memory to hash a password")]
    NoMemory,
    /// The thread could not be started, or died.
    #[error("a password could not be hashed: its thread failed")]
    NoThread,
}

/// Hashes and compares passwords, a bounded number at a time; a bounded number waits.
#[derive(Clone, Debug)]
pub struct Passwords {
    /// Permits for those that are computed.
    running: Arc<Semaphore>,
    /// Permits for those that are computed or wait.
    admitted: Arc<Semaphore>,
    memory: Memory,
}

/// What lets a hash be computed.
struct Permits {
    _running: OwnedSemaphorePermit,
    _admitted: OwnedSemaphorePermit,
    _memory: Promise,
}

impl Passwords {
    /// At most `hashers_max` hashes are computed at once, at least one, and at most `waiters_max` more wait for that. One
    /// for which there is no room in `memory` is refused.
    #[must_use]
    pub fn new(hashers_max: usize, waiters_max: usize, memory: Memory) -> Passwords {
        let running = hashers_max.clamp(1, Semaphore::MAX_PERMITS);
        let admitted = running.saturating_add(waiters_max).min(Semaphore::MAX_PERMITS);
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        if memory.room_for(MEMORY_BYTES).is_err() {
            tracing::warn!(
                wanted_mib = MEMORY_BYTES >> 20,
                "the bound on memory leaves no room for a log-in: they will be refused; raise it"
            );
        }
        Passwords { running: semaphore(running), admitted: semaphore(admitted), memory }
    }

    /// The password's hash, with a new salt.
    ///
    /// # Errors
    /// See [`HashError`].
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, HashError> {
        let permits = self.permits().await?;
        in_the_background(permits, move || hash(&password)).await
    }

    /// Whether the password is the hashed one. Without a hash, because there is no such user, the answer is no and takes
    /// as long.
    ///
    /// # Errors
    /// See [`HashError`].
    pub async fn matches(&self, hash: Option<PasswordHash>, password: Password) -> Result<bool, HashError> {
        let permits = self.permits().await?;
        in_the_background(permits, move || matches(hash.as_ref(), &password)).await
    }

    /// The password's hash, for threads outside an async runtime.
    ///
    /// # Errors
    /// See [`HashError`].
    pub fn hash_blocking(&self, password: &Password) -> Result<PasswordHash, HashError> {
        hash(password)
    }

    async fn permits(&self) -> Result<Permits, HashError> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| HashError::Busy)?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| HashError::Stopping)?;
        let memory = self.memory.promise(MEMORY_BYTES).map_err(|_| HashError::NoMemory)?;
        Ok(Permits { _running: running, _admitted: admitted, _memory: memory })
    }
}

/// Runs `work` on a thread of its own, which costs nothing beside a hash. The permits go along: a request that goes away
/// does not let another hash begin before its own has ended.
async fn in_the_background<T: Send + 'static>(
    permits: Permits,
    work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
) -> Result<T, HashError> {
    let (tell, outcome) = oneshot::channel();
    let work = move || {
        step_back("hashing a password");
        let outcome = work();
        drop(permits);
        // Nobody listens when the request has gone away.
        let _ = tell.send(outcome);
    };
    std::thread::Builder::new().name("password".into()).spawn(work).map_err(|error| {
        tracing::error!(%error, "a thread to hash a password could not be started");
        HashError::NoThread
    })?;
    outcome.await.map_err(|_| HashError::NoThread)?
}

fn hash(password: &Password) -> Result<PasswordHash, HashError> {
    figures().password_hashes.increment(1);
    let salt: [u8; 16] = rand::random();
    let hash: Phc = hasher()?.hash_password_with_salt(password.bytes(), &salt).map_err(refused)?;
    Ok(PasswordHash(hash.to_string().into()))
}

fn matches(hash: Option<&PasswordHash>, password: &Password) -> Result<bool, HashError> {
    figures().password_hashes.increment(1);
    let known = Phc::new(hash.map_or(NOBODY, PasswordHash::as_str)).map_err(refused)?;
    // The crate compares in constant time.
    let same = hasher()?.verify_password(password.bytes(), &known).is_ok();
    Ok(same && hash.is_some())
}

fn hasher() -> Result<Argon2<'static>, HashError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(refused)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn refused(error: impl std::fmt::Display) -> HashError {
    HashError::Refused(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    #[test]
    fn only_the_hashed_password_matches() {
        let stored = hash(&password("correct horse")).unwrap();
        assert!(stored.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(matches(Some(&stored), &password("correct horse")).unwrap());
        assert!(!matches(Some(&stored), &password("correct hoarse")).unwrap());
        assert!(!matches(Some(&stored), &Password::claimed("short")).unwrap());
        assert_ne!(hash(&password("correct horse")).unwrap(), stored);
        assert_eq!(PasswordHash::parse(stored.as_str()), Some(stored));
        assert_eq!(PasswordHash::parse("correct horse"), None);
    }

    #[test]
    fn nobody_is_compared_by_the_same_work_and_never_matches() {
        let real = hash(&password("correct horse")).unwrap();
        let (real, nobody) = (Phc::new(real.as_str()).unwrap(), Phc::new(NOBODY).unwrap());
        assert_eq!(
            (real.algorithm, real.version, &real.params),
            (nobody.algorithm, nobody.version, &nobody.params)
        );
        assert_eq!(real.salt.map(|salt| salt.len()), nobody.salt.map(|salt| salt.len()));
        assert_eq!(real.hash.map(|hash| hash.len()), nobody.hash.map(|hash| hash.len()));
        assert!(!matches(None, &password("correct horse")).unwrap());
        assert!(!matches(None, &Password::claimed("")).unwrap());
    }

    #[tokio::test]
    async fn hashing_waits_its_turn_and_answers() {
        let passwords = Passwords::new(1, 1, Memory::new(None));
        let one = passwords.hash(password("correct horse"));
        let other = passwords.hash(password("battery staple"));
        let (one, other) = tokio::join!(one, other);
        assert!(passwords.matches(Some(one.unwrap()), password("correct horse")).await.unwrap());
        assert!(!passwords.matches(Some(other.unwrap()), password("correct horse")).await.unwrap());
    }

    #[tokio::test]
    async fn as_many_wait_as_may_and_one_more_is_told_at_once() {
        let passwords = Passwords::new(1, 2, Memory::new(None));
        let hold = passwords.permits().await.unwrap();
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let passwords = passwords.clone();
                tokio::spawn(async move { passwords.hash(password("correct horse")).await })
            })
            .collect();
        while passwords.admitted.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = passwords.matches(None, password("correct horse")).await;
        assert!(matches!(refused, Err(HashError::Busy)), "{refused:?}");
        // One that gives up makes room.
        waiting[0].abort();
        while passwords.admitted.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
        drop(hold);
        assert!(!passwords.matches(None, password("correct horse")).await.unwrap());
        let mut waiting = waiting;
        waiting.pop().unwrap().await.unwrap().unwrap();
        assert_eq!(passwords.admitted.available_permits(), 3);
    }
}
