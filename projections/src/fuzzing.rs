//! What must hold of any bytes that this crate reads: each function panics when it does not. See `fuzzing` of the log crate.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "what does not hold is to panic")]

#[cfg(test)]
mod tests;

use scrollback_log::{Deletion, Kind, Offset, Record, Schema, Tag, Text, Timestamp, codec};
use serde::{Deserialize, Serialize};

use crate::facts::{self, Body, Fact, FactError, Imported, Name};
use crate::format0;
use crate::testing::History;

/// The newest kind of record.
const KINDS: u8 = 12;
/// The newest that there was in format 0.
const KINDS_OF_FORMAT_0: u8 = 10;
/// A throw that makes many things happen: a multiplier of a linear congruential generator.
const SPREAD: u32 = 1_664_525;

/// A kept part is read exactly when the plain reader finds its fields, and is written as the same bytes. The first byte
/// says of what kind, the second of which schema.
pub fn kept(data: &[u8]) {
    let Some((kind, schema, kept)) = kinded(data) else { return };
    let read = Fact::decode(&record(kind, schema, kept, Text::None));
    match &read {
        Ok(fact) => assert_eq!(fact.encode().unwrap(), kept, "a fact has one spelling"),
        Err(FactError::Unknown { .. }) => assert!(!(1..=KINDS.into()).contains(&kind.0) || schema.0 != 1),
        Err(FactError::Undecodable { .. }) => {}
    }
    let known = (1..=KINDS.into()).contains(&kind.0) && schema.0 == 1;
    assert_eq!(read.is_ok(), known && plain_kept(kind.0, kept) == Some(kept.len()), "{read:?}");
}

/// A text is read exactly when the plain reader finds its strings, and is written as the same bytes; a text that is gone is
/// none, whatever it was. The first byte says of what kind.
pub fn text(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let kind = Kind(u16::from(kind % (KINDS + 2)));
    match kind.0 {
        2..=4 => one_text(kind, bytes, 2, |name: &Name<'_>| vec![name.shown.into(), name.folded.into()]),
        6 => one_text(kind, bytes, 1, |text: &Body<'_>| vec![text.body.into()]),
        7 => one_text(kind, bytes, 2, |text: &Imported<'_>| vec![text.sender_name.into(), text.body.into()]),
        _ => one_text(kind, bytes, 0, |(): &()| Vec::new()),
    }
}

fn one_text<'a, T>(kind: Kind, bytes: &'a [u8], strings: usize, shown: fn(&T) -> Vec<String>)
where
    T: Serialize + Deserialize<'a>,
{
    let read = facts::text::<T>(&record(kind, Schema(1), &[], Text::Present(bytes)));
    assert_eq!(read.as_ref().ok().map(|text| shown(text.as_ref().unwrap())), plain_text(bytes, strings));
    if let Ok(Some(text)) = read {
        assert_eq!(codec::encode(&text).unwrap(), bytes, "a text has one spelling");
    }
    let gone = Text::Gone(Deletion { offset: Offset(2), time: Timestamp(2) });
    assert!(facts::text::<T>(&record(kind, Schema(1), bytes, gone)).unwrap().is_none());
    assert_eq!(facts::text::<T>(&record(kind, Schema(1), bytes, Text::None)).is_ok(), strings == 0);
}

/// A record of format 0 is split where its kept part ends, exactly when both parts can be read, and nowhere else would do.
pub fn format_0(data: &[u8]) {
    let Some((kind, schema, bytes)) = kinded(data) else { return };
    let known = (1..=KINDS_OF_FORMAT_0.into()).contains(&kind.0) && schema.0 == 1;
    let strings = match kind.0 {
        2..=4 | 7 => 2,
        6 => 1,
        _ => 0,
    };
    let end = plain_kept(kind.0, bytes).filter(|_| known);
    let wanted = end.and_then(|end| plain_text(&bytes[end..], strings).map(|_| bytes.split_at(end)));
    let parts = format0::split(kind, schema, bytes);
    let split = parts.as_ref().map(|parts| (parts.kept, parts.text.unwrap_or_default()));
    assert_eq!(split, wanted);
    if let Some(parts) = parts {
        assert_eq!(parts.text.is_some(), strings > 0);
        assert!(Fact::decode(&record(kind, schema, parts.kept, Text::None)).is_ok());
    }
}

/// The kind and schema that the first two bytes say, about as often one that there is as not, and the rest.
fn kinded(data: &[u8]) -> Option<(Kind, Schema, &[u8])> {
    let ([kind, schema], rest) = data.split_first_chunk()?;
    Some((Kind(u16::from(kind % (KINDS + 2))), Schema(u16::from(schema % 3)), rest))
}

fn record<'a>(kind: Kind, schema: Schema, kept: &'a [u8], text: Text<'a>) -> Record<'a> {
    Record { offset: Offset(1), time: Timestamp(1), kind, schema, tag: Tag(0), kept, text }
}

/// How long the kept part is that these bytes begin with, by the table in docs/format.md: `8` and `1` stand for so many
/// bytes, `g` for 16, `b` for a byte that is 0 or 1, `r` for a role, `w` for a reason, `a` for an audited action; behind a `?` there is a byte that says
/// whether the thing is there.
fn plain_kept(kind: u16, bytes: &[u8]) -> Option<usize> {
    let fields = match kind {
        1 => "8",
        2 => "rg?8",
        3 => "8rb?8",
        4 => "?8b?g",
        5 => "8?8w",
        6 => "88?g",
        7 => "88",
        8 => "88?8?8?8w",
        9 => "88g",
        10 => "88g8",
        11 => "?8a?8",
        12 => "88b?8",
        _ => return None,
    };
    let mut at = 0;
    let mut skipped = false;
    for field in fields.chars() {
        let byte = || bytes.get(at).copied();
        match field {
            '?' => {
                skipped = byte()? == 0;
                if byte()? > 1 {
                    return None;
                }
                at += 1;
                continue;
            }
            '8' if !skipped => at += 8,
            'g' if !skipped => at += 16,
            'a' if byte()? > 3 => return None,
            'r' if byte()? > 2 => return None,
            'b' | 'w' if byte()? > 1 => return None,
            'a' | 'r' | 'b' | 'w' => at += 1,
            _ => {}
        }
        skipped = false;
    }
    (at <= bytes.len()).then_some(at)
}

/// So many strings, each behind its length, and nothing else.
fn plain_text(mut bytes: &[u8], strings: usize) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    for _ in 0..strings {
        let (length, rest) = bytes.split_first_chunk()?;
        let (text, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        texts.push(String::from_utf8(text.to_vec()).ok()?);
        bytes = rest;
    }
    bytes.is_empty().then_some(texts)
}

/// The inputs that fuzzing begins with: the records of a small history.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let mut state = 1_u32;
    let mut throw = || {
        state = state.wrapping_mul(SPREAD).wrapping_add(1_013_904_223);
        state >> 8
    };
    let dice: Vec<_> = (0..120).map(|_| [throw(), throw(), throw(), throw() % 1000]).collect();
    let (mut kept, mut texts, mut joined) = (Vec::new(), Vec::new(), Vec::new());
    for (_, record) in History::new(&dice).records {
        let kind = u8::try_from(record.kind.0).expect("kinds are few");
        let text = record.text.unwrap_or_default();
        kept.push([&[kind, 1][..], &record.kept].concat());
        texts.push([&[kind][..], &text].concat());
        joined.push([&[kind, 1][..], &record.kept, &text].concat());
    }
    vec![("kept", kept), ("text", texts), ("format_0", joined)]
}
