//! The JSON of requests and answers: a flat table, read by serde for the wire and by utoipa for the document.

mod accounts;
mod channels;
mod messages;
mod operation;
mod watches;

use std::borrow::Cow;

use scrollback_log::Timestamp;
use scrollback_projections::facts::Role as RoleFact;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::timestamps;

pub(super) use accounts::*;
pub(super) use channels::*;
pub(super) use messages::*;
pub(super) use operation::*;
pub(crate) use watches::*;

/// A time: RFC 3339 in UTC, with microseconds and `Z`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time(pub(super) Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&timestamps::show(self.0))
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .pattern(Some(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$"))
            .description(Some("RFC 3339 in UTC, with microseconds and `Z`"))
            .into()
    }
}

impl ToSchema for Time {
    fn name() -> Cow<'static, str> {
        "Time".into()
    }
}

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    /// Talks, and deletes what is their own.
    Member,
    /// Also deletes what is others'.
    Moderator,
    /// Also changes users.
    Owner,
}

impl From<RoleFact> for Role {
    fn from(role: RoleFact) -> Role {
        match role {
            RoleFact::Member => Role::Member,
            RoleFact::Moderator => Role::Moderator,
            RoleFact::Owner => Role::Owner,
        }
    }
}

impl From<Role> for RoleFact {
    fn from(role: Role) -> RoleFact {
        match role {
            Role::Member => RoleFact::Member,
            Role::Moderator => RoleFact::Moderator,
            Role::Owner => RoleFact::Owner,
        }
    }
}

/// The body of calls that need none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// A whole number that may be left out but not be null. To JSON 3.0 is one, too.
fn whole<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    /// The first that is no `int64` of the description any more.
    const END: f64 = 9_223_372_036_854_775_808.0;
    let number = serde_json::Number::deserialize(deserializer)?;
    // The cast is exact: what it is asked for is whole and small enough.
    let whole = number.as_u64().or_else(|| {
        number
            .as_f64()
            .filter(|float| float.fract() == 0.0 && (0.0..END).contains(float))
            .map(|float| float as u64)
    });
    let whole = whole.filter(|whole| i64::try_from(*whole).is_ok());
    whole.map(Some).ok_or_else(|| serde::de::Error::custom("a number must be whole, from 0 to 2^63 - 1"))
}

/// A field that may be left out but not be null: whoever passes on a token that is null would else begin anew with all there is.
pub(crate) fn some<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
