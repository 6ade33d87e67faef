//! `GET /metrics`, read as strictly as Prometheus' text form is written down: what is served is well formed, is what
//! docs/operations.md lists, and counts what happened.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::support::client::text;
use crate::support::events::Events;
use crate::support::server::Server;
use crate::support::until;
use crate::support::ws::Ws;

/// Where every name is listed.
const OPERATIONS_DOC: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md"));

/// The labels of a sample, sorted.
type Labels = Vec<(String, String)>;

/// One metric with everything that was said of it.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    /// By the sample's name (the family's, or that with a suffix) and its labels.
    samples: BTreeMap<(String, Labels), f64>,
}

/// All metrics of one answer.
struct Exposition(BTreeMap<String, Family>);

impl Exposition {
    /// Reads the text; whatever breaks a rule ends the test.
    fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends with a line feed");
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        // The families that are over: all lines of one stand together.
        let (mut over, mut now, mut helped) = (BTreeSet::new(), String::new(), BTreeSet::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("HELP has a name and a text");
                assert!(is_name(name) && !help.is_empty(), "{line}");
                assert!(helped.insert(name.to_owned()), "HELP twice: {line}");
                assert!(!families.contains_key(name), "HELP after the samples: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("TYPE has a name and a type");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(helped.contains(name), "TYPE without HELP before it: {line}");
                let family = Family { kind: kind.to_owned(), samples: BTreeMap::new() };
                assert!(families.insert(name.to_owned(), family).is_none(), "TYPE twice: {line}");
                assert!(over.insert(std::mem::replace(&mut now, name.to_owned())), "{line}");
            } else {
                assert!(!line.starts_with('#'), "neither HELP nor TYPE: {line}");
                let (name, labels, value) = sample(line);
                let family = families.get_mut(&now).unwrap_or_else(|| panic!("no TYPE before: {line}"));
                let suffix = name.strip_prefix(&now).unwrap_or_else(|| panic!("in {now}: {line}"));
                let known: &[&str] =
                    if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(known.contains(&suffix), "in the {} {now}: {line}", family.kind);
                assert!(family.samples.insert((name, labels), value).is_none(), "twice: {line}");
            }
        }
        for (name, family) in &families {
            family.check(name);
        }
        Self(families)
    }

    #[track_caller]
    fn value(&self, name: &str, label: Option<(&str, &str)>) -> f64 {
        let labels = label.map(|(label, value)| (label.to_owned(), value.to_owned())).into_iter().collect();
        let key = (name.to_owned(), labels);
        let found = self.0.values().find_map(|family| family.samples.get(&key));
        *found.unwrap_or_else(|| panic!("{key:?} is not served"))
    }
}

impl Family {
    fn check(&self, name: &str) {
        assert!(!self.samples.is_empty(), "{name} has no samples");
        assert_eq!(
            self.kind == "counter",
            name.ends_with("_total"),
            "counters, and only they, end in _total: {name}"
        );
        for ((sample, labels), value) in &self.samples {
            assert!(value.is_finite(), "{sample} {labels:?} {value}");
            assert!(self.kind == "gauge" || *value >= 0.0, "{sample} {labels:?} {value}");
        }
        if self.kind == "histogram" {
            self.check_histogram(name);
        }
    }

    /// Each set of labels has cumulative buckets up to `+Inf`, a sum, and a count that is the last bucket's.
    fn check_histogram(&self, name: &str) {
        let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        for ((sample, labels), value) in &self.samples {
            if *sample != format!("{name}_bucket") {
                continue;
            }
            let (le, others): (Vec<_>, Vec<_>) = labels.iter().cloned().partition(|(label, _)| label == "le");
            let [(_, le)] = &le[..] else { panic!("a bucket has one `le`: {labels:?}") };
            buckets.entry(others).or_default().push((number(le), *value));
        }
        let others = self.samples.len() - buckets.values().map(Vec::len).sum::<usize>();
        assert_eq!(others, 2 * buckets.len(), "one sum and one count for each set of buckets: {name}");
        for (labels, mut buckets) in buckets {
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(buckets.is_sorted_by(|one, other| one.0 < other.0 && one.1 <= other.1), "{buckets:?}");
            let (last, count) = *buckets.last().unwrap();
            assert_eq!(last, f64::INFINITY, "{name} {labels:?}");
            let of = |suffix: &str| self.samples[&(format!("{name}{suffix}"), labels.clone())];
            assert_eq!(of("_count"), count, "{name} {labels:?}");
            assert!(of("_sum") >= 0.0);
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        _ => text.parse().unwrap_or_else(|_| panic!("not a number: {text:?}")),
    }
}

/// `name{label="value",...} number`, without a time.
fn sample(line: &str) -> (String, Labels, f64) {
    let (head, value) = line.rsplit_once(' ').expect("a sample has a value");
    let Some((name, rest)) = head.split_once('{') else {
        assert!(is_name(head), "{line}");
        return (head.to_owned(), Labels::new(), number(value));
    };
    assert!(is_name(name), "{line}");
    let inside = rest.strip_suffix('}').unwrap_or_else(|| panic!("the labels do not end: {line}"));
    let mut labels = Labels::new();
    for label in inside.split(',') {
        let (label, quoted) = label.split_once('=').unwrap_or_else(|| panic!("not a label: {line}"));
        let value = quoted.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = value.unwrap_or_else(|| panic!("not quoted: {line}"));
        // No label here has a value that needs escaping.
        assert!(is_name(label) && !value.contains(['"', '\\', ' ']), "{line}");
        labels.push((label.to_owned(), value.to_owned()));
    }
    labels.sort();
    assert!(labels.windows(2).all(|pair| pair[0].0 != pair[1].0), "a label twice: {line}");
    (name.to_owned(), labels, number(value))
}

fn served(server: &Server) -> Exposition {
    let response = server.client().get("/metrics");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    Exposition::read(&response.text())
}

/// Name, type, and the label with its listed values, of every row of the table.
fn documented() -> BTreeMap<String, (String, Vec<String>)> {
    let section = OPERATIONS_DOC.split("\n## ").find(|section| section.starts_with("Metrics\n"));
    let rows = section.expect("a section on metrics").lines().filter(|line| line.starts_with("| `"));
    let backquoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let row = |row: &str| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 5, "{row}");
        assert!(!cells[3].is_empty(), "a meaning: {row}");
        (backquoted(cells[0]).remove(0), (cells[1].to_owned(), backquoted(cells[2])))
    };
    rows.map(row).collect()
}

#[test]
fn what_is_served_is_what_is_documented_name_by_name_and_label_by_label() {
    let served = served(&Server::started(&[]));
    let documented = documented();
    let names = |all: &mut dyn Iterator<Item = &String>| all.cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&mut served.0.keys()), names(&mut documented.keys()));
    for (name, family) in &served.0 {
        let (kind, labels) = &documented[name];
        assert_eq!(&family.kind, kind, "{name}");
        let mut seen: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
        for (label, value) in family.samples.keys().flat_map(|(_, labels)| labels) {
            if label != "le" {
                seen.entry(label).or_default().insert(value);
            }
        }
        assert_eq!(seen.keys().copied().next(), labels.first(), "{name}");
        assert!(seen.len() < 2, "{name} has one label at most");
        if let (Some(values), Some(listed)) = (seen.values().next(), labels.get(1..)) {
            let listed: BTreeSet<&String> = listed.iter().collect();
            assert!(listed.is_empty() || listed == *values, "{name}: {listed:?}, served {values:?}");
        }
    }
}

#[test]
fn every_code_is_told_as_0_before_it_was_first_used() {
    let served = served(&Server::started(&[]));
    let codes = served.0["scrollback_problems_total"].samples.len();
    let api = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api.md"));
    assert_eq!(codes, api.lines().filter(|line| is_problem_row(line)).count());
    assert_eq!(served.value("scrollback_problems_total", Some(("code", "log_damaged"))), 0.0);
}

fn is_problem_row(line: &str) -> bool {
    let status = line.strip_prefix("| ").and_then(|rest| rest.get(..3));
    status.is_some_and(|status| status.parse::<u16>().is_ok())
}

#[test]
fn what_happened_is_what_is_counted() {
    let (server, mut owner) = Server::set_up(&["--sign-in-burst", "3"]);
    let channel = owner.create_channel("general");
    for n in 0..20 {
        owner.say(&channel, &format!("number {n}"));
    }
    let said = owner.say(&channel, "a slip of the tongue");
    owner.delete(&format!("/api/messages/{}", text(&said, "id"))).ok(200);
    owner.get("/api/nothing").refused_as(404, "not_found");
    let mut nobody = server.client();
    let log_in = |password: &str| json!({"name": "owner", "password": password});
    // One of the address's three tries was the set-up.
    nobody.post("/api/auth/login", &log_in("not the password")).refused_as(401, "bad_credentials");
    nobody.post("/api/auth/login", &log_in(crate::support::PASSWORD)).ok(200);
    nobody.post("/api/auth/login", &log_in("not the password")).refused_as(429, "rate_limited");
    let page = owner.get("/api/events/poll?after=0&limit=500").ok(200);
    let head = page["head"].as_f64().unwrap();

    let served = served(&server);
    let value = |name| served.value(name, None);
    assert_eq!(value("scrollback_head_offset"), head);
    // The first record of a log is appended before there is a writer.
    assert_eq!(value("scrollback_records_total"), head - 1.0);
    assert_eq!(value("scrollback_batches_total"), head - 1.0, "one client waits for each");
    assert_eq!(value("scrollback_batch_records_count"), head - 1.0);
    assert_eq!(value("scrollback_batch_records_sum"), head - 1.0);
    assert!(value("scrollback_log_syncs_total") >= head, "each batch is synced");
    for phase in ["queue", "decide", "append", "apply", "answer"] {
        let label = Some(("phase", phase));
        assert_eq!(served.value("scrollback_append_seconds_count", label), head - 1.0);
        assert!(served.value("scrollback_append_seconds_sum", label) > 0.0, "{phase}");
    }
    assert_eq!(value("scrollback_messages"), 20.0);
    assert_eq!((value("scrollback_users"), value("scrollback_channels")), (1.0, 1.0));
    assert_eq!(value("scrollback_views_lag_records"), 0.0);
    assert_eq!(value("scrollback_checkpoint_lag_records"), head, "none was taken yet");
    assert_eq!(served.value("scrollback_problems_total", Some(("code", "not_found"))), 1.0);
    for (outcome, count) in [("accepted", 1.0), ("wrong_credentials", 1.0), ("limited", 1.0), ("failed", 0.0)]
    {
        assert_eq!(served.value("scrollback_sign_ins_total", Some(("outcome", outcome))), count, "{outcome}");
    }
    assert_eq!(served.value("scrollback_rate_limited_total", Some(("limit", "address"))), 1.0);
    assert_eq!(value("scrollback_ready"), 1.0);
    assert_eq!(value("scrollback_expiry_paused"), 0.0);
    assert!(value("scrollback_connections_open") >= 1.0);
    assert!(value("scrollback_connections_total") >= 3.0);
    for positive in [
        "scrollback_log_disk_bytes",
        "scrollback_disk_free_bytes",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
    ] {
        assert!(value(positive) > 0.0, "{positive}");
    }
}

#[test]
fn open_streams_and_events_from_the_log_are_counted() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    for n in 0..5 {
        owner.say(&channel, &format!("number {n}"));
    }
    // After a restart nothing of it is in the ring.
    server.restart();
    let page = owner.get("/api/events/poll?after=0&limit=500").ok(200);
    let events = page["events"].as_array().unwrap().len() as f64;
    let mut stream = Events::open(&owner, "", None);
    stream.caught_up();
    let open = served(&server);
    assert_eq!(open.value("scrollback_streams_open", Some(("kind", "sse"))), 1.0);
    assert_eq!(open.value("scrollback_replayed_events_total", None), 2.0 * events);
    assert!(open.value("scrollback_stream_bytes_total", None) > 0.0);
}

#[test]
fn sessions_over_websocket_are_counted_and_those_that_wait_for_their_client() {
    let (server, owner) = Server::set_up(&["--session-retention", "5s", "--heartbeat", "1s"]);
    let sessions = || {
        let served = served(&server);
        ["scrollback_websocket_sessions", "scrollback_websocket_sessions_kept"]
            .map(|name| served.value(name, None))
    };
    assert_eq!(sessions(), [0.0, 0.0]);
    let mut socket = Ws::open(&owner);
    let session = socket.session_id(json!({"resume_point": "now"}));
    socket.session_id(json!({"resume_point": "now"}));
    assert_eq!(sessions(), [2.0, 0.0]);
    socket.cut();
    until("both are kept", || (sessions() == [2.0, 2.0]).then_some(()));
    let mut socket = Ws::open(&owner);
    assert_eq!(text(&socket.session(json!({"session": session})), "session"), session);
    assert_eq!(sessions(), [2.0, 1.0]);
    until("the other is over", || (sessions() == [1.0, 0.0]).then_some(()));
    socket.close();
    assert_eq!(sessions(), [0.0, 0.0]);
}
