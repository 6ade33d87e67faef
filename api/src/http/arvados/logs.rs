//! `GET /arvados/v1/logs`: the events by pages.

use std::sync::Arc;

use serde_json::Value;
use warp::reply::Response;

use super::super::call::Call;
use super::super::problem::{Code, Problem};
use super::super::query::Query;
use super::super::streams::Opener;
use crate::streams::arvados::list::{self, LIMIT_DEFAULT, LIMIT_MAX, ListError, Listed, Wanted};
use crate::streams::http::refuse_at_any_end;

/// The most rows that are left out before a page: whoever wants to go further goes on from an id.
pub(super) const SKIP_MAX: u64 = 10_000;
/// The most bytes of filters: those that are taken have less, and what JSON takes in memory is many times its text.
const FILTERS_BYTES_MAX: usize = 64 << 10;
/// What rows can be ordered by: the log has one order, and all of these are it.
const KEYS: [&str; 4] = ["id", "created_at", "modified_at", "uuid"];

/// `GET /arvados/v1/logs`.
pub(in super::super) async fn list(mut call: Call) -> Result<Response, Problem> {
    let query = std::mem::take(&mut call.query);
    answer(call, query).await
}

/// `POST /arvados/v1/logs` with a form: a list whose query is too long for the client's taste.
pub(in super::super) async fn list_by_post(call: Call) -> Result<Response, Problem> {
    let form =
        std::str::from_utf8(&call.body).map_err(|_| Problem::new(Code::BadQuery, "the form is not UTF-8"))?;
    let query = Query::parse(form)?;
    answer(call, query).await
}

async fn answer(call: Call, query: Query) -> Result<Response, Problem> {
    let wanted = wanted(query)?;
    let streams = Arc::clone(&call.server.streams);
    refuse_at_any_end(&streams)?;
    let reader = Arc::new(Opener::of(&call)?);
    match list::list(&streams, reader, &wanted).await {
        Ok(Listed::Page(json)) => call.server.large_answer(call.holder(), json),
        Ok(Listed::Revoked) => Err(Problem::plain(Code::Unauthenticated)),
        Err(error) => Err(error.into()),
    }
}

/// What the parameters ask for.
fn wanted(mut query: Query) -> Result<Wanted, Problem> {
    let bad = |detail: &'static str| Problem::new(Code::BadQuery, detail);
    let json = |text: String, detail: &'static str| {
        serde_json::from_str::<Value>(&text).map_err(|_| Problem::new(Code::BadQuery, detail))
    };
    // What the client library adds to every call.
    if query.take("alt")?.is_some_and(|alt| alt != "json") {
        return Err(bad("`alt` can only be json"));
    }
    let filters = query.take("filters")?;
    if filters.as_ref().is_some_and(|text| text.len() > FILTERS_BYTES_MAX) {
        return Err(bad("`filters` are too long"));
    }
    let filters = filters.map(|text| json(text, "`filters` must be JSON"));
    let newest_first = query.take("order")?.map_or(Ok(true), |order| newest_first(&order))?;
    let limit = query.take_number("limit", 1, LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT);
    let skip = query.take_number("offset", 0, SKIP_MAX)?.unwrap_or(0);
    let count = match query.take("count")?.as_deref() {
        None | Some("exact") => true,
        Some("none") => false,
        Some(_) => return Err(bad("`count` is exact or none")),
    };
    query.finish()?;
    let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Ok(Wanted {
        filters: filters.transpose()?.unwrap_or_default(),
        newest_first,
        skip: whole(skip),
        limit: whole(limit),
        count,
    })
}

/// `id asc`, `created_at`, `["id desc", "uuid desc"]`: as long as it is the one order that the log has, or its reverse.
fn newest_first(order: &str) -> Result<bool, Problem> {
    let bad =
        || Problem::new(Code::BadQuery, "`order` is by id or created_at, asc or desc, and nothing else");
    let list = match serde_json::from_str::<Vec<String>>(order) {
        Ok(list) => list,
        Err(_) => order.split(',').map(str::to_owned).collect(),
    };
    let mut directions = list.iter().map(|key| {
        let mut words = key.split_ascii_whitespace();
        let known = words.next().is_some_and(|name| KEYS.contains(&name.trim_start_matches("logs.")));
        match (known, words.next().map(str::to_ascii_lowercase).as_deref(), words.next()) {
            (true, None | Some("asc"), None) => Ok(false),
            (true, Some("desc"), None) => Ok(true),
            _ => Err(bad()),
        }
    });
    let first = directions.next().ok_or_else(bad)??;
    directions.try_fold(first, |first, next| if next? == first { Ok(first) } else { Err(bad()) })
}

impl From<ListError> for Problem {
    fn from(error: ListError) -> Problem {
        match error {
            ListError::Filters(_) => Problem::new(Code::BadFilters, error.to_string()),
            ListError::Stream(error) => error.into(),
            ListError::Event(error) => {
                tracing::error!(%error, "an event is not what it should be");
                Problem::plain(Code::Internal)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Wanted, Code> {
        wanted(Query::parse(text).unwrap()).map_err(|problem| problem.code())
    }

    #[test]
    fn what_the_poll_fall_back_asks_is_understood() {
        let first = read("order=id+desc&limit=1&filters=%5B%5B%22created_at%22%2C%22%3E%3D%22%2C%222026-01-01T00:00:00Z%22%5D%5D&alt=json").unwrap();
        assert!(first.newest_first && first.limit == 1 && first.count);
        assert_eq!(first.filters, serde_json::json!([["created_at", ">=", "2026-01-01T00:00:00Z"]]));
        let next = read("order=id+asc&filters=%5B%5B%22id%22%2C%22%3E%22%2C%225%22%5D%5D&alt=json").unwrap();
        assert!(!next.newest_first && next.limit == 100);
        assert!(read("").unwrap().newest_first, "the newest come first, as with Arvados");
    }

    #[test]
    fn every_way_to_name_the_one_order_is_understood_and_no_other() {
        for (order, newest) in [
            ("id", false),
            ("id asc", false),
            ("id DESC", true),
            ("logs.id desc", true),
            ("created_at desc, uuid desc", true),
            ("[\"created_at asc\",\"uuid asc\"]", false),
            ("[\"modified_at desc\"]", true),
        ] {
            assert_eq!(newest_first(order).ok(), Some(newest), "{order}");
        }
        for order in
            ["", "[]", "event_at", "id up", "id asc,uuid desc", "id asc asc", "[\"id\",5]", "id;drop"]
        {
            assert!(newest_first(order).is_err(), "{order}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_and_not_ignored() {
        for query in
            ["alt=xml", "filters=%5B", "limit=0", "limit=1001", "offset=10001", "count=some", "select=%5B%5D"]
        {
            assert_eq!(read(query).unwrap_err(), Code::BadQuery, "{query}");
        }
    }
}
