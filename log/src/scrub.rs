//! The slow check that runs beside a server: damage in records that nobody reads is found all the same.

use std::ops::ControlFlow;

use crate::{Log, Offset, ReadError};

/// Where the check has come to. It goes round the log for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrub {
    checked: Offset,
}

impl Scrub {
    /// A check that will go on after the record `checked`.
    #[must_use]
    pub fn after(checked: Offset) -> Scrub {
        Scrub { checked }
    }

    /// The last record that was checked; at the head, a round is complete.
    #[must_use]
    pub fn checked(&self) -> Offset {
        self.checked
    }

    /// Checks the next `records` records and gives how many there were: fewer at the end of a round, after which the
    /// next step begins again at the first record.
    ///
    /// # Errors
    /// The damage that was found. The next step goes on behind it.
    pub fn step(&mut self, log: &Log, records: u64) -> Result<u64, ReadError> {
        let head = log.head().offset;
        if self.checked >= head {
            self.checked = Offset::BEGINNING;
        }
        let from = self.checked.next();
        let to = self.checked.plus(records).min(head);
        let mut count = 0;
        let outcome = log.scan(from, to, &mut |record| {
            self.checked = record.offset;
            count += 1;
            ControlFlow::Continue(())
        });
        if outcome.is_err() {
            self.checked = self.checked.next();
        }
        outcome.map(|()| count)
    }
}
