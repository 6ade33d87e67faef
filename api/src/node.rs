//! An opened data directory with everything running but HTTP: the log, its views, the ring, the vault and the writer.
//!
//! `serve` and the offline commands that write use the same one. [`Node::start_housekeeping`] adds what a server does by
//! itself: checkpoints, expiry, the scrub, the vault's upkeep. [`Node::close`] ends it all and leaves a checkpoint, so that the
//! next start does not read the whole log.

pub mod backup;
pub mod check;
mod error;
mod housekeeping;
pub mod migrate;
mod offline;
pub mod operator;
pub mod restore;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use scrollback_log::clock::Clock;
use scrollback_log::data_dir::DataDir;
use scrollback_log::{
    Appender, Head, Log, LogOptions, NewRecord, Offset, Origin, Timestamp, Writer, WriterOptions,
    WriterThread,
};
use scrollback_projections::facts::{self, OriginStarted};
use scrollback_projections::{
    CheckpointError, CheckpointState, Opened, Progress, ViewSettings, Views, checkpoint, open_views,
};
use tokio::sync::watch;

pub use error::NodeError;
pub use offline::{Rebuilt, compact, directory_bytes, export, export_newest, rebuild, verify, write_state};

use crate::commands::machine::ChatMachine;
use crate::expiry::ClockJump;
use crate::figures::figures;
use crate::memory::Memory;
use crate::names::Name;
use crate::past::Past;
use crate::settings::Settings;
use crate::space::Space;
use crate::streams::ring::Ring;
use crate::vault::{Vault, VaultOptions};
use check::Check;
use housekeeping::Housekeeping;

/// How long to wait until the head of the running views is published, and how often a checkpoint does so.
const PUBLISHED_WAIT: Duration = Duration::from_millis(1);
const PUBLISHED_TRIES: u32 = 5_000;

/// An opened data directory. See the module's text.
pub struct Node {
    /// The log.
    pub log: Arc<Log>,
    /// The views of everything up to the log's head.
    ///
    /// They are brought up to date a moment before the head is published, so they may name a record that [`Log::read`]
    /// does not show yet; [`Node::wait_published`] waits for that moment.
    pub views: Arc<RwLock<Views>>,
    /// The newest frames for streams.
    pub ring: Arc<Ring>,
    /// The secrets.
    pub vault: Arc<Vault>,
    /// Where commands are handed in.
    pub writer: Writer<ChatMachine>,
    /// What it was opened with.
    pub settings: Arc<Settings>,
    /// Where the writer's time stamps come from.
    pub clock: Arc<dyn Clock>,
    /// The free-space mark.
    pub space: Space,
    /// The memory mark.
    pub memory: Memory,
    dir: DataDir,
    /// When it was opened.
    pub(crate) started: Timestamp,
    checkpointed: Mutex<Offset>,
    /// The last record that the scrub has looked at.
    scrubbed: AtomicU64,
    writer_thread: Mutex<Option<WriterThread<ChatMachine>>>,
    housekeeping: Mutex<Option<Housekeeping>>,
    clock_jump: OnceLock<ClockJump>,
    check: Check,
    past: Past,
}

impl Node {
    /// Opens the data directory of `settings`, creating it if it is not there. `progress` is told how far a rebuild of the
    /// views has come.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn open(
        settings: Settings,
        clock: Arc<dyn Clock>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Node, NodeError> {
        let dir = DataDir::create_or_open(&settings.data)?;
        Node::open_in(dir, settings, clock, progress)
    }

    /// Opens the data directory of `settings`, which must be there.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn open_existing(
        settings: Settings,
        clock: Arc<dyn Clock>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Node, NodeError> {
        let dir = DataDir::open_existing(&settings.data)?;
        Node::open_in(dir, settings, clock, progress)
    }

    fn open_in(
        dir: DataDir,
        settings: Settings,
        clock: Arc<dyn Clock>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Node, NodeError> {
        let started = clock.now();
        let memory = Memory::new(settings.memory_bytes_max);
        let space = Space::new(settings.data.clone(), settings.storage.free_bytes_min);
        let (log, mut appender) = scrollback_log::open(&dir, &log_options(&settings))?;
        let Opened { mut views, from } = open_views(&log, &dir.views(), view_settings(&settings), progress)?;
        let checkpointed = match from {
            CheckpointState::Used(at) => at,
            CheckpointState::Absent | CheckpointState::Rebuilt(_) => Offset::BEGINNING,
        };
        if log.head().offset == Offset::BEGINNING {
            begin(&mut appender, &mut views, &space, clock.as_ref(), &settings)?;
        }
        let failed = watch::Sender::new(false);
        let vault = Vault::open(
            &dir.vault(),
            &VaultOptions {
                session_lives: settings.lifetimes.sessions,
                password_hashers_max: settings.password_hashers_max,
                password_waiters_max: settings.password_waiters_max,
                memory: memory.clone(),
                space: space.clone(),
                failed: failed.clone(),
            },
        )?;
        // Before the writer runs: no command that names an entry can be under way.
        if space.for_revocations() {
            let swept = vault.sweep(&views)?;
            tracing::debug!(?swept, "swept the vault");
        }
        let views = Arc::new(RwLock::new(views));
        let ring = Arc::new(Ring::new(settings.streams.ring_bytes_max));
        let streams = settings.streams.ring_bytes_max > 0;
        let machine =
            ChatMachine::new(Arc::clone(&log), Arc::clone(&views), streams.then(|| Arc::clone(&ring)));
        let has_space = space.clone();
        let options = WriterOptions {
            has_space: Arc::new(move || has_space.for_writes()),
            failed,
            observe: Arc::new(|batch| figures().batch(batch)),
            ..WriterOptions::new(Arc::clone(&clock))
        };
        let (writer, writer_thread) =
            Writer::start(appender, machine, options).map_err(NodeError::io("starting the writer"))?;
        Ok(Node {
            log,
            views,
            ring,
            vault: Arc::new(vault),
            writer,
            settings: Arc::new(settings),
            clock,
            space,
            memory,
            dir,
            started,
            checkpointed: Mutex::new(checkpointed),
            scrubbed: AtomicU64::new(0),
            writer_thread: Mutex::new(Some(writer_thread)),
            housekeeping: Mutex::new(None),
            clock_jump: OnceLock::new(),
            check: Check::default(),
            past: Past::default(),
        })
    }

    /// Starts the thread that does what a server does by itself: checkpoints, expiry, the scrub, the vault's upkeep. It ends
    /// with [`Node::close`], or when nobody holds the node any more.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start_housekeeping(self: &Arc<Self>) -> Result<(), NodeError> {
        let started = Housekeeping::start(self).map_err(NodeError::io("starting the housekeeping"))?;
        *self.housekeeping.lock().unwrap_or_else(PoisonError::into_inner) = Some(started);
        Ok(())
    }

    /// Why expiry pauses, if it does. It goes on after a start with a confirmed clock.
    #[must_use]
    pub fn expiry_pauses(&self) -> Option<ClockJump> {
        self.clock_jump.get().copied()
    }

    /// Reads the views. The writer waits meanwhile, so nothing that may block is done while the guard lives.
    pub fn read_views(&self) -> RwLockReadGuard<'_, Views> {
        self.views.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The live channel of this name.
    #[must_use]
    pub fn channel_by_name(&self, name: &str) -> Option<Offset> {
        let name = Name::parse(name).ok()?;
        Some(self.read_views().channels().by_folded(name.folded())?.0)
    }

    /// Waits until the log shows the record at `offset`, which is in the views already.
    pub async fn wait_published(&self, offset: Offset) {
        let mut head = self.log.watch_head();
        // The sender lives in the log, which this holds.
        let _ = head.wait_for(|head| head.offset >= offset).await;
    }

    /// Stores the views, so that a start does not have to fold the log up to here. Does nothing when the newest
    /// checkpoint stands here.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn checkpoint(&self) -> Result<(), NodeError> {
        // Held to the end: two at once would write the same file.
        let mut checkpointed = self.checkpointed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tries = 0;
        let (at, pending) = loop {
            let views = self.read_views();
            if views.at() == *checkpointed {
                return Ok(());
            }
            match checkpoint::write(&self.dir.views(), &views, &self.log) {
                Ok(pending) => break (views.at(), pending),
                // The head of these views is about to be published.
                Err(CheckpointError::NotPublished { .. }) if tries < PUBLISHED_TRIES => tries += 1,
                Err(error) => return Err(error.into()),
            }
            drop(views);
            std::thread::sleep(PUBLISHED_WAIT);
        };
        pending.commit()?;
        *checkpointed = at;
        Ok(())
    }

    /// The newest record that the stored checkpoint holds.
    #[must_use]
    pub fn checkpointed(&self) -> Offset {
        *self.checkpointed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn past(&self) -> &Past {
        &self.past
    }

    /// The last record that the scrub has looked at.
    #[must_use]
    pub fn scrubbed(&self) -> Offset {
        Offset(self.scrubbed.load(Ordering::Relaxed))
    }

    /// How many bytes the files of the log have.
    ///
    /// # Errors
    /// [`NodeError::Io`].
    pub fn log_bytes(&self) -> Result<u64, NodeError> {
        directory_bytes(&self.dir.log_dir(self.dir.log_number()))
    }

    /// Ends the housekeeping and the writer, and stores a checkpoint. Commands that were handed in before are written; later
    /// ones are refused. Calling it again does nothing.
    ///
    /// # Errors
    /// See [`NodeError`]; [`NodeError::WriteFailed`] when a write has failed: then the process should end without dropping
    /// this value.
    pub fn close(&self) -> Result<(), NodeError> {
        self.check.stop();
        // Ends its thread.
        drop(self.housekeeping.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.writer_thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Ok(()) };
        self.writer.stop();
        match thread.join() {
            Ok(Some(_)) => self.checkpoint(),
            Ok(None) | Err(_) => Err(NodeError::WriteFailed),
        }
    }
}

impl Node {
    /// [`Node::close`] for a node that nobody else holds: afterwards the store also writes its snapshot, so that damage
    /// that comes later is found where it is read and touches nothing else.
    ///
    /// # Errors
    /// As for [`Node::close`].
    pub fn finish(self) -> Result<(), NodeError> {
        self.close()?;
        let options = log_options(&self.settings);
        let dir = self.into_dir();
        Ok(scrollback_log::finish(&dir, &options)?)
    }

    /// The directory, once all else is dropped.
    fn into_dir(self) -> DataDir {
        let Node { dir, .. } = self;
        dir
    }
}

/// Appends the first record of a new log.
fn begin(
    appender: &mut Appender,
    views: &mut Views,
    space: &Space,
    clock: &dyn Clock,
    settings: &Settings,
) -> Result<(), NodeError> {
    if !space.for_writes() {
        return Err(NodeError::DiskFull { free_bytes_min: settings.storage.free_bytes_min });
    }
    for sealed in appender.append(clock.now(), vec![new_origin()?])? {
        views.apply(&sealed.as_record())?;
    }
    appender.publish();
    Ok(())
}

/// The record that begins a run of a log.
fn new_origin() -> Result<NewRecord, NodeError> {
    facts::record(&OriginStarted { origin: Origin::draw() }).map_err(NodeError::unencodable)
}

/// Stores the views of a log that has become the current one, and closes it such that the next start finds it in order. Returns
/// where it ends.
fn store_and_close(
    dir: &DataDir,
    options: &LogOptions,
    views: &Views,
    log: Arc<Log>,
    appender: Appender,
) -> Result<Head, NodeError> {
    checkpoint::write(&dir.views(), views, &log)?.commit()?;
    let head = appender.head();
    drop((log, appender));
    scrollback_log::finish(dir, options)?;
    Ok(head)
}

fn log_options(settings: &Settings) -> LogOptions {
    LogOptions { cache_bytes: settings.storage.cache_bytes, ..LogOptions::default() }
}

fn view_settings(settings: &Settings) -> ViewSettings {
    ViewSettings { key_retention: settings.lifetimes.idempotency_keys }
}
