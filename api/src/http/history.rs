//! A channel's history, page by page, in the order of time, then offset.
//!
//! A channel's messages are two ordered sets (see [`ChannelMessages`]): the posted ones, whose times only the log knows but
//! whose order is that of their offsets, and the dated ones, which an index orders. A page is merged from both; the times
//! of posted ones are read only where both could lie on the same page. Pages ask nothing of each other: a cursor is a
//! place in the order, and what is deleted or added between two pages moves nothing else.

use std::ops::{Bound, ControlFlow};

use scrollback_log::{Offset, Timestamp};
use scrollback_projections::{ChannelMessages, Origins, Views};
use warp::reply::Response;

use super::call::{Call, Server};
use super::cursor::Cursor;
use super::messages::write_json;
use super::past::State;
use super::problem::{Code, Problem};
use super::query::Query;
use super::texts::read_each;
use crate::ids::{self, IdKind};
use crate::rights::may_see;

/// How many messages a page has when nothing is asked for.
const LIMIT: usize = 50;
/// The most messages of a page.
pub(super) const LIMIT_MAX: usize = 500;
/// A page ends before it would have more bytes of messages than this; it has one message at least.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// The messages, the page, and what a message was read from.
const READ_BYTES_MAX: usize = 3 * PAGE_BYTES_MAX;
/// How many messages are read before it is looked whether the page is full.
const READ_AT_ONCE: usize = 32;
/// The place before the oldest message, as a client names it.
const OLDEST: &str = "oldest";

/// Which page is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// The oldest messages after this place.
    After(Cursor),
    /// The newest messages before this place.
    Before(Cursor),
}

/// `GET /api/channels/ID/messages`.
pub(super) async fn page(mut call: Call) -> Result<Response, Problem> {
    let (wanted, limit) = read_query(&mut call.query)?;
    let at = State::take(&mut call.query)?;
    std::mem::take(&mut call.query).finish()?;
    let unknown = || Problem::new(Code::NotFound, "there is no such channel");
    let channel =
        ids::parse(IdKind::Channel, call.variable(), call.server.views().origins()).ok_or_else(unknown)?;
    let reader = call.caller()?.user;
    let shelf = Shelf { state: State::asked(&call.server, at).await?, channel, reader };
    let read = move |server: &Server| read_page(server, &shelf, wanted, limit)?.ok_or_else(unknown);
    call.server.large_read(call.holder(), READ_BYTES_MAX, read).await
}

fn read_query(query: &mut Query) -> Result<(Wanted, usize), Problem> {
    let limit = query.take_number("limit", 1, LIMIT_MAX as u64)?.map_or(LIMIT, |limit| limit as usize);
    let cursor = |text: &str| {
        Cursor::parse(text).ok_or_else(|| {
            Problem::new(Code::BadCursor, "a cursor comes from `next` or `prev` of another page, unchanged")
        })
    };
    let wanted = match (query.take("before")?, query.take("after")?) {
        (Some(_), Some(_)) => return Err(Problem::new(Code::BadQuery, "give `before` or `after`, not both")),
        (Some(before), None) => Wanted::Before(cursor(&before)?),
        (None, Some(after)) if after == OLDEST => Wanted::After(Cursor::OLDEST),
        (None, Some(after)) => Wanted::After(cursor(&after)?),
        (None, None) => Wanted::Before(Cursor::NEWEST),
    };
    Ok((wanted, limit))
}

/// One message that may be on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    offset: Offset,
    /// Its time; none for a posted one whose record has not been read.
    at: Option<Timestamp>,
}

/// What the sets say of a page.
struct Selection {
    /// Posted ones in page order: one more than the page can have, if there are as many.
    posted: Vec<Candidate>,
    /// Dated ones likewise.
    dated: Vec<Candidate>,
    /// Whether there are messages on the other side of the wanted place.
    behind: bool,
    /// The newest record that the sets stand at.
    at: Offset,
    origins: Origins,
}

/// Where a page is taken from.
struct Shelf {
    state: State,
    channel: Offset,
    reader: Offset,
}

impl Shelf {
    /// Shows the channel's messages to `look`, and the views that they are of; none when the channel is not there, or not
    /// for this reader. The two must not differ in what is done, so nothing else decides it.
    fn look<T>(&self, server: &Server, look: impl FnOnce(&Views, &ChannelMessages) -> T) -> Option<T> {
        self.state.look(server, |views, now| {
            let is_seen = may_see(now, self.reader, self.channel);
            let messages = views.messages().of(self.channel)?;
            is_seen.then(|| look(views, messages))
        })
    }
}

/// The page's JSON; none when the channel is not there for the reader.
fn read_page(
    server: &Server,
    shelf: &Shelf,
    wanted: Wanted,
    limit: usize,
) -> Result<Option<Vec<u8>>, Problem> {
    let posted_from = match wanted {
        Wanted::After(cursor) | Wanted::Before(cursor) => posted_place(server, shelf, cursor)?,
    };
    let select = |views: &Views, messages: &_| select_from(views, messages, wanted, posted_from, limit);
    let Some(selection) = shelf.look(server, select) else { return Ok(None) };
    server.settle(selection.at)?;
    let (page, more) = merge(server, &selection, wanted, limit)?;
    write_page(server, &selection, wanted, page, more).map(Some)
}

/// Where a place lies among the posted messages: those before the first offset lie before it, those from the second on
/// lie after it. The two differ when the place is that of a posted message.
fn posted_place(server: &Server, shelf: &Shelf, cursor: Cursor) -> Result<(Offset, Offset), Problem> {
    let log = &server.node.log;
    if cursor == Cursor::OLDEST {
        return Ok((Offset(0), Offset(0)));
    }
    let end = (Offset(u64::MAX), Offset(u64::MAX));
    if cursor == Cursor::NEWEST {
        return Ok(end);
    }
    if shelf.look(server, |_, messages| messages.posted().is_empty()).unwrap_or(true) {
        return Ok(end);
    }
    // Times never go back in the log. So if the record at the cursor's offset bears the cursor's time, all before it are no
    // later and all after it no earlier: the place is right there.
    let recorded = log.read(cursor.offset, |record| record.time)?;
    if recorded == Some(cursor.at) {
        return Ok((cursor.offset, cursor.offset.next()));
    }
    // Else the cursor is of a dated message. Where its time is another than that of the record at its offset, no posted
    // message can be as late as it with the offset deciding, so the time alone says the place.
    let later = recorded.is_none_or(|recorded| recorded > cursor.at);
    let time = if later { Timestamp(cursor.at.0.saturating_add(1)) } else { cursor.at };
    // Of the present, whatever state is asked for: times do not change, and the index of a past one ends where it does.
    let (from, head) = (server.views().times().floor(time), log.head().offset);
    let mut place = head.next();
    log.scan(from, head, &mut |record| {
        if record.time < time {
            return ControlFlow::Continue(());
        }
        place = record.offset;
        ControlFlow::Break(())
    })?;
    Ok((place, place))
}

fn select_from(
    views: &Views,
    messages: &ChannelMessages,
    wanted: Wanted,
    (posted_before, posted_from): (Offset, Offset),
    limit: usize,
) -> Selection {
    let posted = |offset| Candidate { offset, at: None };
    let dated = |(at, offset)| Candidate { offset, at: Some(at) };
    let (posted, dated, behind): (Vec<_>, Vec<_>, bool) = match wanted {
        Wanted::After(Cursor { at, offset }) => (
            posted_from_on(messages, posted_from).map(posted).take(limit + 1).collect(),
            messages.dated_after((at, offset)).map(dated).take(limit + 1).collect(),
            messages.posted_before(posted_from).next().is_some()
                || messages.by_time().range(..=(at, offset)).next().is_some(),
        ),
        Wanted::Before(Cursor { at, offset }) => (
            messages.posted_before(posted_before).map(posted).take(limit + 1).collect(),
            messages.dated_before((at, offset)).map(dated).take(limit + 1).collect(),
            posted_from_on(messages, posted_before).next().is_some()
                || messages
                    .by_time()
                    .range((Bound::Included((at, offset)), Bound::Unbounded))
                    .next()
                    .is_some(),
        ),
    };
    Selection { posted, dated, behind, at: views.at(), origins: views.origins().clone() }
}

/// The posted messages from `first` on.
fn posted_from_on(messages: &ChannelMessages, first: Offset) -> impl Iterator<Item = Offset> {
    messages.posted_after(Offset(first.0.saturating_sub(1)))
}

/// The page's messages in page order (ascending after a place, descending before one), and whether there are more.
fn merge(
    server: &Server,
    selection: &Selection,
    wanted: Wanted,
    limit: usize,
) -> Result<(Vec<Candidate>, bool), Problem> {
    let Selection { posted, dated, .. } = selection;
    let mut page = match (posted.first(), dated.first()) {
        (_, None) => posted.clone(),
        (None, _) => dated.clone(),
        (Some(first), Some(_)) => {
            let mut all = dated.clone();
            let first = read_times(server, std::slice::from_ref(first))?;
            let last = dated.last().filter(|_| dated.len() > limit);
            // Mostly the imported messages are all older than the posted ones: then one of the sets fills the page.
            if last.is_none_or(|last| first.iter().any(|first| comes_before(first, last, wanted))) {
                all.extend(read_times(server, posted)?);
                all.sort_by_key(|candidate| (candidate.at, candidate.offset));
                if matches!(wanted, Wanted::Before(_)) {
                    all.reverse();
                }
            }
            all
        }
    };
    let more = page.len() > limit;
    page.truncate(limit);
    Ok((page, more))
}

fn comes_before(one: &Candidate, other: &Candidate, wanted: Wanted) -> bool {
    let (one, other) = ((one.at, one.offset), (other.at, other.offset));
    match wanted {
        Wanted::After(_) => one < other,
        Wanted::Before(_) => one > other,
    }
}

/// The candidates with the times of their records.
fn read_times(server: &Server, candidates: &[Candidate]) -> Result<Vec<Candidate>, Problem> {
    let mut offsets: Vec<Offset> = candidates.iter().map(|candidate| candidate.offset).collect();
    offsets.sort_unstable();
    let mut timed = Vec::with_capacity(offsets.len());
    read_each(&server.node.log, &offsets, &mut |record| {
        timed.push(Candidate { offset: record.offset, at: Some(record.time) });
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(timed)
}

/// Reads the page's texts, a few at a time, until it is full, and writes it.
fn write_page(
    server: &Server,
    selection: &Selection,
    wanted: Wanted,
    page: Vec<Candidate>,
    mut more: bool,
) -> Result<Vec<u8>, Problem> {
    let mut written: Vec<(Cursor, Vec<u8>)> = Vec::with_capacity(page.len());
    let mut bytes = 0;
    'page: for some in page.chunks(READ_AT_ONCE) {
        let mut read = Vec::with_capacity(some.len());
        let mut offsets: Vec<Offset> = some.iter().map(|candidate| candidate.offset).collect();
        offsets.sort_unstable();
        read_each(&server.node.log, &offsets, &mut |record| {
            let mut json = Vec::with_capacity(256);
            write_json(record, &selection.origins, &mut json)?;
            read.push((record.offset, record.time, json));
            Ok(ControlFlow::Continue(()))
        })?;
        for candidate in some {
            let Ok(place) = read.binary_search_by_key(&candidate.offset, |(offset, ..)| *offset) else {
                tracing::error!(
                    offset = candidate.offset.0,
                    "the log showed no record for a message of the views"
                );
                return Err(Problem::plain(Code::LogDamaged));
            };
            let (time, json) = (read[place].1, std::mem::take(&mut read[place].2));
            if !written.is_empty() && bytes + json.len() > PAGE_BYTES_MAX {
                more = true;
                break 'page;
            }
            bytes += json.len();
            written.push((Cursor { at: candidate.at.unwrap_or(time), offset: candidate.offset }, json));
        }
    }
    if matches!(wanted, Wanted::Before(_)) {
        written.reverse();
    }
    Ok(page_json(&written, bytes, ends(&written, wanted, more, selection.behind)))
}

/// The cursors to the newer and to the older page.
fn ends(
    written: &[(Cursor, Vec<u8>)],
    wanted: Wanted,
    more: bool,
    behind: bool,
) -> (Option<Cursor>, Option<Cursor>) {
    let first = written.first().map(|(cursor, _)| *cursor);
    let last = written.last().map(|(cursor, _)| *cursor);
    match wanted {
        // An empty page leads back to where it was asked from, and what lies right there comes with it.
        Wanted::After(cursor) => (last.filter(|_| more), first.or(Some(cursor.next())).filter(|_| behind)),
        Wanted::Before(cursor) => {
            (last.or(Some(cursor.previous())).filter(|_| behind), first.filter(|_| more))
        }
    }
}

fn page_json(
    messages: &[(Cursor, Vec<u8>)],
    bytes: usize,
    (next, prev): (Option<Cursor>, Option<Cursor>),
) -> Vec<u8> {
    let mut json = Vec::with_capacity(bytes + messages.len() + 160);
    json.extend_from_slice(b"{\"messages\":[");
    for (index, (_, message)) in messages.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        json.extend_from_slice(message);
    }
    json.push(b']');
    for (name, cursor) in [("next", next), ("prev", prev)] {
        let text = cursor.map_or("null".to_owned(), |cursor| format!("\"{}\"", cursor.show()));
        json.extend_from_slice(format!(",\"{name}\":{text}").as_bytes());
    }
    json.push(b'}');
    json
}
