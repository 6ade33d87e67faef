//! The server's certificate and key, and the handshake in which they are used.
//!
//! Both files are read at the start and again when the operator asks for it. A connection keeps what it began with; the
//! next one gets the newest pair that was good.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use x509_cert::der::Decode;
use x509_cert::time::Time;

use super::problem::{Code, Problem};
use crate::settings::TlsFiles;
use crate::socket::Socket;

/// The most that a session holds of what is encrypted and not yet sent: two records of the largest size, so that one
/// write of a busy stream still fills a socket.
const UNSENT_BYTES_MAX: usize = 32 << 10;
/// The only protocol that is spoken inside.
const PROTOCOL: &[u8] = b"http/1.1";

/// What the server proves with who it is.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
}

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read the {what} {}: {source}", path.display())]
    Unreadable {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file has no certificate.
    #[error("{} holds no certificate in PEM", .0.display())]
    NoCertificate(PathBuf),
    /// The file has no key.
    #[error("{} holds no private key in PEM (PKCS#8, PKCS#1 or SEC1, without a passphrase)", .0.display())]
    NoKey(PathBuf),
    /// The file is no PEM.
    #[error("{} is damaged: {source}", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// The key belongs to another certificate.
    #[error("the key {} does not belong to the certificate {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The library refuses them.
    #[error("the certificate {} with the key {} cannot be used: {source}", certificate.display(), key.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
}

/// Why a connection did not get through its handshake.
#[derive(Debug)]
pub(super) enum Stranger {
    /// It speaks HTTP without TLS and can be told so.
    Plain(TcpStream, Problem),
    /// It broke off, or speaks something else.
    Lost(io::Error),
}

impl Tls {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn load(files: TlsFiles) -> Result<Tls, TlsError> {
        let config = read(&files)?;
        Ok(Tls { files, config: RwLock::new(config) })
    }

    /// Reads certificate and key again, for the connections from now on.
    ///
    /// # Errors
    /// When they cannot be used; then everything stays as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = read(&self.files)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Does the handshake on a new connection. Whoever calls it sees to the time that it takes.
    ///
    /// # Errors
    /// When the client does not go through with it.
    pub(super) async fn shake_hands(&self, socket: TcpStream) -> Result<Socket, Stranger> {
        let mut first = [0];
        socket.peek(&mut first).await.map_err(Stranger::Lost)?;
        if first[0].is_ascii_uppercase() {
            // A method's first letter; TLS begins with none.
            let problem = Problem::new(Code::BadRequest, "this port speaks HTTPS: use a URL with https://");
            return Err(Stranger::Plain(socket, problem));
        }
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        let limited =
            |session: &mut rustls::ServerConnection| session.set_buffer_limit(Some(UNSENT_BYTES_MAX));
        let tls = TlsAcceptor::from(config).accept_with(socket, limited).await.map_err(Stranger::Lost)?;
        Ok(Socket::Tls(Box::new(tls)))
    }
}

/// Makes a configuration of what is in the files, and says so in the log.
fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let TlsFiles { certificate, key } = files;
    let failed = |what, path: &Path, error| match error {
        pem::Error::Io(source) => TlsError::Unreadable { what, path: path.to_owned(), source },
        pem::Error::NoItemsFound if what == "key" => TlsError::NoKey(path.to_owned()),
        pem::Error::NoItemsFound => TlsError::NoCertificate(path.to_owned()),
        source => TlsError::NotPem { path: path.to_owned(), source },
    };
    let unusable = |source| match source {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::Mismatch { certificate: certificate.clone(), key: key.clone() }
        }
        source => TlsError::Unusable { certificate: certificate.clone(), key: key.clone(), source },
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed("certificate", certificate, error))?;
    let own = chain.first().ok_or_else(|| TlsError::NoCertificate(certificate.clone()))?;
    let validity = validity(own);
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| failed("key", key, error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // A client that comes back brings its session along: nothing is kept for it here.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // In TLS 1.3 they come with the first answer, and Python's clients, which write in one thread and read in another, hang on
    // one connection in two hundred then.
    config.send_tls13_tickets = 0;
    config.ticketer = ring::Ticketer::new().map_err(unusable)?;
    tell(certificate, validity);
    Ok(Arc::new(config))
}

/// Between which times a certificate is valid, if that can be read.
fn validity(certificate: &CertificateDer<'_>) -> Option<(Time, Time)> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate().validity();
    Some((validity.not_before, validity.not_after))
}

fn tell(certificate: &Path, validity: Option<(Time, Time)>) {
    let certificate = certificate.display();
    let Some((begin, end)) = validity else {
        tracing::info!(%certificate, "certificate and key loaded");
        return;
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if now >= end.to_unix_duration() {
        tracing::warn!(%certificate, valid_until = %end, "certificate and key loaded, but the certificate has expired");
    } else if now < begin.to_unix_duration() {
        tracing::warn!(%certificate, valid_from = %begin, "certificate and key loaded, but the certificate is not valid yet");
    } else {
        tracing::info!(%certificate, valid_until = %end, "certificate and key loaded");
    }
}
