use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use scrollback_log::ResumePoint;
use scrollback_log::clock::ManualClock;
use scrollback_projections::facts::Role;

use super::*;
use crate::Node;
use crate::commands::{Command, MessageRef};
use crate::names::Name;
use crate::node::backup::Backup;
use crate::node::testing::{NOW, copy_dir, open, settings};
use crate::vault::PasswordHash;

const BEGINNING: ResumePoint = ResumePoint { offset: Offset::BEGINNING, tag: None };

fn backup(node: &Node) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut taking = Backup::begin(node, BEGINNING, &mut bytes).unwrap();
    while taking.step(&mut bytes).unwrap().is_none() {}
    bytes
}

fn back(data: &Path, bytes: &[u8], dry_run: bool, progress: &mut dyn FnMut(Step)) -> Restored {
    restore(data, bytes, &ManualClock::at(NOW), ViewSettings::default(), dry_run, progress).unwrap()
}

/// All live messages with their texts, none for those that are gone.
fn live(node: &Node) -> Vec<(Offset, Option<String>)> {
    let offsets: Vec<Offset> = node
        .read_views()
        .messages()
        .iter()
        .flat_map(|(_, messages)| messages.recorded_before(Offset(u64::MAX)).collect::<Vec<_>>())
        .collect();
    let text = |offset| {
        node.log
            .read(offset, |record| {
                facts::text::<facts::Body<'_>>(&record).unwrap().map(|text| text.body.to_owned())
            })
            .unwrap()
            .unwrap()
    };
    let mut live: Vec<_> = offsets.into_iter().map(|offset| (offset, text(offset))).collect();
    live.sort();
    live
}

/// Deletes a message of the owner's.
fn delete(node: &Node, message: Offset, channel: Offset, by: Offset) -> Offset {
    let owner = node.read_views().people().iter().next().unwrap().0;
    let message = MessageRef { offset: message, channel, sender: Some(owner), imported_at: None };
    node.done(Command::DeleteMessage { message, by })
}

/// A node with an owner, a moderator, two channels and twenty messages in each.
struct Example {
    _space: tempfile::TempDir,
    data: PathBuf,
    node: Option<Node>,
    owner: Offset,
    moderator: Offset,
    channels: [Offset; 2],
    messages: Vec<Offset>,
}

impl Example {
    fn new() -> Example {
        let space = tempfile::tempdir().unwrap();
        let data = space.path().join("data");
        let (node, _) = open(&data);
        let owner = node.user("owner", Role::Owner);
        let moderator = node.user("moderator", Role::Moderator);
        let channels = [node.channel(owner, "one"), node.channel(owner, "two")];
        let messages = (0..40).map(|n| node.say(channels[n % 2], owner, &format!("text {n}"))).collect();
        Example { _space: space, data, node: Some(node), owner, moderator, channels, messages }
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    fn close(&mut self) {
        self.node.take().unwrap().finish().unwrap();
    }

    fn open(&self) -> Node {
        open(&self.data).0
    }
}

#[test]
fn what_was_deleted_and_taken_away_after_the_backup_does_not_come_back() {
    let mut example = Example::new();
    let (owner, moderator, [one, two]) = (example.owner, example.moderator, example.channels);
    delete(example.node(), example.messages[0], one, owner);
    let node = example.node();
    let private = |name: &str| {
        let name = Name::parse(name).unwrap();
        node.done(Command::CreateChannel { creator: owner, name, private: true, key: None })
    };
    let [secret, ended] = ["secret", "ended"].map(private);
    for channel in [secret, ended] {
        node.done(Command::AddMember { channel, user: moderator, by: owner });
    }
    let bytes = backup(node);
    for channel in [secret, ended] {
        node.done(Command::RemoveMember { channel, user: moderator, by: owner });
    }
    node.done(Command::RemoveMember { channel: secret, user: owner, by: owner });
    let back_since = node.done(Command::AddMember { channel: secret, user: owner, by: owner });
    assert!(back_since > secret);
    node.done(Command::DeleteChannel { channel: ended, by: owner });
    delete(node, example.messages[2], one, owner);
    node.done(Command::DeleteChannel { channel: two, by: moderator });
    node.done(Command::ChangeUser {
        user: moderator,
        role: Some(Role::Member),
        active: Some(false),
        by: Some(owner),
    });
    let newer = node.user("newer", Role::Owner);
    delete(node, example.messages[4], one, newer);
    node.say(one, owner, "lost");
    let (session, _) = node.vault.create_token(owner, "a token".into(), NOW).unwrap();
    example.close();

    let restored = back(&example.data, &bytes, false, &mut |_| {});
    let Replaced::SamePast { common, lost, unreadable, .. } = &restored.replaced else {
        panic!("{restored:?}")
    };
    assert_eq!((*common, unreadable.len()), (restored.backup.head.offset, 0));
    assert_eq!(*lost, Lost { messages: 1, channels: 0, users: 1 });
    let carried = &restored.carried;
    assert_eq!((carried.messages(), carried.channels()), (2, 2));
    assert_eq!((carried.users(), carried.members()), (1, 2));

    let node = example.open();
    let live = live(&node);
    let expected: Vec<_> = (0..40)
        .filter(|n| n % 2 == 0 && ![0, 2, 4].contains(n))
        .map(|n| (example.messages[n], Some(format!("text {n}"))))
        .collect();
    assert_eq!(live, expected);
    assert_eq!(restored.messages, expected.len() as u64);
    {
        let views = node.read_views();
        let person = views.people().get(moderator).unwrap();
        assert_eq!((person.role, person.active), (Role::Member, false));
        assert!(views.channels().get(two).is_none());
        for channel in [secret, ended] {
            let members: Vec<_> = views.memberships().members(channel).unwrap().keys().copied().collect();
            assert_eq!(members, [owner], "who was removed is not a member again");
        }
        assert_eq!(views.origins().count(), 2);
    }
    assert!(node.vault.authenticate(&session, NOW).is_none(), "a token outlived the restore");
    // Offsets go on; nothing waits to be erased.
    assert_eq!(node.say(one, owner, "after"), restored.head.offset.next());
    assert_eq!(node.log.with_masks(scrollback_log::Masks::texts_waiting), 0);
}

#[test]
fn a_dry_run_tells_the_same_and_changes_nothing() {
    let mut example = Example::new();
    let bytes = backup(example.node());
    delete(example.node(), example.messages[1], example.channels[1], example.owner);
    example.close();
    let before = scrollback_log::verify::verify(
        &DataDir::open_existing(&example.data).unwrap(),
        &LogOptions::default(),
        &mut |_| {},
    )
    .unwrap();
    let tried = back(&example.data, &bytes, true, &mut |_| {});
    let entries = || {
        let mut names: Vec<_> =
            std::fs::read_dir(&example.data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(entries(), ["CURRENT", "LOCK", "log.1", "vault", "views", "witness"]);
    let after = scrollback_log::verify::verify(
        &DataDir::open_existing(&example.data).unwrap(),
        &LogOptions::default(),
        &mut |_| {},
    )
    .unwrap();
    assert_eq!(before, after);
    let done = back(&example.data, &bytes, false, &mut |_| {});
    assert_eq!(
        (tried.replaced, tried.carried, tried.head.offset),
        (done.replaced, done.carried, done.head.offset)
    );
}

#[test]
fn a_backup_makes_a_new_directory_in_which_its_passwords_are_good() {
    let mut example = Example::new();
    let credential = example.node().read_views().people().get(example.owner).unwrap().credential;
    let bytes = backup(example.node());
    example.close();
    let space = tempfile::tempdir().unwrap();
    let data = space.path().join("new");
    let restored = back(&data, &bytes, false, &mut |_| {});
    assert_eq!((restored.replaced, restored.kept), (Replaced::Nothing, None));
    let (node, _) = open(&data);
    assert_eq!(live(&node).len(), 40);
    assert_eq!(node.vault.credential(credential), Some(PasswordHash::of_nothing("salt")));
}

#[test]
fn a_newer_password_is_not_replaced_by_the_backup_s() {
    let mut example = Example::new();
    let credential = example.node().read_views().people().get(example.owner).unwrap().credential;
    let bytes = backup(example.node());
    let newer = PasswordHash::of_nothing("newer");
    example.node().vault.set_password(example.owner, credential, newer.clone()).unwrap();
    example.close();
    back(&example.data, &bytes, false, &mut |_| {});
    assert_eq!(example.open().vault.credential(credential), Some(newer));
}

#[test]
fn the_replaced_log_is_kept_as_a_directory_of_its_own_until_a_compaction() {
    let mut example = Example::new();
    let bytes = backup(example.node());
    let last = example.node().say(example.channels[0], example.owner, "only in the replaced one");
    example.close();
    let kept = back(&example.data, &bytes, false, &mut |_| {}).kept.unwrap();
    let (node, _) = open(&kept);
    let there = live(&node);
    assert!(there.contains(&(last, Some("only in the replaced one".into()))), "{last} {there:?}");
    node.finish().unwrap();
    crate::node::compact(&example.data, ViewSettings::default(), &mut |_| {}).unwrap();
    assert!(!kept.exists());
    assert_eq!(live(&example.open()).len(), 40);
}

#[test]
fn a_log_that_is_damaged_gives_what_can_be_read_of_its_deletions() {
    let mut example = Example::new();
    let bytes = backup(example.node());
    delete(example.node(), example.messages[6], example.channels[0], example.owner);
    example.close();
    // Not a byte of it is left.
    let db = example.data.join("log.1/db");
    let length = std::fs::metadata(&db).unwrap().len() as usize;
    std::fs::write(&db, vec![0xa5; length]).unwrap();
    let restored = back(&example.data, &bytes, false, &mut |_| {});
    let said = match restored.replaced {
        Replaced::OtherLog | Replaced::Unreadable(_) => true,
        Replaced::SamePast { ref unreadable, .. } => !unreadable.is_empty(),
        Replaced::Nothing => false,
    };
    assert!(said, "{:?}", restored.replaced);
    assert_eq!(live(&example.open()).len(), 40);
}

/// Writes over chunks of the log, as a disk would that lost some blocks.
fn spoil(data: &Path, records: std::ops::Range<u64>) {
    let db = sled::open(data.join("log.1")).unwrap();
    let chunks = db.open_tree("chunks").unwrap();
    for record in records {
        if chunks.contains_key(record.to_be_bytes()).unwrap() {
            chunks.insert(record.to_be_bytes(), vec![0xa5; 90]).unwrap();
        }
    }
    db.flush().unwrap();
}

#[test]
fn damage_to_the_common_past_does_not_keep_later_deletions_from_being_carried_over() {
    for damage in [10..40, 20..25, 2..6] {
        let mut example = Example::new();
        let bytes = backup(example.node());
        delete(example.node(), example.messages[38], example.channels[0], example.owner);
        example.close();
        spoil(&example.data, damage.clone());
        let restored = back(&example.data, &bytes, false, &mut |_| {});
        assert_eq!(restored.carried.messages(), 1, "{damage:?}: {:?}", restored.replaced);
    }
}

#[test]
fn what_a_lost_tail_may_have_deleted_is_told() {
    let mut example = Example::new();
    let bytes = backup(example.node());
    example.close();
    let older = example.data.with_file_name("older");
    copy_dir(&example.data, &older);
    let node = example.open();
    delete(&node, example.messages[6], example.channels[0], example.owner);
    node.finish().unwrap();
    std::fs::remove_dir_all(example.data.join("log.1")).unwrap();
    copy_dir(&older.join("log.1"), &example.data.join("log.1"));
    let restored = back(&example.data, &bytes, true, &mut |_| {});
    let Replaced::SamePast { unreadable, .. } = restored.replaced else { panic!("{restored:?}") };
    assert!(unreadable[0].contains("are lost"), "{unreadable:?}");
}

#[test]
fn where_nothing_names_the_log_a_half_written_one_is_not_taken_for_it_and_none_is_removed() {
    let mut example = Example::new();
    let bytes = backup(example.node());
    delete(example.node(), example.messages[6], example.channels[0], example.owner);
    example.close();
    drop(sled::open(example.data.join("log.2")).unwrap());
    std::fs::remove_file(example.data.join("CURRENT")).unwrap();
    let restored = back(&example.data, &bytes, false, &mut |_| {});
    assert_eq!(restored.carried.messages(), 1, "{:?}", restored.replaced);
    assert_eq!(restored.kept, Some(example.data.join("kept/1")));
    for kept in ["kept/1/log.1/db", "kept/2/log.2/db"] {
        assert!(example.data.join(kept).is_file(), "{kept} is gone");
    }
    assert_eq!(live(&example.open()).len(), 39);
}

#[test]
fn a_backup_whose_passwords_are_none_changes_nothing() {
    let mut example = Example::new();
    let mut bytes = Vec::new();
    let mut writer = scrollback_log::backup::BackupWriter::begin(
        Arc::clone(&example.node().log),
        BEGINNING,
        NOW,
        &mut bytes,
    )
    .unwrap();
    while writer.step(&mut bytes).unwrap() {}
    writer.attach(b"no password at all", &mut bytes).unwrap();
    writer.finish(&mut bytes);
    example.close();
    for dry_run in [true, false] {
        let outcome = restore(
            &example.data,
            &bytes[..],
            &ManualClock::at(NOW),
            ViewSettings::default(),
            dry_run,
            &mut |_| {},
        );
        assert!(outcome.is_err());
        assert!(!example.data.join("log.2").exists() && !example.data.join("kept").exists());
    }
}

#[test]
fn a_directory_that_has_lost_its_log_or_its_name_is_restored_into() {
    for lost in ["log.1", "CURRENT"] {
        let mut example = Example::new();
        let bytes = backup(example.node());
        example.close();
        let path = example.data.join(lost);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).unwrap()
        } else {
            std::fs::remove_file(&path).unwrap()
        }
        back(&example.data, &bytes, false, &mut |_| {});
        assert_eq!(live(&example.open()).len(), 40, "without {lost}");
    }
}

#[test]
fn somebody_stays_owner() {
    let mut example = Example::new();
    let bytes = backup(example.node());
    let node = example.node();
    let newer = node.user("newer", Role::Owner);
    node.done(Command::ChangeUser {
        user: example.owner,
        role: Some(Role::Member),
        active: None,
        by: Some(newer),
    });
    example.close();
    let restored = back(&example.data, &bytes, false, &mut |_| {});
    assert_eq!(restored.carried.owners_kept, ["owner"]);
    assert_eq!(example.open().read_views().people().get(example.owner).unwrap().role, Role::Owner);
}

#[test]
fn a_crash_at_any_step_of_a_restore_leaves_the_old_log_or_the_new_one_and_a_second_run_finishes() {
    let mut example = Example::new();
    let bytes = backup(example.node());
    delete(example.node(), example.messages[1], example.channels[1], example.owner);
    let lost = example.node().say(example.channels[0], example.owner, "lost");
    example.close();
    let space = tempfile::tempdir().unwrap();
    let mut crashes = Vec::new();
    back(&example.data, &bytes, false, &mut |step| {
        let crash = space.path().join(format!("{} {step:?}", crashes.len()));
        copy_dir(&example.data, &crash);
        crashes.push((step, crash));
    });
    assert!(crashes.len() >= 9, "{crashes:?}");
    for (step, crash) in crashes {
        let is_new =
            matches!(step, Step::Log(restore::Step::Replacing | restore::Step::Done) | Step::Storing);
        let messages = {
            let (node, _) = open(&crash);
            let messages = live(&node);
            node.finish().unwrap();
            messages
        };
        assert!(
            !messages.iter().any(|(offset, _)| *offset == example.messages[1]),
            "{step:?}: deleted and there"
        );
        assert_eq!(messages.iter().any(|(offset, _)| *offset == lost), !is_new, "{step:?}");
        assert_eq!(messages.len(), if is_new { 39 } else { 40 }, "{step:?}");
        back(&crash, &bytes, false, &mut |_| {});
        let (node, _) = open(&crash);
        assert_eq!(live(&node).len(), 39, "{step:?}");
    }
}

#[test]
fn a_log_that_lost_its_tail_is_gone_on_with_under_a_new_origin() {
    let mut example = Example::new();
    let (token, _) = example.node().vault.create_token(example.owner, "a token".into(), NOW).unwrap();
    example.close();
    let older = example._space.path().join("older");
    copy_dir(&example.data, &older);
    let node = example.open();
    node.say(example.channels[0], example.owner, "lost");
    node.finish().unwrap();
    std::fs::remove_dir_all(example.data.join("log.1")).unwrap();
    copy_dir(&older.join("log.1"), &example.data.join("log.1"));
    assert!(
        Node::open_existing(settings(&example.data), Arc::new(ManualClock::at(NOW)), &mut |_| {}).is_err()
    );

    let accepted =
        accept_current(&example.data, &ManualClock::at(NOW), ViewSettings::default(), &mut |_| {}).unwrap();
    assert_eq!(accepted.witnessed.unwrap().offset, accepted.found.offset.next());
    assert_eq!(accepted.head.offset, accepted.found.offset.plus(2), "a new origin, and a note for the audit");
    let node = example.open();
    assert_eq!(live(&node).len(), 40);
    assert_eq!(node.read_views().origins().count(), 2);
    assert!(node.vault.authenticate(&token, NOW).is_none());
}

#[test]
fn a_damaged_log_is_not_accepted() {
    let mut example = Example::new();
    example.close();
    std::fs::remove_dir_all(example.data.join("log.1")).unwrap();
    std::fs::create_dir(example.data.join("log.1")).unwrap();
    let outcome = accept_current(&example.data, &ManualClock::at(NOW), ViewSettings::default(), &mut |_| {});
    assert!(outcome.is_err_and(|error| error.is_damage()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever was deleted before the backup or after it: none of it is live after a restore, and all else of the backup is.
    #[test]
    fn nothing_that_was_deleted_comes_back(before in proptest::collection::btree_set(0..40_usize, 0..10), after in proptest::collection::btree_set(0..40_usize, 0..10), erase in any::<bool>()) {
        let mut example = Example::new();
        let gone = |node: &Node, which: &std::collections::BTreeSet<usize>, not: &std::collections::BTreeSet<usize>| {
            for n in which.difference(not) {
                delete(node, example.messages[*n], example.channels[n % 2], example.owner);
            }
        };
        gone(example.node(), &before, &Default::default());
        if erase {
            // A closed and opened node has erased them.
            example.node.take().unwrap().finish().unwrap();
            example.node = Some(open(&example.data).0);
        }
        let bytes = backup(example.node());
        let node = example.node();
        for n in after.difference(&before) {
            delete(node, example.messages[*n], example.channels[n % 2], example.owner);
        }
        example.close();
        back(&example.data, &bytes, false, &mut |_| {});
        let live: Vec<Offset> = live(&example.open()).into_iter().map(|(offset, text)| {
            assert!(text.is_some(), "{offset} is live without its text");
            offset
        }).collect();
        let expected: Vec<Offset> = (0..40).filter(|n| !before.contains(n) && !after.contains(n)).map(|n| example.messages[n]).collect();
        prop_assert_eq!(live, expected);
    }
}
