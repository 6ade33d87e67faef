//! The open loop: messages are sent at a given rate whatever the server makes of it. Each connection sends a burst,
//! waits for its answers and sends the next when it is due, so a server that falls behind is offered less in the end;
//! what was really sent is counted.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use tokio::task::LocalSet;

use super::Target;
use super::dialect::Dialect;
use super::publish::{Destination, Publisher};
use crate::sockets;
use crate::text::{self, scatter};

/// What stands before the instant of sending in a message's text.
pub(crate) const SENT_AT: &str = "@us=";

#[derive(Args, Clone)]
pub(crate) struct Offer {
    /// Events per second.
    #[arg(long, default_value_t = 20.0)]
    pub(crate) rate: f64,
    /// How long.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// Connections that send.
    #[arg(long, default_value_t = 1)]
    pub(crate) senders: u32,
    /// Requests that a connection sends in one write.
    #[arg(long, default_value_t = 1)]
    pub(crate) burst: u32,
    /// The length of a message's text.
    #[arg(long, default_value_t = 48)]
    pub(crate) bytes: usize,
}

/// A set of events, by count and by a sum over a hash of their numbers: two sets of the same count and sum are the
/// same set, and an addition is all an event costs. Sums of the plain numbers would hide one event taken for another two.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct KeySet {
    pub(crate) count: u64,
    sum: u64,
}

impl KeySet {
    pub(crate) fn insert(&mut self, key: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(scatter(key));
    }

    pub(crate) fn absorb(&mut self, other: Self) {
        self.count += other.count;
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// Takes out what is known to be in.
    pub(crate) fn remove(&mut self, other: Self) {
        self.count -= other.count;
        self.sum = self.sum.wrapping_sub(other.sum);
    }
}

/// What the senders did.
#[derive(Clone, Default)]
pub(crate) struct Sent {
    pub(crate) acked: KeySet,
    /// By what number each of them is known to readers, and as which it was sent.
    pub(crate) each: Vec<(u64, u64)>,
    pub(crate) refused: u64,
}

impl Sent {
    pub(crate) fn acked(&mut self, key: u64, number: u64) {
        self.acked.insert(key);
        self.each.push((key, number));
    }
}

/// Senders that are connected, on a thread of their own, so that a driver busy with reading still sends on time.
pub(crate) struct Senders {
    go: Sender<()>,
    thread: JoinHandle<Result<Sent>>,
}

impl Senders {
    /// `epoch` is the instant from which the texts count microseconds.
    pub(crate) fn connect(
        offer: &Offer,
        dialect: Dialect,
        target: &Target,
        destinations: Vec<Destination>,
        epoch: Instant,
    ) -> Self {
        let (go, start) = mpsc::channel();
        let job = Job { offer: offer.clone(), dialect, addr: target.addr, epoch };
        Self { go, thread: thread::spawn(move || job.run(destinations, &start)) }
    }

    /// Lets them send. Should they have failed to connect, `finish` says so.
    pub(crate) fn start(&self) {
        let _ = self.go.send(());
    }

    pub(crate) fn finished(&self) -> bool {
        self.thread.is_finished()
    }

    pub(crate) fn finish(self) -> Result<Sent> {
        self.thread.join().map_err(|_| anyhow::anyhow!("the senders panicked"))?
    }
}

struct Job {
    offer: Offer,
    dialect: Dialect,
    addr: SocketAddr,
    epoch: Instant,
}

impl Job {
    fn run(self, destinations: Vec<Destination>, start: &Receiver<()>) -> Result<Sent> {
        let (job, destinations) = (Rc::new(self), Rc::from(destinations));
        sockets::runtime()?.block_on(LocalSet::new().run_until(async {
            let mut publishers = Vec::new();
            for _ in 0..job.offer.senders {
                publishers.push(Publisher::connect(job.dialect, job.addr, Rc::clone(&destinations)).await?);
            }
            // Nothing else runs on this thread yet.
            start.recv()?;
            let started = Instant::now();
            let tasks: Vec<_> = (0..)
                .zip(publishers)
                .map(|(index, publisher)| {
                    tokio::task::spawn_local(Rc::clone(&job).send_from(index, publisher, started))
                })
                .collect();
            let mut all = Sent::default();
            for task in tasks {
                let sent = task.await??;
                all.acked.absorb(sent.acked);
                all.each.extend(sent.each);
                all.refused += sent.refused;
            }
            Ok(all)
        }))
    }

    async fn send_from(
        self: Rc<Self>,
        index: u32,
        mut publisher: Publisher,
        started: Instant,
    ) -> Result<Sent> {
        let Offer { rate, seconds, senders, burst, .. } = self.offer;
        let interval = Duration::from_secs_f64(f64::from(senders * burst) / rate);
        let end = started + Duration::from_secs_f64(seconds);
        let mut due = started + interval * index / senders;
        let mut sent = Sent::default();
        let mut number = u64::from(index) << 32;
        // The due instant alone would let a sender that is behind go on for as long as it is behind.
        while due < end && Instant::now() < end {
            tokio::time::sleep_until(due.into()).await;
            for _ in 0..burst {
                let us = self.epoch.elapsed().as_micros();
                let text = text::message(&format!("{SENT_AT}{us:016} "), number, self.offer.bytes);
                publisher.add(number, &text);
                number += 1;
            }
            publisher.publish(&mut sent).await?;
            due += interval;
        }
        Ok(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_differ_when_one_event_is_swapped_for_another() {
        let set = |keys: &[u64]| {
            let mut set = KeySet::default();
            keys.iter().for_each(|&key| set.insert(key));
            set
        };
        assert!(set(&[1, 2, 3]) == set(&[3, 1, 2]));
        assert!(set(&[1, 2, 3]) != set(&[1, 1, 4]));
        assert!(set(&[1, 2]) != set(&[1, 2, 2]));
    }
}
