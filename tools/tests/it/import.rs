//! A real chat history goes in, is interrupted, goes on, and comes out again message by message; then most of it is
//! expired and its bytes are gone.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{Client, number, text};
use crate::support::corpus::{Corpus, Line};
use crate::support::events::Events;
use crate::support::files;
use crate::support::random::Random;
use crate::support::server::{PROCESS_WAIT, Server, run, scrollback};

/// What an erased text must be to be looked for on the disk: too long to be there by chance.
const SAMPLE_BYTES_MIN: usize = 40;
const SAMPLES: usize = 1000;
/// Erased text is also looked for in parts of this length, so that packing it does not hide it.
const PART_BYTES: usize = 20;

#[test]
fn a_real_history_goes_in_and_comes_out_and_what_is_expired_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let Some(corpus) = Corpus::real(directory.path()) else { return };
    let mut server =
        Server::new(&["--message-expiry", "90d", "--channel-expiry", "90d", "--expiry-every", "1s"]);
    import_with_a_kill(&mut server, &corpus);
    server.operate("verify", &[]).must_exit(0);

    server.start();
    let mut owner = server.owner();
    let channels = channels(&mut owner, &corpus);
    assert_history_is_complete(&mut owner, &corpus, &channels);
    assert_stream_is_complete(&owner, &corpus, &channels);
    let answers = answers(&mut owner, &channels);
    server.stop();
    fs::remove_dir_all(server.data().join("views")).unwrap();
    server.start();
    assert!(self::answers(&mut owner, &channels) == answers, "other answers from rebuilt views");
    server.stop();

    expire_and_compact(&mut server, &mut owner, &corpus, &channels);
}

/// Imports, killed on the way, then to the end, then once more for nothing.
fn import_with_a_kill(server: &mut Server, corpus: &Corpus) {
    let whole = Server::new(&[]);
    whole.operate("import", &[corpus.file()]).must_exit(0);
    let half = files::bytes(whole.data()) / 2;
    let mut kills = 0;
    // Killed when half of the bytes are there; should it be over by then, at less in the next try.
    for divisor in [1, 2, 4, 8] {
        let mut child = scrollback()
            .args(["import", corpus.file(), "--data"])
            .arg(server.data())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PROCESS_WAIT;
        while files::bytes_of_a_moving_directory(server.data()) < half / divisor && Instant::now() < deadline
        {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let over = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        kills += usize::from(!over);
        if kills > 0 {
            break;
        }
        fs::remove_dir_all(server.data()).unwrap();
    }
    assert_eq!(kills, 1, "the import was always over before it could be killed");
    let import = |server: &Server| -> Value {
        let ended = server.operate("import", &[corpus.file(), "--json"]);
        ended.must_exit(0);
        serde_json::from_str(ended.stdout.trim()).expect("one JSON object")
    };
    let rest = import(server);
    let all = corpus.lines.len() as u64;
    assert_eq!(number(&rest, "added") + number(&rest, "already_there"), all, "{rest}");
    eprintln!("{all} messages, {} of them before the kill", rest["already_there"]);
    let again = import(server);
    assert_eq!((number(&again, "added"), number(&again, "already_there")), (0, all));
    assert_eq!(again["head"], rest["head"], "a second run adds nothing");
}

/// The ids of the corpus' channels by name.
fn channels(owner: &mut Client, corpus: &Corpus) -> HashMap<String, String> {
    let listed = owner.get("/api/channels").ok(200);
    let listed: HashMap<String, String> =
        listed["channels"].as_array().unwrap().iter().map(|c| (text(c, "name"), text(c, "id"))).collect();
    let names: HashSet<&String> = listed.keys().collect();
    assert_eq!(names, corpus.channels().iter().collect());
    listed
}

fn assert_is_line(message: &Value, line: &Line) {
    assert_eq!(message["body"], json!(line.body));
    assert_eq!((&message["sender"], &message["sender_name"]), (&Value::Null, &json!(line.sender)));
    let whole_second = line.at.trim_end_matches('Z');
    assert_eq!(message["at"], json!(format!("{whole_second}.000000Z")));
}

fn assert_history_is_complete(owner: &mut Client, corpus: &Corpus, channels: &HashMap<String, String>) {
    for (name, id) in channels {
        let expected: Vec<&Line> = corpus.lines.iter().filter(|line| line.channel == *name).collect();
        let got = owner.history(id, 500);
        assert_eq!(got.len(), expected.len(), "{name}");
        for (message, line) in got.iter().zip(expected) {
            assert_is_line(message, line);
        }
    }
}

fn assert_stream_is_complete(owner: &Client, corpus: &Corpus, channels: &HashMap<String, String>) {
    let events = Events::open(owner, "?resume_point=0", None).caught_up();
    assert!(events.windows(2).all(|pair| number(&pair[0], "offset") < number(&pair[1], "offset")));
    let sent: Vec<&Value> = events.iter().filter(|event| event["event"] == "sent").collect();
    assert_eq!(sent.len(), corpus.lines.len());
    for (event, line) in sent.iter().zip(&corpus.lines) {
        assert_is_line(event, line);
        assert_eq!(event["channel"], json!(channels[&line.channel]));
    }
    let others: Vec<_> = events.iter().filter(|e| e["event"] != "sent").map(|e| text(e, "type")).collect();
    assert_eq!(others.iter().filter(|kind| *kind == "channel").count(), channels.len());
    assert_eq!(others.iter().filter(|kind| *kind == "user").count(), 1);
    assert_eq!(others.len(), channels.len() + 1, "the default expiry leaves an import alone for 90 days");
}

/// What the views answer, as bytes.
fn answers(owner: &mut Client, channels: &HashMap<String, String>) -> Vec<String> {
    let mut all = vec![owner.get("/api/boot?messages=500").text(), owner.get("/api/channels").text()];
    all.push(owner.get("/api/users").text());
    for id in channels.values() {
        for query in ["limit=500", "after=oldest&limit=500", "limit=1"] {
            all.push(owner.get(&format!("/api/channels/{id}/messages?{query}")).text());
        }
    }
    all.push(owner.get("/api/events/poll?after=1000&limit=500").text());
    all
}

fn expire_and_compact(
    server: &mut Server,
    owner: &mut Client,
    corpus: &Corpus,
    channels: &HashMap<String, String>,
) {
    let limit = "2010-01-01";
    server.operate("expire", &["--before", limit]).must_exit(5);
    let (old, new): (Vec<&Line>, Vec<&Line>) = corpus.lines.iter().partition(|line| line.at.as_str() < limit);
    assert!(old.len() > SAMPLES && !new.is_empty(), "the corpus has messages on both sides of {limit}");
    let dry = server.operate("expire", &["--before", limit, "--dry-run", "--json"]);
    assert_eq!(dry.must_exit(0).stdout.trim().parse::<Value>().unwrap()["expired"], json!(old.len()));
    let samples = samples(&old, &new);
    assert!(samples.len() >= SAMPLES.min(old.len() / 10), "{}", samples.len());
    assert!(is_anywhere(server, &samples), "this search can find");

    server.operate("expire", &["--before", limit, "--yes"]).must_exit(0);
    server.operate("compact", &[]).must_exit(5);
    server.start();
    let events_before = Events::open(owner, "?resume_point=0", None).caught_up();
    server.stop();
    let bytes_before = files::bytes(server.data());
    server.operate("compact", &["--yes"]).must_exit(0);
    let bytes_after = files::bytes(server.data());
    eprintln!("{bytes_before} bytes before compact, {bytes_after} after");
    assert!(bytes_after < bytes_before, "{bytes_before} -> {bytes_after}");
    assert!(!is_anywhere(server, &samples), "erased text is still there");
    server.operate("verify", &[]).must_exit(0);

    server.start();
    let events = Events::open(owner, "?resume_point=0", None).caught_up();
    assert!(events == events_before, "compact keeps every offset and every event");
    let gone = events.iter().filter(|e| e["event"] == "sent" && e["deleted_at"].is_string()).count();
    assert_eq!(gone, old.len());
    let left = Corpus { file: corpus.file.clone(), lines: new.into_iter().cloned().collect() };
    assert_history_is_complete(owner, &left, channels);
    server.stop();
}

/// Parts of texts that only expired messages have: of up to [`SAMPLES`] long texts, each said once, every part that is in
/// no text that stays.
fn samples(old: &[&Line], new: &[&Line]) -> Vec<HashSet<Vec<u8>>> {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for line in old.iter().chain(new) {
        *times.entry(&line.body).or_default() += 1;
    }
    let mut unique: Vec<&str> = old.iter().map(|line| line.body.as_str()).collect();
    unique.retain(|body| body.len() >= SAMPLE_BYTES_MIN && times[body] == 1);
    let mut random = Random::new(0x3A3);
    let mut chosen: Vec<&str> = Vec::new();
    while chosen.len() < 2 * SAMPLES && !unique.is_empty() {
        let place = random.below(unique.len() as u64) as usize;
        chosen.push(unique.swap_remove(place));
    }
    let parts_of =
        |text: &str| text.as_bytes().chunks_exact(PART_BYTES).map(<[u8]>::to_vec).collect::<HashSet<_>>();
    let mut parts: HashSet<Vec<u8>> = chosen.iter().copied().flat_map(parts_of).collect();
    for stays in new.iter().flat_map(|line| [&line.body, &line.sender]) {
        for window in stays.as_bytes().windows(PART_BYTES) {
            parts.remove(window);
        }
    }
    let samples =
        chosen.iter().map(|text| parts_of(text).intersection(&parts).cloned().collect::<HashSet<_>>());
    samples.filter(|parts| !parts.is_empty()).take(SAMPLES).collect()
}

fn is_anywhere(server: &Server, samples: &[HashSet<Vec<u8>>]) -> bool {
    let parts: HashSet<&[u8]> = samples.iter().flatten().map(Vec::as_slice).collect();
    files::all(server.data()).into_iter().any(|file| {
        let bytes = fs::read(&file).unwrap();
        let found = bytes.windows(PART_BYTES).find(|window| parts.contains(window));
        if let Some(part) = found {
            eprintln!("{:?} is in {}", String::from_utf8_lossy(part), file.display());
        }
        found.is_some()
    })
}

#[test]
fn a_file_with_a_bad_line_is_not_imported_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bad.jsonl");
    let good = r#"{"channel":"general","at":"2011-01-01T00:00:00Z","sender":"ada","body":"hello"}"#;
    let bad = [
        "not json",
        "[]",
        r#"{"channel":"general","at":"2011-01-01T00:00:00Z","sender":"ada"}"#,
        r#"{"channel":"general","at":"yesterday","sender":"ada","body":"hello"}"#,
        r#"{"channel":"","at":"2011-01-01T00:00:00Z","sender":"ada","body":"hello"}"#,
        r#"{"channel":5,"at":"2011-01-01T00:00:00Z","sender":"ada","body":"hello"}"#,
    ];
    for line in bad {
        let server = Server::new(&[]);
        fs::write(&path, format!("{good}\n{line}\n{good}\n")).unwrap();
        let ended = server.operate("import", &[path.to_str().unwrap()]);
        ended.must_exit(1);
        assert!(ended.stderr.contains("line 2"), "the line is not named: {}", ended.stderr);
    }
    let server = Server::new(&[]);
    server.operate("import", &["/nowhere/at/all.jsonl"]).must_exit(1);
    fs::write(&path, b"{\"channel\":\"g\xff\"}\n").unwrap();
    server.operate("import", &[path.to_str().unwrap()]).must_exit(1);
    fs::write(&path, b"\x1f\x8b\x08\x00broken").unwrap();
    server.operate("import", &[path.to_str().unwrap()]).must_exit(1);
}

#[test]
fn texts_are_imported_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("odd.jsonl");
    let bodies =
        ["", "  ", "\u{3}04red\u{f}", "\r", "e\u{301}", "\u{0}", "a\nb", "\u{1f600}", "same", "same"];
    let line = |body: &&str| json!({"channel": "odd", "at": "2011-01-01T00:00:00Z", "sender": "a\u{7}b", "body": body});
    let lines: String = bodies.iter().map(|body| line(body).to_string() + "\n").collect();
    fs::write(&path, lines).unwrap();
    let mut server = Server::new(&["--message-expiry", "off"]);
    for _ in 0..2 {
        server.operate("import", &[path.to_str().unwrap()]).must_exit(0);
    }
    server.start();
    let mut owner = server.owner();
    let channel = text(&owner.get("/api/channels").ok(200)["channels"][0], "id");
    let got: Vec<String> = owner.history(&channel, 50).iter().map(|message| text(message, "body")).collect();
    assert_eq!(got, bodies);
    assert_eq!(owner.history(&channel, 1)[0]["sender_name"], "a\u{7}b");
}

#[test]
fn a_file_that_has_grown_adds_only_what_is_new() {
    let directory = tempfile::tempdir().unwrap();
    let corpus = Corpus::made(directory.path(), 3, 400, 30);
    let mut server = Server::new(&["--message-expiry", "off", "--channel-expiry", "off"]);
    let path = directory.path().join("growing.jsonl");
    let line = |l: &Line| {
        json!({"channel": l.channel, "at": l.at, "sender": l.sender, "body": l.body}).to_string() + "\n"
    };
    let write =
        |count: usize| fs::write(&path, corpus.lines[..count].iter().map(line).collect::<String>()).unwrap();
    for count in [500, 1200] {
        write(count);
        server.operate("import", &[path.to_str().unwrap()]).must_exit(0);
    }
    server.start();
    let mut owner = server.owner();
    let channels = channels(&mut owner, &corpus);
    assert_history_is_complete(&mut owner, &corpus, &channels);
    // Those who were there before go on: an import is just more of the log.
    owner.say(&channels["channel 0"], "afterwards");
    server.stop();
    let again =
        run(scrollback().args(["import", path.to_str().unwrap(), "--json", "--data"]).arg(server.data()));
    assert_eq!(again.must_exit(0).stdout.trim().parse::<Value>().unwrap()["added"], 0);
}
