//! The interface as clients see it: a real server in this process, asked over real connections.

mod accounts;
mod audit;
mod boot;
mod channels;
mod edges;
mod history;
mod past;
mod private;
mod starting;

use std::net::SocketAddr;
use std::sync::Arc;

use scrollback_log::clock::{Clock, ManualClock};
use scrollback_log::{Offset, Timestamp};
use scrollback_projections::facts::Role;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Drained, Front, Server};
use crate::commands::{Answer, Command, ImportLine, ImportStep};
use crate::names::Name;
use crate::{Node, Settings};

/// 2026-01-01T00:00:00Z.
const START: Timestamp = Timestamp(1_767_225_600_000_000);
const PASSWORD: &str = "correct horse battery";

/// A server and all it stands on.
struct World {
    node: Arc<Node>,
    server: Arc<Server>,
    address: SocketAddr,
    clock: Arc<ManualClock>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<Drained>,
    _dir: TempDir,
}

/// Somebody with an API token.
#[derive(Clone)]
struct Somebody {
    address: SocketAddr,
    token: String,
    id: String,
    offset: Offset,
}

/// One answer.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl World {
    /// A server that nobody has set up.
    async fn new() -> World {
        World::with(|_| {}).await
    }

    async fn with(adjust: impl FnOnce(&mut Settings)) -> World {
        World::on(tempfile::tempdir().unwrap(), adjust).await
    }

    /// A server on `data` in this directory, where there may be some already.
    async fn on(dir: TempDir, adjust: impl FnOnce(&mut Settings)) -> World {
        let mut settings = Settings { data: dir.path().join("data"), ..Settings::default() };
        settings.storage.free_bytes_min = 0;
        settings.sign_in_burst = 1000;
        adjust(&mut settings);
        let clock = Arc::new(ManualClock::at(START));
        let node = Arc::new(Node::open(settings, Arc::clone(&clock) as Arc<dyn Clock>, &mut |_| {}).unwrap());
        let (stop, stopping) = watch::channel(false);
        let server = Server::new(Arc::clone(&node), stopping, Handle::current());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(super::serve(Front::of(Arc::clone(&server)), listener, None, None));
        World { node, server, address, clock, stop, serving, _dir: dir }
    }

    /// A server with an owner.
    async fn set_up() -> (World, Somebody) {
        let world = World::new().await;
        let owner = world.owner().await;
        (world, owner)
    }

    async fn owner(&self) -> Somebody {
        let name = Name::parse("Owner").unwrap();
        self.somebody(|credential| Command::SetUp { name, credential }).await
    }

    async fn member(&self, name: &str) -> Somebody {
        let name = Name::parse(name).unwrap();
        self.somebody(|credential| Command::AddUser { name, role: Role::Member, credential }).await
    }

    /// Makes a user without the cost of a password.
    async fn somebody(
        &self,
        command: impl FnOnce(scrollback_projections::facts::VaultKey) -> Command,
    ) -> Somebody {
        let credential = scrollback_projections::facts::VaultKey(rand::random());
        let Answer::Done { offset, .. } = self.node.writer.submit(command(credential)).await.unwrap() else {
            panic!("the user was refused");
        };
        self.known(offset)
    }

    /// A token for the user at `offset`.
    fn known(&self, offset: Offset) -> Somebody {
        let (token, _) = self.node.vault.create_token(offset, "test".into(), self.clock.now()).unwrap();
        let id = crate::ids::show(crate::ids::IdKind::User, offset, self.node.read_views().origins());
        Somebody { address: self.address, token, id, offset }
    }

    fn nobody(&self) -> Somebody {
        Somebody { address: self.address, token: String::new(), id: String::new(), offset: Offset(0) }
    }

    /// Imports messages into one channel, each at a second after the epoch.
    async fn import(&self, channel: &str, lines_before: u64, seconds: &[i64]) {
        let line = |second: &i64| ImportLine {
            channel: Name::parse(channel).unwrap(),
            at: Timestamp(second * 1_000_000),
            sender_name: "ghost".into(),
            body: format!("at {second}"),
        };
        let lines: Vec<_> = seconds.iter().map(line).collect();
        let steps_before = self.node.read_views().imports().len();
        let step = ImportStep { steps_before, lines_before, digest: rand::random(), lines };
        let answer = self.node.writer.submit(Command::Import(step)).await.unwrap();
        assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
    }

    fn at(&self, second: i64) {
        self.clock.set(Timestamp(START.0 + second * 1_000_000));
    }

    async fn end(self) {
        self.stop.send_replace(true);
        assert_eq!(self.serving.await.unwrap(), Drained { cut: 0 });
        drop(self.server);
        self.node.close().unwrap();
    }
}

impl Somebody {
    async fn get(&self, path: &str) -> Reply {
        self.request("GET", path, "", "").await
    }

    async fn delete(&self, path: &str) -> Reply {
        self.request("DELETE", path, "", "").await
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_with(path, "", body).await
    }

    async fn put(&self, path: &str, body: &Value) -> Reply {
        self.request("PUT", path, "content-type: application/json\r\n", &body.to_string()).await
    }

    async fn post_with(&self, path: &str, headers: &str, body: &Value) -> Reply {
        let headers = format!("content-type: application/json\r\n{headers}");
        self.request("POST", path, &headers, &body.to_string()).await
    }

    async fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        if !self.token.is_empty() {
            head.push_str(&format!("authorization: Bearer {}\r\n", self.token));
        }
        if !body.is_empty() || method == "POST" {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        raw(self.address, format!("{head}{headers}\r\n{body}").as_bytes()).await
    }

    async fn create_channel(&self, name: &str) -> Value {
        self.post("/api/channels", &serde_json::json!({"name": name})).await.json(201)
    }

    async fn create_private(&self, name: &str) -> String {
        let body = serde_json::json!({"name": name, "private": true});
        text(&self.post("/api/channels", &body).await.json(201), "id")
    }

    async fn say(&self, channel: &str, body: &str) -> Value {
        self.post(&format!("/api/channels/{channel}"), &serde_json::json!({"body": body})).await.json(201)
    }
}

/// Sends bytes and reads one answer, up to the end of the connection.
async fn raw(address: SocketAddr, request: &[u8]) -> Reply {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    Reply::read(&answer)
}

impl Reply {
    fn read(answer: &[u8]) -> Reply {
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer with a head");
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head, body: answer[end + 4..].to_vec() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The body of an answer with this status.
    #[track_caller]
    fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The answer is this problem, whole.
    #[track_caller]
    fn problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        for field in ["type", "title", "detail"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
        }
    }

    /// The answer is empty with this status.
    #[track_caller]
    fn nothing(&self, status: u16) {
        assert_eq!(self.status, status, "{}", self.text());
        assert!(self.body.is_empty());
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What a browser would send back.
    fn cookie(&self) -> String {
        self.header("set-cookie").expect("a cookie").split(';').next().unwrap().to_owned()
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no text `{field}` in {value}")).to_owned()
}
