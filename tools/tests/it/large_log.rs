//! A log of many records: how fast it is folded, how soon a server is ready, and what it takes. Small here; `tools/soak` makes it
//! ten million.

use std::fs;
use std::io::{BufWriter, Write};
use std::time::Instant;

use serde_json::json;

use crate::support::client::text;
use crate::support::count;
use crate::support::latency::must_be_within;
use crate::support::random::Random;
use crate::support::server::Server;

/// Seconds between two made-up messages.
const SECONDS_APART: u64 = 7;
const CHANNELS: u64 = 20;
const SENDERS: u64 = 200;

fn peak_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[test]
fn a_large_log_is_replayed_and_served() {
    let records = count("SCROLLBACK_L6_RECORDS", 20_000) as u64;
    let mut server = Server::new(&["--message-expiry", "off", "--channel-expiry", "off"]);
    let history = server.data().with_file_name("history.jsonl");
    let mut random = Random::new(0x16);
    let words = random.words(4_096);
    let mut file = BufWriter::new(fs::File::create(&history).unwrap());
    for n in 0..records {
        let at = 1_000_000_000 + n * SECONDS_APART;
        let (start, length) = (random.below(3_000) as usize, 20 + random.below(200) as usize);
        let line = json!({
            "channel": format!("channel {}", random.below(CHANNELS)),
            "at": rfc3339(at),
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
    let peak = peak_mib(server.pid());
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
        peak_mib(server.pid())
    );
    must_be_within("SCROLLBACK_L6_SECONDS_MAX", replayed, "the start without views, in seconds");
    server.stop();
}

/// A time in the form of the API, from seconds since 1970.
fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // The civil calendar from days, by eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let (month, year) =
        if month < 10 { (month + 3, era * 400 + year) } else { (month - 9, era * 400 + year + 1) };
    format!("{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}
