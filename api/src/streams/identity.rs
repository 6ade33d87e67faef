//! Whether whoever opened a stream may go on at all.

use std::sync::Arc;

use super::{Bye, Ending, Pulse, Reader};

/// A reader, asked again whenever somebody's identity was revoked.
pub(super) struct Identity {
    pub(super) reader: Arc<dyn Reader>,
    /// How many revocations there had been when the reader was last asked; none before the first time.
    revocations: Option<u64>,
}

impl Identity {
    /// One that was not asked yet.
    pub(super) fn new(reader: Arc<dyn Reader>) -> Identity {
        Identity { reader, revocations: None }
    }

    /// Looks for what ends all that the reader has open at once.
    pub(super) fn look(&mut self, pulse: &Pulse) -> Result<(), Bye> {
        if self.revocations != Some(pulse.revocations) {
            self.revocations = Some(pulse.revocations);
            if !self.reader.is_live() {
                return Err(Bye::Revoked);
            }
        }
        if pulse.ending == Some(Ending::Storage) { Err(Bye::Storage) } else { Ok(()) }
    }
}
