//! Keeping a library's threads on one core.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Runs `start` on one core. The threads it starts inherit that and stay there; this one gets its cores back. For threads
/// that are all woken for work that one of them does, as sled's are: on one core they cost each other little, on many each
/// wake goes to another core and back. Where the system does not allow it, they run where they like.
pub(crate) fn on_one_core<T>(start: impl FnOnce() -> T) -> T {
    let Ok(cores) = sched_getaffinity(None) else { return start() };
    let Some(last) = (0..CpuSet::MAX_CPU).rev().find(|core| cores.is_set(*core)) else { return start() };
    let mut one = CpuSet::new();
    one.set(last);
    let moved = sched_setaffinity(None, &one).is_ok();
    let started = start();
    if moved && let Err(error) = sched_setaffinity(None, &cores) {
        tracing::warn!(%error, "this thread stays on one core");
    }
    started
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_started_on_one_core_stay_there_and_their_starter_does_not() {
        let count = || {
            let cores = sched_getaffinity(None).unwrap();
            (0..CpuSet::MAX_CPU).filter(|core| cores.is_set(*core)).count()
        };
        let before = count();
        let started = on_one_core(|| std::thread::spawn(count));
        assert_eq!((started.join().unwrap(), count()), (1, before));
    }
}
