//! What has an offset and a name of its own: one map by offset, one by name.

use std::collections::BTreeMap;
use std::io;

use scrollback_log::Offset;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::pieces::{PieceError, PieceReader, PieceWriter};

/// Has a name that no other of its kind has.
pub trait HasName {
    /// The name as compared; empty when it is gone.
    fn folded(&self) -> &str;
}

/// Things of one kind, each under the offset of the record that created it.
#[derive(Clone, Debug)]
pub struct Registry<T> {
    by_offset: BTreeMap<Offset, T>,
    by_folded: BTreeMap<String, Offset>,
}

impl<T> Default for Registry<T> {
    fn default() -> Registry<T> {
        Registry { by_offset: BTreeMap::new(), by_folded: BTreeMap::new() }
    }
}

impl<T: HasName> Registry<T> {
    /// What the record at `offset` created.
    #[must_use]
    pub fn get(&self, offset: Offset) -> Option<&T> {
        self.by_offset.get(&offset)
    }

    /// The one whose name compares as `folded`.
    #[must_use]
    pub fn by_folded(&self, folded: &str) -> Option<(Offset, &T)> {
        let offset = *self.by_folded.get(folded)?;
        Some((offset, self.by_offset.get(&offset)?))
    }

    /// All of them, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Offset, &T)> {
        self.by_offset.iter().map(|(offset, named)| (*offset, named))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_offset.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_offset.is_empty()
    }

    pub(crate) fn contains(&self, offset: Offset) -> bool {
        self.by_offset.contains_key(&offset)
    }

    /// Whoever changes it leaves its name alone.
    pub(crate) fn get_mut(&mut self, offset: Offset) -> Option<&mut T> {
        self.by_offset.get_mut(&offset)
    }

    /// Adds one. The caller has checked that its name, if it still has one, is free.
    pub(crate) fn insert(&mut self, offset: Offset, named: T) {
        if !named.folded().is_empty() {
            self.by_folded.insert(named.folded().to_owned(), offset);
        }
        self.by_offset.insert(offset, named);
    }

    /// Takes one out, which frees its name.
    pub(crate) fn remove(&mut self, offset: Offset) {
        if let Some(removed) = self.by_offset.remove(&offset)
            && !removed.folded().is_empty()
        {
            self.by_folded.remove(removed.folded());
        }
    }
}

impl<T: HasName + Serialize + DeserializeOwned> Registry<T> {
    pub(crate) fn write(&self, out: &mut PieceWriter<'_>) -> io::Result<()> {
        out.list(self.by_offset.iter())
    }

    pub(crate) fn read(from: &mut PieceReader<'_>) -> Result<Registry<T>, PieceError> {
        let mut all = Registry::default();
        from.list(|(offset, named)| all.insert(offset, named))?;
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl HasName for &str {
        fn folded(&self) -> &str {
            self
        }
    }

    #[test]
    fn nothing_of_what_was_removed_stays_in_memory() {
        let mut all = Registry::default();
        all.insert(Offset(1), "named");
        all.insert(Offset(2), "");
        assert_eq!((all.len(), all.by_folded.len()), (2, 1));
        assert_eq!(all.by_folded("named"), Some((Offset(1), &"named")));
        all.remove(Offset(1));
        all.remove(Offset(2));
        assert!(all.is_empty() && all.by_folded.is_empty());
    }
}
