use std::time::Duration;

use super::*;
use crate::streams::Bye;
use crate::streams::watches::watch::Role;
use crate::streams::watches::{DELAY_DEFAULT, LEASE_MIN};

const ADA: Offset = Offset(2);
const BOB: Offset = Offset(3);
const OPTIONS: Options = Options { max_delay: DELAY_DEFAULT, lease: LEASE_MIN };

fn set(watches: &Watches, name: &str) -> Arc<Watch> {
    let kept = watches.set(ADA, name, Set::default(), OPTIONS).unwrap();
    let watch = watches.get(ADA, name).unwrap();
    assert_eq!(watch.epoch(), kept.epoch);
    watch
}

#[tokio::test(start_paused = true)]
async fn whoever_reads_is_replaced_by_a_new_setting_and_by_a_new_stream_and_polls_by_no_stream() {
    let watches = Watches::default();
    let watch = set(&watches, "w");
    let (mut first, poll) = (watch.read(Role::Stream).unwrap(), watch.read(Role::Poll).unwrap());
    assert!(first.turn().is_some() && poll.turn().is_some());
    let second = watch.read(Role::Stream).unwrap();
    first.touched.changed().await.unwrap();
    assert_eq!((first.over(), second.over(), poll.over()), (Some(Bye::Replaced), None, None));
    let before = watch.epoch();
    assert!(Arc::ptr_eq(&watch, &set(&watches, "w")) && watch.epoch() > before);
    for reader in [&first, &second, &poll] {
        assert!(reader.turn().is_none() && reader.over() == Some(Bye::Replaced));
    }
    let third = watch.read(Role::Stream).unwrap();
    drop((first, second));
    tokio::time::advance(2 * LEASE_MIN).await;
    assert!(watches.get(ADA, "w").is_some(), "somebody reads it, whoever of before goes");
    watches.end(ADA, "w");
    assert_eq!((third.over(), third.turn().is_none()), (Some(Bye::Unwatched), true));
    assert!(watches.get(ADA, "w").is_none());
    watches.end(ADA, "w");
    assert!(set(&watches, "w").epoch() > third.epoch && third.over() == Some(Bye::Unwatched));
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_kept_for_its_lease_after_it_was_set_read_or_renewed() {
    let watches = Watches::default();
    let watch = set(&watches, "w");
    let (almost, whole) = (LEASE_MIN - Duration::from_secs(1), LEASE_MIN);
    tokio::time::advance(almost).await;
    assert_eq!(watches.get(ADA, "w").unwrap().renew().unwrap().left, LEASE_MIN);
    tokio::time::advance(almost).await;
    drop(watch.read(Role::Poll).unwrap());
    tokio::time::advance(almost).await;
    for role in [Role::Stream, Role::Poll] {
        let reader = watch.read(role).unwrap();
        tokio::time::advance(3 * whole).await;
        watches.sweep();
        assert_eq!((watches.count(), reader.over()), ((1, 0), None));
    }
    tokio::time::advance(almost).await;
    assert!(watches.get(ADA, "w").is_some() && watches.get(BOB, "w").is_none());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(watches.get(ADA, "w").is_none() && watch.read(Role::Stream).is_err());
    assert_eq!(watches.count(), (0, 0));
    let held = Arc::clone(&watches.lock()[&ADA]["w"]);
    watches.sweep();
    assert!(watches.lock().is_empty());
    assert!(held.renew().is_none() && held.read(Role::Poll).is_err(), "it does not come back");
}

#[test]
fn a_user_has_so_many_watches_and_not_more() {
    let watches = Watches::default();
    for number in 0..WATCHES_OF_USER_MAX {
        set(&watches, &number.to_string());
    }
    assert!(watches.set(ADA, "more", Set::default(), OPTIONS).is_err());
    assert!(watches.set(ADA, "7", Set::default(), OPTIONS).is_ok(), "in place of one");
    assert!(watches.set(BOB, "more", Set::default(), OPTIONS).is_ok());
    watches.end(ADA, "3");
    assert!(watches.set(ADA, "more", Set::default(), OPTIONS).is_ok());
}

#[test]
fn whoever_comes_for_another_setting_of_a_watch_reads_nothing_and_puts_nobody_out() {
    let watches = Watches::default();
    let before = set(&watches, "w").epoch();
    let watch = set(&watches, "w");
    let reader = watch.read(Role::StreamOf(watch.epoch())).unwrap();
    assert_eq!(watch.read(Role::StreamOf(before)).err(), Some(Bye::Replaced));
    assert_eq!(reader.over(), None);
    watches.end(ADA, "w");
    assert_eq!(watch.read(Role::StreamOf(before)).err(), Some(Bye::Unwatched));
}
