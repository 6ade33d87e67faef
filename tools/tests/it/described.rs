//! The description of the API, held against the server by schemathesis: requests made from the document, good and bad, and
//! every answer compared with what the document says.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::client::{Identity, text};
use crate::support::count;
use crate::support::server::{Server, run_within};

/// Far longer than one example of every call takes.
const EXAMPLES_WAIT: Duration = Duration::from_secs(8);

#[test]
#[ignore = "needs schemathesis, which tools/test installs"]
fn every_answer_to_generated_requests_is_described() {
    let (mut server, mut owner) = Server::set_up(&["--sign-in-burst", "1000000"]);
    let channel = owner.create_channel("general");
    owner.say(&channel, "hello");
    let Identity::Cookie(cookie) = owner.identity.clone() else { panic!("the owner has a cookie") };
    let (_, member) = owner.invite_member("member");
    let spare = owner.post("/api/tokens", &json!({ "label": "spare" })).ok(201);
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let home = manifest.join("../target/real-clients");
    let url = format!("http://{}/api/openapi.json", server.address.get());
    let mut command = Command::new(home.join("venv/bin/schemathesis"));
    command.current_dir(&home).env("SCROLLBACK_IDENTITY", cookie.trim_start_matches("identity="));
    let private = owner.post("/api/channels", &json!({"name": "private", "private": true})).ok(201);
    let (_, joining) = owner.invite_member("joining");
    command.env("SCROLLBACK_PRIVATE", text(&private, "id")).env("SCROLLBACK_JOINING", joining);
    command.env("SCROLLBACK_MEMBER", member).env("SCROLLBACK_SPARE_TOKEN", text(&spare, "id"));
    command.arg("--config-file").arg(manifest.join("tests/clients/schemathesis.toml")).args(["run", &url]);
    command.args(["--no-color", "--checks", "all", "--phases", "examples,coverage,fuzzing"]);
    let examples = count("SCROLLBACK_B1_EXAMPLES", 50);
    command.args(["--max-examples", &examples.to_string()]);
    let ended = run_within(&mut command, EXAMPLES_WAIT * u32::try_from(examples).unwrap());
    let said = format!("{}{}", ended.stdout, ended.stderr);
    eprintln!("{said}");
    assert_eq!(ended.code, Some(0), "schemathesis found something");
    // Else much of what it saw was 401.
    owner.get("/api/auth/me").ok(200);
    server.stop();
    server.operate("verify", &[]).must_exit(0);
}
