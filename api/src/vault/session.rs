//! Sessions and API tokens, and the secrets that open them.
//!
//! A token is shown once and never stored; the vault knows its BLAKE3 hash. A look-up by the hash needs no constant-time
//! comparison: who can time it learns of a hash, from which no token can be found.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use scrollback_log::{Offset, Timestamp};

/// How many bytes the secret of a session or an API token has.
const SECRET_BYTES: usize = 32;
/// How many bytes the secret of an invitation has.
const INVITATION_BYTES: usize = 16;
/// The letter that the id of an API token begins with.
const ID_LETTER: char = 'T';

/// The BLAKE3 hash of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SecretHash(pub(super) [u8; 32]);

/// What opens a session: 256 random bits, shown as hexadecimal digits.
pub(super) struct Secret([u8; SECRET_BYTES]);

impl Secret {
    pub(super) fn parse(text: &str) -> Option<Secret> {
        hex_bytes(text).map(Secret)
    }

    pub(super) fn show(&self) -> String {
        hex(&self.0)
    }

    pub(super) fn hash(&self) -> SecretHash {
        SecretHash(*blake3::hash(&self.0).as_bytes())
    }
}

/// Draws an invitation's token: 128 random bits.
pub(super) fn draw_invitation() -> (String, SecretHash) {
    let secret: [u8; INVITATION_BYTES] = rand::random();
    (hex(&secret), SecretHash(*blake3::hash(&secret).as_bytes()))
}

/// The hash of an invitation's token, if it is one.
pub(super) fn parse_invitation(token: &str) -> Option<SecretHash> {
    let secret: [u8; INVITATION_BYTES] = hex_bytes(token)?;
    Some(SecretHash(*blake3::hash(&secret).as_bytes()))
}

/// The public name of a session or an API token, which opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub(super) [u8; 8]);

impl TokenId {
    /// Reads an id. Only the form that it is shown in is read.
    #[must_use]
    pub fn parse(text: &str) -> Option<TokenId> {
        hex_bytes(text.strip_prefix(ID_LETTER)?).map(TokenId)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ID_LETTER}{}", hex(&self.0))
    }
}

/// How long a session lives. API tokens live until they are revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLives {
    /// After how long without use it dies.
    pub idle: Duration,
    /// After how long it dies however much it is used.
    pub whole: Duration,
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// A log-in: it dies when it is not used for some days.
    Session,
    /// An API token: it lives until it is revoked.
    Token,
}

/// A session or an API token. Shared by all that act in its name: requests and streams.
#[derive(Debug)]
pub struct Session {
    /// Its public name.
    pub id: TokenId,
    /// Whose it is.
    pub user: Offset,
    /// What it is for.
    pub kind: SessionKind,
    /// What the user called it; empty for a log-in.
    pub label: String,
    /// Since when it is there.
    pub created: Timestamp,
    pub(super) hash: SecretHash,
    last_used: AtomicI64,
    last_used_stored: AtomicI64,
    live: AtomicBool,
}

impl Session {
    /// A new session and its secret.
    pub(super) fn draw(user: Offset, kind: SessionKind, label: String, now: Timestamp) -> (Secret, Session) {
        let secret = Secret(rand::random());
        let id = TokenId(rand::random());
        let session = Session::stored_as(secret.hash(), id, user, kind, label, now, now);
        (secret, session)
    }

    pub(super) fn stored_as(
        hash: SecretHash,
        id: TokenId,
        user: Offset,
        kind: SessionKind,
        label: String,
        created: Timestamp,
        last_used: Timestamp,
    ) -> Session {
        let (last_used, last_used_stored) = (AtomicI64::new(last_used.0), AtomicI64::new(last_used.0));
        Session {
            id,
            user,
            kind,
            label,
            created,
            hash,
            last_used,
            last_used_stored,
            live: AtomicBool::new(true),
        }
    }

    /// Whether it was not revoked. Streams ask this whenever the vault's count of revocations changes.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// When it was last used.
    #[must_use]
    pub fn last_used(&self) -> Timestamp {
        Timestamp(self.last_used.load(Ordering::Relaxed))
    }

    /// Takes note that it is used, as by a stream that is open.
    pub fn touch(&self, now: Timestamp) {
        // Most requests of a busy session find this done, and a load does not take the cache line away from others.
        if self.last_used.load(Ordering::Relaxed) < now.0 {
            self.last_used.fetch_max(now.0, Ordering::Relaxed);
        }
    }

    /// Whether its time is over.
    pub(super) fn is_over(&self, now: Timestamp, lives: SessionLives) -> bool {
        let is_idle = self.last_used() < now.before(lives.idle);
        self.kind == SessionKind::Session && (is_idle || self.created < now.before(lives.whole))
    }

    pub(super) fn end(&self) {
        self.live.store(false, Ordering::Release);
    }

    /// Takes note that `last_used` is what the store says.
    pub(super) fn stored(&self, last_used: Timestamp) {
        self.last_used_stored.store(last_used.0, Ordering::Relaxed);
    }

    pub(super) fn stored_use_is_older_than(&self, span: Duration) -> bool {
        Timestamp(self.last_used_stored.load(Ordering::Relaxed)) < self.last_used().before(span)
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

/// The bytes that `text` shows; only lower-case digits are read, so that a token has one spelling.
fn hex_bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_has_one_spelling(text in "\\PC{0,70}|[0-9a-fA-F]{62,66}") {
            if let Some(secret) = Secret::parse(&text) {
                prop_assert_eq!(secret.show(), text);
            }
        }

        #[test]
        fn an_id_reads_back_as_itself(bytes: [u8; 8]) {
            prop_assert_eq!(TokenId::parse(&TokenId(bytes).to_string()), Some(TokenId(bytes)));
        }
    }

    #[test]
    fn an_invitation_token_is_found_by_its_hash_alone() {
        let (token, hash) = draw_invitation();
        assert_eq!(token.len(), 2 * INVITATION_BYTES);
        assert_eq!(parse_invitation(&token), Some(hash));
        assert_eq!(
            parse_invitation(&token.to_uppercase()),
            parse_invitation(&token).filter(|_| token == token.to_uppercase())
        );
        assert_eq!(parse_invitation(&token[2..]), None);
    }

    #[test]
    fn use_moves_forward_only() {
        let (_, session) = Session::draw(Offset(1), SessionKind::Session, String::new(), Timestamp(100));
        session.touch(Timestamp(90));
        assert_eq!(session.last_used(), Timestamp(100));
        session.touch(Timestamp(110));
        assert_eq!(session.last_used(), Timestamp(110));
    }
}
