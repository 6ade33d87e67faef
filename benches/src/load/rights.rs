//! Many readers with unlike rights and filters: every reader must see exactly what both let through. What that is, a model
//! says for every reader and every acknowledged message.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use memchr::memmem;
use tokio::task::{JoinHandle, LocalSet};

use super::dialect::Dialect;
use super::fanout::{DOUBLES_WAIT, DRAIN_WAIT, LOOK, sent_us};
use super::filters::{Filters, KINDS};
use super::offer::{Offer, SENT_AT, Senders};
use super::publish::destination_of;
use super::world::{Message, World};
use super::{Target, await_attached, tell_end, wait_for};
use crate::cpu::Window;
use crate::cut::{Event, Sink};
use crate::report::{Latencies, Report};
use crate::sockets;
use crate::stream::Stream;

/// Every how-manieth event's latency is taken.
const SAMPLE: u64 = 16;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Whom the driver talks to: Scrollback, one way or the other.
    #[arg(long, value_enum, default_value = "scrollback")]
    dialect: Dialect,
    /// Users, no two with the same rights.
    #[arg(long, default_value_t = 100)]
    users: usize,
    /// Streams, spread evenly over the users.
    #[arg(long, default_value_t = 1_000)]
    readers: usize,
    /// Unlike filters that the readers of one user have; from 1 to 10. With 1 there are as many sets of rights and filters
    /// as users.
    #[arg(long, default_value_t = KINDS)]
    kinds: usize,
    #[command(flatten)]
    offer: Offer,
}

/// What one reader has seen.
struct Seen {
    attached: bool,
    ended: bool,
    /// A bit for every offset from the first that a message may have.
    offsets: Vec<u64>,
    first: u64,
    count: u64,
    newest: u64,
    /// Events that came again, or not in order.
    doubled: u64,
    /// Events from before there were messages.
    old: u64,
    bytes: u64,
    at: Option<Instant>,
}

impl Seen {
    fn after(head: u64) -> Self {
        let (count, newest, doubled, old, bytes) = (0, 0, 0, 0, 0);
        let (attached, ended, offsets, at) = (false, false, Vec::new(), None);
        Self { attached, ended, offsets, first: head + 1, count, newest, doubled, old, bytes, at }
    }

    fn take(&mut self, offset: u64) {
        let Some(bit) = offset.checked_sub(self.first) else {
            self.old += 1;
            return;
        };
        if offset <= self.newest {
            self.doubled += 1;
            return;
        }
        self.newest = offset;
        self.count += 1;
        let word = (bit / 64) as usize;
        if word >= self.offsets.len() {
            self.offsets.resize(word + 1, 0);
        }
        self.offsets[word] |= 1 << (bit % 64);
    }

    fn has(&self, offset: u64) -> bool {
        let Some(bit) = offset.checked_sub(self.first) else { return false };
        self.offsets.get((bit / 64) as usize).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }
}

/// A reader: what it may see, and what it has seen.
struct Reader {
    user: usize,
    filters: Filters,
    seen: Rc<RefCell<Seen>>,
}

impl Reader {
    /// Whether it is to see this message.
    fn expects(&self, world: &World, message: Message) -> bool {
        world.may_see(self.user, message.channel) && self.filters.hold(message)
    }
}

/// One reader, while it looks at what it has just read.
struct Look<'a> {
    dialect: Dialect,
    epoch: Instant,
    latencies: &'a RefCell<Latencies>,
    sent_at: &'a memmem::Finder<'static>,
    seen: &'a RefCell<Seen>,
    now: Option<Instant>,
}

impl Sink for Look<'_> {
    fn event(&mut self, event: Event<'_>, _bytes: &[u8]) {
        let mut seen = self.seen.borrow_mut();
        let Some(offset) = self.dialect.key(&event) else {
            seen.attached |= event.name == b"hello";
            return;
        };
        let now = *self.now.get_or_insert_with(Instant::now);
        seen.at = Some(now);
        seen.take(offset);
        if offset % SAMPLE == 0
            && let Some(sent_us) = sent_us(self.sent_at, &event)
        {
            let arrived_us = (now - self.epoch).as_micros() as u64;
            self.latencies.borrow_mut().record_us(arrived_us.saturating_sub(sent_us));
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report> {
    let Arguments { dialect, users, kinds, .. } = arguments;
    ensure!(dialect.ordered(), "only Scrollback has rights and filters");
    ensure!(
        *users > 0 && (1..=KINDS).contains(kinds),
        "at least one user, and 1 to {KINDS} kinds of filters"
    );
    sockets::raise_open_files()?;
    sockets::runtime()?.block_on(LocalSet::new().run_until(read_all(arguments)))
}

async fn read_all(arguments: &Arguments) -> Result<Report> {
    let Arguments { target, dialect, users, readers: count, kinds, offer } = arguments;
    let world = World::make(target, *users).await?;
    let (messages, destinations): (Vec<_>, Vec<_>) = world.destinations().into_iter().unzip();
    let epoch = Instant::now();
    let senders = Senders::connect(offer, *dialect, target, destinations, epoch);
    let latencies = Rc::new(RefCell::default());
    let mut readers = Vec::with_capacity(*count);
    let mut tasks: Vec<JoinHandle<Result<()>>> = Vec::with_capacity(*count);
    for index in 0..*count {
        let (user, nth) = (index % users, index / users);
        let filters = Filters::of_kind(user + nth % kinds, user, &world);
        let reads = Target { token: world.users[user].token.clone(), ..target.clone() };
        let json = filters.json(&world);
        let opening =
            dialect.filtered(&reads, "now", Some(&json).filter(|all| !all.is_empty()).map(Vec::as_slice));
        let stream = Stream::open(target.addr, index, &opening).await?;
        let seen = Rc::new(RefCell::new(Seen::after(world.head)));
        readers.push(Reader { user, filters, seen: Rc::clone(&seen) });
        tasks.push(tokio::task::spawn_local(read(stream, *dialect, epoch, Rc::clone(&latencies), seen)));
    }
    let attached = || readers.iter().all(|reader| reader.seen.borrow().attached);
    await_attached(&mut tasks, attached).await?;

    let window = Window::open(&target.pids)?;
    let started = Instant::now();
    senders.start();
    while !senders.finished() {
        tokio::time::sleep(LOOK).await;
    }
    let offered_for = started.elapsed();
    let sent = senders.finish()?;
    let acked: Vec<(u64, Message)> = sent
        .each
        .iter()
        .map(|&(offset, number)| (offset, messages[destination_of(number, messages.len())]))
        .collect();
    let expected: Vec<u64> = readers
        .iter()
        .map(|reader| acked.iter().filter(|(_, message)| reader.expects(&world, *message)).count() as u64)
        .collect();
    let complete =
        || readers.iter().zip(&expected).all(|(reader, &wanted)| reader.seen.borrow().count >= wanted);
    wait_for(complete, DRAIN_WAIT).await;
    let used = window.close()?;
    tokio::time::sleep(DOUBLES_WAIT).await;
    tasks.iter().for_each(JoinHandle::abort);

    let mut totals = Totals::default();
    readers.iter().for_each(|reader| totals.add(reader, &world, &acked));
    let last = readers.iter().filter_map(|reader| reader.seen.borrow().at).max();
    let seconds = (last.context("no reader saw anything")? - started).as_secs_f64();
    let mut report = Report::default();
    report
        .put("readers", count)
        .put("sets", users * kinds)
        .rate("sent_per_s", sent.acked.count + sent.refused, offered_for.as_secs_f64())
        .put("acked", sent.acked.count)
        .put("refused", sent.refused)
        .put("expected", expected.iter().sum::<u64>())
        .rate("delivered_per_s", totals.delivered, seconds)
        .put("lost", totals.lost)
        .put("doubled", totals.doubled)
        .put("forbidden", totals.forbidden)
        .put("ended_readers", totals.ended_readers)
        .put("bytes_per_event", totals.bytes.checked_div(totals.delivered).unwrap_or(0))
        .latencies(&mut latencies.borrow_mut());
    used.put(&mut report);
    Ok(report)
}

async fn read(
    mut stream: Stream,
    dialect: Dialect,
    epoch: Instant,
    latencies: Rc<RefCell<Latencies>>,
    seen: Rc<RefCell<Seen>>,
) -> Result<()> {
    let sent_at = memmem::Finder::new(SENT_AT);
    loop {
        let mut look =
            Look { dialect, epoch, latencies: &latencies, sent_at: &sent_at, seen: &seen, now: None };
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

#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    delivered: u64,
    lost: u64,
    doubled: u64,
    /// What rights or filters should have kept back, or nobody sent.
    forbidden: u64,
    ended_readers: u64,
    bytes: u64,
}

impl Totals {
    fn add(&mut self, reader: &Reader, world: &World, acked: &[(u64, Message)]) {
        let seen = reader.seen.borrow();
        let mut rightly = 0;
        for &(offset, message) in acked {
            match (reader.expects(world, message), seen.has(offset)) {
                (true, true) => rightly += 1,
                (true, false) => self.lost += 1,
                (false, _) => {}
            }
        }
        self.delivered += rightly;
        self.forbidden += seen.count - rightly + seen.old;
        self.doubled += seen.doubled;
        self.ended_readers += u64::from(seen.ended);
        self.bytes += seen.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is counted of the first user's reader without filters, which saw these offsets.
    fn totals(offsets: &[u64]) -> [u64; 4] {
        let world = World::imagined(100);
        let at = |channel| Message { channel, sender: 0 };
        // Their own channel, somebody else's, a public one.
        let public = world.channels.len() - 1;
        let acked = [(11, at(0)), (12, at(1)), (14, at(public))];
        let seen = Rc::new(RefCell::new(Seen::after(10)));
        offsets.iter().for_each(|&offset| seen.borrow_mut().take(offset));
        let mut totals = Totals::default();
        totals.add(&Reader { user: 0, filters: Filters::of_kind(0, 0, &world), seen }, &world, &acked);
        [totals.delivered, totals.lost, totals.doubled, totals.forbidden]
    }

    #[test]
    fn every_lost_doubled_and_forbidden_event_is_counted() {
        assert_eq!(totals(&[11, 14]), [2, 0, 0, 0]);
        assert_eq!(totals(&[11]), [1, 1, 0, 0]);
        assert_eq!(totals(&[11, 11, 14]), [2, 0, 1, 0]);
        assert_eq!(totals(&[14, 11]), [1, 1, 1, 0], "not in order");
        assert_eq!(totals(&[11, 12, 14]), [2, 0, 0, 1], "somebody else's channel");
        assert_eq!(totals(&[11, 13, 14, 200]), [2, 0, 0, 2], "sent by nobody");
        assert_eq!(totals(&[3, 11, 14]), [2, 0, 0, 1], "from before");
    }
}
