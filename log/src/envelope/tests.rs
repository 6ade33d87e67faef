use proptest::prelude::*;

use super::*;

/// A message as it would be written, and what [`golden`] says of it.
fn message() -> Envelope<'static> {
    Envelope {
        offset: Offset(0x0102_0304),
        time: Timestamp(1_700_000_000_000_000),
        kind: Kind(5),
        schema: Schema(1),
        tag: Tag(0xdead_beef),
        kept: b"kept",
        text: StoredText::Present { salt: [0xa5; SALT_BYTES], text: b"hello" },
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encoded(envelope: &Envelope<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    envelope.encode(&mut bytes);
    assert_eq!(bytes.len(), envelope.encoded_len());
    bytes
}

#[test]
fn the_bytes_of_a_record_with_text_are_these() {
    let expected = concat!(
        "37000000",
        "3afb00be",
        "01",
        "01",
        "0500",
        "0100",
        "0403020100000000",
        "00401e18240a0600",
        "efbeadde",
        "04000000",
        "6b657074",
        "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5",
        "68656c6c6f"
    );
    assert_eq!(hex(&encoded(&message())), expected);
}

#[test]
fn the_bytes_of_a_record_without_text_are_these() {
    let expected = concat!(
        "22000000",
        "74dffce2",
        "01",
        "00",
        "0500",
        "0100",
        "0403020100000000",
        "00401e18240a0600",
        "efbeadde",
        "04000000",
        "6b657074"
    );
    let record = Envelope { text: StoredText::None, ..message() };
    assert_eq!(hex(&encoded(&record)), expected);
}

#[test]
fn the_bytes_of_a_tombstone_are_these() {
    let expected = concat!(
        "52000000",
        "7c8acf4a",
        "01",
        "02",
        "0500",
        "0100",
        "0403020100000000",
        "00401e18240a0600",
        "efbeadde",
        "04000000",
        "6b657074",
        "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc",
        "0900000000000000",
        "ffffffffffffffff"
    );
    let deletion = Deletion { offset: Offset(9), time: Timestamp(-1) };
    let text = StoredText::Erased { commitment: Commitment([0xcc; 32]), deletion };
    assert_eq!(hex(&encoded(&Envelope { text, ..message() })), expected);
}

#[test]
fn a_record_has_at_most_two_parts_of_the_greatest_length() {
    let part = vec![b'x'; PART_MAX];
    let text = StoredText::Present { salt: [1; SALT_BYTES], text: &part };
    let mut bytes = encoded(&Envelope { kept: &part, text, ..message() });
    assert_eq!(Envelope::decode(&bytes).unwrap().0.kept.len(), PART_MAX);
    // A length that says one byte more is not believed, whether that byte is there or not.
    bytes.push(0);
    let more = u32::try_from(bytes.len() - PREFIX_BYTES).unwrap();
    bytes[..4].copy_from_slice(&more.to_le_bytes());
    assert_eq!(Envelope::decode(&bytes), Err(EnvelopeError::Length(more)));
    let least = u32::try_from(HEADER_BYTES - PREFIX_BYTES).unwrap() - 1;
    bytes[..4].copy_from_slice(&least.to_le_bytes());
    assert_eq!(Envelope::decode(&bytes), Err(EnvelopeError::Length(least)));
}

#[test]
fn a_later_envelope_version_is_named_and_not_read() {
    let mut bytes = encoded(&message());
    bytes[8] = 2;
    let crc = crc32fast::hash(&bytes[PREFIX_BYTES..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(Envelope::decode(&bytes), Err(EnvelopeError::Version(2)));
}

#[test]
fn impossible_flags_and_parts_are_refused_even_with_a_good_checksum() {
    let cases: [(usize, u8, EnvelopeError); 4] = [
        (9, 3, EnvelopeError::Flags(3)),
        (9, 0x80, EnvelopeError::Flags(0x80)),
        (9, 0, EnvelopeError::Parts),
        (34, 200, EnvelopeError::Parts),
    ];
    for (at, value, expected) in cases {
        let mut bytes = encoded(&message());
        bytes[at] = value;
        let crc = crc32fast::hash(&bytes[PREFIX_BYTES..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Envelope::decode(&bytes), Err(expected), "byte {at} = {value}");
    }
}

#[test]
fn what_is_left_of_an_erased_text_has_one_length() {
    let deletion = Deletion { offset: Offset(9), time: Timestamp(9) };
    let bytes = encoded(&message().erased_by(deletion));
    for more in [-1_i64, 1] {
        let mut bytes = bytes.clone();
        bytes.resize((bytes.len() as i64 + more) as usize, 0);
        let len = u32::try_from(bytes.len() - PREFIX_BYTES).unwrap();
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        let crc = crc32fast::hash(&bytes[PREFIX_BYTES..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Envelope::decode(&bytes), Err(EnvelopeError::Parts), "{more} bytes");
    }
}

type Parts = (Vec<u8>, Option<Vec<u8>>, bool);
type Fixed = (u64, i64, u16, u16, u32);

fn parts() -> impl Strategy<Value = Parts> {
    let part = || prop::collection::vec(any::<u8>(), 0..300);
    (part(), prop::option::of(part()), any::<bool>())
}

proptest! {
    #[test]
    fn a_record_reads_back_as_it_was_written(
        (kept, text, erased) in parts(),
        (offset, time, kind, schema, tag) in any::<Fixed>(),
        behind in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let text = match &text {
            None => StoredText::None,
            Some(text) if erased => StoredText::Erased {
                commitment: chain::commitment(&[7; 16], text),
                deletion: Deletion { offset: Offset(offset ^ 1), time: Timestamp(time) },
            },
            Some(text) => StoredText::Present { salt: [9; 16], text },
        };
        let record = Envelope {
            offset: Offset(offset), time: Timestamp(time), kind: Kind(kind), schema: Schema(schema), tag: Tag(tag),
            kept: &kept, text,
        };
        let mut bytes = encoded(&record);
        bytes.extend_from_slice(&behind);
        prop_assert_eq!(Envelope::decode(&bytes), Ok((record, behind.as_slice())));
        prop_assert_eq!(Envelope::skip(&bytes), Ok(behind.as_slice()));
    }

    #[test]
    fn a_changed_record_is_refused((kept, text, _) in parts(), at: prop::sample::Index, by in 1_u8..) {
        let text = text.as_deref().map_or(StoredText::None, |text| StoredText::Present { salt: [9; 16], text });
        let mut bytes = encoded(&Envelope { kept: &kept, text, ..message() });
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        prop_assert!(Envelope::decode(&bytes).is_err());
    }

    #[test]
    fn a_record_cut_short_is_refused(cut: prop::sample::Index) {
        let bytes = encoded(&message());
        prop_assert!(Envelope::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok((record, rest)) = Envelope::decode(&bytes) {
            prop_assert_eq!(&encoded(&record), &bytes[..bytes.len() - rest.len()]);
        }
    }
}
