//! One line of an import file, and the running digest of many.

use std::borrow::Cow;
use std::collections::HashMap;

use scrollback_log::Timestamp;
use serde::Deserialize;

use crate::commands::ImportLine;
use crate::names::{BODY_BYTES_MAX, Name};
use crate::timestamps;

/// The most bytes of UTF-8 a sender's name may have.
pub const SENDER_BYTES_MAX: usize = 1024;

/// About how many bytes of what is wrong with a line are said; it can repeat the line.
const WRONG_BYTES_MAX: usize = 240;

/// A line as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    at: Cow<'a, str>,
    #[serde(borrow)]
    sender: Cow<'a, str>,
    #[serde(borrow)]
    body: Cow<'a, str>,
}

/// Reads the lines of one file. Remembers its channels, so that each name is normalised once.
#[derive(Default)]
pub(super) struct LineReader {
    /// By the name as it stands in the file.
    channels: HashMap<String, Channel>,
    /// By the name as compared.
    numbers: HashMap<String, u32>,
    last: Option<(String, Channel)>,
}

#[derive(Clone)]
struct Channel {
    name: Name,
    /// Its place among the file's channels, by first appearance.
    number: u32,
}

/// A line that was read and found good. Its texts lie in the file's bytes if they are not escaped there.
pub(super) struct ReadLine<'a> {
    channel: Channel,
    at: Timestamp,
    sender_name: Cow<'a, str>,
    body: Cow<'a, str>,
}

impl ReadLine<'_> {
    /// How many bytes its texts have.
    pub(super) fn text_bytes(&self) -> usize {
        self.sender_name.len() + self.body.len()
    }

    /// The line, to be kept.
    pub(super) fn into_line(self) -> ImportLine {
        let (sender_name, body) = (self.sender_name.into_owned(), self.body.into_owned());
        ImportLine { channel: self.channel.name, at: self.at, sender_name, body }
    }
}

impl LineReader {
    /// Reads one line without its line feed. The error says which field is wrong and why.
    pub(super) fn read<'a>(&mut self, text: &'a [u8]) -> Result<ReadLine<'a>, String> {
        // serde would also take an array of the fields in their order.
        if !text.trim_ascii_start().starts_with(b"{") {
            return Err("not a JSON object".to_owned());
        }
        let raw: Raw<'_> = serde_json::from_slice(text).map_err(|error| plain(&error))?;
        let channel = self.channel(&raw.channel)?;
        let at = timestamps::parse(&raw.at)
            .ok_or_else(|| "at: not an RFC 3339 time of the years 1970 to 9999".to_owned())?;
        if raw.sender.is_empty() || raw.sender.len() > SENDER_BYTES_MAX {
            return Err(format!("sender: must have 1 to {SENDER_BYTES_MAX} bytes of UTF-8"));
        }
        if raw.body.len() > BODY_BYTES_MAX {
            return Err(format!("body: has at most {BODY_BYTES_MAX} bytes of UTF-8"));
        }
        Ok(ReadLine { channel, at, sender_name: raw.sender, body: raw.body })
    }

    fn channel(&mut self, entered: &str) -> Result<Channel, String> {
        // Most lines are of the channel of the line before.
        if let Some((name, channel)) = &self.last
            && name == entered
        {
            return Ok(channel.clone());
        }
        let channel = match self.channels.get(entered) {
            Some(channel) => channel.clone(),
            None => self.new_channel(entered)?,
        };
        self.last = Some((entered.to_owned(), channel.clone()));
        Ok(channel)
    }

    fn new_channel(&mut self, entered: &str) -> Result<Channel, String> {
        let name = Name::parse(entered).map_err(|error| format!("channel: {error}"))?;
        let next = u32::try_from(self.numbers.len()).map_err(|_| "channel: there are too many".to_owned())?;
        let number = *self.numbers.entry(name.folded().to_owned()).or_insert(next);
        let channel = Channel { name, number };
        self.channels.insert(entered.to_owned(), channel.clone());
        Ok(channel)
    }
}

/// What serde says, less its line number, which is always 1 here. It repeats names of fields as they stand in the file, so it
/// is cut, and what a terminal would obey is spelt out.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line 1 column ") {
        Some((what, column)) => format!("{} (column {column})", shown(what)),
        None => shown(&text),
    }
}

fn shown(what: &str) -> String {
    let mut shown = String::new();
    for char in what.chars() {
        if shown.len() >= WRONG_BYTES_MAX {
            shown.push('\u{2026}');
            break;
        }
        if char.is_control() { shown.extend(char.escape_default()) } else { shown.push(char) }
    }
    shown
}

/// The running digest of a file's lines: of the order of its channels, of times and of the lengths of texts. It says
/// nothing of the texts, the names of channels included, so it can stay when they are erased.
#[derive(Clone, Default)]
pub(super) struct Digest {
    hasher: blake3::Hasher,
    pub(super) lines: u64,
}

impl Digest {
    pub(super) fn add(&mut self, read: &ReadLine<'_>) {
        let ReadLine { channel, at: Timestamp(at), sender_name, body } = read;
        let mut fields = [0; 4 + 8 + 4 + 4];
        fields[..4].copy_from_slice(&channel.number.to_le_bytes());
        fields[4..12].copy_from_slice(&at.to_le_bytes());
        // Both are far below 4 GiB.
        fields[12..16].copy_from_slice(&(sender_name.len() as u32).to_le_bytes());
        fields[16..].copy_from_slice(&(body.len() as u32).to_le_bytes());
        self.hasher.update(&fields);
        self.lines += 1;
    }

    /// The digest of the lines so far.
    pub(super) fn value(&self) -> [u8; 16] {
        let mut value = [0; 16];
        value.copy_from_slice(&self.hasher.finalize().as_bytes()[..16]);
        value
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<ImportLine, String> {
        LineReader::default().read(text.as_bytes()).map(ReadLine::into_line)
    }

    #[test]
    fn a_line_keeps_its_texts_verbatim() {
        let text = r#"{"channel": "Ubuntu", "at": "2004-11-15T01:00:00+01:00", "sender": " \u0003x", "body": "\u0001a\r\n\u2028"}"#;
        let line = read(text).unwrap();
        assert_eq!(line.channel, Name::parse("Ubuntu").unwrap());
        assert_eq!(line.at, Timestamp(1_100_476_800_000_000));
        assert_eq!((line.sender_name.as_str(), line.body.as_str()), (" \u{3}x", "\u{1}a\r\n\u{2028}"));
    }

    #[test]
    fn a_bad_line_is_refused_with_the_field_that_is_wrong() {
        let line = |channel: &str, at: &str, sender: &str, body: &str| {
            serde_json::json!({"channel": channel, "at": at, "sender": sender, "body": body}).to_string()
        };
        let at = "2004-11-15T01:00:00Z";
        for (text, says) in [
            (line(" a", at, "s", "b"), "channel"),
            (line("a", "2004-11-15", "s", "b"), "at"),
            (line("a", "1969-11-15T01:00:00Z", "s", "b"), "at"),
            (line("a", at, "", "b"), "sender"),
            (line("a", at, &"s".repeat(SENDER_BYTES_MAX + 1), "b"), "sender"),
            (line("a", at, "s", &"b".repeat(BODY_BYTES_MAX + 1)), "body"),
            (r#"{"channel":"a","at":"2004-11-15T01:00:00Z","sender":"s"}"#.into(), "`body`"),
            (r#"{"channel":"a","at":"2004-11-15T01:00:00Z","sender":"s","body":1}"#.into(), "integer"),
            (r#"{"channel":"a","at":"x","sender":"s","body":"b","extra":1}"#.into(), "`extra`"),
            (r#"{"channel":"a","channel":"b","at":"x","sender":"s","body":"b"}"#.into(), "`channel`"),
            ("[]".into(), "object"),
            (r#"["a","2004-11-15T01:00:00Z","s","b"]"#.into(), "object"),
            (" 7".into(), "object"),
            ("null".into(), "object"),
            ("{".into(), "EOF"),
            ("\u{feff}{}".into(), "object"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(LineReader::default().read(b"{\"channel\":\"\xff\"}").is_err());
    }

    #[test]
    fn what_is_said_of_a_bad_line_is_short_and_does_nothing_to_a_terminal() {
        let long = read(&format!(r#"{{"{}":1}}"#, "x".repeat(1 << 20))).unwrap_err();
        assert!(long.len() < 300 && long.contains("unknown field `xxx"), "{long}");
        let escape = read(r#"{"\u001b[2J":1}"#).unwrap_err();
        assert!(escape.contains(r"`\u{1b}[2J`"), "{escape}");
    }

    #[test]
    fn channels_of_one_folded_name_are_one_in_the_digest() {
        let digest = |names: &[&str]| {
            let (mut reader, mut digest) = (LineReader::default(), Digest::default());
            for name in names {
                let text =
                    format!(r#"{{"channel":"{name}","at":"2004-11-15T01:00:00Z","sender":"s","body":"b"}}"#);
                digest.add(&reader.read(text.as_bytes()).unwrap());
            }
            digest.value()
        };
        assert_eq!(digest(&["a", "b", "A", "b"]), digest(&["x", "y", "x", "Y"]));
        assert_ne!(digest(&["a", "b", "A", "b"]), digest(&["a", "b", "b", "a"]));
        assert_ne!(digest(&["a", "a"]), digest(&["a"]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = LineReader::default().read(&text);
        }

        #[test]
        fn a_line_reads_back_as_what_was_written(channel in "[a-z]{1,9}", at in 0..=timestamps::LATEST.0, sender in "\\PC{1,20}", body in any::<String>()) {
            let shown = timestamps::show(Timestamp(at)).to_string();
            let text = serde_json::json!({"channel": channel, "at": shown, "sender": sender, "body": body}).to_string();
            let line = read(&text).unwrap();
            prop_assert_eq!(line, ImportLine { channel: Name::parse(&channel).unwrap(), at: Timestamp(at), sender_name: sender, body });
        }
    }
}
