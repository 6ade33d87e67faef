//! What a service manager is told: a socket of the test's own in its place, and the real server.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::support::server::{PROCESS_WAIT, Server};

/// A service manager that only listens.
struct Manager {
    socket: UnixDatagram,
    dir: tempfile::TempDir,
}

impl Manager {
    fn new() -> Manager {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PROCESS_WAIT)).unwrap();
        Manager { socket, dir }
    }

    fn variable(&self) -> (String, String) {
        ("NOTIFY_SOCKET".into(), self.dir.path().join("notify").to_str().unwrap().into())
    }

    /// The next message, its lines in order.
    fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("a message");
        String::from_utf8(bytes[..length].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }

    /// Messages up to one that has this line.
    fn until(&self, line: &str) -> Vec<Vec<String>> {
        let mut messages = Vec::new();
        loop {
            messages.push(self.next());
            if messages.last().unwrap().iter().any(|said| said == line) {
                return messages;
            }
        }
    }
}

#[test]
fn a_service_manager_hears_of_the_replay_the_start_a_reload_and_the_stop() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    for said in 0..5 {
        owner.say(&channel, &said.to_string());
    }
    server.stop();
    std::fs::remove_dir_all(server.data().join("views")).unwrap();

    let manager = Manager::new();
    server.set_environment(&[manager.variable()]);
    server.start();
    let start = manager.until("READY=1");
    assert_eq!(start[0], ["STATUS=opening the data"]);
    assert_eq!(start[1], ["STATUS=replaying 8 of 8 records", "EXTEND_TIMEOUT_USEC=60000000"]);
    assert_eq!(start[2][1], format!("STATUS=serving on http://{}", server.address.get()));
    assert_eq!(start.len(), 3);

    server.signal("HUP");
    let reload = manager.until("READY=1");
    assert!(reload[0][0] == "RELOADING=1" && reload[0][1].starts_with("MONOTONIC_USEC="), "{reload:?}");
    assert_eq!(reload.len(), 2);
    owner.get("/api/auth/me").ok(200);

    server.signal("TERM");
    let stop = manager.next();
    assert_eq!(stop[0], "STOPPING=1");
    assert_eq!(server.end().code, Some(0));
    assert_eq!(manager.next(), ["STATUS=storing a checkpoint and closing the data"]);
}

#[test]
fn the_watchdog_is_told_that_the_server_is_alive_again_and_again() {
    let manager = Manager::new();
    let mut server = Server::new(&[]);
    let patience = Duration::from_secs(4).as_micros().to_string();
    server.set_environment(&[manager.variable(), ("WATCHDOG_USEC".into(), patience)]);
    server.start();
    manager.until("READY=1");
    for _ in 0..3 {
        assert_eq!(manager.next(), ["WATCHDOG=1"]);
    }
    server.stop();
}

#[test]
fn a_service_manager_that_is_gone_harms_nobody() {
    let mut server = Server::new(&[]);
    server.set_environment(&[("NOTIFY_SOCKET".into(), "/nowhere/notify".into())]);
    server.start();
    server.stop();
}
