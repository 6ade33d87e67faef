//! What is said of users, their log-ins, tokens and invitations.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Role, Time, some};

/// The first user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct SetUp {
    /// Their name: 1 to 64 characters, at most 256 bytes; no control characters, no leading, trailing or doubled white space.
    #[schema(min_length = 1, max_length = 64, example = "ada")]
    pub(in crate::http) name: String,
    /// Their password: 8 to 128 characters.
    #[schema(min_length = 8, max_length = 128, example = "correct horse battery")]
    pub(in crate::http) password: String,
    /// What the server printed at its start, if it listens beyond its own machine.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Option<String>, nullable = false)]
    pub(in crate::http) setup_token: Option<String>,
}

/// A name and a password: to log in, or to become a user by an invitation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Credentials {
    /// The name: 1 to 64 characters, at most 256 bytes; no control characters, no leading, trailing or doubled white space.
    #[schema(min_length = 1, max_length = 64, example = "ada")]
    pub(in crate::http) name: String,
    /// The password: 8 to 128 characters.
    #[schema(min_length = 8, max_length = 128, example = "correct horse battery")]
    pub(in crate::http) password: String,
}

/// A new password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ChangePassword {
    /// The present password.
    #[schema(min_length = 8, max_length = 128)]
    pub(in crate::http) password: String,
    /// The new one.
    #[schema(min_length = 8, max_length = 128)]
    pub(in crate::http) to: String,
}

/// A new API token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CreateToken {
    /// What it is for, in words for its owner; the same rules as for names.
    #[schema(min_length = 1, max_length = 64, example = "backup script")]
    pub(in crate::http) label: String,
}

/// What changes about a user; at least one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1)]
pub(in crate::http) struct ChangeUser {
    /// Their role from now on.
    #[serde(default, deserialize_with = "some")]
    #[schema(nullable = false)]
    pub(in crate::http) role: Option<Role>,
    /// Whether they may log in from now on.
    #[serde(default, deserialize_with = "some")]
    #[schema(nullable = false)]
    pub(in crate::http) active: Option<bool>,
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct User {
    /// Their id.
    #[schema(pattern = "^U[0-9A-Z]{11,23}$")]
    pub(in crate::http) id: String,
    /// Their name.
    pub(in crate::http) name: String,
    /// What they may do.
    pub(in crate::http) role: Role,
}

/// A user who was just made.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct NewUser {
    /// Their id.
    #[schema(pattern = "^U[0-9A-Z]{11,23}$")]
    pub(in crate::http) id: String,
    /// Their name.
    pub(in crate::http) name: String,
    /// What they may do.
    pub(in crate::http) role: Role,
    /// The offset of the record.
    #[schema(minimum = 1)]
    pub(in crate::http) offset: u64,
}

/// A user in the list of all.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ListedUser {
    /// Their id.
    #[schema(pattern = "^U[0-9A-Z]{11,23}$")]
    pub(in crate::http) id: String,
    /// Their name.
    pub(in crate::http) name: String,
    /// What they may do.
    pub(in crate::http) role: Role,
    /// Whether they may log in.
    pub(in crate::http) active: bool,
}

/// A user who was just changed.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ChangedUser {
    /// Their id.
    #[schema(pattern = "^U[0-9A-Z]{11,23}$")]
    pub(in crate::http) id: String,
    /// Their name.
    pub(in crate::http) name: String,
    /// What they may do from now on.
    pub(in crate::http) role: Role,
    /// Whether they may log in from now on.
    pub(in crate::http) active: bool,
    /// The offset of the record.
    #[schema(minimum = 1)]
    pub(in crate::http) offset: u64,
}

/// All users.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Users {
    /// The oldest first.
    pub(in crate::http) users: Vec<ListedUser>,
}

/// An API token, without what it opens with.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Token {
    /// Its id, which opens nothing.
    pub(in crate::http) id: String,
    /// What it is for.
    pub(in crate::http) label: String,
    /// When it was made.
    pub(in crate::http) created_at: Time,
    /// When it was last used, to within an hour after a restart of the server.
    pub(in crate::http) last_used_at: Time,
}

/// All API tokens of the caller.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Tokens {
    /// The oldest first.
    pub(in crate::http) tokens: Vec<Token>,
}

/// A new API token.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct NewToken {
    /// Its id, which opens nothing.
    pub(in crate::http) id: String,
    /// What it is for.
    pub(in crate::http) label: String,
    /// What to send as `Authorization: Bearer`. It is shown this once.
    pub(in crate::http) token: String,
}

/// A new invitation.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct NewInvitation {
    /// Its id, which opens nothing.
    #[schema(pattern = "^I[0-9A-Z]{11,23}$")]
    pub(in crate::http) id: String,
    /// What to hand to whoever is invited. It is shown this once.
    pub(in crate::http) token: String,
    /// The id of who invites.
    #[schema(pattern = "^U[0-9A-Z]{11,23}$")]
    pub(in crate::http) issuer: String,
    /// Since when it is open.
    pub(in crate::http) issued_at: Time,
    /// Until when.
    pub(in crate::http) expires_at: Time,
    /// The offset of the record.
    #[schema(minimum = 1)]
    pub(in crate::http) offset: u64,
}

/// An open invitation, as whoever holds its token sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Invitation {
    /// Its id.
    #[schema(pattern = "^I[0-9A-Z]{11,23}$")]
    pub(in crate::http) id: String,
    /// Who invites.
    pub(in crate::http) issuer: Issuer,
    /// Since when it is open.
    pub(in crate::http) issued_at: Time,
    /// Until when.
    pub(in crate::http) expires_at: Time,
}

/// Who invites.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Issuer {
    /// Their id.
    #[schema(pattern = "^U[0-9A-Z]{11,23}$")]
    pub(in crate::http) id: String,
    /// Their name.
    pub(in crate::http) name: String,
}
