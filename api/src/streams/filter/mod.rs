//! Which events a reader wants.
//!
//! A *condition* is `[attribute, operator, operand]`, a *filter* a list of conditions that must all hold, and *filters* are
//! a list of filters of which one must:
//!
//! ```json
//! [[["type", "=", "message"], ["channel", "in", ["C...", "C..."]]], [["event", "=", "deleted"]]]
//! ```
//!
//! They mean what they say of the event's JSON, and nothing else: what the event does not have is null, `!=` is exactly
//! what `=` is not, and `not in` what `in` is not. Beside them, in a query, stand the simple `parameters`, with a rule or
//! two of their own.

pub(super) mod condition;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod parameters;
pub(super) mod parse;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod show;
#[cfg(test)]
mod tests;
pub(super) mod words;

use std::sync::Arc;

use scrollback_log::Offset;
use scrollback_projections::Origins;
use serde_json::Value;

pub use error::{ConditionError, FilterError};

use super::frame::Facets;
use crate::http::problem::{Code, Problem};
use crate::http::query::Query;
use condition::Filter;
use parameters::Parameters;

/// The most filters of a reader.
pub const FILTERS_MAX: usize = 32;
/// The most conditions of one filter.
pub const CONDITIONS_MAX: usize = 16;
/// The most values of one list, and of one simple parameter.
pub const VALUES_MAX: usize = 100;
/// The most values in all conditions of a reader's filters together.
pub const VALUES_IN_ALL_MAX: usize = 1_000;

/// What a reader asked for: one of its filters must hold, if there are any, and all of the simple parameters.
///
/// Two that say the same in another order, or twice, are equal. Cheap to clone: a reader's are held in several places.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filters(Arc<Parts>);

#[derive(Debug, Default, PartialEq, Eq, Hash)]
struct Parts {
    /// Sorted, each once. None of them: everything.
    any: Vec<Filter>,
    parameters: Parameters,
}

impl Filters {
    /// Reads a list of filters. `[[]]`, a filter without conditions, is everything; `[]`, no filter at all, could be meant as
    /// nothing or as everything and is refused. An empty list of values is no value: `in` it is nothing, `not in` it all.
    ///
    /// # Errors
    /// For anything else, which and where.
    pub fn from_json(json: &Value, origins: &Origins) -> Result<Filters, FilterError> {
        let filters = json.as_array().ok_or(FilterError::NotAList)?;
        if filters.is_empty() {
            return Err(FilterError::Empty);
        }
        Filters::all_of(filters, Parameters::default(), origins)
    }

    /// Takes the parameters `filter`, each a filter as JSON, and `type`, `event`, `channel` and `sender` from a query. Without
    /// any it is everything.
    ///
    /// # Errors
    /// [`Code::BadQuery`] when a filter is none, a type or event is unknown, or there are too many.
    pub fn take(query: &mut Query, origins: &Origins) -> Result<Filters, Problem> {
        let parameters = Parameters::take(query, origins)?;
        let texts = query.take_all("filter");
        // Before any of them is read.
        parse::check_count(texts.len()).map_err(refused)?;
        let read = |(place, text): (usize, &String)| {
            serde_json::from_str(text)
                .map_err(|error| FilterError::NotJson { filter: place + 1, why: error.to_string() })
        };
        let filters: Vec<Value> =
            texts.iter().enumerate().map(read).collect::<Result<_, _>>().map_err(refused)?;
        Filters::all_of(&filters, parameters, origins).map_err(refused)
    }

    fn all_of(filters: &[Value], parameters: Parameters, origins: &Origins) -> Result<Filters, FilterError> {
        parse::check_count(filters.len())?;
        let read = |(place, filter)| parse::filter(filter, place + 1, origins);
        let any = filters.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Filters::of(any, parameters)
    }

    /// Filters of which one must hold; everything if there are none.
    ///
    /// # Errors
    /// When they name more than [`VALUES_IN_ALL_MAX`] values.
    pub(super) fn any_of(filters: Vec<Filter>) -> Result<Filters, FilterError> {
        Filters::of(filters, Parameters::default())
    }

    fn of(mut any: Vec<Filter>, parameters: Parameters) -> Result<Filters, FilterError> {
        // With one that takes all, the others choose nothing.
        if any.iter().any(Filter::is_everything) {
            any.clear();
        }
        any.sort_unstable();
        any.dedup();
        let filters = Filters(Arc::new(Parts { any, parameters }));
        match filters.values() {
            0..=VALUES_IN_ALL_MAX => Ok(filters),
            count => Err(FilterError::TooManyValues { count }),
        }
    }

    /// Whether every event is wanted.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.any.is_empty() && self.0.parameters.is_everything()
    }

    /// How many ids, numbers and times all conditions name: what the filters take in memory.
    #[must_use]
    pub fn values(&self) -> usize {
        self.0.any.iter().map(Filter::values).sum::<usize>() + self.0.parameters.values()
    }

    /// Whether the reader wants an event with these facets.
    #[must_use]
    pub fn matches(&self, facets: &Facets) -> bool {
        let Parts { any, parameters } = &*self.0;
        parameters.matches(facets) && (any.is_empty() || any.iter().any(|filter| filter.matches(facets)))
    }

    /// Whether the reader could want an event of this channel.
    pub(super) fn may_match_channel(&self, channel: Offset) -> bool {
        let Parts { any, parameters } = &*self.0;
        parameters.may_match_channel(channel)
            && (any.is_empty() || any.iter().any(|filter| filter.may_match_channel(channel)))
    }
}

fn refused(error: FilterError) -> Problem {
    Problem::new(Code::BadQuery, error.to_string())
}
