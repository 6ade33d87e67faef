use scrollback_log::fuzzing::replay;

use super::*;

#[test]
fn every_kept_input_of_arvados_still_holds() {
    replay("arvados", arvados);
}

#[test]
fn every_kept_input_of_cursor_still_holds() {
    replay("cursor", cursor);
}

#[test]
fn every_kept_input_of_filters_still_holds() {
    replay("filters", filters);
}

#[test]
fn every_kept_input_of_http_head_still_holds() {
    replay("http_head", http_head);
}

#[test]
fn every_kept_input_of_import_line_still_holds() {
    replay("import_line", import_line);
}

#[test]
fn every_seed_holds() {
    for (target, seeds) in seeds() {
        let property = match target {
            "arvados" => arvados,
            "cursor" => cursor,
            "filters" => filters,
            "http_head" => http_head,
            _ => import_line,
        };
        seeds.iter().for_each(|seed| property(seed));
    }
}
