//! One reader that starts at the beginning of the log: how fast it becomes live.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::Target;
use super::dialect::Dialect;
use crate::cpu::Window;
use crate::cut::Event;
use crate::report::Report;
use crate::sockets;
use crate::stream::Stream;

/// A catch-up that takes longer has stopped.
const CATCHUP_WAIT: Duration = Duration::from_secs(600);

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Where to start.
    #[arg(long, default_value = "0")]
    from: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report> {
    sockets::runtime()?.block_on(async {
        tokio::time::timeout(CATCHUP_WAIT, catch_up(arguments)).await.context("never caught up")?
    })
}

async fn catch_up(arguments: &Arguments) -> Result<Report> {
    let Arguments { target, from } = arguments;
    let dialect = Dialect::Scrollback;
    let opening = dialect.subscribe(target, from);
    let window = Window::open(&target.pids)?;
    let started = Instant::now();
    let mut stream = Stream::open(target.addr, 0, &opening).await?;
    let (mut events, mut newest, mut stale, mut caught_up) = (0, 0, 0, false);
    let mut first = None;
    while !caught_up {
        let open = stream
            .read(&mut |event: Event<'_>| {
                if let Some(key) = dialect.key(&event) {
                    first.get_or_insert_with(|| started.elapsed());
                    events += 1;
                    stale += u64::from(key <= newest);
                    newest = newest.max(key);
                } else if event.name == b"caught_up" {
                    caught_up = true;
                }
            })
            .await?;
        ensure!(open || caught_up, "the stream ended before it was live");
    }
    let seconds = started.elapsed().as_secs_f64();
    let used = window.close()?;
    ensure!(stale == 0, "{stale} events came twice or out of order");
    let mut report = Report::default();
    report
        .put("events", events)
        .put("newest", newest)
        .rate("events_per_s", events, seconds)
        .ratio("mb_per_s", stream.bytes as f64 / seconds / 1e6)
        .put("first_event_us", first.unwrap_or_default().as_micros());
    used.put(&mut report);
    Ok(report)
}
