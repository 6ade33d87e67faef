//! What clients say: one JSON object a message.

use serde_json::{Map, Value};

/// The longest name of its own that a client may give to what it asks.
const ID_CHARS_MAX: usize = 128;

/// The most bytes of a message; and of the one that says who it is, from whom nothing else is taken. Filters as large as any that
/// are taken have less, and what JSON takes in memory is many times its text.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
const AUTHENTICATION_BYTES_MAX: usize = 1 << 10;

/// Something that a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ask {
    /// Tell what the filters match, from behind the event with this id, or from now on.
    Subscribe {
        /// As they came.
        filters: Value,
        /// None for now.
        last_log_id: Option<u64>,
        /// Whether to tell from time to time how far everything was looked at.
        bookmarks: bool,
    },
    /// Take a subscription back.
    Unsubscribe(Which),
    /// Who it is.
    Authenticate {
        /// What proves that.
        token: String,
    },
}

/// Which subscription is taken back.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Which {
    /// The oldest with just these filters.
    Filters(Value),
    /// The one with this number.
    Number(u64),
}

/// A message, or what is wrong with it, and what its client calls it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) id: Option<Value>,
    pub(super) ask: Result<Ask, &'static str>,
}

/// Reads a message of a client that is `known` or is not.
pub(super) fn read(text: &str, known: bool) -> Asked {
    if text.len() > if known { MESSAGE_BYTES_MAX } else { AUTHENTICATION_BYTES_MAX } {
        return Asked { id: None, ask: Err("the message is too long") };
    }
    let Ok(Value::Object(mut message)) = serde_json::from_str(text) else {
        return Asked { id: None, ask: Err("a message must be one JSON object") };
    };
    let id = message.remove("id").filter(|id| match id {
        Value::Number(_) => true,
        Value::String(text) => text.chars().count() <= ID_CHARS_MAX,
        _ => false,
    });
    Asked { id, ask: ask(message) }
}

fn ask(mut message: Map<String, Value>) -> Result<Ask, &'static str> {
    // None are the same as an empty list.
    let filters = message.remove("filters").filter(|filters| !filters.is_null());
    let filters = filters.unwrap_or_else(|| Value::Array(Vec::new()));
    let field = |name: &str| message.get(name).filter(|value| !value.is_null());
    match message.get("method").and_then(Value::as_str) {
        Some("subscribe") => {
            let last_log_id = field("last_log_id").map(|id| id.as_u64());
            let bookmarks = field("bookmarks").map(Value::as_bool);
            match (last_log_id, bookmarks) {
                (Some(None), _) => Err("last_log_id must be a whole number from 0 up"),
                (_, Some(None)) => Err("bookmarks must be true or false"),
                (last_log_id, bookmarks) => Ok(Ask::Subscribe {
                    filters,
                    last_log_id: last_log_id.flatten(),
                    bookmarks: bookmarks.flatten().unwrap_or(false),
                }),
            }
        }
        Some("unsubscribe") => match field("subscription") {
            Some(number) => number
                .as_u64()
                .map(|number| Ask::Unsubscribe(Which::Number(number)))
                .ok_or("subscription must be the number that subscribing was answered with"),
            None => Ok(Ask::Unsubscribe(Which::Filters(filters))),
        },
        Some("auth") => match field("api_token").and_then(Value::as_str) {
            Some(token) => Ok(Ask::Authenticate { token: token.to_owned() }),
            None => Err("auth has an api_token"),
        },
        _ => Err("method must be subscribe, unsubscribe or auth"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_real_client_says_is_read_as_it_means_it() {
        let all = json!([]);
        for (text, ask) in [
            (
                r#"{"method":"subscribe","filters":[]}"#,
                Ask::Subscribe { filters: all.clone(), last_log_id: None, bookmarks: false },
            ),
            (
                r#"{"method":"subscribe","filters":[["event_type","=","create"]],"last_log_id":0}"#,
                Ask::Subscribe {
                    filters: json!([["event_type", "=", "create"]]),
                    last_log_id: Some(0),
                    bookmarks: false,
                },
            ),
            (
                r#"{"method":"subscribe","filters":null,"last_log_id":null,"bookmarks":true,"more":1}"#,
                Ask::Subscribe { filters: all.clone(), last_log_id: None, bookmarks: true },
            ),
            (r#"{"method":"unsubscribe"}"#, Ask::Unsubscribe(Which::Filters(all))),
            (r#"{"method":"unsubscribe","subscription":7}"#, Ask::Unsubscribe(Which::Number(7))),
            (r#"{"method":"auth","api_token":"v2/a/b"}"#, Ask::Authenticate { token: "v2/a/b".into() }),
        ] {
            assert_eq!(read(text, true), Asked { id: None, ask: Ok(ask) }, "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_words_and_by_its_id() {
        for text in [
            "",
            "[]",
            "7",
            "{\"method\":",
            r#"{"method":"subscribe","last_log_id":-1}"#,
            r#"{"method":"subscribe","last_log_id":1.5}"#,
            r#"{"method":"subscribe","last_log_id":"5"}"#,
            r#"{"method":"subscribe","bookmarks":1}"#,
            r#"{"method":"unsubscribe","subscription":"1"}"#,
            r#"{"method":"auth"}"#,
            r#"{"method":"Subscribe"}"#,
            r#"{"method":5}"#,
            "{}",
        ] {
            assert!(read(text, true).ask.is_err(), "{text}");
        }
        assert_eq!(read(r#"{"id":5}"#, true).id, Some(json!(5)));
        assert_eq!(read(r#"{"id":"five"}"#, true).id, Some(json!("five")));
        assert_eq!(read(r#"{"id":[5]}"#, true).id, None);
        let of = |bytes| format!(r#"{{"method":"auth","api_token":"{}"}}"#, "x".repeat(bytes));
        for (bytes, known, is_read) in
            [(900, false, true), (1_100, false, false), (60_000, true, true), (70_000, true, false)]
        {
            assert_eq!(read(&of(bytes), known).ask.is_ok(), is_read, "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn no_message_is_too_odd_to_be_read_or_refused(text in "\\PC{0,60}|[\\[\\]{}:,\"a-z0-9]{0,60}") {
            let _ = read(&text, true);
        }
    }
}
