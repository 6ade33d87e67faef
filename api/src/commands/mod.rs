//! Commands: what somebody wants. [`decide`](machine) turns each into records or a refusal.
//!
//! A command names things by offset (ids are parsed at the edge) and carries what only the edge can know: the vault
//! entries already written for it and the digest of its idempotency key.

mod decide;
pub mod machine;
mod overlay;

use scrollback_log::{Offset, Record, Timestamp};
use scrollback_projections::facts::{Action, Fact, FactError, KeyDigest, Reason, Role, VaultKey};

use crate::names::Name;

/// A wish that, when granted, becomes records.
#[derive(Clone, Debug)]
#[allow(
    missing_docs,
    reason = "the fields are what their names and types say; what they are for stands at the variant"
)]
pub enum Command {
    /// The first user, an owner.
    SetUp { name: Name, credential: VaultKey },
    /// A user by invitation.
    AcceptInvitation { invitation: Offset, name: Name, credential: VaultKey },
    /// A user made by the operator.
    AddUser { name: Name, role: Role, credential: VaultKey },
    /// Another role or activity for a user; `by` is none for the operator.
    ChangeUser { user: Offset, role: Option<Role>, active: Option<bool>, by: Option<Offset> },
    /// An invitation that is open until `lifetime` after its record.
    IssueInvitation { issuer: Offset, secret: VaultKey, lifetime: std::time::Duration },
    /// A channel; a private one has its creator as its first member.
    CreateChannel { creator: Offset, name: Name, private: bool, key: Option<KeyDigest> },
    /// The end of a channel.
    DeleteChannel { channel: Offset, by: Offset },
    /// Another member of a private channel.
    AddMember { channel: Offset, user: Offset, by: Offset },
    /// One member less of a private channel: `by` may be themselves.
    RemoveMember { channel: Offset, user: Offset, by: Offset },
    /// A message.
    SendMessage { channel: Offset, sender: Offset, body: String, key: Option<KeyDigest> },
    /// The end of a message.
    DeleteMessage { message: MessageRef, by: Offset },
    /// The end of what is over; what is gone already is passed over.
    Expire { messages: Vec<MessageRef>, channels: Vec<ExpiringChannel> },
    /// A step of an import.
    Import(ImportStep),
    /// A note for an audit; `by` is none for the operator.
    Note { by: Option<Offset>, action: Action, subject: Option<Offset> },
}

/// A message's record as deletions name it; read from the log before the command is made, for none of it ever changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRef {
    /// The record.
    pub offset: Offset,
    /// Where it was said.
    pub channel: Offset,
    /// Who said it; none for an imported one.
    pub sender: Option<Offset>,
    /// The time of its own that an imported one has.
    pub imported_at: Option<Timestamp>,
}

/// A channel that is over if nothing has come to it since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiringChannel {
    /// The channel.
    pub channel: Offset,
    /// Its newest record when it was found to be over.
    pub last_offset: Offset,
}

/// Some lines of an import file, appended at once with the note of how far the import came.
#[derive(Clone, Debug)]
pub struct ImportStep {
    /// How many steps of imports the log holds before this one: what the importer believes, so that a step that is handed in
    /// twice, or beside another import, is refused.
    pub steps_before: usize,
    /// The lines of the file before these.
    pub lines_before: u64,
    /// The digest of all lines up to the last of these.
    pub digest: [u8; 16],
    /// The lines.
    pub lines: Vec<ImportLine>,
}

/// One message of an import file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportLine {
    /// The channel's name; created when there is none of that name.
    pub channel: Name,
    /// When it was said.
    pub at: Timestamp,
    /// Who said it.
    pub sender_name: String,
    /// What was said.
    pub body: String,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as for `Command`")]
pub enum Answer {
    /// Done: the first record's offset and time. (`offset` is also the thing's birthplace, for a creation.)
    Done { offset: Offset, time: Timestamp, records: u64 },
    /// It is done already, and no record is added: the idempotency key was used before and this record was the outcome then,
    /// or this is the record that made the user a member.
    Before(Offset),
    /// Not done.
    Refused(Refusal),
}

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is a user already.
    #[error("this server is already set up")]
    AlreadySetUp,
    /// The name is another's, by its folded form.
    #[error("that name is taken")]
    NameTaken,
    /// There is no such channel, message, user, member or invitation, or not any more, or the actor may not see it.
    #[error("there is no such thing here")]
    NotFound,
    /// The actor has no right to do this.
    #[error("that is not yours to do")]
    Forbidden,
    /// The channel is everybody's and has no members.
    #[error("the channel is not private")]
    NotPrivate,
    /// Somebody must stay owner.
    #[error("the last owner cannot step down")]
    LastOwner,
    /// The actor is no longer active.
    #[error("this user is not active")]
    Inactive,
    /// The import did not continue where the log says it stopped.
    #[error("the import is not at this line")]
    ImportMoved,
    /// A text is longer than a record can hold; the edge refuses such texts before they become commands.
    #[error("a text is too long to be recorded")]
    TooLarge,
}

impl MessageRef {
    /// What a deletion says of the message that this record is; none if it is no message.
    ///
    /// # Errors
    /// When the record is not a fact.
    pub fn of(record: &Record<'_>) -> Result<Option<MessageRef>, FactError> {
        let offset = record.offset;
        Ok(match Fact::decode(record)? {
            Fact::MessageSent(sent) => Some(MessageRef {
                offset,
                channel: sent.channel,
                sender: Some(sent.sender),
                imported_at: None,
            }),
            Fact::MessageImported(imported) => Some(MessageRef {
                offset,
                channel: imported.channel,
                sender: None,
                imported_at: Some(imported.at),
            }),
            _ => None,
        })
    }
}

impl Command {
    /// The reason that a deletion by this command bears.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Command::Expire { .. } => Reason::Expired,
            _ => Reason::Deleted,
        }
    }
}
