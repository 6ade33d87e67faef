//! Chunks that are ready to be sent, for all readers that stand at the same offset and get the same of what follows.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use scrollback_log::Offset;

use super::cut::{Cut, Form, Taken};
use super::selection::Selection;

/// The most chunks that are kept, and the most bytes of them. Enough for some hundred kinds of readers that all keep up,
/// with room for those that are some segments behind.
const CHUNKS_MAX: usize = 1_024;
const BYTES_MAX: usize = 4 << 20;

/// What a chunk was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    selection: u64,
    after: Offset,
    end: Offset,
    form: Form,
    bytes_max: usize,
}

impl Key {
    /// That of the chunk that readers with this selection want who stand at `after` and read up to `end`.
    pub(super) fn of(after: Offset, end: Offset, cut: Cut, selection: &Selection) -> Key {
        let Cut { form, bytes_max, .. } = cut;
        Key { selection: selection.number(), after, end, form, bytes_max }
    }
}

/// The ready chunks.
#[derive(Default)]
pub(super) struct Ready {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    chunks: HashMap<Key, Taken>,
    /// The oldest first.
    order: VecDeque<Key>,
    bytes: usize,
}

impl Ready {
    /// The chunk that was made for this.
    pub(super) fn get(&self, key: &Key) -> Option<Taken> {
        self.lock().chunks.get(key).cloned()
    }

    /// Keeps a chunk, and lets the oldest go that there is no room for any more.
    pub(super) fn keep(&self, key: Key, taken: &Taken) {
        let mut kept = self.lock();
        if kept.chunks.insert(key, taken.clone()).is_some() {
            // Two readers made the same one at the same time.
            return;
        }
        kept.order.push_back(key);
        kept.bytes += taken.chunk.len();
        while (kept.order.len() > CHUNKS_MAX || kept.bytes > BYTES_MAX)
            && let Some(oldest) = kept.order.pop_front()
        {
            let gone = kept.chunks.remove(&oldest);
            kept.bytes -= gone.map_or(0, |gone| gone.chunk.len());
        }
    }

    /// Lets all of them go.
    pub(super) fn clear(&self) {
        *self.lock() = Kept::default();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
