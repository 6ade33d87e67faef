//! The server behind nginx and haproxy, configured as `docs/proxies` has it.

use serde_json::json;

use crate::support::PASSWORD;
use crate::support::client::{Client, Request};
use crate::support::events::Events;
use crate::support::http::Conn;
use crate::support::proxy::{Kind, Proxy, Rule};
use crate::support::server::Server;

/// A server behind a proxy, and its owner, who comes through it.
fn set_up(kind: Kind, options: &[&str]) -> (Server, Proxy, Client) {
    let (server, proxy) = Proxy::with_server(kind, Rule::None, options);
    let mut owner = proxy.client();
    let response = owner.post("/api/setup", &json!({"name": "owner", "password": PASSWORD}));
    response.ok(201);
    owner.adopt(&response);
    (server, proxy, owner)
}

/// Calls and cookies go through, and the origin is the public URL's.
fn calls(kind: Kind) {
    let (_server, proxy, mut owner) = set_up(kind, &[]);
    let log_in = owner.post("/api/auth/login", &json!({"name": "owner", "password": PASSWORD}));
    let cookie = log_in.header("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.starts_with("__Host-identity=") && cookie.ends_with("; Secure"), "{cookie}");
    let own = format!("https://{}", proxy.address().get());
    let create = |name: &str, origin: &str| {
        Request::post("/api/channels", &json!({"name": name})).header("origin", origin)
    };
    owner.send(&create("general", &own)).ok(201);
    for foreign in [own.replace("https", "http"), "https://evil.example".into(), "null".into()] {
        owner.send(&create("other", &foreign)).refused_as(403, "foreign_origin");
        // Nor does it help to say to the proxy what it says to the server.
        let forged = create("other", &foreign)
            .header("x-forwarded-host", foreign.split("//").last().unwrap_or(""))
            .header("x-forwarded-proto", foreign.split(':').next().unwrap_or(""));
        owner.send(&forged).refused_as(403, "foreign_origin");
    }
    let channel = owner.create_channel("talk");
    for n in 0..60 {
        owner.say(&channel, &format!("{n} {}", "x".repeat(10_000)));
    }
    assert_eq!(owner.history(&channel, 50).len(), 60);
    let mut member = proxy.client();
    member.log_in("owner", PASSWORD);
    assert_eq!(member.get("/api/auth/me").ok(200)["name"], "owner");
    let mut plain = Conn::open(proxy.http).unwrap();
    plain.write(b"GET /api/boot HTTP/1.1\r\nhost: chat.example\r\n\r\n").unwrap();
    let redirected = plain.read_head().unwrap();
    assert_eq!(
        (redirected.status, redirected.header("location")),
        (308, Some("https://chat.example/api/boot"))
    );
}

/// An event has come before the next one is even said.
fn events(kind: Kind) {
    let (mut server, _proxy, owner) = set_up(kind, &[]);
    let mut direct = server.client().with_token(&owner.clone().token("direct"));
    let channel = direct.create_channel("talk");
    let mut streams: Vec<Events> = (0..3).map(|_| Events::open(&owner, "?resume_point=now", None)).collect();
    for stream in &mut streams {
        assert!(stream.caught_up().is_empty());
    }
    for n in 0..30 {
        let said = direct.say(&channel, &format!("event {n}"));
        for stream in &mut streams {
            assert_eq!(stream.take_events(1)[0]["offset"], said["offset"], "event {n}");
        }
    }
    let last = streams[0].last_id.clone().expect("a resume token");
    let said = direct.say(&channel, "while away");
    let resumed = Events::open(&owner, "", Some(&last)).caught_up();
    assert_eq!(resumed.iter().map(|event| &event["offset"]).collect::<Vec<_>>(), [&said["offset"]]);
    server.stop();
    for stream in &mut streams {
        assert_eq!(stream.goodbye()["reason"], "shutdown");
    }
}

/// What counts is the client's address, whatever the client says it is.
fn addresses(kind: Kind) {
    let options = ["--sign-in-burst", "3", "--connections-per-address-max", "3"];
    let (_server, proxy, owner) = set_up(kind, &options);
    let wrong = |n: u8| {
        let body = json!({"name": format!("nobody {n}"), "password": "not the password"});
        Request::post("/api/auth/login", &body)
            .header("x-forwarded-for", &format!("203.0.113.{n}"))
            .header("connection", "x-forwarded-for")
    };
    let tries = |last: u8| -> Vec<u16> {
        let mut client = proxy.client_from(last);
        (0..4).map(|n| client.send(&wrong(16 * last + n)).status).collect()
    };
    for last in [2, 3, 4] {
        assert_eq!(tries(last), [401, 401, 401, 429], "127.0.0.{last}");
    }
    let reader = |last: u8| {
        let mut reader = proxy.client_from(last);
        reader.identity = owner.identity.clone();
        reader
    };
    for last in [2, 3] {
        let open: Vec<_> = (0..3).map(|_| Events::open(&reader(last), "?resume_point=now", None)).collect();
        Events::refusal(&reader(last), "?resume_point=now", None).refused_as(429, "rate_limited");
        drop(open);
    }
}

macro_rules! through {
    ($kind:expr, $needs:literal, $($name:ident => $test:ident),+) => {
        $(
            #[test]
            #[ignore = $needs]
            fn $name() {
                $test($kind);
            }
        )+
    };
}

through!(Kind::Nginx, "needs nginx, which tools/test installs",
    calls_and_secure_cookies_go_through_nginx => calls,
    events_come_one_by_one_through_nginx => events,
    behind_nginx_limits_count_the_clients_address => addresses);
through!(Kind::Haproxy, "needs haproxy, which tools/test installs",
    calls_and_secure_cookies_go_through_haproxy => calls,
    events_come_one_by_one_through_haproxy => events,
    behind_haproxy_limits_count_the_clients_address => addresses);
