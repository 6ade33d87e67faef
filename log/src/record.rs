//! A record in its three states: new (decided, not yet placed), sealed (placed and chained), read.

use crate::resume::Tag;
use crate::{ChainValue, Deletion, Offset, Timestamp};

/// What a record is about; with the schema it names one frozen pair of structs for the kept part and the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(pub u16);

/// The version of a kind's structs, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Schema(pub u16);

/// A fact that has been decided but has no offset yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// What it is about.
    pub kind: Kind,
    /// The version of its structs.
    pub schema: Schema,
    /// The part that stays for ever, at most [`crate::codec::PART_BYTES_MAX`] bytes.
    pub kept: Vec<u8>,
    /// What people typed, if there is any; at most [`crate::codec::PART_BYTES_MAX`] bytes. It can be erased later.
    pub text: Option<Vec<u8>>,
}

/// A record with its place in the log: what an engine stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its number.
    pub offset: Offset,
    /// When the writer stamped it.
    pub time: Timestamp,
    /// What was decided.
    pub record: NewRecord,
    /// The salt of the text's commitment; stored beside the text and erased with it. Zero when there is no text.
    pub salt: [u8; 16],
    /// The chain's value after this record.
    pub chain: ChainValue,
}

/// A record as a reader sees it, borrowed from the reader's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number.
    pub offset: Offset,
    /// When the writer stamped it.
    pub time: Timestamp,
    /// What it is about.
    pub kind: Kind,
    /// The version of its structs.
    pub schema: Schema,
    /// The tag of the chain's value after this record.
    pub tag: Tag,
    /// The part that stays for ever.
    pub kept: &'a [u8],
    /// What people typed.
    pub text: Text<'a>,
}

/// The text of a record as a reader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text<'a> {
    /// This kind of record has none.
    None,
    /// What people typed.
    Present(&'a [u8]),
    /// Deleted: erased from the disk, or masked until it is.
    Gone(Deletion),
}

impl Sealed {
    /// The record as a reader sees it.
    #[must_use]
    pub fn as_record(&self) -> Record<'_> {
        Record {
            offset: self.offset,
            time: self.time,
            kind: self.record.kind,
            schema: self.record.schema,
            tag: self.chain.tag(),
            kept: &self.record.kept,
            text: self.record.text.as_deref().map_or(Text::None, Text::Present),
        }
    }
}
