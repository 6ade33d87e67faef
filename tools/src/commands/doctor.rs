//! `doctor`: is this machine fit to keep what the server promises?
//!
//! Each check looks at one thing and says what it saw. What cannot be seen from here is said too: a check that passes must
//! not promise more than it has looked at. Nothing is changed: what must be written to be measured is written into a
//! directory of its own, which goes away at the end, or at the next run when this one was killed.

mod commits;
mod data;
mod device;
mod disk;
mod machine;
mod scratch;
mod timing;
mod traced;

use serde_json::{Value, json};

use crate::cli::{Common, Doctor};
use crate::exit::Stop;
use crate::output;
use scratch::Scratch;

/// How wide the names of the checks are.
const NAME_COLUMNS: usize = 14;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// As it should be.
    Ok,
    /// The server works, but somebody should know this.
    Warn,
    /// A promise does not hold here.
    Fail,
    /// What is stored is not what was written.
    Damage,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
            Verdict::Damage => "DAMAGE",
        }
    }
}

/// One line of the report.
#[derive(Debug)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    text: String,
}

impl Finding {
    fn new(check: &'static str, verdict: Verdict, text: impl Into<String>) -> Finding {
        Finding { check, verdict, text: text.into() }
    }

    fn ok(check: &'static str, text: impl Into<String>) -> Finding {
        Finding::new(check, Verdict::Ok, text)
    }

    fn warn(check: &'static str, text: impl Into<String>) -> Finding {
        Finding::new(check, Verdict::Warn, text)
    }

    fn fail(check: &'static str, text: impl Into<String>) -> Finding {
        Finding::new(check, Verdict::Fail, text)
    }

    fn json(&self) -> Value {
        json!({ "check": self.check, "verdict": self.verdict.name().to_lowercase(), "text": self.text })
    }
}

pub(crate) fn run(common: &Common, typed: &Doctor) -> anyhow::Result<()> {
    if let Some(dir) = &typed.commit_in {
        return commits::watched(dir);
    }
    let clocks = machine::Clocks::now();
    let mut findings = Vec::new();
    let looked = data::look(&common.data, &mut findings);
    let disk = disk::look(&common.data, typed.free_bytes_min.as_u64(), &mut findings);
    match Scratch::make(&common.data) {
        Ok(scratch) => {
            timing::look(&scratch, typed.syncs, &disk, &mut findings);
            commits::look(&scratch, &disk, &mut findings);
            traced::look(&scratch, typed.no_strace, &mut findings);
            if let Err(error) = scratch.remove() {
                findings.push(Finding::warn("clean-up", format!("{error}; remove it by hand")));
            }
        }
        Err(error) => findings.push(Finding::fail(
            "sync",
            format!("nothing can be written beside the data, so no sync was tried: {error}"),
        )),
    }
    machine::look(typed, &clocks, looked.newest, &mut findings);
    report(common, &findings)
}

fn report(common: &Common, findings: &[Finding]) -> anyhow::Result<()> {
    let worst = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
    let lines: Vec<String> = findings
        .iter()
        .map(|Finding { check, verdict, text }| {
            format!("{:<6} {check:<NAME_COLUMNS$} {text}", verdict.name())
        })
        .collect();
    let listed: Vec<Value> = findings.iter().map(Finding::json).collect();
    output::tell(
        common,
        &lines.join("\n"),
        &json!({ "verdict": worst.name().to_lowercase(), "findings": listed }),
    )?;
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    match worst {
        Verdict::Ok | Verdict::Warn => Ok(()),
        Verdict::Fail => anyhow::bail!("{} of {} checks failed", count(Verdict::Fail), findings.len()),
        Verdict::Damage => Err(Stop::Damage(
            "what is stored is damaged; docs/operations.md says what can be done".to_owned(),
        )
        .into()),
    }
}
