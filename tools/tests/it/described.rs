//! The description of the API, held against the server by schemathesis: requests made from the document, good and bad, and
//! every answer compared with what the document says.

use std::path::Path;
use std::process::Command;

use crate::support::count;
use crate::support::server::{Server, run};

/// Calls that never end, or that would end the session that asks.
const LEFT_OUT: [&str; 2] = ["/api/events", "/api/auth/logout"];

#[test]
#[ignore = "needs schemathesis, which tools/test installs"]
fn every_answer_to_generated_requests_is_described() {
    let (mut server, mut owner) = Server::set_up(&["--sign-in-burst", "1000000"]);
    let channel = owner.create_channel("general");
    owner.say(&channel, "hello");
    let token = owner.token("schemathesis");
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/real-clients");
    let url = format!("http://{}/api/openapi.json", server.address.get());
    let mut command = Command::new(home.join("venv/bin/schemathesis"));
    command.current_dir(&home).args(["run", &url, "--seed", "1", "--no-color"]);
    command.args(["--header", &format!("Authorization: Bearer {token}")]);
    command.args(["--max-examples", &count("SCROLLBACK_B1_EXAMPLES", 50).to_string()]);
    command.args(["--phases", "examples,coverage,fuzzing", "--checks", "all", "--request-timeout", "20"]);
    for path in LEFT_OUT {
        command.args(["--exclude-path", path]);
    }
    // The token stays good through the run, so a call without one is not told apart by every check.
    let ended = run(&mut command);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    eprintln!("{said}");
    assert_eq!(ended.code, Some(0), "schemathesis found something");
    owner.get("/api/auth/me").ok(200);
    server.stop();
    server.operate("verify", &[]).must_exit(0);
}
