//! A program that uses the client library: it follows in the background, and tests look at what it knows.

use std::sync::{Arc, Mutex};

use scrollback_client::{Channel, Client, Ended, Message, State, Transport, Update, User};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::client::{Client as Raw, number};
use super::until;

/// What a program knows by now.
#[derive(Default)]
struct Known {
    state: Option<State>,
    boots: usize,
    ended: Option<Ended>,
}

/// A running program.
pub(crate) struct Program {
    pub(crate) client: Client,
    transport: Transport,
    known: Arc<Mutex<Known>>,
    task: JoinHandle<()>,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Program {
    pub(crate) fn start(runtime: &Runtime, client: Client, transport: Transport) -> Program {
        let known = Arc::default();
        let task = follow(runtime, &client, transport, &known);
        Program { client, transport, known, task }
    }

    /// Lets a program whose identity has ended go on with another one from what it knows.
    pub(crate) fn renew(&mut self, runtime: &Runtime, client: Client) {
        self.ended();
        self.known.lock().unwrap().ended = None;
        self.task = follow(runtime, &client, self.transport, &self.known);
        self.client = client;
    }

    /// Waits until the state is so.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        until(what, || {
            let known = self.known.lock().unwrap();
            let holds = known.state.as_ref().is_some_and(&holds);
            (holds || known.ended.is_some()).then(|| {
                assert!(holds, "{what}: it has stopped before: {:?}", known.ended);
            })
        });
    }

    #[track_caller]
    pub(crate) fn sees(&self, channel: &str, bodies: &[String]) {
        self.until(&format!("{channel} holds {bodies:?}"), |state| {
            let seen = state.messages(channel).map(|message| &message.body);
            state.channel(channel).is_some() && seen.eq(bodies)
        });
    }

    #[track_caller]
    pub(crate) fn booted(&self, times: usize) {
        until(&format!("{times} boots"), || (self.known.lock().unwrap().boots >= times).then_some(()));
        assert_eq!(self.known.lock().unwrap().boots, times, "boots in all");
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn ended(&self) -> Ended {
        until("the client stops", || self.known.lock().unwrap().ended.clone())
    }

    /// Waits until the client has what its user, as whom `raw` asks, can have, and holds it against a fresh boot.
    #[track_caller]
    pub(crate) fn is_as_booted(&self, runtime: &Runtime, raw: &mut Raw) {
        let newest = raw.get("/api/events/poll?last=1").ok(200);
        let newest = number(newest["events"].as_array().unwrap().last().expect("an event"), "offset");
        self.until(&format!("offset {newest}"), |state| state.offset() >= newest);
        let fresh = State::new(runtime.block_on(self.client.boot()).unwrap());
        let known = self.known.lock().unwrap();
        assert_eq!(shown(known.state.as_ref().unwrap()), shown(&fresh));
    }
}

fn follow(
    runtime: &Runtime,
    client: &Client,
    transport: Transport,
    known: &Arc<Mutex<Known>>,
) -> JoinHandle<()> {
    let mut follower = match known.lock().unwrap().state.clone() {
        None => client.follow(transport),
        // As a program does that was away itself: by way of its disk.
        Some(state) => {
            let kept = serde_json::to_string(&state).unwrap();
            client.resume(serde_json::from_str(&kept).unwrap(), transport)
        }
    };
    let known = Arc::clone(known);
    runtime.spawn(async move {
        loop {
            let update = follower.next().await;
            let mut known = known.lock().unwrap();
            known.state = follower.state().cloned();
            match update {
                Ok(Update::Booted(_)) => known.boots += 1,
                Ok(_) => {}
                Err(ended) => {
                    known.ended = Some(ended);
                    return;
                }
            }
        }
    })
}

type Shown = (Vec<User>, Vec<(Channel, Vec<Message>)>);

fn shown(state: &State) -> Shown {
    let messages = |channel: &Channel| state.messages(&channel.id).cloned().collect();
    let channels = state.channels().map(|channel| (channel.clone(), messages(channel)));
    (state.users().cloned().collect(), channels.collect())
}
