//! Fences: empty values at keys ahead of the newest chunk, so that sled writes each chunk once.
//!
//! sled splits a leaf page in the middle when it holds more than 16 keys, and writes both halves anew with all their
//! values; it also writes a page anew once it has ten fragments. Appending in ascending order therefore writes every
//! chunk about three times, and what it wrote before stays as garbage until its segment is collected. If the keys to come
//! are there already, with empty values, the leaves split while they are empty: a leaf keeps nine fences and takes the
//! six chunks that fall between them, which is nearly a full leaf and less than ten fragments, and none is written twice.
//! What that saves: docs/benchmarks.md.
//!
//! A fence is only a hint to sled's layout. It means nothing, may be missing anywhere, and is overwritten when a chunk
//! gets its key.

/// How many fences for how many chunks: a leaf that splits at 17 keys is left with nine fences and would be filled up by
/// seven chunks. One fewer, because chunks differ in how many records they have: a leaf that gets one too many splits when
/// it is next read, and is written twice after all.
const FENCES_PER_CHUNK: f64 = 9.0 / 6.0;
/// New fences are set once fewer than a leaf's worth are left ahead of the newest chunk,
const LEFT_MIN: u64 = 17;
/// and so many that it takes a while until the next time.
const AHEAD: u64 = 40;
/// How much the newest commit counts in the mean of records per chunk.
const NEWEST_WEIGHT: f64 = 0.1;

/// Where the fences of a store are.
#[derive(Debug)]
pub(super) struct Fences {
    /// The first offset behind the newest chunk.
    next: u64,
    /// The next key to set a fence at.
    end: u64,
    /// The mean of records per chunk, 0 before the first commit.
    records_per_chunk: f64,
}

impl Fences {
    /// The fences of a store whose newest chunk ends before `next` and whose greatest key, chunk or fence, is `greatest`.
    pub(super) fn new(next: u64, greatest: u64) -> Fences {
        Fences { next, end: (greatest + 1).max(next), records_per_chunk: 0.0 }
    }

    /// Whether a chunk at `first` is appended; else it replaces one.
    pub(super) fn is_append(&self, first: u64) -> bool {
        first >= self.next
    }

    /// Takes note of appended chunks that hold all records before `next`, and gives the keys to set fences at before
    /// they are written, ascending.
    pub(super) fn before_append(&mut self, next: u64, chunks: usize) -> Vec<u64> {
        let newest = (next - self.next) as f64 / chunks.max(1) as f64;
        self.records_per_chunk = match self.records_per_chunk {
            0.0 => newest,
            mean => mean + (newest - mean) * NEWEST_WEIGHT,
        };
        let mut keys = Vec::new();
        // No fewer than one record lies between two keys.
        let apart = ((self.records_per_chunk / FENCES_PER_CHUNK).round() as u64).max(1);
        if self.end <= next + LEFT_MIN * apart {
            let to = next + AHEAD * apart;
            while self.end < to {
                keys.push(self.end);
                self.end += apart;
            }
        }
        self.next = next;
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_stay_ahead_of_the_newest_chunk() {
        let mut fences = Fences::new(1, 0);
        let mut ahead = 0;
        for commit in 1..200 {
            let keys = fences.before_append(1 + commit * 50, 1);
            assert!(keys.is_sorted());
            ahead = keys.last().copied().unwrap_or(ahead);
            assert!(ahead > commit * 50, "no fence ahead of offset {}", commit * 50);
        }
    }

    #[test]
    fn about_nine_fences_are_set_for_six_chunks() {
        let mut fences = Fences::new(1, 0);
        let set: usize = (1..1001).map(|commit| fences.before_append(1 + commit * 63, 1).len()).sum();
        assert!((1400..1600).contains(&set), "{set} fences for 1,000 chunks");
    }
}
