//! `verify`: is every record what was written? With `--live`: are the running views what the log adds up to?

use std::time::Duration;

use anyhow::Context;
use scrollback_api::node;
use serde_json::json;

use crate::cli::{Common, Verify};
use crate::exit::Stop;
use crate::output::{Progress, tell};
use crate::remote::Remote;

/// How long between two looks at a check that runs on a server.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(crate) fn run(common: &Common, typed: &Verify) -> anyhow::Result<()> {
    if !typed.live {
        return offline(common);
    }
    let remote = Remote::of(&typed.from)?.context("--live wants --server URL")?;
    live(common, &remote)
}

/// Has a running server compare its views with its log, and waits for the verdict.
fn live(common: &Common, remote: &Remote) -> anyhow::Result<()> {
    let mut progress = Progress::start("folding", common);
    let mut check = remote.start_check();
    let outcome = loop {
        match check {
            Ok(running) if running.state == "running" => {
                progress.at(running.at.unwrap_or(0), running.head.unwrap_or(0));
                std::thread::sleep(LOOK_EVERY);
                check = remote.check();
            }
            other => break other,
        }
    };
    progress.end();
    let check = outcome?;
    let at = check.at.unwrap_or(0);
    let value = serde_json::to_value(&check).context("the server's answer cannot be printed")?;
    match check.state.as_str() {
        "equal" => {
            let digest = check.digest.unwrap_or_default();
            tell(
                common,
                &format!("the running views are what {at} records add up to, digest {digest}"),
                &value,
            )
        }
        "different" => {
            let parts = check.differs.unwrap_or_default().join(", ");
            let text = format!("at record {at} the running views are NOT what the log adds up to: {parts}");
            tell(common, &text, &value)?;
            Err(Stop::Damage("the running views are wrong; docs/operations.md says what can be done".into())
                .into())
        }
        "damaged" => {
            let what = check.what.unwrap_or_default();
            tell(common, &format!("DAMAGED after record {at}: {what}"), &value)?;
            Err(Stop::Damage("the log cannot be folded; docs/operations.md says what can be done".into())
                .into())
        }
        state => anyhow::bail!("no verdict ({state}): {}", check.what.unwrap_or_default()),
    }
}

fn offline(common: &Common) -> anyhow::Result<()> {
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
