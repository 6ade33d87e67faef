//! What a measurement says: one line of `name=value` pairs, and the percentiles in it.

use std::fmt;
use std::time::Duration;

/// The latencies of a window that are kept; later ones are counted as if they had not happened.
const LATENCIES_MAX: usize = 20_000_000;

/// One line of `name=value` pairs, in the order in which they were put.
#[derive(Default)]
pub(crate) struct Report(Vec<(&'static str, String)>);

impl Report {
    pub(crate) fn put(&mut self, name: &'static str, value: impl fmt::Display) -> &mut Self {
        self.0.push((name, value.to_string()));
        self
    }

    /// A ratio with two decimals.
    pub(crate) fn ratio(&mut self, name: &'static str, value: f64) -> &mut Self {
        self.put(name, format_args!("{value:.2}"))
    }

    /// A rate: things per second, whole.
    pub(crate) fn rate(&mut self, name: &'static str, count: u64, seconds: f64) -> &mut Self {
        self.put(name, format_args!("{:.0}", count as f64 / seconds))
    }

    /// Half of the latencies are at most `p50_us`, and so on; microseconds.
    pub(crate) fn latencies(&mut self, latencies: &mut Latencies) -> &mut Self {
        self.put("p50_us", latencies.percentile(50.0))
            .put("p99_us", latencies.percentile(99.0))
            .put("max_us", latencies.percentile(100.0))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(out, "{space}{name}={value}")?;
        }
        Ok(())
    }
}

/// Latencies in microseconds, all of them kept: a histogram's rounding would show in ratios near 1.
#[derive(Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    pub(crate) fn record(&mut self, latency: Duration) {
        self.record_us(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn record_us(&mut self, us: u64) {
        if self.0.len() < LATENCIES_MAX {
            self.0.push(u32::try_from(us).unwrap_or(u32::MAX));
        }
    }

    /// The smallest latency that at least `percent` of all do not exceed; 0 of none.
    pub(crate) fn percentile(&mut self, percent: f64) -> u32 {
        self.0.sort_unstable();
        let rank = (self.0.len() as f64 * percent / 100.0).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_smallest_value_that_enough_do_not_exceed() {
        let mut latencies = Latencies::default();
        for us in (1..=200).rev() {
            latencies.record_us(us);
        }
        assert_eq!([50.0, 99.0, 100.0].map(|p| latencies.percentile(p)), [100, 198, 200]);
        assert_eq!(Latencies::default().percentile(50.0), 0);
    }
}
