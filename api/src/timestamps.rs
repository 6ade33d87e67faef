//! Time stamps as text: RFC 3339 in UTC with exactly six fraction digits on the way out, any RFC 3339 on the way in.
//!
//! Writing is arithmetic on a fixed array: it lies on the path of every event that is encoded.

use std::fmt;

use scrollback_log::Timestamp;

/// How many bytes a shown time stamp has.
pub const SHOWN_BYTES: usize = 27;

/// 1970-01-01T00:00:00Z, the earliest time that is read or shown.
pub const EARLIEST: Timestamp = Timestamp(0);
/// 9999-12-31T23:59:59.999999Z, the latest time that is read or shown.
pub const LATEST: Timestamp = Timestamp(253_402_300_799_999_999);

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// The time as `2004-11-15T01:00:00.000000Z`. What lies outside [`EARLIEST`] to [`LATEST`] is shown as the nearer one.
#[must_use]
pub fn show(time: Timestamp) -> impl fmt::Display + Copy {
    Shown(encode(time))
}

/// Appends what [`show`] shows.
pub fn write_to(time: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(&encode(time));
}

#[derive(Clone, Copy)]
struct Shown([u8; SHOWN_BYTES]);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.0).map_err(|_| fmt::Error)?)
    }
}

/// The bytes that [`show`] shows.
#[must_use]
pub fn encode(time: Timestamp) -> [u8; SHOWN_BYTES] {
    let micros = time.clamp(EARLIEST, LATEST).0;
    let seconds = micros / MICROS_PER_SECOND;
    let (year, month, day) = civil(seconds / SECONDS_PER_DAY);
    let second = seconds % SECONDS_PER_DAY;
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    digits(&mut text[0..4], year);
    digits(&mut text[5..7], month);
    digits(&mut text[8..10], day);
    digits(&mut text[11..13], second / 3600);
    digits(&mut text[14..16], second / 60 % 60);
    digits(&mut text[17..19], second % 60);
    digits(&mut text[20..26], micros % MICROS_PER_SECOND);
    text
}

fn digits(place: &mut [u8], mut number: i64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The date of a day after 1970-01-01, by Howard Hinnant's `civil_from_days`: years begin in March, so that the leap
/// day is the last one.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (400 * era + year_of_era + i64::from(month <= 2), month, day)
}

/// The day after 1970-01-01 that a date names; the reverse of [`civil`].
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    era * 146_097 + 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Reads an RFC 3339 time with any offset from UTC. Fraction digits after the sixth are dropped; a leap second is the
/// first second after it. None for anything else, and for years before 1970 or after 9999.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let (date_time, rest) = bytes.split_at_checked(19)?;
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if separators.iter().any(|(place, wanted)| date_time[*place] != *wanted)
        || !matches!(date_time[10], b'T' | b't' | b' ')
    {
        return None;
    }
    let field = |from: usize, to: usize| number(&date_time[from..to]);
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    if !(1..=12).contains(&month)
        || !(1..=days_in(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let (micros, rest) = fraction(rest)?;
    let offset_minutes = offset(rest)?;
    let seconds = day_number(year, month, day) * SECONDS_PER_DAY
        + hour * 3600
        + (minute - offset_minutes) * 60
        + second;
    let time = Timestamp(seconds * MICROS_PER_SECOND + micros);
    (EARLIEST..=LATEST).contains(&time).then_some(time)
}

/// The microseconds of `.digits`, if there are any, and what follows them.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(after) = text.strip_prefix(b".") else { return Some((0, text)) };
    let count = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let (digits, rest) = after.split_at(count);
    let (used, mut micros) = (count.min(6), 0);
    for digit in &digits[..used] {
        micros = micros * 10 + i64::from(digit - b'0');
    }
    Some((micros * 10_i64.pow(6 - used as u32), rest))
}

/// The offset from UTC in minutes: `Z` or `+hh:mm`.
fn offset(text: &[u8]) -> Option<i64> {
    let (sign, text) = match text {
        b"Z" | b"z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    if text.len() != 5 || text[2] != b':' {
        return None;
    }
    let (hours, minutes) = (number(&text[..2])?, number(&text[3..])?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits
        .iter()
        .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_spelling_of_a_time_is_the_same_time() {
        let time = Some(Timestamp(1_100_480_400_500_000));
        for text in [
            "2004-11-15T01:00:00.5Z",
            "2004-11-15t01:00:00.500000z",
            "2004-11-15 01:00:00.50+00:00",
            "2004-11-15T01:00:00.5000009-00:00",
            "2004-11-15T06:30:00.5+05:30",
            "2004-11-14T23:59:60.5-01:00",
        ] {
            assert_eq!(parse(text), time, "{text}");
        }
        assert_eq!(show(Timestamp(1_100_480_400_500_000)).to_string(), "2004-11-15T01:00:00.500000Z");
    }

    #[test]
    fn what_is_no_time_or_outside_the_years_is_refused() {
        for text in [
            "",
            "now",
            "2004",
            "2004-11-15",
            "2004-11-15T01:00:00",
            "2004-11-15T01:00:00.Z",
            "2004-11-15T01:00:00Zx",
            "2004-02-30T00:00:00Z",
            "2003-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2004-13-01T00:00:00Z",
            "2004-00-01T00:00:00Z",
            "2004-11-15T24:00:00Z",
            "2004-11-15T01:60:00Z",
            "2004-11-15T01:00:61Z",
            "2004-11-15T01:00:00+24:00",
            "2004-11-15T01:00:00+0100",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "+004-11-15T01:00:00Z",
            "２004-11-15T01:00:00Z",
            "2004-11-15T01:00:00Z\0",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(parse("9999-12-31T23:59:59.999999Z"), Some(LATEST));
        assert_eq!(parse("1970-01-01T00:00:00Z"), Some(EARLIEST));
        assert!(parse("2000-02-29T00:00:00Z").is_some());
    }

    #[test]
    fn a_time_outside_the_years_is_shown_as_the_nearest_one() {
        assert_eq!(show(Timestamp(i64::MIN)).to_string(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(show(Timestamp(i64::MAX)).to_string(), "9999-12-31T23:59:59.999999Z");
    }

    proptest! {
        #[test]
        fn times_are_shown_as_humantime_shows_them_and_read_back(micros in 0..=LATEST.0) {
            let time = Timestamp(micros);
            let theirs = humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(micros as u64)).to_string();
            prop_assert_eq!(show(time).to_string(), &theirs[..]);
            prop_assert_eq!(parse(&theirs), Some(time));
            let mut written = Vec::new();
            write_to(time, &mut written);
            prop_assert_eq!(written, theirs.into_bytes());
        }

        #[test]
        fn an_offset_moves_the_time_and_nothing_else(micros in 86_400_000_000..=LATEST.0 - 86_400_000_000, minutes in -1439_i64..=1439) {
            let local = show(Timestamp(micros + minutes * 60_000_000)).to_string();
            let sign = if minutes < 0 { '-' } else { '+' };
            let text = format!("{}{sign}{:02}:{:02}", local.trim_end_matches('Z'), minutes.abs() / 60, minutes.abs() % 60);
            prop_assert_eq!(parse(&text), Some(Timestamp(micros)));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,40}|[0-9TZ:.+-]{15,35}") {
            if let Some(time) = parse(&text) {
                prop_assert_eq!(parse(&show(time).to_string()), Some(time));
            }
        }
    }
}
