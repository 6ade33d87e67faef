//! Who there is. A user is never forgotten, only switched off, so a sender's name can always be shown.

use scrollback_log::Timestamp;
use serde::{Deserialize, Serialize};

use crate::facts::{Role, VaultKey};
use crate::registry::{HasName, Registry};

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The name as entered.
    pub name: String,
    /// The name as compared.
    pub folded: String,
    /// What they may do.
    pub role: Role,
    /// Whether they may log in.
    pub active: bool,
    /// The vault's entry with their password's hash.
    pub credential: VaultKey,
    /// When they became a user.
    pub created: Timestamp,
}

/// The users, each under the offset of the record that created them.
pub type People = Registry<Person>;

impl HasName for Person {
    fn folded(&self) -> &str {
        &self.folded
    }
}

impl People {
    /// How many owners may log in.
    #[must_use]
    pub fn active_owners(&self) -> usize {
        self.iter().filter(|(_, person)| person.active && person.role == Role::Owner).count()
    }
}
