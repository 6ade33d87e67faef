//! Arvados' own clients as processes, and the server that they come to.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::arvados_rows::row_of;
use super::client::{Client, number, text};
use super::installed::{installed, lines, program};
use super::paper::Paper;
use super::server::{Server, Way, wait};

/// A client that was refused some times waits up to 15 s before it comes back. Signs of life come meanwhile.
const EVENT_WAIT: Duration = Duration::from_secs(60);

/// A server inside TLS, somebody whose events are followed, and what is needed to come to it.
pub(crate) struct Site {
    pub(crate) server: Server,
    /// Who writes.
    pub(crate) owner: Client,
    pub(crate) channel: String,
    pub(crate) clients: Clients,
    /// The id of the clients' token.
    pub(crate) token: String,
}

/// Begins clients.
#[derive(Clone)]
pub(crate) struct Clients {
    at: SocketAddr,
    pub(crate) token: String,
    environment: Vec<(&'static str, String)>,
    paper: Arc<Paper>,
    /// They keep what they have looked up here.
    home: Arc<TempDir>,
}

impl Site {
    /// A server that stays at its address over restarts.
    pub(crate) fn new(options: &[&str]) -> Self {
        let paper = Paper::of(&["localhost", "127.0.0.1"]);
        let own = paper.options();
        let options: Vec<&str> = own.iter().map(String::as_str).chain(options.iter().copied()).collect();
        let mut server = Server::new(&options);
        server.address = server.address.by(Way { trust: Some(Arc::clone(&paper.trust)), ..Way::default() });
        server.start();
        server.keep_address();
        let mut owner = server.owner();
        let writer = owner.token("writer");
        let reader = owner.post("/api/tokens", &json!({"label": "reader"})).ok(201);
        let mut owner = owner.with_token(&writer);
        let channel = owner.create_channel("general");
        let home = tempfile::Builder::new().prefix("scrollback-it-").tempdir().unwrap();
        let clients = Clients {
            at: server.address.get(),
            token: text(&reader, "token"),
            environment: Vec::new(),
            paper: Arc::new(paper),
            home: Arc::new(home),
        };
        Self { server, owner, channel, clients, token: text(&reader, "id") }
    }

    /// Sends a message and gives its event's offset.
    pub(crate) fn say(&mut self, body: &str) -> u64 {
        number(&self.owner.say(&self.channel, body), "offset")
    }

    /// Sends a message and gives its id.
    pub(crate) fn say_and_name(&mut self, body: &str) -> String {
        text(&self.owner.say(&self.channel, body), "id")
    }

    /// Deletes a message and gives the offset of that.
    pub(crate) fn delete(&mut self, message: &str) -> u64 {
        number(&self.owner.delete(&format!("/api/messages/{message}")).ok(200), "offset")
    }

    /// All there is, as rows.
    pub(crate) fn rows(&self) -> Vec<Value> {
        self.owner.clone().poll_all("0").iter().map(row_of).collect()
    }
}

impl Clients {
    /// Clients that come by another place.
    pub(crate) fn at(&self, at: SocketAddr) -> Self {
        Self { at, ..self.clone() }
    }

    /// Clients that say this is who they are.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// Clients with this in their environment, besides what they always have there.
    pub(crate) fn with(&self, name: &'static str, value: &str) -> Self {
        let mut other = self.clone();
        other.environment.push((name, value.to_owned()));
        other
    }

    /// The library's client of the socket, with these filters, behind the event with this id; or from now on.
    pub(crate) fn events(&self, filters: &[Value], last_log_id: Option<u64>) -> Program {
        let url = format!("wss://{}/websocket?api_token={}", self.at, self.token);
        let filters: Vec<String> = filters.iter().map(Value::to_string).collect();
        let given: Vec<&str> = filters.iter().map(String::as_str).collect();
        self.library(&[&["events", &url, &json!(last_log_id).to_string()], given.as_slice()].concat())
    }

    /// What the library makes of a subscription that may fall back to polling so often; not if that is 0.
    pub(crate) fn subscribe(&self, filters: &Value, poll_fallback: f64, last_log_id: Option<u64>) -> Program {
        let [last, filters] = [json!(last_log_id).to_string(), filters.to_string()];
        self.library(&["subscribe", &last, &poll_fallback.to_string(), &filters])
    }

    /// The library's calls of the log.
    pub(crate) fn logs(&self) -> Program {
        self.library(&["logs"])
    }

    /// The command `arv-ws`.
    pub(crate) fn arv_ws(&self, arguments: &[&str]) -> Command {
        let mut command = self.python();
        command.arg(installed("venv/bin/arv-ws")).args(arguments);
        command
    }

    fn library(&self, arguments: &[&str]) -> Program {
        let mut command = self.python();
        command.arg(program("arvados_client.py")).args(arguments);
        Program::begin(command)
    }

    fn python(&self) -> Command {
        let mut command = Command::new(installed("venv/bin/python"));
        // Proxies of whoever runs the tests, and Arvados' settings of theirs, are not for this server.
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("PYTHONUNBUFFERED", "1")
            .env("SSL_CERT_FILE", self.paper.certificate())
            .env("ARVADOS_API_HOST", self.at.to_string())
            .env("ARVADOS_API_TOKEN", &self.token)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A running client.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
}

impl Program {
    pub(crate) fn begin(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the client");
        let lines = lines(&mut child);
        Self { child, lines }
    }

    /// The next line; none when it has ended.
    #[track_caller]
    pub(crate) fn next(&mut self, until: Instant) -> Option<Value> {
        match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => Some(line.parse().expect("a line of JSON")),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the client does not say what is waited for"),
        }
    }

    /// Asks for one of its calls. Returns what became of it: an answer or a refusal, and which.
    #[track_caller]
    pub(crate) fn ask(&mut self, call: &Value) -> (String, Value) {
        let input = self.child.stdin.as_mut().expect("its input");
        writeln!(input, "{call}").unwrap();
        let said = self.next(soon()).expect("an answer");
        (text(&json!({"what": said[1]}), "what"), said[2].clone())
    }

    /// Nothing of its own runs any more.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        wait(&mut self.child);
    }

    /// Ends its input, and so the client.
    pub(super) fn end_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for its end; says whether all was well.
    pub(super) fn end(&mut self) -> bool {
        wait(&mut self.child).success()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Until when something is waited for.
pub(crate) fn soon() -> Instant {
    Instant::now() + EVENT_WAIT
}
