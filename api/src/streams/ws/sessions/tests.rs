use proptest::prelude::*;

use super::*;

const ADA: Offset = Offset(2);
const BOB: Offset = Offset(3);

fn begin(sessions: &Sessions, nudge: &Arc<Notify>) -> Seat {
    sessions.begin(ADA, Filters::default(), 10, Offset(5), nudge).ok().unwrap()
}

#[tokio::test]
async fn whoever_takes_a_session_goes_on_after_what_is_acknowledged_and_the_one_before_says_nothing_more() {
    let sessions = Sessions::new(Duration::from_secs(60));
    let (first_nudge, second_nudge) = (Arc::default(), Arc::default());
    let first = begin(&sessions, &first_nudge);
    first.acknowledge(Offset(9));
    first.acknowledge(Offset(7));
    let id = first.session.id.to_string();
    assert!(first.turn().is_some());
    let (second, acknowledged) = sessions.take(ADA, &id, &second_nudge).unwrap();
    assert_eq!(acknowledged, Offset(9), "going back says nothing new");
    assert!(first.turn().is_none() && second.turn().is_some());
    first_nudge.notified().await;
    first.acknowledge(Offset(20));
    sessions.end(&first);
    assert!(sessions.look(ADA, &id).is_some(), "it is not that one's to end");
    drop(first);
    assert!(second.turn().is_some(), "the one before leaves nothing");
    drop(second);
    assert_eq!(sessions.take(ADA, &id, &second_nudge).unwrap().1, Offset(9));
}

#[test]
fn a_session_is_there_for_its_own_user_and_under_its_one_name() {
    let sessions = Sessions::new(Duration::from_secs(60));
    let nudge = Arc::default();
    let seat = begin(&sessions, &nudge);
    let id = seat.session.id.to_string();
    assert!(sessions.take(BOB, &id, &nudge).is_none());
    for other in ["", "S", "S1", &id.to_uppercase(), &id[1..], &format!("{id}0"), &id.replace('S', "S+")] {
        assert!(sessions.take(ADA, other, &nudge).is_none(), "{other}");
    }
    assert!(seat.turn().is_some(), "nobody has taken it");
    sessions.end(&seat);
    assert!(sessions.take(ADA, &id, &nudge).is_none());
    assert!(sessions.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_is_kept_for_a_while_and_what_somebody_has_for_ever() {
    let sessions = Sessions::new(Duration::from_secs(60));
    let nudge = Arc::default();
    let (kept, left) = (begin(&sessions, &nudge), begin(&sessions, &nudge));
    let ids = [&kept, &left].map(|seat| seat.session.id.to_string());
    drop(left);
    tokio::time::advance(Duration::from_secs(59)).await;
    sessions.sweep();
    let left = sessions.take(ADA, &ids[1], &nudge).unwrap().0;
    drop(left);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(sessions.take(ADA, &ids[1], &nudge).is_none(), "whether it was swept or not");
    sessions.sweep();
    assert_eq!(sessions.lock()[&ADA].by_id.len(), 1);
    assert!(kept.turn().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_user_has_so_many_sessions_and_not_more() {
    let sessions = Sessions::new(Duration::ZERO);
    let nudge = Arc::default();
    let mut seats: Vec<Seat> = (0..SESSIONS_OF_USER_MAX).map(|_| begin(&sessions, &nudge)).collect();
    assert!(sessions.begin(ADA, Filters::default(), 1, Offset(0), &nudge).is_err());
    assert!(sessions.begin(BOB, Filters::default(), 1, Offset(0), &nudge).is_ok());
    seats.pop();
    tokio::time::advance(SWEEP_AGAIN).await;
    assert!(
        sessions.begin(ADA, Filters::default(), 1, Offset(0), &nudge).is_ok(),
        "one was left, and is over"
    );
    assert_eq!(sessions.count(), counted(&sessions), "what makes room is counted, too");
}

/// Counts by a look at each.
fn counted(sessions: &Sessions) -> (usize, usize) {
    let known = sessions.lock();
    let all: Vec<_> = known.values().flat_map(|of_user| of_user.by_id.values()).collect();
    let kept = all.iter().filter(|session| session.lock().left_at.is_some());
    (all.len(), kept.count())
}

proptest! {
    #[test]
    fn the_count_is_that_of_a_look_at_each_whatever_becomes_of_them(
        steps in proptest::collection::vec((0..6, any::<prop::sample::Index>()), 0..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let sessions = Sessions::new(Duration::from_secs(60));
            let nudge = Arc::default();
            let (mut seats, mut ids): (Vec<Seat>, Vec<String>) = Default::default();
            for (step, which) in steps {
                let seat = (!seats.is_empty()).then(|| which.index(seats.len().max(1)));
                match (step, seat) {
                    (0 | 1, _) => {
                        let seat = begin(&sessions, &nudge);
                        ids.push(seat.session.id.to_string());
                        seats.push(seat);
                    }
                    // The one before keeps its seat, and leaves or ends nothing by it any more.
                    (2, _) if !ids.is_empty() => {
                        let taken = sessions.take(ADA, &ids[which.index(ids.len())], &nudge);
                        seats.extend(taken.map(|(seat, _)| seat));
                    }
                    (3, Some(seat)) => drop(seats.swap_remove(seat)),
                    (4, Some(seat)) => {
                        sessions.end(&seats[seat]);
                        sessions.end(&seats[seat]);
                    }
                    (5, _) => {
                        tokio::time::advance(Duration::from_secs(25)).await;
                        sessions.sweep();
                    }
                    _ => {}
                }
                prop_assert_eq!(sessions.count(), counted(&sessions));
            }
            drop(seats);
            tokio::time::advance(Duration::from_secs(60)).await;
            sessions.sweep();
            prop_assert_eq!(sessions.count(), (0, 0));
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_room_those_go_that_were_left_longest() {
    let sessions = Sessions::new(Duration::from_secs(60));
    let nudge = Arc::default();
    let kept = begin(&sessions, &nudge);
    let mut left = Vec::new();
    while left.len() + 1 < SESSIONS_OF_USER_MAX {
        let seat = begin(&sessions, &nudge);
        left.push(seat.session.id.to_string());
        drop(seat);
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    let newest = begin(&sessions, &nudge);
    assert!(kept.turn().is_some() && newest.turn().is_some());
    assert!(sessions.look(ADA, left.first().unwrap()).is_none());
    assert!(sessions.look(ADA, left.last().unwrap()).is_some());
    let (known, waiting) = sessions.count();
    assert_eq!((known, waiting), (sessions.lock()[&ADA].by_id.len(), known - 2));
    assert!(waiting > SESSIONS_OF_USER_MAX / 3, "half of them at the most: {waiting}");
}

#[test]
fn the_values_in_all_filters_of_a_user_are_bounded() {
    let sessions = Sessions::new(Duration::from_secs(60));
    let nudge = Arc::default();
    let numbers: Vec<u64> = (0..100).collect();
    let condition = serde_json::json!(["offset", "in", numbers]);
    let filters = serde_json::json!([vec![condition; 8]]);
    let filters = Filters::from_json(&filters, &scrollback_projections::Origins::default()).unwrap();
    let begin = |user| sessions.begin(user, filters.clone(), 1, Offset(0), &nudge);
    let most = VALUES_OF_USER_MAX / filters.values();
    let mut seats: Vec<Seat> = (0..most).map(|_| begin(ADA).ok().unwrap()).collect();
    assert!(begin(ADA).is_err() && begin(BOB).is_ok());
    sessions.end(&seats.pop().unwrap());
    assert!(begin(ADA).is_ok());
}
