//! Certificates: a pair in files for a server or a proxy, and what a client needs to trust it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

/// A certificate and its key, in a directory of their own.
pub(crate) struct Paper {
    directory: TempDir,
    names: Vec<String>,
    /// Trusts this certificate and no other.
    pub(crate) trust: Arc<ClientConfig>,
}

impl Paper {
    /// One for `localhost`, by name only.
    pub(crate) fn new() -> Self {
        Self::of(&["localhost"])
    }

    /// One for these names and addresses.
    pub(crate) fn of(names: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("scrollback-it-").tempdir().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let trust = issue(directory.path(), &names);
        Self { directory, names, trust }
    }

    /// Puts another certificate and key in their place.
    pub(crate) fn renew(&mut self) {
        self.trust = issue(self.directory.path(), &self.names);
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }

    /// Both in one file, as haproxy wants them.
    pub(crate) fn both(&self) -> PathBuf {
        self.directory.path().join("both.pem")
    }

    /// The options with which a server uses it.
    pub(crate) fn options(&self) -> [String; 4] {
        let text = |path: PathBuf| path.to_str().expect("a path in UTF-8").to_owned();
        ["--tls-cert".into(), text(self.certificate()), "--tls-key".into(), text(self.key())]
    }
}

fn issue(directory: &Path, names: &[String]) -> Arc<ClientConfig> {
    let issued = rcgen::generate_simple_self_signed(names).unwrap();
    let (certificate, key) = (issued.cert.pem(), issued.signing_key.serialize_pem());
    std::fs::write(directory.join("cert.pem"), &certificate).unwrap();
    std::fs::write(directory.join("key.pem"), &key).unwrap();
    std::fs::write(directory.join("both.pem"), certificate + &key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(issued.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
