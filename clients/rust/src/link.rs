//! A connection to the server, and requests on it.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode, Uri, request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::error::{Ended, Error, SetupError};

/// How long a connection may take to be there, with its TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take, or its head if it is a stream.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// No answer is larger but by mistake: a boot has 4 MiB of messages and all users and channels.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What to do about a machine that trusts nobody.
const NO_TRUST: &str =
    "this machine trusts no certificate: install ca-certificates, or name a file of them in SSL_CERT_FILE";

/// Where the server is and who asks.
#[derive(Clone)]
pub(crate) struct Address {
    authority: String,
    /// What stands before `/api`, where a proxy puts the server below a path.
    prefix: String,
    /// For an https URL: what is trusted, and the name that the server must prove to have.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    bearer: HeaderValue,
    /// Where a test has its server in the same process, so that time passes only while nobody has anything to do.
    #[cfg(test)]
    pub(crate) inside: Option<tokio::sync::mpsc::UnboundedSender<tokio::io::DuplexStream>>,
}

impl Address {
    /// `trust` is for https; without one it is what this machine trusts.
    pub(crate) fn new(
        url: &str,
        token: &str,
        trust: Option<Arc<ClientConfig>>,
    ) -> Result<Address, SetupError> {
        let unusable = |why: &str| SetupError::Url { url: url.to_owned(), why: why.to_owned() };
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| unusable(&error.to_string()))?;
        let host = uri.host().ok_or_else(|| unusable("it names no host"))?;
        let (port, tls) = match uri.scheme_str() {
            Some("http") => (80, None),
            Some("https") => {
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
                    .map_err(|_| unusable("no certificate can have this name"))?;
                (443, Some((TlsConnector::from(trust.map_or_else(machine_trust, Ok)?), name)))
            }
            _ => return Err(unusable("it begins neither with http:// nor with https://")),
        };
        let mut bearer = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| SetupError::Token)?;
        bearer.set_sensitive(true);
        Ok(Address {
            authority: format!("{host}:{}", uri.port_u16().unwrap_or(port)),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            tls,
            bearer,
            #[cfg(test)]
            inside: None,
        })
    }

    fn lost(&self, error: &dyn std::fmt::Display) -> Error {
        Error::away(format!("{}: {error}", self.authority))
    }
}

/// Trusts what this machine trusts: its own certificates, or those that `SSL_CERT_FILE` names.
fn machine_trust() -> Result<Arc<ClientConfig>, SetupError> {
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs).0 == 0 {
        return Err(SetupError::Tls(NO_TRUST.into()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// One connection. It ends when this is dropped.
pub(crate) struct Link {
    address: Address,
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    pub(crate) async fn open(address: &Address) -> Result<Link, Error> {
        within(CONNECT_TIMEOUT, Self::connect(address), || address.lost(&"it cannot be reached")).await
    }

    async fn connect(address: &Address) -> Result<Link, Error> {
        #[cfg(test)]
        if let Some(inside) = &address.inside {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            inside.send(theirs).map_err(|error| address.lost(&error))?;
            return Self::on(address, ours).await;
        }
        let stream = TcpStream::connect(&address.authority).await.map_err(|error| address.lost(&error))?;
        // A request is one write; it need not wait for the answer to the one before.
        stream.set_nodelay(true).map_err(|error| address.lost(&error))?;
        let Some((connector, name)) = &address.tls else { return Self::on(address, stream).await };
        match connector.connect(name.clone(), stream).await {
            Ok(stream) => Self::on(address, stream).await,
            // What the server says of itself is wrong; it will not be right the next time.
            Err(error) if error.kind() == ErrorKind::InvalidData => Err(Ended::Untrusted(format!(
                "{} does not prove that it is itself: {error}",
                address.authority
            ))
            .into()),
            Err(error) => Err(address.lost(&error)),
        }
    }

    async fn on<S>(address: &Address, stream: S) -> Result<Link, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| address.lost(&error))?;
        // What ends it is told to whoever waits for an answer.
        let driver = tokio::spawn(async { drop(connection.with_upgrades().await) });
        Ok(Link { address: address.clone(), sender, driver })
    }

    /// Whether no request can be sent on it any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// A request to this path of the server.
    pub(crate) fn request(&self, method: Method, path: &str) -> request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address.prefix))
            .header(HOST, &self.address.authority)
            .header(AUTHORIZATION, &self.address.bearer)
    }

    /// Asks without a body, or with one in JSON; gives the head of a good answer, and its body as it comes. What is no good
    /// answer is an error.
    pub(crate) async fn begin(
        &mut self,
        request: request::Builder,
        body: Option<Vec<u8>>,
        patience: Duration,
    ) -> Result<Response<Incoming>, Error> {
        let request = match body {
            None => request.body(Full::default()),
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(Full::from(body)),
        };
        let request = request.map_err(|error| Ended::Unsendable(error.to_string()))?;
        let lost = |error: &dyn std::fmt::Display| self.address.lost(error);
        let asking = async {
            self.sender.ready().await.map_err(|error| lost(&error))?;
            self.sender.send_request(request).await.map_err(|error| lost(&error))
        };
        let answer = within(patience, asking, || lost(&"it does not answer")).await?;
        let status = answer.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(answer);
        }
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let body = self.body(answer).await?;
        Err(Error::refused(status.as_u16(), retry_after, &body))
    }

    /// Asks and reads the whole answer.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &mut self,
        request: request::Builder,
        body: Option<Vec<u8>>,
        patience: Duration,
    ) -> Result<T, Error> {
        let answer = self.begin(request, body, patience).await?;
        let body = self.body(answer).await?;
        // What is answered by nothing, as 204 is, is read as what JSON has for that.
        let body = if body.is_empty() { b"null" } else { &body[..] };
        serde_json::from_slice(body).map_err(|error| Error::unreadable(error.to_string()))
    }

    /// The next piece of the body of an answer; none at its end. May be dropped while it waits: nothing is lost.
    pub(crate) async fn piece(&self, body: &mut Incoming) -> Result<Option<Bytes>, Error> {
        let lost = |error: &dyn std::fmt::Display| self.address.lost(error);
        loop {
            let frame = async { body.frame().await.transpose().map_err(|error| lost(&error)) };
            match within(ANSWER_TIMEOUT, frame, || lost(&"it sends nothing any more")).await? {
                None => return Ok(None),
                Some(frame) => {
                    // Trailers are nothing to anybody.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    async fn body(&self, answer: Response<Incoming>) -> Result<Bytes, Error> {
        let lost = |error: &dyn std::fmt::Display| self.address.lost(error);
        let reading = async {
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok(body.map_err(|error| lost(&error))?.to_bytes())
        };
        within(ANSWER_TIMEOUT, reading, || lost(&"its answer does not end")).await
    }
}

/// Waits for something no longer than that.
pub(crate) async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, Error>>,
    late: impl FnOnce() -> Error,
) -> Result<T, Error> {
    tokio::time::timeout(patience, work).await.unwrap_or_else(|_| Err(late()))
}
