//! The service manager's watchdog: it is told that the server is alive only when that has just been seen.
//!
//! Seen means: the writer's loop has come round since the last look, and both runtimes have run a small task. A server
//! whose disk hangs, whose writer waits for ever or whose threads are all stuck says nothing, and is ended and started
//! again. A failed write is not hidden either: such a process ends by itself.

use std::sync::Arc;
use std::time::Duration;

use scrollback_api::Node;
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::notify::Notifier;

/// How many looks fall into the time after which the service manager gives the server up.
const LOOKS: u32 = 4;
/// The writer's loop comes round about once a second when nothing is written, so looks are not closer than this.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(1500);

/// Tells the service manager as long as the server is alive; never ends. Returns at once when nobody wants to know.
pub(crate) async fn watch(node: Arc<Node>, streams: Handle, notifier: Notifier) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    let every = (patience / LOOKS).max(LOOK_EVERY_MIN.min(patience / 2));
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watchdog = Watchdog { runtimes: [Handle::current(), streams], within: every, turns: None };
    loop {
        ticks.tick().await;
        if *node.writer.failed().borrow() {
            continue;
        }
        match watchdog.look(node.writer.turns()).await {
            Ok(()) => notifier.alive(),
            Err(stuck) => {
                tracing::warn!(stuck, "the service manager is not told that the server is alive");
            }
        }
    }
}

/// What was seen last, and what is looked at.
struct Watchdog {
    runtimes: [Handle; 2],
    /// How long a runtime may take for a task that does nothing.
    within: Duration,
    turns: Option<u64>,
}

impl Watchdog {
    /// Looks whether the writer, whose loop has now come round `turns` times, and the runtimes move.
    ///
    /// # Errors
    /// What does not.
    async fn look(&mut self, turns: u64) -> Result<(), &'static str> {
        if self.turns.replace(turns) == Some(turns) {
            return Err("the writer");
        }
        for runtime in &self.runtimes {
            if !matches!(timeout(self.within, runtime.spawn(async {})).await, Ok(Ok(()))) {
                return Err("a runtime");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn nobody_is_told_of_life_while_the_writer_or_a_runtime_stands_still() {
        let runs = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        // Nobody drives this one.
        let stuck = Builder::new_current_thread().build().unwrap();
        let watchdog = |second: &Handle| Watchdog {
            runtimes: [runs.handle().clone(), second.clone()],
            within: Duration::from_millis(20),
            turns: None,
        };
        runs.block_on(async {
            let mut sound = watchdog(runs.handle());
            sound.within = Duration::from_secs(60);
            assert_eq!(sound.look(7).await, Ok(()));
            assert_eq!(sound.look(7).await, Err("the writer"));
            assert_eq!(sound.look(8).await, Ok(()));
            assert_eq!(watchdog(stuck.handle()).look(1).await, Err("a runtime"));
        });
    }
}
