use proptest::prelude::*;
use roaring::RoaringTreemap;
use scrollback_log::{Deletion, Offset, Record, Text, Timestamp};
use scrollback_projections::facts::{self, Body, Imported, MessageImported, MessageSent};
use scrollback_projections::testing::{Dice, History, SETTINGS};
use scrollback_projections::{Origins, Views};
use serde_json::Value;

use super::naive;
use crate::streams::frame;

const DELETION: Deletion = Deletion { offset: Offset(900), time: Timestamp(1_700_000_000_000_001) };

fn history_and_origins(dice: &[Dice]) -> (History, Origins) {
    let history = History::new(dice);
    let mut views = Views::new(SETTINGS);
    for sealed in history.sealed() {
        views.apply(&sealed.as_record()).unwrap();
    }
    (history, views.origins().clone())
}

const DELETED_AT: &str = r#","deleted_at":"2023-11-14T22:13:20.000001Z"}"#;

/// The frame of a record, and its JSON.
fn encoded(record: &Record<'_>, origins: &Origins) -> Option<(frame::Frame, Vec<u8>, Vec<u8>)> {
    let mut bytes = b"what is there already".to_vec();
    let start = bytes.len();
    let frame = frame::Encoder::new(origins, &RoaringTreemap::new()).encode(record, &mut bytes).unwrap();
    let bytes = bytes.split_off(start);
    if frame.is_none() {
        assert!(bytes.is_empty(), "an internal record leaves nothing");
    }
    frame.map(|frame| (frame, bytes[frame.json(bytes.len())].to_vec(), bytes))
}

/// Checks the Server-Sent-Events form and gives the JSON in its data line.
fn data<'a>(record: &Record<'_>, bytes: &'a [u8]) -> &'a str {
    let text = std::str::from_utf8(bytes).unwrap();
    let lines: Vec<_> = text.strip_suffix("\n\n").unwrap().split('\n').collect();
    let [id, kind, data] = lines[..] else { panic!("not three lines: {text:?}") };
    assert_eq!(id, format!("id: {}-{}", record.offset, record.tag));
    let data = data.strip_prefix("data: ").unwrap();
    let value: Value = serde_json::from_str(data).unwrap();
    assert_eq!(kind, format!("event: {}", value["type"].as_str().unwrap()));
    data
}

proptest! {
    #[test]
    fn a_record_becomes_the_event_that_the_contract_says(dice: Vec<Dice>) {
        let (history, origins) = history_and_origins(&dice);
        for sealed in history.sealed() {
            for record in [sealed.as_record(), history.seen(&sealed, history.head())] {
                let event = encoded(&record, &origins).map(|(_, json, bytes)| {
                    assert_eq!(data(&record, &bytes).as_bytes(), json);
                    serde_json::from_slice::<Value>(&json).unwrap()
                });
                prop_assert_eq!(event, naive::event(&record, &origins));
            }
        }
    }

    #[test]
    fn a_frame_whose_texts_go_is_the_frame_of_the_record_without_them(
        dice: Vec<Dice>,
        said in "(\\PC|[\\x00-\\x22\\\\]){0,40}",
        name in "\\PC{0,10}",
    ) {
        let (history, origins) = history_and_origins(&dice);
        let mut sealed = history.sealed();
        let (channel, sender) = (Offset(3), Offset(2));
        let texts = [
            facts::record_with(&MessageSent { channel, sender, key: None }, &Body { body: &said }).unwrap(),
            facts::record_with(
                &MessageImported { channel, at: Timestamp(5) },
                &Imported { sender_name: &name, body: &said },
            ).unwrap(),
        ];
        for record in texts {
            let offset = sealed.last().unwrap().offset.next();
            sealed.push(scrollback_log::Sealed { offset, record, ..sealed[0].clone() });
        }
        for sealed in &sealed {
            let present = sealed.as_record();
            let Some((frame, json, bytes)) = encoded(&present, &origins) else { continue };
            let mut out = b"before".to_vec();
            match frame.push_gone(&bytes, DELETION, &mut out) {
                Some(gone_frame) => {
                    let gone = Record { text: Text::Gone(DELETION), ..present };
                    let (wanted_frame, wanted_json, wanted) = encoded(&gone, &origins).unwrap();
                    prop_assert_eq!(&out[6..], &wanted[..]);
                    prop_assert_eq!(gone_frame, wanted_frame);
                    prop_assert_eq!(gone_frame.json(wanted.len()), wanted_frame.json(wanted.len()));
                    prop_assert!(wanted_json.ends_with(DELETED_AT.as_bytes()));
                    prop_assert!(gone_frame.push_gone(&wanted, DELETION, &mut out).is_none(), "once is enough");
                }
                None => {
                    prop_assert_eq!(present.text, Text::None);
                    prop_assert_eq!(&out[..], b"before");
                    prop_assert!(serde_json::from_slice::<Value>(&json).unwrap()["deleted_at"].is_null());
                }
            }
        }
    }
}

#[test]
fn an_event_is_written_as_the_contract_shows_it() {
    let (_, origins) = history_and_origins(&[]);
    let record = facts::record_with(
        &MessageSent { channel: Offset(3), sender: Offset(2), key: None },
        &Body { body: "\"hi\"\n\tüñ \u{1}\\ \u{2028}" },
    );
    let sealed = scrollback_log::Sealed {
        offset: Offset(1312),
        time: Timestamp(1_700_000_000_123_456),
        record: record.unwrap(),
        salt: [0; 16],
        chain: scrollback_log::ChainValue([0xab; 32]),
    };
    let (_, json, bytes) = encoded(&sealed.as_record(), &origins).unwrap();
    let wanted = concat!(
        r#"{"offset":1312,"at":"2023-11-14T22:13:20.123456Z","type":"message","event":"sent","#,
        r#""id":"M0000000000190","channel":"C00000000003","sender":"U00000000002","#,
        "\"body\":\"\\\"hi\\\"\\n\\tüñ \\u0001\\\\ \u{2028}\"}",
    );
    assert_eq!(String::from_utf8(json).unwrap(), wanted);
    assert_eq!(String::from_utf8(bytes).unwrap().lines().next(), Some("id: 1312-abababab"));
}
