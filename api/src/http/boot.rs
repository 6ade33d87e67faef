//! One state of everything that the caller may see, exact at one offset: what a client starts from before it opens the stream there.
//!
//! Who and what there is, is taken under one lock of the views; that lock's offset is the resume point. The texts are read
//! after it. One that was deleted in between is shown as gone already: the stream after the resume point brings the
//! deletion, so nothing is missed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use scrollback_log::{Offset, Record, Timestamp};
use scrollback_projections::{ChannelMessages, Origins, Views};
use serde::Serialize;
use warp::reply::Response;

use super::call::{Call, Server};
use super::channels;
use super::history::LIMIT_MAX;
use super::messages::write_json;
use super::problem::{Code, Problem};
use super::shapes::{Channel, User};
use super::texts::read_each;
use crate::ids::{self, IdKind};
use crate::rights::may_see;

/// How many of the newest messages of each channel are given when nothing is asked for.
const MESSAGES: usize = 50;
/// The most messages in all.
const MESSAGES_MAX: usize = 5_000;
/// The most bytes of messages in all.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// The messages, the answer, and as much again while it grows.
const READ_BYTES_MAX: usize = 3 * MESSAGE_BYTES_MAX;

/// `GET /api/boot`.
pub(super) async fn boot(mut call: Call) -> Result<Response, Problem> {
    let each =
        call.query.take_number("messages", 0, LIMIT_MAX as u64)?.map_or(MESSAGES, |each| each as usize);
    std::mem::take(&mut call.query).finish()?;
    let user = call.caller()?.user;
    let read = move |server: &Server| read_state(server, user, each);
    call.server.large_read(call.holder(), READ_BYTES_MAX, read).await
}

/// The state but for the messages.
#[derive(Serialize)]
struct State {
    user: User,
    resume_point: u64,
    resume_token: String,
    heartbeat: u64,
    users: Vec<User>,
    channels: Vec<Channel>,
}

/// How badly a message is wanted: its place among the newest of its channel, then its channel's among all. What there is
/// no room for is left out from the largest on, so every channel loses its oldest first.
type Rank = (usize, usize);

/// The messages that are to be read, each with the time of its own that it may have.
type Ranked = BTreeMap<Offset, (Rank, Option<Timestamp>)>;

fn read_state(server: &Server, user: Offset, each: usize) -> Result<Vec<u8>, Problem> {
    let log = &server.node.log;
    let (mut state, at, origins, wanted) = {
        let views = server.views();
        let state = look_around(server, &views, user)?;
        (state, views.at(), views.origins().clone(), newest_of_each(&views, user, each))
    };
    server.settle(at)?;
    let tag = log.tag_at(at)?.ok_or_else(|| Problem::plain(Code::LogDamaged))?;
    state.resume_token = format!("{at}-{tag}");

    let (ranked, mut truncated) = rank(server, wanted, each)?;
    let mut kept = Kept::default();
    let offsets: Vec<Offset> = ranked.keys().copied().collect();
    read_each(log, &offsets, &mut |record| {
        if let Some((rank, dated)) = ranked.get(&record.offset) {
            truncated |= kept.add(*rank, dated.unwrap_or(record.time), record, &origins)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    write_state(&state, kept, truncated)
}

fn look_around(server: &Server, views: &Views, user: Offset) -> Result<State, Problem> {
    let origins = views.origins();
    let users = views.people().iter().map(|(user, person)| User {
        id: ids::show(IdKind::User, user, origins),
        name: person.name.clone(),
        role: person.role.into(),
    });
    let person = views.people().get(user).ok_or_else(|| Problem::plain(Code::Unauthenticated))?;
    Ok(State {
        user: User {
            id: ids::show(IdKind::User, user, origins),
            name: person.name.clone(),
            role: person.role.into(),
        },
        resume_point: views.at().0,
        resume_token: String::new(),
        heartbeat: server.node.settings.streams.heartbeat_seconds(),
        users: users.collect(),
        channels: channels::seen(views, user),
    })
}

/// The newest messages of one channel, newest first in each set.
struct Newest {
    posted: Vec<Offset>,
    dated: Vec<(Timestamp, Offset)>,
}

/// Of every channel that `reader` may see the newest messages, the channel with the newest record first. More than all together may have are not
/// even looked at.
fn newest_of_each(views: &Views, reader: Offset, each: usize) -> Vec<Newest> {
    let mut channels: Vec<(Offset, &ChannelMessages)> = views
        .channels()
        .iter()
        .filter(|(offset, _)| may_see(views, reader, *offset))
        .filter_map(|(offset, channel)| Some((channel.last_offset, views.messages().of(offset)?)))
        .filter(|(_, messages)| !messages.is_empty())
        .collect();
    channels.sort_unstable_by_key(|(last, _)| std::cmp::Reverse(*last));
    // Beyond this many channels even one message of each is too many; one more shows that there were more.
    channels.truncate(MESSAGES_MAX + 1);
    let sizes: Vec<usize> =
        channels.iter().map(|(_, all)| usize::try_from(all.len()).unwrap_or(usize::MAX)).collect();
    let share = share(&sizes, each);
    let newest = |messages: &ChannelMessages| Newest {
        posted: messages.posted_before(Offset(u64::MAX)).take(share).collect(),
        dated: messages.dated_before((Timestamp(i64::MAX), Offset(u64::MAX))).take(share).collect(),
    };
    channels.into_iter().map(|(_, messages)| newest(messages)).collect()
}

/// How many messages of each channel have to be looked at: as many as were asked for, or fewer when those of all
/// channels are already more than there is room for.
fn share(sizes: &[usize], each: usize) -> usize {
    let too_many = |share: &usize| sizes.iter().map(|size| size.min(share)).sum::<usize>() > MESSAGES_MAX;
    let shares: Vec<usize> = (0..each).collect();
    shares.partition_point(|share| !too_many(share))
}

/// The messages that are read, each with its rank and the time of its own that it may have; and whether there were too
/// many.
fn rank(server: &Server, channels: Vec<Newest>, each: usize) -> Result<(Ranked, bool), Problem> {
    let mut ranked: Vec<(Rank, Offset, Option<Timestamp>)> = Vec::new();
    for (channel, newest) in channels.into_iter().enumerate() {
        let mut messages: Vec<(Offset, Option<Timestamp>)> =
            newest.posted.iter().map(|offset| (*offset, None)).collect();
        if !newest.dated.is_empty() {
            let times =
                if newest.posted.is_empty() { BTreeMap::new() } else { times_of(server, newest.posted)? };
            messages.extend(newest.dated.into_iter().map(|(at, offset)| (offset, Some(at))));
            messages
                .sort_by_key(|(offset, at)| std::cmp::Reverse((at.or(times.get(offset).copied()), *offset)));
            messages.truncate(each);
        }
        let place = messages.into_iter().enumerate();
        ranked.extend(place.map(|(place, (offset, at))| ((place, channel), offset, at)));
    }
    let too_many = ranked.len() > MESSAGES_MAX;
    ranked.sort_unstable();
    ranked.truncate(MESSAGES_MAX);
    Ok((ranked.into_iter().map(|(rank, offset, at)| (offset, (rank, at))).collect(), too_many))
}

/// The times of some posted messages' records.
fn times_of(server: &Server, mut offsets: Vec<Offset>) -> Result<BTreeMap<Offset, Timestamp>, Problem> {
    offsets.sort_unstable();
    let mut times = BTreeMap::new();
    read_each(&server.node.log, &offsets, &mut |record| {
        times.insert(record.offset, record.time);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(times)
}

/// The messages that there is room for.
#[derive(Default)]
struct Kept {
    by_rank: BTreeMap<Rank, (Timestamp, Offset, Vec<u8>)>,
    bytes: usize,
}

impl Kept {
    /// Adds a message and drops what there is no room for any more; returns whether something was dropped.
    fn add(
        &mut self,
        rank: Rank,
        at: Timestamp,
        record: &Record<'_>,
        origins: &Origins,
    ) -> Result<bool, Problem> {
        let mut json = Vec::with_capacity(256);
        write_json(record, origins, &mut json)?;
        self.bytes += json.len();
        self.by_rank.insert(rank, (at, record.offset, json));
        let mut dropped = false;
        while self.bytes > MESSAGE_BYTES_MAX
            && let Some((_, (_, _, json))) = self.by_rank.pop_last()
        {
            self.bytes -= json.len();
            dropped = true;
        }
        Ok(dropped)
    }
}

fn write_state(state: &State, kept: Kept, truncated: bool) -> Result<Vec<u8>, Problem> {
    let mut json = serde_json::to_vec(state).map_err(|error| {
        tracing::error!(%error, "a state could not be written as JSON");
        Problem::plain(Code::Internal)
    })?;
    json.reserve(kept.bytes + kept.by_rank.len() + 64);
    // Behind the last field, before the closing brace.
    json.pop();
    json.extend_from_slice(b",\"messages\":[");
    let mut messages: Vec<_> = kept.by_rank.into_values().collect();
    messages.sort_unstable_by_key(|(at, offset, _)| (*at, *offset));
    for (index, (_, _, message)) in messages.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        json.extend_from_slice(message);
    }
    json.extend_from_slice(if truncated { b"],\"truncated\":true}" } else { b"],\"truncated\":false}" });
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_looked_at_than_shows_that_there_is_too_much() {
        assert_eq!(share(&[], 50), 50);
        assert_eq!(share(&[1_000_000], 500), 500);
        assert_eq!(share(&[100; 100], 50), 50, "just as many as there may be");
        assert_eq!(share(&[100; 101], 50), 50, "the last of each decide it");
        assert_eq!(share(&[100; 5_000], 50), 2);
        assert_eq!(share(&[100; 5_001], 50), 1);
        assert_eq!(share(&[3; 10_000], 0), 0);
    }
}
