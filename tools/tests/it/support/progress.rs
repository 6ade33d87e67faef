//! How far the writers of a test have come, for whoever breaks something in the middle of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};

use super::server::PROCESS_WAIT;

/// How many writes were answered.
#[derive(Default)]
pub(crate) struct Progress {
    answered: Mutex<u64>,
    moved: Condvar,
    over: AtomicBool,
}

impl Progress {
    pub(crate) fn step(&self) {
        *self.answered.lock().unwrap() += 1;
        self.moved.notify_all();
    }

    /// Waits for so many more answers, or for the end.
    pub(crate) fn wait_for(&self, more: u64) {
        let answered = self.answered.lock().unwrap();
        let goal = *answered + more;
        let (answered, _) =
            self.moved.wait_timeout_while(answered, PROCESS_WAIT, |n| *n < goal && !self.is_over()).unwrap();
        assert!(*answered >= goal || self.is_over(), "the writers stand still");
    }

    pub(crate) fn end(&self) {
        let _answered = self.answered.lock().unwrap();
        self.over.store(true, Ordering::SeqCst);
        self.moved.notify_all();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

/// Ends the writers, whatever becomes of the test.
pub(crate) struct EndOnDrop<'a>(pub(crate) &'a Progress);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
