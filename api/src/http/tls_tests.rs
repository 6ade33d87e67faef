//! The server inside TLS, as a client that checks its certificate meets it.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::accept::Drained;
use super::accept::tests::{LARGE_BYTES, get, problem, serve_by, settings};
use super::tls::{Tls, TlsError};
use super::wire::Wire;
use crate::settings::{Settings, TlsFiles};
use crate::socket::{Sent, Socket};
use crate::streams::tests::client::Client;

/// A certificate and its key in a directory of their own.
pub(crate) struct Paper {
    directory: TempDir,
    certificate: CertificateDer<'static>,
}

impl Paper {
    pub(crate) fn new() -> Paper {
        let directory = tempfile::tempdir().unwrap();
        let certificate = issue(&directory);
        Paper { directory, certificate }
    }

    fn files(&self) -> TlsFiles {
        let file = |name| self.directory.path().join(name);
        TlsFiles { certificate: file("cert.pem"), key: file("key.pem") }
    }

    pub(crate) fn tls(&self) -> Arc<Tls> {
        Arc::new(Tls::load(self.files()).unwrap())
    }

    /// A client that trusts nothing else.
    pub(crate) async fn connect(&self, server: SocketAddr) -> Client {
        Client::on(self.shake_hands(TcpStream::connect(server).await.unwrap(), &TLS13).await.unwrap())
    }

    /// Both ends of a session.
    async fn pair(&self) -> (Socket, TlsStream<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let raw = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let tls = self.tls();
        let (server, client) = tokio::join!(tls.shake_hands(accepted), self.shake_hands(raw, &TLS13));
        (server.unwrap(), client.unwrap())
    }

    async fn shake_hands(
        &self,
        socket: TcpStream,
        version: &'static SupportedProtocolVersion,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, socket).await
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
}

fn issue(directory: &TempDir) -> CertificateDer<'static> {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.path().join("cert.pem"), issued.cert.pem()).unwrap();
    std::fs::write(directory.path().join("key.pem"), issued.signing_key.serialize_pem()).unwrap();
    issued.cert.der().clone()
}

#[tokio::test]
async fn both_versions_carry_requests_one_after_the_other_on_one_connection() {
    let paper = Paper::new();
    let served = serve_by(Some(paper.tls()), Settings::default()).await;
    for version in [&TLS12, &TLS13] {
        let socket = TcpStream::connect(served.address).await.unwrap();
        let tls = paper.shake_hands(socket, version).await.unwrap();
        assert_eq!(tls.get_ref().1.protocol_version(), Some(version.version));
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let mut client = Client::on(tls);
        client.send([get("/1"), get("/large"), get("/2")].concat()).await;
        assert_eq!(client.answer().await.unwrap().body, b"/1");
        assert_eq!(client.answer().await.unwrap().body.len(), LARGE_BYTES);
        assert_eq!(client.answer().await.unwrap().body, b"/2");
        assert_eq!(client.ask("GET / HTTP/1.1\r\nhost : x\r\n\r\n").await.unwrap().problem().0, 400);
        assert!(!client.more().await && !client.cut, "the end was not told inside TLS");
    }
}

#[tokio::test]
async fn a_handed_off_connection_inside_tls_first_gets_the_answers_before_it() {
    let paper = Paper::new();
    let served = serve_by(Some(paper.tls()), Settings::default()).await;
    let mut client = paper.connect(served.address).await;
    client.send([get("/large"), get("/stream"), get("/after")].concat()).await;
    assert_eq!(client.answer().await.unwrap().body.len(), LARGE_BYTES);
    assert_eq!(client.answer().await.unwrap().field("transfer-encoding"), Some("chunked"));
    assert_eq!(client.rest().await, b"3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(served.served.load(Ordering::SeqCst), 2, "what follows a stream is not a request");
}

#[tokio::test]
async fn a_client_inside_tls_that_does_not_take_its_answer_is_cut_off() {
    let paper = Paper::new();
    let mut settings = Settings::default();
    settings.streams.write_timeout = Duration::from_millis(200);
    settings.drain_timeout = Duration::from_secs(20);
    let served = serve_by(Some(paper.tls()), settings).await;
    let mut client = paper.connect(served.address).await;
    client.send(get("/large")).await;
    while served.served.load(Ordering::SeqCst) < 1 {
        tokio::task::yield_now().await;
    }
    // A stop lets requests under way finish, so it is over only when this one is cut off.
    served.stopping.send_replace(true);
    assert_eq!(served.server.await.unwrap(), Drained { cut: 0 });
    let mut came = 0;
    while client.more().await {
        came += client.bytes.drain(..).len();
    }
    assert!(came < LARGE_BYTES, "it was sent all the same");
}

#[tokio::test]
async fn plain_http_is_told_to_come_by_https() {
    let paper = Paper::new();
    let served = serve_by(Some(paper.tls()), Settings::default()).await;
    let mut client = Client::connect(served.address).await;
    let answer = client.ask(get("/")).await.unwrap();
    assert_eq!(answer.problem(), problem(400, "bad_request"));
    assert!(String::from_utf8_lossy(&answer.body).contains("https://"));
    assert_eq!(client.rest().await, b"");
    assert_eq!(served.served.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_handshake_that_does_not_come_in_time_is_ended() {
    let paper = Paper::new();
    let served =
        serve_by(Some(paper.tls()), settings(|limits| limits.head_timeout = Duration::from_millis(200)))
            .await;
    // Nothing, the beginning of a record, and what is none.
    for start in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"\x00\x01\x02\x03\x04\x05\x06\x07"] {
        let mut client = Client::connect(served.address).await;
        client.send(start).await;
        while client.more().await {}
        assert!(!client.bytes.starts_with(b"HTTP"), "{:?}", client.bytes);
    }
    assert_eq!(served.served.load(Ordering::SeqCst), 0);
    let mut client = paper.connect(served.address).await;
    assert_eq!(client.ask(get("/")).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_connection_counts_from_before_its_handshake() {
    let paper = Paper::new();
    let served = serve_by(Some(paper.tls()), settings(|limits| limits.per_address_max = Some(1))).await;
    let silent = TcpStream::connect(served.address).await.unwrap();
    let second = TcpStream::connect(served.address).await.unwrap();
    assert!(paper.shake_hands(second, &TLS13).await.is_err(), "there are two of this address");
    drop(silent);
    let again = async {
        let socket = || TcpStream::connect(served.address);
        while paper.shake_hands(socket().await.unwrap(), &TLS13).await.is_err() {}
    };
    tokio::time::timeout(Duration::from_secs(30), again).await.unwrap();
}

#[tokio::test]
async fn a_stop_waits_for_no_handshake() {
    let paper = Paper::new();
    let mut settings = settings(|limits| limits.head_timeout = Duration::from_secs(300));
    settings.drain_timeout = Duration::from_secs(10);
    let served = serve_by(Some(paper.tls()), settings).await;
    let mut silent = Client::connect(served.address).await;
    silent.send(b"\x16\x03\x01").await;
    let mut idle = paper.connect(served.address).await;
    idle.ask(get("/")).await.unwrap();
    served.stopping.send_replace(true);
    assert_eq!(served.server.await.unwrap(), Drained { cut: 0 });
    assert_eq!(silent.rest().await, b"");
    assert!(!idle.more().await && !idle.cut, "the end was not told inside TLS");
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_a_bad_one_for_none() {
    let mut paper = Paper::new();
    let tls = paper.tls();
    let served = serve_by(Some(Arc::clone(&tls)), Settings::default()).await;
    let mut open = paper.connect(served.address).await;
    open.ask(get("/1")).await.unwrap();
    let good = std::fs::read(paper.files().key).unwrap();
    std::fs::write(paper.files().key, "garbage").unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::NoKey(_))));
    assert_eq!(
        paper.connect(served.address).await.ask(get("/2")).await.unwrap().status,
        200,
        "the old one stays"
    );
    std::fs::write(paper.files().key, good).unwrap();
    tls.reload().unwrap();
    paper.connect(served.address).await.ask(get("/3")).await.unwrap();
    let old = std::mem::replace(&mut paper, Paper::new());
    std::fs::copy(paper.files().certificate, old.files().certificate).unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Mismatch { .. })), "only half of the new pair is there");
    std::fs::copy(paper.files().key, old.files().key).unwrap();
    tls.reload().unwrap();
    assert_eq!(paper.connect(served.address).await.ask(get("/4")).await.unwrap().status, 200);
    let socket = TcpStream::connect(served.address).await.unwrap();
    assert!(old.shake_hands(socket, &TLS13).await.is_err(), "the old one is shown still");
    assert_eq!(open.ask(get("/5")).await.unwrap().body, b"/5", "what is open goes on");
}

#[test]
fn what_cannot_be_a_certificate_and_its_key_is_told_why() {
    let told = |change: &dyn Fn(&TlsFiles)| {
        let paper = Paper::new();
        change(&paper.files());
        Tls::load(paper.files()).unwrap_err().to_string()
    };
    let other = Paper::new();
    for (change, why) in [
        (
            &(|files: &TlsFiles| std::fs::remove_file(&files.certificate).unwrap()) as &dyn Fn(&TlsFiles),
            "cannot read the certificate",
        ),
        (&|files| std::fs::remove_file(&files.key).unwrap(), "cannot read the key"),
        (&|files| std::fs::write(&files.certificate, "").unwrap(), "cert.pem holds no certificate in PEM"),
        (&|files| std::fs::write(&files.key, "").unwrap(), "key.pem holds no private key in PEM"),
        (&|files| copy(&files.key, &files.certificate), "cert.pem holds no certificate"),
        (&|files| copy(&files.certificate, &files.key), "key.pem holds no private key"),
        (
            &|files| std::fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\n").unwrap(),
            "cert.pem is damaged",
        ),
        (
            &|files| {
                std::fs::write(
                    &files.certificate,
                    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                )
                .unwrap()
            },
            "cannot be used",
        ),
        (
            &|files| {
                std::fs::write(&files.key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
                    .unwrap()
            },
            "cannot be used",
        ),
        (&|files| copy(&other.files().key, &files.key), "does not belong to the certificate"),
    ] {
        let told = told(change);
        assert!(told.contains(why), "{told}");
    }
}

#[tokio::test]
async fn a_session_holds_little_for_a_client_that_takes_nothing_and_tells_when_it_takes_something() {
    let (mut server, mut client) = Paper::new().pair().await;
    const BYTES: usize = 64 << 20;
    let mut bytes = Bytes::from(vec![7; BYTES]);
    while server.try_send(&mut bytes).unwrap() != Sent::Nothing {}
    let taken = BYTES - bytes.len();
    assert!(!bytes.is_empty(), "the system holds all of it");
    let Socket::Tls(session) = &mut server else { panic!("it is inside TLS") };
    let mut held = Vec::new();
    while session.get_mut().1.wants_write() {
        session.get_mut().1.write_tls(&mut held).unwrap();
    }
    assert!(!held.is_empty() && held.len() < 40 << 10, "{} bytes are held", held.len());
    // What was taken out of the session is put back on its way by hand.
    let mut left = &held[..];
    let mut came = vec![0; 1 << 20];
    let mut read = 0;
    while !left.is_empty() {
        read += client.read(&mut came).await.unwrap();
        if let Ok(sent) = server.tcp().try_write(left) {
            left = &left[sent..];
        }
    }
    let mut took_some = false;
    while read < taken {
        read += client.read(&mut came).await.unwrap();
        took_some |= server.try_send(&mut bytes).unwrap() == Sent::Some;
    }
    assert!(took_some, "nobody could tell that the client takes something");
    client.shutdown().await.unwrap();
    let gone = std::future::poll_fn(|context| match server.poll_gone(context) {
        true => std::task::Poll::Ready(()),
        false => std::task::Poll::Pending,
    });
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("the client's goodbye is not heard");
}

#[tokio::test]
async fn what_is_encrypted_and_not_yet_sent_is_seen_to_be_stuck() {
    let (server, mut client) = Paper::new().pair().await;
    let (mut wire, watched) = Wire::new(server, 1 << 10);
    let piece = vec![7; 1 << 10];
    // Small pieces, so that the last one is taken whole and only the flush behind it has to wait.
    let flushed = async |wire: &mut Wire| {
        std::future::poll_fn(|context| std::task::Poll::Ready(Pin::new(&mut *wire).poll_flush(context))).await
    };
    let mut written = 0;
    loop {
        wire.write_all(&piece).await.unwrap();
        written += piece.len();
        assert!(!watched.lock().flushed);
        if flushed(&mut wire).await.is_pending() {
            break;
        }
        assert!(watched.lock().flushed && watched.lock().blocked_since.is_none());
    }
    assert!(!watched.lock().flushed && watched.lock().blocked_since.is_some(), "nobody would notice");
    let mut came = vec![0; 1 << 20];
    let mut read = 0;
    while read < written {
        read += client.read(&mut came).await.unwrap();
        let _ = flushed(&mut wire).await;
    }
    wire.flush().await.unwrap();
    assert!(watched.lock().flushed && watched.lock().blocked_since.is_none());
}
