//! One channel, many readers. Every reader must see every acknowledged event once and, where the server numbers its
//! events, in order. At a low rate this is the test of latency, at a high one of throughput.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use memchr::memmem;
use tokio::task::{JoinHandle, LocalSet};

use super::dialect::Dialect;
use super::offer::{KeySet, Offer, SENT_AT, Senders};
use super::publish::Destination;
use super::transcript::{Place, Transcript};
use super::{Target, await_attached, tell_end, wait_for};
use crate::client::leading_number;
use crate::cpu::Window;
use crate::cut::{Event, Known, Sink};
use crate::report::{Latencies, Report};
use crate::sockets;
use crate::stream::Stream;

/// Latencies taken per second; more would slow the readers down and tell nothing new.
const LATENCIES_PER_SECOND: f64 = 100_000.0;

/// How long readers may take to see what was sent last.
pub(super) const DRAIN_WAIT: Duration = Duration::from_secs(10);

/// After everything was seen: how long to look for events that come twice.
pub(super) const DOUBLES_WAIT: Duration = Duration::from_millis(300);

/// Between two looks at how far the readers are.
pub(super) const LOOK: Duration = Duration::from_millis(5);

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// The id of the channel.
    #[arg(long, default_value = "")]
    channel: String,
    /// Whom the driver talks to.
    #[arg(long, value_enum, default_value = "scrollback")]
    dialect: Dialect,
    /// Streams.
    #[arg(long, default_value_t = 1_000)]
    readers: usize,
    #[command(flatten)]
    offer: Offer,
}

/// What one reader has seen.
#[derive(Default)]
struct Seen {
    attached: bool,
    ended: bool,
    /// Events that came in their order, each once.
    keys: KeySet,
    /// The newest of them.
    newest: Option<u64>,
    /// Events not newer than one that came before.
    stale: u64,
    bytes: u64,
    at: Option<Instant>,
    /// Where it stands in the transcript; none until it has seen an event that is there.
    place: Option<Place>,
}

/// What all readers share.
struct Shared {
    dialect: Dialect,
    epoch: Instant,
    /// Every how-manieth event's latency is taken.
    sample: u64,
    latencies: RefCell<Latencies>,
    transcript: RefCell<Transcript>,
}

/// One reader, while it looks at what it has just read.
struct Look<'a> {
    shared: &'a Shared,
    sent_at: &'a memmem::Finder<'static>,
    seen: &'a RefCell<Seen>,
    /// When the read returned, once somebody has asked.
    now: Option<Instant>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report> {
    sockets::raise_open_files()?;
    sockets::runtime()?.block_on(LocalSet::new().run_until(fan_out(arguments)))
}

async fn fan_out(arguments: &Arguments) -> Result<Report> {
    let Arguments { target, channel, dialect, readers, offer } = arguments;
    let epoch = Instant::now();
    let to = Destination { path: format!("/api/channels/{channel}"), token: target.token.clone() };
    let senders = Senders::connect(offer, *dialect, target, vec![to], epoch);
    let sample = (*readers as f64 * offer.rate / LATENCIES_PER_SECOND).ceil() as u64;
    let latencies = RefCell::default();
    let transcript = RefCell::new(Transcript::separated_by(dialect.separator()));
    let shared = Rc::new(Shared { dialect: *dialect, epoch, sample, latencies, transcript });
    let opening = dialect.subscribe(target, "now");
    let mut seen = Vec::with_capacity(*readers);
    let mut tasks: Vec<JoinHandle<Result<()>>> = Vec::with_capacity(*readers);
    for index in 0..*readers {
        let stream = Stream::open(target.addr, index, &opening).await?;
        let one = Rc::new(RefCell::new(Seen { attached: !dialect.says_hello(), ..Seen::default() }));
        seen.push(Rc::clone(&one));
        tasks.push(tokio::task::spawn_local(read(stream, Rc::clone(&shared), one)));
    }
    let attached = || seen.iter().all(|one| one.borrow().attached);
    await_attached(&mut tasks, attached).await?;

    let window = Window::open(&target.pids)?;
    let started = Instant::now();
    senders.start();
    while !senders.finished() {
        tokio::time::sleep(LOOK).await;
    }
    let offered_for = started.elapsed();
    let sent = senders.finish()?;
    let complete = || seen.iter().all(|one| one.borrow().keys.count >= sent.acked.count);
    wait_for(complete, DRAIN_WAIT).await;
    let used = window.close()?;
    tokio::time::sleep(DOUBLES_WAIT).await;
    tasks.iter().for_each(JoinHandle::abort);

    let mut totals = Totals::default();
    seen.iter().for_each(|one| totals.add(&one.borrow(), sent.acked));
    let last = seen.iter().filter_map(|one| one.borrow().at).max().context("no reader saw anything")?;
    let seconds = (last - started).as_secs_f64();
    let mut report = Report::default();
    report
        .put("readers", readers)
        .rate("sent_per_s", sent.acked.count + sent.refused, offered_for.as_secs_f64())
        .put("acked", sent.acked.count)
        .put("refused", sent.refused)
        .rate("delivered_per_s", totals.delivered, seconds)
        .put("lost", totals.lost)
        .put("doubled", totals.doubled)
        .put("wrong_readers", totals.wrong_readers)
        .put("ended_readers", totals.ended_readers)
        .put("bytes_per_event", totals.bytes.checked_div(totals.delivered).unwrap_or(0))
        .latencies(&mut shared.latencies.borrow_mut());
    used.put(&mut report);
    Ok(report)
}

async fn read(mut stream: Stream, shared: Rc<Shared>, seen: Rc<RefCell<Seen>>) -> Result<()> {
    let sent_at = memmem::Finder::new(SENT_AT);
    loop {
        let mut look = Look { shared: &shared, sent_at: &sent_at, seen: &seen, now: None };
        let open = stream.read(&mut look).await;
        let mut seen = seen.borrow_mut();
        seen.bytes = stream.bytes;
        if !matches!(open, Ok(true)) {
            seen.ended = true;
            tell_end(&open);
            return open.map(drop);
        }
    }
}

impl Shared {
    /// Takes the latency of an event that was sent at `sent_us` microseconds.
    fn record(&self, arrived: Instant, sent_us: u64) {
        let arrived_us = (arrived - self.epoch).as_micros() as u64;
        self.latencies.borrow_mut().record_us(arrived_us.saturating_sub(sent_us));
    }
}

impl Look<'_> {
    fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(Instant::now)
    }
}

impl Sink for Look<'_> {
    fn known(&mut self, body: &[u8]) -> Known {
        let mut seen = self.seen.borrow_mut();
        let Some(mut place) = seen.place else { return Known::default() };
        let now = self.now();
        let record = |sent_us| self.shared.record(now, sent_us);
        let Some(known) = self.shared.transcript.borrow().recognize(&mut place, body, record) else {
            return Known::default();
        };
        seen.place = Some(place);
        seen.keys.absorb(known.keys);
        seen.newest = Some(known.newest);
        seen.at = Some(now);
        Known { bytes: known.bytes, events: known.keys.count, newest: known.newest }
    }

    fn event(&mut self, event: Event<'_>, bytes: &[u8]) {
        let Shared { dialect, sample, .. } = *self.shared;
        let mut seen = self.seen.borrow_mut();
        let Some(key) = dialect.key(&event) else {
            seen.attached |= event.name == b"hello";
            return;
        };
        let now = self.now();
        seen.at = Some(now);
        if !seen.take(key, dialect.ordered()) {
            return;
        }
        let sampled = if key % sample == 0 { sent_us(self.sent_at, &event) } else { None };
        if let Some(us) = sampled {
            self.shared.record(now, us);
        }
        let place = seen.place;
        seen.place = self.shared.transcript.borrow_mut().pass(place, key, bytes, sampled);
    }
}

/// The instant of sending that the text of an event holds, in microseconds.
pub(super) fn sent_us(sent_at: &memmem::Finder<'_>, event: &Event<'_>) -> Option<u64> {
    let at = sent_at.find(event.data)? + SENT_AT.len();
    leading_number(&event.data[at..])
}

impl Seen {
    /// Whether the event is a new one.
    fn take(&mut self, key: u64, ordered: bool) -> bool {
        if ordered && self.newest.is_some_and(|newest| key <= newest) {
            self.stale += 1;
            return false;
        }
        self.newest = Some(key);
        self.keys.insert(key);
        true
    }
}

#[derive(Default)]
struct Totals {
    delivered: u64,
    lost: u64,
    doubled: u64,
    wrong_readers: u64,
    ended_readers: u64,
    bytes: u64,
}

impl Totals {
    fn add(&mut self, seen: &Seen, acked: KeySet) {
        self.delivered += seen.keys.count;
        self.lost += acked.count.saturating_sub(seen.keys.count);
        self.doubled += seen.stale + seen.keys.count.saturating_sub(acked.count);
        self.wrong_readers += u64::from(seen.keys != acked || seen.stale > 0);
        self.ended_readers += u64::from(seen.ended);
        self.bytes += seen.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(keys: &[u64], acked: &[u64]) -> (u64, u64, u64) {
        let (mut seen, mut set, mut totals) = (Seen::default(), KeySet::default(), Totals::default());
        keys.iter().for_each(|&key| {
            seen.take(key, true);
        });
        acked.iter().for_each(|&key| set.insert(key));
        totals.add(&seen, set);
        (totals.lost, totals.doubled, totals.wrong_readers)
    }

    #[test]
    fn a_lost_a_doubled_and_a_foreign_event_are_told_apart_from_all_being_well() {
        assert_eq!(totals(&[3, 5, 6], &[6, 3, 5]), (0, 0, 0));
        assert_eq!(totals(&[3, 6], &[6, 3, 5]), (1, 0, 1));
        assert_eq!(totals(&[3, 5, 5, 6], &[6, 3, 5]), (0, 1, 1));
        assert_eq!(totals(&[5, 3, 6], &[6, 3, 5]), (1, 1, 1));
        assert_eq!(totals(&[3, 5, 5], &[6, 3, 5]), (1, 1, 1));
        assert_eq!(totals(&[3, 4, 6], &[6, 3, 5]), (0, 0, 1));
    }
}
