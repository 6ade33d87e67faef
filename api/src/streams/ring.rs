//! The frames of the newest records, shared by all readers that are near the head.
//!
//! The writer appends a batch's frames before it publishes their head, so whoever has seen a head finds every record up
//! to it here or, when it has been pushed out, in the log. Readers copy what they want; but many readers that stand at
//! the same offset and select the same want the same bytes, and for them one copy, ready to be sent, is kept. Readers that
//! have fallen behind read to the ends of segments: so they stand at the same offsets again, wherever they were left.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use roaring::RoaringTreemap;
use scrollback_log::{Deletion, Offset, Record, Tag};
use scrollback_projections::Views;
use scrollback_projections::facts::FactError;

use super::Position;
use super::cut::{Cut, Cutter, Taken};
use super::frame::{Encoder, Frame};
use super::ready::{Key, Ready};
use super::selection::Selection;

/// A segment takes no more frames once it holds this many bytes: a redaction rewrites one segment.
const SEGMENT_BYTES: usize = 64 << 10;

/// What a ring gives a reader.
#[derive(Clone, Debug)]
pub enum RingRead {
    /// What lies between the reader and where it stands then.
    Taken(Taken),
    /// The reader stands before all that the ring holds.
    Behind,
}

/// The ring.
pub struct Ring {
    bytes_max: usize,
    rights_at: AtomicU64,
    redacted_at: AtomicU64,
    segments: RwLock<Segments>,
    ready: Ready,
    scratch: Mutex<Scratch>,
}

#[derive(Default)]
struct Segments {
    deque: VecDeque<Segment>,
    bytes: usize,
}

/// Frames of neighbouring records.
struct Segment {
    first: Offset,
    frames: Vec<u8>,
    entries: Vec<Entry>,
}

/// One record in a segment. An internal one has no frame.
#[derive(Clone, Copy)]
struct Entry {
    end: u32,
    tag: Tag,
    frame: Option<Frame>,
}

#[derive(Default)]
struct Scratch {
    frames: Vec<u8>,
    entries: Vec<(usize, Entry)>,
}

impl Segment {
    fn new(first: Offset) -> Segment {
        Segment { first, frames: Vec::with_capacity(SEGMENT_BYTES), entries: Vec::new() }
    }

    fn last(&self) -> Offset {
        Offset(self.first.0 + self.entries.len() as u64 - 1)
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.entries[before].end as usize)
    }

    fn bytes(&self, index: usize) -> &[u8] {
        &self.frames[self.start(index)..self.entries[index].end as usize]
    }

    fn cost(&self) -> usize {
        self.frames.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    fn push(&mut self, entry: Entry, bytes: &[u8]) {
        self.frames.extend_from_slice(bytes);
        self.entries.push(Entry { end: end_of(&self.frames), ..entry });
    }
}

/// A segment never comes near 4 GiB: it takes no more after 64 KiB, and a record is bounded.
fn end_of(frames: &[u8]) -> u32 {
    u32::try_from(frames.len()).unwrap_or(u32::MAX)
}

impl Segments {
    fn first(&self) -> Option<Offset> {
        self.deque.front().map(|segment| segment.first)
    }

    fn last(&self) -> Option<Offset> {
        self.deque.back().map(Segment::last)
    }

    /// The segment that holds `offset`, and its place there.
    fn find(&self, offset: Offset) -> Option<(usize, usize)> {
        if offset < self.first()? || offset > self.last()? {
            return None;
        }
        let segment = self.deque.partition_point(|segment| segment.first <= offset) - 1;
        Some((segment, usize::try_from(offset.0 - self.deque[segment].first.0).ok()?))
    }

    /// Shows the records `from..=to` as (offset, entry, bytes) until `visit` says no.
    fn each(&self, from: Offset, to: Offset, mut visit: impl FnMut(Offset, &Entry, &[u8]) -> bool) {
        let Some((segment, mut index)) = self.find(from) else { return };
        let mut offset = from;
        for segment in self.deque.range(segment..) {
            while let Some(entry) = segment.entries.get(index) {
                if offset > to || !visit(offset, entry, segment.bytes(index)) {
                    return;
                }
                offset = offset.next();
                index += 1;
            }
            index = 0;
        }
    }
}

impl Ring {
    /// An empty ring that holds about `bytes_max` bytes at most, and at least the newest segment.
    #[must_use]
    pub fn new(bytes_max: usize) -> Ring {
        Ring {
            bytes_max,
            rights_at: AtomicU64::new(0),
            redacted_at: AtomicU64::new(0),
            segments: RwLock::default(),
            ready: Ready::default(),
            scratch: Mutex::default(),
        }
    }

    /// Appends the frames of a batch of records, up to which the views were brought. Records that do not follow the newest one begin the ring anew.
    ///
    /// # Errors
    /// When a record is not a fact that this version knows; then nothing is appended.
    pub fn append(&self, batch: &[Record<'_>], views: &Views) -> Result<(), FactError> {
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let Scratch { frames, entries } = &mut *scratch;
        frames.clear();
        entries.clear();
        let mut encoder = Encoder::new(views.origins(), views.memberships().private());
        for record in batch {
            let start = frames.len();
            let frame = encoder.encode(record, frames)?;
            entries.push((start, Entry { end: 0, tag: record.tag, frame }));
        }
        self.rights_at.store(views.memberships().changed_at().0, Ordering::Release);
        let Some(first) = batch.first().map(|record| record.offset) else { return Ok(()) };

        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        if segments.last().is_some_and(|last| last.next() != first) {
            *segments = Segments::default();
        }
        let mut offset = first;
        for (index, (start, entry)) in entries.iter().enumerate() {
            let end = entries.get(index + 1).map_or(frames.len(), |(next, _)| *next);
            let bytes = &frames[*start..end];
            let full =
                segments.deque.back().is_none_or(|last| last.frames.len() + bytes.len() > SEGMENT_BYTES);
            if full {
                segments.deque.push_back(Segment::new(offset));
            }
            if let Some(last) = segments.deque.back_mut() {
                last.push(*entry, bytes);
            }
            offset = offset.next();
        }
        segments.bytes = segments.deque.iter().map(Segment::cost).sum();
        while segments.bytes > self.bytes_max && segments.deque.len() > 1 {
            if let Some(oldest) = segments.deque.pop_front() {
                segments.bytes -= oldest.cost();
            }
        }
        // What one large batch left behind is not kept.
        frames.shrink_to(4 * SEGMENT_BYTES);
        Ok(())
    }

    /// Replaces the frames of `targets` by those of the same records with their texts gone. When this returns, no reader
    /// can get the texts from here any more; it must be called before the deletion's head is published.
    pub fn redact(&self, targets: &RoaringTreemap, deletion: Deletion) {
        self.redacted_at.store(deletion.offset.0, Ordering::Release);
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return };
        let mut iter = targets.iter();
        iter.advance_to(first.0);
        let mut at = iter.take_while(|target| *target <= last.0).peekable();
        while let Some(target) = at.peek().copied() {
            let Some((index, _)) = segments.find(Offset(target)) else { return };
            let segment = &mut segments.deque[index];
            let last = segment.last();
            let mut here = std::iter::from_fn(|| at.next_if(|target| *target <= last.0)).peekable();
            let mut redacted = Segment::new(segment.first);
            redacted.entries.reserve_exact(segment.entries.len());
            let mut gone = Vec::new();
            for (place, entry) in segment.entries.iter().enumerate() {
                let named = here.next_if_eq(&(segment.first.0 + place as u64)).is_some();
                let bytes = segment.bytes(place);
                gone.clear();
                match entry
                    .frame
                    .filter(|_| named)
                    .and_then(|frame| frame.push_gone(bytes, deletion, &mut gone))
                {
                    Some(frame) => redacted.push(Entry { frame: Some(frame), ..*entry }, &gone),
                    None => redacted.push(*entry, bytes),
                }
            }
            *segment = redacted;
        }
        // Inside the lock: nobody can make another one of the old frames.
        self.ready.clear();
    }

    /// What lies between `after` and `head` and this selection wants, as far as the cut allows. `head` must be a published
    /// head.
    #[must_use]
    pub fn read(&self, after: Offset, head: Offset, cut: Cut, selection: &Selection) -> RingRead {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let Some((index, place)) = segments.find(after.next()) else { return RingRead::Behind };
        let last = segments.deque[index].last();
        let end = if cut.shared { head.min(last) } else { head };
        // What begins in the middle of an old segment nobody else is likely to want.
        let key = (cut.shared && (place == 0 || end == head)).then(|| Key::of(after, end, cut, selection));
        let taken = match key {
            None => None,
            Some(key) => self.ready.get(&key).or_else(|| {
                let taken = take(&segments, after, end, Cut { events_max: usize::MAX, ..cut }, selection)?;
                // Inside the lock of the segments, so that what a redaction has dropped does not come back.
                self.ready.keep(key, &taken);
                Some(taken)
            }),
        };
        let taken = taken.filter(|taken| taken.events <= cut.events_max);
        match taken.or_else(|| take(&segments, after, end, cut, selection)) {
            Some(taken) => RingRead::Taken(taken),
            None => RingRead::Behind,
        }
    }

    /// The newest record that may have changed what anybody may see, as far as it was appended here: whoever knows a head
    /// finds no older one than there was at it.
    #[must_use]
    pub fn rights_at(&self) -> Offset {
        Offset(self.rights_at.load(Ordering::Acquire))
    }

    /// Shows the frames of the records from `head` back until `visit` says no. Returns the oldest record that it came to; none
    /// when it does not hold `head`.
    pub fn each_back(&self, head: Offset, mut visit: impl FnMut(Offset, &Frame) -> bool) -> Option<Offset> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let (newest, _) = segments.find(head)?;
        let mut reached = head;
        for segment in segments.deque.range(..=newest).rev() {
            let held = segment
                .entries
                .len()
                .min(usize::try_from(head.0 - segment.first.0 + 1).unwrap_or(usize::MAX));
            for (place, entry) in segment.entries[..held].iter().enumerate().rev() {
                reached = Offset(segment.first.0 + place as u64);
                if entry.frame.as_ref().is_some_and(|frame| !visit(reached, frame)) {
                    return Some(reached);
                }
            }
        }
        Some(reached)
    }

    /// The channels that the records behind `after`, up to `head`, are about, in their order. None if there are more than `most` of them, or if
    /// not all of these records are held.
    #[must_use]
    pub fn channels_between(&self, after: Offset, head: Offset, most: usize) -> Option<Vec<Offset>> {
        let mut channels = Vec::new();
        let reached = self.each_back(head, |offset, frame| {
            if offset <= after {
                return false;
            }
            if let Some(channel) = frame.facets.channel
                && !channels.contains(&channel)
            {
                channels.push(channel);
            }
            channels.len() <= most
        })?;
        channels.sort_unstable();
        (channels.len() <= most && reached <= after.next()).then_some(channels)
    }

    /// The newest deletion that was made known here: what was read of the log before it may have texts that are gone now.
    #[must_use]
    pub fn redacted_at(&self) -> Offset {
        Offset(self.redacted_at.load(Ordering::Acquire))
    }

    /// The position at `offset`, if the ring still holds its record.
    #[must_use]
    pub fn position(&self, offset: Offset) -> Option<Position> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let (segment, index) = segments.find(offset)?;
        Some(Position { offset, tag: segments.deque[segment].entries[index].tag })
    }

    /// About how many bytes the ring holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).bytes
    }
}

fn take(segments: &Segments, after: Offset, end: Offset, cut: Cut, selection: &Selection) -> Option<Taken> {
    let mut cutter = Cutter::new(cut, 0);
    segments.each(after.next(), end, |offset, entry, bytes| {
        let place = Position { offset, tag: entry.tag };
        match entry.frame.as_ref().filter(|frame| selection.wants(frame)) {
            Some(frame) => cutter.push(place, frame, bytes),
            None => {
                cutter.pass(place);
                true
            }
        }
    });
    cutter.finish()
}
