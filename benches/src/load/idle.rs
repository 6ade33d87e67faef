//! Many streams that wait: what each costs the server in memory, and whether heartbeats reach them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use tokio::task::LocalSet;

use super::dialect::Dialect;
use super::{Target, wait_for};
use crate::cpu::{self, Window};
use crate::cut::Event;
use crate::report::Report;
use crate::sockets;
use crate::stream::Stream;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Whom the driver talks to.
    #[arg(long, value_enum, default_value = "scrollback")]
    dialect: Dialect,
    /// Streams.
    #[arg(long, default_value_t = 10_000)]
    streams: usize,
    /// How long they idle once all are open.
    #[arg(long, default_value_t = 35.0)]
    seconds: f64,
}

/// What the streams have seen together.
#[derive(Default)]
struct Seen {
    hellos: Cell<u64>,
    heartbeats: Cell<u64>,
    ended: Cell<u64>,
    failure: RefCell<Option<anyhow::Error>>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report> {
    ensure!(!arguments.target.pids.is_empty(), "whose memory? --pid is missing");
    sockets::raise_open_files()?;
    sockets::runtime()?.block_on(LocalSet::new().run_until(idle(arguments)))
}

async fn idle(arguments: &Arguments) -> Result<Report> {
    let Arguments { target, dialect, streams, seconds } = arguments;
    let opening = dialect.subscribe(target, "now");
    let seen = Rc::new(Seen::default());
    let before = cpu::resident_kib(&target.pids)?;
    for index in 0..*streams {
        let stream = Stream::open(target.addr, index, &opening).await?;
        tokio::task::spawn_local(wait(stream, Rc::clone(&seen)));
    }
    if dialect.says_hello() {
        let attached = || seen.hellos.get() == *streams as u64 || seen.ended.get() > 0;
        ensure!(wait_for(attached, sockets::ANSWER_WAIT).await, "not every stream said hello");
    }
    let opened = cpu::resident_kib(&target.pids)?;
    let window = Window::open(&target.pids)?;
    tokio::time::sleep(Duration::from_secs_f64(*seconds)).await;
    let used = window.close()?;
    let after = cpu::resident_kib(&target.pids)?;
    if let Some(failure) = seen.failure.take() {
        return Err(failure.context("a stream failed"));
    }
    let each = |now: u64| now.saturating_sub(before) as f64 / *streams as f64;
    let mut report = Report::default();
    report
        .put("streams", streams)
        .put("rss_before_kib", before)
        .put("rss_after_kib", after)
        .ratio("opened_kib_each", each(opened))
        .ratio("kib_each", each(after))
        .put("heartbeats", seen.heartbeats.get())
        .put("ended", seen.ended.get());
    used.put(&mut report);
    Ok(report)
}

async fn wait(mut stream: Stream, seen: Rc<Seen>) {
    let mut count = |event: Event<'_>| {
        seen.hellos.set(seen.hellos.get() + u64::from(event.name == b"hello"));
        // A comment is a heartbeat too, for a server that sends those, and an empty object for Arvados' clients.
        let heartbeat = event.name == b"heartbeat" || event == Event::default() || event.data == b"{}";
        seen.heartbeats.set(seen.heartbeats.get() + u64::from(heartbeat));
    };
    loop {
        match stream.read(&mut count).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(failure) => {
                seen.failure.replace(Some(failure));
                break;
            }
        }
    }
    seen.ended.set(seen.ended.get() + 1);
}
