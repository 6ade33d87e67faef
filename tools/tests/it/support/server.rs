//! The real binary: servers in fresh directories, ended by a signal or by `kill -9`, and operator commands.

use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use serde_json::json;
use tempfile::TempDir;

use super::client::Client;

/// A start or a stop that takes longer has hung.
pub(crate) const PROCESS_WAIT: Duration = Duration::from_secs(120);

/// A command that takes longer has hung.
const COMMAND_WAIT: Duration = PROCESS_WAIT.saturating_mul(5);

/// What the server says on standard output once it takes connections.
const LISTENING: &str = "listening on ";

/// How clients come to an address.
#[derive(Clone, Default)]
pub(crate) struct Way {
    /// Inside TLS, trusting this.
    pub(crate) trust: Option<Arc<ClientConfig>>,
    /// From this address of the machine.
    pub(crate) from: Option<IpAddr>,
    /// Waiting no longer than this for an answer; none for as long as an answer may take.
    pub(crate) patience: Option<Duration>,
    /// Having the system take no more than this ahead of whoever reads; none for as much as it likes.
    pub(crate) receive_bytes: Option<usize>,
}

/// Where the server is now; another place after a restart. Clients share it and wait on it while the server is down.
#[derive(Clone, Default)]
pub(crate) struct Address(Arc<(Mutex<Option<SocketAddr>>, Condvar)>, Way);

impl Address {
    /// A place that stays.
    pub(crate) fn at(address: SocketAddr, way: Way) -> Self {
        Self(Arc::new((Mutex::new(Some(address)), Condvar::new())), way)
    }

    /// The same place, reached in another way.
    pub(crate) fn by(&self, way: Way) -> Self {
        Self(Arc::clone(&self.0), way)
    }

    pub(crate) fn way(&self) -> Way {
        self.1.clone()
    }

    #[track_caller]
    pub(crate) fn get(&self) -> SocketAddr {
        let (address, up) = &*self.0;
        let guard = address.lock().unwrap();
        let (guard, _) = up.wait_timeout_while(guard, PROCESS_WAIT, |address| address.is_none()).unwrap();
        guard.expect("the server should be up by now")
    }

    /// Where it is at this moment; none while it is down.
    pub(crate) fn now(&self) -> Option<SocketAddr> {
        *self.0.0.lock().unwrap()
    }

    fn set(&self, address: Option<SocketAddr>) {
        *self.0.0.lock().unwrap() = address;
        self.0.1.notify_all();
    }
}

/// How a process ended and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; none when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn must_exit(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

/// A server and its data.
pub(crate) struct Server {
    pub(crate) address: Address,
    data: PathBuf,
    _directory: Option<TempDir>,
    options: Vec<String>,
    environment: Vec<(String, String)>,
    listen: String,
    /// What runs the binary; none to run it itself.
    wrapper: Option<Command>,
    file_blocks_max: Option<u64>,
    running: Option<Running>,
}

struct Running {
    child: Child,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
}

impl Server {
    /// A server that is not running yet, in a fresh directory.
    pub(crate) fn new(options: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("scrollback-it-").tempdir().unwrap();
        let mut server = Self::on(&directory.path().join("data"), options);
        server._directory = Some(directory);
        server
    }

    /// A server that is not running yet, on data that stays when it is dropped.
    pub(crate) fn on(data: &Path, options: &[&str]) -> Self {
        Self {
            address: Address::default(),
            data: data.to_owned(),
            _directory: None,
            options: options.iter().map(|&option| option.to_owned()).collect(),
            environment: Vec::new(),
            listen: "127.0.0.1:0".into(),
            wrapper: None,
            file_blocks_max: None,
            running: None,
        }
    }

    pub(crate) fn started(options: &[&str]) -> Self {
        let mut server = Self::new(options);
        server.start();
        server
    }

    /// A running server with an owner, and the owner's client.
    pub(crate) fn set_up(options: &[&str]) -> (Self, Client) {
        let server = Self::started(options);
        let owner = server.owner();
        (server, owner)
    }

    /// Sets the running server up.
    pub(crate) fn owner(&self) -> Client {
        let mut owner = self.client();
        let response = owner.post("/api/setup", &json!({"name": "owner", "password": super::PASSWORD}));
        response.ok(201);
        owner.adopt(&response);
        owner
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address.clone())
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn set_options(&mut self, options: &[&str]) {
        self.options = options.iter().map(|&option| option.to_owned()).collect();
    }

    /// What the next starts find in their environment.
    pub(crate) fn set_environment(&mut self, variables: &[(String, String)]) {
        self.environment = variables.to_vec();
    }

    /// From the next start on, no file can grow beyond so many blocks (of 512 bytes, or twice that in some shells): a write
    /// behind that fails.
    pub(crate) fn limit_files(&mut self, blocks: u64) {
        self.file_blocks_max = Some(blocks);
    }

    /// Keeps the address of now over restarts, for clients that know only one.
    pub(crate) fn keep_address(&mut self) {
        self.listen = self.address.get().to_string();
    }

    /// Starts the server and waits until it listens.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        if let Err(ended) = self.try_start() {
            panic!("the server did not start: {ended:?}");
        }
    }

    /// Starts the server; an error is how the process ended instead.
    pub(crate) fn try_start(&mut self) -> Result<(), Ended> {
        self.spawn();
        let running = self.running.as_mut().unwrap();
        let (said, heard) = mpsc::channel();
        let stdout = running.child.stdout.take().unwrap();
        running.stdout = collect_lines(stdout, said);
        let deadline = Instant::now() + PROCESS_WAIT;
        loop {
            match heard.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(url) = line.strip_prefix(LISTENING) {
                        let address = url.split("//").nth(1).expect("a URL after `listening on`");
                        self.address.set(Some(address.parse().expect("an address in the URL")));
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.end()),
                Err(RecvTimeoutError::Timeout) => {
                    self.running.as_mut().unwrap().child.kill().unwrap();
                    panic!("the server neither listened nor ended: {:?}", self.end());
                }
            }
        }
    }

    /// Starts the process without waiting for anything.
    pub(crate) fn spawn(&mut self) {
        assert!(self.running.is_none(), "the server is running");
        let mut command = self.command();
        command
            .arg("serve")
            .arg("--data")
            .arg(&self.data)
            .args(["--listen", &self.listen])
            .args(&self.options)
            .envs(self.environment.iter().cloned());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = collect(child.stderr.take().unwrap());
        self.running = Some(Running { child, stdout: std::thread::spawn(String::new), stderr });
    }

    /// Lets this command, which ends with the binary's path, run the server from now on.
    pub(crate) fn wrap(&mut self, wrapper: Command) {
        self.wrapper = Some(wrapper);
    }

    /// Runs the server by itself again.
    pub(crate) fn unwrap(&mut self) {
        self.wrapper = None;
    }

    fn command(&self) -> Command {
        let plain = scrollback();
        if let Some(blocks) = self.file_blocks_max {
            let mut command = deaf(Command::new("sh"));
            command.args(["-c", "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"", &blocks.to_string()]);
            command.arg(plain.get_program());
            return command;
        }
        let Some(wrapper) = &self.wrapper else { return plain };
        let mut command = Command::new(wrapper.get_program());
        command.args(wrapper.get_args()).stdin(Stdio::null());
        for (name, value) in plain.get_envs().chain(wrapper.get_envs()) {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Ends the server as a power-off of the process would: nothing of its own runs any more.
    pub(crate) fn kill9(&mut self) -> Ended {
        self.address.set(None);
        self.running.as_mut().expect("a running server").child.kill().unwrap();
        self.end()
    }

    /// Ends the server as its operator does.
    pub(crate) fn stop(&mut self) -> Ended {
        let ended = self.terminate();
        assert_eq!(ended.code, Some(0), "a clean stop: {ended:?}");
        ended
    }

    /// Sends SIGTERM and waits for the end, whatever it is.
    pub(crate) fn terminate(&mut self) -> Ended {
        self.signal("TERM");
        self.address.set(None);
        self.end()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.as_ref().expect("a running server").child.id()
    }

    /// What Linux says of the running process under this name, such as `VmRSS:`.
    pub(crate) fn memory_bytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("its memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// How many files and sockets the running process has open.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// Waits for the end of the process.
    pub(crate) fn end(&mut self) -> Ended {
        let mut running = self.running.take().expect("a running server");
        let status = wait(&mut running.child);
        Ended {
            code: status.code(),
            stdout: running.stdout.join().unwrap(),
            stderr: running.stderr.join().unwrap(),
        }
    }

    /// An operator command on this server's data.
    pub(crate) fn operate(&self, command: &str, arguments: &[&str]) -> Ended {
        run(scrollback().arg(command).arg("--data").arg(&self.data).args(arguments))
    }

    /// An operator command against this server while it runs.
    pub(crate) fn ask(&self, token: &str, command: &str, arguments: &[&str]) -> Ended {
        let url = format!("http://{}", self.address.get());
        run(scrollback().env("SCROLLBACK_TOKEN", token).arg(command).args(["--server", &url]).args(arguments))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

/// The binary under test, deaf to the settings of whoever runs the tests.
pub(crate) fn scrollback() -> Command {
    deaf(Command::new(env!("CARGO_BIN_EXE_scrollback")))
}

fn deaf(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SCROLLBACK_") {
            command.env_remove(name);
        }
    }
    // Nor does a service manager of theirs hear of it.
    command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").env_remove("WATCHDOG_PID");
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ended {
    run_within(command, COMMAND_WAIT)
}

/// Runs a command that may take so long to its end.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Ended {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let status = wait_within(&mut child, limit);
    Ended { code: status.code(), stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap();
    assert!(sent.success(), "the signal was not sent");
}

/// Waits for a process, but not for ever: one that does not end is ended, and the test with it.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    wait_within(child, COMMAND_WAIT)
}

fn wait_within(child: &mut Child, limit: Duration) -> ExitStatus {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    panic!("a process hung");
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn collect_lines(pipe: impl Read + Send + 'static, said: mpsc::Sender<String>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut all = String::new();
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            all.push_str(&line);
            all.push('\n');
            let _ = said.send(line);
        }
        all
    })
}
