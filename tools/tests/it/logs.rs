//! What the server prints: whole lines that can be followed request by request, and never a secret.

use serde_json::{Value, json};

use crate::support::PASSWORD;
use crate::support::client::{Client, Identity, Request, text};
use crate::support::events::Events;
use crate::support::http::Conn;
use crate::support::server::{Ended, Server};

/// What stands in every place where somebody else's secret could stand; each is its own, so that a find tells where.
const MARKS: [&str; 16] = [
    "MARKbody",
    "MARKname",
    "MARKpassword",
    "MARKbearer",
    "MARKcookie",
    "MARKqueryname",
    "MARKqueryvalue",
    "MARKinvitation",
    "MARKagent",
    "MARKheadername",
    "MARKheadervalue",
    "MARKpath",
    "MARKmethod",
    "MARKkey",
    "MARKbroken",
    "MARKreferer",
];

/// Asks for everything that can be asked for, with marks in all places.
fn ask_with_marks(owner: &mut Client) -> Vec<String> {
    let channel = text(&owner.post("/api/channels", &json!({"name": "MARKname"})).ok(201), "id");
    let marked = |request: Request| {
        request
            .header("user-agent", "MARKagent")
            .header("x-MARKheadername", "MARKheadervalue")
            .header("referer", "http://MARKreferer/")
            .header("x-request-id", "MARKkey\\n")
            .header("x-forwarded-for", "MARKheadervalue")
    };
    let say = Request::post(&format!("/api/channels/{channel}"), &json!({"body": "MARKbody"}));
    owner.send(&marked(say).key("MARKkey")).ok(201);
    let token = owner.token("MARKname");
    let invitation = text(&owner.post("/api/invite", &json!({})).ok(201), "token");
    let mut member = owner.clone();
    let accepted = json!({"name": "MARKname2", "password": "MARKpassword-long-enough"});
    let accepted = member.post(&format!("/api/invite/{invitation}"), &accepted);
    accepted.ok(201);
    drop(Events::open(owner, "?channel=nonsense", None));
    let mut stranger = owner.clone();
    for identity in [
        Identity::Nobody,
        Identity::Bearer("MARKbearer".into()),
        Identity::Cookie("identity=MARKcookie; MARKcookie=1".into()),
    ] {
        stranger.identity = identity;
        for request in [
            Request::get("/api/boot?MARKqueryname=MARKqueryvalue"),
            Request::get("/api/events?resume_point=MARKqueryvalue"),
            Request::get("/api/invite/MARKinvitation?x=MARKqueryvalue"),
            Request::post(
                "/api/invite/MARKinvitation",
                &json!({"name": "MARKname", "password": "MARKpassword1"}),
            ),
            Request::get("/api/invite/MARKinvitation/MARKpath"),
            Request::get("/MARKpath/%0a%1b[2J"),
            Request::new("MARKmethod", "/api/boot"),
            Request::post("/api/auth/login", &json!({"name": "MARKname", "password": "MARKpassword"})),
            Request::post("/api/auth/login", &json!({"MARKbody": "MARKpassword"})),
            Request::new("POST", "/api/auth/login").bytes(b"MARKbody{{"),
            Request::get("/readyz"),
            Request::get("/metrics"),
        ] {
            stranger.send(&marked(request));
        }
    }
    for raw in [
        "GET /MARKbroken\r\n\r\n",
        "GET /MARKbroken HTTP/1.1\r\nMARKbroken\r\n\r\n",
        "GET /MARKbroken HTTP/1.1\r\ncookie: MARKcookie\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\nMARKbody",
        "MARKbroken\x1b[2J\r\n\r\n",
    ] {
        let mut conn = Conn::open(owner.address.get()).unwrap();
        conn.write(raw.as_bytes()).unwrap();
        conn.read_to_close(std::time::Duration::from_secs(5));
    }
    let Identity::Cookie(cookie) = &owner.identity else { panic!("a cookie") };
    vec![token, invitation, cookie.split('=').nth(1).unwrap().to_owned(), PASSWORD.to_owned()]
}

fn nothing_secret(ended: &Ended, secrets: &[String]) {
    for secret in MARKS.iter().copied().chain(secrets.iter().map(String::as_str)) {
        for line in ended.stderr.lines().chain(ended.stdout.lines()) {
            assert!(!line.contains(secret), "{secret} was printed: {line}");
        }
    }
    let odd = ended.stderr.chars().find(|letter| letter.is_control() && *letter != '\n');
    assert_eq!(odd, None, "{}", ended.stderr);
}

fn json_lines(ended: &Ended) -> Vec<Value> {
    ended
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?}")))
        .collect()
}

#[test]
fn nothing_that_is_somebodys_secret_is_ever_printed() {
    for format in ["text", "json"] {
        let filter = "trace,hyper=trace,sled=trace,warp=trace,tokio=trace";
        let (mut server, mut owner) =
            Server::set_up(&["--log", filter, "--log-format", format, "--trusted-proxy", "127.0.0.1"]);
        let secrets = ask_with_marks(&mut owner);
        let ended = server.stop();
        nothing_secret(&ended, &secrets);
        // The lines that it was searched for in are there.
        for there in ["/api/invite/{token}", "/api/auth/login", "401", "404", "answered", "(no such path)"] {
            assert!(ended.stderr.contains(there), "{there}: {}", ended.stderr);
        }
        if format == "json" {
            json_lines(&ended);
        }
    }
}

#[test]
fn every_answer_and_its_line_bear_the_same_id() {
    let (mut server, mut owner) = Server::set_up(&["--log", "debug", "--log-format", "json"]);
    let given =
        |response: &crate::support::http::Response| response.header("x-request-id").unwrap().to_owned();
    let mut ids = vec![given(&owner.get("/api/boot?limit=1")), given(&owner.get("/nowhere"))];
    let asked = owner.send(&Request::get("/livez").header("x-request-id", "mine"));
    assert_ne!(given(&asked), "mine", "whoever is no trusted proxy names no request");
    ids.push(given(&asked));
    let stream = Events::open(&owner, "", None);
    ids.push(given(&stream.head));
    drop(stream);
    let lines = json_lines(&server.stop());
    let of = |id: &str| -> Vec<&Value> { lines.iter().filter(|line| line["span"]["id"] == id).collect() };
    let answered = |id: &str| {
        let line = of(id).into_iter().find(|line| line["message"] == "answered").expect("a line of its own");
        assert_eq!((&line["level"], &line["from"]), (&json!("DEBUG"), &json!("127.0.0.1")));
        assert!(line["ms"].as_f64().is_some() && line["timestamp"].is_string(), "{line}");
        (line["span"]["method"].clone(), line["span"]["path"].clone(), line["status"].clone())
    };
    assert_eq!(answered(&ids[0]).1, "/api/boot");
    assert_eq!(answered(&ids[1]), (json!("GET"), json!("(no such path)"), json!(404)));
    assert_eq!(answered(&ids[2]), (json!("GET"), json!("/livez"), json!(200)));
    assert_eq!(answered(&ids[3]), (json!("GET"), json!("/api/events"), json!(200)));
    assert!(of(&ids[3]).iter().any(|line| line["message"] == "the stream has ended"), "{lines:?}");
}

#[test]
fn a_trusted_proxy_names_its_requests() {
    let (mut server, mut owner) = Server::set_up(&["--trusted-proxy", "127.0.0.1", "--log", "debug"]);
    let mut named = |id: &str| {
        let answer = owner.send(&Request::get("/livez").header("x-request-id", id));
        answer.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(named("Edge-7_x"), "Edge-7_x");
    let long = "x".repeat(65);
    for unfit in ["", "a b", "a=b", "\u{e9}", &long] {
        assert_ne!(named(unfit), unfit);
    }
    assert!(
        server
            .stop()
            .stderr
            .contains("request{id=Edge-7_x method=\"GET\" path=\"/livez\"}: answered status=200")
    );
}

#[test]
fn an_operator_hears_of_what_failed_and_of_nothing_else() {
    let mut server = Server::started(&[]);
    server.client().get("/api/boot").refused_as(503, "setup_required");
    let mut owner = server.owner();
    let channel = owner.create_channel("general");
    owner.get("/nowhere").refused(404);
    let quiet = server.stop();
    assert!(!quiet.stderr.contains("request{"), "{}", quiet.stderr);

    server.set_options(&["--free-bytes-min", "1000PiB"]);
    server.start();
    let refused = owner.post(&format!("/api/channels/{channel}"), &json!({"body": "no room"}));
    refused.refused_as(503, "disk_full");
    let id = refused.header("x-request-id").unwrap();
    let told = server.stop().stderr;
    let line = format!(
        "request{{id={id} method=\"POST\" path=\"/api/channels/{{id}}\"}}: answered status=503 code=\"disk_full\""
    );
    assert!(told.lines().any(|told| told.contains(" WARN ") && told.contains(&line)), "{told}");
}

#[test]
fn with_json_lines_everything_on_standard_error_is_json() {
    let (server, _owner) = Server::set_up(&[]);
    let mut second = Server::on(server.data(), &["--log-format", "json", "--log", "no=such=filter"]);
    let ended = second.try_start().expect_err("data in use");
    ended.must_exit(4);
    let lines = json_lines(&ended);
    assert!(
        lines
            .iter()
            .any(|line| line["level"] == "WARN" && line["message"].as_str().unwrap().contains("--log"))
    );
    assert!(lines.last().unwrap()["error"].as_str().unwrap().contains("in use"), "{lines:?}");
}
