//! What a page of somebody else can make a browser send: for every unsafe call that the server describes, nothing.

use serde_json::{Value, json};

use crate::support::client::{Client, Identity, Request};
use crate::support::server::Server;

/// Methods that change nothing, and may come from anywhere: the page cannot read the answer.
const SAFE: [&str; 2] = ["get", "head"];

/// Every unsafe call of the description, its variable parts filled in with what is there.
fn unsafe_calls(client: &mut Client, fill: &dyn Fn(&str) -> String) -> Vec<(String, String)> {
    let described = client.get("/api/openapi.json").ok(200);
    let mut calls = Vec::new();
    for (path, item) in described["paths"].as_object().expect("paths") {
        for method in item.as_object().unwrap().keys() {
            if method != "parameters" && !SAFE.contains(&method.as_str()) {
                calls.push((method.to_uppercase(), fill(path)));
            }
        }
    }
    assert!(calls.len() >= 14, "{calls:?}");
    calls
}

/// All that anybody can see.
fn state(client: &mut Client) -> [Value; 5] {
    let boot = client.get("/api/boot").ok(200);
    let events = Value::from(client.poll_all("0"));
    let tokens: Vec<Value> = client.get("/api/tokens").ok(200)["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| json!([token["id"], token["label"]]))
        .collect();
    let watch = client.get("/api/watch/kept").ok(200)["epoch"].clone();
    [boot, events, tokens.into(), client.get("/api/users").ok(200), watch]
}

#[test]
fn no_page_of_another_origin_can_make_a_browser_change_anything() {
    let (server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let message = owner.say(&channel, "still here")["id"].as_str().unwrap().to_owned();
    owner.token("kept");
    owner.put("/api/watch/kept", &json!({"watch": [{"id": channel}]})).ok(200);
    let token = owner.get("/api/tokens").ok(200)["tokens"][0]["id"].as_str().unwrap().to_owned();
    let user = owner.get("/api/auth/me").ok(200)["id"].as_str().unwrap().to_owned();
    let invitation = owner.post("/api/invite", &json!({})).ok(201)["token"].as_str().unwrap().to_owned();
    let fill = |path: &str| {
        let begin = path.split('{').next().unwrap_or("");
        let part = match begin {
            "/api/channels/" => &channel,
            "/api/messages/" => &message,
            "/api/tokens/" => &token,
            "/api/users/" => &user,
            "/api/invite/" => &invitation,
            "/api/watch/" => "kept",
            _ if !path.contains('{') => return path.to_owned(),
            other => panic!("a new variable part: {other}"),
        };
        let after = path.split('}').nth(1).unwrap_or("");
        format!("{begin}{part}{after}")
    };
    let port = server.address.get().port();
    let origins = [
        "https://evil.example".to_owned(),
        "null".into(),
        String::new(),
        format!("https://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{}", port ^ 1),
        "http://127.0.0.1".into(),
        format!("http://127.0.0.1.evil.example:{port}"),
        format!("http://localhost:{port}"),
        format!("http://127.0.0.1:{port}, https://evil.example"),
        format!("ws://127.0.0.1:{port}"),
        "garbage".into(),
    ];
    let own = format!("http://127.0.0.1:{port}");
    let mut foreign: Vec<Vec<(&str, &str)>> =
        origins.iter().map(|origin| vec![("origin", origin.as_str())]).collect();
    // A browser that says nothing of the origin, but of the site; and one who says two things at once.
    for site in ["cross-site", "same-site", "cross-origin", "", "Same-Origin"] {
        foreign.push(vec![("sec-fetch-site", site)]);
    }
    foreign.push(vec![("origin", &own), ("origin", "https://evil.example")]);
    foreign.push(vec![("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")]);
    foreign.push(vec![("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")]);
    let Identity::Cookie(_) = owner.identity else { panic!("browsers bring cookies") };

    let before = state(&mut owner);
    let calls = unsafe_calls(&mut owner, &fill);
    for (method, path) in &calls {
        for headers in &foreign {
            for body in ["{}", r#"{"name":"owner","password":"correct horse battery staple"}"#] {
                let mut request = Request::new(method, path);
                for (name, value) in headers {
                    request = request.header(name, value);
                }
                let request = request.header("content-type", "application/json").bytes(body.as_bytes());
                let answer = owner.send(&request);
                assert_eq!(answer.status, 403, "{method} {path} {headers:?}: {}", answer.text());
                answer.refused_as(403, "foreign_origin");
                assert_eq!(answer.header("set-cookie"), None, "{method} {path} {headers:?}");
            }
        }
    }
    // The bodies of forms, which browsers send without asking first, come no further.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let path = format!("/api/channels/{channel}");
        let form = Request::new("POST", &path)
            .header("content-type", kind)
            .header("origin", "https://evil.example")
            .bytes(br#"{"body":"forged"}"#);
        owner.send(&form).refused_as(403, "foreign_origin");
    }
    assert_eq!(state(&mut owner), before, "something was changed by a foreign page");
    println!("{} unsafe calls, {} ways to be foreign", calls.len(), foreign.len());
}

#[test]
fn own_pages_and_programs_are_not_foreign() {
    let (server, mut owner) = Server::set_up(&[]);
    let own = format!("http://{}", server.address.get());
    for (n, headers) in [
        vec![],
        vec![("origin", own.as_str())],
        vec![("sec-fetch-site", "same-origin")],
        vec![("sec-fetch-site", "none")],
        // The browser compares with the URL that it asks, the server with all that are its own.
        vec![("origin", own.as_str()), ("sec-fetch-site", "cross-site")],
    ]
    .into_iter()
    .enumerate()
    {
        let mut request = Request::post("/api/channels", &json!({"name": format!("channel {n}")}));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        owner.send(&request).ok(201);
    }
    let reading = Request::get("/api/boot").header("origin", "https://evil.example");
    let answer = owner.send(&reading.header("sec-fetch-site", "cross-site"));
    answer.ok(200);
    let allowed = answer.headers.iter().find(|(name, _)| name.starts_with("access-control-"));
    assert_eq!(allowed, None, "a foreign page cannot read an answer");
}
