use std::io::{BufRead, BufReader, Cursor, Read};

use proptest::prelude::*;
use scrollback_log::{Offset, Timestamp};
use scrollback_projections::facts::{self, Fact, Imported as Text};

use super::*;
use crate::commands::Command;
use crate::node::testing::{NOW, open};
use crate::{Node, expiry, timestamps};

type Line = (String, i64, String, String);

fn file_of(lines: &[Line]) -> String {
    let line = |(channel, at, sender, body): &Line| {
        let at = timestamps::show(Timestamp(*at)).to_string();
        serde_json::json!({"channel": channel, "at": at, "sender": sender, "body": body}).to_string() + "\n"
    };
    lines.iter().map(line).collect()
}

/// Lines with bodies of one length, so that other texts make no other digest.
fn lines(count: usize, word: &str) -> Vec<Line> {
    (0..count)
        .map(|n| {
            let body = format!("{word} {n:09}");
            (format!("channel {}", n % 3), 1_000_000 * n as i64, format!("sender {}", n % 7), body)
        })
        .collect()
}

fn reader(text: &str) -> io::Result<Box<dyn BufRead + Send>> {
    Ok(Box::new(Cursor::new(text.to_owned().into_bytes())))
}

fn import(node: &Node, text: &str) -> Result<Imported, ImportError> {
    let file = || reader(text);
    let plan = plan(node, &file, &mut |_| {})?;
    run(node, &plan, &file, &mut |_| {})
}

/// The imported messages in the order of the log, as lines.
fn imported(node: &Node) -> Vec<Line> {
    let mut lines = Vec::new();
    let views = node.read_views();
    node.log
        .scan(Offset::FIRST, node.log.head().offset, &mut |record| {
            if let Fact::MessageImported(kept) = Fact::decode(&record).unwrap() {
                let channel = views.channels().get(kept.channel).unwrap().name.clone();
                let text: Text<'_> = facts::text(&record).unwrap().unwrap();
                lines.push((channel, kept.at.0, text.sender_name.to_owned(), text.body.to_owned()));
            }
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    lines
}

#[test]
fn a_file_goes_in_in_order_and_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = open(dir.path());
    let lines = lines(STEP_LINES_MAX + 1000, "word");
    let text = file_of(&lines);
    let mut told = Vec::new();
    let file = || reader(&text);
    let planned = plan(&node, &file, &mut |_| {}).unwrap();
    assert_eq!((planned.lines, planned.lines_done), (lines.len() as u64, 0));
    let done = run(&node, &planned, &file, &mut |progress| told.push(progress)).unwrap();
    let all = lines.len() as u64;
    assert_eq!((done.lines, done.added, done.already_there), (all, all, 0));
    assert_eq!(done.records, all + 3 + 2, "three channels, two notes of how far it came");
    let progress = |lines| ImportProgress::Imported { lines, of: all };
    assert_eq!(told, [progress(STEP_LINES_MAX as u64), progress(all)]);
    assert_eq!(imported(&node), lines);
    let head = node.log.head();
    let again = import(&node, &text).unwrap();
    assert_eq!((again.added, again.already_there, node.log.head()), (0, all, head));
    node.close().unwrap();
    drop(node);
    let (node, _) = open(dir.path());
    assert_eq!(import(&node, &text).unwrap().added, 0, "also after a restart");
}

#[test]
fn an_import_that_was_interrupted_goes_on_with_the_first_line_that_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = open(dir.path());
    let lines = lines(3 * STEP_LINES_MAX - 7, "word");
    let text = file_of(&lines);
    let whole = || reader(&text);
    let planned = plan(&node, &whole, &mut |_| {}).unwrap();
    // The disk that the file lies on fails after two thirds.
    let broken = || -> io::Result<Box<dyn BufRead + Send>> {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk failed"))
            }
        }
        let first = Cursor::new(text.as_bytes()[..text.len() * 2 / 3].to_vec());
        Ok(Box::new(BufReader::new(first.chain(Fails))))
    };
    let failed = run(&node, &planned, &broken, &mut |_| {});
    assert!(matches!(failed, Err(ImportError::File(_))), "{failed:?}");
    assert_eq!(imported(&node), lines[..STEP_LINES_MAX]);
    // What the first run believed of the log is no longer so.
    assert!(matches!(run(&node, &planned, &whole, &mut |_| {}), Err(ImportError::Refused(_))));

    let rest = import(&node, &text).unwrap();
    assert_eq!(
        (rest.already_there, rest.added),
        (STEP_LINES_MAX as u64, (lines.len() - STEP_LINES_MAX) as u64)
    );
    assert_eq!(imported(&node), lines);
}

#[test]
fn a_file_that_has_grown_adds_what_is_new_however_often_it_grew() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = open(dir.path());
    let lines = lines(9000, "word");
    for (count, added) in [(10, 10), (10, 0), (5000, 4990), (5001, 1), (9000, 3999), (5001, 0)] {
        let done = import(&node, &file_of(&lines[..count])).unwrap();
        assert_eq!(done.added, added, "{count} lines");
    }
    assert_eq!(imported(&node), lines);
}

#[test]
fn files_that_differ_in_nothing_but_their_words_are_different_files() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = open(dir.path());
    let (one, other) = (lines(5000, "abcd"), lines(5000, "efgh"));
    for (lines, added) in [(&one, 5000), (&other, 5000), (&one, 0), (&other, 0)] {
        assert_eq!(import(&node, &file_of(lines)).unwrap().added, added);
    }
    assert_eq!(imported(&node), [one, other].concat());
}

#[test]
fn what_was_imported_and_is_gone_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (node, clock) = open(dir.path());
    let text = file_of(&lines(5000, "word"));
    import(&node, &text).unwrap();
    clock.set(NOW);
    let all = expiry::expire_before(&node, Timestamp(4_000_000_000), None, false, &mut |_, _| {}).unwrap();
    assert_eq!(all, 4000);
    assert_eq!(import(&node, &text).unwrap().added, 0, "part of it is gone");
    let owner = node.user("owner", facts::Role::Owner);
    let channels: Vec<_> = node.read_views().channels().iter().map(|(channel, _)| channel).collect();
    for channel in channels {
        node.done(Command::DeleteChannel { channel, by: owner });
    }
    assert_eq!(import(&node, &text).unwrap().added, 0, "all of it is gone, its channels too");
}

#[test]
fn a_bad_line_anywhere_means_that_nothing_is_imported() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = open(dir.path());
    let head = node.log.head();
    let text = file_of(&lines(6000, "word")) + "\n \nnonsense\n{}\n" + &"x\n".repeat(30);
    let Err(error @ ImportError::BadLines { .. }) = import(&node, &text) else { panic!("imported") };
    let shown = error.to_string();
    let ImportError::BadLines { lines, count } = error else { panic!("{shown}") };
    assert_eq!((lines.len(), count), (LISTED_LINES_MAX, 32));
    assert_eq!((lines[0].number, lines[1].number), (6003, 6004));
    assert!(
        shown.contains("line 6004: missing field `channel`") && shown.ends_with("and 12 more"),
        "{shown}"
    );
    assert_eq!(node.log.head(), head);
    let long = format!("{{\"channel\":\"{}\"}}", "x".repeat(LINE_BYTES_MAX));
    assert!(matches!(import(&node, &long), Err(ImportError::BadLines { count: 1, .. })));
    assert_eq!(import(&node, "").unwrap().lines, 0, "an empty file is a file");
    assert_eq!(node.log.head(), head);
}

#[test]
fn a_file_that_changes_meanwhile_stops_the_import() {
    let lines = lines(STEP_LINES_MAX + 10, "word");
    let text = file_of(&lines);
    let mut other = lines.clone();
    other[STEP_LINES_MAX + 3].1 += 1;
    for changed in [
        file_of(&other),
        file_of(&lines[..STEP_LINES_MAX + 5]),
        text.clone() + "{}\n",
        text.replace("word 000004099", "\""),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (node, _) = open(dir.path());
        let planned = plan(&node, &|| reader(&text), &mut |_| {}).unwrap();
        let outcome = run(&node, &planned, &|| reader(&changed), &mut |_| {});
        let has_only_grown = changed.starts_with(&text);
        assert_eq!(matches!(outcome, Err(ImportError::FileChanged)), !has_only_grown, "{outcome:?}");
        assert_eq!(import(&node, &text).unwrap().lines, lines.len() as u64);
        assert_eq!(imported(&node), lines);
    }
}

#[test]
fn a_step_of_long_texts_has_fewer_lines() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = open(dir.path());
    let mut lines = lines(200, "word");
    for line in &mut lines {
        line.3 = "x".repeat(60_000);
    }
    import(&node, &file_of(&lines)).unwrap();
    assert_eq!(node.read_views().imports().len(), 200_usize.div_ceil(STEP_BYTES_MAX / 60_000 + 1));
    assert_eq!(import(&node, &file_of(&lines)).unwrap().added, 0);
    assert!(imported(&node) == lines);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_lines_come_out_as_they_went_in(
        lines in proptest::collection::vec(("[a-c]", 0..=timestamps::LATEST.0, "\\PC{1,8}", any::<String>()), 0..60),
        cut in 0_usize..60,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (node, _) = open(dir.path());
        let first = &lines[..cut.min(lines.len())];
        prop_assert_eq!(import(&node, &file_of(first)).unwrap().added, first.len() as u64);
        prop_assert_eq!(import(&node, &file_of(&lines)).unwrap().added, (lines.len() - first.len()) as u64);
        prop_assert_eq!(imported(&node), lines);
    }
}
