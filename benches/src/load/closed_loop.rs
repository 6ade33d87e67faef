//! The closed loop: every connection has so many requests under way (its depth), and sends another when one was answered.
//! What a server acknowledges in a second is then its own doing, and a latency is what one client would see.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::LocalSet;

use crate::cpu::Window;
use crate::report::{Latencies, Report};
use crate::sockets;

/// One connection of the loop.
pub(crate) trait Exchange: 'static {
    /// Adds the `number`-th request of the whole loop to what is sent next.
    fn add(&mut self, number: u64);

    /// Sends what was added.
    fn send(&mut self) -> impl Future<Output = Result<()>>;

    /// Waits until something is answered, and puts all that is answered by now into `answered`.
    fn receive(&mut self, answered: &mut Vec<Answered>) -> impl Future<Output = Result<()>>;
}

/// The answer to one request.
pub(crate) struct Answered {
    /// Of the request; none where answers come in the order of the requests.
    pub(crate) number: Option<u64>,
    pub(crate) good: bool,
}

/// When a loop ends.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    Seconds(f64),
    Requests(u64),
}

/// How large a loop is, and for how long it runs.
#[derive(Clone, Copy)]
pub(crate) struct Loop {
    pub(crate) connections: usize,
    /// Requests under way on each.
    pub(crate) depth: usize,
    pub(crate) until: Until,
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
    size: Loop,
    connections: Vec<impl Exchange>,
    pids: &[u32],
    report: &mut Report,
) -> Result<()> {
    ensure!(size.depth > 0, "a depth of 0 sends nothing");
    let tally = Rc::new(Tally::default());
    let window = Window::open(pids)?;
    let (deadline, requests_max) = match size.until {
        Until::Seconds(seconds) => (Instant::now() + Duration::from_secs_f64(seconds), u64::MAX),
        Until::Requests(requests) => (Instant::now() + Duration::from_secs(3600), requests),
    };
    let set = LocalSet::new();
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|connection| {
            set.spawn_local(one(connection, size.depth, Rc::clone(&tally), deadline, requests_max))
        })
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
        .put("connections", size.connections)
        .put("depth", size.depth)
        .put("good", tally.good.get())
        .put("other", tally.other.get())
        .rate("acked_per_s", tally.good.get(), used.seconds)
        .latencies(&mut tally.latencies.borrow_mut());
    used.put(report);
    Ok(())
}

async fn one(
    mut connection: impl Exchange,
    depth: usize,
    tally: Rc<Tally>,
    deadline: Instant,
    requests_max: u64,
) -> Result<()> {
    // What is under way, the oldest first, and when it was sent.
    let mut under_way: Vec<(u64, Instant)> = Vec::with_capacity(depth);
    let (mut answered, mut now) = (Vec::with_capacity(depth), Instant::now());
    loop {
        let before = under_way.len();
        while under_way.len() < depth && now < deadline && tally.next.get() < requests_max {
            let number = tally.next.replace(tally.next.get() + 1);
            connection.add(number);
            under_way.push((number, now));
        }
        if under_way.is_empty() {
            return Ok(());
        }
        if under_way.len() > before {
            connection.send().await?;
        }
        tokio::time::timeout(sockets::ANSWER_WAIT, connection.receive(&mut answered))
            .await
            .context("no answer")??;
        now = Instant::now();
        for answer in answered.drain(..) {
            let at = match answer.number {
                Some(number) => under_way.iter().position(|&(one, _)| one == number),
                None => Some(0),
            };
            let at = at.filter(|&at| at < under_way.len()).context("an answer to nothing")?;
            let (_, sent) = under_way.remove(at);
            tally.latencies.borrow_mut().record(now - sent);
            let counter = if answer.good { &tally.good } else { &tally.other };
            counter.set(counter.get() + 1);
        }
    }
}

/// Makes the connections and runs the loop on them, on a thread of its own runtime.
pub(crate) fn connect_and_run<E: Exchange>(
    size: Loop,
    pids: &[u32],
    connect: impl AsyncFn() -> Result<E>,
) -> Result<Report> {
    sockets::raise_open_files()?;
    let mut report = Report::default();
    sockets::runtime()?.block_on(async {
        let mut connections = Vec::with_capacity(size.connections);
        for _ in 0..size.connections {
            connections.push(connect().await?);
        }
        run(size, connections, pids, &mut report).await
    })?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers all that is under way, the newest first.
    #[derive(Default)]
    struct Backwards {
        added: Vec<u64>,
        sent: Vec<u64>,
        most: Rc<Cell<usize>>,
    }

    impl Exchange for Backwards {
        fn add(&mut self, number: u64) {
            self.added.push(number);
        }

        async fn send(&mut self) -> Result<()> {
            self.sent.append(&mut self.added);
            self.most.set(self.most.get().max(self.sent.len()));
            Ok(())
        }

        async fn receive(&mut self, answered: &mut Vec<Answered>) -> Result<()> {
            let newest_first = self.sent.drain(..).rev();
            answered.extend(newest_first.map(|number| Answered { number: Some(number), good: number != 3 }));
            Ok(())
        }
    }

    #[test]
    fn a_loop_keeps_its_depth_and_counts_every_answer() -> Result<()> {
        let most = Rc::new(Cell::new(0));
        let size = Loop { connections: 2, depth: 4, until: Until::Requests(11) };
        let connect = async || Ok(Backwards { most: Rc::clone(&most), ..Backwards::default() });
        let report = connect_and_run(size, &[], connect)?.to_string();
        assert!(report.contains(" good=10 other=1 "), "{report}");
        assert_eq!(most.get(), 4);
        Ok(())
    }
}
