//! The steps that are about watches.

use std::time::Duration;

use scrollback_client::{Elsewhere, Ended, Means, WatchOptions, Watched};
use serde::Deserialize;

use super::Stage;
use crate::support::client::number;
use crate::support::watcher::Watcher;

/// docs/clients.md says what each does.
#[derive(Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum WatchStep {
    Watch { watch: String, r#as: String, channels: Vec<Wanted>, transport: By, anew_every_s: Option<u64> },
    Told { watch: String, channel: String },
    ToldTimes { watch: String, channel: String, times: usize },
    ToldGone { watch: String, channel: String, why: String },
    ToldElsewhere { watch: String, reason: Elsewhere },
    CaughtUp { watch: String, times: usize },
    WatchEnded { watch: String, reason: String },
    Check { watch: String },
    Replace { watch: String, by: String, channels: Vec<Wanted> },
    Unwatch { watch: String },
    Leave { watch: String },
    Return { watch: String },
}

/// A channel of which nothing is known, or all up to an offset.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum Wanted {
    Channel(String),
    Known { id: String, since: u64 },
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum By {
    Sse,
    Poll,
    Manual,
}

impl Stage {
    fn watched(&self, channels: &[Wanted]) -> Watched {
        channels.iter().fold(Watched::new(), |watched, wanted| match wanted {
            Wanted::Channel(id) => watched.channel(self.fill(id)),
            Wanted::Known { id, since } => watched.channel_at(self.fill(id), *since),
        })
    }

    fn watcher(&self, name: &str) -> &Watcher {
        &self.watchers[name].0
    }

    pub(super) fn take_of_watch(&mut self, step: &WatchStep) {
        match step {
            WatchStep::Watch { watch, r#as, channels, transport, anew_every_s } => {
                let means = match transport {
                    By::Sse => Means::Sse,
                    By::Poll => Means::Poll,
                    By::Manual => Means::Manual,
                };
                let mut options = WatchOptions::default().means(means);
                if let Some(seconds) = anew_every_s {
                    options = options.anew_every(Duration::from_secs(*seconds));
                }
                let (library, watched) = (self.library(r#as), self.watched(channels));
                let watcher = Watcher::start(&self.runtime, &library, watched, options);
                self.watchers.insert(watch.clone(), (watcher, r#as.clone()));
            }
            WatchStep::Told { watch, channel } => {
                let channel = self.fill(channel);
                let user = &self.watchers[watch].1;
                let listed = self.users.get_mut(user).unwrap().0.get("/api/channels").ok(200);
                let listed = listed["channels"].as_array().unwrap();
                let newest = number(listed.iter().find(|one| one["id"] == *channel).unwrap(), "last_offset");
                self.watcher(watch).told(&channel, newest);
            }
            WatchStep::ToldTimes { watch, channel, times } => {
                self.watcher(watch).told_times(&self.fill(channel), *times);
            }
            WatchStep::ToldGone { watch, channel, why } => {
                self.watcher(watch).told_gone(&self.fill(channel), why);
            }
            WatchStep::ToldElsewhere { watch, reason } => self.watcher(watch).told_elsewhere(*reason),
            WatchStep::CaughtUp { watch, times } => self.watcher(watch).caught_up(*times),
            WatchStep::WatchEnded { watch, reason } => {
                assert_eq!(reason, "unauthenticated", "the only reason there is in scenarios");
                assert_eq!(self.watcher(watch).ended(), Ended::Unauthenticated);
            }
            WatchStep::Check { watch } => self.watcher(watch).check(),
            WatchStep::Replace { watch, by, channels } => {
                let next = self.watcher(watch).replace(self.watched(channels));
                self.watchers.insert(by.clone(), (next, self.watchers[watch].1.clone()));
            }
            WatchStep::Unwatch { watch } => self.watcher(watch).unwatch(),
            WatchStep::Leave { watch } => self.watchers.get_mut(watch).unwrap().0.leave(),
            WatchStep::Return { watch } => {
                let user = self.watchers[watch].1.clone();
                self.log_in(&user);
                let library = self.library(&user);
                self.watchers.get_mut(watch).unwrap().0.come_back(&self.runtime, &library);
            }
        }
    }
}
