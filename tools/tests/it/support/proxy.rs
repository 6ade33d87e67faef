//! nginx and haproxy with the configurations in `docs/proxies`, only their ports and paths replaced.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::client::Client;
use super::paper::Paper;
use super::server::{Address, Server, Way, wait};
use super::until;

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    Haproxy,
}

/// A running proxy in front of a running server.
pub(crate) struct Proxy {
    child: Child,
    paper: Paper,
    /// Where it speaks HTTPS.
    https: SocketAddr,
    /// Where it only says so.
    pub(crate) http: SocketAddr,
    _directory: TempDir,
}

impl Proxy {
    /// A server with these options and a proxy in front of it as the documentation says, and in the proxy's configuration
    /// `rule` if there is one: what the proxy lets nobody do.
    pub(crate) fn with_server(kind: Kind, rule: Rule, options: &[&str]) -> (Server, Self) {
        let (http, https) = (free_address(), free_address());
        let url = format!("https://{https}");
        let mut all = vec!["--public-url", &url, "--trusted-proxy", "127.0.0.1"];
        all.extend_from_slice(options);
        let server = Server::started(&all);
        let proxy = Self::start(kind, rule, http, https, server.address.get());
        (server, proxy)
    }

    fn start(kind: Kind, rule: Rule, http: SocketAddr, https: SocketAddr, server: SocketAddr) -> Self {
        let directory = tempfile::Builder::new().prefix("scrollback-it-").tempdir().unwrap();
        let paper = Paper::new();
        let site = Site { directory: directory.path(), paper: &paper, rule, http, https, server };
        let mut command = match kind {
            Kind::Nginx => nginx(&site),
            Kind::Haproxy => haproxy(&site),
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        let mut proxy = Self { child, paper, https, http, _directory: directory };
        until(&format!("{kind:?} listens"), || {
            if let Some(status) = proxy.child.try_wait().unwrap() {
                panic!("{kind:?} ended: {status}");
            }
            let listens = TcpStream::connect(https).is_ok() && TcpStream::connect(http).is_ok();
            listens.then_some(())
        });
        proxy
    }

    /// The proxy as clients reach it.
    pub(crate) fn address(&self) -> Address {
        Address::at(self.https, Way { trust: Some(self.paper.trust.clone()), ..Way::default() })
    }

    /// A client at an address of its own, from 127.0.0.2 on.
    pub(crate) fn client_from(&self, last: u8) -> Client {
        let from = Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)));
        Client::new(self.address().by(Way { from, ..self.address().way() }))
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Both end their workers on this signal, as they would not if they were killed.
        if let Ok(None) = self.child.try_wait() {
            super::server::signal(self.child.id(), "TERM");
            wait(&mut self.child);
        }
    }
}

/// What a proxy keeps from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing.
    None,
    /// To make channels, so that one that is made all the same has been smuggled by.
    NoChannels,
}

/// What a proxy is put in front of, and how.
struct Site<'a> {
    /// Where its own files go.
    directory: &'a Path,
    paper: &'a Paper,
    rule: Rule,
    http: SocketAddr,
    https: SocketAddr,
    server: SocketAddr,
}

fn nginx(site: &Site<'_>) -> Command {
    let Site { directory, paper, rule, http, https, server } = *site;
    let mut text = shipped("nginx.conf");
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {};\n", directory.join(name).display()))
        .concat();
    for (old, new) in [
        ("pid /run/nginx.pid;", format!("pid {};", directory.join("pid").display())),
        (
            "error_log /var/log/nginx/error.log warn;",
            format!("error_log {} warn;", directory.join("log").display()),
        ),
        ("http {\n", format!("http {{\n{temporary}")),
        ("server 127.0.0.1:8080;", format!("server {server};")),
        ("listen 80;", format!("listen {http};")),
        ("listen 443 ssl http2;", format!("listen {https} ssl http2;")),
        ("/etc/ssl/chat.example/fullchain.pem", paper.certificate().display().to_string()),
        ("/etc/ssl/chat.example/privkey.pem", paper.key().display().to_string()),
    ] {
        replace(&mut text, old, &new);
    }
    if rule == Rule::NoChannels {
        replace(
            &mut text,
            "        location / {\n",
            "location = /api/channels { return 403; }\nlocation / {\n",
        );
    }
    let file = directory.join("nginx.conf");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("nginx");
    // As root it would give its files to somebody who may not look into the test's directory.
    command.args(["-e", "stderr", "-g", "daemon off; user root;", "-c"]).arg(file);
    command
}

fn haproxy(site: &Site<'_>) -> Command {
    let Site { directory, paper, rule, http, https, server } = *site;
    let mut text = shipped("haproxy.cfg");
    for (old, new) in [
        ("bind :80\n", format!("bind {http}\n")),
        ("bind :443 ", format!("bind {https} ")),
        ("/etc/ssl/chat.example/haproxy.pem", paper.both().display().to_string()),
        ("server scrollback 127.0.0.1:8080", format!("server scrollback {server}")),
    ] {
        replace(&mut text, old, &new);
    }
    if rule == Rule::NoChannels {
        let deny = "    http-request deny if { path /api/channels }\n    default_backend scrollback\n";
        replace(&mut text, "    default_backend scrollback\n", deny);
    }
    let file = directory.join("haproxy.cfg");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f"]).arg(file);
    command
}

/// A configuration as users get it.
fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/proxies").join(name);
    std::fs::read_to_string(path).expect("a shipped configuration")
}

fn replace(text: &mut String, old: &str, new: &str) {
    assert_eq!(text.matches(old).count(), 1, "{old:?} should be there once");
    *text = text.replace(old, new);
}

/// An address that nobody listens on at this moment.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
