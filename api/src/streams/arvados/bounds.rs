//! Where in the log all lies that a filter can match: so a list begins and ends there.

use scrollback_log::{Offset, Timestamp};

use crate::streams::filter::condition::{Condition, Filter, Side, Test};

/// Between which places of the log all lies that a filter can match, as far as its conditions on places say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Nothing at or before this.
    pub(super) after: Offset,
    /// Nothing behind this.
    pub(super) to: Offset,
    /// Nothing that was written before this.
    pub(super) since: Option<Timestamp>,
}

impl Bounds {
    /// Those of a filter.
    pub(super) fn of(filter: &Filter) -> Bounds {
        // So that nothing is read for what nothing can be.
        if filter.is_nothing() {
            return Bounds { after: Offset::BEGINNING, to: Offset::BEGINNING, since: None };
        }
        let mut bounds = Bounds { after: Offset::BEGINNING, to: Offset(u64::MAX), since: None };
        for condition in &filter.conditions {
            match condition {
                Condition::Offset(Test::Side(side, bound)) => match side {
                    Side::Above => bounds.after = bounds.after.max(*bound),
                    Side::From => bounds.after = bounds.after.max(before(*bound)),
                    Side::Below => bounds.to = bounds.to.min(before(*bound)),
                    Side::UpTo => bounds.to = bounds.to.min(*bound),
                },
                Condition::Offset(Test::Among(among)) => {
                    if let Some((first, last)) = among.range() {
                        bounds.after = bounds.after.max(before(*first));
                        bounds.to = bounds.to.min(*last);
                    }
                }
                Condition::RecordedAt(Test::Side(Side::Above | Side::From, time)) => {
                    bounds.since = bounds.since.max(Some(*time));
                }
                _ => {}
            }
        }
        bounds
    }
}

fn before(offset: Offset) -> Offset {
    Offset(offset.0.saturating_sub(1))
}
