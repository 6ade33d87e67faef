//! That an acknowledged write was synced, seen from outside: the same appends in a process of their own under strace,
//! which records every system call that the process makes.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Finding;
use super::commits::{ACKNOWLEDGED, COMMITS};
use super::scratch::Scratch;

const CHECK: &str = "synced";
/// The calls that tell: the writes of records, the syncs, and the write by which the process says that a record is
/// acknowledged.
const CALLS: &str = "trace=fdatasync,fsync,write,pwrite64";
/// The file that holds the log's records.
const LOG_FILE: &str = "/db>";
/// How long the traced process may take.
const WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

pub(super) fn look(scratch: &Scratch, unwanted: bool, findings: &mut Vec<Finding>) {
    if unwanted {
        findings
            .push(Finding::ok(CHECK, "not watched by strace, as asked: see `commit path` for what was seen"));
        return;
    }
    findings.push(match run(scratch) {
        Ok(trace) => judge(count(&trace)),
        Err(Unseen::NotInstalled) => {
            let text = "strace is not installed, so the system calls were not watched; see `commit path` for what was seen";
            Finding::ok(CHECK, text)
        }
        Err(Unseen::Failed(what)) => {
            Finding::warn(CHECK, format!("strace could not watch the system calls ({what}); see `commit path`"))
        }
    });
}

fn judge((acknowledged, synced): (u64, u64)) -> Finding {
    if acknowledged != COMMITS {
        return Finding::warn(
            CHECK,
            format!("strace saw {acknowledged} of {COMMITS} acknowledged writes: nothing is proved"),
        );
    }
    let seen = format!(
        "strace: {synced} of {COMMITS} writes were acknowledged only after an fdatasync of the log's file that began when they were \
         written and returned 0"
    );
    if synced == COMMITS {
        Finding::ok(CHECK, format!("{seen}. What the device does with it is not proved by that"))
    } else {
        Finding::fail(CHECK, format!("{seen}: the others can be lost in a power cut"))
    }
}

enum Unseen {
    NotInstalled,
    Failed(String),
}

fn run(scratch: &Scratch) -> Result<String, Unseen> {
    let failed = |error: std::io::Error| Unseen::Failed(error.to_string());
    let trace = scratch.join("trace");
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-qq", "-e", CALLS, "-e", "signal=none", "-o"]).arg(&trace).arg(program);
    // Of the environment only what is needed to find strace: no setting, and no secret, has anything to do with this.
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.args(["doctor", "--commit-in"]).arg(scratch.join("traced"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Unseen::NotInstalled,
        _ => failed(error),
    })?;
    let began = Instant::now();
    let status = loop {
        match child.try_wait().map_err(failed)? {
            Some(status) => break status,
            None if began.elapsed() > WITHIN => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Unseen::Failed(format!("it took more than {WITHIN:?}")));
            }
            None => std::thread::sleep(POLL),
        }
    };
    if !status.success() {
        return Err(Unseen::Failed(status.to_string()));
    }
    read(&trace).map_err(failed)
}

fn read(trace: &Path) -> std::io::Result<String> {
    Ok(String::from_utf8_lossy(&std::fs::read(trace)?).into_owned())
}

/// How many writes were acknowledged, and how many of them after a sync of the log's file that began after the last of
/// it was written, and succeeded.
fn count(trace: &str) -> (u64, u64) {
    let (mut acknowledged, mut synced) = (0, 0);
    let mut has_synced = false;
    // By thread: whether the sync that it began, and that other lines interrupt, counts.
    let mut begun: HashMap<&str, bool> = HashMap::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(char::is_whitespace) else { continue };
        let call = call.trim_start();
        let is_sync = call.starts_with("fdatasync(") || call.starts_with("fsync(");
        if call.starts_with("pwrite64(") && call.contains(LOG_FILE) {
            // Whatever was or is being synced, this is not in it.
            has_synced = false;
            begun.clear();
        } else if is_sync && call.contains(LOG_FILE) {
            if call.ends_with("<unfinished ...>") {
                begun.insert(thread, true);
            } else if call.ends_with("= 0") {
                has_synced = true;
            }
        } else if call.starts_with("<... f") && call.contains("sync resumed") {
            if begun.remove(thread).unwrap_or(false) && call.ends_with("= 0") {
                has_synced = true;
            }
        } else if call.starts_with("write(1<") && call.contains(ACKNOWLEDGED) {
            acknowledged += 1;
            synced += u64::from(std::mem::take(&mut has_synced));
            begun.clear();
        }
    }
    (acknowledged, synced)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Fail, Ok, Warn};
    use super::*;

    #[test]
    fn a_write_counts_only_when_a_sync_of_its_own_came_back_before_it() {
        let trace = "\
7 fdatasync(9</d/log.1/db>) = 0
7 write(1</dev/null>, \"acknowledged\\n\", 13) = 13
7 write(1</dev/null>, \"acknowledged\\n\", 13) = 13
7 fdatasync(9</d/log.1/db> <unfinished ...>
8 write(5</d/witness>, \"x\", 1) = 1
7 <... fdatasync resumed>) = 0
7 write(1</dev/null>, \"acknowledged\\n\", 13) = 13
7 fdatasync(9</d/log.1/db>) = -1 EIO (Input/output error)
7 write(1</dev/null>, \"acknowledged\\n\", 13) = 13
7 fdatasync(9</d/witness>) = 0
7 write(1</dev/null>, \"acknowledged\\n\", 13) = 13
8 fdatasync(9</d/log.1/db> <unfinished ...>
7 write(1</dev/null>, \"acknowledged\\n\", 13) = 13
8 <... fdatasync resumed>) = 0
7 write(1</dev/null>, \"acknowledged\\n\", 13) = 13
7 write(2</dev/null>, \"acknowledged\\n\", 13) = 13
";
        assert_eq!(count(trace), (7, 2));
        let late = "7 fdatasync(9</d/log.1/db> <unfinished ...>\n8 pwrite64(9</d/log.1/db>, \"x\", 1, 0) = 1\n7 <... fdatasync resumed>) = 0\n\
            7 write(1</dev/null>, \"acknowledged\\n\", 13) = 13\n";
        let after = "7 fdatasync(9</d/log.1/db>) = 0\n8 pwrite64(9</d/log.1/db>, \"x\", 1, 0) = 1\n\
            7 write(1</dev/null>, \"acknowledged\\n\", 13) = 13\n";
        assert_eq!(count(after), (1, 0), "what is written after a sync is not synced by it");
        assert_eq!(count(late), (1, 0), "what is written during a sync is not synced by it");
        assert_eq!(judge((COMMITS, COMMITS)).verdict, Ok);
        assert_eq!(judge((COMMITS, COMMITS - 1)).verdict, Fail);
        assert_eq!(judge((COMMITS - 1, COMMITS - 1)).verdict, Warn);
    }
}
