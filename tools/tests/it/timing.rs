//! That answers tell nothing by the time they take: the same work is done for what is there and for what is not. How equal the
//! times are is measured here and asserted only where `tools/soak` sets a bound.

use serde_json::{Value, json};

use crate::support::PASSWORD;
use crate::support::client::{Client, Request, text};
use crate::support::count;
use crate::support::latency::{Latencies, bound, must_be_within};
use crate::support::random::Random;
use crate::support::server::Server;

/// Nobody is held up by the limit of log-ins here.
const NO_LIMIT: [&str; 2] = ["--sign-in-burst", "4000000000"];

fn hashes(client: &mut Client) -> u64 {
    client.figure("scrollback_password_hashes_total").expect("the figure")
}

#[test]
fn a_log_in_costs_one_hash_whoever_tries_and_its_answer_is_the_same() {
    let (mut server, mut owner) = Server::set_up(&NO_LIMIT);
    let (_, gone) = owner.invite_member("gone");
    server.stop();
    server.operate("user", &["disable", "gone"]).must_exit(0);
    server.start();
    let mut nobody = server.client();
    let long = "x".repeat(5_000);
    let mut told = Vec::new();
    for (name, password) in [
        ("owner", "not the password"),
        ("nobody at all", "not the password"),
        ("gone", "not the password"),
        ("gone", PASSWORD),
        (gone.as_str(), PASSWORD),
        ("no\u{0}name", PASSWORD),
        ("", PASSWORD),
        (long.as_str(), PASSWORD),
        ("owner", ""),
        ("owner", long.as_str()),
        ("nobody at all", long.as_str()),
    ] {
        let before = hashes(&mut nobody);
        let answer = nobody.post("/api/auth/login", &json!({"name": name, "password": password}));
        assert_eq!(hashes(&mut nobody) - before, 1, "{name:.20?} {password:.20?}");
        answer.refused_as(401, "bad_credentials");
        told.push(answer.text());
    }
    assert!(told.iter().all(|text| *text == told[0]), "{told:?}");
}

/// Makes a request anew.
type Making = Box<dyn Fn(&mut Random) -> Request>;

/// What an answer says, but for what its client said itself, and for which setting of a watch it is.
fn without_names(answer: &str) -> String {
    match serde_json::from_str::<Value>(answer) {
        Ok(kept) if kept.get("epoch").is_some() => {
            kept["status"].as_object().unwrap().values().map(Value::to_string).collect()
        }
        _ => answer.to_owned(),
    }
}

/// Two requests that nobody may tell apart by their time.
struct Pair {
    what: &'static str,
    samples: usize,
    requests: [Making; 2],
}

#[test]
fn what_is_there_and_what_is_not_take_the_same_time() {
    let samples = count("SCROLLBACK_B8_SAMPLES", 40);
    let log_ins = count("SCROLLBACK_B8_LOG_INS", 4);
    let (server, mut owner) = Server::set_up(&NO_LIMIT);
    let token = owner.token("right");
    let (channel, deleted) = (owner.create_channel("kept"), owner.create_channel("deleted"));
    let message = text(&owner.say(&channel, "to be deleted"), "id");
    owner.delete(&format!("/api/messages/{message}")).ok(200);
    owner.delete(&format!("/api/channels/{deleted}")).ok(200);
    // What no id of this log ever was: its place in the log is another thing's.
    let never = |kind: char, other: &str| format!("{kind}{}", &other[1..]);
    for (there, never) in [(&message, never('M', &channel)), (&never('M', &deleted), never('M', "M0"))] {
        let told: Vec<_> = [there, &never]
            .map(|id| owner.delete(&format!("/api/messages/{id}")))
            .map(|answer| (answer.refused_as(404, "not_found"), answer.text()).1)
            .into();
        assert_eq!(told[0], told[1], "the answers differ");
    }
    for path in ["", "/messages"] {
        let told = [deleted.clone(), never('C', &message), "C0".into()].map(|id| {
            let path = format!("/api/channels/{id}{path}");
            let answer = match path.ends_with("messages") {
                true => owner.get(&path),
                false => owner.post(&path, &json!({"body": "is anybody there"})),
            };
            answer.refused_as(404, "not_found");
            answer.text()
        });
        assert!(told.iter().all(|text| *text == told[0]), "{told:?}");
    }
    let used = text(&owner.post("/api/invite", &json!({})).ok(201), "token");
    let joining = json!({"name": "joined", "password": PASSWORD});
    server.client().post(&format!("/api/invite/{used}"), &joining).ok(201);
    let log_in = |name: String| {
        move |random: &mut Random| {
            let body = json!({"name": name, "password": format!("wrong {:016x}", random.next())});
            Request::post("/api/auth/login", &body)
        }
    };
    let me = |token: String| {
        move |_: &mut Random| Request::get("/api/auth/me").header("authorization", &format!("Bearer {token}"))
    };
    let (mut member, _) = owner.invite_member("member");
    let member = member.token("member");
    let hidden = json!({"name": "hidden", "private": true});
    let hidden = text(&owner.post("/api/channels", &hidden).ok(201), "id");
    let secret = text(&owner.say(&hidden, &"long ".repeat(10_000)), "id");
    let as_member = |request: Request| {
        let request = request.header("authorization", &format!("Bearer {member}"));
        move |_: &mut Random| request.clone()
    };
    let get = |path: String| move |_: &mut Random| Request::get(&path);
    // A token that is right but for its last digit, and one that is wrong from the first on.
    let flip = |at: usize| {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        String::from_utf8(bytes).unwrap()
    };
    let pairs = [
        Pair {
            what: "log-in: known and unknown user",
            samples: log_ins,
            requests: [Box::new(log_in("owner".into())), Box::new(log_in("nobod".into()))],
        },
        Pair {
            what: "token: wrong at its end and at its beginning",
            samples,
            requests: [Box::new(me(flip(token.len() - 1))), Box::new(me(flip(0)))],
        },
        Pair {
            what: "channel: deleted and never there",
            samples,
            requests: [
                Box::new(get(format!("/api/channels/{deleted}/messages"))),
                Box::new(get(format!("/api/channels/{}/messages", never('C', &message)))),
            ],
        },
        Pair {
            what: "channel: hidden and never there",
            samples,
            requests: [
                Box::new(as_member(Request::get(&format!("/api/channels/{hidden}/messages?limit=1")))),
                Box::new(as_member(Request::get(&format!(
                    "/api/channels/{}/messages?limit=1",
                    never('C', &message)
                )))),
            ],
        },
        Pair {
            what: "channel: sending where it is hidden and never there",
            samples,
            requests: [
                Box::new(as_member(Request::post(&format!("/api/channels/{hidden}"), &json!({"body": "x"})))),
                Box::new(as_member(Request::post(
                    &format!("/api/channels/{}", never('C', &message)),
                    &json!({"body": "x"}),
                ))),
            ],
        },
        Pair {
            what: "message: hidden, long, and never there",
            samples,
            requests: [
                Box::new(as_member(Request::new("DELETE", &format!("/api/messages/{secret}")))),
                Box::new(as_member(Request::new(
                    "DELETE",
                    &format!("/api/messages/{}", never('M', &channel)),
                ))),
            ],
        },
        Pair {
            what: "watch: hidden and never there",
            samples,
            requests: [&hidden, &never('C', &message)].map(|id| {
                let watch = json!({"watch": [{"id": id}]});
                Box::new(as_member(Request::new("PUT", "/api/watch/w").json(&watch))) as Making
            }),
        },
        Pair {
            what: "invitation: used and never there",
            samples,
            requests: [
                Box::new(get(format!("/api/invite/{used}"))),
                Box::new(get(format!("/api/invite/{}", "0123456789abcdef".repeat(used.len() / 16)))),
            ],
        },
    ];
    for Pair { what, samples, requests } in pairs {
        let mut random = Random::new(0xB8);
        let mut client = match what {
            "channel: deleted and never there" => server.client().with_token(&token),
            _ => server.client(),
        };
        let mut took = [Latencies::default(), Latencies::default()];
        let mut answers = [None, None];
        for _ in 0..samples {
            // In turns, each time in an order of its own: so nothing else that changes falls on one of them alone.
            let first = usize::from(random.one_in(2));
            for which in [first, 1 - first] {
                let request = requests[which](&mut random);
                let answer = took[which].of(|| client.send(&request));
                let told = (answer.status, without_names(&answer.text()));
                assert_eq!(*answers[which].get_or_insert(told.clone()), told, "{what}");
            }
        }
        assert_eq!(answers[0], answers[1], "{what}: the answers differ");
        let [one, other] = took;
        let differ = 100.0 * (one.median() - other.median()).abs() / one.median().min(other.median());
        let (apart, chance) = one.apart(&other);
        eprintln!(
            "{what}: {samples} of each, medians {:.4} and {:.4} ms, {differ:.2} % apart; distributions {apart:.4} apart, by chance up to \
             {chance:.4}",
            one.median(),
            other.median()
        );
        must_be_within("SCROLLBACK_B8_PERCENT_MAX", differ, what);
        if bound("SCROLLBACK_B8_PERCENT_MAX").is_some() {
            assert!(apart <= chance, "{what}: the distributions can be told apart");
        }
    }
}
