//! What must hold of filters that anybody sends.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "what does not hold is to panic")]

use scrollback_log::{Offset, Timestamp};
use scrollback_projections::Origins;
use serde_json::Value;

use super::{Filters, show};
use crate::streams::frame::{Facets, Happening, Type};

/// More than what is wrong with filters is ever told in, whatever they are.
const ERROR_BYTES_MAX: usize = 512;

/// Filters are read or refused in a few words, and what was read and is shown again means the same.
pub fn filters(data: &[u8]) {
    let Ok(json) = serde_json::from_slice::<Value>(data) else { return };
    let origins = Origins::default();
    let filters = match Filters::from_json(&json, &origins) {
        Ok(filters) => filters,
        Err(error) => return assert!(error.to_string().len() <= ERROR_BYTES_MAX, "{error}"),
    };
    let shown = show::json(&filters, &origins);
    let again = Filters::from_json(&shown, &origins).expect("what was read is read again");
    assert_eq!(again, filters, "{shown}");
    for kind in Type::ALL {
        for (happening, at) in
            Happening::ALL.into_iter().zip([0, 1_100_480_400_000_000, i64::MAX].into_iter().cycle())
        {
            let (at, offset) = (Timestamp(at), Offset(at.unsigned_abs()));
            let facets = Facets {
                kind,
                happening,
                channel: Some(Offset(3)),
                sender: None,
                at,
                offset,
                recorded_at: at,
                object: offset,
            };
            assert!(!filters.is_everything() || filters.matches(&facets));
            assert_eq!(again.matches(&facets), filters.matches(&facets));
        }
    }
}

pub(crate) fn filters_seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "[[]]",
        r#"[[["type","=","message"],["channel","in",["C000000000711","C0000000007Z",null]]],[["event","!=","deleted"]]]"#,
        r#"[[["at",">=","2004-11-15T01:00:00Z"],["at","<","2004-11-15T02:00:00.5+05:30"],["offset","not in",[0,1,18446744073709551615]]]]"#,
        r#"[[["sender","not in",["U000000000711"]],["sender","!=",null]],[["offset","<=",5],["offset",">",2]]]"#,
        r#"[[["type","in",[]]],[["event","not in",["sent","created","changed"]]]]"#,
        r#"[[["type","like","message"]]]"#,
        r#"[[["kind","=","message"]]]"#,
        r#"[[["channel","<","C000000000711"]],["type","=","message"]]"#,
        r#"[[["at","=",1.5e300],["offset","=",-1]]]"#,
        r#"{"filters":[]}"#,
    ];
    let long = format!(r#"[[["type","=","{}"]]]"#, "\\u0001".repeat(160));
    seeds.into_iter().chain([&*long]).map(|seed| seed.as_bytes().to_vec()).collect()
}
