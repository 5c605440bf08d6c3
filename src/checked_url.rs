//! Addresses that the gateway itself calls: checked once, when the configuration is resolved or when an
//! authorization server's metadata is read.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

/// An absolute `https` address without credentials and fragment; `http` only where that was allowed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CheckedUrl(Url);

/// Whether an address may use plain HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlainHttp {
    /// Only when its host is loopback: `localhost`, `127.0.0.0/8` or `::1`.
    LoopbackOnly,
    /// Anywhere: that entry of the configuration says `allow_plain_http: true`.
    Allowed,
}

/// Why an address is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UrlError {
    /// It is no absolute URL.
    #[error("not an absolute URL ({0})")]
    Malformed(url::ParseError),
    /// It is plain HTTP to another machine.
    #[error("must be https, unless its host is loopback or the entry says `allow_plain_http: true`")]
    PlainHttp,
    /// It is neither http nor https.
    #[error("must be https")]
    Scheme,
    /// It has no host.
    #[error("has no host")]
    NoHost,
    /// It carries a user name or password.
    #[error("must not contain a user name or password")]
    Credentials,
    /// It has a fragment, which is never sent.
    #[error("must not have a fragment (#…)")]
    Fragment,
}

impl CheckedUrl {
    /// Checks an address.
    ///
    /// # Errors
    ///
    /// [`UrlError`] says what is wrong with it.
    pub fn parse(text: &str, plain_http: PlainHttp) -> Result<Self, UrlError> {
        let url = Url::parse(text).map_err(UrlError::Malformed)?;
        let host = url.host().ok_or(UrlError::NoHost)?;
        match url.scheme() {
            "https" => {}
            "http" if plain_http == PlainHttp::Allowed || is_loopback(&host) => {}
            "http" => return Err(UrlError::PlainHttp),
            _ => return Err(UrlError::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::Credentials);
        }
        if url.fragment().is_some() {
            return Err(UrlError::Fragment);
        }
        Ok(Self(url))
    }

    /// The address.
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The host, as it is resolved and as its certificate names it.
    pub fn host(&self) -> &str {
        self.0.host_str().expect("a checked address has a host")
    }
}

impl fmt::Display for CheckedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CheckedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.as_str())
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// Whether an address belongs to the public internet: not this machine, not this link, not a private network.
///
/// Metadata fetched from elsewhere must not be able to point the gateway at its own surroundings
/// (server-side request forgery; CVE-2026-26118).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            !(v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || v4.is_documentation()
                || a == 0
                || (a == 100 && (64..128).contains(&b)) // RFC 6598: shared address space
                || (a == 192 && b == 0 && v4.octets()[2] == 0) // RFC 6890: protocol assignments
                || (a == 198 && (b == 18 || b == 19)) // RFC 2544: benchmarking
                || a >= 240) // RFC 1112: reserved
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public(IpAddr::V4(v4)),
            // RFC 4291 section 2.4: global unicast is 2000::/3. The documentation prefix, and the prefixes that
            // wrap an IPv4 address (6to4, Teredo), are not reached by any honest server.
            None => {
                let [first, second, ..] = v6.segments();
                first & 0xe000 == 0x2000
                    && first != 0x2002
                    && !(first == 0x2001 && (second == 0 || second == 0xdb8))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, plain_http: PlainHttp, expected: Result<(), UrlError>) {
        assert_eq!(CheckedUrl::parse(text, plain_http).map(|_| ()), expected, "{text}");
    }

    #[test]
    fn plain_http_is_for_loopback_or_by_permission() {
        check("https://issuer.example/a", PlainHttp::LoopbackOnly, Ok(()));
        check("http://127.0.0.1:8080/a", PlainHttp::LoopbackOnly, Ok(()));
        check("http://[::1]:8080/a", PlainHttp::LoopbackOnly, Ok(()));
        check("http://LOCALHOST/a", PlainHttp::LoopbackOnly, Ok(()));
        check("http://issuer.example/a", PlainHttp::LoopbackOnly, Err(UrlError::PlainHttp));
        check("http://localhost.example/a", PlainHttp::LoopbackOnly, Err(UrlError::PlainHttp));
        check("http://issuer.example/a", PlainHttp::Allowed, Ok(()));
        check("ftp://issuer.example/a", PlainHttp::Allowed, Err(UrlError::Scheme));
    }

    #[test]
    fn an_address_carries_no_credentials_and_no_fragment() {
        check("https://me:pw@issuer.example/", PlainHttp::LoopbackOnly, Err(UrlError::Credentials));
        check("https://issuer.example/#a", PlainHttp::LoopbackOnly, Err(UrlError::Fragment));
        assert!(matches!(
            CheckedUrl::parse("issuer.example", PlainHttp::Allowed),
            Err(UrlError::Malformed(_))
        ));
    }

    #[test]
    fn surroundings_are_not_public() {
        for near in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "2002:0a00::1",
            "ff02::1",
            "198.18.0.1",
            "240.0.0.1",
        ] {
            assert!(!is_public(near.parse().expect("an address of the test")), "{near}");
        }
        for far in ["8.8.8.8", "20.190.128.1", "2603:1006:2000::1"] {
            assert!(is_public(far.parse().expect("an address of the test")), "{far}");
        }
    }
}
