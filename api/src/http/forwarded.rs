//! What proxies say of the requests that they bring: who sent them, and to which URL.
//!
//! Anybody can write these fields, so they count only from peers that the operator has named.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use crate::settings::TrustedProxy;

const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";
const HOST: &str = "x-forwarded-host";

/// The proxies whose word counts.
#[derive(Clone, Debug)]
pub(super) struct Proxies(Vec<TrustedProxy>);

impl Proxies {
    pub(super) fn new(trusted: &[TrustedProxy]) -> Proxies {
        Proxies(trusted.to_vec())
    }

    /// Whether this address is one of them.
    pub(super) fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|proxy| proxy.contains(address))
    }

    /// The address that a request came from: the peer's, or what trusted proxies say it is.
    ///
    /// Each proxy appends the peer that it saw, so from the right every hop is true up to and with the first one that is
    /// not trusted; what stands to the left of that anybody may have written. Where a hop is no address, the proxy that
    /// wrote it is the nearest that is known.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut nearest = peer.to_canonical();
        if !self.trust(nearest) {
            return nearest;
        }
        let lines = headers.get_all(FOR).into_iter().rev();
        let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for hop in hops {
            let Some(address) = address(hop) else { return nearest };
            nearest = address;
            if !self.trust(nearest) {
                break;
            }
        }
        nearest
    }

    /// The scheme that the client used, as the nearest proxy says.
    pub(super) fn scheme<'a>(&self, peer: IpAddr, headers: &'a HeaderMap) -> Option<&'a str> {
        self.said(peer, headers, PROTO)
    }

    /// The host that the client asked for, as the nearest proxy says.
    pub(super) fn host<'a>(&self, peer: IpAddr, headers: &'a HeaderMap) -> Option<&'a str> {
        self.said(peer, headers, HOST)
    }

    /// The last of what stands in a field: the nearest proxy's own word.
    fn said<'a>(&self, peer: IpAddr, headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        if !self.trust(peer) {
            return None;
        }
        let line = headers.get_all(name).into_iter().next_back()?.to_str().ok()?;
        line.rsplit(',').next().map(str::trim)
    }
}

/// One hop's address. Some proxies write its port too.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim_matches([' ', '\t']);
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let address = hop.parse().ok().or_else(bracketed);
    let address = address.or_else(|| hop.parse().ok().map(|address: SocketAddr| address.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const PROXY: &str = "192.0.2.1";

    fn proxies(trusted: &[&str]) -> Proxies {
        Proxies::new(&trusted.iter().map(|proxy| proxy.parse().unwrap()).collect::<Vec<_>>())
    }

    fn headers(name: &'static str, lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    /// Whom a request through the proxy comes from, the proxies of 10.0.0.0/8 and fd00::/8 being trusted too.
    fn client(lines: &[&str]) -> String {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        let trusted = proxies(&[PROXY, "10.0.0.0/8", "fd00::/8"]);
        trusted.client(PROXY.parse().unwrap(), &headers(FOR, &lines)).to_string()
    }

    #[test]
    fn the_client_is_the_right_most_hop_that_is_not_trusted() {
        assert_eq!(client(&["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(&["198.51.100.7, 203.0.113.9"]), "203.0.113.9", "whatever it says it came from");
        assert_eq!(client(&["198.51.100.7,203.0.113.9 ,10.0.0.2,\t10.3.0.1"]), "203.0.113.9");
        assert_eq!(
            client(&["10.0.0.9, 203.0.113.9, fd00::1"]),
            "203.0.113.9",
            "a trusted address can be forged"
        );
        assert_eq!(client(&["2001:db8::7"]), "2001:db8::7");
        assert_eq!(client(&["::ffff:203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(&["10.0.0.2, 10.0.0.3"]), "10.0.0.2", "a request of the innermost proxy's own");
        assert_eq!(client(&[]), PROXY);
    }

    #[test]
    fn more_lines_than_one_are_one_list() {
        assert_eq!(client(&["198.51.100.7", "203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(&["203.0.113.9", "10.0.0.2"]), "203.0.113.9");
        assert_eq!(client(&["198.51.100.7, 203.0.113.9", "10.0.0.2, 10.0.0.3"]), "203.0.113.9");
    }

    #[test]
    fn a_port_beside_the_address_does_no_harm() {
        assert_eq!(client(&["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(client(&["[2001:db8::7]:4711"]), "2001:db8::7");
        assert_eq!(client(&["[2001:db8::7]"]), "2001:db8::7");
    }

    #[test]
    fn behind_what_is_no_address_nothing_is_believed() {
        for garbage in
            ["unknown", "", "_hidden", "203.0.113.9.1", "for=203.0.113.9", "fe80::1%eth0", "203.0.113.9:x"]
        {
            assert_eq!(client(&[garbage]), PROXY, "{garbage:?}");
            assert_eq!(client(&[&format!("198.51.100.7, {garbage}")]), PROXY, "{garbage:?}");
            assert_eq!(client(&[&format!("{garbage}, 203.0.113.9")]), "203.0.113.9", "{garbage:?}");
            assert_eq!(client(&["198.51.100.7", garbage, "10.0.0.2"]), "10.0.0.2", "{garbage:?}");
        }
        let lines = headers(FOR, &[b"198.51.100.7, \xff\xfe", b"10.0.0.2"]);
        assert_eq!(
            proxies(&[PROXY, "10.0.0.2"]).client(PROXY.parse().unwrap(), &lines).to_string(),
            "10.0.0.2"
        );
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_believed_nothing() {
        let peer = "198.51.100.7".parse().unwrap();
        for trusted in [&[][..], &[PROXY], &["203.0.113.0/24"]] {
            let trusted = proxies(trusted);
            assert_eq!(trusted.client(peer, &headers(FOR, &[b"203.0.113.9"])), peer);
            assert_eq!(trusted.scheme(peer, &headers(PROTO, &[b"https"])), None);
            assert_eq!(trusted.host(peer, &headers(HOST, &[b"chat.example"])), None);
        }
    }

    #[test]
    fn scheme_and_host_are_the_nearest_proxys_word() {
        let (peer, trusted) = (PROXY.parse().unwrap(), proxies(&[PROXY]));
        assert_eq!(trusted.scheme(peer, &headers(PROTO, &[b"https"])), Some("https"));
        assert_eq!(trusted.scheme(peer, &headers(PROTO, &[b"https", b"http"])), Some("http"));
        assert_eq!(
            trusted.host(peer, &headers(HOST, &[b"forged.example, chat.example"])),
            Some("chat.example")
        );
        assert_eq!(trusted.host(peer, &headers(HOST, &[b"\xff"])), None);
        assert_eq!(trusted.host(peer, &HeaderMap::new()), None);
    }

    proptest! {
        #[test]
        fn whatever_stands_there_the_client_is_the_peer_or_one_of_the_hops(
            lines in proptest::collection::vec("[0-9a-f.:,\\[\\] \\t%]{0,40}", 0..4),
        ) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let client = client(&lines);
            let known = lines.iter().flat_map(|line| line.split(',')).filter_map(|hop| address(hop.as_bytes()));
            prop_assert!(client == PROXY || known.into_iter().any(|hop| hop.to_string() == client));
        }
    }
}
