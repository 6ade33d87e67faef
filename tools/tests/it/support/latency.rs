//! How long answers took, for the figures that `tools/soak` prints. A test asserts nothing about them unless it was told a
//! bound: on a machine with other work to do, times say nothing of the server.

use std::time::{Duration, Instant};

/// Durations of one kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Runs `work` and notes how long it took.
    pub(crate) fn of<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let value = work();
        self.0.push(began.elapsed());
        value
    }

    pub(crate) fn add(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    pub(crate) fn extend(&mut self, others: Latencies) {
        self.0.extend(others.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The duration that this part of them (0 to 1) is no longer than, in milliseconds.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        assert!(!self.0.is_empty(), "nothing was measured");
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let place = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len()) - 1;
        sorted[place].as_secs_f64() * 1e3
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn most(&self) -> f64 {
        self.quantile(1.0)
    }

    pub(crate) fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    /// How far the distributions of two are apart at most (Kolmogorov and Smirnov), and how far two samples of one and the same
    /// would be in one run of a thousand.
    pub(crate) fn apart(&self, other: &Latencies) -> (f64, f64) {
        let (mut one, mut two) = (self.0.clone(), other.0.clone());
        one.sort_unstable();
        two.sort_unstable();
        let (n, m) = (one.len() as f64, two.len() as f64);
        let (mut i, mut j, mut most) = (0, 0, 0.0_f64);
        while i < one.len() && j < two.len() {
            let next = one[i].min(two[j]);
            i += one[i..].iter().take_while(|d| **d <= next).count();
            j += two[j..].iter().take_while(|d| **d <= next).count();
            most = most.max((i as f64 / n - j as f64 / m).abs());
        }
        (most, 1.95 * ((n + m) / (n * m)).sqrt())
    }
}

/// A bound that `tools/soak` sets by environment; none elsewhere.
pub(crate) fn bound(variable: &str) -> Option<f64> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} should be a number, not {value:?}")))
}

/// Asserts that a figure is within its bound, if there is one.
#[track_caller]
pub(crate) fn must_be_within(variable: &str, figure: f64, what: &str) {
    if let Some(most) = bound(variable) {
        assert!(figure <= most, "{what}: {figure:.3} is more than {variable}={most}");
    }
}
