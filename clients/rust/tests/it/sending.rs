//! Sending.

use std::time::{Duration, Instant};

use scrollback_client::{Ended, SendError};

use super::fake::{Fake, Reply, header};

const SENT: &str =
    r#"{"id":"M3","at":"2026-11-21T14:13:41.276219Z","channel":"C2","sender":"U1","body":"hi","offset":3}"#;

#[tokio::test]
async fn a_message_whose_answer_was_lost_is_sent_again_under_the_same_key() {
    let fake = Fake::start(|_, before| match before {
        0 => Reply::lost(),
        1 => Reply::json(503, "retry-after: 0\r\n", r#"{"code":"outcome_unknown","detail":""}"#),
        _ => Reply::json(201, "", SENT),
    })
    .await;
    assert_eq!(fake.client().send("C2", "hi").await.unwrap().offset, 3);
    let asked = fake.asked("/api/channels/C2");
    let keys: Vec<&str> = asked.iter().map(|request| header(request, "idempotency-key: ")).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys[0].len() == 32 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert!(asked.iter().all(|request| request.ends_with(r#"{"body":"hi"}"#)), "{asked:?}");
    fake.client().send("C2", "hi").await.unwrap();
    let asked = fake.asked("/api/channels/C2");
    assert_ne!(
        header(&asked[3], "idempotency-key: "),
        header(&asked[0], "idempotency-key: "),
        "a new message"
    );
}

#[tokio::test]
async fn a_message_that_is_refused_is_not_sent_again() {
    let fake = Fake::start(|_, _| Reply::json(404, "", r#"{"code":"not_found","detail":"no"}"#)).await;
    let error = fake.client().send("C2", "hi").await.unwrap_err();
    let SendError::Ended(Ended::Refused(problem)) = error else { panic!("{error:?}") };
    assert_eq!((problem.status, problem.code.as_str()), (404, "not_found"));
    assert_eq!(fake.asked("/").len(), 1);
}

#[tokio::test]
async fn a_send_ends_at_its_bound_and_tells_its_key() {
    let fake = Fake::start(|_, _| Reply::lost()).await;
    let began = Instant::now();
    let error = fake.client().send_under("C2", "hi", "my key", Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(&error, SendError::Unknown { key, .. } if key == "my key"), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(fake.asked("/").len() > 1, "it was tried again");
}
