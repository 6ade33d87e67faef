//! What all readers of one channel are sent alike, taken down from whoever got it first. A reader whose bytes are the
//! same has the same events: comparing is several times cheaper than parsing, and misses nothing.

use super::offer::KeySet;

/// The published events of a stream, in its order, each once.
#[derive(Default)]
pub(crate) struct Transcript {
    /// What parts an event from the one before and stands at its start; before the first of a body there may be something
    /// else of the same length.
    separator: &'static [u8],
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    samples: Vec<Sample>,
}

#[derive(Clone, Copy)]
struct Entry {
    end: usize,
    key: u64,
    /// All keys up to and with this one.
    keys: KeySet,
}

/// An event whose latency is taken.
#[derive(Clone, Copy)]
struct Sample {
    entry: usize,
    sent_us: u64,
}

/// How far a reader has come in the transcript.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Events that lie behind.
    entries: usize,
    /// Samples that lie behind.
    samples: usize,
}

/// Events that a reader was sent just as they stand in the transcript.
pub(crate) struct Recognized {
    /// The bytes they took.
    pub(crate) bytes: usize,
    /// Their keys.
    pub(crate) keys: KeySet,
    /// The last one's key.
    pub(crate) newest: u64,
}

impl Transcript {
    pub(crate) fn separated_by(separator: &'static [u8]) -> Self {
        Self { separator, ..Self::default() }
    }

    /// Where a reader stands after it was sent this event, which it did not recognize: behind it, or nowhere if it is not
    /// here. Whoever is the first to come so far takes it down.
    pub(crate) fn pass(
        &mut self,
        before: Option<Place>,
        key: u64,
        bytes: &[u8],
        sent_us: Option<u64>,
    ) -> Option<Place> {
        let at_the_end = before.map_or(0, |place| place.entries) == self.entries.len();
        if !at_the_end {
            let entries = self.entries.iter().rposition(|entry| entry.key == key)? + 1;
            return Some(Place {
                entries,
                samples: self.samples.partition_point(|sample| sample.entry < entries),
            });
        }
        self.bytes.extend_from_slice(self.separator);
        self.bytes.extend_from_slice(&bytes[self.separator.len()..]);
        let mut keys = self.entries.last().map_or_else(KeySet::default, |entry| entry.keys);
        keys.insert(key);
        if let Some(sent_us) = sent_us {
            self.samples.push(Sample { entry: self.entries.len(), sent_us });
        }
        self.entries.push(Entry { end: self.bytes.len(), key, keys });
        Some(Place { entries: self.entries.len(), samples: self.samples.len() })
    }

    /// The whole events at the start of `body` that are the next ones for a reader at `place`, which moves past them.
    /// Shows when each of the samples among them was sent.
    pub(crate) fn recognize(
        &self,
        place: &mut Place,
        body: &[u8],
        mut sample: impl FnMut(u64),
    ) -> Option<Recognized> {
        let start = place.entries.checked_sub(1).map_or(0, |before| self.entries[before].end);
        let ahead = &self.entries[place.entries..];
        let count = ahead.partition_point(|entry| entry.end - start <= body.len());
        let last = ahead[..count].last()?;
        let bytes = last.end - start;
        let separator = self.separator.len();
        if self.bytes[start + separator..last.end] != body[separator..bytes] {
            return None;
        }
        let mut keys = last.keys;
        if let Some(before) = place.entries.checked_sub(1) {
            keys.remove(self.entries[before].keys);
        }
        place.entries += count;
        while let Some(next) = self.samples.get(place.samples)
            && next.entry < place.entries
        {
            sample(next.sent_us);
            place.samples += 1;
        }
        Some(Recognized { bytes, keys, newest: last.key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[u64]) -> KeySet {
        let mut set = KeySet::default();
        keys.iter().for_each(|&key| set.insert(key));
        set
    }

    #[test]
    fn a_reader_recognizes_what_another_was_sent_and_nothing_else() {
        let (mut transcript, mut first) = (Transcript::default(), None);
        for (key, bytes) in [(3, &b"three"[..]), (5, b"five"), (6, b"six")] {
            first = transcript.pass(first, key, bytes, (key == 5).then_some(50));
        }
        assert_eq!(transcript.pass(None, 9, b"nine", None), None, "only a reader at the end takes down");

        let (mut late, mut samples) = (Place::default(), Vec::new());
        let known = transcript.recognize(&mut late, b"threefivesi", |us| samples.push(us)).unwrap();
        assert!((known.bytes, known.newest) == (9, 5) && known.keys == keys(&[3, 5]));
        assert_eq!(samples, [50]);
        assert!(transcript.recognize(&mut late, b"sax", |_| ()).is_none());
        let known = transcript.recognize(&mut late, b"six", |_| ()).unwrap();
        assert!((known.bytes, known.newest) == (3, 6) && known.keys == keys(&[6]));
        assert_eq!(Some(late), first);

        assert_eq!(transcript.pass(None, 6, b"six", None), first, "found where it stands");
        assert_eq!(transcript.pass(first, 7, b"seven", None).unwrap().entries, 4);
    }

    #[test]
    fn a_reader_recognizes_events_that_are_parted_elsewhere() {
        let (mut transcript, mut first) = (Transcript::separated_by(b","), None);
        for (key, bytes) in [(3, &b"[three"[..]), (5, b",five"), (6, b"[six")] {
            first = transcript.pass(first, key, bytes, None);
        }
        let mut late = Place::default();
        let known = transcript.recognize(&mut late, b"[three,five]", |_| ()).unwrap();
        assert_eq!((known.bytes, known.newest), (11, 5));
        assert_eq!(transcript.recognize(&mut late, b"[six]", |_| ()).unwrap().bytes, 4);
        let known = transcript.recognize(&mut Place::default(), b"[three,five,six]", |_| ()).unwrap();
        assert_eq!((known.bytes, known.newest), (15, 6));
        assert!(transcript.recognize(&mut Place::default(), b"[three;five,six]", |_| ()).is_none());
    }
}
