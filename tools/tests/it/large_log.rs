//! A log of many records: how fast it is folded, how soon a server is ready, and what it takes. Small here; `tools/soak` makes it
//! ten million.

use std::fs;
use std::io::{BufWriter, Write};
use std::time::Instant;

use scrollback_api::timestamps;
use scrollback_log::Timestamp;
use serde_json::json;

use crate::support::client::text;
use crate::support::count;
use crate::support::latency::must_be_within;
use crate::support::random::Random;
use crate::support::server::Server;

/// Seconds between two made-up messages.
const SECONDS_APART: i64 = 7;
const CHANNELS: u64 = 20;
const SENDERS: u64 = 200;

#[test]
fn a_large_log_is_replayed_and_served() {
    let records = count("SCROLLBACK_L6_RECORDS", 20_000) as u64;
    let mut server = Server::new(&["--message-expiry", "off", "--channel-expiry", "off"]);
    let history = server.data().with_file_name("history.jsonl");
    let mut random = Random::new(0x16);
    let words = random.words(4_096);
    let mut file = BufWriter::new(fs::File::create(&history).unwrap());
    for n in 0..records {
        let at = 1_000_000_000 + n as i64 * SECONDS_APART;
        let (start, length) = (random.below(3_000) as usize, 20 + random.below(200) as usize);
        let line = json!({
            "channel": format!("channel {}", random.below(CHANNELS)),
            "at": timestamps::show(Timestamp(at * 1_000_000)).to_string(),
            "sender": format!("sender {}", random.below(SENDERS)),
            "body": format!("{n} {}", &words[start..start + length]),
        });
        writeln!(file, "{line}").unwrap();
    }
    file.flush().unwrap();
    drop(file);
    let began = Instant::now();
    server.operate("import", &[history.to_str().unwrap()]).must_exit(0);
    let imported = began.elapsed().as_secs_f64();
    fs::remove_file(&history).unwrap();

    fs::remove_dir_all(server.data().join("views")).unwrap();
    let began = Instant::now();
    server.start();
    let replayed = began.elapsed().as_secs_f64();
    let peak = server.memory_bytes("VmHWM:") >> 20;
    let mut owner = server.owner();
    let boot = owner.get("/api/boot").ok(200);
    let head = boot["resume_point"].as_u64().unwrap();
    assert!(head >= records, "{head}");
    server.stop();
    let began = Instant::now();
    server.start();
    let ready = began.elapsed().as_secs_f64();
    let again = owner.get("/api/boot").ok(200);
    assert_eq!(text(&again, "resume_token"), text(&boot, "resume_token"));
    assert_eq!(again["messages"], boot["messages"], "the checkpoint is what the replay was");
    eprintln!(
        "{head} records: imported in {imported:.1} s, {:.0} a second; without views ready in {replayed:.2} s, {:.0} a second, at \
         most {peak} MiB; with them in {ready:.2} s, {} MiB",
        records as f64 / imported,
        head as f64 / replayed,
        server.memory_bytes("VmHWM:") >> 20
    );
    must_be_within("SCROLLBACK_L6_SECONDS_MAX", replayed, "the start without views, in seconds");
    server.stop();
}
