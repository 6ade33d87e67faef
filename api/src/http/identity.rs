//! Who sends a request, from where, and whether a page of somebody else made them do it.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, Method};
use scrollback_log::Offset;
use scrollback_projections::facts::Role;

use super::forwarded::Proxies;
use super::problem::{Code, Problem};
use crate::settings::{PublicUrl, Settings, origin_of};
use crate::vault::Session;

/// What a browser says of the page that makes a request: where it is of, compared with where the request goes.
const SEC_FETCH_SITE: &str = "sec-fetch-site";
/// What it says of our own pages, and of what the user typed. A page of the same site is another origin, and foreign.
const OWN_SITES: [&[u8]; 2] = [b"same-origin", b"none"];

/// How long a browser keeps the cookie; the server ends idle sessions long before.
const COOKIE_SECONDS: u32 = 400 * 24 * 60 * 60;

/// The authenticated sender of a request.
#[derive(Clone)]
pub struct Caller {
    /// The session or API token they came with.
    pub session: Arc<Session>,
    /// Who they are.
    pub user: Offset,
    /// What they may do, at the moment of the request.
    pub role: Role,
}

/// What the settings say of cookies, origins and proxies.
pub(super) struct Edges {
    /// Whether browsers reach the server by https, so that the cookie can be kept from anything else.
    secure: bool,
    /// The scheme of what comes without a proxy.
    scheme: &'static str,
    /// The origin of the public URL, in the form in which browsers send it.
    public_origin: Option<String>,
    proxies: Proxies,
}

impl Edges {
    pub(super) fn new(settings: &Settings) -> Edges {
        let public = settings.public_url.as_ref();
        Edges {
            secure: settings.tls.is_some() || public.is_some_and(PublicUrl::is_https),
            scheme: if settings.tls.is_some() { "https" } else { "http" },
            public_origin: public.map(|url| url.origin().to_owned()),
            proxies: Proxies::new(&settings.trusted_proxies),
        }
    }

    fn cookie_name(&self) -> &'static str {
        if self.secure { "__Host-identity" } else { "identity" }
    }

    /// The cookie that makes a browser send `token` from now on.
    pub(super) fn cookie(&self, token: &str) -> Result<HeaderValue, Problem> {
        self.cookie_for(token, COOKIE_SECONDS)
    }

    /// The cookie that makes a browser forget the token.
    pub(super) fn no_cookie(&self) -> Result<HeaderValue, Problem> {
        self.cookie_for("", 0)
    }

    fn cookie_for(&self, token: &str, seconds: u32) -> Result<HeaderValue, Problem> {
        let (name, secure) = (self.cookie_name(), if self.secure { "; Secure" } else { "" });
        let text = format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
        HeaderValue::try_from(text).map_err(|_| Problem::plain(Code::Internal))
    }

    /// The token of a request: from `Authorization` if there is one, else from the cookie.
    pub(super) fn token<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        if let Some(value) = headers.get(AUTHORIZATION) {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            return scheme.eq_ignore_ascii_case("bearer").then_some(token.trim());
        }
        let name = self.cookie_name();
        headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).find_map(|value| {
            value.split(';').find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
        })
    }

    /// The address that a request came from: the peer's, or what a trusted proxy says it is.
    pub(super) fn address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        self.proxies.client(peer, headers)
    }

    /// Whether this is one of the proxies that are believed.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.trust(address)
    }

    /// Refuses an unsafe request that a page of another origin makes a browser send. Where there is an `Origin` it decides;
    /// where there is none, what the browser says of the page's site does. Programs send neither.
    ///
    /// # Errors
    /// [`Code::ForeignOrigin`].
    pub(super) fn check_origin(
        &self,
        method: &Method,
        headers: &HeaderMap,
        peer: IpAddr,
    ) -> Result<(), Problem> {
        if method.is_safe() {
            return Ok(());
        }
        // More than one of either is said by no browser, so each has to be good.
        let mut origins = headers.get_all(ORIGIN).iter().peekable();
        let own = if origins.peek().is_some() {
            origins.all(|origin| origin.to_str().is_ok_and(|origin| self.is_own(origin, headers, peer)))
        } else {
            headers.get_all(SEC_FETCH_SITE).iter().all(|site| OWN_SITES.contains(&site.as_bytes()))
        };
        if own {
            Ok(())
        } else {
            Err(Problem::new(Code::ForeignOrigin, "pages of other origins may not do this"))
        }
    }

    fn is_own(&self, origin: &str, headers: &HeaderMap, peer: IpAddr) -> bool {
        let Some(origin) = origin_of(origin) else { return false };
        if self.public_origin.as_ref() == Some(&origin) {
            return true;
        }
        if self.secure && !origin.starts_with("https://") {
            // Anybody on the way can put words into a page that came by http, whatever host it is of.
            return false;
        }
        self.asked(headers, peer) == Some(origin)
    }

    /// The origin that a request was sent to, as far as can be told.
    fn asked(&self, headers: &HeaderMap, peer: IpAddr) -> Option<String> {
        let host = || headers.get(HOST).and_then(|host| host.to_str().ok()).map(str::trim);
        let scheme = self.proxies.scheme(peer, headers).unwrap_or(self.scheme);
        let host = self.proxies.host(peer, headers).or_else(host)?;
        origin_of(&format!("{scheme}://{host}"))
    }

    /// The origin under which whoever sent a request reaches the server: the public URL's if there is one.
    pub(super) fn origin(&self, headers: &HeaderMap, peer: IpAddr) -> Option<String> {
        self.public_origin.clone().or_else(|| self.asked(headers, peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn edges(public_url: Option<&str>, proxies: &[&str]) -> Edges {
        Edges::new(&Settings {
            public_url: public_url.map(|url| url.parse().unwrap()),
            trusted_proxies: proxies.iter().map(|proxy| proxy.parse().unwrap()).collect(),
            ..Settings::default()
        })
    }

    fn inside_tls(public_url: Option<&str>) -> Edges {
        let files = crate::settings::TlsFiles { certificate: "cert.pem".into(), key: "key.pem".into() };
        let public_url = public_url.map(|url| url.parse().unwrap());
        Edges::new(&Settings { tls: Some(files), public_url, ..Settings::default() })
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn the_token_comes_from_the_authorization_or_the_cookie() {
        let plain = edges(None, &[]);
        let token = |pairs: &[(&'static str, &str)]| plain.token(&headers(pairs)).map(str::to_owned);
        assert_eq!(token(&[("authorization", "Bearer abc")]).as_deref(), Some("abc"));
        assert_eq!(token(&[("authorization", "bearer abc")]).as_deref(), Some("abc"));
        assert_eq!(token(&[("cookie", "a=b; identity=abc; c=d")]).as_deref(), Some("abc"));
        assert_eq!(token(&[("cookie", "a=b"), ("cookie", "identity=abc")]).as_deref(), Some("abc"));
        assert_eq!(
            token(&[("cookie", "identity=cookie"), ("authorization", "Bearer header")]).as_deref(),
            Some("header")
        );
        for none in [
            &[("authorization", "Basic abc"), ("cookie", "identity=abc")][..],
            &[("cookie", "xidentity=abc")],
            &[("cookie", "identityx=abc")],
            &[("cookie", "__Host-identity=abc")],
            &[],
        ] {
            assert_eq!(token(none), None, "{none:?}");
        }
    }

    #[test]
    fn under_https_the_cookie_is_bound_to_the_host() {
        let secure = edges(Some("https://chat.example"), &[]);
        let cookie = secure.cookie("abc").unwrap();
        let cookie = cookie.to_str().unwrap();
        assert!(cookie.starts_with("__Host-identity=abc; Path=/; HttpOnly; SameSite=Strict; "), "{cookie}");
        assert!(cookie.ends_with("; Secure"), "{cookie}");
        assert_eq!(secure.token(&headers(&[("cookie", "__Host-identity=abc")])), Some("abc"));
        assert_eq!(
            secure.token(&headers(&[("cookie", "identity=abc")])),
            None,
            "anybody near could have set that one"
        );
        assert!(secure.no_cookie().unwrap().to_str().unwrap().contains("Max-Age=0"));
        for plain in [edges(None, &[]), edges(Some("http://chat.example"), &[])] {
            assert!(!plain.cookie("abc").unwrap().to_str().unwrap().contains("Secure"));
        }
        assert_eq!(inside_tls(None).cookie("abc").unwrap().to_str().unwrap(), cookie);
    }

    #[test]
    fn an_unsafe_request_from_a_foreign_page_is_refused() {
        let check = |edges: &Edges, method: Method, pairs: &[(&'static str, &str)]| {
            edges.check_origin(&method, &headers(pairs), PEER).is_ok()
        };
        let plain = edges(None, &[]);
        let own = [("host", "chat.example:8080"), ("origin", "http://chat.example:8080")];
        assert!(check(&plain, Method::POST, &own));
        assert!(check(&plain, Method::POST, &[("host", "chat.example")]));
        assert!(check(&plain, Method::GET, &[("host", "chat.example"), ("origin", "http://evil.example")]));
        for origin in [
            "http://evil.example",
            "https://chat.example:8080",
            "http://chat.example",
            "null",
            "",
            "http://chat.example:8080.evil.example",
        ] {
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
                assert!(
                    !check(&plain, method, &[("host", "chat.example:8080"), ("origin", origin)]),
                    "{origin}"
                );
            }
        }
        let public = edges(Some("https://Chat.Example:443/"), &[]);
        assert!(check(
            &public,
            Method::POST,
            &[("host", "127.0.0.1:8080"), ("origin", "https://chat.example")]
        ));
        assert!(!check(
            &public,
            Method::POST,
            &[("host", "127.0.0.1:8080"), ("origin", "http://chat.example")]
        ));
        let forwarded = [
            ("host", "10.0.0.1"),
            ("x-forwarded-host", "c.example"),
            ("x-forwarded-proto", "https"),
            ("origin", "https://c.example"),
        ];
        assert!(check(&edges(None, &["192.0.2.1"]), Method::POST, &forwarded));
        assert!(!check(&plain, Method::POST, &forwarded));
    }

    #[test]
    fn where_browsers_come_by_https_only_pages_that_came_by_https_are_own() {
        let check = |edges: &Edges, pairs: &[(&'static str, &str)]| {
            edges.check_origin(&Method::POST, &headers(pairs), PEER).is_ok()
        };
        let from = |origin: &'static str| [("host", "chat.example"), ("origin", origin)];
        for tls in [inside_tls(None), inside_tls(Some("https://other.example"))] {
            assert!(check(&tls, &from("https://chat.example")));
            assert!(check(&tls, &from("https://chat.example:443")));
            assert!(!check(&tls, &from("http://chat.example")));
            assert!(!check(&tls, &from("https://chat.example:8443")));
            assert!(!check(&tls, &from("https://evil.example")));
        }
        assert!(check(&inside_tls(Some("https://other.example")), &from("https://other.example")));
        // A proxy that hands the host on and is not trusted: what it brings looks like http, its pages must not be.
        let behind = edges(Some("https://chat.example"), &[]);
        assert!(check(&behind, &from("https://chat.example")));
        assert!(!check(&behind, &from("http://chat.example")));
        let trusted = edges(Some("https://chat.example"), &["192.0.2.0/24"]);
        let forwarded = |proto: &'static str, origin: &'static str| {
            [("host", "alias.example"), ("x-forwarded-proto", proto), ("origin", origin)]
        };
        assert!(check(&trusted, &forwarded("https", "https://alias.example")));
        assert!(!check(&trusted, &forwarded("http", "http://alias.example")));
        assert!(!check(&trusted, &forwarded("https", "http://alias.example")));
    }
}
