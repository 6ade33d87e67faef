//! What every test here stands on: the real binary, a client written byte by byte, and the checker of histories.

pub(crate) mod arvados;
pub(crate) mod arvados_follower;
pub(crate) mod arvados_rows;
pub(crate) mod client;
pub(crate) mod corpus;
pub(crate) mod disk;
pub(crate) mod events;
pub(crate) mod files;
pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod installed;
pub(crate) mod judge;
pub(crate) mod latency;
pub(crate) mod library;
pub(crate) mod losses;
pub(crate) mod paper;
pub(crate) mod progress;
pub(crate) mod proxy;
pub(crate) mod random;
pub(crate) mod raw_ws;
pub(crate) mod reader;
pub(crate) mod relay;
pub(crate) mod scenario;
pub(crate) mod server;
pub(crate) mod tailing;
pub(crate) mod watcher;
pub(crate) mod ws;

use std::time::{Duration, Instant};

use server::PROCESS_WAIT;

/// The password of every user in these tests.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often a test does its work: a small number here, more in `tools/test`, many in `tools/soak`.
pub(crate) fn count(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{variable} should be a number, not {value:?}")),
        Err(_) => default,
    }
}

/// Looks until it is so, for as long as a process may take for anything.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PROCESS_WAIT;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}
