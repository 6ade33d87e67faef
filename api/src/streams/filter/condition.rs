//! A filter as it is looked at for every event: what its conditions say, in a form that is cheap to ask and to compare.

use scrollback_log::{Offset, Timestamp};

use super::words::{self, Words};
use crate::streams::frame::{Facets, Happening, Type};

/// Conditions that must all hold.
///
/// What its conditions say of types and events is one set each. The others are sorted, each once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::streams) struct Filter {
    pub(in crate::streams) types: Words,
    pub(in crate::streams) happenings: Words,
    pub(in crate::streams) conditions: Vec<Condition>,
}

/// What an event's other attributes must be. The last three only other protocols than our own ask for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::streams) enum Condition {
    /// The channel that it is about or happened in; none is null.
    Channel(Among<Option<Offset>>),
    /// Who sent the message that it is about; none is null.
    Sender(Among<Option<Offset>>),
    /// Its time.
    At(Test<Timestamp>),
    /// Its place in the log.
    Offset(Test<Offset>),
    /// Its record's time.
    RecordedAt(Test<Timestamp>),
    /// What it is about.
    Object(Among<Object>),
    /// The channel of the message that it is about; of anything else none, null.
    Owner(Among<Option<Offset>>),
}

/// What events are about: a sort of things and the record that created the thing. A membership is a thing of its channel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::streams) struct Object {
    pub(in crate::streams) kind: Type,
    pub(in crate::streams) born: Offset,
}

impl Object {
    fn of(facets: &Facets) -> Object {
        let kind = if facets.kind == Type::Member { Type::Channel } else { facets.kind };
        Object { kind, born: facets.object }
    }

    /// Whether something of this channel can be about it.
    fn may_be_of(self, channel: Offset) -> bool {
        match self.kind {
            Type::Channel | Type::Member => self.born == channel,
            Type::Message => true,
            Type::User => false,
        }
    }
}

/// Whether a value is one of these, or none of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::streams) struct Among<T> {
    /// Sorted, each once.
    values: Box<[T]>,
    wanted: bool,
}

/// What a value that has an order must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::streams) enum Test<T> {
    /// One of these, or none of them.
    Among(Among<T>),
    /// On this side of that.
    Side(Side, T),
}

/// How a value lies to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::streams) enum Side {
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
    pub(in crate::streams) fn everything() -> Filter {
        Filter { types: Words::all::<Type>(), happenings: Words::all::<Happening>(), conditions: Vec::new() }
    }

    /// Whether it holds for every event.
    pub(in crate::streams) fn is_everything(&self) -> bool {
        *self == Filter::everything()
    }

    /// Whether it holds for no event: one of its conditions wants a value and names none.
    pub(in crate::streams) fn is_nothing(&self) -> bool {
        self.types.is_empty()
            || self.happenings.is_empty()
            || self.conditions.iter().any(Condition::is_nothing)
    }

    /// Puts the conditions in their order.
    pub(in crate::streams) fn settle(&mut self) {
        self.conditions.sort_unstable();
        self.conditions.dedup();
    }

    /// How many values its conditions name.
    pub(in crate::streams) fn values(&self) -> usize {
        self.conditions.iter().map(Condition::values).sum()
    }

    #[inline]
    pub(in crate::streams) fn matches(&self, facets: &Facets) -> bool {
        self.types.contains(facets.kind)
            && self.happenings.contains(facets.happening)
            && self.conditions.iter().all(|condition| condition.holds(facets))
    }
}

impl Filter {
    /// Whether it could hold for an event of this channel.
    pub(in crate::streams) fn may_match_channel(&self, channel: Offset) -> bool {
        let of_channels =
            words::of_channels(|kind| self.types.contains(kind), |what| self.happenings.contains(what));
        of_channels
            && self.conditions.iter().all(|condition| match condition {
                Condition::Channel(among) => among.holds(&Some(channel)),
                Condition::Object(among) => {
                    !among.wanted || among.values.iter().any(|object| object.may_be_of(channel))
                }
                Condition::Owner(among) => among.holds(&Some(channel)) || among.holds(&None),
                Condition::Sender(_) | Condition::At(_) | Condition::Offset(_) | Condition::RecordedAt(_) => {
                    true
                }
            })
    }
}

impl Condition {
    fn values(&self) -> usize {
        match self {
            Condition::Channel(among) | Condition::Sender(among) | Condition::Owner(among) => among.len(),
            Condition::Object(among) => among.len(),
            Condition::At(test) | Condition::RecordedAt(test) => test.len(),
            Condition::Offset(test) => test.len(),
        }
    }

    fn is_nothing(&self) -> bool {
        match self {
            Condition::Channel(among) | Condition::Sender(among) | Condition::Owner(among) => {
                among.is_nothing()
            }
            Condition::Object(among) => among.is_nothing(),
            Condition::At(test) | Condition::RecordedAt(test) => test.is_nothing(),
            Condition::Offset(test) => test.is_nothing(),
        }
    }

    fn holds(&self, facets: &Facets) -> bool {
        match self {
            Condition::Channel(among) => among.holds(&facets.channel),
            Condition::Sender(among) => among.holds(&facets.sender),
            Condition::At(test) => test.holds(&facets.at),
            Condition::Offset(test) => test.holds(&facets.offset),
            Condition::RecordedAt(test) => test.holds(&facets.recorded_at),
            Condition::Object(among) => among.holds(&Object::of(facets)),
            Condition::Owner(among) => among.holds(&facets.channel.filter(|_| facets.kind == Type::Message)),
        }
    }
}

impl<T: Ord> Among<T> {
    /// One of `values` if that is `wanted`, else none of them.
    pub(in crate::streams) fn new(mut values: Vec<T>, wanted: bool) -> Among<T> {
        values.sort_unstable();
        values.dedup();
        Among { values: values.into(), wanted }
    }

    /// The values, and whether they are wanted.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(in crate::streams) fn parts(&self) -> (&[T], bool) {
        (&self.values, self.wanted)
    }

    /// The least and the greatest of the values that are wanted; none if it is not these that are.
    pub(in crate::streams) fn range(&self) -> Option<(&T, &T)> {
        self.values.first().zip(self.values.last()).filter(|_| self.wanted)
    }

    /// Whether no value is one of these.
    fn is_nothing(&self) -> bool {
        self.wanted && self.values.is_empty()
    }

    /// How many values there are.
    pub(in crate::streams) fn len(&self) -> usize {
        self.values.len()
    }

    pub(in crate::streams) fn holds(&self, value: &T) -> bool {
        self.values.binary_search(value).is_ok() == self.wanted
    }
}

impl<T: Ord> Test<T> {
    fn len(&self) -> usize {
        match self {
            Test::Among(among) => among.len(),
            Test::Side(..) => 1,
        }
    }

    fn is_nothing(&self) -> bool {
        matches!(self, Test::Among(among) if among.is_nothing())
    }

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
