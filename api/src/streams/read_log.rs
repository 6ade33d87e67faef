//! Frames read from the log, for readers that are behind the ring. Blocks: call it from a thread that may.

use std::ops::ControlFlow;

use scrollback_log::{Log, Offset};

use super::cut::{Cut, Cutter, Taken};
use super::frame::Encoder;
use super::selection::Selection;
use super::{Known, Position, StreamError};
use crate::figures::figures;

/// How many records are looked at for one chunk: a selection that wants little must not hold a reading thread, or a client
/// that waits for a sign of life, for long.
const RECORDS_MAX: usize = 16_384;
/// Room that a chunk has from the start.
const CAPACITY_MAX: usize = 64 << 10;

/// Cuts what the selection wants in `after..=to` into chunks and gives each to `emit`, with where it ends, until that breaks.
/// A chunk is empty when many records in a row are not wanted. What lies before damage is given as well.
pub(super) fn chunks(
    log: &Log,
    known: &Known,
    (after, to): (Offset, Offset),
    cut: Cut,
    selection: &Selection,
    emit: &mut dyn FnMut(Taken) -> ControlFlow<()>,
) -> Result<(), StreamError> {
    let empty = || Cutter::new(cut, cut.bytes_max.min(CAPACITY_MAX));
    let (mut cutter, mut looked) = (empty(), 0);
    let (mut encoder, mut failed) = (Encoder::new(&known.origins, &known.private), None);
    let (mut bytes, mut replayed, mut broken) = (Vec::new(), 0, false);
    let mut give = |cutter: Cutter| cutter.finish().map_or(ControlFlow::Continue(()), &mut *emit);
    let scanned = log.scan(after.next(), to, &mut |record| {
        bytes.clear();
        let frame = match encoder.encode(&record, &mut bytes) {
            Ok(frame) => frame.filter(|frame| selection.wants(frame)),
            Err(error) => {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        };
        let place = Position { offset: record.offset, tag: record.tag };
        if looked >= RECORDS_MAX || frame.as_ref().is_some_and(|frame| !cutter.has_room(frame, &bytes)) {
            looked = 0;
            if give(std::mem::replace(&mut cutter, empty())).is_break() {
                broken = true;
                return ControlFlow::Break(());
            }
        }
        looked += 1;
        match frame {
            Some(frame) => {
                cutter.push(place, &frame, &bytes);
                replayed += 1;
            }
            None => cutter.pass(place),
        }
        ControlFlow::Continue(())
    });
    figures().replayed_events.increment(replayed);
    if !broken {
        // It is the last one, so whether more is wanted makes no difference.
        let _ = give(cutter);
    }
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(scanned.map(drop)?),
    }
}
