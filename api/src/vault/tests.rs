use std::path::PathBuf;
use std::time::Duration;

use scrollback_log::{ChainValue, NewRecord, Origin, Sealed};
use scrollback_projections::facts::{
    self, InvitationIssued, Name, OriginStarted, Role, UserChanged, UserCreated,
};
use scrollback_projections::{ViewSettings, Views};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const NOW: Timestamp = Timestamp(1_700_000_000_000_000);
const USER: Offset = Offset(2);

struct Place {
    _dir: tempfile::TempDir,
    path: PathBuf,
    failed: watch::Sender<bool>,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault");
        Place { _dir: dir, path, failed: watch::Sender::new(false) }
    }

    fn open(&self) -> Vault {
        self.open_with_mark(0)
    }

    fn open_with_mark(&self, free_bytes_min: u64) -> Vault {
        let space = Space::new(std::env::temp_dir(), free_bytes_min);
        Vault::open(
            &self.path,
            &VaultOptions {
                failed: self.failed.clone(),
                session_lives: SessionLives { idle: 7 * DAY, whole: 400 * DAY },
                password_hashers_max: 1,
                password_waiters_max: 8,
                memory: Memory::new(None),
                space,
            },
        )
        .unwrap()
    }
}

/// The vault only stores and compares hashes.
fn hash(salt: &str) -> PasswordHash {
    PasswordHash::of_nothing(salt)
}

fn user(vault: &Vault) -> VaultKey {
    vault.add_credential(hash("first")).unwrap()
}

#[test]
fn what_was_stored_is_there_after_a_restart() {
    let place = Place::new();
    let vault = place.open();
    let key = user(&vault);
    let (session, _) = vault.open_session(USER, key, &hash("first"), NOW).unwrap();
    let (token, created) = vault.create_token(USER, "robot".into(), NOW).unwrap();
    let (invitation, secret) = vault.add_invitation().unwrap();
    drop(vault);
    let vault = place.open();
    assert_eq!(vault.credential(key), Some(hash("first")));
    let session = vault.authenticate(&session, NOW).unwrap();
    assert_eq!((session.user, session.kind, session.label.as_str()), (USER, SessionKind::Session, ""));
    let token = vault.authenticate(&token, NOW).unwrap();
    assert_eq!((token.id, token.kind, token.label.as_str()), (created.id, SessionKind::Token, "robot"));
    assert_eq!(token.created, NOW);
    assert_eq!(vault.invitation(&invitation), Some(secret));
}

#[test]
fn only_the_exact_token_opens_a_session() {
    let vault = Place::new().open();
    let key = user(&vault);
    let (token, _) = vault.open_session(USER, key, &hash("first"), NOW).unwrap();
    let mut other = token.clone().into_bytes();
    other[0] = if other[0] == b'0' { b'1' } else { b'0' };
    let other = String::from_utf8(other).unwrap();
    for wrong in ["", " ", &other, &token[1..], &format!("{token}0"), &token.to_uppercase().replace('0', "O")]
    {
        assert!(vault.authenticate(wrong, NOW).is_none(), "{wrong}");
    }
    assert!(vault.authenticate(&token, NOW).is_some());
}

#[test]
fn a_revoked_session_is_dead_at_once_and_for_ever_and_those_who_wait_are_told() {
    let place = Place::new();
    let vault = place.open();
    let key = user(&vault);
    let (token, session) = vault.open_session(USER, key, &hash("first"), NOW).unwrap();
    let (other, _) = vault.open_session(USER, key, &hash("first"), NOW).unwrap();
    let told = vault.revocations();
    let before = *told.borrow();
    assert!(session.is_live());
    vault.revoke(&session).unwrap();
    assert!(!session.is_live() && told.has_changed().unwrap() && *told.borrow() > before);
    drop(told);
    let check = |vault: Vault| {
        assert!(vault.authenticate(&token, NOW).is_none());
        assert!(vault.authenticate(&other, NOW).is_some());
    };
    check(vault);
    check(place.open());
}

#[test]
fn a_session_that_is_always_used_dies_too_and_a_token_does_not() {
    let place = Place::new();
    let vault = place.open();
    let key = user(&vault);
    let day = |count| NOW.after(count * DAY);
    let (session, held) = vault.open_session(USER, key, &hash("first"), NOW).unwrap();
    let (token, _) = vault.create_token(USER, "for ever".into(), NOW).unwrap();
    for number in (0..400).step_by(5) {
        assert!(vault.authenticate(&session, day(number)).is_some(), "day {number}");
    }
    vault.maintain(day(400)).unwrap();
    assert!(held.is_live());
    assert!(vault.authenticate(&session, day(401)).is_none());
    vault.maintain(day(401)).unwrap();
    assert!(!held.is_live());
    assert!(vault.authenticate(&token, day(4000)).is_some());
}

#[test]
fn a_session_dies_of_idleness_and_a_token_does_not() {
    let place = Place::new();
    let vault = place.open();
    let key = user(&vault);
    let (session, _) = vault.open_session(USER, key, &hash("first"), NOW).unwrap();
    let (idle, idle_session) = vault.open_session(USER, key, &hash("first"), NOW).unwrap();
    let (token, _) = vault.create_token(USER, "robot".into(), NOW).unwrap();
    let day = |count| NOW.after(count * DAY);
    assert!(vault.authenticate(&session, day(6)).is_some());
    vault.maintain(day(6)).unwrap();
    assert!(vault.authenticate(&idle, day(8)).is_none(), "8 days idle");
    assert!(vault.authenticate(&session, day(13)).is_some(), "7 days idle");
    vault.maintain(day(8)).unwrap();
    assert!(!idle_session.is_live());
    drop(vault);
    let vault = place.open();
    assert!(vault.authenticate(&idle, NOW).is_none(), "maintained away");
    assert!(vault.authenticate(&session, day(13)).is_some(), "its use was stored");
    assert!(vault.authenticate(&token, day(5000)).is_some());
}

#[test]
fn a_new_password_ends_the_other_sessions_and_keeps_the_tokens() {
    let vault = Place::new().open();
    let key = user(&vault);
    let (mine, session) = vault.open_session(USER, key, &hash("first"), NOW).unwrap();
    let (stolen, _) = vault.open_session(USER, key, &hash("first"), NOW).unwrap();
    let (token, _) = vault.create_token(USER, "robot".into(), NOW).unwrap();
    let (somebodys, _) = vault.open_session(Offset(3), key, &hash("first"), NOW).unwrap();
    let wrong = vault.change_password(USER, key, &hash("wrong"), hash("second"), NOW);
    assert!(matches!(wrong, Err(VaultError::PasswordChanged)));
    assert!(session.is_live());
    let (new, _) = vault.change_password(USER, key, &hash("first"), hash("second"), NOW).unwrap();
    assert_eq!(vault.credential(key), Some(hash("second")));
    for (text, lives) in [(&mine, false), (&stolen, false), (&new, true), (&token, true), (&somebodys, true)]
    {
        assert_eq!(vault.authenticate(text, NOW).is_some(), lives);
    }
    // A log-in that compared with the old hash comes too late.
    let late = vault.open_session(USER, key, &hash("first"), NOW);
    assert!(matches!(late, Err(VaultError::PasswordChanged)));
    vault.set_password(USER, key, hash("third")).unwrap();
    for (text, lives) in [(&new, false), (&token, false), (&somebodys, true)] {
        assert_eq!(vault.authenticate(text, NOW).is_some(), lives);
    }
}

#[test]
fn tokens_are_listed_and_revoked_by_their_owner_only() {
    let vault = Place::new().open();
    let made: Vec<_> = (0..3_u32)
        .map(|n| {
            vault
                .create_token(USER, format!("token {n}"), NOW.after(Duration::from_secs(u64::from(n))))
                .unwrap()
        })
        .collect();
    vault.create_token(Offset(3), "another's".into(), NOW).unwrap();
    let labels = |user| vault.tokens_of(user).iter().map(|token| token.label.clone()).collect::<Vec<_>>();
    assert_eq!(labels(USER), ["token 0", "token 1", "token 2"]);
    let id = made[1].1.id;
    assert!(!vault.revoke_token(Offset(3), id).unwrap());
    assert!(vault.revoke_token(USER, id).unwrap());
    assert!(!vault.revoke_token(USER, id).unwrap());
    assert_eq!(labels(USER), ["token 0", "token 2"]);
    assert!(vault.authenticate(&made[1].0, NOW).is_none());
    vault.revoke_all(USER).unwrap();
    assert!(labels(USER).is_empty());
    assert_eq!(labels(Offset(3)), ["another's"]);
}

#[test]
fn one_user_can_not_fill_the_vault() {
    let vault = Place::new().open();
    let key = user(&vault);
    let at = |n: usize| NOW.after(Duration::from_secs(n as u64));
    let opened: Vec<_> = (0..=SESSIONS_PER_USER_MAX)
        .map(|n| vault.open_session(USER, key, &hash("first"), at(n)).unwrap().0)
        .collect();
    assert!(vault.authenticate(&opened[0], at(0)).is_none(), "the one that was used longest ago");
    assert!(opened[1..].iter().all(|token| vault.authenticate(token, at(0)).is_some()));
    for n in 0..TOKENS_PER_USER_MAX {
        vault.create_token(USER, String::new(), at(n)).unwrap();
    }
    assert!(matches!(vault.create_token(USER, String::new(), NOW), Err(VaultError::TooManyTokens)));
    assert!(vault.create_token(Offset(3), String::new(), NOW).is_ok());
}

#[test]
fn a_full_disk_stops_what_gives_rights_and_not_what_takes_them() {
    let place = Place::new();
    let free = Space::new(std::env::temp_dir(), 0).free_bytes().unwrap();
    let vault = place.open();
    let key = user(&vault);
    let sessions = [0, 1].map(|_| vault.open_session(USER, key, &hash("first"), NOW).unwrap().0);
    drop(vault);

    let vault = place.open_with_mark(free + free / 2);
    assert!(matches!(vault.open_session(USER, key, &hash("first"), NOW), Err(VaultError::DiskFull)));
    assert!(matches!(vault.add_credential(hash("x")), Err(VaultError::DiskFull)));
    assert!(matches!(vault.add_invitation(), Err(VaultError::DiskFull)));
    assert!(matches!(vault.create_token(USER, String::new(), NOW), Err(VaultError::DiskFull)));
    let change = vault.change_password(USER, key, &hash("first"), hash("x"), NOW);
    assert!(matches!(change, Err(VaultError::DiskFull)));
    vault.revoke(&vault.authenticate(&sessions[0], NOW).unwrap()).unwrap();
    drop(vault);

    let vault = place.open_with_mark(4 * free);
    assert!(vault.authenticate(&sessions[0], NOW).is_none());
    let session = vault.authenticate(&sessions[1], NOW).unwrap();
    assert!(matches!(vault.revoke(&session), Err(VaultError::DiskFull)));
    assert!(vault.authenticate(&sessions[1], NOW).is_none(), "dead in this process all the same");
}

struct Log {
    views: Views,
}

impl Log {
    fn append(&mut self, record: NewRecord) -> Offset {
        let offset = self.views.at().next();
        let sealed = Sealed { offset, time: NOW, record, salt: [0; 16], chain: ChainValue::BEGINNING };
        self.views.apply(&sealed.as_record()).unwrap();
        offset
    }

    fn user(&mut self, name: &str, credential: VaultKey) -> Offset {
        let kept = UserCreated { role: Role::Owner, credential, invitation: None };
        self.append(facts::record_with(&kept, &Name { shown: name, folded: name }).unwrap())
    }
}

#[test]
fn a_sweep_removes_what_a_crash_left_and_nothing_else() {
    let place = Place::new();
    let vault = place.open();
    let mut log = Log { views: Views::new(ViewSettings::default()) };
    log.append(facts::record(&OriginStarted { origin: Origin::new(1).unwrap() }).unwrap());
    let (named, unnamed) = (user(&vault), user(&vault));
    let person = log.user("a", named);
    let off = log.user("b", named);
    let changed = UserChanged { user: off, role: Role::Owner, active: false, by: None };
    log.append(facts::record_with(&changed, &Name { shown: "b", folded: "b" }).unwrap());
    let (open, open_key) = vault.add_invitation().unwrap();
    let (orphan, _) = vault.add_invitation().unwrap();
    let issued = InvitationIssued { issuer: person, expires: NOW.after(DAY), secret: open_key };
    log.append(facts::record(&issued).unwrap());
    let session = |user| vault.open_session(user, named, &hash("first"), NOW).unwrap().0;
    let (living, dead, of_nobody) = (session(person), session(off), session(Offset(99)));

    let swept = vault.sweep(&log.views).unwrap();
    assert_eq!(swept, Swept { credentials: 1, sessions: 2, invitations: 1 });
    assert_eq!(vault.sweep(&log.views).unwrap(), Swept::default());
    let check = |vault: &Vault| {
        assert_eq!((vault.credential(named), vault.credential(unnamed)), (Some(hash("first")), None));
        assert_eq!((vault.invitation(&open), vault.invitation(&orphan)), (Some(open_key), None));
        let lives = [&living, &dead, &of_nobody].map(|token| vault.authenticate(token, NOW).is_some());
        assert_eq!(lives, [true, false, false]);
    };
    check(&vault);
    drop(vault);
    check(&place.open());
}

#[test]
fn what_was_refused_is_forgotten() {
    let place = Place::new();
    let vault = place.open();
    let credential = user(&vault);
    let (token, invitation) = vault.add_invitation().unwrap();
    vault.forget(credential).unwrap();
    vault.forget(invitation).unwrap();
    let check =
        |vault: Vault| assert_eq!((vault.credential(credential), vault.invitation(&token)), (None, None));
    check(vault);
    check(place.open());
}

#[test]
fn a_damaged_entry_is_reported_and_not_served() {
    for (table, key, value) in [
        (stored::CREDENTIALS, &[1_u8; 16][..], &b"not a hash"[..]),
        (stored::CREDENTIALS, &[1; 15], hash("first").as_str().as_bytes()),
        (stored::SESSIONS, &[1; 32], &[2, 0, 0]),
        (stored::SESSIONS, &[1; 32], &[]),
        (stored::SESSIONS, &[1; 32], &[1, 0, 0]),
        (stored::INVITATIONS, &[1; 16], &[0; 31]),
    ] {
        let place = Place::new();
        drop(place.open());
        let db = SyncedDb::open(&place.path, CACHE_BYTES).unwrap();
        let tree = db.tree(table).unwrap();
        let mut batch = SyncedBatch::default();
        batch.put(&tree, key, value).unwrap();
        db.commit(batch).unwrap();
        drop((tree, db));
        let space = Space::new(std::env::temp_dir(), 0);
        let options = VaultOptions {
            failed: place.failed.clone(),
            session_lives: SessionLives { idle: DAY, whole: 400 * DAY },
            password_hashers_max: 1,
            password_waiters_max: 8,
            memory: Memory::new(None),
            space,
        };
        let opened = Vault::open(&place.path, &options);
        assert!(matches!(opened, Err(VaultError::Damaged { table: found, .. }) if found == table), "{table}");
    }
}
