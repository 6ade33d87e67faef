//! What is sent over WebSocket fits the schema that is published of it.

use bytes::Buf;
use jsonschema::Validator;
use proptest::prelude::*;
use scrollback_log::{Offset, Tag};
use scrollback_projections::testing::{Dice, History};
use serde_json::{Value, json};

use super::World;
use super::ring::{events, happened};
use crate::streams::ws::testing::{Said, every_frame};
use crate::streams::{Chunk, Position};

const SCHEMA: &str = include_str!("../../../../docs/websocket.schema.json");

/// The part of the schema with this name.
fn schema_of(part: &str) -> Validator {
    let mut schema: Value = serde_json::from_str(SCHEMA).unwrap();
    schema["$ref"] = json!(format!("#/$defs/{part}"));
    jsonschema::validator_for(&schema).unwrap()
}

/// What a text frame of the server's holds.
fn payload(mut frame: impl Buf) -> Value {
    let bytes = frame.copy_to_bytes(frame.remaining());
    assert_eq!(bytes[0], 0x81, "one whole text message");
    let start = match bytes[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let length = match start {
        4 => usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
        10 => u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize,
        _ => usize::from(bytes[1]),
    };
    assert_eq!(bytes.len() - start, length);
    serde_json::from_slice(&bytes[start..]).unwrap()
}

proptest! {
    #[test]
    fn every_event_of_every_history_fits_the_schema(dice in proptest::collection::vec(any::<Dice>(), 0..150)) {
        let world = happened(&History::new(&dice), 1 << 20, 5);
        let schema = schema_of("event");
        for event in events(&world) {
            let errors: Vec<String> = schema.iter_errors(&event).map(|error| error.to_string()).collect();
            prop_assert!(errors.is_empty(), "{event}: {errors:?}");
        }
    }
}

#[test]
fn every_frame_that_the_server_sends_fits_the_schema_and_nothing_like_it_does() {
    let schema = schema_of("from_server");
    let at = Position { offset: Offset(7), tag: Tag(0xbeef) };
    let chunk = Chunk::of(|out| {
        out.extend_from_slice(
            br#"{"offset":7,"at":"2026-11-22T02:43:45.231517Z","type":"channel","event":"deleted","id":"C0","by":null,"reason":"expired"}"#,
        );
    });
    let mut kinds = Vec::new();
    let origins = World::new(1 << 20).views.read().unwrap().origins().clone();
    for Said { what, frame } in every_frame(at, chunk, &origins) {
        let frame = payload(frame);
        let errors: Vec<String> = schema.iter_errors(&frame).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{what}: {frame}: {errors:?}");
        let mut more = frame.clone();
        more["surplus"] = json!(1);
        assert!(!schema.is_valid(&more), "{more}");
        for field in frame.as_object().unwrap().keys() {
            let mut less = frame.clone();
            less.as_object_mut().unwrap().remove(field);
            let may_lack = ["id", "code", "retry"].contains(&&**field)
                || (frame["type"] == "answer" && ["session", "watch"].contains(&&**field))
                || (frame["type"] == "changed" && field == "resume_point");
            assert!(!schema.is_valid(&less) || may_lack, "{less}");
        }
        let (session, watch) = (frame.get("session"), frame.get("watch"));
        assert!(session.is_none() || watch.is_none(), "whom it is about is told by one field: {frame}");
        kinds.push(frame["type"].as_str().unwrap().to_owned());
    }
    kinds.dedup();
    let said =
        ["hello", "events", "caught_up", "checkpoint", "heartbeat", "answer", "closed", "bye", "changed"];
    assert_eq!(kinds, said, "all that docs/api.md names");
}

#[test]
fn what_a_client_may_say_fits_the_schema() {
    let schema = schema_of("from_client");
    for good in [
        json!({"type": "open"}),
        json!({"type": "open", "id": "1", "filters": [[["type", "=", "message"]]], "resume_point": 7, "window": 5}),
        json!({"type": "open", "session": "S0", "resume_point": "7-0000beef"}),
        json!({"type": "ack", "session": "S0", "offset": 3}),
        json!({"type": "close", "session": "S0"}),
        json!({"type": "send", "id": "2", "channel": "C0", "body": "hello", "idempotency_key": "k"}),
        json!({"type": "watch", "watch": "w", "resume_point": "98413367520012.7-0000beef"}),
        json!({"type": "watch", "id": "3", "watch": "w", "set": {"watch": [{"id": "C0", "since": 7}], "max_delay_ms": 0, "lease_s": 60}}),
        json!({"type": "unwatch", "watch": "w"}),
    ] {
        assert!(schema.is_valid(&good), "{good}");
    }
    for bad in [
        json!({}),
        json!({"type": "open", "windwo": 1}),
        json!({"type": "send", "channel": "C0", "body": ""}),
        json!({"type": "watch", "watch": "w w"}),
        json!({"type": "watch", "watch": "w", "set": {}}),
        json!({"type": "watch", "watch": "w", "set": {"watch": [], "mode": "events"}}),
        json!({"type": "unwatch", "session": "S0"}),
    ] {
        assert!(!schema.is_valid(&bad), "{bad}");
    }
}
