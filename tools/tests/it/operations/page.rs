//! What docs/operations.md says: its commands, what they print and how they end.

use std::path::Path;

const PAGE: &str = include_str!("../../../../docs/operations.md");

/// What the page says of one command.
pub(super) struct Typed {
    pub(super) command: String,
    pub(super) printed: String,
    pub(super) code: i32,
}

/// The commands of a section.
pub(super) fn section(heading: &str) -> Vec<Typed> {
    let start = PAGE.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading:?}"));
    let rest = &PAGE[start + 4..];
    let text = &rest[..rest.find("\n## ").unwrap_or(rest.len())];
    let mut commands: Vec<Typed> = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("    ")) {
        let line = line.trim();
        if let Some(command) = line.strip_prefix("$ ") {
            let command = command.split("        ").next().unwrap_or(command).trim().to_owned();
            commands.push(Typed { command, printed: String::new(), code: 0 });
        } else if let Some(typed) = commands.last_mut() {
            let mut line = line.to_owned();
            if let Some(at) = line.find("(exit ") {
                typed.code = line[at + 6..].trim_end_matches(')').parse().unwrap();
                line.truncate(at);
            }
            typed.printed.push_str(&line);
            typed.printed.push(' ');
        }
    }
    commands
}

/// The text without what differs from run to run, and without how its lines are broken.
pub(super) fn normal(text: &str, space: &Path) -> String {
    let text = text.replace(&format!("{}/", space.display()), "./");
    let mut normal = String::new();
    for word in text.split_whitespace() {
        let plain = word.trim_matches([',', ';', ':', '(', ')']);
        let digits = plain.chars().filter(char::is_ascii_digit).count();
        let is_time = plain.len() > 18 && plain.ends_with('Z') && plain.contains('T') && digits > 13;
        let is_digest = plain.len() == 64 && plain.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_span = digits > 0
            && plain
                .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
                .trim_end_matches("ms")
                .trim_end_matches(['s', 'm'])
                .is_empty()
            && plain.ends_with('s');
        let is_unit = matches!(plain, "B" | "KiB" | "MiB" | "GiB" | "bytes");
        if is_unit {
            // And the number before it.
            normal.truncate(normal.trim_end().rfind(' ').map_or(0, |at| at + 1));
            normal.push_str("SIZE ");
        } else if is_time {
            normal.push_str(&word.replace(plain, "TIME"));
            normal.push(' ');
        } else if is_digest {
            normal.push_str("DIGEST ");
        } else if is_span {
            // `1s 20ms` is one span.
            if !normal.ends_with("SPAN ") {
                normal.push_str("SPAN ");
            }
        } else {
            normal.push_str(word);
            normal.push(' ');
        }
    }
    let mut out = String::new();
    let mut after_process = false;
    for word in normal.split(' ') {
        if after_process && word.trim_end_matches(';').parse::<u32>().is_ok() {
            out.push_str("PID; ");
        } else {
            out.push_str(word);
            out.push(' ');
        }
        after_process = word == "process";
    }
    out.trim().to_owned()
}

/// Whether `printed` is what the page says; `...` on the page stands for anything.
pub(super) fn is_as_said(said: &str, printed: &str) -> bool {
    let mut pieces = said.split("...").map(str::trim);
    let Some(first) = pieces.next() else { return printed.is_empty() };
    let Some(mut rest) = printed.strip_prefix(first) else { return false };
    let mut open = false;
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
        open = piece.is_empty();
    }
    open || rest.is_empty()
}
