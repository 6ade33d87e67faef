//! What the recorded child does: appends batches of several sizes, deletes some texts, erases them.

use std::io::Write;
use std::path::PathBuf;

use scrollback_log::data_dir::DataDir;
use scrollback_log::{Deletion, Kind, LogOptions, NewRecord, Offset, Schema, Timestamp};

/// Names the data directory to the child; without it the workload does nothing.
pub(crate) const DIR_VARIABLE: &str = "SCROLLBACK_POWER_CUT_DIR";
const BATCHES: u64 = 150;

#[test]
#[ignore = "run by the power cut tests under strace"]
fn appends_and_erases_for_its_parent() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else { return };
    let dir = DataDir::create_or_open(&PathBuf::from(dir)).unwrap();
    let (log, mut appender) = scrollback_log::open(&dir, &LogOptions::default()).unwrap();
    for batch in 0..BATCHES {
        let records = (0..1 + batch * 7 % 40).map(|number| record(batch, number)).collect();
        let sealed = appender.append(Timestamp(i64::try_from(batch).unwrap()), records).unwrap();
        let last = sealed.last().unwrap();
        if batch % 5 == 4 {
            // The record just written stands for the deletion of a few that came before it.
            let deletion = Deletion { offset: last.offset, time: last.time };
            log.mask(deletion, (last.offset.0 / 2..last.offset.0 / 2 + 4).collect());
        }
        appender.publish();
        let chain: String = last.chain.0.iter().map(|byte| format!("{byte:02x}")).collect();
        // One write call, after the sync and unbuffered: this is the moment a client would be told.
        std::io::stdout().write_all(format!("acked {} {chain}\n", last.offset).as_bytes()).unwrap();
        std::io::stdout().flush().unwrap();
        if batch % 10 == 9 {
            appender.erase_step().unwrap();
        }
    }
    appender.sync_witness().unwrap();
}

fn record(batch: u64, number: u64) -> NewRecord {
    let text = format!(
        "batch {batch} record {number} {}",
        "word ".repeat(usize::try_from(batch * number % 60).unwrap())
    );
    NewRecord {
        kind: Kind(6),
        schema: Schema(1),
        kept: Offset(batch).0.to_le_bytes().to_vec(),
        text: Some(text.into_bytes()),
    }
}
