//! How long it takes until every waiting stream has handled a pulse.
//!
//! A pass begins when a pulse is published and is over when each stream that waited for it has sent what it had, or found
//! its socket full. The figure decides whether the next heads are told at once or put together; it need not be exact.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Counts streams in and out of their waits.
#[derive(Debug)]
pub(super) struct Passes {
    base: Instant,
    waiting: AtomicUsize,
    handled: AtomicU64,
    handled_at_nanos: AtomicU64,
}

/// A pass that has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    began: Instant,
    streams: u64,
    handled_before: u64,
}

impl Default for Passes {
    fn default() -> Self {
        Passes {
            base: Instant::now(),
            waiting: AtomicUsize::new(0),
            handled: AtomicU64::new(0),
            handled_at_nanos: AtomicU64::new(0),
        }
    }
}

impl Passes {
    /// A stream waits for the next pulse until the guard is dropped.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    /// A stream that was woken has done what it could at once.
    pub(super) fn handled(&self) {
        let nanos = u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.handled_at_nanos.fetch_max(nanos, Ordering::Relaxed);
        self.handled.fetch_add(1, Ordering::Relaxed);
    }

    /// A pulse is about to wake all that wait.
    pub(super) fn begin(&self) -> Pass {
        Pass {
            began: Instant::now(),
            streams: self.waiting.load(Ordering::Relaxed) as u64,
            handled_before: self.handled.load(Ordering::Relaxed),
        }
    }

    /// How long the pass took, or has taken so far.
    pub(super) fn length(&self, pass: Pass) -> Duration {
        let handled = self.handled.load(Ordering::Relaxed).wrapping_sub(pass.handled_before);
        if handled < pass.streams {
            return pass.began.elapsed();
        }
        let ended = self.base + Duration::from_nanos(self.handled_at_nanos.load(Ordering::Relaxed));
        ended.saturating_duration_since(pass.began)
    }
}

impl Pass {
    /// When the next heads should be told if one comes now: at once after a quiet time of as long as the pass took, else at
    /// a distance of `coalesce`, or of twice what the pass took if that is more, up to `most`.
    pub(super) fn next(self, length: Duration, coalesce: Duration, most: Duration) -> Instant {
        if self.began.elapsed() >= 2 * length {
            return self.began;
        }
        self.began + (2 * length).clamp(coalesce, most.max(coalesce))
    }
}

/// A stream that waits.
pub(super) struct Waiting<'a>(&'a Passes);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COALESCE: Duration = Duration::from_millis(20);
    const MOST: Duration = Duration::from_millis(50);

    #[test]
    fn a_pass_is_over_when_every_stream_that_waited_has_handled_it() {
        let passes = Passes::default();
        let waiting = [passes.wait(), passes.wait()];
        let pass = passes.begin();
        drop(waiting);
        passes.handled();
        let so_far = passes.length(pass);
        passes.handled();
        let length = passes.length(pass);
        assert!(length >= so_far);
        assert_eq!(passes.length(pass), length, "it does not grow any more");
        assert_eq!(passes.begin().streams, 0);
    }

    #[test]
    fn a_head_after_a_quiet_time_goes_at_once_and_others_are_put_together() {
        let began = Instant::now().checked_sub(Duration::from_millis(10)).unwrap();
        let pass = Pass { began, streams: 0, handled_before: 0 };
        assert!(pass.next(Duration::from_millis(1), COALESCE, MOST) <= Instant::now());
        assert_eq!(pass.next(Duration::from_millis(8), COALESCE, MOST), began + COALESCE);
        assert_eq!(pass.next(Duration::from_millis(15), COALESCE, MOST), began + Duration::from_millis(30));
        assert_eq!(pass.next(Duration::from_secs(9), COALESCE, MOST), began + MOST);
    }
}
