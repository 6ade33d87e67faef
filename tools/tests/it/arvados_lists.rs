//! Arvados' log by pages, as their library asks for it: one list, or all of them one after the other.

use serde_json::{Value, json};

use crate::support::arvados::Site;
use crate::support::arvados_rows::must_be;
use crate::support::client::{number, text};

/// By how many bytes a page ends before its limit; and more than a row has besides what its event has.
const PAGE_BYTES_MAX: usize = 1 << 20;
const ROW_BYTES: usize = 1_000;

/// A call of the library's list: its arguments, and all rows that it can choose from, in its order.
struct List<'a>(Value, Vec<&'a Value>);

fn items(answer: &Value) -> Vec<&Value> {
    answer["items"].as_array().unwrap_or_else(|| panic!("{answer}")).iter().collect()
}

/// A log of more rows than a page has, some of which are so large that a page ends by its bytes; and their messages' ids.
fn write(site: &mut Site) -> Vec<String> {
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let (mut client, channel) = (site.owner.clone(), &site.channel);
            scope.spawn(move || {
                for n in 0..140 {
                    client.say(channel, &format!("message {writer}/{n}"));
                }
            });
        }
    });
    let large: Vec<String> =
        (0..20).map(|n| site.say_and_name(&format!("{n} {}", "\"\u{1f600}".repeat(12_000)))).collect();
    for deleted in &large[3..7] {
        site.delete(deleted);
    }
    large
}

#[test]
#[ignore = "needs arvados-python-client, which tools/test installs"]
fn arvados_lists_are_exactly_the_log_in_either_direction_however_they_are_paged() {
    let mut site = Site::new(&[]);
    let mut some = write(&mut site);
    let rows = site.rows();
    let newest: Vec<Value> = rows.iter().rev().cloned().collect();
    let oldest_of =
        |wanted: &dyn Fn(&Value) -> bool| rows.iter().filter(|row| wanted(row)).collect::<Vec<_>>();
    let newest_of =
        |wanted: &dyn Fn(&Value) -> bool| newest.iter().filter(|row| wanted(row)).collect::<Vec<_>>();
    let is_deletion = |row: &Value| row["event_type"] == "delete";
    let (low, high) = (number(&rows[100], "id"), number(&rows[400], "id"));
    let time = text(&rows[700], "created_at");
    // With these the library sends a form instead of a query.
    some.drain(..5);
    some.extend((0..85).map(|n| format!("M{n:011}")));
    let lists = [
        List(json!({}), newest_of(&|_| true)),
        List(json!({"order": "id asc", "limit": 7, "offset": 5}), oldest_of(&|_| true)),
        List(
            json!({"order": ["created_at desc", "uuid desc"], "limit": 1000, "offset": 30}),
            newest_of(&|_| true),
        ),
        List(json!({"limit": 5, "offset": rows.len() - 3}), newest_of(&|_| true)),
        List(json!({"limit": 5, "offset": rows.len()}), newest_of(&|_| true)),
        List(
            json!({"limit": 5, "offset": 10_000, "filters": [["id", ">", low]]}),
            newest_of(&|row| number(row, "id") > low),
        ),
        List(
            json!({"limit": 2, "offset": 1, "filters": [["event_type", "=", "delete"]]}),
            newest_of(&is_deletion),
        ),
        List(json!({"order": "created_at", "limit": 1000, "count": "none"}), oldest_of(&|_| true)),
        List(
            json!({"filters": [["event_type", "=", "delete"]], "order": "id desc"}),
            newest_of(&is_deletion),
        ),
        List(
            json!({"filters": [["id", ">=", low], ["id", "<", high]], "order": "id", "limit": 250}),
            oldest_of(&|row| (low..high).contains(&number(row, "id"))),
        ),
        List(
            json!({"filters": [["created_at", "<=", time]], "order": "created_at desc", "limit": 1000}),
            newest_of(&|row| text(row, "created_at") <= time),
        ),
        List(
            json!({"filters": [["object_owner_uuid", "=", null]]}),
            newest_of(&|row| row["object_owner_uuid"].is_null()),
        ),
        List(
            json!({"filters": [["object_uuid", "in", some]], "order": "id"}),
            oldest_of(&|row| some.contains(&text(row, "object_uuid"))),
        ),
    ];
    let mut library = site.clients.logs();
    let mut forms = 0;
    for List(arguments, all) in lists {
        let (what, answer) = library.ask(&json!({"list": arguments}));
        assert_eq!(what, "answer", "{arguments}: {answer}");
        forms += usize::from(answer["method"] == "POST");
        let argument = |name: &str, default: u64| arguments[name].as_u64().unwrap_or(default) as usize;
        let (skipped, limit) = (argument("offset", 0), argument("limit", 100));
        let wanted: Vec<Value> = all.iter().skip(skipped).take(limit).map(|&row| row.clone()).collect();
        let items = items(&answer);
        let bytes = |rows: &[&Value]| rows.iter().map(|row| row.to_string().len()).sum::<usize>();
        let next = wanted.get(items.len()).map_or(0, |next| bytes(&[next]));
        assert!(
            next == 0 || bytes(&items) + next > PAGE_BYTES_MAX - ROW_BYTES,
            "{arguments}: {} rows for {}",
            items.len(),
            wanted.len()
        );
        must_be(&items, &wanted[..items.len()]);
        let told = answer["items_available"].as_u64().map(|count| count as usize > skipped + items.len());
        let more = skipped + items.len() < all.len();
        assert_eq!(told, if arguments["count"] == "none" { None } else { Some(more) }, "{arguments}");
    }
    assert_eq!(forms, 1, "the long filters, and nothing else, are sent as a form");
    for order_key in ["created_at", "id"] {
        for (ascending, all) in [(true, &rows), (false, &newest)] {
            let mut listed = |filters: Value| {
                let arguments = json!({"order_key": order_key, "ascending": ascending, "filters": filters});
                library.ask(&json!({"all": arguments})).1
            };
            must_be(&items(&listed(json!([]))), all);
            let deletions: Vec<Value> = all.iter().filter(|row| is_deletion(row)).cloned().collect();
            must_be(&items(&listed(json!([["event_type", "=", "delete"]]))), &deletions);
        }
    }
    let (what, refusal) = library.ask(&json!({"list": {"filters": [["portable_data_hash", "=", "x"]]}}));
    assert_eq!((what.as_str(), &refusal[0]), ("refused", &json!(400)), "{refusal}");
    assert!(refusal[1].as_str().unwrap().contains("condition 1: there is no attribute"), "{refusal}");
}
