//! What must hold of whatever somebody says on an Arvados socket.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "what does not hold is to panic")]

use scrollback_log::{Offset, Timestamp};
use scrollback_projections::Origins;

use super::ask::{self, Ask};
use super::bounds::Bounds;
use super::filters;
use super::subscriptions::Subscriptions;
use crate::streams::frame::{Facets, Happening, Type};

/// More than what is wrong with a message is ever told in, whatever it is.
const ERROR_BYTES_MAX: usize = 512;

/// A message is read or refused in a few words; a subscription wants nothing beyond its bounds, nor what lies before it; and it
/// is taken back by the filters that it was asked for with.
pub fn arvados(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let asked = ask::read(text, true);
    assert!(asked.id.is_none_or(|id| id.to_string().len() <= ERROR_BYTES_MAX * 4));
    let Ok(Ask::Subscribe { filters: json, last_log_id, bookmarks }) = asked.ask else { return };
    let filter = match filters::read(&json, &Origins::default()) {
        Ok(filter) => filter,
        Err(error) => return assert!(error.to_string().len() <= ERROR_BYTES_MAX, "{error}"),
    };
    let bounds = Bounds::of(&filter);
    let (mut subscriptions, after) = (Subscriptions::default(), Offset(last_log_id.unwrap_or(0)));
    if let Err(error) = subscriptions.add(&json, filter, after, bookmarks) {
        return assert!(error.to_string().len() <= ERROR_BYTES_MAX, "{error}");
    }
    let wanted = subscriptions.filters(Offset::BEGINNING).unwrap().expect("there is one");
    for (place, kind) in Type::ALL.into_iter().cycle().take(24).enumerate() {
        let offset = match place % 4 {
            0 => Offset(place as u64),
            1 => Offset(bounds.after.0.saturating_add(place as u64 % 3)),
            2 => Offset(bounds.to.0.saturating_sub(place as u64 % 3)),
            _ => Offset(after.0.saturating_add(place as u64 % 3)),
        };
        let offset = offset.max(Offset::FIRST);
        let at = Timestamp(bounds.since.unwrap_or(Timestamp(5)).0.saturating_add(place as i64 % 3 - 1));
        let facets = Facets {
            kind,
            happening: Happening::ALL[place % Happening::ALL.len()],
            channel: (kind != Type::User).then_some(Offset(3)),
            sender: None,
            at,
            offset,
            recorded_at: at,
            object: Offset(3),
        };
        let within = offset > after
            && offset > bounds.after
            && offset <= bounds.to
            && bounds.since.is_none_or(|since| at >= since);
        assert!(within || !wanted.matches(&facets), "{text}: {facets:?}");
    }
    assert!(subscriptions.remove(&ask::Which::Filters(json.clone())));
    assert!(!subscriptions.remove(&ask::Which::Filters(json)));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let seeds = [
        r#"{"method":"subscribe","filters":[]}"#,
        r#"{"method":"subscribe","filters":[["event_type","in",["create","stdout"]],["object_kind","!=","scrollback#user"]],"last_log_id":7,"id":"x","bookmarks":true}"#,
        r#"{"method":"subscribe","filters":[["object_uuid","not in",["C000000000711","M000000000712","zzzzz-4zz18-000000000000000"]],["object_owner_uuid","=",null]]}"#,
        r#"{"method":"subscribe","filters":[["id",">","5"],["id","<=",9],["uuid","!=","E000000000713"],["created_at",">=","2026-11-29"],["event_at","<","2026-11-29 01:02:03"]],"last_log_id":0}"#,
        r#"{"method":"subscribe","filters":[["id","in",[4,18446744073709551615]],["created_at",">","2026-11-29T01:02:03.5+01:00"]]}"#,
        r#"{"method":"unsubscribe","filters":[["event_type","=","create"]],"id":5}"#,
        r#"{"method":"unsubscribe","subscription":3}"#,
        r#"{"method":"auth","api_token":"v2/zzzzz-gj3su-000000000000000/x"}"#,
        r#"{"method":"subscribe","filters":[["colour","~",{}]],"last_log_id":-1}"#,
    ];
    seeds.map(|seed| seed.as_bytes().to_vec()).into()
}
