//! Data of other versions: older ones come up, newer ones are refused politely and not touched.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::files;
use crate::support::server::{Ended, Server, run, scrollback};

fn operate(data: &Path, arguments: &[&str]) -> Ended {
    run(scrollback().args(arguments).arg("--data").arg(data))
}

#[test]
fn a_log_of_format_0_is_refused_until_it_is_migrated_and_then_serves() {
    let space = tempfile::tempdir().unwrap();
    let data = files::unpack("format-0", space.path());
    let mut server = Server::on(&data, &["--message-expiry", "off", "--channel-expiry", "off"]);
    let refused = server.try_start().expect_err("an old format was served");
    assert!(refused.must_exit(1).stderr.contains("scrollback replay --migrate"), "{refused:?}");
    operate(&data, &["replay", "--migrate"]).must_exit(5);

    let tried = operate(&data, &["replay", "--migrate", "--dry-run", "--json"]);
    let tried: Value = serde_json::from_str(&tried.must_exit(0).stdout).unwrap();
    assert_eq!((&tried["migrated"], &tried["dry_run"]), (&Value::Bool(false), &Value::Bool(true)));
    assert!(tried["records"].as_u64().unwrap() > 100);

    let migrated = operate(&data, &["replay", "--migrate", "--yes"]);
    assert!(migrated.must_exit(0).stdout.contains("every offset kept"), "{migrated:?}");
    let head = tried["head"].to_string();
    let state = operate(&data, &["replay", "--to", &head]).must_exit(0).stdout.clone();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state.json");
    assert_eq!(state, fs::read_to_string(golden).unwrap());
    assert!(operate(&data, &["replay", "--migrate", "--yes"]).must_exit(0).stdout.contains("nothing to do"));
    server.start();
    server.client().get("/readyz").ok(200);
    server.stop();
    operate(&data, &["verify"]).must_exit(0);
    assert!(data.join("kept/1/log.1").is_dir());
    operate(&data, &["compact", "--yes"]).must_exit(0);
    assert!(!data.join("kept").exists());
}

#[test]
fn a_log_of_a_newer_format_is_refused_politely_and_not_changed() {
    let space = tempfile::tempdir().unwrap();
    let data = files::unpack("format-1", space.path());
    let log = files::current_log(&data);
    {
        let db = sled::open(&log).unwrap();
        let number = 2_u64.to_le_bytes();
        let mark = [&number[..], &crc32fast::hash(&number).to_le_bytes()].concat();
        db.open_tree("marks").unwrap().insert("format", mark).unwrap();
        db.flush().unwrap();
    }
    let mut server = Server::on(&data, &[]);
    let refused = server.try_start().expect_err("a newer format was served");
    let arguments: [&[&str]; 4] =
        [&["verify"], &["replay", "--migrate", "--yes"], &["compact", "--yes"], &["export"]];
    let others = arguments.map(|arguments| operate(&data, arguments));
    for refused in others.into_iter().chain([refused]) {
        let said = refused.must_exit(1).stderr.to_lowercase();
        assert!(said.contains("format 2") && said.contains("newer"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    assert_eq!(files::current_log(&data), log);
}
