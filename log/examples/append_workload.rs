//! Appends seeded batches of records to a data directory and erases some of their texts: the workload under which
//! power cuts, killed processes and failing disks are tried out.
//!
//! `append_workload DIR SEED BATCHES` prints one line per acknowledged step, unbuffered:
//! `acked OFFSET CHAINHEX` once everything up to OFFSET is durable, `erased OFFSET` once that record's text is gone
//! from the log's records. A text is `text SEED OFFSET ` and more of the same, so that whoever checks can tell it.

use std::io::Write;
use std::path::Path;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use roaring::RoaringTreemap;
use scrollback_log::data_dir::DataDir;
use scrollback_log::{Deletion, Kind, LogOptions, NewRecord, Offset, Schema, Timestamp};

/// The kind of a record that stands for a message.
const MESSAGE: Kind = Kind(1);
/// The kind of a record that stands for the deletion of the message whose offset is its kept part.
const DELETION: Kind = Kind(2);
const SCHEMA: Schema = Schema(1);
const BATCH_RECORDS_MAX: u64 = 40;
const TEXT_REPEATS_MAX: u64 = 40;
/// One text in so many is long enough to need several stored values.
const LONG_TEXT_ONE_IN: u64 = 200;
const LONG_TEXT_REPEATS: u64 = 1500;
/// One batch in so many is a deletion.
const DELETION_ONE_IN: u64 = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(dir), Some(seed), Some(batches)) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: append_workload DIR SEED BATCHES".into());
    };
    let (seed, batches): (u64, u64) = (seed.parse()?, batches.parse()?);
    let dir = DataDir::create_or_open(Path::new(&dir))?;
    let (log, mut appender) = scrollback_log::open(&dir, &LogOptions::default())?;
    let mut random = SmallRng::seed_from_u64(seed);
    let mut out = std::io::stdout();
    for _ in 0..batches {
        let head = log.head();
        let time = Timestamp(head.time.0 + 1);
        let target = Offset(random.random_range(1..=head.offset.0.max(1)));
        let deletes = head.offset >= Offset::FIRST && random.random_range(0..DELETION_ONE_IN) == 0;
        let is_message = deletes && log.read(target, |record| record.kind == MESSAGE)? == Some(true);
        let records = if is_message {
            vec![NewRecord {
                kind: DELETION,
                schema: SCHEMA,
                kept: target.0.to_le_bytes().into(),
                text: None,
            }]
        } else {
            let count = random.random_range(1..=BATCH_RECORDS_MAX);
            (1..=count).map(|place| message(seed, head.offset.plus(place), &mut random)).collect()
        };
        appender.append(time, records)?;
        if is_message {
            let deletion = Deletion { offset: appender.head().offset, time };
            log.mask(deletion, RoaringTreemap::from_iter([target.0]));
        }
        appender.publish();
        let head = log.head();
        let chain: String = head.chain.0.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(out, "acked {} {chain}", head.offset)?;
        out.flush()?;
        if is_message {
            while appender.erase_step()? {}
            writeln!(out, "erased {target}")?;
            out.flush()?;
        }
    }
    appender.sync_witness()?;
    Ok(())
}

fn message(seed: u64, offset: Offset, random: &mut SmallRng) -> NewRecord {
    let long = random.random_range(0..LONG_TEXT_ONE_IN) == 0;
    let repeats = if long { LONG_TEXT_REPEATS } else { random.random_range(1..=TEXT_REPEATS_MAX) };
    let text: String =
        (0..repeats).map(|_| format!("text {seed} {offset} {:08x} ", random.random::<u32>())).collect();
    NewRecord { kind: MESSAGE, schema: SCHEMA, kept: offset.0.to_le_bytes().into(), text: Some(text.into()) }
}
