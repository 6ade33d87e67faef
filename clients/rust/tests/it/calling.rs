//! Single calls.

use scrollback_client::{Ended, Error, Method};
use serde_json::{Value, json};

use super::fake::{Fake, Reply, header, path};

#[tokio::test]
async fn a_call_gives_what_is_answered_also_if_that_is_nothing() {
    let fake = Fake::start(|request, _| match path(request) {
        "/api/tokens/T1" => Reply { bytes: "HTTP/1.1 204 No Content\r\n\r\n".into(), stays: false },
        _ => Reply::json(200, "", r#"{"id":"U1"}"#),
    })
    .await;
    let client = fake.client();
    let body = json!({"to": "x"});
    let me: Value = client.call(Method::POST, "/api/auth/me", Some(&body)).await.unwrap();
    assert_eq!(me, json!({"id": "U1"}));
    client.call::<()>(Method::DELETE, "/api/tokens/T1", None).await.unwrap();
    assert_eq!(client.call::<Option<Value>>(Method::DELETE, "/api/tokens/T1", None).await, Ok(None));
    let asked = fake.asked("/api");
    assert!(asked[0].starts_with("POST ") && asked[0].ends_with(r#"{"to":"x"}"#), "{}", asked[0]);
    assert_eq!(header(&asked[0], "content-type: "), "application/json");
    assert!(asked[1].starts_with("DELETE "), "{}", asked[1]);
}

#[tokio::test]
async fn what_is_no_path_is_not_asked_for_and_that_is_said() {
    let fake = Fake::start(|_, _| Reply::json(200, "", "{}")).await;
    let refused = fake.client().call::<Value>(Method::GET, "/api/no path", None).await;
    assert!(matches!(&refused, Err(Error::Ended(Ended::Unsendable(_)))), "{refused:?}");
    assert!(fake.asked("/").is_empty());
}

#[tokio::test]
async fn a_download_gives_what_has_come_and_says_when_that_is_not_all() {
    let answer = |length: usize| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        Reply { bytes: head + "0123456789", stays: false }
    };
    let fake = Fake::start(move |request, _| match path(request) {
        "/whole" => answer(10),
        "/cut" => answer(11),
        _ => Reply::json(503, "retry-after: 7\r\n", r#"{"code":"busy","detail":""}"#),
    })
    .await;
    for (path, is_whole) in [("/whole", true), ("/cut", false)] {
        let mut coming = fake.client().download(path).await.unwrap();
        let mut bytes = Vec::new();
        let end = loop {
            match coming.next().await {
                Ok(Some(piece)) => bytes.extend_from_slice(&piece),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        assert_eq!(bytes, b"0123456789");
        assert_eq!(end.is_ok(), is_whole, "{end:?}");
        assert!(is_whole || matches!(end, Err(Error::Away(_))));
    }
    let Err(Error::Away(away)) = fake.client().download("/busy").await else { panic!("it is busy") };
    assert_eq!(away.retry_after.map(|asked| asked.as_secs()), Some(7));
}
