use std::fs;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, RwLock};

use scrollback_log::clock::SystemClock;
use scrollback_log::data_dir::DataDirError;
use scrollback_log::engine::chunked::ChunkedEngine;
use scrollback_log::engine::memory::MemoryStore;
use scrollback_log::{Machine, ReadError, SubmitError, Text};
use scrollback_projections::facts::{Fact, Role};

use super::testing::{NOW, copy_dir, open, open_with, settings};
use super::*;
use crate::commands::{Answer, Command, MessageRef, Refusal};
use crate::streams::cut::{Cut, Form};
use crate::streams::ring::RingRead;
use crate::streams::selection::Selection;

fn is_gone(node: &Node, offset: Offset) -> bool {
    node.log.read(offset, |record| matches!(record.text, Text::Gone(_))).unwrap().unwrap()
}

/// The texts of the whole log, as readers see them.
fn texts(log: &Log) -> Vec<Option<Vec<u8>>> {
    let mut texts = Vec::new();
    log.scan(Offset::FIRST, log.head().offset, &mut |record| {
        texts.push(match record.text {
            Text::Present(text) => Some(text.to_vec()),
            _ => None,
        });
        ControlFlow::Continue(())
    })
    .unwrap();
    texts
}

#[test]
fn a_node_comes_back_as_it_was_closed_without_reading_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (node, _) = open(&data);
    assert_eq!(node.log.head().offset, Offset(1), "a new log begins with its origin");
    let owner = node.user("owner", Role::Owner);
    let channel = node.channel(owner, "General");
    for n in 0..20 {
        node.say(channel, owner, &format!("message {n}"));
    }
    let (digest, head, texts_before) = (node.read_views().digest(), node.log.head(), texts(&node.log));
    node.close().unwrap();
    node.close().unwrap();
    let late = node.writer.submit_blocking(Command::DeleteChannel { channel, by: owner });
    assert_eq!(late, Err(SubmitError::Stopped));
    drop(node);

    let (node, _) = open(&data);
    assert_eq!(node.checkpointed(), head.offset, "nothing was folded anew");
    assert_eq!((node.read_views().digest(), node.log.head()), (digest, head));
    assert_eq!(texts(&node.log), texts_before);
    assert_eq!(node.channel_by_name("gENERAL"), Some(channel));
    assert_eq!(node.channel_by_name("other"), None);
    drop(node);

    fs::remove_dir_all(data.join("views")).unwrap();
    let (node, _) = open(&data);
    assert_eq!(node.checkpointed(), Offset::BEGINNING);
    assert_eq!(node.read_views().digest(), digest);
}

#[test]
fn what_a_deletion_names_is_gone_for_every_reader_when_it_is_answered_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = open(dir.path());
    let owner = node.user("owner", Role::Owner);
    let (kept, gone) = (node.channel(owner, "kept"), node.channel(owner, "gone"));
    let said = [kept, kept, gone].map(|channel| (node.say(channel, owner, "a secret"), channel));
    let (message, channel) = said[0];
    let message = MessageRef { offset: message, channel, sender: Some(owner), imported_at: None };
    let frames = |node: &Node| {
        let cut = Cut { form: Form::Json, bytes_max: 1 << 20, events_max: usize::MAX, shared: true };
        // The first record was appended before there was a ring.
        let read = node.ring.read(Offset::FIRST, node.log.head().offset, cut, &Selection::everything());
        let RingRead::Taken(taken) = read else { panic!("pushed out") };
        let list = [b"[", &taken.chunk.bare()[..], b"]"].concat();
        let events: Vec<serde_json::Value> = serde_json::from_slice(&list).unwrap();
        events.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let secrets = |node: &Node| frames(node).iter().filter(|frame| frame.contains("a secret")).count();
    assert_eq!(secrets(&node), 3);
    node.done(Command::DeleteMessage { message, by: owner });
    assert!(is_gone(&node, said[0].0) && !is_gone(&node, said[1].0));
    assert_eq!(secrets(&node), 2);
    node.done(Command::DeleteChannel { channel: gone, by: owner });
    assert!(is_gone(&node, said[2].0) && is_gone(&node, gone) && !is_gone(&node, kept));
    assert_eq!(secrets(&node), 1);
    assert!(!frames(&node).iter().any(|frame| frame.contains("\"gone\"")), "the name is text too");
    node.close().unwrap();
    drop(node);
    let (node, _) = open(dir.path());
    assert!(is_gone(&node, said[0].0) && is_gone(&node, said[2].0) && is_gone(&node, gone));
    assert!(!is_gone(&node, said[1].0));
}

#[test]
fn a_data_directory_has_one_node_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = open(dir.path());
    let second = Node::open(settings(dir.path()), Arc::new(SystemClock), &mut |_| {});
    let error = second.err().unwrap();
    assert!(error.is_in_use() && !error.is_damage(), "{error}");
    node.close().unwrap();
    drop(node);
    open(dir.path());
}

#[test]
fn a_missing_directory_is_only_made_when_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("none");
    let opened = Node::open_existing(settings(&data), Arc::new(SystemClock), &mut |_| {});
    assert!(matches!(opened, Err(NodeError::DataDir(DataDirError::NotThere { .. }))));
    assert!(!data.exists());
}

#[test]
fn a_lost_log_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (old, now) = (dir.path().join("old"), dir.path().join("now"));
    let (node, _) = open(&now);
    let owner = node.user("owner", Role::Owner);
    node.close().unwrap();
    drop(node);
    copy_dir(&now, &old);
    let (node, _) = open(&now);
    node.channel(owner, "general");
    node.close().unwrap();
    drop(node);
    fs::remove_dir_all(now.join("log.1")).unwrap();
    copy_dir(&old.join("log.1"), &now.join("log.1"));
    let error = Node::open(settings(&now), Arc::new(SystemClock), &mut |_| {}).err().unwrap();
    assert!(error.is_damage() && !error.is_in_use(), "{error}");
}

#[test]
fn a_crash_between_vault_and_log_leaves_nothing_in_the_vault() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = open(dir.path());
    let owner = node.user("owner", Role::Owner);
    let named = node.read_views().people().get(owner).unwrap().credential;
    let hash = node.vault.credential(named).unwrap();
    let unnamed = node.vault.add_credential(hash.clone()).unwrap();
    let (token, _) = node.vault.add_invitation().unwrap();
    // No close: as after a crash.
    drop(node);
    let (node, _) = open(dir.path());
    assert_eq!(node.vault.credential(named), Some(hash));
    assert_eq!(node.vault.credential(unnamed), None);
    assert_eq!(node.vault.invitation(&token), None);
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let full = |data: &Path| {
        let mut settings = settings(data);
        settings.storage.free_bytes_min = u64::MAX;
        settings
    };
    let new = dir.path().join("new");
    let opened = Node::open(full(&new), Arc::new(SystemClock), &mut |_| {});
    assert!(matches!(opened, Err(NodeError::DiskFull { .. })));
    let (node, _) = open(&new);
    let owner = node.user("owner", Role::Owner);
    let channel = node.channel(owner, "general");
    node.close().unwrap();
    drop(node);
    let (node, _) = open_with(full(&new));
    let write = Command::SendMessage { channel, sender: owner, body: "x".into(), key: None };
    assert_eq!(node.writer.submit_blocking(write), Err(SubmitError::DiskFull));
    assert_eq!(texts(&node.log).len(), 3);
    node.close().unwrap();
}

#[test]
fn a_record_that_contradicts_the_views_ends_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = open(dir.path());
    let kept = facts::ChannelDeleted { channel: Offset(77), by: None, reason: facts::Reason::Deleted };
    let record = facts::record(&kept).unwrap();
    let sealed = scrollback_log::Sealed {
        offset: node.log.head().offset.next(),
        time: NOW,
        record,
        salt: [0; 16],
        chain: scrollback_log::ChainValue::BEGINNING,
    };
    let views = Arc::new(RwLock::new(node.read_views().clone()));
    let mut machine =
        ChatMachine::new(Arc::clone(&node.log), Arc::clone(&views), Some(Arc::clone(&node.ring)));
    let applied = catch_unwind(AssertUnwindSafe(|| machine.apply(&[sealed.as_record()])));
    assert!(applied.is_err() && views.is_poisoned());
    assert_eq!(node.ring.bytes(), 0, "no frame of it was shown");
}

/// A machine that cannot apply what it decides.
struct Broken;

impl Machine for Broken {
    type Command = ();
    type Answer = ();

    fn decide(&mut self, (): &(), _: scrollback_log::Stamp) -> scrollback_log::Decision<()> {
        let record = facts::record(&OriginStarted { origin: Origin::new(1).unwrap() }).unwrap();
        scrollback_log::Decision { records: vec![record], answer: () }
    }

    fn apply(&mut self, _: &[scrollback_log::Record<'_>]) {
        panic!("broken on purpose");
    }

    fn discard(&mut self) {}
}

#[test]
fn a_panic_of_the_machine_is_a_failure_of_the_writer() {
    let engine = ChunkedEngine::open(MemoryStore::new()).unwrap();
    let (_log, appender) = Log::new(Arc::new(engine), None);
    let (writer, thread) =
        Writer::start(appender, Broken, WriterOptions::new(Arc::new(SystemClock))).unwrap();
    assert_eq!(writer.submit_blocking(()), Err(SubmitError::OutcomeUnknown));
    assert!(thread.join().is_err());
    assert!(*writer.failed().borrow());
}

#[test]
fn the_operator_keeps_users_without_being_one() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = open(dir.path());
    let is_refused = |outcome, refusal| matches!(outcome, Err(operator::OperatorError::Refused(found)) if found == refusal);
    assert!(matches!(
        operator::add_user(&node, "first", "a password", Role::Moderator),
        Err(operator::OperatorError::FirstIsNoOwner)
    ));
    operator::add_user(&node, "Owner", "a password", Role::Owner).unwrap();
    operator::add_user(&node, "member", "a password", Role::Member).unwrap();
    assert!(is_refused(operator::add_user(&node, "OWNER", "a password", Role::Member), Refusal::NameTaken));
    assert!(operator::add_user(&node, "x", "short", Role::Member).is_err());
    assert!(operator::add_user(&node, " x", "a password", Role::Member).is_err());
    assert!(is_refused(operator::set_active(&node, "owner", false), Refusal::LastOwner));
    assert!(matches!(
        operator::set_role(&node, "x", Role::Owner),
        Err(operator::OperatorError::NoSuchUser(_))
    ));
    operator::set_role(&node, "member", Role::Owner).unwrap();
    let (user, credential) = {
        let views = node.read_views();
        let (user, person) = views.people().by_folded("owner").unwrap();
        (user, person.credential)
    };
    let hash = node.vault.credential(credential).unwrap();
    let (token, _) = node.vault.open_session(user, credential, &hash, NOW).unwrap();
    operator::set_active(&node, "Owner", false).unwrap();
    assert!(node.vault.authenticate(&token, NOW).is_none(), "who is switched off is out");
    operator::set_active(&node, "Owner", true).unwrap();
    operator::set_password(&node, "owner", "another password").unwrap();
    assert_ne!(node.vault.credential(credential), Some(hash));
    let listed: Vec<_> =
        operator::list_users(&node).into_iter().map(|user| (user.name, user.role, user.active)).collect();
    assert_eq!(listed, [("Owner".into(), "owner", true), ("member".into(), "owner", true)]);
}

#[test]
fn the_offline_commands_show_and_shrink_what_a_node_left() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = open(dir.path());
    let owner = node.user("owner", Role::Owner);
    let channel = node.channel(owner, "general");
    let said: Vec<_> =
        (0..50).map(|n| node.say(channel, owner, &format!("message number {n} of fifty"))).collect();
    for offset in &said[10..] {
        let message = MessageRef { offset: *offset, channel, sender: Some(owner), imported_at: None };
        node.done(Command::DeleteMessage { message, by: owner });
    }
    let (digest, head) = (node.read_views().digest(), node.log.head());
    let views_settings = node.read_views().settings();
    node.close().unwrap();
    drop(node);

    let exported = |after| {
        let mut out = Vec::new();
        export(dir.path(), after, &mut out, &mut |_| {}).unwrap();
        let lines = String::from_utf8(out).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<serde_json::Value>>()
    };
    let events = exported(Offset::BEGINNING);
    assert_eq!(events.len() as u64, head.offset.0 - 1, "all but the origin");
    assert_eq!(exported(said[9]).len(), events.len() - 12);
    let bodies =
        events.iter().filter(|event| event["body"].as_str().is_some_and(|body| !body.is_empty())).count();
    assert_eq!(bodies, 10);

    let state = |at| -> serde_json::Value {
        let mut out = Vec::new();
        write_state(dir.path(), at, &mut out, &mut |_| {}).unwrap();
        serde_json::from_slice(&out).unwrap()
    };
    let then = state(said[20]);
    assert_eq!(
        (then["channels"][0]["messages"].as_u64(), then["messages"].as_array().unwrap().len()),
        (Some(21), 21)
    );
    assert_eq!(
        (&then["messages"][3]["body"], &then["messages"][15]["body"]),
        (&"message number 3 of fifty".into(), &"".into())
    );
    assert_eq!(
        (&then["users"][0]["name"], &then["channels"][0]["name"]),
        (&"owner".into(), &"general".into())
    );
    assert_eq!(state(head.offset)["messages"].as_array().unwrap().len(), 10);
    assert_eq!(state(Offset::FIRST)["messages"], serde_json::json!([]));
    let mut out = Vec::new();
    let beyond = write_state(dir.path(), head.offset.next(), &mut out, &mut |_| {}).unwrap_err();
    assert!(!beyond.is_damage() && out.is_empty(), "{beyond}");

    let report = verify(dir.path(), &mut |_| {}).unwrap();
    assert_eq!((report.head, report.records, report.damage_count), (head, head.offset.0, 0));
    compact(dir.path(), views_settings, &mut |_| {}).unwrap();
    assert_eq!(exported(Offset::BEGINNING), events, "every offset kept");
    assert_eq!(rebuild(dir.path(), views_settings, &mut |_| {}).unwrap(), Rebuilt { head, digest });
    assert!(directory_bytes(dir.path()).unwrap() > 0);
    let report = verify(dir.path(), &mut |_| {}).unwrap();
    assert_eq!((report.tombstones, report.damage_count), (40, 0));
    let (node, _) = open(dir.path());
    assert_eq!(node.checkpointed(), head.offset);
}

#[test]
fn errors_are_told_apart_for_the_exit_code() {
    let damaged = ReadError::Damaged { offset: Offset(3), place: "here".into(), what: "flipped".into() };
    assert!(NodeError::from(damaged.clone()).is_damage());
    assert!(NodeError::from(scrollback_projections::OpenViewsError::from(damaged)).is_damage());
    assert!(!NodeError::from(ReadError::Storage("gone".into())).is_damage());
    assert!(!NodeError::WriteFailed.is_damage());
}

#[test]
fn messages_are_kept_as_facts_that_name_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = open(dir.path());
    let owner = node.user("owner", Role::Owner);
    let channel = node.channel(owner, "general");
    let said = node.say(channel, owner, "x");
    let fact = node.log.read(said, |record| Fact::decode(&record).unwrap()).unwrap().unwrap();
    assert_eq!(fact, Fact::MessageSent(facts::MessageSent { channel, sender: owner, key: None }));
    let answer = node.writer.submit_blocking(Command::DeleteChannel { channel: said, by: owner }).unwrap();
    assert_eq!(answer, Answer::Refused(Refusal::NotFound), "a message is no channel");
}
