//! What a client says.

use serde::Deserialize;
use serde_json::Value;

use crate::http::problem::{Code, Problem};
use crate::http::shapes::{SetWatch, some};

/// The longest name that a client may give to what it asks.
const ID_BYTES_MAX: usize = 128;

/// One message.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Message {
    /// Begin a session, or go on with one.
    Open(Open),
    /// All events of the session up to here are dealt with.
    Ack { session: String, offset: u64 },
    /// End the session for good.
    Close {
        #[serde(default, deserialize_with = "some")]
        id: Option<String>,
        session: String,
    },
    /// Read a watch, which is set before if that is wanted.
    Watch(ReadWatch),
    /// End a watch for good.
    Unwatch {
        #[serde(default, deserialize_with = "some")]
        id: Option<String>,
        watch: String,
    },
    /// Send a message to a channel.
    Send {
        id: String,
        channel: String,
        body: String,
        #[serde(default, deserialize_with = "some")]
        idempotency_key: Option<String>,
    },
}

/// How a session begins.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Open {
    #[serde(default, deserialize_with = "some")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "some")]
    pub(super) session: Option<String>,
    #[serde(default, deserialize_with = "some")]
    pub(super) filters: Option<Value>,
    #[serde(default, deserialize_with = "some")]
    pub(super) resume_point: Option<Value>,
    #[serde(default, deserialize_with = "some")]
    pub(super) last: Option<u64>,
    #[serde(default, deserialize_with = "some")]
    pub(super) since: Option<String>,
    #[serde(default, deserialize_with = "some")]
    pub(super) window: Option<u64>,
}

/// How a watch is read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadWatch {
    #[serde(default, deserialize_with = "some")]
    pub(super) id: Option<String>,
    pub(super) watch: String,
    #[serde(default, deserialize_with = "some")]
    pub(super) set: Option<SetWatch>,
    #[serde(default, deserialize_with = "some")]
    pub(super) resume_point: Option<Value>,
}

/// A message that cannot be understood, and what its client called it, if that much can be told.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) id: Option<String>,
    pub(super) problem: Problem,
}

/// The text of a resume point: it is given as that, or as a number.
pub(super) fn point(given: Option<&Value>) -> Result<Option<String>, Problem> {
    match given {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(Problem::plain(Code::BadResumePoint)),
    }
}

/// Reads a message.
pub(super) fn read(text: &str) -> Result<Message, Refused> {
    let error = match serde_json::from_str::<Message>(text) {
        Ok(message) if message.id().is_none_or(|id| id.len() <= ID_BYTES_MAX) => return Ok(message),
        Ok(_) => {
            let detail = format!("an `id` has at most {ID_BYTES_MAX} bytes");
            return Err(Refused { id: None, problem: Problem::new(Code::BadSchema, detail) });
        }
        Err(error) => error,
    };
    let Ok(json) = serde_json::from_str::<Value>(text) else {
        return Err(Refused {
            id: None,
            problem: Problem::new(Code::NotJson, "a message is one JSON object"),
        });
    };
    let id = json.get("id").and_then(Value::as_str).filter(|id| id.len() <= ID_BYTES_MAX);
    let detail = format!("the message does not fit the schema: {error}");
    Err(Refused { id: id.map(str::to_owned), problem: Problem::new(Code::BadSchema, detail) })
}

impl Message {
    fn id(&self) -> Option<&str> {
        match self {
            Message::Open(Open { id, .. })
            | Message::Close { id, .. }
            | Message::Watch(ReadWatch { id, .. })
            | Message::Unwatch { id, .. } => id.as_deref(),
            Message::Send { id, .. } => Some(id),
            Message::Ack { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (Option<String>, Code) {
        let Refused { id, problem } = read(text).unwrap_err();
        (id, problem.code())
    }

    #[test]
    fn what_is_no_message_is_refused_with_the_name_that_its_client_gave_it() {
        for text in ["", "{", "open", "{\"type\":\"ack\"} {}"] {
            assert_eq!(refused(text), (None, Code::NotJson), "{text}");
        }
        for text in ["[]", "7", "null", "{}", "{\"type\":\"shut\"}", "{\"type\":\"ack\",\"session\":\"S\"}"] {
            assert_eq!(refused(text), (None, Code::BadSchema), "{text}");
        }
        let long = "x".repeat(ID_BYTES_MAX + 1);
        assert_eq!(refused(&format!(r#"{{"type":"open","id":"{long}"}}"#)), (None, Code::BadSchema));
        for field in ["id", "session", "last", "since", "window"] {
            assert_eq!(
                refused(&format!(r#"{{"type":"open","{field}":null}}"#)),
                (None, Code::BadSchema),
                "{field}"
            );
        }
        for named in [
            r#"{"type":"open","id":"7","windwo":3}"#,
            r#"{"type":"watch","id":"7"}"#,
            r#"{"type":"watch","id":"7","watch":"w","set":null}"#,
            r#"{"type":"watch","id":"7","watch":"w","set":{"watch":[],"mode":"events"}}"#,
            r#"{"type":"watch","id":"7","watch":"w","set":{"watch":[{"id":"C1","since":0.5}]}}"#,
            r#"{"type":"unwatch","id":"7","watch":7}"#,
        ] {
            assert_eq!(refused(named), (Some("7".to_owned()), Code::BadSchema), "{named}");
        }
    }

    #[test]
    fn a_null_is_not_taken_for_what_was_left_out() {
        let nulls = r#"{"type":"open","filters":null,"resume_point":null}"#;
        let Ok(Message::Open(open)) = read(nulls) else { panic!("it is no open") };
        assert_eq!((open.filters, open.resume_point), (Some(Value::Null), Some(Value::Null)));
    }

    #[test]
    fn every_kind_of_message_is_read() {
        for text in [
            r#"{"type":"open"}"#,
            r#"{"type":"open","id":"1","filters":[[]],"resume_point":"7-00000000","window":5}"#,
            r#"{"type":"ack","session":"S1","offset":12}"#,
            r#"{"type":"close","id":"2","session":"S1"}"#,
            r#"{"type":"watch","watch":"w"}"#,
            r#"{"type":"watch","id":"4","watch":"w","set":{"watch":[{"id":"C1","since":3}],"max_delay_ms":0,"lease_s":60.0},"resume_point":"7.7-00000000"}"#,
            r#"{"type":"unwatch","id":"5","watch":"w"}"#,
            r#"{"type":"send","id":"3","channel":"C1","body":"hello","idempotency_key":"k"}"#,
        ] {
            read(text).unwrap();
        }
    }
}
