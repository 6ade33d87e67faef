//! Nodes for tests.

use std::path::Path;
use std::sync::Arc;

use scrollback_log::clock::ManualClock;
use scrollback_log::{Offset, Timestamp};
use scrollback_projections::facts::Role;

use super::Node;
use crate::commands::{Answer, Command};
use crate::names::Name;
use crate::settings::{Settings, StorageLimits};
use crate::vault::PasswordHash;

/// When tests begin.
pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

/// Settings for the data directory `data`, without a free-space mark.
pub(crate) fn settings(data: &Path) -> Settings {
    let storage = StorageLimits { free_bytes_min: 0, ..Settings::default().storage };
    Settings { data: data.to_owned(), storage, ..Settings::default() }
}

/// A node in `data` whose clock stands at [`NOW`].
pub(crate) fn open(data: &Path) -> (Node, Arc<ManualClock>) {
    open_with(settings(data))
}

pub(crate) fn open_with(settings: Settings) -> (Node, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(NOW));
    let node = Node::open(settings, clock.clone(), &mut |_| {}).unwrap();
    (node, clock)
}

/// Copies a directory as it is at this moment.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Node {
    /// Hands in a command that will be granted.
    pub(crate) fn done(&self, command: Command) -> Offset {
        match self.writer.submit_blocking(command).unwrap() {
            Answer::Done { offset, .. } => offset,
            other => panic!("{other:?}"),
        }
    }

    /// A user of this name, with a password that nobody knows.
    pub(crate) fn user(&self, name: &str, role: Role) -> Offset {
        let credential = self.vault.add_credential(PasswordHash::of_nothing("salt")).unwrap();
        self.done(Command::AddUser { name: Name::parse(name).unwrap(), role, credential })
    }

    /// A channel of this name.
    pub(crate) fn channel(&self, creator: Offset, name: &str) -> Offset {
        self.done(Command::CreateChannel {
            creator,
            name: Name::parse(name).unwrap(),
            private: false,
            key: None,
        })
    }

    /// A message.
    pub(crate) fn say(&self, channel: Offset, sender: Offset, body: &str) -> Offset {
        self.done(Command::SendMessage { channel, sender, body: body.to_owned(), key: None })
    }
}
