//! How many connections each address has, if that is limited.
//!
//! A trusted proxy has as many as it likes: its connections are many clients'. Of what comes through it every request
//! counts as a connection of its client's for as long as it is being answered, and a stream for as long as it is open.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::forwarded::Proxies;
use super::problem::{Code, Problem};
use super::tally::{Tallied, Tally};
use crate::figures::{RateLimit, figures};
use crate::settings::Settings;

/// When a client may try again whose address has too many connections.
const CROWDED_RETRY: Duration = Duration::from_secs(5);
/// How many bits of an IPv6 address name one customer's network.
const IPV6_NETWORK_BITS: u32 = 64;

/// The addresses that are connected.
pub(super) struct Addresses {
    most: Option<usize>,
    proxies: Proxies,
    counts: Tally<IpAddr>,
}

/// A counted connection of one address.
pub(super) type Entered = Tallied<IpAddr>;

impl Addresses {
    pub(super) fn new(settings: &Settings) -> Arc<Addresses> {
        Arc::new(Addresses {
            most: settings.connections.per_address_max,
            proxies: Proxies::new(&settings.trusted_proxies),
            counts: Tally::default(),
        })
    }

    /// Counts one more connection of this peer's; gives nothing where nothing is to be counted.
    ///
    /// # Errors
    /// When the address has as many as it may.
    pub(super) fn connect(&self, peer: IpAddr) -> Result<Option<Entered>, Problem> {
        match self.most {
            Some(most) if !self.proxies.trust(peer) => self.enter(peer, most).map(Some),
            _ => Ok(None),
        }
    }

    /// Counts a request that a proxy brings as a connection of its client's.
    ///
    /// # Errors
    /// As for [`Addresses::connect`].
    pub(super) fn request(&self, peer: IpAddr, headers: &HeaderMap) -> Result<Option<Entered>, Problem> {
        match self.most {
            Some(most) if self.proxies.trust(peer) => {
                self.enter(self.proxies.client(peer, headers), most).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn enter(&self, address: IpAddr, most: usize) -> Result<Entered, Problem> {
        self.counts.enter(network(address), most).ok_or_else(|| {
            figures().rate_limited(RateLimit::Connections);
            let problem = Problem::new(Code::RateLimited, "too many connections from this address");
            problem.retry_after(CROWDED_RETRY)
        })
    }
}

/// What is counted as one address: of IPv6 the network, for everybody there has very many addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let mask = u128::MAX << (Ipv6Addr::BITS - IPV6_NETWORK_BITS);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn addresses(most: Option<usize>, proxies: &[&str]) -> Arc<Addresses> {
        let trusted_proxies = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        let mut settings = Settings { trusted_proxies, ..Settings::default() };
        settings.connections.per_address_max = most;
        Addresses::new(&settings)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_held_to_its_number_and_freed_when_connections_end() {
        let addresses = addresses(Some(2), &[]);
        let held =
            [addresses.connect(ip("2001:db8::1")).unwrap(), addresses.connect(ip("2001:db8::2")).unwrap()];
        assert!(addresses.connect(ip("2001:db8::1")).is_err());
        assert!(addresses.connect(ip("2001:db8:0:1::1")).is_ok());
        drop(held);
        assert!(addresses.connect(ip("2001:db8::1")).unwrap().is_some());
        assert!(addresses.counts.is_empty(), "nothing is kept of who is gone");
        assert_eq!(network(ip("::ffff:192.0.2.7")), ip("192.0.2.7"));
    }

    #[test]
    fn through_a_trusted_proxy_the_clients_are_counted_and_not_the_proxy() {
        let addresses = addresses(Some(1), &["10.0.0.0/8"]);
        let proxy = ip("10.0.0.1");
        let from = |client: &str| {
            HeaderMap::from_iter([(
                http::HeaderName::from_static("x-forwarded-for"),
                HeaderValue::from_str(client).unwrap(),
            )])
        };
        assert!((0..5).all(|_| addresses.connect(proxy).is_ok_and(|entered| entered.is_none())));
        let held = addresses.request(proxy, &from("203.0.113.9")).unwrap();
        assert!(held.is_some());
        assert!(addresses.request(proxy, &from("203.0.113.9")).is_err());
        assert!(
            addresses.request(proxy, &from("198.51.100.7, 203.0.113.9")).is_err(),
            "a forged hop helps nobody"
        );
        assert!(addresses.request(proxy, &from("203.0.113.10")).is_ok());
        assert!(addresses.connect(ip("203.0.113.9")).is_err(), "it is the same client on its own");
        assert!(addresses.request(ip("198.51.100.7"), &from("203.0.113.9")).unwrap().is_none(), "no proxy");
        drop(held);
        assert!(addresses.request(proxy, &from("203.0.113.9")).is_ok());
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let addresses = addresses(None, &["10.0.0.1"]);
        assert!(addresses.connect(ip("192.0.2.1")).unwrap().is_none());
        assert!(addresses.request(ip("10.0.0.1"), &HeaderMap::new()).unwrap().is_none());
    }
}
