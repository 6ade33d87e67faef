//! History cursors: the place of a message in its channel's history, as opaque text.
//!
//! The text is a fixed number of hexadecimal digits that ends with a check, so that a text which was cut, retyped or made
//! up is refused, not taken for another place. The check is no signature: a cursor gives no right to anything.

use scrollback_log::{Offset, Timestamp};

/// How many bytes say the place.
const PLACE_BYTES: usize = 16;
/// How many bytes check it.
const CHECK_BYTES: usize = 4;
/// How long a cursor is.
pub(super) const CURSOR_DIGITS: usize = 2 * (PLACE_BYTES + CHECK_BYTES);
/// Keeps the check apart from any other use of the hash.
const CHECK_CONTEXT: &[u8] = b"scrollback history cursor 1";

/// A place in the order of a history: by time, then offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor {
    /// The message's time.
    pub(super) at: Timestamp,
    /// The message.
    pub(super) offset: Offset,
}

impl Cursor {
    /// Before every message.
    pub(super) const OLDEST: Cursor = Cursor { at: Timestamp(i64::MIN), offset: Offset(0) };
    /// After every message.
    pub(super) const NEWEST: Cursor = Cursor { at: Timestamp(i64::MAX), offset: Offset(u64::MAX) };

    /// The place right after this one.
    pub(super) fn next(self) -> Cursor {
        Cursor { offset: Offset(self.offset.0.saturating_add(1)), ..self }
    }

    /// The place right before this one; [`Cursor::OLDEST`] has none and is itself.
    pub(super) fn previous(self) -> Cursor {
        match (self.offset.0.checked_sub(1), self.at.0.checked_sub(1)) {
            (Some(offset), _) => Cursor { offset: Offset(offset), ..self },
            (None, Some(at)) => Cursor { at: Timestamp(at), offset: Offset(u64::MAX) },
            (None, None) => self,
        }
    }

    /// The cursor's text.
    pub(super) fn show(self) -> String {
        let bytes = self.bytes();
        let mut text = String::with_capacity(CURSOR_DIGITS);
        for byte in bytes.iter().chain(&check(&bytes)) {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
        text
    }

    /// Reads a cursor's text; only what [`Cursor::show`] writes is read.
    pub(super) fn parse(text: &str) -> Option<Cursor> {
        if text.len() != CURSOR_DIGITS || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            return None;
        }
        let at = u64::from_str_radix(&text[..16], 16).ok()?;
        let offset = u64::from_str_radix(&text[16..32], 16).ok()?;
        let cursor = Cursor { at: Timestamp(at.cast_signed()), offset: Offset(offset) };
        (u32::from_str_radix(&text[32..], 16).ok()? == u32::from_be_bytes(check(&cursor.bytes())))
            .then_some(cursor)
    }

    fn bytes(self) -> [u8; PLACE_BYTES] {
        let mut bytes = [0; PLACE_BYTES];
        bytes[..8].copy_from_slice(&self.at.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.offset.0.to_be_bytes());
        bytes
    }
}

fn check(place: &[u8; PLACE_BYTES]) -> [u8; CHECK_BYTES] {
    let hash = blake3::Hasher::new().update(CHECK_CONTEXT).update(place).finalize();
    let [a, b, c, d, ..] = *hash.as_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_reads_back_as_itself(at: i64, offset: u64) {
            let cursor = Cursor { at: Timestamp(at), offset: Offset(offset) };
            prop_assert_eq!(Cursor::parse(&cursor.show()), Some(cursor));
        }

        #[test]
        fn a_cursor_with_another_digit_is_none(at: i64, offset: u64, place in 0..CURSOR_DIGITS, digit in "[0-9a-fA-Fg]") {
            let mut text = Cursor { at: Timestamp(at), offset: Offset(offset) }.show();
            prop_assume!(text[place..=place] != digit);
            text.replace_range(place..=place, &digit);
            prop_assert_eq!(Cursor::parse(&text), None);
        }

        #[test]
        fn no_text_is_too_odd_to_be_refused(text in "\\PC{0,50}|[0-9a-f]{40}") {
            prop_assert_eq!(Cursor::parse(&text), None);
        }
    }

    #[test]
    fn cursors_are_ordered_as_the_history_is() {
        let cursor = |at, offset| Cursor { at: Timestamp(at), offset: Offset(offset) };
        assert!(Cursor::OLDEST < cursor(-5, 9));
        assert!(cursor(-5, 9) < cursor(5, 1));
        assert!(cursor(5, 1) < cursor(5, 2));
        assert!(cursor(5, 2) < Cursor::NEWEST);
        assert_eq!(Cursor::OLDEST.previous(), Cursor::OLDEST);
        for place in [cursor(5, 2), cursor(5, 0), cursor(-1, 7)] {
            assert!(place.previous() < place && place < place.next());
            assert_eq!(place.next().previous(), place);
        }
    }
}
