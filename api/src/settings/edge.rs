//! What is set about the way to the server: its certificate, its public URL, the proxies before it. Each is checked when
//! it is read, so that a slip of the pen is told at the start and not by a log-in that does not work.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

use http::Uri;
use ipnet::{IpNet, Ipv4Net};

/// The bits before the IPv4 address in an IPv6 address that stands for one.
const MAPPED_PREFIX_BITS: u8 = 96;

/// Where the certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that lead from it to its root, in PEM, its own first.
    pub certificate: PathBuf,
    /// Its private key in PEM, without a passphrase.
    pub key: PathBuf,
}

/// The URL under which browsers reach the server: scheme, host and port, nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    origin: String,
}

impl PublicUrl {
    /// The URL as browsers write an origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether it is an `https` one.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.origin.starts_with("https://")
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)
    }
}

/// Why a text is no public URL.
#[derive(Debug, thiserror::Error)]
#[error("{0} (write it like https://chat.example or http://192.0.2.1:8080)")]
pub struct BadPublicUrl(&'static str);

impl FromStr for PublicUrl {
    type Err = BadPublicUrl;

    fn from_str(typed: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = typed.split_once("://").ok_or(BadPublicUrl("it must begin with a scheme"))?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(BadPublicUrl("its scheme must be http or https"));
        }
        if !rest.is_ascii() {
            return Err(BadPublicUrl("its host must be in its ASCII form, xn--..."));
        }
        let (authority, behind) = rest.find(['/', '?', '#']).map_or((rest, ""), |at| rest.split_at(at));
        if !matches!(behind, "" | "/") {
            return Err(BadPublicUrl(
                "it can have no path, query or fragment: the server is all of its host",
            ));
        }
        if authority.contains('@') {
            return Err(BadPublicUrl("it can have no user or password in it"));
        }
        let (host, port) = split_port(authority);
        if !is_host(host) {
            return Err(BadPublicUrl("it names no host"));
        }
        if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
            return Err(BadPublicUrl("its port must be a number from 1 to 65535"));
        }
        let origin = origin_of(&format!("{scheme}://{authority}")).ok_or(BadPublicUrl("it is no URL"))?;
        Ok(PublicUrl { origin })
    }
}

/// Host and port of an authority. A colon within brackets belongs to the host.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// Whether this is a name or an address as a URL has it.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => {
            let label = |label: &str| {
                !label.is_empty()
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            };
            host.split('.').all(label)
        }
    }
}

/// Scheme, host and port of a URL as browsers write an origin: in lower case, without the scheme's own port.
pub(crate) fn origin_of(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let own_port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let host = uri.host()?.to_ascii_lowercase();
    Some(match uri.port_u16().filter(|port| *port != own_port) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

/// A proxy, or a network of proxies, whose `X-Forwarded-*` count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedProxy(IpNet);

impl TrustedProxy {
    /// Whether this address is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text names no proxy.
#[derive(Debug, thiserror::Error)]
pub enum BadTrustedProxy {
    /// Neither an address nor a network.
    #[error("neither an address like 192.0.2.1 nor a network like 10.0.0.0/8 or fd00::/8")]
    Unknown,
    /// An address where a network's would be.
    #[error(
        "{typed} has bits set behind its prefix: it is {network} if the network is meant, or {address} alone"
    )]
    NotANetwork {
        /// What was typed.
        typed: String,
        /// The network that the address is in.
        network: IpNet,
        /// The address.
        address: IpAddr,
    },
}

impl FromStr for TrustedProxy {
    type Err = BadTrustedProxy;

    fn from_str(typed: &str) -> Result<Self, Self::Err> {
        let typed = typed.trim();
        if let Ok(address) = typed.parse::<IpAddr>() {
            return Ok(TrustedProxy(address.to_canonical().into()));
        }
        let network: IpNet = typed.parse().map_err(|_| BadTrustedProxy::Unknown)?;
        if network.trunc() != network {
            let (network, address) = (network.trunc(), network.addr());
            return Err(BadTrustedProxy::NotANetwork { typed: typed.to_owned(), network, address });
        }
        // Addresses are compared in their short form, so a network of mapped ones must be one of short ones.
        let short =
            match (network.addr().to_canonical(), network.prefix_len().checked_sub(MAPPED_PREFIX_BITS)) {
                (IpAddr::V4(address), Some(bits)) if network.addr().is_ipv6() => {
                    Ipv4Net::new(address, bits).ok()
                }
                _ => None,
            };
        Ok(TrustedProxy(short.map_or(network, IpNet::V4)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_a_scheme_a_host_and_a_port() {
        for (typed, origin) in [
            ("https://chat.example", "https://chat.example"),
            ("HTTPS://Chat.Example:443/", "https://chat.example"),
            ("http://chat.example:80", "http://chat.example"),
            ("http://chat.example:8080", "http://chat.example:8080"),
            ("https://192.0.2.1", "https://192.0.2.1"),
            ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
            ("http://localhost", "http://localhost"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ] {
            let url: PublicUrl = typed.parse().unwrap_or_else(|error| panic!("{typed}: {error}"));
            assert_eq!((url.origin(), url.to_string().as_str()), (origin, origin));
            assert_eq!(url.is_https(), origin.starts_with("https:"));
        }
    }

    #[test]
    fn anything_else_is_told_what_is_wrong_with_it() {
        for (typed, wrong) in [
            ("", "scheme"),
            ("chat.example", "scheme"),
            ("//chat.example", "scheme"),
            ("ftp://chat.example", "http or https"),
            ("wss://chat.example", "http or https"),
            ("https://", "no host"),
            ("https:///", "no host"),
            ("https://:443", "no host"),
            ("https://a..b", "no host"),
            ("https://chat example", "no host"),
            ("https://*.example", "no host"),
            ("https://[::1", "no host"),
            ("https://[chat.example]", "no host"),
            ("https://2001:db8::1", "no host"),
            ("https://chat.example/app", "no path"),
            ("https://chat.example//", "no path"),
            ("https://chat.example?x", "no path"),
            ("https://chat.example/?x", "no path"),
            ("https://chat.example#x", "no path"),
            ("https://ada@chat.example", "no user"),
            ("https://ada:secret@chat.example", "no user"),
            ("https://chat.example:", "port"),
            ("https://chat.example:0", "port"),
            ("https://chat.example:65536", "port"),
            ("https://chat.example:http", "port"),
            ("https://b\u{fc}cher.example", "xn--"),
            ("https://chat.example\r\nx: y", "no host"),
        ] {
            let error = typed.parse::<PublicUrl>().expect_err(typed).to_string();
            assert!(error.contains(wrong), "{typed:?}: {error}");
        }
    }

    #[test]
    fn a_trusted_proxy_is_an_address_or_a_network() {
        let trusts = |proxy: &str, address: &str| {
            proxy.parse::<TrustedProxy>().expect(proxy).contains(address.parse().unwrap())
        };
        assert!(trusts("192.0.2.1", "192.0.2.1") && trusts("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(!trusts("192.0.2.1", "192.0.2.2"));
        assert!(trusts("10.0.0.0/8", "10.255.0.1") && !trusts("10.0.0.0/8", "11.0.0.1"));
        assert!(trusts("10.1.2.128/25", "10.1.2.200") && !trusts("10.1.2.128/25", "10.1.2.127"));
        assert!(trusts("fd00::/8", "fd12::1") && !trusts("fd00::/8", "fe80::1"));
        assert!(trusts("::1", "::1") && !trusts("::1", "127.0.0.1"));
        assert!(trusts("::ffff:10.0.0.1", "10.0.0.1"));
        assert!(trusts("::ffff:10.0.0.0/104", "10.2.3.4") && !trusts("::ffff:10.0.0.0/104", "11.2.3.4"));
        assert!(trusts("0.0.0.0/0", "203.0.113.1") && !trusts("0.0.0.0/0", "2001:db8::1"));
        for bad in
            ["", "x", "proxy.example", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "10.0.0.0/", "1.2.3.4:80"]
        {
            assert!(matches!(bad.parse::<TrustedProxy>(), Err(BadTrustedProxy::Unknown)), "{bad}");
        }
        let error = "10.0.0.1/8".parse::<TrustedProxy>().unwrap_err().to_string();
        assert!(error.contains("10.0.0.0/8") && error.contains("10.0.0.1 alone"), "{error}");
    }
}
