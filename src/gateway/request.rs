//! Whether a request is one that everybody on its way reads alike. What hyper lets pass and we do not is here.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Version};

use super::settings::CallBounds;

/// Why a request is refused before anybody looks at what it wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// CONNECT, TRACE, or a method that is not served.
    #[error("the method is not served")]
    Method,
    /// No host, several, or two that differ (RFC 9112 section 3.2, RFC 9113 section 8.3.1).
    #[error("the request does not name one host")]
    Host,
    /// A token in the address, where it would be logged on its way and sent on (RFC 6750 section 2.3).
    #[error("the address carries an access token")]
    TokenMisplaced,
    /// Two ways to tell where the body ends, or one that is not known (RFC 9112 section 6). What follows on the connection is then
    /// anybody's guess, and nobody reads it.
    #[error("the request does not say in one way where its body ends")]
    Framing,
    /// Its target is longer than is read.
    #[error("the address is longer than {max} bytes")]
    TargetTooLong {
        /// How long it may be.
        max: usize,
    },
    /// It has more header lines than are read. Over HTTP/2 nothing else counts them.
    #[error("the request has more than {max} header lines")]
    HeadersTooMany {
        /// How many there may be.
        max: usize,
    },
    /// It comes from a page in a browser that may not call.
    #[error("the request is from a page whose origin is not allowed")]
    Origin,
    /// It names the gateway by another name than that of the machine it listens on alone (DNS rebinding).
    #[error("the gateway listens on loopback, and the request names another host")]
    ForeignHost,
    /// It is for metadata, and does not read it.
    #[error("metadata can be read, and nothing else")]
    NotRead,
}

/// The methods that are served. CONNECT and TRACE are never forwarded (RFC 9110 section 9.3.8).
pub const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// Checks size, method, host, query and framing.
///
/// # Errors
///
/// [`RequestError`] for what two readers could take differently.
pub fn check<B>(request: &Request<B>, bounds: &CallBounds) -> Result<(), RequestError> {
    check_size(request, bounds)?;
    check_method(request.method())?;
    check_host(request)?;
    check_query(request.uri().query().unwrap_or_default())?;
    check_framing(request.headers())
}

fn check_size<B>(request: &Request<B>, bounds: &CallBounds) -> Result<(), RequestError> {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    if target.len() > bounds.target_bytes_max {
        return Err(RequestError::TargetTooLong { max: bounds.target_bytes_max });
    }
    if request.headers().len() > bounds.headers_max {
        return Err(RequestError::HeadersTooMany { max: bounds.headers_max });
    }
    Ok(())
}

fn check_method(method: &Method) -> Result<(), RequestError> {
    match METHODS.contains(method) {
        true => Ok(()),
        false => Err(RequestError::Method),
    }
}

fn check_host<B>(request: &Request<B>) -> Result<(), RequestError> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let hosts = (hosts.next(), hosts.next());
    if let (Some(host), None) = hosts
        && request.uri().authority().is_none()
        && is_plain_host_and_port(host.as_bytes())
    {
        return Ok(());
    }
    let host = match hosts {
        (Some(host), None) => {
            Some(host.to_str().ok().and_then(|host| host.parse().ok()).ok_or(RequestError::Host)?)
        }
        (None, None) => None,
        (_, Some(_)) => return Err(RequestError::Host),
    };
    let named = match (request.uri().authority(), host) {
        // The target of an HTTP/2 request, or an absolute one in HTTP/1: it must agree with Host where both are.
        (Some(target), Some(host)) if same_host(target, &host) => host,
        (Some(_), Some(_)) => return Err(RequestError::Host),
        (Some(target), None) if request.version() == Version::HTTP_2 => target.clone(),
        (None, Some(host)) => host,
        (Some(_) | None, None) => return Err(RequestError::Host),
    };
    match is_host_and_port(&named) {
        true => Ok(()),
        false => Err(RequestError::Host),
    }
}

/// Whether this is a host that needs no parser: a name or an IPv4 address, and perhaps a port, as most requests have. Whatever passes here
/// passes [`is_host_and_port`], too.
fn is_plain_host_and_port(text: &[u8]) -> bool {
    let end = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
    let (host, port) = text.split_at(end);
    let is_name_byte = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    !host.is_empty() && host.iter().all(is_name_byte) && (port.is_empty() || is_port(&port[1..]))
}

fn is_port(digits: &[u8]) -> bool {
    let number = || digits.iter().fold(0, |number, digit| 10 * number + u32::from(digit - b'0'));
    (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) && number() <= u16::MAX.into()
}

/// Whether an authority is a host, or a host and a port that there can be. Userinfo has no place in a request, and whoever
/// cannot read the port may read another host.
fn is_host_and_port(authority: &Authority) -> bool {
    let host = authority.host();
    match authority.as_str().strip_prefix(host).map(|port| port.strip_prefix(':')) {
        _ if host.is_empty() => false,
        Some(Some(port)) => port.bytes().all(|byte| byte.is_ascii_digit()) && authority.port_u16().is_some(),
        Some(None) => authority.as_str() == host,
        None => false,
    }
}

/// The host that a request names, once [`check`] has passed.
pub fn host<B>(request: &Request<B>) -> Option<Authority> {
    let header = || request.headers().get(HOST)?.to_str().ok()?.parse().ok();
    request.uri().authority().cloned().or_else(header)
}

fn check_query(query: &str) -> Result<(), RequestError> {
    let mut parameters = url::form_urlencoded::parse(query.as_bytes());
    match parameters.any(|(name, _)| name.eq_ignore_ascii_case("access_token")) {
        true => Err(RequestError::TokenMisplaced),
        false => Ok(()),
    }
}

fn same_host(one: &Authority, other: &Authority) -> bool {
    one.as_str().eq_ignore_ascii_case(other.as_str())
}

fn check_framing(headers: &HeaderMap) -> Result<(), RequestError> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            match headers.contains_key(CONTENT_LENGTH) {
                true => Err(RequestError::Framing),
                false => Ok(()),
            }
        }
        (Some(_), _) => Err(RequestError::Framing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_request(
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        expected: Result<(), RequestError>,
    ) {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request of the test");
        assert_eq!(check(&request, &CallBounds::DEFAULT), expected, "{method} {target} {headers:?}");
    }

    #[test]
    fn one_host_and_no_other() {
        check_request("GET", "/a", &[("host", "gw.example:8443")], Ok(()));
        check_request("GET", "http://gw.example/a", &[("host", "GW.example")], Ok(()));
        check_request("GET", "/a", &[], Err(RequestError::Host));
        check_request("GET", "/a", &[("host", "a"), ("host", "a")], Err(RequestError::Host));
        check_request("GET", "/a", &[("host", "a, b")], Err(RequestError::Host));
        check_request("GET", "/a", &[("host", "me@gw.example")], Err(RequestError::Host));
        check_request("GET", "/a", &[("host", "[::1]:8443")], Ok(()));
        check_request("GET", "/a", &[("host", "127.0.0.1:65535")], Ok(()));
        for host in ["", "gw.example:", "gw.example:65536", "gw.example:x", "gw.example:+80", ":80", "[::1"] {
            check_request("GET", "/a", &[("host", host)], Err(RequestError::Host));
        }
        check_request("GET", "http://evil.example/a", &[("host", "gw.example")], Err(RequestError::Host));
        check_request("GET", "http://gw.example/a", &[], Err(RequestError::Host));
    }

    proptest::proptest! {
        #[test]
        fn a_host_that_needs_no_parser_is_one_to_the_parser(host in "[A-Za-z0-9.:-]{0,12}(:[0-9]{0,6})?") {
            let parsed = host.parse::<Authority>().is_ok_and(|host| is_host_and_port(&host));
            proptest::prop_assert!(parsed || !is_plain_host_and_port(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn an_http2_request_names_its_host_in_the_target() {
        let mut request = Request::get("https://gw.example/a").body(()).expect("a request of the test");
        *request.version_mut() = Version::HTTP_2;
        assert_eq!(check(&request, &CallBounds::DEFAULT), Ok(()));
        request.headers_mut().insert(HOST, "other.example".parse().expect("a host of the test"));
        assert_eq!(check(&request, &CallBounds::DEFAULT), Err(RequestError::Host));
    }

    #[test]
    fn a_token_in_the_query_is_refused_however_it_is_written() {
        for query in
            ["access_token=x", "a=b&access_token=x", "access%5Ftoken=x", "ACCESS_TOKEN", "a&access_token"]
        {
            let target = format!("/a?{query}");
            check_request("GET", &target, &[("host", "a")], Err(RequestError::TokenMisplaced));
        }
        check_request("GET", "/a?my_access_token=x&q=access_token", &[("host", "a")], Ok(()));
    }

    #[test]
    fn targets_and_heads_have_bounds() {
        let CallBounds { target_bytes_max, headers_max, .. } = CallBounds::DEFAULT;
        let target = |bytes| format!("/a?{}", "x".repeat(bytes - 3));
        check_request("GET", &target(target_bytes_max), &[("host", "a")], Ok(()));
        let too_long = Err(RequestError::TargetTooLong { max: target_bytes_max });
        check_request("GET", &target(target_bytes_max + 1), &[("host", "a")], too_long);
        let lines = |count| [vec![("host", "a")], vec![("x", "y"); count - 1]].concat();
        check_request("GET", "/a", &lines(headers_max), Ok(()));
        let too_many = Err(RequestError::HeadersTooMany { max: headers_max });
        check_request("GET", "/a", &lines(headers_max + 1), too_many);
    }

    #[test]
    fn tunnels_and_echoes_are_not_served() {
        for method in ["CONNECT", "TRACE", "PROPFIND", "get"] {
            check_request(method, "/a", &[("host", "a")], Err(RequestError::Method));
        }
    }

    #[test]
    fn one_way_to_tell_where_the_body_ends() {
        let framing = Err(RequestError::Framing);
        check_request("POST", "/a", &[("host", "a"), ("transfer-encoding", "chunked")], Ok(()));
        check_request("POST", "/a", &[("host", "a"), ("content-length", "3")], Ok(()));
        let both = [("host", "a"), ("transfer-encoding", "chunked"), ("content-length", "3")];
        check_request("POST", "/a", &both, framing);
        for coding in ["gzip, chunked", "xchunked", "identity", "chunked, chunked"] {
            check_request("POST", "/a", &[("host", "a"), ("transfer-encoding", coding)], framing);
        }
    }
}
