//! The bytes of every fact, frozen: a log written today is read by every later version.

use scrollback_log::{Offset, Origin, Timestamp};

use crate::facts::{
    self, Action, Audited, Body, ChannelCreated, ChannelDeleted, Fact, ImportAdvanced, Imported,
    InvitationIssued, KeyDigest, MembershipChanged, MessageDeleted, MessageImported, MessageSent, Name,
    OriginStarted, Reason, Role, UserChanged, UserCreated, VaultKey,
};
use crate::testing::History;

const GOLDEN: &str = include_str!("../../tests/golden/facts.txt");

const VAULT_KEY: VaultKey = VaultKey(*b"vault key 16 byt");
const KEY: KeyDigest = KeyDigest(*b"key digest 16 by");
const NAME: Name<'static> = Name { shown: "Zoë", folded: "zoë" };

/// One or two facts of each kind, every option once there and once not, and the records they are.
fn facts_and_records() -> Vec<(Fact, scrollback_log::NewRecord)> {
    macro_rules! made {
        ($($fact:ident { $($field:ident: $value:expr),* $(,)? } $(with $text:expr)?),* $(,)?) => {
            vec![$({
                let kept = $fact { $($field: $value),* };
                let record = facts::record(&kept).unwrap();
                $(let record = scrollback_log::NewRecord { text: facts::record_with(&kept, &$text).unwrap().text, ..record };)?
                (Fact::$fact(kept), record)
            }),*]
        };
    }
    made![
        OriginStarted { origin: Origin::new(0x0102_0304_0506).unwrap() },
        UserCreated { role: Role::Owner, credential: VAULT_KEY, invitation: None } with NAME,
        UserCreated { role: Role::Member, credential: VAULT_KEY, invitation: Some(Offset(7)) } with NAME,
        UserChanged { user: Offset(2), role: Role::Moderator, active: false, by: None } with NAME,
        UserChanged { user: Offset(2), role: Role::Member, active: true, by: Some(Offset(3)) } with NAME,
        ChannelCreated { creator: None, private: false, key: None } with NAME,
        ChannelCreated { creator: Some(Offset(2)), private: true, key: Some(KEY) } with NAME,
        ChannelDeleted { channel: Offset(4), by: None, reason: Reason::Expired },
        ChannelDeleted { channel: Offset(4), by: Some(Offset(2)), reason: Reason::Deleted },
        MessageSent { channel: Offset(4), sender: Offset(2), key: None } with Body { body: "Hello, Zoë" },
        MessageSent { channel: Offset(4), sender: Offset(2), key: Some(KEY) } with Body { body: "" },
        MessageImported { channel: Offset(4), at: Timestamp(-1) } with Imported { sender_name: "zoe_", body: "hi" },
        MessageDeleted { message: Offset(5), channel: Offset(4), sender: Some(Offset(2)), imported_at: None,
            by: Some(Offset(3)), reason: Reason::Deleted },
        MessageDeleted { message: Offset(6), channel: Offset(4), sender: None, imported_at: Some(Timestamp(-1)),
            by: None, reason: Reason::Expired },
        InvitationIssued { issuer: Offset(2), expires: Timestamp(1 << 50), secret: VAULT_KEY },
        ImportAdvanced { lines_before: 1000, lines: 2000, digest: *b"digest, 16 bytes", first: Offset(99) },
        Audited { by: Some(Offset(2)), action: Action::BackupTaken, subject: None },
        Audited { by: None, action: Action::RollbackAccepted, subject: Some(Offset(9)) },
        MembershipChanged { channel: Offset(4), user: Offset(3), member: true, by: Some(Offset(2)) },
        MembershipChanged { channel: Offset(4), user: Offset(3), member: false, by: None },
    ]
}

/// Exhaustive on purpose: a new fact does not compile here until it is looked at, and then needs a line in the list.
fn name(fact: &Fact) -> &'static str {
    match fact {
        Fact::OriginStarted(_) => "OriginStarted",
        Fact::UserCreated(_) => "UserCreated",
        Fact::UserChanged(_) => "UserChanged",
        Fact::ChannelCreated(_) => "ChannelCreated",
        Fact::ChannelDeleted(_) => "ChannelDeleted",
        Fact::MessageSent(_) => "MessageSent",
        Fact::MessageImported(_) => "MessageImported",
        Fact::MessageDeleted(_) => "MessageDeleted",
        Fact::InvitationIssued(_) => "InvitationIssued",
        Fact::ImportAdvanced(_) => "ImportAdvanced",
        Fact::Audited(_) => "Audited",
        Fact::MembershipChanged(_) => "MembershipChanged",
    }
}

/// How many kinds of facts there are.
const KINDS: usize = 12;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn lines() -> Vec<String> {
    let line = |(fact, record): (Fact, scrollback_log::NewRecord)| {
        let text = record.text.as_deref().map_or("-".into(), hex);
        format!("{}/{} {} {} {text}", record.kind.0, record.schema.0, name(&fact), hex(&record.kept))
    };
    facts_and_records().into_iter().map(line).collect()
}

fn history_of(records: Vec<scrollback_log::NewRecord>) -> History {
    let mut history = History::default();
    history.records = records.into_iter().map(|record| (Timestamp(0), record)).collect();
    history
}

#[test]
fn every_fact_is_written_as_the_bytes_it_was_released_with() {
    let golden: Vec<&str> = GOLDEN.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines(), golden);
    let mut kinds: Vec<u16> = facts_and_records().iter().map(|(_, record)| record.kind.0).collect();
    kinds.dedup();
    assert_eq!(kinds, (1..=KINDS as u16).collect::<Vec<_>>());
}

#[test]
fn every_fact_reads_back_from_those_bytes() {
    // The history's sealing gives records their places; the facts need not follow each other to be read.
    let (expected, records): (Vec<_>, Vec<_>) = facts_and_records().into_iter().unzip();
    let history = history_of(records);
    for (sealed, fact) in history.sealed().iter().zip(expected) {
        let record = sealed.as_record();
        assert_eq!(Fact::decode(&record).unwrap(), fact);
        match &fact {
            Fact::UserCreated(_) | Fact::UserChanged(_) | Fact::ChannelCreated(_) => {
                assert_eq!(facts::text::<Name<'_>>(&record).unwrap(), Some(NAME));
            }
            Fact::MessageSent(fact) => {
                let body = if fact.key.is_some() { "" } else { "Hello, Zoë" };
                assert_eq!(facts::text::<Body<'_>>(&record).unwrap(), Some(Body { body }));
            }
            Fact::MessageImported(_) => {
                let expected = Imported { sender_name: "zoe_", body: "hi" };
                assert_eq!(facts::text::<Imported<'_>>(&record).unwrap(), Some(expected));
            }
            _ => assert!(facts::text::<Body<'_>>(&record).is_err(), "{fact:?} has no text"),
        }
    }
}

#[test]
fn a_number_that_stands_for_nothing_is_not_read_as_a_role_or_reason() {
    let (_, record) = facts_and_records().swap_remove(1);
    for number in 0..=u8::MAX {
        let mut record = record.clone();
        record.kept[0] = number;
        let decoded = Fact::decode(&history_of(vec![record]).sealed()[0].as_record());
        assert_eq!(decoded.is_ok(), number < 3, "{number}");
    }
}
