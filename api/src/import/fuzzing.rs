//! What must hold of the lines of an import file.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "what does not hold is to panic")]

use serde_json::Value;

use super::line::{Digest, LineReader};
use crate::names::{BODY_BYTES_MAX, Name};
use crate::timestamps;

/// The longest message about a line.
const MESSAGE_BYTES_MAX: usize = 300;

/// A line is read exactly when a plain reader finds the four texts in it, and says the same; what is written from it reads
/// back as itself; and what is said of a bad one fits on a terminal. A reader that has seen other lines reads it in the same
/// way.
pub fn import_line(data: &[u8]) {
    let (mut reader, mut digest) = (LineReader::default(), Digest::default());
    for text in data.split(|byte| *byte == b'\n') {
        let (read, alone) = (reader.read(text), LineReader::default().read(text));
        assert_eq!(read.as_ref().err(), alone.as_ref().err(), "the lines before make a difference");
        let wanted = plainly(text);
        let line = match read {
            Ok(line) => line,
            Err(message) => {
                assert!(wanted.is_none(), "{message}");
                assert!(message.len() <= MESSAGE_BYTES_MAX, "{} bytes about one line", message.len());
                assert!(!message.chars().any(char::is_control), "{message:?}");
                continue;
            }
        };
        digest.add(&line);
        let (bytes, line) = (line.text_bytes(), line.into_line());
        assert_eq!(bytes, line.sender_name.len() + line.body.len());
        assert_eq!(line, alone.ok().unwrap().into_line());
        let (channel, at, sender, body) = wanted.expect("the plain reader refuses a line that was read");
        assert_eq!(
            (&line.channel, line.at),
            (&Name::parse(&channel).unwrap(), timestamps::parse(&at).unwrap())
        );
        assert_eq!((&line.sender_name, &line.body), (&sender, &body));
        let at = timestamps::show(line.at).to_string();
        let written = serde_json::json!({
            "channel": line.channel.shown(), "at": at, "sender": line.sender_name, "body": line.body,
        });
        let again = LineReader::default().read(written.to_string().as_bytes()).ok().unwrap().into_line();
        assert_eq!(again, line);
    }
    let lines = digest.lines;
    assert!(lines <= data.len() as u64);
}

/// The line's channel, time, sender and body if it is good.
fn plainly(text: &[u8]) -> Option<(String, String, String, String)> {
    let Value::Object(fields) = serde_json::from_slice(text).ok()? else { return None };
    let field = |name: &str| Some(fields.get(name)?.as_str()?.to_owned());
    let (channel, at, sender, body) = (field("channel")?, field("at")?, field("sender")?, field("body")?);
    // A name that comes twice stands here once.
    let twice = ["channel", "at", "sender", "body"].iter().any(|name| comes_twice(text, name));
    let good = fields.len() == 4
        && !twice
        && Name::parse(&channel).is_ok()
        && timestamps::parse(&at).is_some()
        && (1..=super::SENDER_BYTES_MAX).contains(&sender.len())
        && body.len() <= BODY_BYTES_MAX;
    good.then_some((channel, at, sender, body))
}

/// Whether the object's field of this name comes twice.
fn comes_twice(text: &[u8], name: &str) -> bool {
    struct Names<'a>(&'a str);
    impl<'de> serde::de::Visitor<'de> for Names<'_> {
        type Value = usize;
        fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str("an object")
        }
        fn visit_map<M: serde::de::MapAccess<'de>>(self, mut map: M) -> Result<usize, M::Error> {
            let mut times = 0;
            while let Some((name, _)) = map.next_entry::<String, serde::de::IgnoredAny>()? {
                times += usize::from(name == self.0);
            }
            Ok(times)
        }
    }
    let mut from = serde_json::Deserializer::from_slice(text);
    serde::Deserializer::deserialize_map(&mut from, Names(name)).is_ok_and(|times| times > 1)
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let at = "2004-11-15T01:00:00.5+01:00";
    let good = |channel: &str, body: &str| {
        serde_json::json!({"channel": channel, "at": at, "sender": "ann", "body": body}).to_string()
    };
    let lines = [
        good("general", "good morning"),
        [good("general", "one"), good("General", "two"), good("other", "three"), String::new()].join("\n"),
        good("general", "\u{1}a\r\n\u{2028}\u{1f600}\"\\"),
        r#"{"channel": "a", "at": "2004-11-15T01:00:00Z", "sender": " \u0003x", "body": "\ud83d\ude00"}"#
            .into(),
        r#" {"body":"","sender":"s","at":"1970-01-01T00:00:00Z","channel":"a"} "#.into(),
        r#"{"channel":"a","at":"9999-12-31T23:59:59.999999Z","sender":"s","body":"b","extra":1}"#.into(),
        r#"{"channel":"a","channel":"b","at":"x","sender":"s","body":"b"}"#.into(),
        r#"{"channel":"a","at":"2016-12-31T23:59:60Z","sender":"","body":1}"#.into(),
        r#"["a","2004-11-15T01:00:00Z","s","b"]"#.into(),
        r#"{"channel":"\ud800","at":"","sender":"s","body":"b"}"#.into(),
        "\u{feff}{}".into(),
        "{".into(),
    ];
    lines.into_iter().map(String::into_bytes).collect()
}
