//! A record as the event that every transport shows, in its Server-Sent-Events form:
//!
//! ```text
//! id: OFFSET-TAG
//! event: TYPE
//! data: {"offset":OFFSET,"at":"...","type":"TYPE","event":"...", ... }
//!
//! ```
//!
//! The JSON lies inside, so a transport that wants only that takes a part of the same bytes. A frame remembers where its
//! texts lie: so it becomes the frame of the same record with its texts gone without being encoded anew.

use std::ops::Range;

use roaring::RoaringTreemap;
use scrollback_log::origin::IdWriter;
use scrollback_log::{Deletion, Offset, Record, Text, Timestamp};
use scrollback_projections::Origins;
use scrollback_projections::facts::{self, Body, Fact, FactError, Imported, Name, Reason, Role};

use super::json::{push_escaped, push_hex, push_number};
use crate::ids::IdKind;
use crate::timestamps;

/// What a frame ends with behind its JSON.
const TAIL: &[u8] = b"\n\n";
/// The most texts that one event has.
const TEXTS_MAX: usize = 2;

/// What an event is about: its `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// `user`
    User,
    /// `channel`
    Channel,
    /// `message`
    Message,
    /// `member`
    Member,
}

/// What happened to it: its `event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Happening {
    /// `created`
    Created,
    /// `changed`
    Changed,
    /// `sent`
    Sent,
    /// `deleted`
    Deleted,
    /// `added`
    Added,
    /// `removed`
    Removed,
}

impl Type {
    /// All of them.
    pub const ALL: [Type; 4] = [Type::User, Type::Channel, Type::Message, Type::Member];

    /// As events and filters name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Type::User => "user",
            Type::Channel => "channel",
            Type::Message => "message",
            Type::Member => "member",
        }
    }
}

impl Happening {
    /// All of them.
    pub const ALL: [Happening; 6] = [
        Happening::Created,
        Happening::Changed,
        Happening::Sent,
        Happening::Deleted,
        Happening::Added,
        Happening::Removed,
    ];

    /// As events and filters name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Happening::Created => "created",
            Happening::Changed => "changed",
            Happening::Sent => "sent",
            Happening::Deleted => "deleted",
            Happening::Added => "added",
            Happening::Removed => "removed",
        }
    }
}

/// What filters ask of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facets {
    /// Its type.
    pub kind: Type,
    /// Its event.
    pub happening: Happening,
    /// The channel that it is about or happened in.
    pub channel: Option<Offset>,
    /// Who sent the message that it is about.
    pub sender: Option<Offset>,
    /// Its time as it is shown: of an imported message its own.
    pub at: Timestamp,
    /// Its place in the log.
    pub offset: Offset,
    /// Its record's time.
    pub recorded_at: Timestamp,
    /// The record that created what it is about: of a membership the channel's.
    pub object: Offset,
}

/// Who may see an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Whoever may read at all.
    Everyone,
    /// Whoever may see the private channel that it is about or happened in.
    Members,
    /// They and this user, whose membership it is about.
    MembersAnd(Offset),
}

/// A text's place in a frame, without the quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

/// What is known of an encoded frame. Places are relative to its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What filters ask.
    pub facets: Facets,
    /// Who may see it.
    pub audience: Audience,
    json_start: u8,
    /// Where its texts lie; empty when it has none or they are gone.
    texts: [Span; TEXTS_MAX],
}

impl Frame {
    /// Where the event's JSON lies in a frame of `length` bytes.
    #[must_use]
    pub fn json(&self, length: usize) -> Range<usize> {
        usize::from(self.json_start)..length - TAIL.len()
    }

    /// Appends to `out` what `frame`, the bytes of this frame, becomes when `deletion` deletes the record's text: the same
    /// bytes as if the record were encoded anew. None when it has no text, or none any more.
    pub fn push_gone(&self, frame: &[u8], deletion: Deletion, out: &mut Vec<u8>) -> Option<Frame> {
        if self.texts == [Span::default(); TEXTS_MAX] {
            return None;
        }
        let json = self.json(frame.len());
        let mut copied = 0;
        for span in self.texts.iter().filter(|span| **span != Span::default()) {
            out.extend_from_slice(&frame[copied..span.start as usize]);
            copied = span.end as usize;
        }
        out.extend_from_slice(&frame[copied..json.end - 1]);
        close(out, Some(deletion));
        Some(Frame { texts: [Span::default(); TEXTS_MAX], ..*self })
    }
}

/// Encodes records of one log, one after the other.
pub struct Encoder<'o> {
    origins: &'o Origins,
    private: &'o RoaringTreemap,
    /// The newest time and how it is shown: the records of a batch all have the same.
    time: Timestamp,
    shown: [u8; timestamps::SHOWN_BYTES],
    /// The writer of ids of the origin that was seen last.
    ids: Option<IdWriter>,
}

impl<'o> Encoder<'o> {
    /// An encoder for the log with these origins and private channels.
    #[must_use]
    pub fn new(origins: &'o Origins, private: &'o RoaringTreemap) -> Encoder<'o> {
        Encoder {
            origins,
            private,
            time: timestamps::EARLIEST,
            shown: timestamps::encode(timestamps::EARLIEST),
            ids: None,
        }
    }

    /// Appends the event that `record` is to `out`. None, and nothing appended, when it is an internal record.
    ///
    /// # Errors
    /// When the record is of a kind that this version does not know, or does not decode.
    pub fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<Option<Frame>, FactError> {
        let fact = Fact::decode(record)?;
        event(fact, record, Draft { record, encoder: self, out })
    }

    fn time(&mut self, time: Timestamp) -> &[u8; timestamps::SHOWN_BYTES] {
        if self.time != time {
            (self.time, self.shown) = (time, timestamps::encode(time));
        }
        &self.shown
    }

    /// Appends the id of what was born at `offset`; false if that was before the log's first record.
    fn push_id(&mut self, kind: IdKind, offset: Offset, out: &mut Vec<u8>) -> bool {
        let Some(origin) = self.origins.at(offset) else { return false };
        let ids = match self.ids {
            Some(ids) if ids.origin() == origin => ids,
            _ => *self.ids.insert(IdWriter::new(origin)),
        };
        ids.write(kind.letter(), offset, out);
        true
    }
}

fn event(fact: Fact, record: &Record<'_>, draft: Draft<'_, '_, '_>) -> Result<Option<Frame>, FactError> {
    use Happening::{Added, Changed, Created, Deleted, Removed, Sent};
    let at = record.time;
    let event = match fact {
        Fact::OriginStarted(_) | Fact::InvitationIssued(_) | Fact::ImportAdvanced(_) | Fact::Audited(_) => {
            return Ok(None);
        }
        Fact::UserCreated(fact) => {
            let name = facts::text::<Name<'_>>(record)?;
            draft.open(Type::User, Created, None, None, at).user(record.offset, name, fact.role, true)
        }
        Fact::UserChanged(fact) => {
            let name = facts::text::<Name<'_>>(record)?;
            draft.open(Type::User, Changed, None, None, at).about(fact.user).user(
                fact.user,
                name,
                fact.role,
                fact.active,
            )
        }
        Fact::ChannelCreated(fact) => {
            let name = facts::text::<Name<'_>>(record)?;
            draft
                .open(Type::Channel, Created, Some(record.offset), None, at)
                .id("id", IdKind::Channel, Some(record.offset))
                .text("name", name.map(|name| name.shown))
                .flag("private", fact.private)
                .id("creator", IdKind::User, fact.creator)
        }
        Fact::ChannelDeleted(fact) => draft
            .open(Type::Channel, Deleted, Some(fact.channel), None, at)
            .about(fact.channel)
            .id("id", IdKind::Channel, Some(fact.channel))
            .id("by", IdKind::User, fact.by)
            .word("reason", reason(fact.reason)),
        Fact::MessageSent(fact) => {
            let body = facts::text::<Body<'_>>(record)?;
            draft
                .open(Type::Message, Sent, Some(fact.channel), Some(fact.sender), at)
                .message(record.offset, fact.channel, Some(fact.sender))
                .text("body", body.map(|text| text.body))
        }
        Fact::MessageImported(fact) => {
            let text = facts::text::<Imported<'_>>(record)?;
            draft
                .open(Type::Message, Sent, Some(fact.channel), None, fact.at)
                .message(record.offset, fact.channel, None)
                .text("sender_name", text.map(|text| text.sender_name))
                .text("body", text.map(|text| text.body))
                .time("recorded_at", record.time)
        }
        Fact::MessageDeleted(fact) => draft
            .open(Type::Message, Deleted, Some(fact.channel), fact.sender, at)
            .about(fact.message)
            .message(fact.message, fact.channel, fact.sender)
            .id("by", IdKind::User, fact.by)
            .word("reason", reason(fact.reason)),
        Fact::MembershipChanged(fact) => {
            let happening = if fact.member { Added } else { Removed };
            let mut event = draft
                .open(Type::Member, happening, Some(fact.channel), None, at)
                .about(fact.channel)
                .id("channel", IdKind::Channel, Some(fact.channel))
                .id("user", IdKind::User, Some(fact.user))
                .id("by", IdKind::User, fact.by);
            event.frame.audience = Audience::MembersAnd(fact.user);
            // Where the channel's history begins: whoever was added may read all of it, and has seen none.
            if fact.member { event.number("history_after", fact.channel.0.saturating_sub(1)) } else { event }
        }
    };
    Ok(Some(event.close(record)))
}

fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Deleted => "deleted",
        Reason::Expired => "expired",
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Moderator => "moderator",
        Role::Owner => "owner",
    }
}

/// Appends `id: TOKEN`, `event: KIND` and the start of the data line.
fn push_head(out: &mut Vec<u8>, record: &Record<'_>, kind: Type) {
    out.extend_from_slice(b"id: ");
    push_number(out, record.offset.0);
    out.push(b'-');
    push_hex(out, record.tag.0);
    out.extend_from_slice(b"\nevent: ");
    out.extend_from_slice(kind.name().as_bytes());
    out.extend_from_slice(b"\ndata: ");
}

/// Ends the object and the frame.
fn close(out: &mut Vec<u8>, deletion: Option<Deletion>) {
    if let Some(deletion) = deletion {
        out.extend_from_slice(b",\"deleted_at\":\"");
        timestamps::write_to(deletion.time, out);
        out.push(b'"');
    }
    out.push(b'}');
    out.extend_from_slice(TAIL);
}

/// A record about to be encoded.
struct Draft<'a, 'r, 'o> {
    record: &'a Record<'r>,
    encoder: &'a mut Encoder<'o>,
    out: &'a mut Vec<u8>,
}

/// An event whose fields are being written, in the order of the calls. These are inlined, so that what they write of
/// themselves is known to the compiler: a few moves instead of a call for each piece.
struct Event<'a, 'o> {
    out: &'a mut Vec<u8>,
    encoder: &'a mut Encoder<'o>,
    start: usize,
    frame: Frame,
}

impl<'a, 'o> Draft<'a, '_, 'o> {
    #[inline(always)]
    fn open(
        self,
        kind: Type,
        happening: Happening,
        channel: Option<Offset>,
        sender: Option<Offset>,
        at: Timestamp,
    ) -> Event<'a, 'o> {
        let Draft { record, encoder, out } = self;
        let start = out.len();
        push_head(out, record, kind);
        // An id of 29 bytes and a type of 7 leave it far below 256.
        let json_start = (out.len() - start) as u8;
        out.extend_from_slice(b"{\"offset\":");
        push_number(out, record.offset.0);
        let shown = at.clamp(timestamps::EARLIEST, timestamps::LATEST);
        let facets = Facets {
            kind,
            happening,
            channel,
            sender,
            at: shown,
            offset: record.offset,
            recorded_at: record.time,
            object: record.offset,
        };
        let is_private = channel.is_some_and(|channel| encoder.private.contains(channel.0));
        let audience = if is_private { Audience::Members } else { Audience::Everyone };
        let frame = Frame { facets, audience, json_start, texts: [Span::default(); TEXTS_MAX] };
        Event { out, encoder, start, frame }
            .time("at", at)
            .word("type", kind.name())
            .word("event", happening.name())
    }
}

impl Event<'_, '_> {
    fn close(self, record: &Record<'_>) -> Frame {
        let deletion = if let Text::Gone(deletion) = record.text { Some(deletion) } else { None };
        close(self.out, deletion);
        self.frame
    }

    /// It is about what another record has created.
    #[inline(always)]
    fn about(mut self, object: Offset) -> Self {
        self.frame.facets.object = object;
        self
    }

    #[inline(always)]
    fn key(&mut self, key: &str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A word that needs no escaping.
    #[inline(always)]
    fn word(mut self, key: &str, word: &str) -> Self {
        self.key(key);
        self.out.push(b'"');
        self.out.extend_from_slice(word.as_bytes());
        self.out.push(b'"');
        self
    }

    #[inline(always)]
    fn flag(mut self, key: &str, flag: bool) -> Self {
        self.key(key);
        self.out.extend_from_slice(if flag { b"true" } else { b"false" });
        self
    }

    fn number(mut self, key: &str, number: u64) -> Self {
        self.key(key);
        push_number(self.out, number);
        self
    }

    #[inline(always)]
    fn time(mut self, key: &str, time: Timestamp) -> Self {
        self.key(key);
        self.out.push(b'"');
        self.out.extend_from_slice(self.encoder.time(time));
        self.out.push(b'"');
        self
    }

    #[inline(always)]
    fn id(mut self, key: &str, kind: IdKind, offset: Option<Offset>) -> Self {
        self.key(key);
        self.out.push(b'"');
        if offset.is_some_and(|offset| self.encoder.push_id(kind, offset, self.out)) {
            self.out.push(b'"');
        } else {
            self.out.pop();
            self.out.extend_from_slice(b"null");
        }
        self
    }

    /// What somebody typed; empty when it is gone.
    #[inline(always)]
    fn text(mut self, key: &str, text: Option<&str>) -> Self {
        self.key(key);
        self.out.push(b'"');
        if let Some(text) = text {
            let start = self.out.len();
            push_escaped(self.out, text);
            let place = |at: usize| u32::try_from(at - self.start).unwrap_or(u32::MAX);
            let span = Span { start: place(start), end: place(self.out.len()) };
            if let Some(free) = self.frame.texts.iter_mut().find(|span| **span == Span::default()) {
                *free = span;
            }
        }
        self.out.push(b'"');
        self
    }

    fn user(self, user: Offset, name: Option<Name<'_>>, held: Role, active: bool) -> Self {
        self.id("id", IdKind::User, Some(user))
            .text("name", name.map(|name| name.shown))
            .word("role", role(held))
            .flag("active", active)
    }

    #[inline(always)]
    fn message(self, message: Offset, channel: Offset, sender: Option<Offset>) -> Self {
        self.id("id", IdKind::Message, Some(message)).id("channel", IdKind::Channel, Some(channel)).id(
            "sender",
            IdKind::User,
            sender,
        )
    }
}
