//! Ids as clients see them.

use scrollback_log::Offset;
use scrollback_log::origin::Birthplace;
use scrollback_projections::Origins;

/// What an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// `U`: a user.
    User,
    /// `C`: a channel.
    Channel,
    /// `M`: a message.
    Message,
    /// `I`: an invitation.
    Invitation,
    /// `E`: an event. Our own calls have its offset instead.
    Event,
}

impl IdKind {
    /// The letter that an id of this kind begins with.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            IdKind::User => 'U',
            IdKind::Channel => 'C',
            IdKind::Message => 'M',
            IdKind::Invitation => 'I',
            IdKind::Event => 'E',
        }
    }
}

/// The id of the thing that the record at `offset` created. Empty if the log has no origin there, which no log has.
#[must_use]
pub fn show(kind: IdKind, offset: Offset, origins: &Origins) -> String {
    origins.birthplace(offset).map(|place| place.show(kind.letter()).to_string()).unwrap_or_default()
}

/// The record that created the thing that `id` names, if the id is of this kind and of this log. Whether there is such a
/// thing is another question.
#[must_use]
pub fn parse(kind: IdKind, id: &str, origins: &Origins) -> Option<Offset> {
    origins.local(Birthplace::parse(kind.letter(), id)?)
}
