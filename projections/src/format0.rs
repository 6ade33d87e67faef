//! What a log of format 0 held in its records: the kept part and the text, one after the other, in one piece.

use scrollback_log::migrate::Parts;
use scrollback_log::{Kind, Schema, codec};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::facts::{
    Body, ChannelCreated, ChannelDeleted, ImportAdvanced, Imported, InvitationIssued, MessageDeleted,
    MessageImported, MessageSent, Name, OriginStarted, UserChanged, UserCreated,
};

/// The parts of a record of format 0; none if it knew no such kind, or the bytes are not of that kind. The kinds are those
/// that there were when format 1 came: this list never grows.
#[must_use]
pub fn split(kind: Kind, schema: Schema, bytes: &[u8]) -> Option<Parts<'_>> {
    match (kind.0, schema.0) {
        (1, 1) => plain::<OriginStarted>(bytes),
        (2, 1) => with_text::<UserCreated, Name<'_>>(bytes),
        (3, 1) => with_text::<UserChanged, Name<'_>>(bytes),
        (4, 1) => with_text::<ChannelCreated, Name<'_>>(bytes),
        (5, 1) => plain::<ChannelDeleted>(bytes),
        (6, 1) => with_text::<MessageSent, Body<'_>>(bytes),
        (7, 1) => with_text::<MessageImported, Imported<'_>>(bytes),
        (8, 1) => plain::<MessageDeleted>(bytes),
        (9, 1) => plain::<InvitationIssued>(bytes),
        (10, 1) => plain::<ImportAdvanced>(bytes),
        _ => None,
    }
}

fn plain<K: DeserializeOwned>(bytes: &[u8]) -> Option<Parts<'_>> {
    let (kept, rest) = kept::<K>(bytes)?;
    rest.is_empty().then_some(Parts { kept, text: None })
}

fn with_text<'a, K: DeserializeOwned, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<Parts<'a>> {
    let (kept, text) = kept::<K>(bytes)?;
    codec::decode::<T>(text).ok()?;
    Some(Parts { kept, text: Some(text) })
}

fn kept<K: DeserializeOwned>(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, length) = codec::decode_prefix::<K>(bytes).ok()?;
    bytes.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Dice, History};

    proptest! {
        #[test]
        fn whatever_was_joined_is_split_again(dice in vec(any::<Dice>(), 0..60)) {
            for (_, record) in History::of_format_0(&dice).records {
                let text = record.text.as_deref();
                let joined = [&record.kept, text.unwrap_or_default()].concat();
                let parts = split(record.kind, record.schema, &joined).unwrap();
                prop_assert_eq!((parts.kept, parts.text), (&record.kept[..], text));
                prop_assert_eq!(split(record.kind, record.schema, &joined[..joined.len() - 1]), None);
            }
        }
    }

    #[test]
    fn an_unknown_kind_is_not_split() {
        assert_eq!(split(Kind(11), Schema(1), b"12345678"), None);
        assert_eq!(split(Kind(1), Schema(2), b"12345678"), None);
    }
}
