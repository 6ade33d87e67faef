//! The steps that are about tails.

use scrollback_client::{Elsewhere, Ended, Start, TailOptions};
use serde::Deserialize;
use serde_json::Value;

use super::{By, Stage};
use crate::support::client::text;
use crate::support::tailing::Tailing;

/// docs/clients.md says what each does.
#[derive(Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum TailStep {
    Tail {
        tail: String,
        r#as: String,
        transport: By,
        start: Option<From>,
        #[serde(default)]
        filters: Vec<Value>,
    },
    Tailed {
        tail: String,
        shown: Vec<String>,
    },
    TailEnded {
        tail: String,
        reason: String,
    },
    TailReturn {
        tail: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum From {
    After(String),
    Last(u16),
    Since(String),
}

impl Stage {
    pub(super) fn take_of_tail(&mut self, step: &TailStep) {
        match step {
            TailStep::Tail { tail, r#as, transport, start, filters } => {
                let start = match start {
                    None => Start::Now,
                    Some(From::After(after)) => Start::After(self.fill(after)),
                    Some(From::Last(last)) => Start::Last(*last),
                    Some(From::Since(since)) => Start::Since(self.fill(since)),
                };
                let options = filters.iter().fold(TailOptions::default(), |options, filter| {
                    options.filter(self.fill(&filter.to_string()).parse().unwrap())
                });
                let options = options.transport((*transport).into());
                let tailing = Tailing::start(&self.runtime, &self.library(r#as), start, options);
                tailing.caught_up();
                self.tails.insert(tail.clone(), (tailing, r#as.clone()));
            }
            TailStep::Tailed { tail, shown } => {
                let told = self.tails[tail].0.told(shown.len());
                assert_eq!(told.iter().map(show).collect::<Vec<_>>(), *shown);
            }
            TailStep::TailEnded { tail, reason } => {
                let ended = match reason.as_str() {
                    "unauthenticated" => Ended::Unauthenticated,
                    "other_history" => Ended::Elsewhere(Elsewhere::OtherHistory),
                    "ahead" => Ended::Elsewhere(Elsewhere::Ahead),
                    other => panic!("no tail ends for {other} in a scenario"),
                };
                assert_eq!(self.tails[tail].0.ended(), ended);
            }
            TailStep::TailReturn { tail } => {
                let user = self.tails[tail].1.clone();
                self.tails[tail].0.ended();
                self.log_in(&user);
                let library = self.library(&user);
                self.tails.get_mut(tail).unwrap().0.come_back(&self.runtime, &library);
            }
        }
    }
}

/// An event as steps write it.
fn show(event: &Value) -> String {
    if event["event"] == "sent" {
        return text(event, "body");
    }
    format!("{} {}", text(event, "type"), text(event, "event"))
}
