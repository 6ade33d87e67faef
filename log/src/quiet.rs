//! Panics of a dependency that become errors are not printed as crashes of this program.

use std::cell::Cell;
use std::panic;
use std::sync::Once;

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, which catches panics itself. Those of this thread are not printed meanwhile.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> T {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if IS_QUIET.get() {
                tracing::debug!("a panic that becomes an error: {info}");
            } else {
                loud(info);
            }
        }));
    });
    let before = IS_QUIET.replace(true);
    let outcome = work();
    IS_QUIET.set(before);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_done_quietly_is_quiet() {
        let caught = quietly(|| {
            assert!(IS_QUIET.get());
            quietly(|| panic::catch_unwind(|| panic!("not printed")))
        });
        assert!(caught.is_err());
        assert!(!IS_QUIET.get());
    }
}
