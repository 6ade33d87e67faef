use scrollback_log::fuzzing::replay;

use super::*;

#[test]
fn every_kept_input_of_kept_still_holds() {
    replay("kept", kept);
}

#[test]
fn every_kept_input_of_text_still_holds() {
    replay("text", text);
}

#[test]
fn every_kept_input_of_format_0_still_holds() {
    replay("format_0", format_0);
}

#[test]
fn the_seeds_hold_and_have_all_kinds() {
    for (target, seeds) in seeds() {
        let property = match target {
            "kept" => kept,
            "text" => text,
            _ => format_0,
        };
        seeds.iter().for_each(|seed| property(seed));
        for kind in 1..=KINDS {
            assert!(seeds.iter().any(|seed| seed[0] == kind), "no seed of {target} is of kind {kind}");
        }
    }
}
