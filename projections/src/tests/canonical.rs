//! The canonical form: the same views, the same bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use roaring::RoaringTreemap;
use scrollback_log::Offset;

use super::{a_full_history, bytes, dice, folded};
use crate::pieces::{PieceReader, PieceWriter};
use crate::testing::{History, SETTINGS};
use crate::{Views, checkpoint};

fn written(set: &RoaringTreemap) -> Vec<u8> {
    let mut bytes = Vec::new();
    PieceWriter::new(&mut bytes).set(set).unwrap();
    bytes
}

fn read(bytes: &[u8]) -> Option<Views> {
    Views::read_canonical(SETTINGS, &mut PieceReader::new(&mut &*bytes)).ok()
}

proptest! {
    #[test]
    fn going_on_from_stored_views_gives_the_bytes_of_one_whole_fold(throws in dice(150), part in 0.0..=1.0_f64) {
        let history = History::new(&throws);
        let sealed = history.sealed();
        let (first, rest) = sealed.split_at((sealed.len() as f64 * part) as usize);
        let mut views = Views::new(SETTINGS);
        for sealed in first {
            views.apply(&sealed.as_record()).unwrap();
        }
        let mut views = read(&bytes(&views)).unwrap();
        for sealed in rest {
            views.apply(&sealed.as_record()).unwrap();
        }
        prop_assert_eq!(bytes(&views), bytes(&folded(&history, Offset::BEGINNING)));
    }

    #[test]
    fn a_sets_bytes_depend_on_its_members_alone(
        runs in vec((0_u64..300_000, 1_u64..9_000), 1..6),
        alone in vec(0_u64..300_000, 0..50),
        high in prop_oneof![Just(0_u64), Just(1 << 32), Just(1 << 45)],
    ) {
        let mut one_by_one = RoaringTreemap::new();
        let mut by_ranges = RoaringTreemap::new();
        for (start, length) in &runs {
            (high + start..high + start + length).for_each(|member| { one_by_one.insert(member); });
            by_ranges.insert_range(high + start..high + start + length);
        }
        for member in &alone {
            one_by_one.insert(high + member);
            by_ranges.insert(high + member);
        }
        // Members that come and go again leave their containers in other shapes, or empty.
        one_by_one.insert_range(high + 400_000..high + 470_000);
        one_by_one.remove_range(high + 400_000..high + 470_000);
        one_by_one.insert(7 << 50);
        one_by_one.remove(7 << 50);
        by_ranges.optimize();
        let expected = written(&one_by_one);
        prop_assert_eq!(&written(&by_ranges), &expected);
        prop_assert_eq!(written(&one_by_one.iter().collect()), expected);
    }

    #[test]
    fn bytes_that_are_not_views_never_panic(cut in 0.0..1.0_f64, changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let mut bytes = bytes(&folded(&a_full_history(), Offset::BEGINNING));
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if cut > 0.5 {
            bytes.truncate((bytes.len() as f64 * cut) as usize);
            prop_assert!(read(&bytes).is_none());
        }
        // Whatever it gives, it gives it without a panic and in bounded memory; the checksum is what refuses it.
        let _ = read(&bytes);
    }
}

#[test]
fn a_tie_between_two_shapes_of_a_container_is_always_decided_alike() {
    // A run costs four bytes and two of bookkeeping, an array two for each member: three in a row cost six either way.
    let array: RoaringTreemap = [5, 6, 7].into_iter().collect();
    let mut run = RoaringTreemap::new();
    run.insert_range(5..105);
    run.optimize();
    run.remove_range(8..105);
    let mut plain = Vec::new();
    run.serialize_into(&mut plain).unwrap();
    let mut other = Vec::new();
    array.serialize_into(&mut other).unwrap();
    assert_ne!(plain, other, "roaring itself has one shape for these members now: the normalising can go");
    assert_eq!(written(&run), written(&array));
}

#[test]
fn the_canonical_form_of_a_fixed_history_is_what_it_was_when_this_view_version_was_released() {
    let views = folded(&a_full_history(), Offset::BEGINNING);
    let digest: String = views.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    let golden = include_str!("../../tests/golden/views-digest.txt").trim();
    let version = checkpoint::VIEW_VERSION;
    assert_eq!(format!("{version} {digest}"), golden, "other views need another VIEW_VERSION");
}
