//! The places that streams begin at when they are asked for by number or by time.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use scrollback_log::{Offset, Timestamp};

use super::frame::Encoder;
use super::selection::Selection;
use super::{Ending, Position, StreamError, Streams};

/// How many records of the log are looked at before others may read it too. Few in tests, so that streams begin everywhere
/// in a block.
const BLOCK_RECORDS: u64 = if cfg!(test) { 100 } else { 4_096 };

impl Streams {
    /// The place before the newest `count` events between these two places that the selection wants; before the oldest of
    /// them when there are fewer, and the later place when there is none: so nothing is looked at twice. Looks back, in the
    /// ring, then in the log. The later place must be at or below the head.
    ///
    /// # Errors
    /// When the log cannot be read; [`StreamError::Stopping`] when the server stops meanwhile.
    pub(super) async fn before_last(
        self: &Arc<Self>,
        count: u64,
        selection: &Arc<Selection>,
        (after, latest): (Offset, Position),
    ) -> Result<Position, StreamError> {
        let (mut left, mut oldest) = (count, None);
        let in_ring = self.ring.each_back(latest.offset, |offset, frame| {
            if offset <= after {
                return false;
            }
            if selection.wants(frame) {
                oldest = Some(offset);
                left -= 1;
            }
            left > 0
        });
        let mut to = in_ring.map_or(latest.offset, |reached| Offset(reached.0 - 1));
        while left > 0 && to > after {
            if self.pulse.borrow().ending == Some(Ending::Shutdown) {
                return Err(StreamError::Stopping);
            }
            let (from, selection) =
                (Offset(to.0.saturating_sub(BLOCK_RECORDS)).max(after), Arc::clone(selection));
            let newest = move |streams: &Streams| streams.newest_in((from, to), left, &selection);
            let found = self.on_log(newest).await?;
            left -= found.len() as u64;
            oldest = found.front().copied().or(oldest);
            to = from;
        }
        match oldest {
            None => Ok(latest),
            Some(oldest) => self.before(oldest).await,
        }
    }

    /// The place before the first record that was written at `time` or later; the head when there is none yet.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(super) async fn before_time(self: &Arc<Self>, time: Timestamp) -> Result<Position, StreamError> {
        let head = self.log.head();
        if head.time < time {
            return Ok(head.into());
        }
        let first = move |streams: &Streams| {
            // Few records lie between what the index says and the first that is late enough.
            let from = streams.look(|views| views.times().floor(time));
            let mut first = None;
            streams.log.scan(from, head.offset, &mut |record| {
                if record.time < time {
                    return ControlFlow::Continue(());
                }
                first = Some(record.offset);
                ControlFlow::Break(())
            })?;
            Ok(first)
        };
        match self.on_log(first).await? {
            None => Ok(head.into()),
            Some(first) => self.before(first).await,
        }
    }

    /// The place before a record of the log.
    async fn before(self: &Arc<Self>, record: Offset) -> Result<Position, StreamError> {
        let position = self.position(Offset(record.0 - 1)).await?;
        // Whatever is at or below the head has a place, and the beginning too.
        position.ok_or(StreamError::Died)
    }

    /// The newest `count` events between these two places that the selection wants, in order. Blocks.
    fn newest_in(
        &self,
        (after, to): (Offset, Offset),
        count: u64,
        selection: &Selection,
    ) -> Result<VecDeque<Offset>, StreamError> {
        let known = self.known();
        let (mut encoder, mut bytes, mut failed) =
            (Encoder::new(&known.origins, &known.private), Vec::new(), None);
        let mut found = VecDeque::new();
        self.log.scan(after.next(), to, &mut |record| {
            bytes.clear();
            match encoder.encode(&record, &mut bytes) {
                Ok(Some(frame)) if selection.wants(&frame) => {
                    if found.len() as u64 == count {
                        found.pop_front();
                    }
                    found.push_back(record.offset);
                }
                Ok(_) => {}
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        failed.map_or(Ok(found), |error| Err(error.into()))
    }
}
