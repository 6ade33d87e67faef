//! What was said elsewhere, and long ago: it happened then and was recorded here now.

use std::fs;

use serde_json::{Value, json};

use super::{event, open, subscribe};
use crate::support::client::{Client, number, text};
use crate::support::server::Server;

const SAID_AT: [&str; 2] = ["2011-01-01T12:00:00.000000Z", "2012-06-30T23:59:59.000000Z"];

/// The rows of the imported messages, by a list with these filters.
fn listed(owner: &mut Client, filters: &Value) -> Vec<Value> {
    let filters =
        filters.to_string().replace('[', "%5B").replace(']', "%5D").replace('"', "%22").replace('#', "%23");
    let path = format!(
        "/arvados/v1/logs?order=id%20asc&filters={}",
        filters.replace('>', "%3E").replace('<', "%3C")
    );
    owner.get(&path).ok(200)["items"].as_array().expect("rows").clone()
}

#[test]
fn an_imported_message_happened_when_it_was_said_and_is_recorded_now() {
    let mut server = Server::new(&["--message-expiry", "off", "--channel-expiry", "off"]);
    let history = server.data().with_file_name("history.jsonl");
    let line = |(n, at): (usize, &&str)| {
        json!({"channel": "old", "at": at, "sender": "ada", "body": format!("said {n}")}).to_string() + "\n"
    };
    fs::write(&history, SAID_AT.iter().enumerate().map(line).collect::<String>()).unwrap();
    server.operate("import", &[history.to_str().unwrap()]).must_exit(0);
    server.start();
    let mut owner = server.owner();
    let of_messages = ["object_kind", "=", "scrollback#message"];
    let mut socket = open(&owner);
    subscribe(&mut socket, &json!([of_messages]), 0);
    let told: Vec<Value> = SAID_AT.iter().map(|_| event(&mut socket)).collect();
    for (n, (row, at)) in told.iter().zip(SAID_AT).enumerate() {
        assert_eq!(row["event_at"], at, "{row}");
        assert!(text(row, "created_at").as_str() > "2026", "{row}");
        assert_eq!(row["properties"]["new_attributes"]["body"], json!(format!("said {n}")), "{row}");
        assert_eq!(row["properties"]["new_attributes"]["sender_name"], "ada", "{row}");
    }
    let ids = |rows: &[Value]| rows.iter().map(|row| number(row, "id")).collect::<Vec<u64>>();
    let all = ids(&told);
    // Either time is asked for by itself.
    for (condition, wanted) in [
        (json!(["event_at", "<", "2012-01-01"]), &all[..1]),
        (json!(["event_at", ">=", SAID_AT[0]]), &all[..]),
        (json!(["created_at", "<", "2013-01-01"]), &[]),
        (json!(["created_at", ">", "2013-01-01"]), &all[..]),
    ] {
        let filters = json!([of_messages, condition]);
        let rows = listed(&mut owner, &filters);
        assert_eq!(ids(&rows), wanted, "{filters}");
        for row in &rows {
            let same = told.iter().find(|told| told["id"] == row["id"]).expect("it was told");
            assert_eq!((&row["event_at"], &row["created_at"]), (&same["event_at"], &same["created_at"]));
        }
    }
}
