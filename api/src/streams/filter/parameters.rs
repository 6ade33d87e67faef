//! The simple parameters of a query: `type`, `event`, `channel` and `sender`.

use scrollback_log::Offset;
use scrollback_projections::Origins;

use super::VALUES_MAX;
use super::condition::Among;
use super::words::{self, Word, Words};
use crate::http::problem::{Code, Problem};
use crate::http::query::Query;
use crate::ids::{self, IdKind};
use crate::streams::frame::{Facets, Happening, Type};

/// An event must match every parameter that was given, and one of its values.
///
/// A channel's end takes its messages with it, so who asked for messages is told of it too, whoever sent them, unless
/// `event` leaves deletions out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Parameters {
    types: Option<Words>,
    happenings: Option<Words>,
    channels: Option<Among<Offset>>,
    senders: Option<Among<Offset>>,
}

impl Parameters {
    /// Takes them from a query. An id that names nothing here, or is none, matches nothing.
    ///
    /// # Errors
    /// [`Code::BadQuery`] for an unknown type or event, or too many values.
    pub(super) fn take(query: &mut Query, origins: &Origins) -> Result<Parameters, Problem> {
        Ok(Parameters {
            types: known::<Type>(query, "type")?,
            happenings: known::<Happening>(query, "event")?,
            channels: things(query, "channel", IdKind::Channel, origins)?,
            senders: things(query, "sender", IdKind::User, origins)?,
        })
    }

    /// How many ids they name.
    pub(super) fn values(&self) -> usize {
        [&self.channels, &self.senders].into_iter().flatten().map(Among::len).sum()
    }

    pub(super) fn is_everything(&self) -> bool {
        *self == Parameters::default()
    }

    /// Whether an event of this channel could match.
    pub(super) fn may_match_channel(&self, channel: Offset) -> bool {
        let takes = |kind| {
            self.types.is_none_or(|wanted| {
                // As in `matches`: a channel's end is told to who asked for messages.
                wanted.contains(kind) || (kind == Type::Channel && wanted.contains(Type::Message))
            })
        };
        let takes_what = |what| self.happenings.is_none_or(|wanted| wanted.contains(what));
        words::of_channels(takes, takes_what)
            && self.channels.as_ref().is_none_or(|channels| channels.holds(&channel))
    }

    #[inline]
    pub(super) fn matches(&self, facets: &Facets) -> bool {
        let takes_messages = (facets.kind, facets.happening) == (Type::Channel, Happening::Deleted);
        let one_of = |wanted: &Option<Among<Offset>>, is: Option<Offset>| {
            wanted.as_ref().is_none_or(|wanted| is.is_some_and(|is| wanted.holds(&is)))
        };
        self.types.is_none_or(|wanted| {
            wanted.contains(facets.kind) || (takes_messages && wanted.contains(Type::Message))
        }) && self.happenings.is_none_or(|wanted| wanted.contains(facets.happening))
            && one_of(&self.channels, facets.channel)
            && (takes_messages || one_of(&self.senders, facets.sender))
    }
}

fn values(query: &mut Query, name: &str) -> Result<Option<Vec<String>>, Problem> {
    let values = query.take_all(name);
    if values.len() > VALUES_MAX {
        return Err(Problem::new(Code::BadQuery, format!("`{name}` is given more than {VALUES_MAX} times")));
    }
    Ok((!values.is_empty()).then_some(values))
}

fn known<W: Word>(query: &mut Query, name: &str) -> Result<Option<Words>, Problem> {
    let Some(values) = values(query, name)? else { return Ok(None) };
    let word = |value: &String| {
        words::named::<W>(value).ok_or_else(|| {
            Problem::new(Code::BadQuery, format!("`{name}` must be one of {}", words::names::<W>()))
        })
    };
    let known = values.iter().map(word).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Words::of(known)))
}

fn things(
    query: &mut Query,
    name: &str,
    kind: IdKind,
    origins: &Origins,
) -> Result<Option<Among<Offset>>, Problem> {
    let Some(values) = values(query, name)? else { return Ok(None) };
    let here = values.iter().filter_map(|id| ids::parse(kind, id, origins)).collect();
    Ok(Some(Among::new(here, true)))
}
