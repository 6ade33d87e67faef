use std::fs::Permissions;

use clap::CommandFactory;
use clap::parser::ValueSource;

use super::*;
use crate::cli::Cli;

fn file(text: &str, mode: u32, command: &Command) -> Result<File, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    let shown = path.display().to_string();
    File::read(&path, command).map_err(|error| error.to_string().replace(&shown, "s.toml"))
}

fn read(text: &str) -> Result<File, String> {
    file(text, 0o644, &Cli::command())
}

fn refused(text: &str) -> String {
    read(text).err().unwrap_or_else(|| panic!("{text:?} was taken"))
}

#[test]
fn every_kind_of_value_is_taken_as_it_would_be_typed() {
    let file = read(
        "listen = \"127.0.0.1:1\"\n# a comment\nscrub-rate = 0x10\ntrusted-proxy = [\"10.0.0.1\", '::1']\nbody-bytes-max = 1_000\nlog-format = 'json'\n",
    )
    .unwrap();
    let shown = |name: &str| file.get(name).map(|entry| (entry.values.join(" "), entry.line));
    assert_eq!(shown("listen"), Some(("127.0.0.1:1".into(), 1)));
    assert_eq!(shown("scrub-rate"), Some(("16".into(), 3)));
    assert_eq!(shown("trusted-proxy"), Some(("10.0.0.1 ::1".into(), 4)));
    assert_eq!(shown("body-bytes-max"), Some(("1000".into(), 5)));
    assert_eq!(shown("log-format"), Some(("json".into(), 6)));
    assert_eq!(shown("data"), None);
    assert!(read("").unwrap().entries.is_empty());
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_what_would_be_right() {
    for (text, said) in [
        ("\nlistn = 1", "s.toml, line 2: there is no setting \"listn\"; did you mean `listen`?"),
        (
            "trusted_proxy = []",
            "line 1: there is no setting \"trusted_proxy\"; did you mean `trusted-proxy`?",
        ),
        ("zzzzzz = 1", "line 1: there is no setting \"zzzzzz\"; `scrollback config show` lists all settings"),
        ("yes = true", "line 1: `yes` is said anew for each call"),
        ("json = true", "line 1: `json` is said anew for each call"),
        ("confirm-clock = true", "line 1: `confirm-clock` is said anew for each call"),
        ("config = 'other.toml'", "line 1: `config` is said anew for each call"),
        ("token = 'x'", "line 1: `token` is said anew for each call"),
        (
            "listen = \"nowhere\"",
            "line 1: `listen` cannot be \"nowhere\": invalid socket address syntax. `listen`: The address to serve on",
        ),
        ("\n\nheartbeat = 15", "line 3: `heartbeat` cannot be \"15\": time unit needed"),
        ("log-format = 'xml'", "line 1: `log-format` cannot be \"xml\": it can be text or json"),
        ("threads = 0", "line 1: `threads` cannot be \"0\""),
        ("scrub-rate = -1", "line 1: `scrub-rate` cannot be \"-1\""),
        (
            "scrub-rate = 1.5",
            "line 1: `scrub-rate` is a string in quotes or a whole number, not a number with a fraction",
        ),
        ("scrub-rate = 99999999999999999999", "line 1:"),
        ("data = \"\"", "line 1: `data` cannot be \"\""),
        ("listen = true", "line 1: `listen` is a string in quotes or a whole number, not true or false"),
        ("trusted-proxy = '10.0.0.1'", "line 1: `trusted-proxy` is a list like"),
        (
            "trusted-proxy = ['10.0.0.1', 'x']",
            "line 1: `trusted-proxy` cannot be \"10.0.0.1\", \"x\": neither an address",
        ),
        ("[server]\nlisten = '1'", "line 1: settings have no sections like [server]"),
        ("listen = [{a = 1}]", "line 1: `listen` is a string in quotes or a whole number, not a list"),
        ("listen = 2026-01-01", "not a date"),
        ("listen = '127.0.0.1:1'\nlisten = '127.0.0.1:2'", "line 2: duplicate key"),
        ("listen = \n", "line 1:"),
        ("listen", "line 1:"),
    ] {
        let told = refused(text);
        assert!(told.contains(said), "{text:?}: {told}");
    }
}

#[test]
fn a_file_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |path: &Path| File::read(path, &Cli::command()).err().unwrap().to_string();
    assert!(refused(&dir.path().join("absent")).contains("absent cannot be read: No such file"));
    assert!(refused(dir.path()).contains("it is not a plain file"));
    let path = dir.path().join("big");
    std::fs::write(&path, vec![b'\n'; 1 + (1 << 20)]).unwrap();
    assert!(refused(&path).contains("more than 1048576 bytes"));
    std::fs::write(&path, [b'#', 0xff]).unwrap();
    assert!(refused(&path).contains("UTF-8"));
}

/// A program with a secret among its settings.
fn with_a_secret() -> Command {
    let secret = Arg::new("passphrase")
        .long("passphrase")
        .hide_env_values(true)
        .value_parser(|typed: &str| if typed.len() > 3 { Ok(1) } else { Err(format!("{typed} is short")) });
    Cli::command().mut_subcommand("serve", |serve| serve.arg(secret))
}

#[test]
fn a_secret_is_not_taken_from_a_file_that_others_can_read_and_is_never_repeated() {
    let command = with_a_secret();
    for mode in [0o644, 0o604, 0o602] {
        let told = file("passphrase = 'marked'", mode, &command).err().unwrap();
        assert!(told.contains("line 1: `passphrase` is a secret, and everybody"), "{told}");
        assert!(!told.contains("marked"));
    }
    file("passphrase = 'marked'", 0o640, &command).unwrap();
    file("listen = '127.0.0.1:1'", 0o644, &command).unwrap();
    for text in ["passphrase = 'Z'", "passphrase = 'Zq", "passphrase = ['Zq']", "passphrase = 'a' Zq"] {
        let told = file(text, 0o600, &command).err().unwrap();
        assert!(told.contains("line 1") && !told.contains('Z'), "{told}");
    }
}

#[test]
fn a_file_gives_way_to_what_is_typed_and_goes_before_the_defaults() {
    let file = read("listen = '127.0.0.1:7'\nthreads = 3\ntrusted-proxy = ['10.0.0.1', '10.0.0.2']").unwrap();
    let command = super::super::with_defaults(Cli::command(), &file);
    let matches = command
        .try_get_matches_from(["scrollback", "serve", "--listen", "127.0.0.1:9", "--heartbeat", "1s"])
        .unwrap();
    let serve = matches.subcommand_matches("serve").unwrap();
    let raw = |id| serve.get_raw(id).unwrap().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(raw("listen"), ["127.0.0.1:9"]);
    assert_eq!(raw("threads"), ["3"]);
    assert_eq!(raw("trusted_proxy"), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(raw("session_idle"), ["7d"]);
    assert_eq!(serve.value_source("threads"), Some(ValueSource::DefaultValue));
}
