//! A filter as it is looked at for every event: what its conditions say, in a form that is cheap to ask and to compare.

use scrollback_log::{Offset, Timestamp};

use super::words::{self, Words};
use crate::streams::frame::{Facets, Happening, Type};

/// Conditions that must all hold.
///
/// What its conditions say of types and events is one set each. The others are sorted, each once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Filter {
    pub(super) types: Words,
    pub(super) happenings: Words,
    pub(super) conditions: Vec<Condition>,
}

/// What an event's other attributes must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Condition {
    /// The channel that it is about or happened in; none is null.
    Channel(Among<Option<Offset>>),
    /// Who sent the message that it is about; none is null.
    Sender(Among<Option<Offset>>),
    /// Its time.
    At(Test<Timestamp>),
    /// Its place in the log.
    Offset(Test<Offset>),
}

/// Whether a value is one of these, or none of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Among<T> {
    /// Sorted, each once.
    values: Box<[T]>,
    wanted: bool,
}

/// What a value that has an order must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Test<T> {
    /// One of these, or none of them.
    Among(Among<T>),
    /// On this side of that.
    Side(Side, T),
}

/// How a value lies to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Side {
    /// `<`
    Below,
    /// `<=`
    UpTo,
    /// `>`
    Above,
    /// `>=`
    From,
}

impl Filter {
    /// Without a condition.
    pub(super) fn everything() -> Filter {
        Filter { types: Words::all::<Type>(), happenings: Words::all::<Happening>(), conditions: Vec::new() }
    }

    /// Whether it holds for every event.
    pub(super) fn is_everything(&self) -> bool {
        *self == Filter::everything()
    }

    /// Puts the conditions in their order.
    pub(super) fn settle(&mut self) {
        self.conditions.sort_unstable();
        self.conditions.dedup();
    }

    /// How many values its conditions name.
    pub(super) fn values(&self) -> usize {
        self.conditions.iter().map(Condition::values).sum()
    }

    #[inline]
    pub(super) fn matches(&self, facets: &Facets) -> bool {
        self.types.contains(facets.kind)
            && self.happenings.contains(facets.happening)
            && self.conditions.iter().all(|condition| condition.holds(facets))
    }
}

impl Filter {
    /// Whether it could hold for an event of this channel.
    pub(super) fn may_match_channel(&self, channel: Offset) -> bool {
        let of_channels =
            words::of_channels(|kind| self.types.contains(kind), |what| self.happenings.contains(what));
        of_channels
            && self.conditions.iter().all(|condition| match condition {
                Condition::Channel(among) => among.holds(&Some(channel)),
                _ => true,
            })
    }
}

impl Condition {
    fn values(&self) -> usize {
        match self {
            Condition::Channel(among) | Condition::Sender(among) => among.len(),
            Condition::At(Test::Among(among)) => among.len(),
            Condition::Offset(Test::Among(among)) => among.len(),
            Condition::At(Test::Side(..)) | Condition::Offset(Test::Side(..)) => 1,
        }
    }

    fn holds(&self, facets: &Facets) -> bool {
        match self {
            Condition::Channel(among) => among.holds(&facets.channel),
            Condition::Sender(among) => among.holds(&facets.sender),
            Condition::At(test) => test.holds(&facets.at),
            Condition::Offset(test) => test.holds(&facets.offset),
        }
    }
}

impl<T: Ord> Among<T> {
    /// One of `values` if that is `wanted`, else none of them.
    pub(super) fn new(mut values: Vec<T>, wanted: bool) -> Among<T> {
        values.sort_unstable();
        values.dedup();
        Among { values: values.into(), wanted }
    }

    /// The values, and whether they are wanted.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn parts(&self) -> (&[T], bool) {
        (&self.values, self.wanted)
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn holds(&self, value: &T) -> bool {
        self.values.binary_search(value).is_ok() == self.wanted
    }
}

impl<T: Ord> Test<T> {
    fn holds(&self, value: &T) -> bool {
        match self {
            Test::Among(among) => among.holds(value),
            Test::Side(Side::Below, bound) => value < bound,
            Test::Side(Side::UpTo, bound) => value <= bound,
            Test::Side(Side::Above, bound) => value > bound,
            Test::Side(Side::From, bound) => value >= bound,
        }
    }
}
