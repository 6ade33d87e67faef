//! How long to wait before the next try.

use std::time::Duration;

/// The first wait, about.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// The longest wait, unless the server asks for a longer one.
const RETRY_MOST: Duration = Duration::from_secs(30);
/// The wait doubles so often at most; far beyond [`RETRY_MOST`].
const DOUBLINGS_MAX: u32 = 16;

/// Counts failures in a row. Waits double, and each is drawn from the upper half of what it may be at most, so that clients
/// that lost a server together do not come back together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure; `asked` is how long the server asks to wait at least, `drawn` a number from 0 to 1.
    pub(crate) fn next(&mut self, asked: Option<Duration>, drawn: f64) -> Duration {
        let whole = (RETRY_FIRST * 2_u32.pow(self.failures.min(DOUBLINGS_MAX))).min(RETRY_MOST);
        self.failures = self.failures.saturating_add(1);
        let jittered = whole.mul_f64(0.5 + drawn.clamp(0.0, 1.0) / 2.0);
        // Whoever was asked to wait was so together with others.
        asked.map_or(jittered, |asked| asked + jittered)
    }

    /// It went well.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..40).map(|_| backoff.next(None, 1.0)).collect();
        assert_eq!(waits[..3], [RETRY_FIRST, RETRY_FIRST * 2, RETRY_FIRST * 4]);
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(waits[39], RETRY_MOST);
        backoff.reset();
        assert_eq!(backoff.next(None, 1.0), RETRY_FIRST);
    }

    #[test]
    fn waits_are_spread_and_never_shorter_than_the_server_asks() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(None, 0.0), RETRY_FIRST / 2);
        let asked = Duration::from_secs(60);
        let [low, high] = [0.0, 1.0].map(|drawn| Backoff::default().next(Some(asked), drawn));
        assert!(asked < low && low < high, "{low:?} {high:?}");
    }
}
