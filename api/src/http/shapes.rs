//! The JSON of requests and answers: a flat table, read by serde for the wire and by utoipa for the document.

use std::borrow::Cow;
use std::collections::BTreeMap;

use scrollback_log::Timestamp;
use scrollback_projections::facts::Role as RoleFact;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::timestamps;

/// A time: RFC 3339 in UTC, with microseconds and `Z`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time(pub(super) Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&timestamps::show(self.0))
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .pattern(Some(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$"))
            .description(Some("RFC 3339 in UTC, with microseconds and `Z`"))
            .into()
    }
}

impl ToSchema for Time {
    fn name() -> Cow<'static, str> {
        "Time".into()
    }
}

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    /// Talks, and deletes what is their own.
    Member,
    /// Also deletes what is others'.
    Moderator,
    /// Also changes users.
    Owner,
}

impl From<RoleFact> for Role {
    fn from(role: RoleFact) -> Role {
        match role {
            RoleFact::Member => Role::Member,
            RoleFact::Moderator => Role::Moderator,
            RoleFact::Owner => Role::Owner,
        }
    }
}

impl From<Role> for RoleFact {
    fn from(role: Role) -> RoleFact {
        match role {
            Role::Member => RoleFact::Member,
            Role::Moderator => RoleFact::Moderator,
            Role::Owner => RoleFact::Owner,
        }
    }
}

/// The body of calls that need none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// The first user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetUp {
    /// Their name: 1 to 64 characters, at most 256 bytes; no control characters, no leading, trailing or doubled white space.
    #[schema(min_length = 1, max_length = 64, example = "ada")]
    pub(super) name: String,
    /// Their password: 8 to 128 characters.
    #[schema(min_length = 8, max_length = 128, example = "correct horse battery")]
    pub(super) password: String,
    /// What the server printed at its start, if it listens beyond its own machine.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Option<String>, nullable = false)]
    pub(super) setup_token: Option<String>,
}

/// A name and a password: to log in, or to become a user by an invitation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    /// The name: 1 to 64 characters, at most 256 bytes; no control characters, no leading, trailing or doubled white space.
    #[schema(min_length = 1, max_length = 64, example = "ada")]
    pub(super) name: String,
    /// The password: 8 to 128 characters.
    #[schema(min_length = 8, max_length = 128, example = "correct horse battery")]
    pub(super) password: String,
}

/// A new password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangePassword {
    /// The present password.
    #[schema(min_length = 8, max_length = 128)]
    pub(super) password: String,
    /// The new one.
    #[schema(min_length = 8, max_length = 128)]
    pub(super) to: String,
}

/// A new API token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateToken {
    /// What it is for, in words for its owner; the same rules as for names.
    #[schema(min_length = 1, max_length = 64, example = "backup script")]
    pub(super) label: String,
}

/// What changes about a user; at least one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1)]
pub(super) struct ChangeUser {
    /// Their role from now on.
    #[serde(default, deserialize_with = "some")]
    #[schema(nullable = false)]
    pub(super) role: Option<Role>,
    /// Whether they may log in from now on.
    #[serde(default, deserialize_with = "some")]
    #[schema(nullable = false)]
    pub(super) active: Option<bool>,
}

/// A new channel.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateChannel {
    /// Its name: 1 to 64 characters, at most 256 bytes; no control characters, no leading, trailing or doubled white space.
    #[schema(min_length = 1, max_length = 64, example = "general")]
    pub(super) name: String,
    /// Whether only its members and owners see it; its creator is its first member.
    #[serde(default)]
    #[schema(default = false)]
    pub(super) private: bool,
}

/// A new message.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SendMessage {
    /// The text: not blank, at most 64 KiB of UTF-8, no control characters other than tab and line feed.
    #[schema(min_length = 1, max_length = 65536, example = "hello")]
    pub(super) body: String,
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct User {
    /// Their id.
    #[schema(pattern = "^U[0-9A-Z]{11,23}$")]
    pub(super) id: String,
    /// Their name.
    pub(super) name: String,
    /// What they may do.
    pub(super) role: Role,
}

/// A user who was just made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewUser {
    /// Their id.
    #[schema(pattern = "^U[0-9A-Z]{11,23}$")]
    pub(super) id: String,
    /// Their name.
    pub(super) name: String,
    /// What they may do.
    pub(super) role: Role,
    /// The offset of the record.
    #[schema(minimum = 1)]
    pub(super) offset: u64,
}

/// A user in the list of all.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListedUser {
    /// Their id.
    #[schema(pattern = "^U[0-9A-Z]{11,23}$")]
    pub(super) id: String,
    /// Their name.
    pub(super) name: String,
    /// What they may do.
    pub(super) role: Role,
    /// Whether they may log in.
    pub(super) active: bool,
}

/// A user who was just changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChangedUser {
    /// Their id.
    #[schema(pattern = "^U[0-9A-Z]{11,23}$")]
    pub(super) id: String,
    /// Their name.
    pub(super) name: String,
    /// What they may do from now on.
    pub(super) role: Role,
    /// Whether they may log in from now on.
    pub(super) active: bool,
    /// The offset of the record.
    #[schema(minimum = 1)]
    pub(super) offset: u64,
}

/// All users.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Users {
    /// The oldest first.
    pub(super) users: Vec<ListedUser>,
}

/// Something that concerned rights.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditEntry {
    /// The record that tells of it.
    pub(super) offset: u64,
    /// When.
    pub(super) at: Time,
    /// What: `origin_started`, `user_created`, `user_changed`, `invitation_issued`, `channel_deleted`, `message_deleted`,
    /// `member_added`, `member_removed`, `backup_taken`, `password_set`, `restored`, `rollback_accepted`.
    pub(super) action: &'static str,
    /// Who did it; null for the operator.
    pub(super) by: Option<String>,
    /// To whom or what; for a restore or a rollback the newest record that was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<String>,
    /// The private channel that the subject became a member of, or ceased to be one of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) channel: Option<String>,
    /// The user's role from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<Role>,
    /// Whether the user could log in from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) active: Option<bool>,
}

/// What concerned rights, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditPage {
    /// The entries.
    pub(super) entries: Vec<AuditEntry>,
    /// What `before` must be for the older ones; null at the end.
    pub(super) next: Option<u64>,
}

/// An API token, without what it opens with.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Token {
    /// Its id, which opens nothing.
    pub(super) id: String,
    /// What it is for.
    pub(super) label: String,
    /// When it was made.
    pub(super) created_at: Time,
    /// When it was last used, to within an hour after a restart of the server.
    pub(super) last_used_at: Time,
}

/// All API tokens of the caller.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tokens {
    /// The oldest first.
    pub(super) tokens: Vec<Token>,
}

/// A new API token.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewToken {
    /// Its id, which opens nothing.
    pub(super) id: String,
    /// What it is for.
    pub(super) label: String,
    /// What to send as `Authorization: Bearer`. It is shown this once.
    pub(super) token: String,
}

/// A new invitation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewInvitation {
    /// Its id, which opens nothing.
    #[schema(pattern = "^I[0-9A-Z]{11,23}$")]
    pub(super) id: String,
    /// What to hand to whoever is invited. It is shown this once.
    pub(super) token: String,
    /// The id of who invites.
    #[schema(pattern = "^U[0-9A-Z]{11,23}$")]
    pub(super) issuer: String,
    /// Since when it is open.
    pub(super) issued_at: Time,
    /// Until when.
    pub(super) expires_at: Time,
    /// The offset of the record.
    #[schema(minimum = 1)]
    pub(super) offset: u64,
}

/// An open invitation, as whoever holds its token sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Invitation {
    /// Its id.
    #[schema(pattern = "^I[0-9A-Z]{11,23}$")]
    pub(super) id: String,
    /// Who invites.
    pub(super) issuer: Issuer,
    /// Since when it is open.
    pub(super) issued_at: Time,
    /// Until when.
    pub(super) expires_at: Time,
}

/// Who invites.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Issuer {
    /// Their id.
    #[schema(pattern = "^U[0-9A-Z]{11,23}$")]
    pub(super) id: String,
    /// Their name.
    pub(super) name: String,
}

/// A channel.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Channel {
    /// Its id.
    #[schema(pattern = "^C[0-9A-Z]{11,23}$")]
    pub(super) id: String,
    /// Its name.
    pub(super) name: String,
    /// When it was created.
    pub(super) at: Time,
    /// Whether only its members and owners see it.
    pub(super) private: bool,
    /// The id of who created it; null for an import.
    #[schema(required = true, pattern = "^U[0-9A-Z]{11,23}$")]
    pub(super) creator: Option<String>,
    /// The offset of the newest record about it.
    #[schema(minimum = 1)]
    pub(super) last_offset: u64,
    /// The offset of the record that created it.
    #[schema(minimum = 1)]
    pub(super) offset: u64,
    /// When it was deleted; in the answer to a repeated request whose channel is gone, and in a list as it was at an earlier
    /// offset. The name is `""` then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) deleted_at: Option<Time>,
}

/// A member of a private channel.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Member {
    /// Their id.
    #[schema(pattern = "^U[0-9A-Z]{11,23}$")]
    pub(super) id: String,
    /// Their name.
    pub(super) name: String,
    /// The offset of the record that made them a member.
    #[schema(minimum = 1)]
    pub(super) since: u64,
}

/// All members of a private channel.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Members {
    /// In the order in which they became members.
    pub(super) members: Vec<Member>,
}

/// Somebody who is a member now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AddedMember<'a> {
    /// The channel.
    #[schema(pattern = "^C[0-9A-Z]{11,23}$")]
    pub(super) channel: &'a str,
    /// The member.
    #[schema(pattern = "^U[0-9A-Z]{11,23}$")]
    pub(super) user: &'a str,
    /// The offset of the record that made them one.
    #[schema(minimum = 1)]
    pub(super) offset: u64,
    /// Where the channel's history begins: its events after this offset, up to `offset`, are those before they came.
    pub(super) history_after: u64,
}

/// Somebody who is a member no longer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RemovedMember<'a> {
    /// The channel.
    #[schema(pattern = "^C[0-9A-Z]{11,23}$")]
    pub(super) channel: &'a str,
    /// Who was a member.
    #[schema(pattern = "^U[0-9A-Z]{11,23}$")]
    pub(super) user: &'a str,
    /// The offset of the record.
    #[schema(minimum = 1)]
    pub(super) offset: u64,
}

/// A watch as it is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetWatch {
    /// The channels; at most 10,000.
    pub(super) watch: Vec<WatchedChannel>,
    /// From one notice to the next it is at least this long, in milliseconds; 250 if not given.
    #[serde(default, deserialize_with = "whole")]
    #[schema(nullable = false, maximum = 60_000)]
    pub(super) max_delay_ms: Option<u64>,
    /// How long it is kept while nobody reads or renews it, in seconds; 300 if not given.
    #[serde(default, deserialize_with = "whole")]
    #[schema(nullable = false, minimum = 10, maximum = 3_600)]
    pub(super) lease_s: Option<u64>,
}

/// A channel to be watched.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WatchedChannel {
    /// Its id.
    pub(super) id: String,
    /// Up to which offset the caller knows it: what is newer is told at once. What there is now if not given.
    #[serde(default, deserialize_with = "whole")]
    #[schema(nullable = false)]
    pub(super) since: Option<u64>,
}

/// A watch.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Watched<'a> {
    /// Its name.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    pub(super) name: &'a str,
    /// Which setting of it this is: greater than that of any before.
    pub(super) epoch: u64,
    /// The offset of the state from which this answer is.
    pub(super) head: u64,
    /// From one notice to the next it is at least this long, in milliseconds.
    pub(super) max_delay_ms: u64,
    /// How long it is kept while nobody reads or renews it, in seconds.
    pub(super) lease_s: u64,
    /// How much of that is left, in whole seconds.
    pub(super) left_s: u64,
    /// The seconds between two signs of life of whatever it is read by.
    pub(super) heartbeat: u64,
    /// Each channel and how it stands. Not of a renewal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) status: Option<BTreeMap<String, WatchedNow>>,
}

/// How a channel of a watch stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WatchedNow {
    /// Whether it is watched.
    pub(super) ok: bool,
    /// The offset of its newest record: from there on nothing is missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    pub(super) offset: Option<u64>,
    /// Why it is not watched: `bad_id`, `not_found`, or `ahead` (the caller knows more than there is).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) code: Option<&'static str>,
}

/// What has changed since the poll before.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WatchChanges {
    /// Which setting of the watch this is of.
    pub(super) epoch: u64,
    /// The channels that have changed.
    pub(super) changed: Vec<WatchChange>,
    /// All that changed up to here is told.
    pub(super) head: u64,
    /// What to poll after next.
    #[schema(pattern = "^[0-9]{1,16}[.][0-9]{1,20}-[0-9a-f]{8}$")]
    pub(super) next: String,
}

/// A channel that has changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WatchChange {
    /// Its id.
    #[schema(pattern = "^C[0-9A-Z]{11,23}$")]
    pub(super) id: String,
    /// The offset of its newest record.
    #[schema(nullable = false, minimum = 1)]
    pub(super) offset: Option<u64>,
    /// Why it is watched no more: `deleted` or `forbidden`.
    #[schema(nullable = false)]
    pub(super) gone: Option<&'static str>,
}

/// All channels that the caller may see.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Channels {
    /// The oldest first.
    pub(super) channels: Vec<Channel>,
}

/// A message.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Message<'a> {
    /// Its id.
    #[schema(pattern = "^M[0-9A-Z]{11,23}$")]
    pub(super) id: Cow<'a, str>,
    /// When it was said.
    pub(super) at: Time,
    /// The id of its channel.
    #[schema(pattern = "^C[0-9A-Z]{11,23}$")]
    pub(super) channel: Cow<'a, str>,
    /// The id of who said it; null for somebody without an account.
    #[schema(required = true, pattern = "^U[0-9A-Z]{11,23}$")]
    pub(super) sender: Option<Cow<'a, str>>,
    /// Who said it, if they have no account.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) sender_name: Option<&'a str>,
    /// What was said.
    pub(super) body: &'a str,
    /// The offset of the record.
    #[schema(minimum = 1)]
    pub(super) offset: u64,
    /// When it was recorded, if it has a time of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) recorded_at: Option<Time>,
    /// When it was deleted, if that happened while the answer was made, before a repeated request, or after the earlier
    /// offset that was asked for. Its texts are `""` then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) deleted_at: Option<Time>,
}

/// A page of a channel's history. Only for the document: the answer is written as it is read.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub(super) struct Messages<'a> {
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
pub(super) struct Boot<'a> {
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

/// How a comparison of the running views with what the log adds up to stands.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct ViewsCheck {
    /// `none` since the start, `running`, or its outcome: `equal`, `different`, `damaged` (the log cannot be folded), `failed`
    /// (it came to no verdict).
    #[schema(value_type = String)]
    pub(super) state: &'static str,
    /// The newest record that is folded; of an outcome, where both stood.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) at: Option<u64>,
    /// While it runs, the log's head.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) head: Option<u64>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) started_at: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) ended_at: Option<Time>,
    /// The digest of equal views: what `scrollback replay` says of the same log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) digest: Option<String>,
    /// In which parts different views differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Vec<String>)]
    pub(super) differs: Option<Vec<&'static str>>,
    /// What is damaged, or why there is no verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) what: Option<String>,
}

/// A deletion.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Deleted<'a> {
    /// The id of what was deleted.
    pub(super) id: &'a str,
    /// The offset of the deletion's record.
    #[schema(minimum = 1)]
    pub(super) offset: u64,
}

/// A whole number that may be left out but not be null. To JSON 3.0 is one, too.
fn whole<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    /// The first that is no `int64` of the description any more.
    const END: f64 = 9_223_372_036_854_775_808.0;
    let number = serde_json::Number::deserialize(deserializer)?;
    // The cast is exact: what it is asked for is whole and small enough.
    let whole = number.as_u64().or_else(|| {
        number
            .as_f64()
            .filter(|float| float.fract() == 0.0 && (0.0..END).contains(float))
            .map(|float| float as u64)
    });
    let whole = whole.filter(|whole| i64::try_from(*whole).is_ok());
    whole.map(Some).ok_or_else(|| serde::de::Error::custom("a number must be whole, from 0 to 2^63 - 1"))
}

/// A field that may be left out but not be null: whoever passes on a token that is null would else begin anew with all there is.
pub(crate) fn some<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
