//! The facts: what records say, as frozen structs.
//!
//! A record's (kind, schema) names one pair of structs here: the kept part, and the text if there is one. References
//! between records are offsets: the birthplace of a thing in this log is the record that created it. A released
//! struct never changes; a new shape is a new schema with an upcast to the newest. An unknown kind is an error, so that
//! a replay never skips what it does not understand.

use scrollback_log::{Kind, NewRecord, Offset, Origin, Record, Schema, Text, Timestamp, codec};
use serde::{Deserialize, Serialize};

/// What a user may do beyond a member's rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Role {
    /// Talks, and deletes what is their own.
    Member,
    /// Also deletes what is others'.
    Moderator,
    /// Also changes users.
    Owner,
}

/// Why a thing is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Reason {
    /// Somebody deleted it.
    Deleted,
    /// Its time was over.
    Expired,
}

/// What somebody did to the whole, or to somebody's secrets, which no other record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Action {
    /// Took a backup of everything. It is the subject of nobody.
    BackupTaken,
    /// Gave a user, the subject, a new password.
    PasswordSet,
    /// Restored a backup; the subject is its newest record.
    Restored,
    /// Accepted a log that had lost its tail; the subject is the newest record that was left.
    RollbackAccepted,
}

/// A number in a record is not one of the values it may have.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not a known value here")]
pub struct UnknownValue(u8);

macro_rules! numbered {
    ($name:ident { $($variant:ident = $number:literal),* $(,)? }) => {
        impl From<$name> for u8 {
            fn from(value: $name) -> u8 {
                match value { $($name::$variant => $number),* }
            }
        }
        impl TryFrom<u8> for $name {
            type Error = UnknownValue;
            fn try_from(number: u8) -> Result<$name, UnknownValue> {
                match number { $($number => Ok($name::$variant),)* other => Err(UnknownValue(other)) }
            }
        }
    };
}
numbered!(Action { BackupTaken = 0, PasswordSet = 1, Restored = 2, RollbackAccepted = 3 });
numbered!(Role { Member = 0, Moderator = 1, Owner = 2 });
numbered!(Reason { Deleted = 0, Expired = 1 });

/// The name of an entry in the vault. Random, and not itself a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VaultKey(pub [u8; 16]);

/// The digest of who used which idempotency key on which method and path; says nothing of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyDigest(pub [u8; 16]);

/// The kept part of one kind of record.
pub trait Kept: Serialize {
    /// The kind of record.
    const KIND: Kind;
    /// The version of the struct.
    const SCHEMA: Schema;
    /// The record's text, `()` for none.
    type Text<'a>: Serialize;
}

macro_rules! facts {
    ($($(#[$doc:meta])* $kind:literal / $schema:literal $name:ident, text $text:ty { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
            pub struct $name { $($(#[$field_doc])* pub $field: $type),* }
            impl Kept for $name {
                const KIND: Kind = Kind($kind);
                const SCHEMA: Schema = Schema($schema);
                type Text<'a> = $text;
            }
        )*

        /// The kept part of any record.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each variant is its struct")]
        pub enum Fact { $($name($name)),* }

        impl Fact {
            /// Decodes a record's kept part.
            ///
            /// # Errors
            /// When the kind or schema is unknown, or the bytes are not what they should be.
            pub fn decode(record: &Record<'_>) -> Result<Fact, FactError> {
                match (record.kind.0, record.schema.0) {
                    $(($kind, $schema) => Ok(Fact::$name(decode(record, record.kept)?)),)*
                    _ => Err(FactError::Unknown { offset: record.offset, kind: record.kind.0, schema: record.schema.0 }),
                }
            }

            /// The kept part's bytes.
            #[cfg(any(test, feature = "fuzzing"))]
            pub(crate) fn encode(&self) -> Result<Vec<u8>, codec::CodecError> {
                match self { $(Fact::$name(kept) => codec::encode(kept)),* }
            }
        }
    };
}

facts! {
    /// A run of the log begins: at creation, after a restore, after an accepted rollback.
    1 / 1 OriginStarted, text () {
        /// The run's name.
        origin: Origin,
    }

    /// A user exists.
    2 / 1 UserCreated, text Name<'a> {
        /// Their first role.
        role: Role,
        /// The vault's entry with their password's hash.
        credential: VaultKey,
        /// The invitation they accepted, and thereby used up.
        invitation: Option<Offset>,
    }

    /// A user's role or activity is now this. The text repeats the name, so that the event needs no look-up.
    3 / 1 UserChanged, text Name<'a> {
        /// Who changed.
        user: Offset,
        /// Their role from now on.
        role: Role,
        /// Whether they may log in from now on.
        active: bool,
        /// Who changed it; none for the operator.
        by: Option<Offset>,
    }

    /// A channel exists.
    4 / 1 ChannelCreated, text Name<'a> {
        /// Who created it; none for an import.
        creator: Option<Offset>,
        /// Whether only its members and owners see it; its creator is its first member.
        private: bool,
        /// The idempotency key of the request.
        key: Option<KeyDigest>,
    }

    /// A channel is gone, with all its messages.
    5 / 1 ChannelDeleted, text () {
        /// Which.
        channel: Offset,
        /// Who deleted it; none when it expired.
        by: Option<Offset>,
        /// Why.
        reason: Reason,
    }

    /// A user said something.
    6 / 1 MessageSent, text Body<'a> {
        /// Where.
        channel: Offset,
        /// Who.
        sender: Offset,
        /// The idempotency key of the request.
        key: Option<KeyDigest>,
    }

    /// Somebody without an account said something, at a time of their own.
    7 / 1 MessageImported, text Imported<'a> {
        /// Where.
        channel: Offset,
        /// When it was said; the record's time is when it was imported.
        at: Timestamp,
    }

    /// A message is gone.
    8 / 1 MessageDeleted, text () {
        /// Which.
        message: Offset,
        /// Where it was.
        channel: Offset,
        /// Who had sent it; none for an imported one.
        sender: Option<Offset>,
        /// The time of its own that an imported one had.
        imported_at: Option<Timestamp>,
        /// Who deleted it; none when it expired.
        by: Option<Offset>,
        /// Why.
        reason: Reason,
    }

    /// Somebody may become a user.
    9 / 1 InvitationIssued, text () {
        /// Who invites.
        issuer: Offset,
        /// Until when.
        expires: Timestamp,
        /// The vault's entry with the token's hash.
        secret: VaultKey,
    }

    /// An import came this far: the records right before this one are the messages of these lines.
    10 / 1 ImportAdvanced, text () {
        /// The lines of the file before this step.
        lines_before: u64,
        /// The lines of the file after this step.
        lines: u64,
        /// A digest of channel, time and text lengths of the file's first `lines` lines: it finds the file again and says
        /// nothing of the texts.
        digest: [u8; 16],
        /// The record of line `lines_before + 1`; the others follow it.
        first: Offset,
    }

    /// Somebody did something that an audit is to know and no other record tells.
    11 / 1 Audited, text () {
        /// Who; none for the operator.
        by: Option<Offset>,
        /// What.
        action: Action,
        /// To whom or what, as the action says.
        subject: Option<Offset>,
    }

    /// A user is now a member of a private channel, or no longer.
    12 / 1 MembershipChanged, text () {
        /// Which channel.
        channel: Offset,
        /// Who.
        user: Offset,
        /// Whether they are a member from now on.
        member: bool,
        /// Who added or removed them, themselves if they left; none for the operator.
        by: Option<Offset>,
    }
}

/// The text of a record about a named thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name<'a> {
    /// As entered, in NFC.
    pub shown: &'a str,
    /// As compared: NFKC, case folded.
    pub folded: &'a str,
}

/// The text of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body<'a> {
    /// What was said.
    pub body: &'a str,
}

/// The text of an imported message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported<'a> {
    /// Who said it, as the import named them.
    pub sender_name: &'a str,
    /// What was said.
    pub body: &'a str,
}

/// A record's bytes are not a fact that this version knows.
#[derive(Debug, thiserror::Error)]
pub enum FactError {
    /// A newer version wrote this log, or the record is damaged in a way its checksum did not see.
    #[error(
        "record {offset} is of kind {kind}, schema {schema}, which this version does not know; use a newer scrollback"
    )]
    Unknown {
        /// The record.
        offset: Offset,
        /// Its kind.
        kind: u16,
        /// Its schema.
        schema: u16,
    },
    /// The bytes do not decode.
    #[error("record {offset} does not decode: {source}")]
    Undecodable {
        /// The record.
        offset: Offset,
        /// What is wrong.
        source: codec::CodecError,
    },
}

fn decode<'a, T: Deserialize<'a>>(record: &Record<'_>, bytes: &'a [u8]) -> Result<T, FactError> {
    codec::decode(bytes).map_err(|source| FactError::Undecodable { offset: record.offset, source })
}

/// A new record without text.
///
/// # Errors
/// When the kept part is over the codec's bound.
pub fn record<K: Kept>(kept: &K) -> Result<NewRecord, codec::CodecError> {
    Ok(NewRecord { kind: K::KIND, schema: K::SCHEMA, kept: codec::encode(kept)?, text: None })
}

/// A new record with text.
///
/// # Errors
/// When a part is over the codec's bound.
pub fn record_with<'a, K: Kept>(kept: &K, text: &K::Text<'a>) -> Result<NewRecord, codec::CodecError> {
    Ok(NewRecord { text: Some(codec::encode(text)?), ..record(kept)? })
}

/// Decodes a record's text; none when it is gone.
///
/// # Errors
/// When the bytes are not a `T`. Asking a record without any text for one is such an error.
pub fn text<'a, T: Deserialize<'a>>(record: &Record<'a>) -> Result<Option<T>, FactError> {
    match record.text {
        Text::Present(bytes) => decode(record, bytes).map(Some),
        Text::Gone(_) => Ok(None),
        Text::None => decode(record, &[]).map(Some),
    }
}
