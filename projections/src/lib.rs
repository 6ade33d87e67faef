//! Projections: what the log's records add up to.
//!
//! A *fact* ([`facts`]) is what one record says. The *views* ([`Views`]) are what all facts up to some offset add up to:
//! people, channels and their members, the sets of live messages, open invitations, idempotency keys. [`Views::apply`] is the whole
//! fold: a pure step from views and record to views, which reads no clock and refuses, loudly, what contradicts the
//! records before it. Texts stay in the log: of messages the views hold offsets only.
//!
//! Views are disposable. A *checkpoint* ([`checkpoint`]) stores them so that a start does not read the whole log, in one
//! canonical form: the same records give the same bytes, whatever way the views came about. [`open_views`] loads it,
//! folds what follows, and masks the texts whose deletion is not yet carried out.
//!
//! ```
//! use scrollback_log::{ChainValue, Offset, Origin, Sealed, Timestamp};
//! use scrollback_projections::facts::{self, OriginStarted};
//! use scrollback_projections::{ViewSettings, Views};
//!
//! let origin = Origin::draw();
//! let (offset, time) = (Offset::FIRST, Timestamp(1_000_000));
//! let record = facts::record(&OriginStarted { origin })?;
//! let sealed = Sealed { offset, time, record, salt: [0; 16], chain: ChainValue::BEGINNING };
//!
//! let mut views = Views::new(ViewSettings::default());
//! views.apply(&sealed.as_record())?;
//! assert_eq!(views.at(), Offset::FIRST);
//! assert_eq!(views.origins().at(Offset(1)), Some(origin));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod audit;
mod channels;
pub mod checkpoint;
pub mod facts;
pub mod format0;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod imports;
mod invitations;
mod keys;
mod memberships;
mod messages;
mod origins;
mod people;
mod pieces;
mod rebuild;
mod registry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod times;
mod views;

pub use audit::Audit;
pub use channels::{Channel, Channels};
pub use checkpoint::{CheckpointError, RebuildReason};
pub use imports::{ImportStep, Imports};
pub use invitations::{Invitation, Invitations};
pub use keys::Keys;
pub use memberships::Memberships;
pub use messages::{ChannelMessages, Messages};
pub use origins::Origins;
pub use people::{People, Person};
pub use rebuild::{
    CheckpointState, OpenViewsError, Opened, Progress, fold_on, open_views, rebuild, rebuild_to,
};
pub use registry::{HasName, Registry};
pub use times::TimeIndex;
pub use views::{Contradiction, FoldError, Named, Part, ViewSettings, Views};
