//! Frames read from the log, for readers that are behind the ring. Blocks: call it from a thread that may.

use std::ops::ControlFlow;

use scrollback_log::{Log, Offset};
use scrollback_projections::Origins;

use super::chunk::Builder;
use super::filter::Filter;
use super::frame::Encoder;
use super::ring::Taken;
use super::{Position, StreamError};
use crate::figures::figures;

/// How many records are looked at for one chunk or one page: a filter that matches little must not hold a reading
/// thread, or a client that waits for a sign of life, for long.
const RECORDS_MAX: usize = 16_384;
/// Room for the frame that makes a chunk full.
const LAST_FRAME_BYTES: usize = 1 << 10;

/// Cuts the frames in `after..=to` into chunks of about `bytes_max` bytes and gives each to `emit`, with where it ends, until
/// that breaks. A chunk is empty when many records in a row do not pass the filter.
pub(super) fn chunks(
    log: &Log,
    origins: &Origins,
    (after, to): (Offset, Offset),
    bytes_max: usize,
    filter: Option<&Filter>,
    emit: &mut dyn FnMut(Taken) -> ControlFlow<()>,
) -> Result<(), StreamError> {
    let empty = || Builder::with_capacity(bytes_max + LAST_FRAME_BYTES);
    let (mut chunk, mut looked, mut through, mut newest) = (empty(), 0, None, None);
    let mut replayed = 0;
    let (mut encoder, mut failed) = (Encoder::new(origins), None);
    log.scan(after.next(), to, &mut |record| {
        let start = chunk.out().len();
        match encoder.encode(&record, chunk.out()) {
            Ok(Some(frame)) if filter.is_none_or(|filter| filter.matches(&frame.facets)) => {
                newest = Some(record.offset);
                replayed += 1;
            }
            Ok(_) => chunk.out().truncate(start),
            Err(error) => {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        }
        looked += 1;
        let position = Position { offset: record.offset, tag: record.tag };
        if chunk.len() < bytes_max && looked < RECORDS_MAX {
            through = Some(position);
            return ControlFlow::Continue(());
        }
        (looked, through) = (0, None);
        let chunk = std::mem::replace(&mut chunk, empty()).finish();
        emit(Taken { chunk, through: position, newest: newest.take() })
    })?;
    figures().replayed_events.increment(replayed);
    if let Some(error) = failed {
        return Err(error.into());
    }
    if let Some(through) = through {
        // It is the last one, so whether more is wanted makes no difference.
        let _ = emit(Taken { chunk: chunk.finish(), through, newest });
    }
    Ok(())
}

/// Shows the JSON of each event in `after..=to` that passes the filter, until `visit` says no to one, which counts as not
/// read, or very many records were looked at. Returns where the reader stands then; none when it did not move.
pub(super) fn each_json(
    log: &Log,
    origins: &Origins,
    (after, to): (Offset, Offset),
    filter: Option<&Filter>,
    visit: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<Option<Position>, StreamError> {
    let (mut bytes, mut looked, mut through) = (Vec::new(), 0, None);
    let mut replayed = 0;
    let (mut encoder, mut failed) = (Encoder::new(origins), None);
    log.scan(after.next(), to, &mut |record| {
        bytes.clear();
        let frame = match encoder.encode(&record, &mut bytes) {
            Ok(frame) => frame.filter(|frame| filter.is_none_or(|filter| filter.matches(&frame.facets))),
            Err(error) => {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        };
        if let Some(frame) = &frame
            && !visit(&bytes[frame.json(bytes.len())])
        {
            return ControlFlow::Break(());
        }
        replayed += u64::from(frame.is_some());
        looked += 1;
        through = Some(Position { offset: record.offset, tag: record.tag });
        if looked < RECORDS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    figures().replayed_events.increment(replayed);
    failed.map_or(Ok(through), |error| Err(error.into()))
}
