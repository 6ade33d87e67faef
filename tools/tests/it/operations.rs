//! docs/operations.md, done: each incident that it tells of is produced, the page's own commands are typed in the page's order,
//! and what they print is what the page says, but for times, digests, sizes and process ids.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::client::Client;
use crate::support::files;
use crate::support::random::Random;
use crate::support::server::{Server, run, scrollback};

const PAGE: &str = include_str!("../../../docs/operations.md");
/// The address that the page's commands ask.
const PAGE_URL: &str = "http://127.0.0.1:8080";
/// Where the page's token goes.
const PAGE_TOKEN: &str = "SCROLLBACK_TOKEN=...";

/// Something done between two commands.
type Doing = fn(&mut Place);

/// A place in which the page's commands are typed.
struct Place {
    space: tempfile::TempDir,
    server: Option<(Server, String)>,
    /// Done after so many of the section's commands, for what the page says to do between them.
    between: Vec<(usize, Doing)>,
}

impl Place {
    fn new() -> Place {
        Place { space: tempfile::tempdir().unwrap(), server: None, between: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.space.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("scrollback-data")
    }

    /// Types a command that is only there to prepare something.
    fn prepare(&self, arguments: &[&str]) -> String {
        let ended = run(scrollback().args(arguments).current_dir(self.space.path()));
        ended.must_exit(0).stdout.clone()
    }

    /// Runs a server on the data, with an owner's token.
    fn serve(&mut self) -> Client {
        let mut server = Server::on(&self.data(), &["--message-expiry", "off"]);
        server.start();
        let mut owner = server.owner();
        let token = owner.token("operations");
        self.server = Some((server, token));
        owner
    }

    fn stop(&mut self) {
        if let Some((mut server, _)) = self.server.take() {
            server.stop();
        }
    }

    /// So many imported messages; a second time, those that the file has grown by.
    fn import(&mut self, messages: usize) {
        self.import_long(messages, 0);
    }

    /// The same, each with some noise behind it, so that the log is longer than what the store keeps in one place.
    fn import_long(&mut self, messages: usize, noise: usize) {
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
}

/// What the page says of one command.
struct Typed {
    command: String,
    printed: String,
    code: i32,
}

/// The commands of a section.
fn section(heading: &str) -> Vec<Typed> {
    let start = PAGE.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading:?}"));
    let rest = &PAGE[start + 4..];
    let text = &rest[..rest.find("\n## ").unwrap_or(rest.len())];
    let mut commands: Vec<Typed> = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("    ")) {
        let line = line.trim();
        if let Some(command) = line.strip_prefix("$ ") {
            let command = command.split("        ").next().unwrap_or(command).trim().to_owned();
            commands.push(Typed { command, printed: String::new(), code: 0 });
        } else if let Some(typed) = commands.last_mut() {
            let mut line = line.to_owned();
            if let Some(at) = line.find("(exit ") {
                typed.code = line[at + 6..].trim_end_matches(')').parse().unwrap();
                line.truncate(at);
            }
            typed.printed.push_str(&line);
            typed.printed.push(' ');
        }
    }
    commands
}

/// The text without what differs from run to run, and without how its lines are broken.
fn normal(text: &str, space: &Path) -> String {
    let text = text.replace(&format!("{}/", space.display()), "./");
    let mut normal = String::new();
    for word in text.split_whitespace() {
        let plain = word.trim_matches([',', ';', ':', '(', ')']);
        let digits = plain.chars().filter(char::is_ascii_digit).count();
        let is_time = plain.len() > 18 && plain.ends_with('Z') && plain.contains('T') && digits > 13;
        let is_digest = plain.len() == 64 && plain.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_span = digits > 0
            && plain
                .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
                .trim_end_matches("ms")
                .trim_end_matches(['s', 'm'])
                .is_empty()
            && plain.ends_with('s');
        let is_unit = matches!(plain, "B" | "KiB" | "MiB" | "GiB" | "bytes");
        if is_unit {
            // And the number before it.
            normal.truncate(normal.trim_end().rfind(' ').map_or(0, |at| at + 1));
            normal.push_str("SIZE ");
        } else if is_time {
            normal.push_str(&word.replace(plain, "TIME"));
            normal.push(' ');
        } else if is_digest {
            normal.push_str("DIGEST ");
        } else if is_span {
            // `1s 20ms` is one span.
            if !normal.ends_with("SPAN ") {
                normal.push_str("SPAN ");
            }
        } else {
            normal.push_str(word);
            normal.push(' ');
        }
    }
    let mut out = String::new();
    let mut after_process = false;
    for word in normal.split(' ') {
        if after_process && word.trim_end_matches(';').parse::<u32>().is_ok() {
            out.push_str("PID; ");
        } else {
            out.push_str(word);
            out.push(' ');
        }
        after_process = word == "process";
    }
    out.trim().to_owned()
}

/// Whether `printed` is what the page says; `...` on the page stands for anything.
fn is_as_said(said: &str, printed: &str) -> bool {
    let mut pieces = said.split("...").map(str::trim);
    let Some(first) = pieces.next() else { return printed.is_empty() };
    let Some(mut rest) = printed.strip_prefix(first) else { return false };
    let mut open = false;
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
        open = piece.is_empty();
    }
    open || rest.is_empty()
}

/// Types a section's commands and compares.
fn do_section(heading: &str, mut place: Place) -> usize {
    let commands = section(heading);
    let count = commands.len();
    assert!(count > 0, "{heading:?} has no commands");
    for (number, typed) in commands.into_iter().enumerate() {
        for (_, between) in place.between.clone().into_iter().filter(|(after, _)| *after == number) {
            between(&mut place);
        }
        let mut command = typed.command.clone();
        if let Some((server, token)) = &place.server {
            command = command.replace(PAGE_URL, &format!("http://{}", server.address.get()));
            command = command.replace(PAGE_TOKEN, &format!("SCROLLBACK_TOKEN={token}"));
        }
        let binary = scrollback();
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(&command).current_dir(place.space.path());
        for (name, value) in binary.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let bin = Path::new(binary.get_program()).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        // What is asked for is a password.
        let password = place.path("password");
        fs::write(&password, "correct horse battery\n").unwrap();
        shell.env("PATH", format!("{}:{path}", bin.display())).stdin(fs::File::open(password).unwrap());
        let ended = run(&mut shell);
        let said = normal(&typed.printed, place.space.path());
        let printed = normal(&format!("{} {}", ended.stdout, ended.stderr), place.space.path());
        assert_eq!(ended.code, Some(typed.code), "{heading:?}: `{command}`: {ended:?}");
        if !said.is_empty() {
            assert!(
                is_as_said(&said, &printed),
                "{heading:?}: `{command}`\n  the page says: {said}\n  it printed:    {printed}"
            );
        }
    }
    place.stop();
    count
}

#[test]
fn the_data_directory_belongs_to_one_process() {
    let mut place = Place::new();
    place.serve();
    do_section("The data directory", place);
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
    do_section("Backup", place);
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
    let (server, token) = place.server.as_ref().unwrap();
    server.ask(token, "backup", &[place.path("today.backup").to_str().unwrap()]).must_exit(0);
    delete(&mut owner, 4);
    for n in 0..3 {
        owner.say(&channel, &format!("later {n}"));
    }
    place.stop();
    do_section("Restore", place);
}

#[test]
fn a_log_of_another_version_is_migrated_as_the_page_says() {
    let place = Place::new();
    let unpacked = files::unpack("format-0", place.space.path());
    fs::rename(unpacked, place.data()).unwrap();
    do_section("Another version", place);
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
    do_section("Configuration", place);
}

#[test]
fn a_log_is_looked_at_and_replayed_as_the_page_says() {
    for heading in ["Looking at it", "The views are lost or damaged"] {
        let mut place = Place::new();
        place.import(3000);
        place.import(4000);
        fs::remove_dir_all(place.data().join("views")).unwrap();
        do_section(heading, place);
    }
}

#[test]
fn a_running_server_is_checked_as_the_page_says() {
    let mut place = Place::new();
    place.import(3000);
    place.import(4000);
    place.serve();
    do_section("Checking a running server", place);
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
    do_section("The log has lost its tail, or is an older one", place);
}

#[test]
fn a_missing_witness_is_written_anew_as_the_page_says() {
    let mut place = Place::new();
    place.import(3000);
    place.import(4000);
    fs::remove_file(place.data().join("witness")).unwrap();
    do_section("The witness is missing", place);
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
        let found = run(scrollback().arg("verify").current_dir(place.space.path()));
        found.code == Some(3) && found.stdout.contains("up to offset 4004")
    });
    assert!(is_found, "no flipped bit is found in a record");
    do_section("The log is damaged", place);
}

#[test]
fn users_are_kept_as_the_page_says() {
    let mut place = Place::new();
    place.between = vec![(0, |place| {
        let mut server = Server::on(&place.data(), &[]);
        server.start();
        server.stop();
    })];
    do_section("Users", place);
}

#[test]
fn a_history_is_expired_and_compacted_as_the_page_says() {
    let mut place = Place::new();
    place.import(3000);
    place.between = vec![];
    do_section("Deleting and expiring", place);
}
