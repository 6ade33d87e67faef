//! The vault's entries as bytes. Each value of a session begins with the version of its struct.

use scrollback_log::{Offset, Timestamp, codec};
use scrollback_projections::facts::VaultKey;
use serde::{Deserialize, Serialize};

use super::session::{SecretHash, Session, SessionKind, TokenId};
use super::{PasswordHash, VaultError};

/// The table of password hashes: key → PHC string.
pub(super) const CREDENTIALS: &str = "credentials";
/// The table of sessions and API tokens: hash of the token → version, [`StoredSession`].
pub(super) const SESSIONS: &str = "sessions";
/// The table of invitations: key → hash of the token.
pub(super) const INVITATIONS: &str = "invitations";

const SESSION_VERSION: u8 = 1;

/// A session as stored; frozen.
#[derive(Serialize, Deserialize)]
struct StoredSession<'a> {
    id: [u8; 8],
    user: Offset,
    is_token: bool,
    label: &'a str,
    created: Timestamp,
    last_used: Timestamp,
}

/// A session's value, and the time of last use in it.
pub(super) fn encode_session(session: &Session) -> Result<(Vec<u8>, Timestamp), VaultError> {
    let stored = StoredSession {
        id: session.id.0,
        user: session.user,
        is_token: session.kind == SessionKind::Token,
        label: &session.label,
        created: session.created,
        last_used: session.last_used(),
    };
    let mut value = vec![SESSION_VERSION];
    value.extend(codec::encode(&stored).map_err(|_| damaged(SESSIONS, &session.hash.0))?);
    Ok((value, stored.last_used))
}

pub(super) fn session(key: &[u8], value: &[u8]) -> Result<Session, VaultError> {
    let read = || {
        let hash = SecretHash(key.try_into().ok()?);
        let stored: StoredSession<'_> = match value.split_first()? {
            (&SESSION_VERSION, bytes) => codec::decode(bytes).ok()?,
            _ => return None,
        };
        let kind = if stored.is_token { SessionKind::Token } else { SessionKind::Session };
        let (id, label) = (TokenId(stored.id), stored.label.to_owned());
        Some(Session::stored_as(hash, id, stored.user, kind, label, stored.created, stored.last_used))
    };
    read().ok_or_else(|| damaged(SESSIONS, key))
}

pub(super) fn vault_key(table: &'static str, key: &[u8]) -> Result<VaultKey, VaultError> {
    key.try_into().map(VaultKey).map_err(|_| damaged(table, key))
}

pub(super) fn password(key: &[u8], value: &[u8]) -> Result<PasswordHash, VaultError> {
    std::str::from_utf8(value).ok().and_then(PasswordHash::parse).ok_or_else(|| damaged(CREDENTIALS, key))
}

pub(super) fn invitation(key: &[u8], value: &[u8]) -> Result<(VaultKey, SecretHash), VaultError> {
    let hash = value.try_into().map(SecretHash).map_err(|_| damaged(INVITATIONS, key))?;
    Ok((vault_key(INVITATIONS, key)?, hash))
}

fn damaged(table: &'static str, key: &[u8]) -> VaultError {
    VaultError::Damaged { table, key: key.iter().map(|byte| format!("{byte:02x}")).collect() }
}
