//! Origins name an unbroken run of a log, and ids name where a thing was born: kind letter, origin, offset.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Offset;

/// How many random bits an origin has.
const ORIGIN_BITS: u32 = 48;
/// How many base32 digits an origin has in an id: 48 bits at 5 bits each, rounded up.
const ORIGIN_DIGITS: usize = 10;
/// How many base32 digits the largest offset has.
const OFFSET_DIGITS_MAX: usize = 13;
/// Crockford's base32: no I, L, O, U.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// All pairs of digits: half as many steps for each id.
const PAIRS: [[u8; 2]; 1024] = {
    let mut pairs = [[0; 2]; 1024];
    let mut number = 0;
    while number < pairs.len() {
        pairs[number] = [DIGITS[number / 32], DIGITS[number % 32]];
        number += 1;
    }
    pairs
};

/// The random name of an unbroken run of a log: 48 bits, drawn at creation and redrawn at every restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origin(u64);

impl Origin {
    /// Draws a new origin.
    #[must_use]
    pub fn draw() -> Origin {
        Origin(rand::random::<u64>() >> (u64::BITS - ORIGIN_BITS))
    }

    /// The origin with this number, or none if the number has more than 48 bits.
    #[must_use]
    pub fn new(number: u64) -> Option<Origin> {
        (number >> ORIGIN_BITS == 0).then_some(Origin(number))
    }

    /// The origin's number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

/// Where a thing was born: the record that created it. Shown as a kind letter, ten digits of origin and the offset.
///
/// ```
/// use scrollback_log::{Offset, Origin, origin::Birthplace};
/// let id = Birthplace { origin: Origin::new(7).unwrap(), offset: Offset(33) };
/// assert_eq!(id.show('M').to_string(), "M000000000711");
/// assert_eq!(Birthplace::parse('M', "M000000000711"), Some(id));
/// assert_eq!(Birthplace::parse('C', "M000000000711"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Birthplace {
    /// The run of the log that the offset belongs to.
    pub origin: Origin,
    /// The record that created the thing.
    pub offset: Offset,
}

impl Birthplace {
    /// The id's text, with the letter of the kind of thing it names.
    #[must_use]
    pub fn show(self, letter: char) -> impl fmt::Display {
        Shown { letter, place: self }
    }

    /// Reads an id's text. Only the form that [`Birthplace::show`] writes is read, so an id has one spelling.
    #[must_use]
    pub fn parse(letter: char, text: &str) -> Option<Birthplace> {
        let digits = text.strip_prefix(letter)?;
        let (origin, offset) = digits.split_at_checked(ORIGIN_DIGITS)?;
        if offset.is_empty() || offset.len() > OFFSET_DIGITS_MAX || offset.starts_with('0') {
            return None;
        }
        Some(Birthplace {
            origin: Origin::new(parse_digits(origin)?)?,
            offset: Offset(parse_digits(offset)?),
        })
    }
}

/// Writes ids of one origin, whose digits it keeps: every event that is encoded shows three ids.
#[derive(Clone, Copy, Debug)]
pub struct IdWriter {
    origin: Origin,
    digits: [u8; ORIGIN_DIGITS],
}

impl IdWriter {
    /// A writer for this origin.
    #[must_use]
    pub fn new(origin: Origin) -> IdWriter {
        let mut digits = [0; ORIGIN_DIGITS];
        push_digits(origin.0, &mut digits);
        IdWriter { origin, digits }
    }

    /// The origin.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Appends what [`Birthplace::show`] shows for the thing that was born at `offset`.
    pub fn write(&self, letter: char, offset: Offset, out: &mut Vec<u8>) {
        let mut digits = [0; OFFSET_DIGITS_MAX];
        let count = (u64::BITS - offset.0.leading_zeros()).div_ceil(5).max(1) as usize;
        push_digits(offset.0, &mut digits[..count]);
        out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        out.extend_from_slice(&self.digits);
        out.extend_from_slice(&digits[..count]);
    }
}

/// Fills `digits` with the last digits of `number`.
fn push_digits(mut number: u64, digits: &mut [u8]) {
    let mut pairs = digits.rchunks_exact_mut(2);
    for pair in &mut pairs {
        pair.copy_from_slice(&PAIRS[(number & 1023) as usize]);
        number >>= 10;
    }
    if let [first] = pairs.into_remainder() {
        *first = DIGITS[(number & 31) as usize];
    }
}

struct Shown {
    letter: char,
    place: Birthplace,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(1 + ORIGIN_DIGITS + OFFSET_DIGITS_MAX);
        IdWriter::new(self.place.origin).write(self.letter, self.place.offset, &mut text);
        f.pad(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

fn parse_digits(text: &str) -> Option<u64> {
    let mut number: u64 = 0;
    for byte in text.bytes() {
        let digit = DIGITS.iter().position(|known| *known == byte)?;
        number = number.checked_mul(32)?.checked_add(u64::try_from(digit).ok()?)?;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_reads_back_as_the_place_it_was_made_from(origin in 0_u64..1 << 48, offset in 1_u64..) {
            let place = Birthplace { origin: Origin::new(origin).unwrap(), offset: Offset(offset) };
            let text = place.show('M').to_string();
            prop_assert_eq!(Birthplace::parse('M', &text), Some(place));
            prop_assert_eq!(place.origin.number(), origin);
        }

        #[test]
        fn no_two_texts_name_the_same_place(text in "[MC][0-9A-Za-z]{0,30}") {
            if let Some(place) = Birthplace::parse('M', &text) {
                prop_assert_eq!(place.show('M').to_string(), text);
            }
        }
    }

    #[test]
    fn an_offset_has_no_leading_zero_no_more_digits_than_there_are_and_at_least_one() {
        let origin = "0000000007";
        let parsed = |offset: &str| Birthplace::parse('M', &format!("M{origin}{offset}"));
        assert_eq!(parsed("11").unwrap().offset, Offset(33));
        assert_eq!(parsed("011"), None);
        assert_eq!(parsed(""), None);
        assert_eq!(parsed("0"), None);
        let longest = "1".repeat(OFFSET_DIGITS_MAX);
        assert!(parsed(&longest).is_some());
        assert_eq!(parsed(&format!("{longest}1")), None);
    }
}
