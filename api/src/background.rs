//! Threads that step back behind those that serve.

/// By how much: what is added to the calling thread's nice value.
const NICE: i32 = 10;

/// Lets the calling thread, which does `what`, step back. Where the system refuses, the thread goes on as it is.
pub(crate) fn step_back(what: &str) {
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(%error, "{what} has the usual priority");
    }
}
