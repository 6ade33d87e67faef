//! `clients/scenarios.json`: what every client library must do, whatever language it is in. Each scenario runs on a server of
//! its own.

mod tails;
mod watches;

use std::collections::{BTreeMap, HashMap};

use scrollback_client::{Client as Library, Ended, Transport};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::PASSWORD;
use super::client::{Client, Request, text};
use super::library::Program;
use super::server::Server;
use super::tailing::Tailing;
use super::watcher::Watcher;
use tails::TailStep;
use watches::WatchStep;

const FILE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../clients/scenarios.json"));
const OWNER: &str = "ada";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scenarios: Vec<Scenario>,
}

/// A sentence about behaviour, and what shows that it is so.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    steps: Vec<Step>,
}

/// What is saved of an answer: under which name, which field.
type Save = BTreeMap<String, String>;

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    Sse,
    Ws,
    Poll,
}

impl From<By> for Transport {
    fn from(by: By) -> Transport {
        match by {
            By::Sse => Transport::Sse,
            By::Ws => Transport::WebSocket,
            By::Poll => Transport::Poll,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Step {
    Client(ClientStep),
    Watch(WatchStep),
    Tail(TailStep),
}

/// docs/clients.md says what each does.
#[derive(Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
enum ClientStep {
    User {
        name: String,
    },
    Call {
        r#as: String,
        method: String,
        path: String,
        body: Option<Value>,
        #[serde(default)]
        save: Save,
    },
    Connect {
        client: String,
        r#as: String,
        transport: By,
    },
    Renew {
        client: String,
    },
    Send {
        client: String,
        channel: String,
        body: String,
        key: Option<String>,
        #[serde(default)]
        save: Save,
        #[serde(default)]
        background: bool,
    },
    Kill,
    Stop,
    Start {
        #[serde(default)]
        options: Vec<String>,
    },
    Backup {
        file: String,
    },
    Restore {
        file: String,
    },
    SameAsFreshBoot {
        client: String,
    },
    Sees {
        client: String,
        channel: String,
        bodies: Vec<String>,
    },
    SeesNot {
        client: String,
        channel: String,
    },
    Booted {
        client: String,
        times: usize,
    },
    Ended {
        client: String,
        reason: String,
    },
}

/// All of them.
pub(crate) fn all() -> Vec<Scenario> {
    serde_json::from_str::<File>(FILE).unwrap().scenarios
}

/// A scenario on its way.
struct Stage {
    server: Server,
    runtime: Runtime,
    /// The users, each with the bearer token that calls and clients have.
    users: HashMap<String, (Client, String)>,
    /// Each with the user whose it is.
    programs: HashMap<String, (Program, String)>,
    /// Those that watch.
    watchers: HashMap<String, (Watcher, String)>,
    /// Those that read the tail of the log.
    tails: HashMap<String, (Tailing, String)>,
    saved: HashMap<String, String>,
}

impl Scenario {
    pub(crate) fn run(&self) {
        let mut stage = Stage::new();
        for (number, step) in self.steps.iter().enumerate() {
            eprintln!("{}: step {number}", self.name);
            match step {
                Step::Client(step) => stage.take(step),
                Step::Watch(step) => stage.take_of_watch(step),
                Step::Tail(step) => stage.take_of_tail(step),
            }
        }
    }
}

impl Stage {
    fn new() -> Stage {
        let mut server = Server::started(&[]);
        server.keep_address();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let mut owner = server.client();
        let set_up = owner.post("/api/setup", &json!({"name": OWNER, "password": PASSWORD}));
        let mut stage = Stage {
            server,
            runtime: runtime.unwrap(),
            users: HashMap::new(),
            programs: HashMap::new(),
            watchers: HashMap::new(),
            tails: HashMap::new(),
            saved: HashMap::new(),
        };
        owner.adopt(&set_up);
        stage.add(OWNER, &text(&set_up.ok(201), "id"), owner);
        stage
    }

    fn add(&mut self, name: &str, id: &str, mut client: Client) {
        let token = client.token("scenario");
        self.users.insert(name.to_owned(), (client.with_token(&token), token));
        self.saved.insert(name.to_owned(), id.to_owned());
    }

    /// Logs a user in again.
    fn log_in(&mut self, name: &str) {
        let mut client = self.server.client();
        client.log_in(name, PASSWORD);
        let id = self.saved[name].clone();
        self.add(name, &id, client);
    }

    fn library(&self, name: &str) -> Library {
        Library::new(&format!("http://{}", self.server.address.get()), &self.users[name].1).unwrap()
    }

    fn program(&self, name: &str) -> &Program {
        &self.programs[name].0
    }

    /// A string with what was saved in the place of its names.
    fn fill(&self, text: &str) -> String {
        let mut names: Vec<&String> = self.saved.keys().collect();
        // A name may begin with another one.
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        names.iter().fold(text.to_owned(), |text, name| text.replace(&format!("${name}"), &self.saved[*name]))
    }

    fn save(&mut self, save: &Save, answer: &Value) {
        for (name, field) in save {
            self.saved.insert(name.clone(), text(answer, field));
        }
    }

    fn backup(&self, file: &str) -> String {
        self.server.data().with_file_name(file).to_str().unwrap().to_owned()
    }

    fn take(&mut self, step: &ClientStep) {
        match step {
            ClientStep::User { name } => {
                let (member, id) = self.users.get_mut(OWNER).unwrap().0.invite_member(name);
                self.add(name, &id, member);
            }
            ClientStep::Call { r#as, method, path, body, save } => {
                let mut request = Request::new(method, &self.fill(path));
                if let Some(body) = body {
                    request = request.json(&serde_json::from_str(&self.fill(&body.to_string())).unwrap());
                }
                let answer = self.users.get_mut(r#as).unwrap().0.send(&request);
                assert!((200..300).contains(&answer.status), "{}", answer.text());
                let body = answer.ok(answer.status);
                self.save(save, &body);
            }
            ClientStep::Connect { client, r#as, transport } => {
                let program = Program::start(&self.runtime, self.library(r#as), (*transport).into());
                program.booted(1);
                self.programs.insert(client.clone(), (program, r#as.clone()));
            }
            ClientStep::Renew { client } => {
                let user = self.programs[client].1.clone();
                self.log_in(&user);
                let library = self.library(&user);
                self.programs.get_mut(client).unwrap().0.renew(&self.runtime, library);
            }
            ClientStep::Send { client, channel, body, key, save, background } => {
                let (library, channel) = (self.program(client).client.clone(), self.fill(channel));
                let (body, key) = (body.clone(), key.clone());
                let sending = self.runtime.spawn(async move {
                    match key {
                        None => library.send(&channel, &body).await,
                        Some(key) => {
                            library.send_under(&channel, &body, &key, super::server::PROCESS_WAIT).await
                        }
                    }
                });
                if !background {
                    let sent = self.runtime.block_on(sending).unwrap().unwrap();
                    self.save(save, &serde_json::to_value(sent).unwrap());
                }
            }
            ClientStep::Kill => drop(self.server.kill9()),
            ClientStep::Stop => drop(self.server.stop()),
            ClientStep::Start { options } => {
                self.server.set_options(&options.iter().map(String::as_str).collect::<Vec<_>>());
                self.server.start();
            }
            ClientStep::Backup { file } => {
                let file = self.backup(file);
                self.server.ask(&self.users[OWNER].1, "backup", &[&file]).must_exit(0);
            }
            ClientStep::Restore { file } => {
                self.server.stop();
                self.server.operate("restore", &[&self.backup(file), "--yes"]).must_exit(0);
                self.server.start();
                // It ends every session and token.
                for name in self.users.keys().cloned().collect::<Vec<_>>() {
                    self.log_in(&name);
                }
            }
            ClientStep::SameAsFreshBoot { client } => {
                let (program, user) = &self.programs[client];
                program.is_as_booted(&self.runtime, &mut self.users.get_mut(user).unwrap().0);
            }
            ClientStep::Sees { client, channel, bodies } => {
                self.program(client).sees(&self.fill(channel), bodies);
            }
            ClientStep::SeesNot { client, channel } => {
                let channel = self.fill(channel);
                let holds = |state: &scrollback_client::State| state.channel(&channel).is_none();
                self.program(client).until(&format!("no {channel}"), holds);
            }
            ClientStep::Booted { client, times } => self.program(client).booted(*times),
            ClientStep::Ended { client, reason } => {
                assert_eq!(reason, "unauthenticated", "the only reason there is in scenarios");
                assert_eq!(self.program(client).ended(), Ended::Unauthenticated);
            }
        }
    }
}
