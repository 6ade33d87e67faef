//! Events: what the log says happened, as every transport shows it.

use serde::{Deserialize, Serialize};

/// One event of the log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Wire")]
pub struct Event {
    /// Its place in the log.
    pub offset: u64,
    /// When it happened: RFC 3339 in UTC. Of an imported message the message's own time.
    pub at: String,
    /// What happened.
    pub what: What,
}

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// Talks, and deletes what is their own.
    Member,
    /// Also deletes what is others'.
    Moderator,
    /// Also changes users, and sees every private channel.
    Owner,
}

/// Why something is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Reason {
    /// Somebody deleted it.
    Deleted,
    /// It became too old.
    Expired,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// There is a new user, or one is different now.
    User {
        /// The user.
        id: String,
        /// Their name now.
        name: String,
        /// Their role now.
        role: Role,
        /// Whether they may log in.
        active: bool,
        /// Whether they are new.
        new: bool,
    },
    /// A channel was created.
    ChannelCreated {
        /// The channel.
        id: String,
        /// Its name; `""` if it is gone by now.
        name: String,
        /// Whether only its members and owners see it.
        private: bool,
        /// Who created it; nobody if it was imported.
        creator: Option<String>,
        /// When it was deleted, if it is gone by now.
        deleted_at: Option<String>,
    },
    /// A channel is gone, and its messages with it.
    ChannelDeleted {
        /// The channel.
        id: String,
        /// Who deleted it; nobody if it expired.
        by: Option<String>,
        /// Why it is gone.
        reason: Reason,
    },
    /// A message was sent.
    MessageSent {
        /// The message.
        id: String,
        /// Its channel.
        channel: String,
        /// Who sent it; nobody of here if it was imported.
        sender: Option<String>,
        /// The name of the sender of an imported message.
        sender_name: Option<String>,
        /// Its text; `""` if it is gone by now.
        body: String,
        /// When it was deleted, if it is gone by now.
        deleted_at: Option<String>,
    },
    /// A message is gone.
    MessageDeleted {
        /// The message.
        id: String,
        /// Its channel.
        channel: String,
        /// Who had sent it.
        sender: Option<String>,
        /// Who deleted it; nobody if it expired.
        by: Option<String>,
        /// Why it is gone.
        reason: Reason,
    },
    /// Somebody is a member of a private channel now.
    MemberAdded {
        /// The channel.
        channel: String,
        /// The new member.
        user: String,
        /// Who added them.
        by: Option<String>,
        /// The channel's history begins after this offset.
        history_after: u64,
    },
    /// Somebody is no member of a private channel any more.
    MemberRemoved {
        /// The channel.
        channel: String,
        /// Who was removed, or left.
        user: String,
        /// Who removed them.
        by: Option<String>,
    },
    /// Something that this version of the library does not know; nothing of the state depends on it.
    Unknown,
}

/// All that an event may have: which of it there is depends on what it says of itself.
#[derive(Deserialize)]
struct Wire {
    offset: u64,
    at: String,
    #[serde(rename = "type")]
    kind: String,
    event: String,
    id: Option<String>,
    name: Option<String>,
    role: Option<Role>,
    active: Option<bool>,
    private: Option<bool>,
    creator: Option<String>,
    by: Option<String>,
    reason: Option<Reason>,
    channel: Option<String>,
    user: Option<String>,
    sender: Option<String>,
    sender_name: Option<String>,
    body: Option<String>,
    deleted_at: Option<String>,
    history_after: Option<u64>,
}

/// An event lacks a field that it must have.
#[derive(Debug, thiserror::Error)]
#[error("the {kind} {event} event at offset {offset} lacks a field")]
struct Lacks {
    kind: String,
    event: String,
    offset: u64,
}

impl TryFrom<Wire> for Event {
    type Error = Lacks;

    fn try_from(wire: Wire) -> Result<Event, Lacks> {
        let lacks = Lacks { kind: wire.kind.clone(), event: wire.event.clone(), offset: wire.offset };
        let (offset, at) = (wire.offset, wire.at.clone());
        let what = wire.what().ok_or(lacks)?;
        Ok(Event { offset, at, what })
    }
}

impl Wire {
    fn what(self) -> Option<What> {
        Some(match (self.kind.as_str(), self.event.as_str()) {
            ("user", event @ ("created" | "changed")) => What::User {
                new: event == "created",
                id: self.id?,
                name: self.name?,
                role: self.role?,
                active: self.active?,
            },
            ("channel", "created") => What::ChannelCreated {
                id: self.id?,
                name: self.name?,
                private: self.private?,
                creator: self.creator,
                deleted_at: self.deleted_at,
            },
            ("channel", "deleted") => {
                What::ChannelDeleted { id: self.id?, by: self.by, reason: self.reason? }
            }
            ("message", "sent") => What::MessageSent {
                id: self.id?,
                channel: self.channel?,
                sender: self.sender,
                sender_name: self.sender_name,
                body: self.body?,
                deleted_at: self.deleted_at,
            },
            ("message", "deleted") => What::MessageDeleted {
                id: self.id?,
                channel: self.channel?,
                sender: self.sender,
                by: self.by,
                reason: self.reason?,
            },
            ("member", "added") => What::MemberAdded {
                channel: self.channel?,
                user: self.user?,
                by: self.by,
                history_after: self.history_after?,
            },
            ("member", "removed") => {
                What::MemberRemoved { channel: self.channel?, user: self.user?, by: self.by }
            }
            _ => What::Unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_a_kind_that_is_not_known_is_no_error_and_one_that_lacks_a_field_is() {
        let newer =
            r#"{"offset":3,"at":"2026-11-21T14:13:41.235916Z","type":"mark","event":"moved","to":{}}"#;
        assert_eq!(serde_json::from_str::<Event>(newer).unwrap().what, What::Unknown);
        let broken = r#"{"offset":3,"at":"2026-11-21T14:13:41.235916Z","type":"message","event":"sent"}"#;
        let error = serde_json::from_str::<Event>(broken).unwrap_err().to_string();
        assert!(error.contains("offset 3 lacks a field"), "{error}");
    }
}
