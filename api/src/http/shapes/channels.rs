//! What is said of channels and their members.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// A new channel.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CreateChannel {
    /// Its name: 1 to 64 characters, at most 256 bytes; no control characters, no leading, trailing or doubled white space.
    #[schema(min_length = 1, max_length = 64, example = "general")]
    pub(in crate::http) name: String,
    /// Whether only its members and owners see it; its creator is its first member.
    #[serde(default)]
    #[schema(default = false)]
    pub(in crate::http) private: bool,
}

/// A channel.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Channel {
    /// Its id.
    #[schema(pattern = "^C[0-9A-Z]{11,23}$")]
    pub(in crate::http) id: String,
    /// Its name.
    pub(in crate::http) name: String,
    /// When it was created.
    pub(in crate::http) at: Time,
    /// Whether only its members and owners see it.
    pub(in crate::http) private: bool,
    /// The id of who created it; null for an import.
    #[schema(required = true, pattern = "^U[0-9A-Z]{11,23}$")]
    pub(in crate::http) creator: Option<String>,
    /// The offset of the newest record about it.
    #[schema(minimum = 1)]
    pub(in crate::http) last_offset: u64,
    /// The offset of the record that created it.
    #[schema(minimum = 1)]
    pub(in crate::http) offset: u64,
    /// When it was deleted; in the answer to a repeated request whose channel is gone, and in a list as it was at an earlier
    /// offset. The name is `""` then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) deleted_at: Option<Time>,
}

/// A member of a private channel.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Member {
    /// Their id.
    #[schema(pattern = "^U[0-9A-Z]{11,23}$")]
    pub(in crate::http) id: String,
    /// Their name.
    pub(in crate::http) name: String,
    /// The offset of the record that made them a member.
    #[schema(minimum = 1)]
    pub(in crate::http) since: u64,
}

/// All members of a private channel.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Members {
    /// In the order in which they became members.
    pub(in crate::http) members: Vec<Member>,
}

/// Somebody who is a member now.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct AddedMember<'a> {
    /// The channel.
    #[schema(pattern = "^C[0-9A-Z]{11,23}$")]
    pub(in crate::http) channel: &'a str,
    /// The member.
    #[schema(pattern = "^U[0-9A-Z]{11,23}$")]
    pub(in crate::http) user: &'a str,
    /// The offset of the record that made them one.
    #[schema(minimum = 1)]
    pub(in crate::http) offset: u64,
    /// Where the channel's history begins: its events after this offset, up to `offset`, are those before they came.
    pub(in crate::http) history_after: u64,
}

/// Somebody who is a member no longer.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct RemovedMember<'a> {
    /// The channel.
    #[schema(pattern = "^C[0-9A-Z]{11,23}$")]
    pub(in crate::http) channel: &'a str,
    /// Who was a member.
    #[schema(pattern = "^U[0-9A-Z]{11,23}$")]
    pub(in crate::http) user: &'a str,
    /// The offset of the record.
    #[schema(minimum = 1)]
    pub(in crate::http) offset: u64,
}

/// All channels that the caller may see.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Channels {
    /// The oldest first.
    pub(in crate::http) channels: Vec<Channel>,
}
