//! A program that reads the tail of the log by the client library, and keeps what it is told.

use std::sync::{Arc, Mutex};

use scrollback_client::{Client, Ended, Start, Tail, TailOptions, Tailed};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::until;

/// What a program knows by now.
#[derive(Default)]
struct Known {
    events: Vec<Value>,
    caught_up: usize,
    /// From where another tail would go on.
    start: Option<Start>,
    ended: Option<Ended>,
}

/// A running program.
pub(crate) struct Tailing {
    options: TailOptions,
    known: Arc<Mutex<Known>>,
    task: JoinHandle<()>,
}

impl Drop for Tailing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tailing {
    pub(crate) fn start(runtime: &Runtime, client: &Client, start: Start, options: TailOptions) -> Tailing {
        let known = Arc::default();
        let task = run(runtime, client.tail(start, options.clone()), &known);
        Tailing { options, known, task }
    }

    /// Waits until it has stopped, and goes on from where it stood.
    pub(crate) fn come_back(&mut self, runtime: &Runtime, client: &Client) {
        self.ended();
        let start = {
            let mut known = self.known.lock().unwrap();
            known.ended = None;
            known.start.clone().expect("it has begun")
        };
        self.task = run(runtime, client.tail(start, self.options.clone()), &self.known);
    }

    /// All events that it was told of.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.known.lock().unwrap().events.clone()
    }

    /// Waits until it was told of so many events, which must be all.
    #[track_caller]
    pub(crate) fn told(&self, count: usize) -> Vec<Value> {
        until(&format!("{count} events"), || (self.events().len() >= count).then_some(()));
        let events = self.events();
        assert_eq!(events.len(), count, "{events:#?}");
        events
    }

    #[track_caller]
    pub(crate) fn caught_up(&self) {
        until("it is live", || (self.known.lock().unwrap().caught_up > 0).then_some(()));
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn ended(&self) -> Ended {
        until("the tail ends", || self.known.lock().unwrap().ended.clone())
    }
}

fn run(runtime: &Runtime, mut tail: Tail, known: &Arc<Mutex<Known>>) -> JoinHandle<()> {
    let known = Arc::clone(known);
    runtime.spawn(async move {
        loop {
            let told = tail.next().await;
            let mut known = known.lock().unwrap();
            known.start = Some(tail.start().clone());
            match told {
                Ok(Tailed::Event(event)) => {
                    known.events.push(event.json().parse().expect("JSON"));
                    event.read().expect("an event as docs/api.md has it");
                }
                Ok(Tailed::CaughtUp) => known.caught_up += 1,
                Ok(_) => {}
                Err(ended) => {
                    known.ended = Some(ended);
                    return;
                }
            }
        }
    })
}
