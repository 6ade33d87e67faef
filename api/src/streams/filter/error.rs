//! What is wrong with filters, in words and with the place. Places are counted from 1.

use super::{CONDITIONS_MAX, FILTERS_MAX, VALUES_IN_ALL_MAX, VALUES_MAX};

/// Filters that are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Not a list.
    #[error("filters must be a list of filters, each a list of conditions")]
    NotAList,
    /// No filter in the list: it could be meant as nothing or as everything.
    #[error("a list of filters must have one at least; `[[]]` is everything")]
    Empty,
    /// More than [`FILTERS_MAX`].
    #[error("there are {count} filters, and {FILTERS_MAX} at most are taken")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A parameter that is not JSON.
    #[error("filter {filter} is not JSON: {why}")]
    NotJson {
        /// Which filter.
        filter: usize,
        /// What is not.
        why: String,
    },
    /// A filter that is not a list.
    #[error("filter {filter} must be a list of conditions, each `[attribute, operator, operand]`")]
    FilterNotAList {
        /// Which filter.
        filter: usize,
    },
    /// More than [`CONDITIONS_MAX`].
    #[error("filter {filter} has {count} conditions, and {CONDITIONS_MAX} at most are taken")]
    TooManyConditions {
        /// Which filter.
        filter: usize,
        /// How many.
        count: usize,
    },
    /// More than [`VALUES_IN_ALL_MAX`] in all conditions together.
    #[error("all conditions together name {count} values, and {VALUES_IN_ALL_MAX} at most are taken")]
    TooManyValues {
        /// How many.
        count: usize,
    },
    /// A condition that is none.
    #[error("condition {condition} of filter {filter}: {error}")]
    Condition {
        /// Which condition of the filter.
        condition: usize,
        /// Which filter.
        filter: usize,
        /// What is wrong with it.
        error: ConditionError,
    },
}

/// A condition that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// Not a list of three, or the first two are not text.
    #[error("it must be a list of three, `[attribute, operator, operand]`, the first two of them text")]
    NotATriple,
    /// No such attribute.
    #[error("there is no attribute {0}; it must be one of type, event, channel, sender, at, offset")]
    Attribute(String),
    /// No such operator.
    #[error("there is no operator {0}; it must be one of =, !=, <, <=, >, >=, in, not in")]
    Operator(String),
    /// An operator of order, and an attribute that has none.
    #[error("`{operator}` can only be asked of at and offset, not of {attribute}")]
    NoOrder {
        /// The attribute.
        attribute: &'static str,
        /// The operator.
        operator: &'static str,
    },
    /// `in` or `not in`, and no list.
    #[error("the operand of `{operator}` must be a list")]
    NoList {
        /// The operator.
        operator: &'static str,
    },
    /// More than [`VALUES_MAX`].
    #[error("the list has {count} values, and {VALUES_MAX} at most are taken")]
    TooManyValues {
        /// How many.
        count: usize,
    },
    /// A value that the attribute cannot have.
    #[error("{value} is not a value of {attribute}, which must be {wanted}")]
    Value {
        /// The value, shortened.
        value: String,
        /// The attribute.
        attribute: &'static str,
        /// What its values are.
        wanted: String,
    },
}
