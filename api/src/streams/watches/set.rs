//! The channels of a watch, and what is to be told of them. Pure: the views come in, what has changed comes out.

use std::collections::BTreeMap;

use scrollback_log::Offset;
use scrollback_log::origin::Birthplace;
use scrollback_projections::Views;

use crate::ids::{self, IdKind};
use crate::rights::may_see;

/// A channel that somebody wants to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its id.
    pub id: String,
    /// Up to where its watcher knows it; what is there now if they do not say.
    pub since: Option<Offset>,
}

/// Why a channel is not watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// What was given is no channel's id.
    BadId,
    /// There is no such channel, or not for this user.
    NotFound,
    /// The watcher knows more than there is: the log is not the one that they knew.
    Ahead,
}

impl Refused {
    /// As clients are told.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Refused::BadId => "bad_id",
            Refused::NotFound => "not_found",
            Refused::Ahead => "ahead",
        }
    }
}

/// Why a watched channel is watched no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::streams) enum Gone {
    /// It was deleted.
    Deleted,
    /// The watcher may not see it any more.
    Forbidden,
}

impl Gone {
    pub(super) fn name(self) -> &'static str {
        match self {
            Gone::Deleted => "deleted",
            Gone::Forbidden => "forbidden",
        }
    }
}

/// A channel, and how it stands: the offset of its newest record, or why it is not watched.
pub type Standing = (Offset, Result<Offset, Refused>);

/// What a reader is told of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::streams) enum Change {
    /// Its newest record has this offset.
    Moved(Offset, Offset),
    /// It is gone, which is the last that is told of it.
    Gone(Offset, Gone),
}

/// The watched channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set(BTreeMap<Offset, Entry>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// Up to where the watcher knew it when they began.
    since: Offset,
    /// Why it is watched no more, and the offset at which that was seen.
    gone: Option<(Gone, Offset)>,
}

/// How a channel stands: its newest record's offset.
fn standing(views: &Views, user: Offset, channel: Offset) -> Result<Offset, Gone> {
    // Both are looked up in any case: the time tells nothing.
    let (live, is_seen) = (views.channels().get(channel), may_see(views, user, channel));
    match live {
        _ if !is_seen => Err(Gone::Forbidden),
        None => Err(Gone::Deleted),
        Some(channel) => Ok(channel.last_offset),
    }
}

impl Set {
    /// A set of those of the `wanted` that `user` may watch, and how each of them stands, in their order. The offset of a
    /// channel is that from which on the watch misses nothing.
    pub fn of(views: &Views, user: Offset, wanted: &[Wanted]) -> (Set, Vec<Result<Offset, Refused>>) {
        let mut set = BTreeMap::new();
        let mut register = |wanted: &Wanted| {
            if Birthplace::parse(IdKind::Channel.letter(), &wanted.id).is_none() {
                return Err(Refused::BadId);
            }
            let channel =
                ids::parse(IdKind::Channel, &wanted.id, views.origins()).ok_or(Refused::NotFound)?;
            let newest = standing(views, user, channel).map_err(|_| Refused::NotFound)?;
            let since = wanted.since.unwrap_or(newest);
            if since > views.at() {
                return Err(Refused::Ahead);
            }
            // Named twice it is watched from the earlier offset on.
            let entry = set.entry(channel).or_insert(Entry { since, gone: None });
            entry.since = entry.since.min(since);
            Ok(newest)
        };
        let standings = wanted.iter().map(&mut register).collect();
        (Set(set), standings)
    }

    /// How many channels are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, the oldest first.
    pub(super) fn channels(&self) -> impl Iterator<Item = Offset> {
        self.0.keys().copied()
    }

    /// Whether this channel is in it.
    pub(super) fn has(&self, channel: Offset) -> bool {
        self.0.contains_key(&channel)
    }

    /// What a reader is to be told that has been told all up to `seen`. `concerned` are the channels of all records since, if
    /// that is known and nobody's rights have changed since: then no others are looked at.
    pub(in crate::streams) fn changes(
        &mut self,
        views: &Views,
        user: Offset,
        seen: Offset,
        concerned: Option<&[Offset]>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut look = |channel: Offset, entry: &mut Entry| {
            let known = entry.since.max(seen);
            let stands = match entry.gone {
                Some((gone, _)) => Err(gone),
                None => standing(views, user, channel),
            };
            match stands {
                Ok(newest) if newest > known => changes.push(Change::Moved(channel, newest)),
                Ok(_) => {}
                Err(gone) => {
                    let (gone, at) = *entry.gone.get_or_insert((gone, views.at()));
                    if at > known {
                        changes.push(Change::Gone(channel, gone));
                    }
                }
            }
        };
        match concerned {
            None => self.0.iter_mut().for_each(|(channel, entry)| look(*channel, entry)),
            Some(concerned) => {
                for channel in concerned {
                    if let Some(entry) = self.0.get_mut(channel) {
                        look(*channel, entry);
                    }
                }
            }
        }
        changes
    }

    /// How each channel stands, the oldest first.
    pub fn standings(&self, views: &Views, user: Offset) -> Vec<Standing> {
        let stands = |(channel, entry): (&Offset, &Entry)| {
            let stands = if entry.gone.is_some() { None } else { standing(views, user, *channel).ok() };
            (*channel, stands.ok_or(Refused::NotFound))
        };
        self.0.iter().map(stands).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use scrollback_projections::testing::{Dice, History, SETTINGS};

    use super::*;

    /// The views of a history up to each of its records in turn.
    fn each_state(history: &History, mut look: impl FnMut(&Views)) {
        let mut views = Views::new(SETTINGS);
        for sealed in history.sealed() {
            views.apply(&sealed.as_record()).unwrap();
            look(&views);
        }
    }

    fn all_channels(views: &Views) -> Vec<Wanted> {
        let id = |channel| ids::show(IdKind::Channel, channel, views.origins());
        views.channels().iter().map(|(channel, _)| Wanted { id: id(channel), since: None }).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_reader_that_looks_now_and_then_knows_the_newest_of_every_channel_it_may_see(
            dice in proptest::collection::vec(any::<Dice>(), 0..150), register_at in 0_usize..60, every in 1_usize..7,
        ) {
            let history = History::new(&dice);
            for user in history.users.iter().map(|user| user.offset) {
                let (mut set, mut seen, mut known, mut round) = (None, Offset(0), BTreeMap::new(), 0);
                each_state(&history, |views| {
                    round += 1;
                    let Some(set) = &mut set else {
                        if round > register_at {
                            let (made, standings) = Set::of(views, user, &all_channels(views));
                            for ((channel, _), stands) in views.channels().iter().zip(standings) {
                                if let Ok(newest) = stands {
                                    known.insert(channel, Some(newest));
                                }
                            }
                            assert_eq!(made.len(), known.len());
                            (set, seen) = (Some(made), views.at());
                        }
                        return;
                    };
                    if round % every != 0 {
                        return;
                    }
                    for change in set.changes(views, user, seen, None) {
                        match change {
                            Change::Moved(channel, newest) => {
                                let before = known.insert(channel, Some(newest)).flatten();
                                assert!(before.is_some_and(|before| before < newest), "{channel}: {before:?} {newest}");
                            }
                            Change::Gone(channel, _) => {
                                assert!(known.insert(channel, None).flatten().is_some(), "{channel} was gone before");
                            }
                        }
                    }
                    seen = views.at();
                    for (channel, newest) in &known {
                        let stands = views.channels().get(*channel).filter(|_| may_see(views, user, *channel));
                        // What was gone once is gone, whoever comes back.
                        assert!(newest.is_none() || *newest == stands.map(|channel| channel.last_offset));
                    }
                    assert!(set.changes(views, user, seen, None).is_empty(), "nothing is told twice");
                });
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn whoever_knew_less_is_told_at_once_and_whoever_knew_more_is_refused(
            dice in proptest::collection::vec(any::<Dice>(), 0..100),
        ) {
            let history = History::new(&dice);
            let mut views = Views::new(SETTINGS);
            for sealed in history.sealed() {
                views.apply(&sealed.as_record()).unwrap();
            }
            let wanting = |since: fn(Offset, Offset) -> u64| -> Vec<Wanted> {
                let channels = all_channels(&views).into_iter().zip(views.channels().iter());
                let since = |newest| Some(Offset(since(newest, views.at())));
                channels.map(|(wanted, (_, known))| Wanted { since: since(known.last_offset), ..wanted }).collect()
            };
            for user in history.users.iter().map(|user| user.offset) {
                let seen: Vec<bool> =
                    views.channels().iter().map(|(channel, _)| may_see(&views, user, channel)).collect();
                let newest: Vec<_> = views.channels().iter().zip(&seen).filter(|(_, seen)| **seen)
                    .map(|((channel, known), _)| Change::Moved(channel, known.last_offset)).collect();
                let (mut set, standings) = Set::of(&views, user, &wanting(|newest, _| newest.0 - 1));
                prop_assert_eq!(set.changes(&views, user, Offset(0), None), newest);
                prop_assert_eq!(standings.iter().map(Result::is_ok).collect::<Vec<_>>(), seen.clone());
                let (mut set, _) = Set::of(&views, user, &wanting(|newest, _| newest.0));
                prop_assert_eq!(set.changes(&views, user, Offset(0), None), vec![]);
                let (set, standings) = Set::of(&views, user, &wanting(|_, head| head.0 + 1));
                prop_assert!(set.is_empty());
                let refused = seen.iter().map(|seen| Err(if *seen { Refused::Ahead } else { Refused::NotFound }));
                prop_assert_eq!(standings, refused.collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn what_is_no_channels_id_is_told_apart_from_what_is_not_there() {
        let history = History::new(&[]);
        let mut views = Views::new(SETTINGS);
        for sealed in history.sealed() {
            views.apply(&sealed.as_record()).unwrap();
        }
        let never = ids::show(IdKind::Channel, Offset(1), views.origins());
        for (id, refused) in [
            ("C0", Refused::BadId),
            ("", Refused::BadId),
            ("M2Z72KDMYMH6", Refused::BadId),
            (&*never, Refused::NotFound),
        ] {
            let wanted = Wanted { id: id.to_owned(), since: None };
            assert_eq!(Set::of(&views, Offset(2), &[wanted]).1, [Err(refused)], "{id:?}");
        }
    }
}
