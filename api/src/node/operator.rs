//! What the operator does with users, without being one.

use serde::Serialize;

use scrollback_log::{Offset, SubmitError};
use scrollback_projections::facts::{Action, Role};

use super::Node;
use crate::commands::{Answer, Command, Refusal};
use crate::ids::{self, IdKind};
use crate::names::{Name, NameError, Password, PasswordError};
use crate::vault::{HashError, VaultError};

/// An operator's wish was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// There is no user of this name.
    #[error("there is no user {0:?}")]
    NoSuchUser(String),
    /// Nobody could ever make an owner.
    #[error("the first user must be an owner (--role owner): only an owner can invite others")]
    FirstIsNoOwner,
    /// The name is not one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The password is not one.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The password could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The writer did not write.
    #[error(transparent)]
    NotWritten(#[from] SubmitError),
    /// The command was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// A user, as listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedUser {
    /// Their id.
    pub id: String,
    /// Their name.
    pub name: String,
    /// `member`, `moderator` or `owner`.
    pub role: &'static str,
    /// Whether they may log in.
    pub active: bool,
}

/// Makes a user.
///
/// # Errors
/// See [`OperatorError`].
pub fn add_user(node: &Node, name: &str, password: &str, role: Role) -> Result<(), OperatorError> {
    let name = Name::parse(name)?;
    if role != Role::Owner && node.read_views().people().is_empty() {
        return Err(OperatorError::FirstIsNoOwner);
    }
    let hash = node.vault.passwords.hash_blocking(&Password::parse(password)?)?;
    let credential = node.vault.add_credential(hash)?;
    let outcome = submit(node, Command::AddUser { name, role, credential });
    if matches!(outcome, Err(OperatorError::Refused(_))) {
        node.vault.forget(credential)?;
    }
    outcome
}

/// Sets a user's password and ends all their sessions and API tokens.
///
/// # Errors
/// See [`OperatorError`].
pub fn set_password(node: &Node, name: &str, password: &str) -> Result<(), OperatorError> {
    let user = find(node, name)?;
    let hash = node.vault.passwords.hash_blocking(&Password::parse(password)?)?;
    let credential = node.read_views().people().get(user).map(|person| person.credential);
    let credential = credential.ok_or_else(|| OperatorError::NoSuchUser(name.to_owned()))?;
    node.vault.set_password(user, credential, hash)?;
    submit(node, Command::Note { by: None, action: Action::PasswordSet, subject: Some(user) })
}

/// Sets a user's role.
///
/// # Errors
/// See [`OperatorError`].
pub fn set_role(node: &Node, name: &str, role: Role) -> Result<(), OperatorError> {
    let user = find(node, name)?;
    submit(node, Command::ChangeUser { user, role: Some(role), active: None, by: None })
}

/// Lets a user log in, or no longer. Then their sessions and API tokens end.
///
/// # Errors
/// See [`OperatorError`].
pub fn set_active(node: &Node, name: &str, active: bool) -> Result<(), OperatorError> {
    let user = find(node, name)?;
    submit(node, Command::ChangeUser { user, role: None, active: Some(active), by: None })?;
    if !active {
        node.vault.revoke_all(user)?;
    }
    Ok(())
}

/// All users, the oldest first.
#[must_use]
pub fn list_users(node: &Node) -> Vec<ListedUser> {
    let views = node.read_views();
    let listed = views.people().iter().map(|(user, person)| ListedUser {
        id: ids::show(IdKind::User, user, views.origins()),
        name: person.name.clone(),
        role: role_name(person.role),
        active: person.active,
    });
    listed.collect()
}

/// The role's name.
#[must_use]
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Moderator => "moderator",
        Role::Owner => "owner",
    }
}

fn find(node: &Node, name: &str) -> Result<Offset, OperatorError> {
    let folded = Name::parse(name)?;
    let views = node.read_views();
    let found = views.people().by_folded(folded.folded());
    found.map(|(user, _)| user).ok_or_else(|| OperatorError::NoSuchUser(name.to_owned()))
}

fn submit(node: &Node, command: Command) -> Result<(), OperatorError> {
    match node.writer.submit_blocking(command)? {
        Answer::Refused(refusal) => Err(refusal.into()),
        Answer::Done { .. } | Answer::Before(_) => Ok(()),
    }
}
