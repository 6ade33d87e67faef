//! Which events a reader wants.

use scrollback_log::Offset;
use scrollback_projections::Origins;

use super::frame::{Facets, Happening, Type};
use crate::http::problem::{Code, Problem};
use crate::http::query::Query;
use crate::ids::{self, IdKind};

/// The most values of one parameter.
const VALUES_MAX: usize = 100;

/// What a reader asked for: an event must match every parameter that was given, and one of its values.
///
/// A channel's end takes its messages with it, so who asked for messages is told of it too, whoever sent them, unless
/// `event` leaves deletions out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    types: Option<Vec<Type>>,
    happenings: Option<Vec<Happening>>,
    channels: Option<Vec<Offset>>,
    senders: Option<Vec<Offset>>,
}

impl Filter {
    /// Takes the parameters `type`, `event`, `channel` and `sender` from a query; none when there are none. An id that names nothing
    /// here matches nothing.
    ///
    /// # Errors
    /// [`Code::BadQuery`] for an unknown type or event, or too many values.
    pub fn take(query: &mut Query, origins: &Origins) -> Result<Option<Filter>, Problem> {
        let filter = Filter {
            types: words(query, "type", &Type::ALL, Type::name)?,
            happenings: words(query, "event", &Happening::ALL, Happening::name)?,
            channels: things(query, "channel", IdKind::Channel, origins)?,
            senders: things(query, "sender", IdKind::User, origins)?,
        };
        Ok((filter != Filter::default()).then_some(filter))
    }

    /// Whether the reader wants an event with these facets.
    #[must_use]
    pub fn matches(&self, facets: &Facets) -> bool {
        let takes_messages = (facets.kind, facets.happening) == (Type::Channel, Happening::Deleted);
        let one_of = |wanted: &Option<Vec<Offset>>, is: Option<Offset>| {
            wanted.as_ref().is_none_or(|wanted| is.is_some_and(|is| wanted.binary_search(&is).is_ok()))
        };
        self.types.as_ref().is_none_or(|wanted| {
            wanted.contains(&facets.kind) || (takes_messages && wanted.contains(&Type::Message))
        }) && self.happenings.as_ref().is_none_or(|wanted| wanted.contains(&facets.happening))
            && one_of(&self.channels, facets.channel)
            && (takes_messages || one_of(&self.senders, facets.sender))
    }

    /// Whether an event of this channel could match.
    pub(super) fn may_match_channel(&self, channel: Offset) -> bool {
        self.channels.as_ref().is_none_or(|channels| channels.binary_search(&channel).is_ok())
    }
}

fn values(query: &mut Query, name: &str) -> Result<Option<Vec<String>>, Problem> {
    let values = query.take_all(name);
    if values.len() > VALUES_MAX {
        return Err(Problem::new(Code::BadQuery, format!("`{name}` is given more than {VALUES_MAX} times")));
    }
    Ok((!values.is_empty()).then_some(values))
}

fn words<T: Copy>(
    query: &mut Query,
    name: &str,
    all: &[T],
    shown: impl Fn(T) -> &'static str,
) -> Result<Option<Vec<T>>, Problem> {
    let Some(values) = values(query, name)? else { return Ok(None) };
    let word = |value: String| {
        all.iter().copied().find(|known| shown(*known) == value).ok_or_else(|| {
            let known: Vec<_> = all.iter().map(|known| shown(*known)).collect();
            Problem::new(Code::BadQuery, format!("`{name}` must be one of {}", known.join(", ")))
        })
    };
    values.into_iter().map(word).collect::<Result<_, _>>().map(Some)
}

fn things(
    query: &mut Query,
    name: &str,
    kind: IdKind,
    origins: &Origins,
) -> Result<Option<Vec<Offset>>, Problem> {
    let Some(values) = values(query, name)? else { return Ok(None) };
    let mut known: Vec<_> = values.iter().filter_map(|id| ids::parse(kind, id, origins)).collect();
    known.sort_unstable();
    Ok(Some(known))
}
