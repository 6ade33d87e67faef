//! How many events are under way to a client and not acknowledged.

use std::collections::VecDeque;

use scrollback_log::Offset;

/// Messages that follow each other count as one while they have no more than one part in so many of the window.
const GRAINS: usize = 32;

/// Counts events by the messages they went in: no event is kept. What is acknowledged inside of a message makes room as far
/// as that is sure: there is at most one event for each offset.
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

    /// How many events the next message may have: never more than half the window, so that a client that keeps its newest
    /// event unacknowledged is not left standing.
    pub(super) fn room(&self) -> usize {
        self.window.saturating_sub(self.under_way).min(self.window.div_ceil(2))
    }

    /// A message with so many events, up to `newest`, is under way.
    pub(super) fn add(&mut self, newest: Offset, events: usize) {
        self.under_way += events;
        let grain = self.window / GRAINS;
        match self.messages.back_mut() {
            Some((last, before)) if *before + events <= grain => {
                (*last, *before) = (newest, *before + events)
            }
            _ => self.messages.push_back((newest, events)),
        }
    }

    /// All up to `offset` is acknowledged.
    pub(super) fn acknowledge(&mut self, offset: Offset) {
        while let Some((_, events)) = self.messages.pop_front_if(|(newest, _)| *newest <= offset) {
            self.under_way -= events;
        }
        if let Some((newest, events)) = self.messages.front_mut() {
            let left = usize::try_from(newest.0.saturating_sub(offset.0)).unwrap_or(usize::MAX);
            self.under_way -= events.saturating_sub(left);
            *events = (*events).min(left);
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
                prop_assert!(flight.messages.len() <= 2 * GRAINS + 2);
            }
            flight.acknowledge(Offset(sent));
            prop_assert_eq!(flight.room(), window.div_ceil(2));
        }

        #[test]
        fn a_client_that_keeps_its_newest_event_unacknowledged_is_never_left_standing(
            window in 2_usize..300, sizes in proptest::collection::vec(1_usize..300, 1..60), apart in 1_u64..9,
        ) {
            let mut flight = Flight::new(window);
            let mut sent = 0;
            for size in sizes {
                let events = size.min(flight.room());
                prop_assert!(events > 0, "after {sent}");
                sent += events as u64;
                flight.add(Offset(sent * apart), events);
                flight.acknowledge(Offset((sent - 1) * apart));
            }
        }
    }
}
