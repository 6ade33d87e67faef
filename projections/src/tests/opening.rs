//! From a log to its views, through restarts, erasures and checkpoints.

use proptest::prelude::*;
use scrollback_log::{Offset, Text};
use tempfile::TempDir;

use super::{a_full_history, append, bytes, dice, folded, log_of, open, opened, permitted, visible};
use crate::facts::{self, MessageSent};
use crate::testing::{Dice, History, SETTINGS};
use crate::{
    CheckpointState, Contradiction, FoldError, OpenViewsError, Progress, Views, checkpoint, rebuild,
    rebuild_to,
};

proptest! {
    /// The life of a server: records come, texts are erased step by step, a checkpoint is taken, it stops anywhere and starts
    /// again.
    #[test]
    fn after_every_restart_the_views_are_whole_and_nothing_deleted_can_be_read(
        throws in dice(120),
        stops in prop::collection::vec((0.0..=1.0_f64, any::<bool>(), 0_usize..3), 0..4),
    ) {
        let history = History::new(&throws);
        let views_dir = TempDir::new().unwrap();
        let (store, mut log, mut appender) = log_of(&History::default());
        let mut views = Views::new(SETTINGS);
        let sealed = history.sealed();
        let mut stops: Vec<_> = stops.into_iter().map(|(part, checkpoint, erase)| {
            ((sealed.len() as f64 * part) as usize, checkpoint, erase)
        }).collect();
        stops.sort_unstable_by_key(|(at, ..)| *at);
        stops.push((sealed.len(), false, 0));
        let mut checkpointed = None;
        for (stop, checkpoint, erase) in stops {
            for (next, sealed) in sealed.iter().enumerate().take(stop).skip(views.at().0 as usize) {
                append(&mut appender, &history, next..next + 1);
                if let Some(named) = views.apply(&sealed.as_record()).unwrap() {
                    log.mask(named.deletion, named.targets);
                }
            }
            for _ in 0..erase {
                appender.erase_step().unwrap();
            }
            if checkpoint {
                checkpoint::write(views_dir.path(), &views, &log).unwrap().commit().unwrap();
                checkpointed = Some(views.at());
            }
            // Erasing goes on after the checkpoint, so that some of its masks are carried out already.
            if erase == 2 {
                appender.erase_step().unwrap();
            }
            (log, appender) = open(&store);
            let opened = opened(&log, views_dir.path());
            prop_assert_eq!(opened.from, checkpointed.map_or(CheckpointState::Absent, CheckpointState::Used));
            prop_assert_eq!(bytes(&opened.views), bytes(&views));
            views = opened.views;
        }
        prop_assert_eq!(visible(&log), permitted(&history));
        prop_assert_eq!(bytes(&views), bytes(&folded(&history, Offset::BEGINNING)));

        // Carried out to the end, nothing waits any more, and the log alone still gives these views.
        while appender.erase_step().unwrap() {}
        let (log, _appender) = open(&store);
        prop_assert_eq!(bytes(&rebuild(&log, SETTINGS, &mut |_| {}).unwrap()), bytes(&views));
        prop_assert_eq!(log.with_masks(|masks| masks.texts_waiting()), 0);
        prop_assert_eq!(visible(&log), permitted(&history));
    }

    #[test]
    fn the_state_at_an_offset_is_the_fold_up_to_it(throws in dice(60), part in 0.0..=1.0_f64) {
        let history = History::new(&throws);
        let (_, log, _) = log_of(&history);
        let at = Offset((history.head().0 as f64 * part) as u64);
        let mut expected = Views::new(SETTINGS);
        for sealed in history.sealed().iter().take(at.0 as usize) {
            expected.apply(&sealed.as_record()).unwrap();
        }
        prop_assert_eq!(bytes(&rebuild_to(&log, at, SETTINGS, &mut |_| {}).unwrap()), bytes(&expected));
        prop_assert!(log.with_masks(|masks| masks.is_empty()));
    }
}

#[test]
fn a_state_the_log_has_not_reached_is_refused() {
    let history = a_full_history();
    let (_, log, _) = log_of(&history);
    let error = rebuild_to(&log, history.head().next(), SETTINGS, &mut |_| {}).unwrap_err();
    assert!(matches!(error, OpenViewsError::BeyondHead { .. }), "{error}");
}

#[test]
fn a_deletion_is_masked_from_the_start_even_when_the_checkpoint_knew_nothing_of_it() {
    let history = a_full_history();
    let (deletion, targets) = history.deletions.last().unwrap().clone();
    let (store, log, mut appender) = log_of(&History::default());
    let before = deletion.offset.0 as usize - 1;
    append(&mut appender, &history, 0..before);
    let dir = TempDir::new().unwrap();
    let views = opened(&log, dir.path()).views;
    checkpoint::write(dir.path(), &views, &log).unwrap().commit().unwrap();
    append(&mut appender, &history, before..history.records.len());

    let (log, _appender) = open(&store);
    let target = targets[0];
    assert!(matches!(log.read(target, |record| matches!(record.text, Text::Present(_))), Ok(Some(true))));
    opened(&log, dir.path());
    assert_eq!(log.read(target, |record| record.text == Text::Gone(deletion)), Ok(Some(true)));
}

#[test]
fn progress_is_told_and_ends_at_the_head() {
    let history = History::new(&many_messages(40_000));
    let (_, log, _) = log_of(&history);
    let mut told = Vec::new();
    rebuild(&log, SETTINGS, &mut |progress| told.push(progress)).unwrap();
    let head = history.head();
    let expected: Vec<Progress> = (1..=head.0 / 16_384)
        .map(|times| Offset(times * 16_384))
        .chain([head])
        .map(|at| Progress { at, head })
        .collect();
    assert!(expected.len() > 2);
    assert_eq!(told, expected);
}

#[test]
fn a_record_that_contradicts_the_log_stops_the_start() {
    let history = a_full_history();
    let (_, log, mut appender) = log_of(&history);
    let nowhere = MessageSent { channel: Offset(1), sender: Offset(2), key: None };
    let record = facts::record_with(&nowhere, &facts::Body { body: "to nobody" }).unwrap();
    appender.append(history.time_of(history.head()), vec![record]).unwrap();
    appender.publish();
    let dir = TempDir::new().unwrap();
    let error = crate::open_views(&log, dir.path(), SETTINGS, &mut |_| {}).unwrap_err();
    let what = Contradiction::NoSuchChannel(Offset(1));
    assert!(
        matches!(&error, OpenViewsError::Fold(FoldError::Contradiction { offset, what: found })
            if *offset == history.head().next() && *found == what),
        "{error}"
    );
}

#[test]
fn damage_in_the_log_stops_the_start() {
    let history = a_full_history();
    let (store, log, _) = log_of(&history);
    let (first, _) = store.chunks()[5];
    store.damage(first, |bytes| *bytes.last_mut().unwrap() ^= 1);
    let dir = TempDir::new().unwrap();
    let error = crate::open_views(&log, dir.path(), SETTINGS, &mut |_| {}).unwrap_err();
    assert!(matches!(error, OpenViewsError::Read(_)), "{error}");
}

/// One channel and this many messages.
fn many_messages(count: usize) -> Vec<Dice> {
    std::iter::once([2, 0, 1, 0]).chain((0..count).map(|_| [5, 0, 1, 0])).collect()
}
