//! Sets of the words that an event's type and event can be.

use crate::streams::frame::{Happening, Type};

/// One of a few words that are known when this is built.
pub(in crate::streams) trait Word: Copy + 'static {
    /// All of them; fewer than 32.
    const ALL: &'static [Self];

    /// As clients say it.
    fn name(self) -> &'static str;

    /// A number of its own below 32.
    fn place(self) -> u32;
}

impl Word for Type {
    const ALL: &'static [Type] = &Type::ALL;

    fn name(self) -> &'static str {
        Type::name(self)
    }

    fn place(self) -> u32 {
        self as u32
    }
}

impl Word for Happening {
    const ALL: &'static [Happening] = &Happening::ALL;

    fn name(self) -> &'static str {
        Happening::name(self)
    }

    fn place(self) -> u32 {
        self as u32
    }
}

/// All that can be told of a channel.
const OF_CHANNELS: [(Type, Happening); 6] = [
    (Type::Channel, Happening::Created),
    (Type::Channel, Happening::Deleted),
    (Type::Message, Happening::Sent),
    (Type::Message, Happening::Deleted),
    (Type::Member, Happening::Added),
    (Type::Member, Happening::Removed),
];

/// Whether these types and happenings take anything that is told of a channel.
pub(in crate::streams) fn of_channels(
    takes_type: impl Fn(Type) -> bool,
    takes: impl Fn(Happening) -> bool,
) -> bool {
    OF_CHANNELS.into_iter().any(|(kind, what)| takes_type(kind) && takes(what))
}

/// Some of the words of one sort: a bit for each place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::streams) struct Words(u32);

impl Words {
    /// These.
    pub(in crate::streams) fn of<W: Word>(words: impl IntoIterator<Item = W>) -> Words {
        Words(words.into_iter().fold(0, |bits, word| bits | 1 << word.place()))
    }

    /// All there are.
    pub(in crate::streams) fn all<W: Word>() -> Words {
        Words::of(W::ALL.iter().copied())
    }

    /// Those that are here and not there.
    pub(in crate::streams) fn without(self, others: Words) -> Words {
        Words(self.0 & !others.0)
    }

    /// Those that are in both.
    pub(in crate::streams) fn and(self, others: Words) -> Words {
        Words(self.0 & others.0)
    }

    pub(in crate::streams) fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(in crate::streams) fn contains<W: Word>(self, word: W) -> bool {
        self.0 & (1 << word.place()) != 0
    }
}

/// The word of this name.
pub(in crate::streams) fn named<W: Word>(name: &str) -> Option<W> {
    W::ALL.iter().copied().find(|word| word.name() == name)
}

/// The names of all of them, for people.
pub(in crate::streams) fn names<W: Word>() -> String {
    W::ALL.iter().map(|word| word.name()).collect::<Vec<_>>().join(", ")
}
