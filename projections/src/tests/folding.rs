//! The fold against the naive model.

use std::collections::BTreeMap;

use proptest::prelude::*;
use scrollback_log::{Offset, Timestamp};

use super::{a_full_history, bytes, folded, histories};
use crate::facts::{KeyDigest, Role};
use crate::testing::{History, SETTINGS};
use crate::{Part, Views};

proptest! {
    #[test]
    fn the_views_are_what_a_naive_reading_of_the_history_says(history in histories(150)) {
        assert_same(&folded(&history, Offset::BEGINNING), &history);
    }

    #[test]
    fn a_deletion_names_exactly_the_texts_that_went_with_it(history in histories(150)) {
        let mut views = Views::new(SETTINGS);
        let mut named = Vec::new();
        for sealed in &history.sealed() {
            if let Some(found) = views.apply(&sealed.as_record()).unwrap() {
                named.push((found.deletion, found.targets.iter().map(Offset).collect::<Vec<_>>()));
            }
        }
        let mut expected = history.deletions.clone();
        expected.iter_mut().for_each(|(_, targets)| targets.sort_unstable());
        prop_assert_eq!(named, expected);
    }

    #[test]
    fn the_views_are_the_same_whether_the_deleted_texts_are_still_there_or_not(
        history in histories(150),
        part in 0.0..=1.0_f64,
    ) {
        let erased = Offset((history.head().0 as f64 * part) as u64);
        let whole = folded(&history, Offset::BEGINNING);
        prop_assert_eq!(bytes(&folded(&history, erased)), bytes(&whole));
        prop_assert_eq!(bytes(&folded(&history, history.head())), bytes(&whole));
    }

    #[test]
    fn an_audit_reads_exactly_the_records_that_concern_rights(history in histories(150), before in 0_u64..170) {
        let views = folded(&history, Offset::BEGINNING);
        let expected: Vec<Offset> =
            history.audit.iter().rev().copied().filter(|offset| offset.0 < before).collect();
        prop_assert_eq!(views.audit().before(Offset(before)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn who_is_a_member_of_what_is_what_adding_and_removing_left(history in histories(150)) {
        let views = folded(&history, Offset::BEGINNING);
        let memberships = views.memberships();
        for channel in &history.channels {
            let members: BTreeMap<Offset, Offset> = channel.members.iter().copied().collect();
            prop_assert_eq!(memberships.is_private(channel.offset), channel.private);
            prop_assert_eq!(memberships.members(channel.offset), channel.private.then_some(&members));
            for user in &history.users {
                prop_assert_eq!(
                    memberships.is_member(channel.offset, user.offset),
                    members.contains_key(&user.offset)
                );
            }
        }
        let private = || history.channels.iter().filter(|channel| channel.private);
        for user in &history.users {
            let of_user: Vec<Offset> = private()
                .filter(|channel| channel.members.iter().any(|(member, _)| *member == user.offset))
                .map(|channel| channel.offset)
                .collect();
            prop_assert_eq!(memberships.of_user(user.offset).collect::<Vec<_>>(), of_user);
        }
        let all: Vec<u64> = private().map(|channel| channel.offset.0).collect();
        prop_assert_eq!(memberships.private().iter().collect::<Vec<_>>(), all);
        prop_assert_eq!(memberships.changed_at(), history.rights.last().copied().unwrap_or_default());
    }

    #[test]
    fn a_record_out_of_order_is_refused_and_changes_nothing(history in histories(40), other in 0_u64..60) {
        let sealed = history.sealed();
        let mut views = folded(&history, Offset::BEGINNING);
        let before = bytes(&views);
        let mut record = sealed[other as usize % sealed.len()].as_record();
        record.offset = Offset(other);
        record.time = views.time();
        if record.offset != views.at().next() {
            let error = views.apply(&record).unwrap_err();
            prop_assert!(matches!(error, crate::FoldError::OutOfOrder { .. }), "{}", error);
            prop_assert_eq!(bytes(&views), before);
        }
    }
}

#[test]
fn between_creation_and_deletion_a_channel_without_its_text_has_no_name() {
    let history = a_full_history();
    let sealed = history.sealed();
    let mut nameless = 0;
    let mut views = Views::new(SETTINGS);
    for sealed in &sealed {
        views.apply(&history.seen(sealed, history.head())).unwrap();
        for (offset, channel) in views.channels().iter() {
            let known = history.channels.iter().find(|known| known.offset == offset).unwrap();
            let name = if known.deleted.is_some() { "" } else { known.name.as_str() };
            assert_eq!(channel.name, name);
            nameless += usize::from(name.is_empty());
        }
        assert!(views.channels().by_folded("").is_none());
    }
    assert!(nameless > 0);
}

#[test]
fn equal_views_have_equal_digests_and_other_views_other_digests() {
    let history = a_full_history();
    let whole = folded(&history, Offset::BEGINNING);
    assert_eq!(whole.digest(), folded(&history, history.head()).digest());
    assert_eq!(whole.digest(), *blake3::hash(&bytes(&whole)).as_bytes());
    let mut seen = std::collections::HashSet::new();
    let mut views = Views::new(SETTINGS);
    for sealed in &history.sealed() {
        assert!(seen.insert(views.digest()));
        views.apply(&sealed.as_record()).unwrap();
    }
}

#[test]
fn what_a_record_changes_is_seen_in_its_own_parts_and_in_no_other() {
    let history = a_full_history();
    let mut views = Views::new(SETTINGS);
    let mut changed = std::collections::HashMap::new();
    for sealed in &history.sealed() {
        let before = views.part_digests();
        views.apply(&sealed.as_record()).unwrap();
        let pairs = before.into_iter().zip(views.part_digests());
        let parts: Vec<Part> = pairs.filter(|(one, other)| one != other).map(|((part, _), _)| part).collect();
        assert!(parts.contains(&Part::Stand), "{parts:?}");
        changed.entry(sealed.record.kind).or_insert_with(Vec::new).extend(parts);
    }
    let all = |part: Part| changed.values().filter(|parts| parts.contains(&part)).count();
    assert!(Part::ALL.into_iter().all(|part| all(part) > 0), "{changed:?}");
    assert_eq!((all(Part::Origins), all(Part::Imports)), (1, 1), "{changed:?}");
}

fn assert_same(views: &Views, history: &History) {
    assert_eq!((views.at(), views.time()), (history.head(), history.time_of(history.head())));
    assert_same_people(views, history);
    assert_same_channels(views, history);
    for channel in history.live_channels() {
        assert_same_messages(views, history, channel.offset);
    }
    assert_eq!(views.messages().len() as usize, {
        let live = history.messages.iter().filter(|message| message.deleted.is_none());
        live.count()
    });
    let open: Vec<_> =
        views.invitations().iter().map(|(offset, one)| (offset, one.issuer, one.expires)).collect();
    let expected: Vec<_> =
        history.open_invitations().map(|one| (one.offset, one.issuer, one.expires)).collect();
    assert_eq!(open, expected);
    for key in (0..=u8::MAX).map(|number| KeyDigest([number; 16])) {
        assert_eq!(views.keys().get(&key), history.key_at(key, views.time()));
    }
    assert_eq!(views.imports().iter().copied().collect::<Vec<_>>(), history.imports);
    for step in &history.imports {
        let newest = history.imports.iter().rev().find(|other| other.digest == step.digest);
        assert_eq!(views.imports().by_digest(&step.digest), newest);
    }
    for offset in (0..=history.head().0 + 2).map(Offset) {
        let origin =
            history.origins.iter().rev().find(|(start, _)| *start <= offset).map(|(_, origin)| *origin);
        assert_eq!(views.origins().at(offset), origin);
        if let Some(place) = views.origins().birthplace(offset) {
            assert_eq!(views.origins().local(place), Some(offset));
        }
    }
}

fn assert_same_people(views: &Views, history: &History) {
    let shown = |user: &crate::Person| (user.name.clone(), user.folded.clone(), user.role, user.active);
    let people: Vec<_> =
        views.people().iter().map(|(offset, user)| (offset, shown(user), user.created)).collect();
    let expected: Vec<_> = history
        .users
        .iter()
        .map(|user| {
            let shown = (user.name.clone(), user.name.to_lowercase(), user.role, user.active);
            (user.offset, shown, history.time_of(user.offset))
        })
        .collect();
    assert_eq!(people, expected);
    let owners = history.users.iter().filter(|user| user.active && user.role == Role::Owner).count();
    assert_eq!(views.people().active_owners(), owners);
    for user in &history.users {
        assert_eq!(views.people().by_folded(&user.name.to_lowercase()).unwrap().0, user.offset);
    }
}

fn assert_same_channels(views: &Views, history: &History) {
    let channels: BTreeMap<_, _> = views
        .channels()
        .iter()
        .map(|(offset, channel)| {
            let last = (channel.last_offset, channel.last_time);
            (offset, (channel.name.clone(), channel.creator, channel.at, last))
        })
        .collect();
    let expected: BTreeMap<_, _> = history
        .live_channels()
        .map(|channel| {
            let last = (channel.last, history.time_of(channel.last));
            let created = history.time_of(channel.offset);
            (channel.offset, (channel.name.clone(), channel.creator, created, last))
        })
        .collect();
    assert_eq!(channels, expected);
    for number in 0..10 {
        let name = format!("Channel {number}");
        let live = history.live_channels().find(|channel| channel.name == name).map(|channel| channel.offset);
        assert_eq!(views.channels().by_folded(&name.to_lowercase()).map(|(offset, _)| offset), live);
    }
    for channel in &history.channels {
        assert_eq!(views.channels().get(channel.offset).is_some(), channel.deleted.is_none());
        assert_eq!(views.messages().of(channel.offset).is_some(), channel.deleted.is_none());
    }
}

fn assert_same_messages(views: &Views, history: &History, channel: Offset) {
    let messages = views.messages().of(channel).unwrap();
    let live: Vec<_> = history.live_messages(channel).collect();
    let recorded: Vec<Offset> = live.iter().map(|message| message.offset).collect();
    let posted = |message: &&&crate::testing::Message| message.imported_at.is_none();
    let posted: Vec<Offset> = live.iter().filter(posted).map(|message| message.offset).collect();
    let mut dated: Vec<(Timestamp, Offset)> =
        live.iter().filter_map(|message| Some((message.imported_at?, message.offset))).collect();
    dated.sort_unstable();
    assert_eq!(messages.len() as usize, live.len());
    assert_eq!(messages.recorded_before(Offset(u64::MAX)).collect::<Vec<_>>(), recorded);
    assert_eq!((messages.oldest(), messages.newest()), (recorded.first().copied(), recorded.last().copied()));
    assert_eq!(messages.posted_after(Offset::BEGINNING).collect::<Vec<_>>(), posted);
    assert_eq!(messages.dated_after((Timestamp(i64::MIN), Offset(0))).collect::<Vec<_>>(), dated);
    assert_eq!(messages.dated().len() as usize, dated.len());
    for message in &history.messages {
        assert_eq!(messages.contains(message.offset), recorded.contains(&message.offset));
    }
}
