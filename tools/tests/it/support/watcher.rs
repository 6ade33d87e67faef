//! A program that watches channels by the client library, and does with its watch what it is told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use scrollback_client::{Client, Elsewhere, Ended, Gone, Notice, Watch, WatchOptions, Watched};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::until;

/// What was told.
#[derive(Default)]
struct Record {
    changed: HashMap<String, Vec<u64>>,
    gone: HashMap<String, Gone>,
    caught_up: usize,
    elsewhere: Vec<Elsewhere>,
    ended: Option<Ended>,
}

type Shared = Arc<Mutex<Record>>;

/// What the program is to do; it says when it is done.
enum Order {
    Check(oneshot::Sender<()>),
    /// What is told from then on goes to another record.
    Replace(Watched, Shared, oneshot::Sender<()>),
    Unwatch(oneshot::Sender<()>),
    /// It ends, and gives what it knows.
    Leave(oneshot::Sender<Watched>),
}

/// A running program.
#[derive(Clone)]
pub(crate) struct Watcher {
    options: WatchOptions,
    record: Shared,
    orders: UnboundedSender<Order>,
    /// What it knew when it left.
    kept: Option<Watched>,
}

impl Watcher {
    pub(crate) fn start(
        runtime: &Runtime,
        client: &Client,
        watched: Watched,
        options: WatchOptions,
    ) -> Watcher {
        let record = Shared::default();
        let orders = run(runtime, client.watch(watched, options.clone()), &record);
        Watcher { options, record, orders, kept: None }
    }

    pub(crate) fn check(&self) {
        self.order(Order::Check);
    }

    /// The program that it is once it watches these.
    pub(crate) fn replace(&self, watched: Watched) -> Watcher {
        let record = Shared::default();
        self.order(|done| Order::Replace(watched, Arc::clone(&record), done));
        Watcher { record, ..self.clone() }
    }

    pub(crate) fn unwatch(&self) {
        self.order(Order::Unwatch);
    }

    pub(crate) fn leave(&mut self) {
        self.kept = Some(self.order(Order::Leave));
    }

    /// Goes on from what it knew, by way of a disk.
    pub(crate) fn come_back(&mut self, runtime: &Runtime, client: &Client) {
        if self.kept.is_none() {
            self.leave();
        }
        self.look().ended = None;
        let kept = serde_json::to_string(&self.kept.take()).unwrap();
        let watch = client.watch(serde_json::from_str::<Watched>(&kept).unwrap(), self.options.clone());
        self.orders = run(runtime, watch, &self.record);
    }

    fn look(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }

    fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> T {
        let (done, when_done) = oneshot::channel();
        assert!(self.orders.send(order(done)).is_ok(), "the program runs");
        when_done.blocking_recv().expect("the program runs")
    }

    /// Waits until this was the newest that it was told of the channel.
    #[track_caller]
    pub(crate) fn told(&self, channel: &str, newest: u64) {
        until(&format!("{newest} of {channel} is told"), || {
            (self.look().changed.get(channel)?.last() == Some(&newest)).then_some(())
        });
    }

    /// Waits until it was told of the channel so often, which must be all.
    #[track_caller]
    pub(crate) fn told_times(&self, channel: &str, times: usize) {
        let told = || self.look().changed.get(channel).cloned().unwrap_or_default();
        until(&format!("{channel} is told {times} times"), || (told().len() >= times).then_some(()));
        assert_eq!(told().len(), times, "{channel}: {:?}", told());
    }

    /// Whatever was told of a channel was newer than what was told before.
    #[track_caller]
    pub(crate) fn never_went_back(&self) {
        for (channel, told) in &self.look().changed {
            assert!(told.is_sorted_by(|before, after| before < after), "{channel}: {told:?}");
        }
    }

    #[track_caller]
    pub(crate) fn told_gone(&self, channel: &str, why: &str) {
        let gone = until(&format!("{channel} is gone"), || self.look().gone.get(channel).cloned());
        assert_eq!(String::from(gone), why);
    }

    #[track_caller]
    pub(crate) fn told_elsewhere(&self, elsewhere: Elsewhere) {
        until("it says so", || (!self.look().elsewhere.is_empty()).then_some(()));
        assert_eq!(self.look().elsewhere, [elsewhere]);
    }

    #[track_caller]
    pub(crate) fn caught_up(&self, times: usize) {
        until(&format!("{times} times everything is told"), || {
            (self.look().caught_up >= times).then_some(())
        });
    }

    #[track_caller]
    pub(crate) fn ended(&self) -> Ended {
        until("the watch stops", || self.look().ended.clone())
    }
}

fn run(runtime: &Runtime, watch: Watch, record: &Shared) -> UnboundedSender<Order> {
    let (orders, ordered) = unbounded_channel();
    runtime.spawn(obey(watch, Arc::clone(record), ordered));
    orders
}

/// Until the last order, or nobody is left to give one.
async fn obey(mut watch: Watch, mut record: Shared, mut orders: UnboundedReceiver<Order>) {
    loop {
        let is_over = record.lock().unwrap().ended.is_some();
        let order = tokio::select! {
            order = orders.recv() => order,
            notice = watch.next(), if !is_over => {
                note(&mut record.lock().unwrap(), notice);
                continue;
            }
        };
        match order {
            None => return,
            Some(Order::Check(done)) => {
                watch.check();
                let _ = done.send(());
            }
            Some(Order::Replace(watched, next, done)) => {
                watch.replace(watched);
                record = next;
                let _ = done.send(());
            }
            Some(Order::Unwatch(done)) => {
                watch.unwatch().await.unwrap();
                let _ = done.send(());
                return;
            }
            Some(Order::Leave(done)) => {
                let _ = done.send(watch.watched());
                return;
            }
        }
    }
}

fn note(record: &mut Record, notice: Result<Notice, Ended>) {
    match notice {
        Ok(Notice::Changed { channel, offset }) => record.changed.entry(channel).or_default().push(offset),
        Ok(Notice::Gone { channel, why }) => drop(record.gone.insert(channel, why)),
        Ok(Notice::CaughtUp) => record.caught_up += 1,
        Ok(Notice::Elsewhere(elsewhere)) => record.elsewhere.push(elsewhere),
        // Seen when a test fails.
        Ok(Notice::Away { why, retry_in }) => eprintln!("away: {why}; next try in {retry_in:.1?}"),
        Ok(_) => {}
        Err(ended) => record.ended = Some(ended),
    }
}
