//! The JSON of the server's answers that this library reads.

use serde::{Deserialize, Serialize};

use crate::event::Role;

/// What `GET /api/boot` answers: all that the user may see, exact at one offset.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Boot {
    /// The user that the token is of.
    pub user: User,
    /// The offset at which it is exact.
    pub resume_point: u64,
    /// The same, with the proof that this is the log it was.
    pub resume_token: String,
    /// The seconds between two signs of life of a stream.
    pub heartbeat: u64,
    /// All users, the oldest first.
    pub users: Vec<User>,
    /// The channels that the user may see, the oldest first.
    pub channels: Vec<Channel>,
    /// The newest messages of each channel.
    pub messages: Vec<Message>,
    /// Whether there are fewer of these than were asked for.
    pub truncated: bool,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Their id.
    pub id: String,
    /// Their name.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was created.
    pub at: String,
    /// Whether only its members and owners see it.
    pub private: bool,
    /// Who created it; nobody if it was imported.
    pub creator: Option<String>,
    /// The newest record about it.
    pub last_offset: u64,
    /// The record that created it.
    pub offset: u64,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// When it was sent: RFC 3339 in UTC.
    pub at: String,
    /// Its channel.
    pub channel: String,
    /// Who sent it; nobody of here if it was imported.
    pub sender: Option<String>,
    /// The name of the sender of an imported message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_name: Option<String>,
    /// Its text; `""` if it is gone.
    pub body: String,
    /// The record that it is.
    pub offset: u64,
    /// When it was deleted. No such message is in a state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<String>,
}

/// What `GET /api/channels` answers.
#[derive(Deserialize)]
pub(crate) struct Channels {
    pub(crate) channels: Vec<Channel>,
}

/// What `GET /api/channels/ID/messages` answers.
#[derive(Deserialize)]
pub(crate) struct Page {
    pub(crate) messages: Vec<Message>,
}
