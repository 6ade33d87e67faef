//! What of the log a stream brings, and from where on, as each transport says it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

/// All but what a query may hold as it is (RFC 3986, 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where in the log to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// Behind an offset, or a resume token, which also proves that the reader's past is that of the server's log; `0` is the
    /// beginning.
    After(String),
    /// At the head: only what comes.
    Now,
    /// So that it brings this many of the newest events that the filters choose, 1 to 1000, and then what comes.
    Last(u16),
    /// At the first event that was recorded at this time (RFC 3339) or later.
    Since(String),
}

/// What a stream is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) start: Start,
    /// Of which one must hold, if there are any.
    pub(crate) filters: Vec<Value>,
}

impl Wanted {
    /// As a query, in which a resume point is called `point`.
    pub(super) fn query(&self, point: &str) -> String {
        let (name, value) = self.start.parameter(point);
        let mut query = format!("{name}={}", escaped(&value));
        for filter in &self.filters {
            query.push_str("&filter=");
            query.push_str(&escaped(&filter.to_string()));
        }
        query
    }

    /// As the fields of a message.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let (name, value) = self.start.parameter("resume_point");
        let value = match &self.start {
            Start::Last(last) => Value::from(*last),
            _ => Value::from(value),
        };
        let mut fields = Map::from_iter([(name.to_owned(), value)]);
        if !self.filters.is_empty() {
            fields.insert("filters".to_owned(), Value::from(self.filters.clone()));
        }
        fields
    }
}

impl Start {
    fn parameter<'a>(&self, point: &'a str) -> (&'a str, String) {
        match self {
            Start::After(after) => (point, after.clone()),
            Start::Now => (point, "now".to_owned()),
            Start::Last(last) => ("last", last.to_string()),
            Start::Since(since) => ("since", since.clone()),
        }
    }
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}
