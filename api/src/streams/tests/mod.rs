//! Tests of the streams on a log in memory, and what they share: a world that writes as the writer loop does.

pub(crate) mod client;
mod filters;
mod frames;
mod hops;
mod literal;
mod naive;
mod reading;
mod rights;
mod ring;
mod schema;
mod serving;
mod starts;
mod threads;
mod watch_times;
mod watching;

use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use scrollback_log::engine::chunked::ChunkedEngine;
use scrollback_log::engine::memory::MemoryStore;
use scrollback_log::{Appender, Log, NewRecord, Offset, Origin, Record, Sealed, Timestamp};
use scrollback_projections::facts::{
    self, Body, ChannelCreated, ChannelDeleted, MembershipChanged, MessageDeleted, MessageSent, Name,
    OriginStarted, Reason, Role, UserCreated, VaultKey,
};
use scrollback_projections::{ViewSettings, Views};
use tokio::sync::watch;

pub(super) use filters::faceted;
pub(super) use ring::happened;

use super::ring::Ring;
use super::{Sources, Streams};
use crate::settings::{Settings, StreamLimits};

/// The time of the first record; each batch is a microsecond later.
const START: Timestamp = Timestamp(1_700_000_000_000_000);
/// The first user of a [`World`] with one.
pub(super) const OWNER: Offset = Offset(2);
/// The first channel of a [`World`] with one.
pub(super) const CHANNEL: Offset = Offset(3);

/// A log in memory with views and a ring, written to as the writer loop does.
pub(super) struct World {
    pub(super) disk: MemoryStore,
    pub(super) log: Arc<Log>,
    pub(super) ring: Arc<Ring>,
    pub(super) views: Arc<RwLock<Views>>,
    pub(super) revocations: watch::Sender<u64>,
    pub(super) storage_failed: watch::Sender<bool>,
    pub(super) stopping: watch::Sender<bool>,
    appender: Mutex<Appender>,
}

impl World {
    /// An empty one.
    pub(super) fn empty(ring_bytes_max: usize) -> World {
        let disk = MemoryStore::new();
        let (log, appender) = Log::new(Arc::new(ChunkedEngine::open(disk.clone()).unwrap()), None);
        World {
            disk,
            log,
            ring: Arc::new(Ring::new(ring_bytes_max)),
            views: Arc::new(RwLock::new(Views::new(ViewSettings::default()))),
            revocations: watch::Sender::new(0),
            storage_failed: watch::Sender::new(false),
            stopping: watch::Sender::new(false),
            appender: Mutex::new(appender),
        }
    }

    /// One with an origin, an owner and a channel.
    pub(super) fn new(ring_bytes_max: usize) -> World {
        let world = World::empty(ring_bytes_max);
        let name = Name { shown: "owner", folded: "owner" };
        let user = UserCreated { role: Role::Owner, credential: VaultKey([1; 16]), invitation: None };
        world.write(vec![
            facts::record(&OriginStarted { origin: Origin::new(7).unwrap() }).unwrap(),
            facts::record_with(&user, &name).unwrap(),
        ]);
        assert_eq!(world.channel("general"), CHANNEL);
        world
    }

    /// Appends, applies, masks, encodes and publishes one batch. Returns its first record's offset.
    pub(super) fn write(&self, records: Vec<NewRecord>) -> Offset {
        self.write_at(Timestamp(0), records)
    }

    /// The same, at this time, or right after the batch before if that is later.
    pub(super) fn write_at(&self, time: Timestamp, records: Vec<NewRecord>) -> Offset {
        let first = self.apply_at(time, records);
        self.publish();
        first
    }

    /// Publishes what was only applied.
    pub(super) fn publish(&self) {
        self.appender.lock().unwrap().publish();
    }

    /// The same as [`World::write_at`] up to the moment before it is published.
    pub(super) fn apply_at(&self, time: Timestamp, records: Vec<NewRecord>) -> Offset {
        let mut appender = self.appender.lock().unwrap();
        let time = time.max(START).max(Timestamp(appender.head().time.0 + 1));
        let sealed = appender.append(time, records).unwrap();
        let batch: Vec<Record<'_>> = sealed.iter().map(Sealed::as_record).collect();
        let mut named = Vec::new();
        let mut views = self.views.write().unwrap();
        for record in &batch {
            named.extend(views.apply(record).unwrap());
        }
        for deleted in &named {
            self.log.mask(deleted.deletion, deleted.targets.clone());
        }
        self.ring.append(&batch, &views).unwrap();
        drop(views);
        for deleted in &named {
            self.ring.redact(&deleted.targets, deleted.deletion);
        }
        sealed[0].offset
    }

    /// Erases all that deletions have named, as the writer does when nothing waits.
    pub(super) fn erase(&self) {
        while self.appender.lock().unwrap().erase_step().unwrap() {}
    }

    pub(super) fn channel(&self, name: &str) -> Offset {
        let kept = ChannelCreated { creator: Some(OWNER), private: false, key: None };
        self.write(vec![facts::record_with(&kept, &Name { shown: name, folded: name }).unwrap()])
    }

    /// A member.
    pub(super) fn user(&self, name: &str) -> Offset {
        let user = UserCreated { role: Role::Member, credential: VaultKey([1; 16]), invitation: None };
        self.write(vec![facts::record_with(&user, &Name { shown: name, folded: name }).unwrap()])
    }

    pub(super) fn private_channel(&self, creator: Offset, name: &str) -> Offset {
        let kept = ChannelCreated { creator: Some(creator), private: true, key: None };
        self.write(vec![facts::record_with(&kept, &Name { shown: name, folded: name }).unwrap()])
    }

    pub(super) fn change_membership(&self, channel: Offset, user: Offset, member: bool) -> Offset {
        let kept = MembershipChanged { channel, user, member, by: Some(OWNER) };
        self.write(vec![facts::record(&kept).unwrap()])
    }

    pub(super) fn say(&self, channel: Offset, body: &str) -> Offset {
        self.write(vec![said(channel, body)])
    }

    pub(super) fn delete_message(&self, channel: Offset, message: Offset) -> Offset {
        self.write(vec![unsaid(channel, message)])
    }

    pub(super) fn delete_channel(&self, channel: Offset) -> Offset {
        let kept = ChannelDeleted { channel, by: Some(OWNER), reason: Reason::Deleted };
        self.write(vec![facts::record(&kept).unwrap()])
    }

    pub(super) fn head(&self) -> Offset {
        self.log.head().offset
    }

    /// Must be called inside a runtime.
    pub(super) fn streams(&self, limits: StreamLimits) -> Arc<Streams> {
        let sources = Sources {
            log: Arc::clone(&self.log),
            ring: Arc::clone(&self.ring),
            views: Arc::clone(&self.views),
            revocations: self.revocations.subscribe(),
            storage_failed: self.storage_failed.subscribe(),
            shutdown: self.stopping.subscribe(),
        };
        Streams::start(sources, limits, Duration::from_secs(4))
    }
}

pub(super) fn limits() -> StreamLimits {
    Settings::default().streams
}

pub(super) fn said(channel: Offset, body: &str) -> NewRecord {
    facts::record_with(&MessageSent { channel, sender: OWNER, key: None }, &Body { body }).unwrap()
}

pub(super) fn unsaid(channel: Offset, message: Offset) -> NewRecord {
    let by = Some(OWNER);
    let kept = MessageDeleted {
        message,
        channel,
        sender: Some(OWNER),
        imported_at: None,
        by,
        reason: Reason::Deleted,
    };
    facts::record(&kept).unwrap()
}
