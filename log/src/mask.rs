//! Masks: texts that a durable deletion has named and that the disk may still hold.
//!
//! From the moment a deletion is durable its targets are masked for every reader; the eraser then replaces them on
//! disk, in the order of the deletions, and the masks go. A mask may only go when no scan that began before the
//! erasure is still running: such a scan can hold the old bytes in its buffer and would look for the mask after it is
//! gone. So a finished erasure *retires* its masks into the current *scan epoch*, and they are dropped when the last
//! scan of that epoch has ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use roaring::RoaringTreemap;

use crate::{Erasure, Offset, Timestamp};

/// The record that deleted a text, and its time: what a tombstone says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The deletion's record.
    pub offset: Offset,
    /// The deletion's time stamp.
    pub time: Timestamp,
}

/// Texts that are named by a durable deletion and not yet known to be erased.
#[derive(Debug, Default)]
pub struct Masks {
    /// What is still to be erased, in the order of the deletions.
    work: BTreeMap<Offset, Work>,
    /// Every masked offset, with the deletion that named it first.
    masked: HashMap<Offset, Deletion>,
    /// A deletion of very many texts is looked up in its set instead of one entry each.
    large: BTreeMap<Offset, (Deletion, RoaringTreemap)>,
    /// Erased, but a scan may still hold the old bytes.
    retired: Vec<Retired>,
}

/// Held by every running scan, and by the log while it is the current one; see the module's text.
#[derive(Debug, Default)]
pub(crate) struct ScanEpoch;

#[derive(Debug)]
struct Retired {
    epoch: Weak<ScanEpoch>,
    deletion: Offset,
    targets: RoaringTreemap,
}

#[derive(Debug)]
struct Work {
    deletion: Deletion,
    left: RoaringTreemap,
}

/// Above this many targets a deletion's masks are kept as one set.
const LARGE_TARGETS: u64 = 1024;

impl Masks {
    /// Masks `targets` in the name of `deletion`.
    pub fn add(&mut self, deletion: Deletion, targets: RoaringTreemap) {
        if targets.len() > LARGE_TARGETS {
            self.large.insert(deletion.offset, (deletion, targets.clone()));
        } else {
            for target in &targets {
                self.masked.entry(Offset(target)).or_insert(deletion);
            }
        }
        self.work.insert(deletion.offset, Work { deletion, left: targets });
    }

    /// The deletion that masks the text at `offset`, if one does.
    #[must_use]
    pub fn get(&self, offset: Offset) -> Option<Deletion> {
        self.masked.get(&offset).copied().or_else(|| {
            self.large.values().find(|(_, targets)| targets.contains(offset.0)).map(|(deletion, _)| *deletion)
        })
    }

    /// Whether nothing is masked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.masked.is_empty() && self.large.is_empty()
    }

    /// How many texts wait to be erased.
    #[must_use]
    pub fn texts_waiting(&self) -> u64 {
        self.work.values().map(|work| work.left.len()).sum()
    }

    /// What waits to be erased, in the order of the deletions: what a checkpoint remembers.
    pub fn waiting(&self) -> impl Iterator<Item = (Deletion, &RoaringTreemap)> {
        self.work.values().map(|work| (work.deletion, &work.left))
    }

    /// The next texts to erase, at most `most`, all named by the oldest deletions.
    pub(crate) fn next_erasures(&self, most: usize) -> Vec<Erasure> {
        let all = self.work.values().flat_map(|work| {
            work.left.iter().map(|target| Erasure { offset: Offset(target), deletion: work.deletion })
        });
        all.take(most).collect()
    }

    /// Takes note that `erased` is durable; `epoch` is the scan epoch that ends with it. Returns the newest deletion
    /// that is now carried out completely together with all before it, if there is a new one.
    pub(crate) fn erased(&mut self, erased: &[Erasure], epoch: &Arc<ScanEpoch>) -> Option<Offset> {
        for same in erased.chunk_by(|one, other| one.deletion.offset == other.deletion.offset) {
            let deletion = same[0].deletion.offset;
            let targets: RoaringTreemap = same.iter().map(|erasure| erasure.offset.0).collect();
            if let Some(work) = self.work.get_mut(&deletion) {
                work.left -= &targets;
            }
            self.retired.push(Retired { epoch: Arc::downgrade(epoch), deletion, targets });
        }
        let mut done = None;
        while let Some(entry) = self.work.first_entry().filter(|entry| entry.get().left.is_empty()) {
            done = Some(*entry.key());
            entry.remove();
        }
        done
    }

    /// Drops the retired masks whose scan epoch nobody holds any more.
    pub(crate) fn drop_retired(&mut self) {
        let (over, held) = std::mem::take(&mut self.retired)
            .into_iter()
            .partition::<Vec<_>, _>(|retired| retired.epoch.strong_count() == 0);
        self.retired = held;
        for Retired { deletion, targets, .. } in over {
            if let Some((_, masked)) = self.large.get_mut(&deletion) {
                *masked -= &targets;
                if masked.is_empty() {
                    self.large.remove(&deletion);
                }
            } else {
                for target in &targets {
                    self.masked.remove(&Offset(target));
                }
            }
        }
    }
}
