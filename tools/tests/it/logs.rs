//! What the server prints: whole lines that can be followed request by request, and never a secret.

use serde_json::{Value, json};

use crate::support::PASSWORD;
use crate::support::client::{Client, Identity, Request, text};
use crate::support::events::Events;
use crate::support::http::Conn;
use crate::support::raw_ws::{self, BINARY, CLOSE, FIN, RawWs, frame};
use crate::support::server::{Ended, Server};
use crate::support::until;
use crate::support::ws::{Ws, upgrade_of};

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
            Request::get("/websocket?api_token=MARKqueryvalue"),
            upgrade_of("/websocket?api_token=MARKqueryvalue"),
            Request::get("/arvados/v1/logs?filters=MARKqueryvalue&MARKqueryname=1"),
            Request::get("/discovery/v1/apis/arvados/v1/rest?x=MARKqueryvalue"),
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
    for last in [(CLOSE, b"\x03\xE8MARKbody".as_slice()), (BINARY, b"MARKbody")] {
        let mut socket = RawWs::open(owner);
        let send = json!({"type": "send", "id": "MARKkey", "channel": "MARKpath", "body": "MARKbody"});
        let open =
            json!({"type": "open", "session": "MARKkey", "resume_point": "0", "filters": "MARKqueryvalue"});
        for said in ["MARKbroken".to_owned(), send.to_string(), open.to_string()] {
            socket.say(&raw_ws::text(&said)).unwrap();
        }
        socket.say(&frame(FIN | last.0, last.1)).unwrap();
        socket.end();
    }
    let mut arvados = Ws::try_open_at(owner, &format!("/websocket?api_token={token}")).unwrap().unwrap();
    arvados.say(&json!({"method": "MARKmethod", "id": "MARKkey"}));
    arvados.say(
        &json!({"method": "subscribe", "filters": [["MARKname", "=", "MARKqueryvalue"]], "last_log_id": 0}),
    );
    arvados.say(&json!({"method": "auth", "api_token": "MARKbearer"}));
    arvados.close();
    let mut arvados = Ws::try_open_at(owner, "/websocket?auth=message").unwrap().unwrap();
    arvados.say(&json!({"method": "auth", "api_token": "MARKbearer"}));
    arvados.end();
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
        for there in [
            "/api/invite/{token}",
            "/api/auth/login",
            "/websocket",
            "401",
            "404",
            "answered",
            "(no such path)",
            "has ended",
        ] {
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

/// Waits until no stream and no socket is open any more.
fn all_are_over(server: &Server) {
    until("all streams are over", || {
        let told = server.client().get("/metrics").text();
        let is_over = |kind: &str| told.contains(&format!("scrollback_streams_open{{kind=\"{kind}\"}} 0\n"));
        (is_over("sse") && is_over("websocket")).then_some(())
    });
}

#[test]
fn every_stream_says_at_its_end_why_it_ended_and_how_much_came_and_went() {
    let (mut server, mut owner) = Server::set_up(&["--log", "debug", "--log-format", "json"]);
    let (mut member, _) = owner.invite_member("member");
    let channel = owner.create_channel("general");
    owner.say(&channel, "a message");
    let events = owner.poll_all("0").len();
    let from_the_beginning = |client: &Client| {
        let mut socket = Ws::open(client);
        let session = socket.session_id(json!({"resume_point": "0"}));
        socket.caught_up(&session);
        socket
    };
    let stream = |client: &Client| {
        let mut stream = Events::open(client, "", None);
        stream.caught_up();
        stream
    };

    drop(stream(&owner));
    from_the_beginning(&owner).cut();
    let mut socket = from_the_beginning(&owner);
    let other = socket.session_id(json!({"resume_point": "now"}));
    assert_eq!(socket.ask(json!({"type": "close", "session": other}))["type"], "closed");
    let watch = json!({"type": "watch", "watch": "w", "set": {"watch": []}});
    assert_eq!(socket.ask(watch)["status"], 200);
    socket.close();
    let mut wrong = RawWs::open(&owner);
    wrong.say(&frame(FIN | BINARY, b"no text")).unwrap();
    wrong.end();
    let (mut put_out, mut told) = (from_the_beginning(&member), stream(&member));
    member.post("/api/auth/logout", &json!({})).ok(204);
    put_out.end();
    told.goodbye();
    all_are_over(&server);
    let (_socket, _stream) = (from_the_beginning(&owner), stream(&owner));
    let lines = json_lines(&server.stop());

    let mut ended: Vec<&Value> =
        lines.iter().filter(|line| line["message"] == "the stream has ended").collect();
    for (path, reason, close_code, level, sessions, messages) in [
        ("/api/events", "gone", None, "DEBUG", None, None),
        ("/api/ws", "gone", None, "DEBUG", Some(1), Some(1)),
        ("/api/ws", "closed", None, "DEBUG", Some(2), Some(4)),
        ("/api/ws", "messages are text", Some(1003), "INFO", Some(0), Some(0)),
        ("/api/ws", "revoked", None, "INFO", Some(1), Some(1)),
        ("/api/events", "revoked", None, "INFO", None, None),
        ("/api/ws", "shutdown", None, "DEBUG", Some(1), Some(1)),
        ("/api/events", "shutdown", None, "DEBUG", None, None),
    ] {
        let place = ended.iter().position(|l| l["span"]["path"] == path && l["reason"] == reason);
        let line = ended.swap_remove(place.unwrap_or_else(|| panic!("{path} {reason}: {ended:?}")));
        assert_eq!(line["level"], level, "{line}");
        for (field, value) in [("close_code", close_code), ("sessions", sessions), ("messages", messages)] {
            assert_eq!(line.get(field), value.map(|value: u64| json!(value)).as_ref(), "{field}: {line}");
        }
        let watches = sessions.map(|_| json!(u64::from(reason == "closed")));
        assert_eq!(line.get("watches"), watches.as_ref(), "{line}");
        assert_eq!(line["events"], if close_code.is_some() { 0 } else { events }, "{line}");
        assert!(line["bytes"].as_u64().unwrap() > 100 * line["events"].as_u64().unwrap(), "{line}");
        assert!(line["seconds"].is_u64(), "{line}");
    }
    assert_eq!(ended, Vec::<&Value>::new(), "one line each");
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
