//! The writer loop: one thread that turns commands into durable records.
//!
//! It takes all waiting commands, lets the [`Machine`] decide each (a pure step: state and command give records and an
//! answer, or a refusal), appends all their records as one batch, syncs once, applies them, publishes the head and only
//! then answers. While one batch syncs, the next one gathers in the queue: that is the whole group commit, without a
//! timer and without any delay for a lone command. When nothing waits, it erases what deletions have named.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use crate::clock::Clock;
use crate::log::Appender;
use crate::{AppendError, Head, NewRecord, Offset, Record, Sealed, Timestamp};

/// The state that decides and that records change. Owned by the writer's thread.
pub trait Machine: Send + 'static {
    /// A wish.
    type Command: Send + 'static;
    /// What the wisher is told once the outcome is durable: done, or refused.
    type Answer: Send + 'static;

    /// Decides one command against the published state and the decisions made since the last [`Machine::apply`] or
    /// [`Machine::discard`]. The first record it returns will get `stamp.offset`.
    fn decide(&mut self, command: &Self::Command, stamp: Stamp) -> Decision<Self::Answer>;

    /// Makes durable records part of the state that readers see. Their head is published right after.
    fn apply(&mut self, batch: &[Record<'_>]);

    /// Forgets the decisions that were not applied.
    fn discard(&mut self);
}

/// The place the next record gets, and the time it is stamped with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The next free offset.
    pub offset: Offset,
    /// The batch's time; never earlier than the record before.
    pub time: Timestamp,
}

/// What a machine decided: the records to append, and what to answer once they are durable.
#[derive(Debug)]
pub struct Decision<A> {
    /// The facts; none for a refusal.
    pub records: Vec<NewRecord>,
    /// The answer.
    pub answer: A,
}

/// A command was not carried out, or nobody knows whether it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Too many commands wait. Nothing was done.
    #[error("too many commands wait to be written")]
    Busy,
    /// The disk is nearly full. Nothing was done.
    #[error("the disk is nearly full; writes are refused until space is freed")]
    DiskFull,
    /// The write failed half way: it may be found in the log after the next start.
    #[error("the write failed and its outcome is unknown")]
    OutcomeUnknown,
    /// The writer has stopped. Nothing was done.
    #[error("the server is stopping and takes no more writes")]
    Stopped,
}

/// What one batch was and how long each step of it took, for whoever keeps figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchFigures {
    /// How many commands were decided or refused.
    pub commands: usize,
    /// How many records were appended.
    pub records: usize,
    /// How long the first command waited in the queue: the longest of the batch.
    pub queued: Duration,
    /// How long all commands took to decide.
    pub deciding: Duration,
    /// How long the records took to append and sync.
    pub appending: Duration,
    /// How long the records took to apply, and their head to publish.
    pub applying: Duration,
    /// How long the answers took to hand out.
    pub answering: Duration,
}

/// The writer's limits.
#[derive(Clone)]
pub struct WriterOptions {
    /// How many commands may wait; more are refused as [`SubmitError::Busy`].
    pub queue_commands_max: usize,
    /// A batch is closed once it holds this many records.
    pub batch_records_max: usize,
    /// A batch is closed once its records hold this many bytes.
    pub batch_bytes_max: usize,
    /// While commands keep coming, one step of erasure is done at least this often.
    pub erase_every: Duration,
    /// Says before each batch whether the disk has room for writes.
    pub has_space: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Stamps the batches.
    pub clock: Arc<dyn Clock>,
    /// Turns true when a write has failed. Others whose writes can fail may share it.
    pub failed: watch::Sender<bool>,
    /// Told of each batch that appended something, once it is answered. The next batch waits for it.
    pub observe: Arc<dyn Fn(&BatchFigures) + Send + Sync>,
}

impl WriterOptions {
    /// The default limits with this clock and no space check.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> WriterOptions {
        WriterOptions {
            queue_commands_max: 4096,
            batch_records_max: 1024,
            batch_bytes_max: 1 << 20,
            erase_every: Duration::from_secs(1),
            has_space: Arc::new(|| true),
            clock,
            failed: watch::Sender::new(false),
            observe: Arc::new(|_| {}),
        }
    }
}

struct Job<M: Machine> {
    command: M::Command,
    answer: oneshot::Sender<Result<M::Answer, SubmitError>>,
    since: Instant,
}

impl<M: Machine> Job<M> {
    fn new(command: M::Command) -> (Job<M>, oneshot::Receiver<Result<M::Answer, SubmitError>>) {
        let (answer, outcome) = oneshot::channel();
        (Job { command, answer, since: Instant::now() }, outcome)
    }
}

enum Message<M: Machine> {
    Job(Job<M>),
    Stop,
}

/// The writer's thread: it ends with what [`Writer::start`] was given, or without it after a failed write.
pub type WriterThread<M> = JoinHandle<Option<(Appender, M)>>;

/// The handle to a running writer loop.
pub struct Writer<M: Machine> {
    queue: SyncSender<Message<M>>,
    failed: watch::Receiver<bool>,
    turns: Arc<AtomicU64>,
}

impl<M: Machine> Clone for Writer<M> {
    fn clone(&self) -> Self {
        Writer { queue: self.queue.clone(), failed: self.failed.clone(), turns: Arc::clone(&self.turns) }
    }
}

impl<M: Machine> Writer<M> {
    /// Starts the loop on its own thread. The thread ends after [`Writer::stop`] and gives the appender and the
    /// machine back, or right after a failed write, without them: what they hold must not be used again.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        appender: Appender,
        machine: M,
        options: WriterOptions,
    ) -> std::io::Result<(Writer<M>, WriterThread<M>)> {
        let (queue, jobs) = sync_channel(options.queue_commands_max);
        let failure = Failure(options.failed.clone());
        let failed = options.failed.subscribe();
        let turns = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&turns);
        let thread = std::thread::Builder::new().name("writer".into()).spawn(move || {
            let mut writing = Loop { appender, machine, options, turns: counted };
            match writing.run(&jobs) {
                Ok(()) => {
                    refuse_waiting(&jobs);
                    Some((writing.appender, writing.machine))
                }
                Err(error) => {
                    tracing::error!(%error, "the log takes no more writes");
                    failure.0.send_replace(true);
                    refuse_waiting(&jobs);
                    // Dropping a store whose write failed can hang; the process is about to end anyway.
                    std::mem::forget(writing);
                    None
                }
            }
        })?;
        Ok((Writer { queue, failed, turns }, thread))
    }

    /// Hands in a command. The future answers once the outcome is durable.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub fn submit(
        &self,
        command: M::Command,
    ) -> impl Future<Output = Result<M::Answer, SubmitError>> + Send + use<M> {
        let (job, outcome) = Job::new(command);
        let sent = self.queue.try_send(Message::Job(job)).map_err(|error| match error {
            TrySendError::Full(_) => SubmitError::Busy,
            TrySendError::Disconnected(_) => SubmitError::Stopped,
        });
        async move {
            sent?;
            // A sender that is dropped without an answer was in the batch that failed.
            outcome.await.unwrap_or(Err(SubmitError::OutcomeUnknown))
        }
    }

    /// Hands in a command and waits for its outcome; for threads outside an async runtime. Waits while the queue is full.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub fn submit_blocking(&self, command: M::Command) -> Result<M::Answer, SubmitError> {
        let (job, outcome) = Job::new(command);
        self.queue.send(Message::Job(job)).map_err(|_| SubmitError::Stopped)?;
        outcome.blocking_recv().unwrap_or(Err(SubmitError::OutcomeUnknown))
    }

    /// Lets the loop end once all that was handed in before is written. What is handed in later is refused as
    /// [`SubmitError::Stopped`].
    pub fn stop(&self) {
        // An error means that it has ended already.
        let _ = self.queue.send(Message::Stop);
    }

    /// How often the loop has come round. It does at least about every [`WriterOptions::erase_every`], whether there is
    /// something to write or not: so a count that stands still for much longer is that of a loop that waits for the disk.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Turns true when a write has failed, or the machine has panicked, or [`WriterOptions::failed`] was set: this process
    /// is to end.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<bool> {
        self.failed.clone()
    }
}

/// Tells that the loop has failed, also when it ends by a panic of its machine.
struct Failure(watch::Sender<bool>);

impl Drop for Failure {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.send_replace(true);
        }
    }
}

fn refuse_waiting<M: Machine>(jobs: &Receiver<Message<M>>) {
    for message in jobs.try_iter() {
        if let Message::Job(job) = message {
            let _ = job.answer.send(Err(SubmitError::Stopped));
        }
    }
}

struct Loop<M: Machine> {
    appender: Appender,
    machine: M,
    options: WriterOptions,
    turns: Arc<AtomicU64>,
}

/// One command's answer, held back until its batch is durable.
type Held<M> = (
    oneshot::Sender<Result<<M as Machine>::Answer, SubmitError>>,
    Result<<M as Machine>::Answer, SubmitError>,
);

impl<M: Machine> Loop<M> {
    fn run(&mut self, jobs: &Receiver<Message<M>>) -> Result<(), AppendError> {
        let mut erased_at = Instant::now();
        let mut work_left = true;
        loop {
            self.turns.fetch_add(1, Ordering::Relaxed);
            let wait = if work_left { Duration::ZERO } else { self.options.erase_every };
            match jobs.recv_timeout(wait) {
                Ok(Message::Job(first)) => {
                    let stop = self.batch(first, jobs)?;
                    if stop {
                        return self.appender.sync_witness();
                    }
                    if erased_at.elapsed() < self.options.erase_every {
                        // What this batch deleted is erased as soon as nothing waits.
                        work_left = true;
                        continue;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    return self.appender.sync_witness();
                }
            }
            work_left = self.appender.erase_step()?;
            erased_at = Instant::now();
        }
    }

    /// Decides `first` and all that waits behind it, appends, syncs, applies, publishes, answers. Returns whether the
    /// loop was asked to stop meanwhile.
    fn batch(&mut self, first: Job<M>, jobs: &Receiver<Message<M>>) -> Result<bool, AppendError> {
        let mut watch = Stopwatch::start();
        let mut figures = BatchFigures {
            queued: watch.at.saturating_duration_since(first.since),
            ..BatchFigures::default()
        };
        let has_space = (self.options.has_space)();
        let mut stop = false;
        let mut next = Some(first);
        let mut decided_on = self.appender.head();
        let (mut stamp, mut records, mut bytes) = (self.stamp(decided_on), Vec::new(), 0);
        let mut commands = Vec::new();
        let mut held: Vec<Held<M>> = Vec::new();
        while let Some(job) = next.take() {
            if has_space {
                let decision = self.machine.decide(&job.command, stamp);
                for record in decision.records {
                    bytes += record.kept.len() + record.text.as_ref().map_or(0, Vec::len);
                    stamp.offset = stamp.offset.next();
                    records.push(record);
                }
                held.push((job.answer, Ok(decision.answer)));
                commands.push(job.command);
            } else {
                held.push((job.answer, Err(SubmitError::DiskFull)));
            }
            if records.len() < self.options.batch_records_max
                && bytes < self.options.batch_bytes_max
                && held.len() < self.options.queue_commands_max
            {
                match jobs.try_recv() {
                    Ok(Message::Job(job)) => next = Some(job),
                    Ok(Message::Stop) => stop = true,
                    Err(_) => {}
                }
            }
        }
        figures.deciding = watch.lap();
        while !records.is_empty() {
            match self.appender.append_after(decided_on, stamp.time, std::mem::take(&mut records)) {
                Ok(sealed) => {
                    figures.appending += watch.lap();
                    let batch: Vec<Record<'_>> = sealed.iter().map(Sealed::as_record).collect();
                    self.machine.apply(&batch);
                    self.appender.publish();
                    figures.records += batch.len();
                    figures.applying += watch.lap();
                }
                Err(AppendError::HeadMoved(_)) => {
                    self.machine.discard();
                    self.catch_up()?;
                    decided_on = self.appender.head();
                    stamp = self.stamp(decided_on);
                    for (command, (_, answer)) in commands.iter().zip(&mut held) {
                        let decision = self.machine.decide(command, stamp);
                        stamp.offset = stamp.offset.plus(decision.records.len() as u64);
                        records.extend(decision.records);
                        *answer = Ok(decision.answer);
                    }
                    figures.deciding += watch.lap();
                }
                Err(error) => {
                    self.machine.discard();
                    for (sender, _) in held {
                        let _ = sender.send(Err(SubmitError::OutcomeUnknown));
                    }
                    return Err(error);
                }
            }
        }
        figures.commands = held.len();
        for (sender, answer) in held {
            // A caller that went away is not told; the record stands all the same.
            let _ = sender.send(answer);
        }
        if figures.records > 0 {
            figures.answering = watch.lap();
            (self.options.observe)(&figures);
        }
        Ok(stop)
    }

    /// The place of the record after `head`. The time never goes back, whatever the clock does.
    fn stamp(&self, head: Head) -> Stamp {
        Stamp { offset: head.offset.next(), time: self.options.clock.now().max(head.time) }
    }

    /// Applies and publishes what somebody else appended.
    fn catch_up(&mut self) -> Result<(), AppendError> {
        let machine = &mut self.machine;
        self.appender.scan_unpublished(&mut |record| {
            machine.apply(&[record]);
            ControlFlow::Continue(())
        })?;
        self.appender.publish();
        Ok(())
    }
}

/// Measures one step after the other, with one look at the clock for each.
struct Stopwatch {
    at: Instant,
}

impl Stopwatch {
    fn start() -> Stopwatch {
        Stopwatch { at: Instant::now() }
    }

    /// How long the step took that ends here.
    fn lap(&mut self) -> Duration {
        let before = std::mem::replace(&mut self.at, Instant::now());
        self.at.saturating_duration_since(before)
    }
}
