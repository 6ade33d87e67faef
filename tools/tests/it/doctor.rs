//! `doctor`: what it says of good and of bad places, and that it leaves nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::files;
use crate::support::server::{Ended, Server, scrollback, wait};

/// Enough to be a measurement, and quick.
const FEW: [&str; 3] = ["--syncs", "10", "--no-strace"];

/// The verdict of a check and what was said.
fn found(ended: &Ended, check: &str) -> (String, String) {
    let report: Value = ended.stdout.trim().parse().unwrap_or_else(|_| panic!("{ended:?}"));
    let findings = report["findings"].as_array().unwrap();
    let of = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
    let finding = findings.iter().find(|finding| finding["check"] == check);
    let finding = finding.unwrap_or_else(|| panic!("no {check} in {report}"));
    (of(finding, "verdict"), of(finding, "text"))
}

fn doctor(server: &Server, arguments: &[&str]) -> Ended {
    // The machine that the tests run on may be nearly full.
    let mark = if arguments.is_empty() { &["--free-bytes-min", "1"][..] } else { arguments };
    server.operate("doctor", &[&FEW[..], &["--json"], mark].concat())
}

/// What lies in a directory, but for what a running server changes.
fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.ends_with(".new")).collect();
    names.sort();
    names
}

#[test]
fn it_looks_at_a_stopped_server_and_changes_nothing() {
    let (mut server, mut owner) = Server::set_up(&[]);
    owner.create_channel("general");
    server.stop();
    let bytes = |server: &Server| -> Vec<(String, Vec<u8>)> {
        let all = files::all(server.data());
        all.iter().map(|file| (file.display().to_string(), fs::read(file).unwrap())).collect()
    };
    let before = bytes(&server);
    let ended = doctor(&server, &[]);
    ended.must_exit(0);
    for check in
        ["data directory", "modes", "in use", "contents", "clock", "fdatasync", "commit path", "memory"]
    {
        let (verdict, text) = found(&ended, check);
        assert!(verdict == "ok" || verdict == "warn", "{check}: {verdict}: {text}");
    }
    assert!(found(&ended, "in use").1.contains("no process"));
    assert!(
        found(&ended, "contents").1.contains("log.1") && found(&ended, "clock").1.contains("newest record")
    );
    assert_eq!(bytes(&server), before);
    let told = server.operate("doctor", &[&FEW[..], &["--free-bytes-min", "1"]].concat());
    assert!(
        told.must_exit(0).stdout.lines().all(|line| line.starts_with("ok ") || line.starts_with("warn "))
    );
}

#[test]
fn it_looks_at_a_running_server_and_does_not_disturb_it() {
    let (server, mut owner) = Server::set_up(&[]);
    let before = names(server.data());
    let ended = doctor(&server, &[]);
    ended.must_exit(0);
    let (verdict, text) = found(&ended, "in use");
    assert!(verdict == "ok" && text.starts_with("process "), "{text}");
    assert_eq!(names(server.data()), before);
    owner.create_channel("still here");
}

#[test]
fn a_place_without_data_is_looked_at_and_stays_empty() {
    let server = Server::new(&[]);
    doctor(&server, &[]).must_exit(0);
    assert!(!server.data().exists());
    assert_eq!(names(server.data().parent().unwrap()), [""; 0]);
}

#[test]
fn what_is_wrong_fails_and_damage_is_told_apart() {
    let (mut server, _) = Server::set_up(&[]);
    server.stop();
    let ended = doctor(&server, &["--free-bytes-min", "1000PiB"]);
    ended.must_exit(1);
    assert_eq!(found(&ended, "free space").0, "fail");

    let witness = server.data().join("witness");
    fs::set_permissions(&witness, fs::Permissions::from_mode(0o644)).unwrap();
    let ended = doctor(&server, &[]);
    ended.must_exit(1);
    assert!(found(&ended, "modes").1.contains("witness (0644)"));
    fs::set_permissions(&witness, fs::Permissions::from_mode(0o600)).unwrap();
    doctor(&server, &[]).must_exit(0);

    let good = fs::read(&witness).unwrap();
    fs::write(&witness, vec![7; good.len()]).unwrap();
    doctor(&server, &[]).must_exit(3);
    fs::remove_file(&witness).unwrap();
    let ended = doctor(&server, &[]);
    ended.must_exit(3);
    assert_eq!(found(&ended, "contents").0, "damage");
    fs::write(&witness, good).unwrap();
    fs::write(server.data().join("CURRENT"), "log.7 00000000\n").unwrap();
    doctor(&server, &[]).must_exit(3);
    fs::remove_file(server.data().join("CURRENT")).unwrap();
    doctor(&server, &[]).must_exit(3);
}

#[test]
fn what_a_killed_run_left_keeps_no_server_from_starting_and_is_removed_by_the_next() {
    let mut server = Server::new(&[]);
    fs::create_dir_all(server.data()).unwrap();
    fs::set_permissions(server.data(), fs::Permissions::from_mode(0o700)).unwrap();
    let mut child = scrollback()
        .args(["doctor", "--no-strace", "--syncs", "10000", "--data"])
        .arg(server.data())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let scratch = server.data().join(format!("scratch.{}", child.id()));
    let deadline = Instant::now() + Duration::from_secs(60);
    while !scratch.join("appends").exists() {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "it has begun to measure");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    wait(&mut child);
    assert!(scratch.exists());
    server.start();
    server.stop();
    doctor(&server, &[]).must_exit(0);
    assert!(!scratch.exists());
}

#[test]
#[ignore = "needs strace"]
fn every_acknowledged_write_is_seen_to_be_synced() {
    let server = Server::new(&[]);
    let ended = server.operate("doctor", &["--syncs", "10", "--json"]);
    let (verdict, text) = found(&ended, "synced");
    assert!(verdict == "ok" && text.starts_with("strace: 50 of 50 "), "{verdict}: {text}");
}
