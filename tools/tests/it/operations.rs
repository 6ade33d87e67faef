//! docs/operations.md, done: each incident that it tells of is produced, the page's own commands are typed in the page's order,
//! and what they print is what the page says, but for times, digests, sizes and process ids.

mod page;
mod place;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use place::Place;
use serde_json::json;

use crate::support::client::{Client, text};
use crate::support::corpus::Corpus;
use crate::support::disk::{Disk, fill};
use crate::support::files;
use crate::support::http::Response;
use crate::support::paper::Paper;
use crate::support::server::{Server, run, scrollback, signal};

/// More than the mark of a server with the usual settings.
const DISK_MIB: usize = 600;
/// With it less is free than the mark.
const OLD_BACKUP_BYTES: u64 = 120 << 20;

/// Makes every sync of the running server fail from now on, and has it write something.
fn fail_syncs(place: &Place) {
    let mut strace = Command::new("strace")
        .args(["-f", "-p", &place.typed_pid().to_string(), "-o", "/dev/null", "-e", "trace=fdatasync"])
        .args(["-e", "inject=fdatasync:error=EIO"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It says so once it has hold of each thread.
    let mut said = BufReader::new(strace.stderr.take().unwrap()).lines();
    said.next().expect("strace attaches").unwrap();
    post(place, "hello").refused_as(503, "outcome_unknown");
    strace.wait().unwrap();
}

fn post(place: &Place, body: &str) -> Response {
    let mut owner = place.typed_owner();
    let channel = text(&owner.get("/api/channels").ok(200)["channels"][0], "id");
    owner.post(&format!("/api/channels/{channel}"), &json!({ "body": body }))
}

#[test]
fn the_data_directory_belongs_to_one_process() {
    let mut place = Place::new();
    place.serve();
    place.type_section("The data directory");
}

#[test]
fn a_backup_is_taken_as_the_page_says() {
    let mut place = Place::new();
    let mut owner = place.serve();
    let channel = owner.create_channel("general");
    let said: Vec<_> = (0..20).map(|n| owner.say(&channel, &format!("message {n}"))).collect();
    owner.delete(&format!("/api/messages/{}", said[2]["id"].as_str().unwrap())).ok(200);
    place.between = vec![(1, |place| {
        place.stop();
        fs::remove_file(place.path("today.backup")).unwrap();
    })];
    place.type_section("Backup");
}

#[test]
fn a_backup_is_restored_as_the_page_says() {
    let mut place = Place::new();
    let mut owner = place.serve();
    let channel = owner.create_channel("general");
    let said: Vec<_> = (0..20).map(|n| owner.say(&channel, &format!("message {n}"))).collect();
    let delete = |owner: &mut Client, n: usize| {
        owner.delete(&format!("/api/messages/{}", said[n]["id"].as_str().unwrap())).ok(200);
    };
    delete(&mut owner, 2);
    place.back_up("today.backup");
    delete(&mut owner, 4);
    for n in 0..3 {
        owner.say(&channel, &format!("later {n}"));
    }
    place.stop();
    place.type_section("Restore");
}

#[test]
fn a_log_of_another_version_is_migrated_as_the_page_says() {
    let place = Place::new();
    let unpacked = files::unpack("format-0", place.space());
    fs::rename(unpacked, place.data()).unwrap();
    place.type_section("Another version");
}

#[test]
fn a_settings_file_is_refused_as_the_page_says() {
    let mut place = Place::new();
    let write = |place: &Place, text: &str| fs::write(place.path("scrollback.toml"), text).unwrap();
    write(&place, "listen = \"127.0.0.1:9999\"\ntrusted_proxy = [\"10.0.0.1\"]\n");
    place.between = vec![
        (1, |place| {
            fs::write(place.path("scrollback.toml"), "listen = \"127.0.0.1:9999\"\n\nheartbeat = \"10\"\n")
                .unwrap()
        }),
        (2, |place| {
            let text = "# ours\nlisten = \"127.0.0.1:9999\"\ntrusted-proxy = [\"10.0.0.1\"]\n";
            fs::write(place.path("scrollback.toml"), text).unwrap();
        }),
    ];
    place.type_section("Configuration");
}

#[test]
fn a_log_is_looked_at_and_replayed_as_the_page_says() {
    for heading in ["Looking at it", "The views are lost or damaged"] {
        let mut place = Place::new();
        place.import(3000);
        place.import(4000);
        fs::remove_dir_all(place.data().join("views")).unwrap();
        place.type_section(heading);
    }
}

#[test]
fn a_running_server_is_checked_as_the_page_says() {
    let mut place = Place::new();
    place.import(3000);
    place.import(4000);
    place.serve();
    place.type_section("Checking a running server");
}

#[test]
fn a_lost_tail_is_found_and_gone_on_from_as_the_page_says() {
    let mut place = Place::new();
    place.import(3000);
    let older = place.path("older");
    files::copy(&place.data(), &older);
    place.import(4000);
    fs::remove_dir_all(place.data().join("log.1")).unwrap();
    files::copy(&older.join("log.1"), &place.data().join("log.1"));
    place.type_section("The log has lost its tail, or is an older one");
}

#[test]
fn a_missing_witness_is_written_anew_as_the_page_says() {
    let mut place = Place::new();
    place.import(3000);
    place.import(4000);
    fs::remove_file(place.data().join("witness")).unwrap();
    place.type_section("The witness is missing");
}

#[test]
fn damage_is_told_and_cured_as_the_page_says() {
    let mut place = Place::new();
    place.import_long(3000, 700);
    place.import_long(4000, 700);
    place.prepare(&["backup", "today.backup"]);
    // Most places are in a record, some in what the store does not open without, some nowhere.
    let sound = fs::read(place.data().join("log.1/db")).unwrap();
    let is_found = (0..200).any(|trial| {
        let mut bytes = sound.clone();
        bytes[sound.len() / 5 + trial * 997] ^= 1;
        fs::write(place.data().join("log.1/db"), bytes).unwrap();
        let found = run(scrollback().arg("verify").current_dir(place.space()));
        found.code == Some(3) && found.stdout.contains("up to offset 4004")
    });
    assert!(is_found, "no flipped bit is found in a record");
    place.type_section("The log is damaged");
}

#[test]
fn users_are_kept_as_the_page_says() {
    let mut place = Place::new();
    place.between = vec![(0, |place| {
        let mut server = Server::on(&place.data(), &[]);
        server.start();
        server.stop();
    })];
    place.type_section("Users");
}

#[test]
fn a_history_is_expired_and_compacted_as_the_page_says() {
    let mut place = Place::new();
    place.import(3000);
    place.between = vec![];
    place.type_section("Deleting and expiring");
}

#[test]
fn a_server_runs_and_stops_as_the_page_says() {
    let mut place = Place::new();
    place.serve();
    place.stop();
    place.type_section("Running");
}

#[test]
#[ignore = "needs openssl"]
fn a_certificate_is_renewed_and_refused_as_the_page_says() {
    let mut place = Place::new();
    place.serve();
    place.stop();
    place.between = vec![(2, |place| {
        let other = fs::read(Paper::new().key()).unwrap();
        fs::write(place.path("other.pem"), &other).unwrap();
        fs::write(place.path("privkey.pem"), other).unwrap();
        signal(place.typed_pid(), "HUP");
    })];
    place.type_section("TLS");
}

#[test]
fn a_server_behind_a_proxy_is_started_as_the_page_says() {
    let mut place = Place::new();
    place.serve();
    place.stop();
    place.type_section("Behind a proxy");
}

#[test]
#[ignore = "needs root, to mount a small disk, and curl"]
fn a_full_disk_is_told_and_cured_as_the_page_says() {
    let Some(disk) = Disk::mount(DISK_MIB) else { return };
    let mut place = Place::on(disk.path());
    let mut owner = place.serve();
    owner.create_channel("general");
    place.stop();
    place.between = vec![
        (0, |place| fill(&place.path("old.backup"), OLD_BACKUP_BYTES)),
        (4, |place| {
            place.end_typed();
            fill(&place.path("older.backup"), (DISK_MIB << 20) as u64);
        }),
        (5, |place| {
            // Whatever still fits into the files that are there.
            while post(place, &"a long story ".repeat(4_000)).status == 201 {}
        }),
    ];
    place.type_section("The disk is full");
}

#[test]
#[ignore = "needs strace"]
fn a_failed_write_ends_the_server_as_the_page_says() {
    let mut place = Place::new();
    place.serve().create_channel("general");
    place.stop();
    place.between = vec![
        (1, |place| fail_syncs(place)),
        (3, |place| {
            place.typed_owner().get("/api/boot").ok(200);
        }),
    ];
    place.type_section("A write failed");
}

#[test]
fn the_health_of_a_container_is_asked_as_the_page_says() {
    let mut place = Place::new();
    place.import(3000);
    place.import(4000);
    place.serve();
    place.type_section("In a container");
}

#[test]
#[ignore = "needs the real history, and takes its time"]
fn a_real_history_is_imported_and_exported_as_the_page_says() {
    let Some(corpus) = Corpus::whole() else { return };
    let place = Place::new();
    fs::copy(corpus, place.path("history.jsonl.gz")).unwrap();
    place.type_section("Bringing a history in, taking everything out");
}
