//! `verify`: is every record what was written?

use scrollback_api::node;
use serde_json::json;

use crate::cli::Common;
use crate::exit::Stop;
use crate::output::{Progress, tell};

pub(crate) fn run(common: &Common) -> anyhow::Result<()> {
    let mut progress = Progress::start("verifying", common);
    let report = node::verify(&common.data, &mut |at| progress.fold(at));
    progress.end();
    let report = report?;
    let damage: Vec<_> = report
        .damage
        .iter()
        .map(|found| format!("{}: record {}: {}", found.place, found.offset, found.what))
        .collect();
    let value = json!({
        "head": report.head.offset, "records": report.records, "texts": report.texts, "tombstones": report.tombstones,
        "damage": damage, "damage_count": report.damage_count,
    });
    let verdict = match (report.damage_count, damage.len() as u64) {
        (0, _) => "all good".to_owned(),
        (all, listed) if all > listed => format!("DAMAGED\n{}\nand {} more", damage.join("\n"), all - listed),
        _ => format!("DAMAGED\n{}", damage.join("\n")),
    };
    let text = format!(
        "{} records up to offset {}, {} texts, {} tombstones: {verdict}",
        report.records, report.head.offset, report.texts, report.tombstones
    );
    tell(common, &text, &value)?;
    if report.damage_count == 0 {
        return Ok(());
    }
    let told = format!(
        "the log is damaged in {} places; docs/operations.md says what can be done",
        report.damage_count
    );
    Err(Stop::Damage(told).into())
}
