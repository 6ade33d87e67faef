//! What is said to whoever runs the server.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Role, Time};

/// Something that concerned rights.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct AuditEntry {
    /// The record that tells of it.
    pub(in crate::http) offset: u64,
    /// When.
    pub(in crate::http) at: Time,
    /// What: `origin_started`, `user_created`, `user_changed`, `invitation_issued`, `channel_deleted`, `message_deleted`,
    /// `member_added`, `member_removed`, `backup_taken`, `password_set`, `restored`, `rollback_accepted`.
    pub(in crate::http) action: &'static str,
    /// Who did it; null for the operator.
    pub(in crate::http) by: Option<String>,
    /// To whom or what; for a restore or a rollback the newest record that was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) subject: Option<String>,
    /// The private channel that the subject became a member of, or ceased to be one of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) channel: Option<String>,
    /// The user's role from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) role: Option<Role>,
    /// Whether the user could log in from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) active: Option<bool>,
}

/// What concerned rights, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct AuditPage {
    /// The entries.
    pub(in crate::http) entries: Vec<AuditEntry>,
    /// What `before` must be for the older ones; null at the end.
    pub(in crate::http) next: Option<u64>,
}

/// How a comparison of the running views with what the log adds up to stands.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(in crate::http) struct ViewsCheck {
    /// `none` since the start, `running`, or its outcome: `equal`, `different`, `damaged` (the log cannot be folded), `failed`
    /// (it came to no verdict).
    #[schema(value_type = String)]
    pub(in crate::http) state: &'static str,
    /// The newest record that is folded; of an outcome, where both stood.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) at: Option<u64>,
    /// While it runs, the log's head.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) head: Option<u64>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) started_at: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) ended_at: Option<Time>,
    /// The digest of equal views: what `scrollback replay` says of the same log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) digest: Option<String>,
    /// In which parts different views differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Vec<String>)]
    pub(in crate::http) differs: Option<Vec<&'static str>>,
    /// What is damaged, or why there is no verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) what: Option<String>,
}
