//! How often names and passwords may be tried: a few at once, then a few a minute, by account and by address.
//!
//! Both are asked before a password is hashed, the address first: so whoever is held up there cannot use up the tries
//! of other people's accounts, nor fill the memory with names.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use super::problem::{Code, Problem};
use crate::figures::{RateLimit, figures};

/// How many tries pass between two sweeps of what is remembered of old ones.
const SWEEP_EVERY: u32 = 256;
/// How much of an IPv6 address names a household; one can have the whole of what is behind it.
const IPV6_PREFIX: u32 = 64;

type Limiter<K, C> = RateLimiter<K, DashMapStateStore<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// The tries that accounts and addresses have left.
pub(super) struct SignInLimits<C: Clock = DefaultClock> {
    by_address: Limiter<IpAddr, C>,
    /// Under a digest of the folded name: as long for every name, and nothing to read in a dump.
    by_account: Limiter<[u8; 16], C>,
    clock: C,
    tries: AtomicU32,
}

impl<C: Clock + Clone> SignInLimits<C> {
    /// Allows `burst` tries at once and then `burst` a minute; at least one.
    pub(super) fn new(burst: u32, clock: C) -> SignInLimits<C> {
        let quota = Quota::per_minute(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN));
        SignInLimits {
            by_address: RateLimiter::dashmap_with_clock(quota, clock.clone()),
            by_account: RateLimiter::dashmap_with_clock(quota, clock.clone()),
            clock,
            tries: AtomicU32::new(0),
        }
    }

    /// Uses up one try of the address and, if the try is about one, of the account.
    ///
    /// # Errors
    /// 429 with the time until the next one.
    pub(super) fn try_once(&self, address: IpAddr, folded_name: Option<&str>) -> Result<(), Problem> {
        if self.tries.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.by_address.retain_recent();
            self.by_account.retain_recent();
        }
        let limited = |limit, until: governor::NotUntil<C::Instant>| {
            figures().rate_limited(limit);
            Problem::new(Code::RateLimited, "too many tries from here or for this account")
                .retry_after(until.wait_time_from(self.clock.now()))
        };
        self.by_address.check_key(&household(address)).map_err(|until| limited(RateLimit::Address, until))?;
        if let Some(name) = folded_name {
            self.by_account.check_key(&digest(name)).map_err(|until| limited(RateLimit::Account, until))?;
        }
        Ok(())
    }
}

fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> IPV6_PREFIX << IPV6_PREFIX))
        }
        address => address,
    }
}

fn digest(name: &str) -> [u8; 16] {
    let mut digest = [0; 16];
    digest.copy_from_slice(&blake3::hash(name.as_bytes()).as_bytes()[..16]);
    digest
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn ten_at_once_then_ten_a_minute_by_address() {
        let clock = FakeRelativeClock::default();
        let limits = SignInLimits::new(10, clock.clone());
        for _ in 0..10 {
            limits.try_once(address(1), None).unwrap();
        }
        let refused = limits.try_once(address(1), None).unwrap_err();
        assert_eq!(refused.into_response().headers()["retry-after"], "6");
        limits.try_once(address(2), None).unwrap();
        clock.advance(Duration::from_millis(5_900));
        limits.try_once(address(1), None).unwrap_err();
        clock.advance(Duration::from_millis(100));
        limits.try_once(address(1), None).unwrap();
        limits.try_once(address(1), None).unwrap_err();
    }

    #[test]
    fn an_account_is_limited_whatever_addresses_try_it_and_others_are_not() {
        let limits = SignInLimits::new(3, FakeRelativeClock::default());
        for last in 0..3 {
            limits.try_once(address(last), Some("alice")).unwrap();
        }
        assert_eq!(limits.try_once(address(9), Some("alice")).unwrap_err().code(), Code::RateLimited);
        limits.try_once(address(9), Some("bob")).unwrap();
    }

    #[test]
    fn a_limited_address_uses_up_nobodys_tries_and_no_memory() {
        let limits = SignInLimits::new(2, FakeRelativeClock::default());
        for name in 0..1000 {
            let _ = limits.try_once(address(1), Some(&name.to_string()));
        }
        assert_eq!(limits.by_account.len(), 2);
        limits.try_once(address(2), Some("999")).unwrap();
    }

    #[test]
    fn a_household_is_one_address() {
        let household_of = |text: &str| household(text.parse().unwrap());
        assert_eq!(household_of("2001:db8:1:2::1"), household_of("2001:db8:1:2:ffff::"));
        assert_ne!(household_of("2001:db8:1:2::1"), household_of("2001:db8:1:3::1"));
        assert_eq!(household_of("::ffff:192.0.2.1"), address(1));
    }

    #[test]
    fn old_tries_are_forgotten() {
        let clock = FakeRelativeClock::default();
        let limits = SignInLimits::new(1, clock.clone());
        for last in 0..100 {
            limits.try_once(address(last), None).unwrap();
        }
        clock.advance(Duration::from_secs(3600));
        for _ in 0..SWEEP_EVERY {
            let _ = limits.try_once(address(200), None);
        }
        assert!(limits.by_address.len() <= 1, "{}", limits.by_address.len());
    }
}
