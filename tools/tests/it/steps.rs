//! Operator commands that are killed at each of their steps: the old state or the new one is there, never one between, and
//! a second run finishes.
//!
//! strace ends the process at its Nth call that changes a directory or syncs something, for every N until the command gets
//! through.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::files;
use crate::support::server::{Ended, Server, run, scrollback};

/// The calls that make a state durable or visible. Writes are left out: they mean nothing before one of these.
const STEPS: &str =
    "rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,linkat,ftruncate,fsync,fdatasync";
/// No command has more steps.
const STEPS_MAX: usize = 2000;

/// What users see of a data directory: who there is, and the live messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) users: Vec<String>,
    pub(crate) messages: BTreeSet<String>,
}

pub(crate) fn operate(data: &Path, arguments: &[&str]) -> Ended {
    run(scrollback().args(arguments).arg("--data").arg(data))
}

/// Reads a directory as the next start would find it; none if its format is an older one.
pub(crate) fn seen(data: &Path) -> Option<Seen> {
    let verified = operate(data, &["verify", "--json"]);
    if verified.stderr.contains("replay --migrate") {
        return None;
    }
    let verified: Value = serde_json::from_str(&verified.must_exit(0).stdout).unwrap();
    let state = operate(data, &["replay", "--to", &verified["head"].to_string()]);
    let state: Value = serde_json::from_str(&state.must_exit(0).stdout).unwrap();
    let texts = |list: &Value, field: &str| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap().to_owned()).collect()
    };
    let messages = texts(&state["messages"], "body").into_iter().collect();
    Some(Seen { users: texts(&state["users"], "name"), messages })
}

/// A stopped server's data with deleted messages, and a backup from its middle.
pub(crate) fn example() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let space = tempfile::tempdir().unwrap();
    let mut server = Server::on(&space.path().join("data"), &[]);
    server.start();
    let mut owner = server.owner();
    let token = owner.token("backups");
    let channel = owner.create_channel("general");
    let said: Vec<Value> = (0..30).map(|n| owner.say(&channel, &format!("message {n}"))).collect();
    let backup = space.path().join("one.backup");
    server.ask(&token, "backup", &[backup.to_str().unwrap()]).must_exit(0);
    for message in said.iter().step_by(3) {
        owner.delete(&format!("/api/messages/{}", message["id"].as_str().unwrap())).ok(200);
    }
    owner.say(&channel, "after the backup");
    server.stop();
    (space, server.data().to_owned(), backup)
}

/// What the [`example`] in `data` is once its backup is restored: what it has deleted since is not back.
pub(crate) fn restored(data: &Path) -> Seen {
    let messages = (0..30).filter(|n| n % 3 != 0).map(|n| format!("message {n}")).collect();
    Seen { users: seen(data).unwrap().users, messages }
}

/// The data of a program of format 0, and what they are once they are migrated.
pub(crate) fn old_example() -> (tempfile::TempDir, PathBuf, Seen) {
    let space = tempfile::tempdir().unwrap();
    let data = files::unpack("format-0", space.path());
    let migrated = space.path().join("migrated");
    files::copy(&data, &migrated);
    operate(&migrated, &["replay", "--migrate", "--yes"]).must_exit(0);
    let new = seen(&migrated).unwrap();
    assert!(!new.messages.is_empty());
    (space, data, new)
}

/// Kills `arguments` at each step, on a copy of `data` each time; a second run must give `new`. `is_done` says of the directory
/// it ran in that there is nothing left for a second run.
fn kill_at_each_step(data: &Path, arguments: &[&str], new: &Seen, is_done: &dyn Fn(&Path) -> bool) -> usize {
    let old = seen(data);
    for step in 1..STEPS_MAX {
        let space = tempfile::tempdir().unwrap();
        let copy = space.path().join("data");
        files::copy(data, &copy);
        let place = copy.to_str().unwrap();
        let binary = scrollback();
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={STEPS}")]);
        strace.args(["-e", &format!("inject={STEPS}:signal=KILL:when={step}")]);
        strace.arg(binary.get_program()).args(arguments).args(["--data", place]).current_dir(space.path());
        let ended = run(&mut strace);
        if ended.code == Some(0) {
            assert_eq!(seen(&copy).as_ref(), Some(new), "{arguments:?} was not killed at step {step}");
            return step - 1;
        }
        let between = seen(&copy);
        assert!(
            between == old || between.as_ref() == Some(new),
            "{arguments:?} killed at step {step}: {between:?}"
        );
        if !is_done(space.path()) {
            let again = run(scrollback().args(arguments).args(["--data", place]).current_dir(space.path()));
            again.must_exit(0);
        }
        assert_eq!(seen(&copy).as_ref(), Some(new), "{arguments:?} again after step {step}");
        let left: Vec<_> =
            std::fs::read_dir(&copy).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let logs = left.iter().filter(|name| name.to_string_lossy().starts_with("log.")).count();
        assert_eq!(logs, 1, "{left:?}");
    }
    panic!("{arguments:?} has more than {STEPS_MAX} steps");
}

#[test]
#[ignore = "needs strace (tools/test installs it)"]
fn a_compaction_killed_at_any_step_leaves_the_same_log_and_a_second_one_finishes() {
    let (_space, data, _) = example();
    let same = seen(&data).unwrap();
    let killed = kill_at_each_step(&data, &["compact", "--yes"], &same, &|_| false);
    println!("compact: killed {killed} times");
    assert!(killed > 0);
}

#[test]
#[ignore = "needs strace (tools/test installs it)"]
fn a_restore_killed_at_any_step_leaves_the_old_log_or_the_new_one_and_a_second_one_finishes() {
    let (_space, data, backup) = example();
    let new = restored(&data);
    let killed = kill_at_each_step(&data, &["restore", backup.to_str().unwrap(), "--yes"], &new, &|_| false);
    println!("restore: killed {killed} times");
    assert!(killed > 0);
}

#[test]
#[ignore = "needs strace (tools/test installs it)"]
fn an_accepted_rollback_killed_at_any_step_is_finished_by_a_second_one() {
    let (_space, data, _) = example();
    let same = seen(&data).unwrap();
    let killed = kill_at_each_step(&data, &["restore", "--accept-current", "--yes"], &same, &|_| false);
    println!("accept: killed {killed} times");
    assert!(killed > 0);
}

#[test]
#[ignore = "needs strace (tools/test installs it)"]
fn a_backup_killed_at_any_step_is_complete_or_gone_on_with() {
    let (_space, data, _) = example();
    let same = seen(&data).unwrap();
    let killed = kill_at_each_step(&data, &["backup", "made.backup"], &same, &|place| {
        let made = place.join("made.backup");
        made.exists() && {
            let arguments = ["restore", made.to_str().unwrap(), "--dry-run"];
            operate(&place.join("other"), &arguments).must_exit(0).stdout.contains("21 live messages")
        }
    });
    println!("backup: killed {killed} times");
    assert!(killed > 0);
}

#[test]
#[ignore = "needs strace (tools/test installs it)"]
fn a_migration_killed_at_any_step_leaves_the_old_log_or_the_new_one_and_a_second_one_finishes() {
    let (_space, data, new) = old_example();
    let killed = kill_at_each_step(&data, &["replay", "--migrate", "--yes"], &new, &|_| false);
    println!("migrate: killed {killed} times");
    assert!(killed > 0);
}
