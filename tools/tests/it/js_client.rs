//! Our client library in JavaScript (`clients/js`): its own tests, which Node runs against the real binary, and a browser's
//! page as well.

use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
#[ignore = "needs Node, which tools/test installs"]
fn the_javascript_library_keeps_its_promises_alone() {
    run(&["fold", "sse", "send", "client", "websocket", "tail", "watch", "watch.book"]);
}

#[test]
#[ignore = "needs Node, which tools/test installs"]
fn the_javascript_library_follows_the_server_over_kills() {
    run(&["scenarios", "generated", "docs"]);
}

#[test]
#[ignore = "needs Chromium and playwright-core, which tools/test installs"]
fn the_javascript_library_follows_the_server_in_a_browser() {
    run(&["browser"]);
}

#[test]
#[ignore = "needs Node and a TypeScript compiler, which tools/test installs"]
fn the_javascript_librarys_types_are_those_of_what_it_exports() {
    run(&["types"]);
}

/// Runs some of the library's tests; none of them may be skipped for want of something.
fn run(files: &[&str]) {
    let library = at("../clients/js");
    let mut node = Command::new("node");
    // A test that fails leaves a client behind, which would go on for ever.
    node.args(["--experimental-websocket", "--test", "--test-force-exit", "--test-reporter=tap"]);
    node.args(files.iter().map(|file| library.join(format!("test/{file}.test.js"))));
    node.env("SCROLLBACK_BIN", env!("CARGO_BIN_EXE_scrollback"));
    node.env("PLAYWRIGHT", at("../target/real-clients/node_modules/playwright-core"));
    node.env("TYPESCRIPT", at("../target/real-clients/node_modules/typescript"));
    let ended = node.output().expect("node runs");
    let said = String::from_utf8_lossy(&ended.stdout);
    let complete = ended.status.success() && said.contains("\n# skipped 0\n");
    assert!(complete, "{said}\n{}", String::from_utf8_lossy(&ended.stderr));
}

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
