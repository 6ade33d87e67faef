//! The memory mark: what needs much memory is refused before the kernel ends the process for taking more than its group of
//! processes may have.

mod bound;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use bound::group_bound;

use crate::figures::figures;

/// One part in so many of the bound is left to what is not counted: the kernel's own memory for sockets, the program's pages
/// of its file, small requests.
const RESERVE: u64 = 8;
/// How often the group's bound is looked at, which an operator may change while the server runs.
const BOUND_LIVES: Duration = Duration::from_secs(1);
/// After how long without a refusal a shortage is over.
const CALM: Duration = Duration::from_secs(10);

/// Watches how much memory the process has, against how much it may have.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What the operator sets; none for the group's bound.
    set: Option<u64>,
    /// The group's bound, and when it was looked at.
    looked: Mutex<Option<(Instant, Option<u64>)>>,
    /// What was promised to work that is still under way.
    promised: AtomicU64,
    shortage: Mutex<Shortage>,
}

/// What the operator was told. Large and small asks alternate while memory is short, so who is granted something between two
/// refusals ends nothing.
#[derive(Debug, Default)]
struct Shortage {
    /// When somebody was last refused, if that was told and its end was not.
    refused_at: Option<Instant>,
}

/// What there is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Begun,
    Over,
}

impl Shortage {
    /// Takes note of an ask and how it ended.
    fn note(&mut self, refused: bool, now: Instant) -> Option<News> {
        match (refused, self.refused_at) {
            (true, before) => {
                self.refused_at = Some(now);
                before.is_none().then_some(News::Begun)
            }
            (false, Some(refused_at)) if now.duration_since(refused_at) >= CALM => {
                self.refused_at = None;
                Some(News::Over)
            }
            (false, _) => None,
        }
    }
}

/// Memory that some work may take, until it is dropped.
#[derive(Debug)]
pub struct Promise {
    inner: Arc<Inner>,
    bytes: u64,
}

/// There is not so much memory left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server is short of memory")]
pub struct ShortOfMemory;

impl Memory {
    /// The process may have `bytes_max`; without it, what its group of processes may have.
    #[must_use]
    pub fn new(bytes_max: Option<u64>) -> Memory {
        Memory(Arc::new(Inner {
            set: bytes_max,
            looked: Mutex::default(),
            promised: AtomicU64::new(0),
            shortage: Mutex::default(),
        }))
    }

    /// How many bytes the process may have; none when nothing bounds it.
    #[must_use]
    pub fn bytes_max(&self) -> Option<u64> {
        self.0.bytes_max()
    }

    /// Promises `bytes` to work that takes them soon and gives them back.
    ///
    /// # Errors
    /// When there are not so many left.
    pub fn promise(&self, bytes: u64) -> Result<Promise, ShortOfMemory> {
        // First promised and then looked at: two who ask at once do not both get the last of it.
        let promised = self.0.promised.fetch_add(bytes, Ordering::SeqCst) + bytes;
        let promise = Promise { inner: Arc::clone(&self.0), bytes };
        self.0.look(promised).map(|()| promise)
    }

    /// Whether `bytes` more can be taken and kept.
    ///
    /// # Errors
    /// When there are not so many left.
    pub fn room_for(&self, bytes: u64) -> Result<(), ShortOfMemory> {
        self.0.look(self.0.promised.load(Ordering::SeqCst) + bytes)
    }
}

impl Inner {
    fn bytes_max(&self) -> Option<u64> {
        if self.set.is_some() {
            return self.set;
        }
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        match *looked {
            Some((at, bound)) if at.elapsed() < BOUND_LIVES => bound,
            _ => {
                let bound = group_bound();
                *looked = Some((Instant::now(), bound));
                bound
            }
        }
    }

    /// Whether `wanted` bytes can come to what the process has. What was promised and is taken by now counts twice: it is
    /// not known how much of it is.
    fn look(&self, wanted: u64) -> Result<(), ShortOfMemory> {
        let Some(bytes_max) = self.bytes_max() else { return Ok(()) };
        // Where the system does not tell, nothing is refused: there the kernel's word is the only one.
        let Some(used) = Usage::now() else { return Ok(()) };
        let short = used.own + wanted > bytes_max - bytes_max / RESERVE;
        if short {
            figures().memory_refusals.increment(1);
        }
        let news = self.shortage.lock().unwrap_or_else(PoisonError::into_inner).note(short, Instant::now());
        let (used_mib, bound_mib) = (used.own >> 20, bytes_max >> 20);
        match news {
            Some(News::Begun) => {
                tracing::warn!(used_mib, bound_mib, "short of memory: what needs much is refused");
            }
            Some(News::Over) => tracing::info!(used_mib, bound_mib, "there is memory again"),
            None => {}
        }
        if short { Err(ShortOfMemory) } else { Ok(()) }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.inner.promised.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

/// How many bytes of memory the process has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// All that is in memory.
    pub(crate) resident: u64,
    /// Less what stands in a file too, and is read again when it was dropped.
    pub(crate) own: u64,
}

impl Usage {
    /// None where Linux's `/proc` is not there to tell. Source: proc_pid_statm(5).
    pub(crate) fn now() -> Option<Usage> {
        let figures = std::fs::read_to_string("/proc/self/statm").ok()?;
        let mut pages = figures.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
        let (resident, shared) = (pages.next()?.ok()?, pages.next()?.ok()?);
        let page = rustix::param::page_size() as u64;
        Some(Usage { resident: resident * page, own: resident.saturating_sub(shared) * page })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_is_not_there_for_others_until_it_is_given_back() {
        let used = Usage::now().expect("Linux tells").own;
        // Other tests in this process take and free memory meanwhile: far less than this.
        let memory = Memory::new(Some((used + (8 << 30)) / 7 * 8));
        let most = memory.promise(6 << 30).unwrap();
        assert_eq!(memory.promise(6 << 30).unwrap_err(), ShortOfMemory);
        assert_eq!(memory.room_for(6 << 30), Err(ShortOfMemory));
        memory.room_for(1 << 20).unwrap();
        drop(most);
        memory.room_for(6 << 30).unwrap();
        drop(memory.promise(6 << 30).unwrap());
        assert_eq!(memory.0.promised.load(Ordering::SeqCst), 0, "a refused promise is none");
    }

    #[test]
    fn a_shortage_is_told_once_and_its_end_when_nobody_was_refused_for_a_while() {
        let (mut shortage, start) = (Shortage::default(), Instant::now());
        let mut note = |refused, millis| shortage.note(refused, start + Duration::from_millis(millis));
        assert_eq!(note(false, 0), None);
        assert_eq!(note(true, 1), Some(News::Begun));
        for millis in 2..1_000 {
            assert_eq!(note(millis % 2 == 0, millis), None, "large and small ones alternate");
        }
        assert_eq!(note(false, 10_900), None, "the last refusal was at 998");
        assert_eq!(note(false, 10_998), Some(News::Over));
        assert_eq!(note(false, 10_999), None);
        assert_eq!(note(true, 11_000), Some(News::Begun));
    }

    #[test]
    fn a_process_above_its_bound_gets_nothing() {
        let memory = Memory::new(Some(Usage::now().unwrap().own / 2));
        assert_eq!(memory.room_for(0), Err(ShortOfMemory));
        assert!(memory.promise(1).is_err());
    }

    #[test]
    fn more_memory_in_use_is_seen() {
        let before = Usage::now().unwrap().own;
        let taken = vec![7u8; 256 << 20];
        let after = Usage::now().unwrap().own;
        assert!(after > before + (128 << 20), "{before} before, {after} with {} more", taken.len());
    }
}
