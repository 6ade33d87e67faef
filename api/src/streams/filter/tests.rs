use scrollback_log::{Offset, Timestamp};
use scrollback_projections::Origins;
use serde_json::{Value, json};

use super::*;
use crate::streams::frame::{Happening, Type};

fn read(json: &Value) -> Filters {
    Filters::from_json(json, &Origins::default()).unwrap()
}

fn error(json: &Value) -> String {
    Filters::from_json(json, &Origins::default()).unwrap_err().to_string()
}

fn taken(query: &str) -> Result<Filters, Problem> {
    Filters::take(&mut Query::parse(query).unwrap(), &Origins::default())
}

fn detail(query: &str) -> String {
    let problem = taken(query).unwrap_err();
    assert_eq!(problem.code(), Code::BadQuery);
    let body: Value = serde_json::from_slice(&problem.to_json()).unwrap();
    body["detail"].as_str().unwrap().to_owned()
}

const SENT: Facets = Facets {
    kind: Type::Message,
    happening: Happening::Sent,
    channel: Some(Offset(3)),
    sender: None,
    at: Timestamp(1_000_000),
    offset: Offset(9),
    recorded_at: Timestamp(1_000_000),
    object: Offset(9),
};

#[test]
fn what_is_wrong_is_said_in_words_and_with_its_place() {
    let good = json!(["type", "=", "message"]);
    for (filters, told) in [
        (json!("x"), "filters must be a list of filters, each a list of conditions"),
        (json!([]), "a list of filters must have one at least; `[[]]` is everything"),
        (
            json!([[good], good]),
            "condition 1 of filter 2: it must be a list of three, `[attribute, operator, operand]`, the first two of them text",
        ),
        (json!([[good], {}]), "filter 2 must be a list of conditions, each `[attribute, operator, operand]`"),
        (
            json!([[good, ["kind", "=", 1]]]),
            "condition 2 of filter 1: there is no attribute \"kind\"; it must be one of type, event, channel, sender, at, offset",
        ),
        (
            json!([[["type", "is", "message"]]]),
            "condition 1 of filter 1: there is no operator \"is\"; it must be one of =, !=, <, <=, >, >=, in, not in",
        ),
        (
            json!([[["sender", "<", null]]]),
            "condition 1 of filter 1: `<` can only be asked of at and offset, not of sender",
        ),
        (json!([[["type", "in", "message"]]]), "condition 1 of filter 1: the operand of `in` must be a list"),
        (
            json!([[["offset", "=", "7"]]]),
            "condition 1 of filter 1: \"7\" is not a value of offset, which must be a whole number from 0 up",
        ),
        (
            json!([[["at", "<", "yesterday"]]]),
            "condition 1 of filter 1: \"yesterday\" is not a value of at, which must be a time like \"2004-11-15T01:00:00Z\"",
        ),
        (
            json!([[["channel", "=", "U000000000711"]]]),
            "condition 1 of filter 1: \"U000000000711\" is not a value of channel, which must be an id that begins with C, or null",
        ),
    ] {
        assert_eq!(error(&filters), told, "{filters}");
    }
    let words = error(&json!([[["type", "=", "reaction".repeat(100)]]]));
    let start = "condition 1 of filter 1: \"reactionreactionreactionreactionreactio... is not a value of type, which must be one of user, channel, message";
    assert!(words.starts_with(start), "{words}");
    assert!(detail("filter=%5B%5D&filter=x").starts_with("filter 2 is not JSON: "));
}

#[test]
fn as_many_as_there_may_be_are_taken_and_one_more_is_refused() {
    let condition = json!(["type", "=", "message"]);
    assert!(!read(&json!(vec![vec![condition.clone()]; FILTERS_MAX])).is_everything());
    let told = error(&json!(vec![vec![condition.clone()]; FILTERS_MAX + 1]));
    assert_eq!(told, "there are 33 filters, and 32 at most are taken");
    read(&json!([vec![condition.clone(); CONDITIONS_MAX]]));
    let told = error(&json!([vec![condition; CONDITIONS_MAX + 1]]));
    assert_eq!(told, "filter 1 has 17 conditions, and 16 at most are taken");
    read(&json!([[["offset", "in", vec![1; VALUES_MAX]]]]));
    let all = |conditions: usize| {
        let condition =
            |from: usize| json!(["offset", "in", (from * 100..from * 100 + 100).collect::<Vec<_>>()]);
        json!([(0..conditions).map(condition).collect::<Vec<_>>()])
    };
    assert_eq!(read(&all(10)).values(), VALUES_IN_ALL_MAX);
    assert!(error(&all(11)).contains("all conditions together name 1100 values"), "{}", error(&all(11)));
    let told = error(&json!([[["offset", "in", vec![1; VALUES_MAX + 1]]]]));
    assert_eq!(told, "condition 1 of filter 1: the list has 101 values, and 100 at most are taken");
    assert!(taken(&"filter=[[%22offset%22,%22=%22,1]]&".repeat(FILTERS_MAX)).is_ok());
    assert_eq!(
        detail(&"filter=[&".repeat(FILTERS_MAX + 1)),
        "there are 33 filters, and 32 at most are taken"
    );
    assert!(taken(&"type=message&".repeat(VALUES_MAX)).is_ok());
    assert_eq!(detail(&"type=message&".repeat(VALUES_MAX + 1)), "`type` is given more than 100 times");
}

#[test]
fn everything_is_known_to_be_everything() {
    assert!(Filters::default().is_everything());
    assert!(taken("").unwrap().is_everything());
    for all in [
        json!([[]]),
        json!([[["offset", "=", 1]], []]),
        json!([[["type", "in", Type::ALL.map(Type::name)], ["event", "not in", []]]]),
    ] {
        assert_eq!(read(&all), Filters::default(), "{all}");
    }
    for nothing in [json!([[["type", "in", []]]]), json!([[["event", "=", "sent"], ["event", "!=", "sent"]]])]
    {
        assert!(!read(&nothing).is_everything() && !read(&nothing).matches(&SENT), "{nothing}");
    }
}

#[test]
fn what_means_the_same_is_equal() {
    let same = |one: Value, other: Value| assert_eq!(read(&json!([[one]])), read(&json!([[other]])));
    same(json!(["type", "=", "message"]), json!(["type", "in", ["message", "message"]]));
    same(json!(["event", "!=", "sent"]), json!(["event", "not in", ["sent"]]));
    let others: Vec<_> =
        Happening::ALL.map(Happening::name).into_iter().filter(|name| *name != "sent").collect();
    same(json!(["event", "!=", "sent"]), json!(["event", "in", others]));
    same(json!(["offset", "in", [3, 1, 2]]), json!(["offset", "in", [1, 2, 3, 1]]));
    same(json!(["at", "=", "2004-11-15T01:00:00Z"]), json!(["at", "in", ["2004-11-15T02:00:00.0+01:00"]]));
    assert_ne!(read(&json!([[["offset", "<", 3]]])), read(&json!([[["offset", "<=", 3]]])));
    assert_ne!(taken("type=message").unwrap(), read(&json!([[["type", "=", "message"]]])));
}

#[test]
fn what_an_event_does_not_have_is_null_and_equal_to_no_id() {
    let matches = |condition: Value| read(&json!([[condition]])).matches(&SENT);
    let foreign = "U000000000711";
    assert!(matches(json!(["sender", "=", null])) && !matches(json!(["sender", "!=", null])));
    assert!(
        matches(json!(["sender", "in", [foreign, null]]))
            && !matches(json!(["sender", "not in", [foreign, null]]))
    );
    assert!(!matches(json!(["sender", "=", foreign])) && matches(json!(["sender", "!=", foreign])));
    assert!(!matches(json!(["channel", "=", null])) && matches(json!(["channel", "not in", [null]])));
}

#[test]
fn simple_parameters_narrow_what_filters_say() {
    let filters = taken("filter=[[%22offset%22,%22%3C%22,10]]&type=message").unwrap();
    assert!(filters.matches(&SENT));
    assert!(!filters.matches(&Facets { offset: Offset(10), ..SENT }));
    assert!(!filters.matches(&Facets { kind: Type::User, ..SENT }));
    // The end of a channel comes with messages by the simple rule only.
    let ended = Facets { kind: Type::Channel, happening: Happening::Deleted, ..SENT };
    assert!(taken("type=message").unwrap().matches(&ended));
    assert!(!read(&json!([[["type", "=", "message"]]])).matches(&ended));
}
