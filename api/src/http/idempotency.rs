//! `Idempotency-Key`: the same user, method, path, key and body give the first answer again.
//!
//! The record that a request led to bears the digest of who used which key where; the body is compared with the record
//! itself. A record whose text is gone cannot be compared any more: it is taken for the same, and its answer shows
//! nothing of the text.

use http::HeaderName;
use scrollback_log::{Deletion, Offset, Text};
use scrollback_projections::facts::{self, Fact, KeyDigest};

use super::call::{Call, Server};
use super::problem::{Code, Problem};

/// The header.
static HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest key.
pub(super) const KEY_BYTES_MAX: usize = 128;
/// Keeps the digest apart from any other use of the hash.
const CONTEXT: &[u8] = b"scrollback idempotency key 1";

/// The digest of the request's key, if it bears one.
///
/// # Errors
/// [`Code::BadKey`].
pub(super) fn digest(call: &Call) -> Result<Option<KeyDigest>, Problem> {
    let mut given = call.headers.get_all(&HEADER).iter();
    let Some(key) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(bad_key());
    }
    digest_of(call.caller()?.user, call.method.as_str(), call.path.as_str(), key.as_bytes()).map(Some)
}

/// The digest of a key that this user uses on this method and path.
///
/// # Errors
/// [`Code::BadKey`].
pub(super) fn digest_of(user: Offset, method: &str, path: &str, key: &[u8]) -> Result<KeyDigest, Problem> {
    let printable = key.iter().all(|byte| matches!(byte, b' '..=b'~'));
    if !printable || !(1..=KEY_BYTES_MAX).contains(&key.len()) {
        return Err(bad_key());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(CONTEXT).update(&user.0.to_le_bytes());
    // No method and no path contains a zero byte, so nothing can be told two ways.
    hasher.update(method.as_bytes()).update(&[0]);
    hasher.update(path.as_bytes()).update(&[0]).update(key);
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Ok(KeyDigest(digest))
}

fn bad_key() -> Problem {
    let detail = format!("send one idempotency key of 1 to {KEY_BYTES_MAX} printable ASCII characters");
    Problem::new(Code::BadKey, detail)
}

/// What a request asks for that its record bears, and a later one with the same key must not differ in.
pub(super) enum Asked<'a> {
    Channel { name: &'a str, private: bool },
    Message { body: &'a str },
}

/// What the earlier request with the same key led to.
pub(super) struct Before {
    /// When it was recorded.
    pub(super) time: scrollback_log::Timestamp,
    /// The deletion of its text; none when the text is there, and the same as now.
    pub(super) gone: Option<Deletion>,
}

/// Reads the record that an earlier request with the same key led to, and compares it. For threads that may block.
///
/// # Errors
/// [`Code::KeyReused`] when something else was asked for; [`Code::LogDamaged`].
pub(super) fn before(server: &Server, offset: Offset, asked: &Asked<'_>) -> Result<Before, Problem> {
    let read = server.node.log.read(offset, |record| {
        let gone = if let Text::Gone(deletion) = record.text { Some(deletion) } else { None };
        let same = match (Fact::decode(&record)?, asked) {
            (Fact::MessageSent(_), Asked::Message { body }) => {
                facts::text::<facts::Body<'_>>(&record)?.is_none_or(|text| text.body == *body)
            }
            (Fact::ChannelCreated(fact), Asked::Channel { name, private }) => {
                fact.private == *private
                    && facts::text::<facts::Name<'_>>(&record)?.is_none_or(|text| text.shown == *name)
            }
            _ => false,
        };
        Ok::<_, facts::FactError>((Before { time: record.time, gone }, same))
    })?;
    match read.transpose()? {
        Some((before, true)) => Ok(before),
        Some((_, false)) => Err(Problem::new(Code::KeyReused, "take a new key for a new request")),
        None => Err(Problem::plain(Code::Internal)),
    }
}
