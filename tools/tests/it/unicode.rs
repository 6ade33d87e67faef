//! Texts at the edges of Unicode: stored to the byte or refused by the rule, and the same ever after: live, on replay, in an
//! export, in a backup and what is restored from it.

use serde_json::{Value, json};

use crate::support::PASSWORD;
use crate::support::client::{Client, Identity, Request, text};
use crate::support::server::Server;

/// The largest message.
const BODY_BYTES_MAX: usize = 64 << 10;

/// One letter under as many marks as a message can hold: a single grapheme.
fn zalgo(bytes: usize) -> String {
    let mut text = String::from("Z");
    while text.len() + 2 <= bytes {
        text.push(char::from_u32(0x0300 + (text.len() as u32 / 2) % 0x70).unwrap());
    }
    text
}

/// Bodies that are stored as they are.
fn odd_texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "plain",
        // One word in two compositions: two texts.
        "caf\u{e9}",
        "cafe\u{301}",
        "\u{1e9b}\u{323}",
        "\u{212b} \u{c5} A\u{30a}",
        "\u{ac00} \u{1100}\u{1161}",
        // Direction: overrides, isolates and marks, closed and left open.
        "abc \u{202e}cba\u{202c} \u{2066}x\u{2069} \u{200f}\u{61c}",
        "open \u{202e}\u{202b}\u{2067}\u{2068}",
        "\u{5d0}\u{5d1} abc \u{627}\u{644}",
        // Emoji: joined, of a skin, keycaps, flags, tags.
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{200d}\u{1f466} \u{1f44b}\u{1f3fd} 1\u{fe0f}\u{20e3} \u{1f1e9}\u{1f1ea}",
        "\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f} \u{1f1e6}",
        // A byte order mark, inside and at the beginning.
        "\u{feff}marked",
        "mid\u{feff}dle \u{fffe}",
        // Noncharacters, private use, unassigned, the last of each kind.
        "\u{ffff} \u{fdd0} \u{fdef} \u{1fffe} \u{10ffff} \u{10fffd} \u{e000} \u{378}",
        "\u{fffd} \u{d7ff} \u{e000}",
        // Spaces and breaks of other sorts, nothing that shows in between.
        "a\u{a0}b\u{2028}c\u{2029}d\u{200b}e\u{2060}f\u{3000}g\u{1680}h\u{180e}i\u{ad}j",
        "tab\there\nand there\n\n",
        "\"quotes\" \\back\\slashes\\ </script><!-- & \u{7f}".trim_end_matches('\u{7f}'),
        "data: not a field\nid: 7\nevent: forged\n\nretry: 1",
        "\u{301}begins with a mark",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push(zalgo(BODY_BYTES_MAX));
    texts.push("\u{1f480}".repeat(BODY_BYTES_MAX / 4));
    texts
}

fn raw(client: &mut Client, path: &str, body: &[u8]) -> (u16, String) {
    let answer =
        client.send(&Request::new("POST", path).header("content-type", "application/json").bytes(body));
    let problem: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    (answer.status, problem["code"].as_str().unwrap_or("").to_owned())
}

fn bodies(client: &mut Client, channel: &str) -> Vec<String> {
    client.history(channel, 7).iter().map(|message| text(message, "body")).collect()
}

#[test]
fn odd_texts_are_stored_to_the_byte_and_are_the_same_ever_after() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let texts = odd_texts();
    for (n, body) in texts.iter().enumerate() {
        let path = format!("/api/channels/{channel}");
        let said = Request::post(&path, &json!({ "body": body })).key(&format!("odd-{n}"));
        let first = owner.send(&said).ok(201);
        assert_eq!(first["body"], json!(body), "text {n}");
        // A retry finds the same text; what only looks like it is another.
        assert_eq!(owner.send(&said).ok(201)["offset"], first["offset"], "text {n}");
    }
    let twins = |a: &str, b: &str| json!([a, b]);
    for pair in [twins("caf\u{e9}", "cafe\u{301}"), twins("\u{212b}", "\u{c5}"), twins("x", "x\u{200b}")] {
        let path = format!("/api/channels/{channel}");
        let key = format!("twin-{}", pair[0].as_str().unwrap().len());
        owner.send(&Request::post(&path, &json!({"body": pair[0]})).key(&key)).ok(201);
        owner.send(&Request::post(&path, &json!({"body": pair[1]})).key(&key)).refused_as(409, "key_reused");
    }
    let token = owner.token("odd \u{1f511} caf\u{e9}");
    let (events, seen) = (owner.poll_all("0"), bodies(&mut owner, &channel));
    assert_eq!(seen[..texts.len()], texts[..]);
    let exported = server.ask(&token, "export", &[]).must_exit(0).stdout.clone();
    let lines: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, events, "an export's lines are lines");

    // From the log alone.
    server.stop();
    std::fs::remove_dir_all(server.data().join("views")).unwrap();
    assert_eq!(server.operate("export", &[]).must_exit(0).stdout, exported);
    server.start();
    assert_eq!((owner.poll_all("0"), bodies(&mut owner, &channel)), (events.clone(), seen.clone()));
    assert_eq!(owner.get("/api/tokens").ok(200)["tokens"][0]["label"], "odd \u{1f511} caf\u{e9}");

    // From a backup, in another place.
    let backup = server.data().with_file_name("odd.backup");
    server.ask(&token, "backup", &[backup.to_str().unwrap()]).must_exit(0);
    let place = tempfile::tempdir().unwrap();
    let mut other = Server::on(&place.path().join("data"), &[]);
    other.operate("restore", &[backup.to_str().unwrap(), "--yes"]).must_exit(0);
    other.start();
    let mut owner = other.client();
    owner.log_in("owner", PASSWORD);
    let channel = text(&owner.get("/api/channels").ok(200)["channels"][0], "id");
    assert_eq!(bodies(&mut owner, &channel), seen);
    let restored: Vec<Value> = owner.poll_all("0").into_iter().map(|event| event["body"].clone()).collect();
    let before: Vec<Value> = events.iter().map(|event| event["body"].clone()).collect();
    assert_eq!(restored[..before.len()], before[..]);
    other.stop();
    other.operate("verify", &[]).must_exit(0);
}

#[test]
fn what_is_no_text_is_refused_by_its_rule_and_nothing_is_stored() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let path = format!("/api/channels/{channel}");
    let not_json: [&[u8]; 12] = [
        // Halves of pairs, alone and in the wrong order.
        br#"{"body":"\ud83d"}"#,
        br#"{"body":"\ude00"}"#,
        br#"{"body":"\ude00\ud83d"}"#,
        br#"{"body":"\ud83dx"}"#,
        br#"{"body":"\ud83d\u0041"}"#,
        // The same in bytes, and other bytes that are not UTF-8: a long form, beyond the last, cut short.
        b"{\"body\":\"\xed\xa0\xbd\xed\xb8\x80\"}",
        b"{\"body\":\"\xc0\xaf\"}",
        b"{\"body\":\"\xf4\x90\x80\x80\"}",
        b"{\"body\":\"\xe2\x82\"}",
        // Other encodings, and a mark before the JSON.
        b"\xef\xbb\xbf{\"body\":\"x\"}",
        b"\xff\xfe{\0\"\0b\0o\0d\0y\0\"\0",
        b"{\"body\":\"a\0b\"}",
    ];
    for body in not_json {
        assert_eq!(raw(&mut owner, &path, body), (400, "not_json".into()), "{}", body.escape_ascii());
    }
    for escape in ["\\u0000", "\\u0007", "\\r\\n", "\\u001b[31m", "\\u007f", "\\u0085", "\\u009b"] {
        let body = format!(r#"{{"body":"a{escape}b"}}"#);
        assert_eq!(raw(&mut owner, &path, body.as_bytes()), (400, "bad_body".into()), "{body}");
    }
    for blank in ["", " ", "\\n\\t", "\\u00a0\\u2003\\u3000", "\\u2028"] {
        let body = format!(r#"{{"body":"{blank}"}}"#);
        assert_eq!(raw(&mut owner, &path, body.as_bytes()), (400, "bad_body".into()), "{body}");
    }
    owner
        .post(&path, &json!({"body": zalgo(BODY_BYTES_MAX) + "\u{301}"}))
        .refused_as(413, "message_too_large");
    assert!(owner.history(&channel, 50).is_empty());
    // A pair that is whole is a character like any other, however it is written.
    let said = owner.send(
        &Request::new("POST", &path)
            .header("content-type", "application/json")
            .bytes(br#"{"body":"\ud83d\ude00\u00e9"}"#),
    );
    assert_eq!(said.ok(201)["body"], "\u{1f600}\u{e9}");
}

#[test]
fn names_and_labels_that_look_alike_are_one_and_what_cannot_be_shown_is_refused() {
    let (server, mut owner) = Server::set_up(&["--sign-in-burst", "1000"]);
    let mut create = |name: &str| owner.post("/api/channels", &json!({ "name": name }));
    assert_eq!(create("cafe\u{301}").ok(201)["name"], "caf\u{e9}", "shown in NFC");
    for twin in [
        "caf\u{e9}",
        "CAF\u{c9}",
        "\u{ff43}af\u{e9}",
        "c\u{200d}af\u{e9}",
        "\u{202e}caf\u{e9}",
        "\u{feff}cafe\u{301}",
    ] {
        create(twin).refused_as(409, "name_taken");
    }
    let zalgo = zalgo(2_000);
    for bad in [
        "a\0b",
        "a\u{7}b",
        "a\nb",
        "a\u{85}b",
        "a\u{2028}b",
        "\u{200b}",
        "\u{202e}",
        " ",
        "a  b",
        "a ",
        zalgo.as_str(),
    ] {
        create(bad).refused_as(400, "bad_name");
    }
    let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
    assert_eq!(create(family).ok(201)["name"], family);
    assert_eq!(create("\u{ffff}\u{fdd0}").ok(201)["name"], "\u{ffff}\u{fdd0}");
    for bad in ["a\0b", "\u{1b}[31m", "", zalgo.as_str()] {
        owner.post("/api/tokens", &json!({ "label": bad })).refused_as(400, "bad_label");
    }
    for path in ["/api/channels", "/api/tokens"] {
        for field in ["name", "label"] {
            let body = format!(r#"{{"{field}":"\ud800"}}"#);
            assert_eq!(raw(&mut owner, path, body.as_bytes()), (400, "not_json".into()));
        }
    }
    // Passwords are what was typed, whatever composition the keyboard made; all else about them counts.
    let mut member = |name: &str, password: &str| {
        let invitation = owner.post("/api/invite", &json!({})).ok(201);
        let path = format!("/api/invite/{}", text(&invitation, "token"));
        server.client().post(&path, &json!({"name": name, "password": password}))
    };
    let passwords = [
        (
            "ada",
            "Stra\u{df}e caf\u{e9} \u{212b}",
            "Stra\u{df}e cafe\u{301} A\u{30a}",
            "strasse caf\u{e9} \u{c5}",
        ),
        ("bob", "null\0inside\0", "null\0inside\0", "null\0inside"),
        (
            "cyd",
            "\u{feff}\u{202e}\u{1f511}\u{ffff}four",
            "\u{feff}\u{202e}\u{1f511}\u{ffff}four",
            "\u{1f511}\u{ffff}four",
        ),
    ];
    for (name, password, twin, other) in passwords {
        member(name, password).ok(201);
        for (typed, status) in [(password, 200), (twin, 200), (other, 401)] {
            let login = json!({"name": name, "password": typed});
            assert_eq!(server.client().post("/api/auth/login", &login).status, status, "{name}: {typed:?}");
        }
    }
    member("dan", &zalgo).refused_as(400, "bad_password");
    let mut nobody = server.client();
    nobody.identity = Identity::Nobody;
    let half = br#"{"name":"ada","password":"\ud800aaaaaaaa"}"#;
    assert_eq!(raw(&mut nobody, "/api/auth/login", half), (400, "not_json".into()));
}
