//! `config show`: what the server would run under, and why.

use std::fmt::Write;

use anyhow::bail;
use serde_json::json;

use crate::cli::{Common, ConfigCommand, ConfigFor};
use crate::config::{self, Setting, Source};
use crate::output;

/// How wide a line of comment may become.
const COMMENT_COLUMNS: usize = 110;
/// Longer values are not lined up.
const VALUE_COLUMNS_MAX: usize = 32;

pub(crate) fn run(common: &Common, typed: &ConfigFor, from: &config::From) -> anyhow::Result<()> {
    let ConfigCommand::Show(show) = &typed.command;
    let settings = config::effective(from);
    if settings.is_empty() {
        bail!("there are no settings");
    }
    if show.toml {
        return output::tell(common, toml(&settings).trim_end(), &json!(null));
    }
    let listed: Vec<_> = settings
        .iter()
        .map(|setting| {
            let value = match (&setting.values[..], setting.is_list) {
                (values, true) => json!(values),
                ([value, ..], false) => json!(value),
                ([], false) => json!(null),
            };
            let mut listed = json!({ "name": setting.name, "value": value, "source": setting.source.json() });
            if setting.is_secret {
                listed["secret"] = json!(true);
            }
            listed
        })
        .collect();
    output::tell(common, table(&settings).trim_end(), &json!({ "settings": listed }))
}

fn table(settings: &[Setting]) -> String {
    let rows: Vec<(&str, String, String)> =
        settings.iter().map(|setting| (&*setting.name, shown(setting), setting.source.show())).collect();
    let width = |lengths: &mut dyn Iterator<Item = usize>| {
        lengths.filter(|n| *n <= VALUE_COLUMNS_MAX).max().unwrap_or(0)
    };
    let names = width(&mut rows.iter().map(|row| row.0.len()));
    let values = width(&mut rows.iter().map(|row| row.1.chars().count()));
    let mut table = String::new();
    for (name, value, source) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(table, "{name:names$}  {value:values$}  {source}");
    }
    table
}

fn shown(setting: &Setting) -> String {
    match (setting.is_secret, setting.values.is_empty()) {
        (true, _) if setting.source == Source::Default => "(not set)".into(),
        (true, _) => "(secret)".into(),
        (_, true) => "(not set)".into(),
        _ => setting.values.join(", "),
    }
}

/// A file that could be used as it is: what is set here is set in it, every other setting stands in it as a comment.
fn toml(settings: &[Setting]) -> String {
    let mut file = String::from(
        "# Settings of `scrollback serve`, for `--config FILE` or SCROLLBACK_CONFIG. A line like `#name = value` shows a\n\
         # default, or an example where there is none; take the `#` away to set it. A flag goes before an environment\n\
         # variable, that before this file, and this before the default. `scrollback config show` tells what holds.\n",
    );
    for setting in settings {
        file.push('\n');
        let mut about = setting.help.trim_end_matches('.').to_owned();
        let _ = write!(about, ". Also --{}", setting.name);
        if let Some(variable) = &setting.variable {
            let _ = write!(about, ", {variable}");
        }
        comment(&mut file, &about);
        if setting.is_secret {
            comment(
                &mut file,
                "A secret: it is not shown here, and only taken from a file that others cannot read.",
            );
        }
        let is_set = setting.source != Source::Default && !setting.is_secret;
        let hash = if is_set { "" } else { "#" };
        let value = if setting.is_switch && setting.values.is_empty() {
            "false".to_owned()
        } else if setting.is_list {
            let values = if is_set || !setting.values.is_empty() {
                setting.values.clone()
            } else {
                vec![example(&setting.value_name).to_owned()]
            };
            format!("[{}]", values.iter().map(|value| literal(value)).collect::<Vec<_>>().join(", "))
        } else {
            match setting.values.first() {
                Some(value) if setting.is_switch => value.clone(),
                Some(value) => literal(value),
                None => literal(example(&setting.value_name)),
            }
        };
        let _ = writeln!(file, "{hash}{} = {value}", setting.name);
    }
    file
}

fn comment(file: &mut String, text: &str) {
    let mut column = 0;
    for word in text.split_whitespace() {
        if column == 0 || column + 1 + word.chars().count() > COMMENT_COLUMNS {
            if column > 0 {
                file.push('\n');
            }
            file.push('#');
            column = 1;
        }
        file.push(' ');
        file.push_str(word);
        column += 1 + word.chars().count();
    }
    file.push('\n');
}

/// A value that could stand there, by what the flag calls its value.
fn example(value_name: &str) -> &'static str {
    match value_name {
        "ADDR" => "127.0.0.1:9090",
        "IP_OR_NETWORK" => "10.0.0.1",
        "URL" => "https://chat.example.org",
        "N" => "8",
        "TIME" => "1h",
        "SIZE" => "1MiB",
        "DIR" => "/path/to/directory",
        "FILE" => "/path/to/file",
        _ => "...",
    }
}

/// A value as TOML writes it: a plain number as a number, everything else as a string.
fn literal(value: &str) -> String {
    if value.parse::<i64>().is_ok_and(|number| number.to_string() == value) {
        return value.to_owned();
    }
    let mut text = String::from("\"");
    for letter in value.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            _ if letter.is_control() => {
                let _ = write!(text, "\\u{:04X}", u32::from(letter));
            }
            _ => text.push(letter),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_number_or_a_string_that_reads_back() {
        assert_eq!(literal("16384"), "16384");
        for text in ["90d", "0x10", "007", "-0", "a\"b\\c", "tab\tand\nline\u{7f}", "é"] {
            let line = format!("x = {}", literal(text));
            let table = toml::de::DeTable::parse(&line).unwrap();
            assert_eq!(table.get_ref()["x"].get_ref().as_str(), Some(text), "{line}");
        }
    }

    #[test]
    fn comments_are_wrapped() {
        let mut file = String::new();
        comment(&mut file, &"word ".repeat(60));
        assert!(file.lines().all(|line| line.starts_with("# word") && line.len() <= COMMENT_COLUMNS + 1));
        assert_eq!(file.matches("word").count(), 60);
    }
}
