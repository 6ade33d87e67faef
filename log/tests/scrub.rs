//! The slow check: it goes round the log in bounded steps and finds damage that nobody reads.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod common;

use common::{append_notes, log_on};
use scrollback_log::engine::memory::MemoryStore;
use scrollback_log::scrub::Scrub;
use scrollback_log::{Damage, Offset, ReadError};

#[test]
fn it_goes_round_the_log_in_bounded_steps() {
    let store = MemoryStore::new();
    let (log, mut appender) = log_on(&store);
    let mut scrub = Scrub::default();
    assert_eq!(scrub.step(&log, 4), Ok(0), "an empty log");
    for _ in 0..10 {
        append_notes(&mut appender, ["a"]);
    }
    let mut steps = Vec::new();
    for _ in 0..6 {
        let checked = scrub.step(&log, 4).unwrap();
        steps.push((checked, scrub.checked().0));
    }
    assert_eq!(steps, [(4, 4), (4, 8), (2, 10), (4, 4), (4, 8), (2, 10)]);
    let mut later = Scrub::after(Offset(8));
    assert_eq!((later.step(&log, 4), later.checked()), (Ok(2), Offset(10)));
}

#[test]
fn it_reports_damage_once_a_round_and_goes_on_behind_it() {
    let store = MemoryStore::new();
    let (log, mut appender) = log_on(&store);
    for _ in 0..10 {
        append_notes(&mut appender, ["a"]);
    }
    store.damage(Offset(6), |chunk| chunk[50] ^= 1);
    let mut scrub = Scrub::default();
    let mut found = Vec::new();
    for _ in 0..2 {
        let mut checked = 0;
        loop {
            match scrub.step(&log, 4) {
                Ok(records) => checked += records,
                Err(ReadError::Damaged { offset, .. }) => found.push(offset),
                Err(other) => panic!("{other}"),
            }
            if scrub.checked() == log.head().offset {
                break;
            }
        }
        assert!(checked >= 8, "{checked}");
    }
    assert_eq!(found, [Offset(6), Offset(6)]);
}

#[test]
fn the_log_remembers_what_any_reader_has_met() {
    let store = MemoryStore::new();
    let (log, mut appender) = log_on(&store);
    for _ in 0..10 {
        append_notes(&mut appender, ["a"]);
    }
    store.damage(Offset(6), |chunk| chunk[50] ^= 1);
    store.damage(Offset(8), |chunk| chunk[50] ^= 1);
    log.read(Offset(5), |_| ()).unwrap();
    assert_eq!(log.damage(), Damage { reads: 0, first: None });
    log.read(Offset(8), |_| ()).unwrap_err();
    assert_eq!(log.damage(), Damage { reads: 1, first: Some(Offset(8)) });
    Scrub::default().step(&log, 7).unwrap_err();
    log.chain_at(Offset(8)).unwrap_err();
    log.read(Offset(5), |_| ()).unwrap();
    assert_eq!(log.damage(), Damage { reads: 3, first: Some(Offset(8)) });
}
