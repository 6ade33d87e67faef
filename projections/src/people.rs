//! Who there is. A user is never forgotten, only switched off, so a sender's name can always be shown.

use std::collections::BTreeMap;
use std::io;

use scrollback_log::{Offset, Timestamp};
use serde::{Deserialize, Serialize};

use crate::facts::{Role, VaultKey};
use crate::pieces::{PieceError, PieceReader, PieceWriter};

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
#[derive(Clone, Debug, Default)]
pub struct People {
    by_offset: BTreeMap<Offset, Person>,
    by_folded: BTreeMap<String, Offset>,
}

impl People {
    /// The user whom the record at `user` created.
    #[must_use]
    pub fn get(&self, user: Offset) -> Option<&Person> {
        self.by_offset.get(&user)
    }

    /// The user whose name compares as `folded`.
    #[must_use]
    pub fn by_folded(&self, folded: &str) -> Option<(Offset, &Person)> {
        let user = *self.by_folded.get(folded)?;
        Some((user, self.by_offset.get(&user)?))
    }

    /// All users, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Offset, &Person)> {
        self.by_offset.iter().map(|(user, person)| (*user, person))
    }

    /// How many users there are, those switched off included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_offset.len()
    }

    /// Whether nobody is there yet: before the set-up.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_offset.is_empty()
    }

    /// How many owners may log in.
    #[must_use]
    pub fn active_owners(&self) -> usize {
        self.by_offset.values().filter(|person| person.active && person.role == Role::Owner).count()
    }

    pub(crate) fn contains(&self, user: Offset) -> bool {
        self.by_offset.contains_key(&user)
    }

    /// Adds a user. The caller has checked that the name is free.
    pub(crate) fn insert(&mut self, user: Offset, person: Person) {
        self.by_folded.insert(person.folded.clone(), user);
        self.by_offset.insert(user, person);
    }

    pub(crate) fn get_mut(&mut self, user: Offset) -> Option<&mut Person> {
        self.by_offset.get_mut(&user)
    }

    pub(crate) fn write(&self, out: &mut PieceWriter<'_>) -> io::Result<()> {
        out.list(self.by_offset.iter())
    }

    pub(crate) fn read(from: &mut PieceReader<'_>) -> Result<People, PieceError> {
        let mut people = People::default();
        from.list(|(user, person)| people.insert(user, person))?;
        Ok(people)
    }
}
