//! The closed loop: every connection sends one request, waits for its answer, sends the next. What a server
//! acknowledges in a second is then its own doing, and a latency is what one client would see.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::LocalSet;

use crate::cpu::Window;
use crate::report::{Latencies, Report};
use crate::sockets;

/// One connection of the loop.
pub(crate) trait Exchange: 'static {
    /// Sends the `number`-th request of the whole loop and reads its answer; true when that was good.
    fn exchange(&mut self, number: u64) -> impl Future<Output = Result<bool>>;
}

/// When a loop ends.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    Seconds(f64),
    Requests(u64),
}

/// What the connections have done together.
#[derive(Default)]
struct Tally {
    next: Cell<u64>,
    good: Cell<u64>,
    other: Cell<u64>,
    latencies: RefCell<Latencies>,
}

/// Runs the loop on these connections; `pids` is the server.
pub(crate) async fn run(
    connections: Vec<impl Exchange>,
    until: Until,
    pids: &[u32],
    report: &mut Report,
) -> Result<()> {
    let tally = Rc::new(Tally::default());
    let count = connections.len();
    let window = Window::open(pids)?;
    let (deadline, requests_max) = match until {
        Until::Seconds(seconds) => (Instant::now() + Duration::from_secs_f64(seconds), u64::MAX),
        Until::Requests(requests) => (Instant::now() + Duration::from_secs(3600), requests),
    };
    let set = LocalSet::new();
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|connection| set.spawn_local(one(connection, Rc::clone(&tally), deadline, requests_max)))
        .collect();
    set.run_until(async {
        for task in tasks {
            task.await??;
        }
        anyhow::Ok(())
    })
    .await?;
    let used = window.close()?;
    report
        .put("connections", count)
        .put("good", tally.good.get())
        .put("other", tally.other.get())
        .rate("acked_per_s", tally.good.get(), used.seconds)
        .latencies(&mut tally.latencies.borrow_mut());
    used.put(report);
    Ok(())
}

async fn one(
    mut connection: impl Exchange,
    tally: Rc<Tally>,
    deadline: Instant,
    requests_max: u64,
) -> Result<()> {
    let mut sent = Instant::now();
    while sent < deadline && tally.next.get() < requests_max {
        let number = tally.next.replace(tally.next.get() + 1);
        let counter = if connection.exchange(number).await? { &tally.good } else { &tally.other };
        counter.set(counter.get() + 1);
        let now = Instant::now();
        tally.latencies.borrow_mut().record(now - sent);
        sent = now;
    }
    Ok(())
}

/// Makes `count` connections and runs the loop on them, on a thread of its own runtime.
pub(crate) fn connect_and_run<E: Exchange>(
    count: usize,
    until: Until,
    pids: &[u32],
    connect: impl AsyncFn() -> Result<E>,
) -> Result<Report> {
    sockets::raise_open_files()?;
    let mut report = Report::default();
    sockets::runtime()?.block_on(async {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(connect().await?);
        }
        run(connections, until, pids, &mut report).await
    })?;
    Ok(report)
}
