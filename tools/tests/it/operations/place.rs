//! A place in which the page's commands are typed.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::page::{Typed, is_as_said, normal, section};
use crate::support::client::Client;
use crate::support::random::Random;
use crate::support::server::{Address, Server, Way, run, scrollback, signal, wait};
use crate::support::until;

/// The addresses that the page's servers listen on.
const PAGE_ADDRESSES: [&str; 2] = ["0.0.0.0:443", "127.0.0.1:8080"];
/// Where the page's token goes.
const PAGE_TOKEN: &str = "SCROLLBACK_TOKEN=...";
/// What a server says once it takes connections.
const LISTENING: &str = "listening on ";

/// Something done between two commands.
pub(super) type Doing = fn(&mut Place);

/// A place in which the page's commands are typed.
pub(super) struct Place {
    space: PathBuf,
    /// Gone with it.
    _directory: Option<tempfile::TempDir>,
    server: Option<Server>,
    /// An owner's, once there is one.
    pub(super) token: Option<String>,
    /// The section that is typed.
    heading: String,
    /// What a command of the page has started.
    typed: Option<Serving>,
    /// Done after so many of the section's commands, for what the page says to do between them.
    pub(super) between: Vec<(usize, Doing)>,
}

/// A server that a command of the page has started.
struct Serving {
    command: Typed,
    child: Child,
    printed: Arc<Mutex<String>>,
    reading: Option<JoinHandle<()>>,
    address: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Only one whose test has failed still runs.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Place {
    pub(super) fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::on(directory.path());
        Place { _directory: Some(directory), ..place }
    }

    /// In a directory that is there.
    pub(super) fn on(space: &Path) -> Place {
        let space = space.to_owned();
        Place {
            space,
            _directory: None,
            server: None,
            token: None,
            heading: String::new(),
            typed: None,
            between: Vec::new(),
        }
    }

    /// The process of the server that was typed last.
    pub(super) fn typed_pid(&self) -> u32 {
        self.typed.as_ref().expect("a server was typed").child.id()
    }

    /// An owner's client of the server that was typed last.
    pub(super) fn typed_owner(&self) -> Client {
        let address = &self.typed.as_ref().expect("a server was typed").address;
        let token = self.token.as_ref().expect("a server was set up");
        Client::new(Address::at(address.parse().unwrap(), Way::default())).with_token(token)
    }

    /// Asks the server that runs on the data for a backup.
    pub(super) fn back_up(&self, name: &str) {
        let (Some(server), Some(token)) = (&self.server, &self.token) else { panic!("no server runs") };
        server.ask(token, "backup", &[self.path(name).to_str().unwrap()]).must_exit(0);
    }

    pub(super) fn space(&self) -> &Path {
        &self.space
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.space.join(name)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path("scrollback-data")
    }

    /// Types a command that is only there to prepare something.
    pub(super) fn prepare(&self, arguments: &[&str]) -> String {
        let ended = run(scrollback().args(arguments).current_dir(&self.space));
        ended.must_exit(0).stdout.clone()
    }

    /// Runs a server on the data, with an owner's token.
    pub(super) fn serve(&mut self) -> Client {
        let mut server = Server::on(&self.data(), &["--message-expiry", "off"]);
        server.start();
        let mut owner = server.owner();
        let token = owner.token("operations");
        (self.server, self.token) = (Some(server), Some(token));
        owner
    }

    pub(super) fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.stop();
        }
    }

    /// So many imported messages; a second time, those that the file has grown by.
    pub(super) fn import(&mut self, messages: usize) {
        self.import_long(messages, 0);
    }

    /// The same, each with some noise behind it, so that the log is longer than what the store keeps in one place.
    pub(super) fn import_long(&mut self, messages: usize, noise: usize) {
        let mut random = Random::new(77);
        let mut lines = String::new();
        for n in 0..messages {
            let _ = writeln!(
                lines,
                "{{\"channel\":\"general\",\"at\":\"2026-01-01T00:00:{:02}Z\",\"sender\":\"zoe\",\"body\":\"message {n} {}\"}}",
                n % 60,
                (0..noise).map(|_| char::from(b'a' + random.below(26) as u8)).collect::<String>()
            );
        }
        fs::write(self.path("history.jsonl"), lines).unwrap();
        self.prepare(&["import", "history.jsonl"]);
    }

    /// Types a section's commands and compares what they print with what the page says.
    pub(super) fn type_section(mut self, heading: &str) {
        self.heading = heading.to_owned();
        let commands = section(heading);
        assert!(!commands.is_empty(), "{heading:?} has no commands");
        let count = commands.len();
        for (number, typed) in commands.into_iter().enumerate() {
            self.between(number);
            if typed.command.starts_with("scrollback serve") {
                self.end_typed();
                if typed.code == 0 || typed.printed.contains(LISTENING) {
                    self.type_server(typed);
                    continue;
                }
            }
            let ended = run(&mut self.shell(&typed.command));
            assert_eq!(ended.code, Some(typed.code), "{heading:?}: `{}`: {ended:?}", typed.command);
            // How far it was every few seconds, which depends on the machine.
            let is_progress = |line: &&str| {
                line.split_once(": ").is_some_and(|(what, far)| {
                    !what.contains(' ') && far.starts_with(|first: char| first.is_ascii_digit())
                })
            };
            let stderr =
                ended.stderr.lines().filter(|line| !is_progress(line)).collect::<Vec<_>>().join("\n");
            self.compare(&typed, &format!("{} {stderr}", ended.stdout));
        }
        self.between(count);
        self.end_typed();
        self.stop();
    }

    fn between(&mut self, number: usize) {
        for (_, between) in self.between.clone().into_iter().filter(|(after, _)| *after == number) {
            between(self);
        }
    }

    /// A shell that runs the command.
    fn shell(&self, command: &str) -> Command {
        let mut command = command.to_owned();
        let address = match (&self.server, &self.typed) {
            (Some(server), _) => server.address.get().to_string(),
            (None, Some(serving)) => serving.address.clone(),
            (None, None) => "127.0.0.1:0".into(),
        };
        for page in PAGE_ADDRESSES {
            command = command.replace(page, &address);
        }
        if let Some(token) = &self.token {
            command = command.replace(PAGE_TOKEN, &format!("SCROLLBACK_TOKEN={token}"));
        }
        let binary = scrollback();
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(&command).current_dir(&self.space);
        if command.contains("scrollback serve") {
            shell.env("SCROLLBACK_LISTEN", "127.0.0.1:0");
        } else if let Some(server) = &self.server {
            shell.env("SCROLLBACK_LISTEN", server.address.get().to_string());
        }
        for (name, value) in binary.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let bin = Path::new(binary.get_program()).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        // What is asked for is a password.
        let password = self.path("password");
        fs::write(&password, "correct horse battery\n").unwrap();
        shell.env("PATH", format!("{}:{path}", bin.display())).stdin(fs::File::open(password).unwrap());
        shell
    }

    fn compare(&self, typed: &Typed, printed: &str) {
        let said = normal(&typed.printed, &self.space);
        let printed = normal(printed, &self.space);
        assert!(
            said.is_empty() || is_as_said(&said, &printed),
            "{:?}: `{}`\n  the page says: {said}\n  it printed:    {printed}",
            self.heading,
            typed.command
        );
    }

    /// Starts a server that goes on until another one is typed, or the section ends.
    fn type_server(&mut self, command: Typed) {
        let mut child = self
            .shell(&format!("exec {} 2>&1", command.command))
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let printed = Arc::new(Mutex::new(String::new()));
        let into = Arc::clone(&printed);
        let reading = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                into.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let address = until(&format!("{:?}: `{}` listens", self.heading, command.command), || {
            let printed = printed.lock().unwrap();
            let said = printed.lines().find_map(|line| line.strip_prefix(LISTENING))?;
            Some(said.trim_start_matches("https://").trim_start_matches("http://").to_owned())
        });
        self.typed = Some(Serving { command, child, printed, reading: Some(reading), address });
    }

    /// Ends the server that was typed, if one was: it has printed what the page says, and ends as the page says.
    pub(super) fn end_typed(&mut self) {
        let Some(mut serving) = self.typed.take() else { return };
        let page =
            PAGE_ADDRESSES.into_iter().find(|page| serving.command.printed.contains(page)).unwrap_or("");
        let (printed, address) = (Arc::clone(&serving.printed), serving.address.clone());
        let told = || printed.lock().unwrap().replace(&address, page);
        if serving.command.code == 0 {
            let said = format!("{} ...", normal(&serving.command.printed, &self.space));
            let what = format!("{:?}: `{}` prints {said}", self.heading, serving.command.command);
            until(&what, || is_as_said(&said, &normal(&told(), &self.space)).then_some(()));
            signal(serving.child.id(), "TERM");
        }
        let code = wait(&mut serving.child).code();
        if let Some(reading) = serving.reading.take() {
            reading.join().unwrap();
        }
        let told = told();
        let Typed { command, code: said, .. } = &serving.command;
        assert_eq!(code, Some(*said), "{:?}: `{command}`: {told}", self.heading);
        if *said != 0 {
            self.compare(&serving.command, &told);
        }
    }
}
