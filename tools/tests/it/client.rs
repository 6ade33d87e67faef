//! The client library against the real server.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use crate::support::scenario;

/// How many scenarios run at once; most of their time they wait.
const LANES: usize = 3;

#[test]
fn every_scenario_that_client_libraries_share_holds() {
    let scenarios = Mutex::new(scenario::all().into_iter());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    let next = scenarios.lock().unwrap().next();
                    let Some(scenario) = next else { return };
                    if catch_unwind(AssertUnwindSafe(|| scenario.run())).is_err() {
                        failed.lock().unwrap().push(scenario.name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "these do not hold: {failed:#?}");
}
