//! How durations, lifetimes, times and filters are typed.

use std::time::Duration;

use scrollback_api::timestamps;
use scrollback_log::Timestamp;
use serde_json::Value;

/// A duration, or none for `off`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime(pub(super) Option<Duration>);

pub(super) fn duration(typed: &str) -> Result<Duration, String> {
    humantime::parse_duration(typed).map_err(|error| format!("{error} (try 90d, 24h, 10s)"))
}

pub(super) fn lifetime(typed: &str) -> Result<Lifetime, String> {
    if typed == "off" { Ok(Lifetime(None)) } else { duration(typed).map(|time| Lifetime(Some(time))) }
}

pub(super) fn time(typed: &str) -> Result<Timestamp, String> {
    timestamps::parse(typed)
        .or_else(|| timestamps::parse(&format!("{typed}T00:00:00Z")))
        .ok_or_else(|| "not a time (try 2010-01-01 or 2010-01-01T12:00:00Z)".to_owned())
}

/// A filter as the server takes it, which also says whether it is a good one.
pub(super) fn filter(typed: &str) -> Result<Value, String> {
    serde_json::from_str(typed)
        .map_err(|error| format!("not JSON: {error} (try [[\"type\",\"=\",\"message\"]])"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_the_midnight_it_begins_with() {
        assert_eq!(time("2010-01-01").unwrap(), time("2010-01-01T00:00:00Z").unwrap());
        assert!(time("yesterday").is_err());
    }
}
