//! Resume points: an offset, or a resume token `OFFSET-TAG` that also proves the reader's past is this log's past.

use std::fmt;

use crate::Offset;

/// The longest text that can be a resume point: 20 digits, a hyphen and 8 hex digits.
const TEXT_BYTES_MAX: usize = 29;
/// How many hex digits a tag has.
const TAG_DIGITS: usize = 8;

/// The first 32 bits of the chain's value at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag(pub u32);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Where a reader wants to go on: strictly after `offset`.
///
/// ```
/// use scrollback_log::{Offset, ResumePoint, Tag};
/// assert_eq!(ResumePoint::parse("12"), Some(ResumePoint { offset: Offset(12), tag: None }));
/// assert_eq!(ResumePoint::parse("12-0000beef"), Some(ResumePoint { offset: Offset(12), tag: Some(Tag(0xbeef)) }));
/// assert_eq!(ResumePoint::parse("+12"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumePoint {
    /// The last offset the reader has seen, 0 for none.
    pub offset: Offset,
    /// The chain's tag there, when the reader gave a resume token.
    pub tag: Option<Tag>,
}

impl ResumePoint {
    /// Reads a resume point. Only decimal digits without leading zeros, and eight lower-case hex digits after a hyphen,
    /// are read: a resume point has one spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<ResumePoint> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (offset, tag) = match text.split_once('-') {
            Some((offset, tag)) => (offset, Some(parse_tag(tag)?)),
            None => (text, None),
        };
        let plain =
            offset.bytes().all(|byte| byte.is_ascii_digit()) && (offset == "0" || !offset.starts_with('0'));
        if !plain {
            return None;
        }
        Some(ResumePoint { offset: Offset(offset.parse().ok()?), tag })
    }
}

impl fmt::Display for ResumePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tag {
            Some(tag) => write!(f, "{}-{tag}", self.offset),
            None => self.offset.fmt(f),
        }
    }
}

fn parse_tag(text: &str) -> Option<Tag> {
    let plain =
        text.len() == TAG_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if plain { u32::from_str_radix(text, 16).ok().map(Tag) } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_resume_point_reads_back_as_itself(offset: u64, tag: Option<u32>) {
            let point = ResumePoint { offset: Offset(offset), tag: tag.map(Tag) };
            prop_assert_eq!(ResumePoint::parse(&point.to_string()), Some(point));
        }

        #[test]
        fn whatever_reads_as_a_resume_point_is_its_only_spelling(text in "\\PC{0,40}|[0-9]{0,22}(-[0-9a-fA-F]{0,9})?") {
            if let Some(point) = ResumePoint::parse(&text) {
                prop_assert_eq!(point.to_string(), text);
            }
        }
    }

    #[test]
    fn garbage_is_not_a_resume_point() {
        for text in [
            "",
            "-",
            "-1",
            "+1",
            "01",
            "1-",
            "1-abc",
            "1-ABCDEF01",
            "1-0000000g",
            "18446744073709551616",
            " 1",
            "1\0",
        ] {
            assert_eq!(ResumePoint::parse(text), None, "{text:?}");
        }
    }
}
