//! How many events are under way to a client and not acknowledged.

use std::collections::VecDeque;

use scrollback_log::Offset;

/// How many messages are counted each for itself; later ones count as one.
const MESSAGES_MAX: usize = 64;

/// Counts events by the messages they went in: no event is kept, and a message counts as a whole until its last event is
/// acknowledged.
#[derive(Debug)]
pub(super) struct Flight {
    window: usize,
    under_way: usize,
    /// The newest event of each message and how many it had, the oldest first.
    messages: VecDeque<(Offset, usize)>,
}

impl Flight {
    /// Nothing under way, of at most `window` events.
    pub(super) fn new(window: usize) -> Flight {
        Flight { window, under_way: 0, messages: VecDeque::new() }
    }

    /// How many events may follow.
    pub(super) fn room(&self) -> usize {
        self.window.saturating_sub(self.under_way)
    }

    /// A message with so many events, up to `newest`, is under way.
    pub(super) fn add(&mut self, newest: Offset, events: usize) {
        self.under_way += events;
        if self.messages.len() < MESSAGES_MAX {
            self.messages.push_back((newest, events));
        } else if let Some((last, before)) = self.messages.back_mut() {
            (*last, *before) = (newest, *before + events);
        }
    }

    /// All up to `offset` is acknowledged.
    pub(super) fn acknowledge(&mut self, offset: Offset) {
        while let Some((_, events)) = self.messages.pop_front_if(|(newest, _)| *newest <= offset) {
            self.under_way -= events;
        }
        if self.messages.is_empty() {
            // A client that keeps up has nothing under way for most of its life.
            self.messages = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn never_more_than_the_window_is_under_way_and_what_is_acknowledged_makes_room(
            window in 1_usize..200, steps in proptest::collection::vec((any::<bool>(), 1_usize..9), 0..300),
        ) {
            let mut flight = Flight::new(window);
            let (mut sent, mut acknowledged) = (0_u64, 0_u64);
            for (acknowledges, many) in steps {
                if acknowledges {
                    acknowledged = (acknowledged + many as u64).min(sent);
                    flight.acknowledge(Offset(acknowledged));
                } else {
                    let events = many.min(flight.room());
                    sent += events as u64;
                    if events > 0 {
                        flight.add(Offset(sent), events);
                    }
                }
                let open = (sent - acknowledged) as usize;
                prop_assert!(open <= window);
                prop_assert!(flight.room() <= window - open, "more than there is room for");
            }
            flight.acknowledge(Offset(sent));
            prop_assert_eq!(flight.room(), window);
        }
    }
}
