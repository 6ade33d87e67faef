//! What is said of messages, and all of it at once.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;
use super::accounts::User;
use super::channels::Channel;

/// A new message.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct SendMessage {
    /// The text: not blank, at most 64 KiB of UTF-8, no control characters other than tab and line feed.
    #[schema(min_length = 1, max_length = 65536, example = "hello")]
    pub(in crate::http) body: String,
}

/// A message.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Message<'a> {
    /// Its id.
    #[schema(pattern = "^M[0-9A-Z]{11,23}$")]
    pub(in crate::http) id: Cow<'a, str>,
    /// When it was said.
    pub(in crate::http) at: Time,
    /// The id of its channel.
    #[schema(pattern = "^C[0-9A-Z]{11,23}$")]
    pub(in crate::http) channel: Cow<'a, str>,
    /// The id of who said it; null for somebody without an account.
    #[schema(required = true, pattern = "^U[0-9A-Z]{11,23}$")]
    pub(in crate::http) sender: Option<Cow<'a, str>>,
    /// Who said it, if they have no account.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) sender_name: Option<&'a str>,
    /// What was said.
    pub(in crate::http) body: &'a str,
    /// The offset of the record.
    #[schema(minimum = 1)]
    pub(in crate::http) offset: u64,
    /// When it was recorded, if it has a time of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) recorded_at: Option<Time>,
    /// When it was deleted, if that happened while the answer was made, before a repeated request, or after the earlier
    /// offset that was asked for. Its texts are `""` then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) deleted_at: Option<Time>,
}

/// A page of a channel's history. Only for the document: the answer is written as it is read.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub(in crate::http) struct Messages<'a> {
    /// Ascending by time, then offset.
    messages: Vec<Message<'a>>,
    /// What to give as `after` for the newer page; null at the newest end.
    #[schema(required = true)]
    next: Option<String>,
    /// What to give as `before` for the older page; null at the oldest end.
    #[schema(required = true)]
    prev: Option<String>,
}

/// One state, exact at `resume_point`. Only for the document: the answer is written as it is read.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub(in crate::http) struct Boot<'a> {
    /// Who asks.
    user: User,
    /// The offset of the newest record that is in this state.
    #[schema(minimum = 1)]
    resume_point: u64,
    /// The resume token there: what to give to the stream.
    #[schema(pattern = "^[0-9]{1,20}-[0-9a-f]{8}$")]
    resume_token: String,
    /// The seconds between two heartbeats of a stream.
    heartbeat: u64,
    /// All users, those who may not log in included.
    users: Vec<User>,
    /// All channels that the caller may see.
    channels: Vec<Channel>,
    /// The newest messages of each channel, ascending by time, then offset.
    messages: Vec<Message<'a>>,
    /// Whether there are fewer messages than asked for, because of the bounds of 5,000 messages and 4 MiB.
    truncated: bool,
}

/// A deletion.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Deleted<'a> {
    /// The id of what was deleted.
    pub(in crate::http) id: &'a str,
    /// The offset of the deletion's record.
    #[schema(minimum = 1)]
    pub(in crate::http) offset: u64,
}
