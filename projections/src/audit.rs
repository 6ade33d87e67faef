//! Which records tell of rights: who came, who was given or lost what, who deleted what was not theirs, what an owner or the
//! operator did to all of it. The records themselves say the rest.

use std::io;

use roaring::RoaringTreemap;
use scrollback_log::Offset;

use crate::facts::{Fact, Reason};
use crate::pieces::{PieceError, PieceReader, PieceWriter};

/// The records that an audit reads.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    records: RoaringTreemap,
}

impl Audit {
    /// The records before `offset`, the newest first.
    pub fn before(&self, offset: Offset) -> impl Iterator<Item = Offset> {
        let last = offset.0.checked_sub(1);
        let mut rest = self.records.iter();
        if let Some(last) = last {
            rest.advance_back_to(last);
        }
        rest.rev().map(Offset).take_while(move |_| last.is_some())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.records.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether a record that states this is one of them.
    #[must_use]
    pub fn concerns(fact: &Fact) -> bool {
        match fact {
            Fact::OriginStarted(_)
            | Fact::UserCreated(_)
            | Fact::UserChanged(_)
            | Fact::InvitationIssued(_)
            | Fact::Audited(_)
            | Fact::MembershipChanged(_) => true,
            Fact::ChannelDeleted(fact) => fact.reason == Reason::Deleted,
            Fact::MessageDeleted(fact) => fact.reason == Reason::Deleted && fact.by != fact.sender,
            Fact::ChannelCreated(_)
            | Fact::MessageSent(_)
            | Fact::MessageImported(_)
            | Fact::ImportAdvanced(_) => false,
        }
    }

    pub(crate) fn note(&mut self, offset: Offset) {
        self.records.insert(offset.0);
    }

    pub(crate) fn write(&self, out: &mut PieceWriter<'_>) -> io::Result<()> {
        out.set(&self.records)
    }

    pub(crate) fn read(from: &mut PieceReader<'_>) -> Result<Audit, PieceError> {
        Ok(Audit { records: from.set()? })
    }
}
