//! Values that mean the same wherever they stand: durations, addresses, names, scopes.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::checked_url::{CheckedUrl, PlainHttp, UrlError};
use crate::config::at::At;
use crate::identity::Scopes;

/// Longest time that can be configured: whoever waits longer waits for nothing.
const DURATION_MAX: Duration = Duration::from_secs(3_600);
/// Longest name of an issuer, a connector or a tool: it becomes a metric label.
const NAME_BYTES_MAX: usize = 128;

/// Reads `300ms`, `5s`, `2m` or `1h`; without text it is `default`.
pub fn duration(at: &At<'_>, text: Option<&str>, default: Duration) -> Option<Duration> {
    let Some(text) = text else { return Some(default) };
    let Some(duration) = parse_duration(text) else {
        at.fault_found("must be a whole number with a unit, like `300ms`, `5s`, `2m` or `1h`");
        return None;
    };
    if duration.is_zero() || duration > DURATION_MAX {
        at.fault_found("must be more than zero and at most `1h`");
        return None;
    }
    Some(duration)
}

/// Reads how long ago something may have been: up to 30 days.
pub fn age(at: &At<'_>, text: Option<&str>) -> Option<Option<Duration>> {
    const AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
    let Some(text) = text else { return Some(None) };
    match parse_duration(text) {
        Some(age) if age >= Duration::from_secs(1) && age <= AGE_MAX => Some(Some(age)),
        _ => {
            at.fault_found("must be a whole number with a unit, like `15m` or `12h`, and at most `720h`");
            None
        }
    }
}

/// Reads for how long something is kept: up to ten years.
pub fn long_duration(at: &At<'_>, text: Option<&str>) -> Option<Option<Duration>> {
    const MAX: Duration = Duration::from_secs(87_600 * 3_600);
    let Some(text) = text else { return Some(None) };
    match parse_duration(text) {
        Some(duration) if duration >= Duration::from_secs(1) && duration <= MAX => Some(Some(duration)),
        _ => {
            at.fault_found("must be a whole number with a unit, like `30m` or `24h`, and at most `87600h`");
            None
        }
    }
}

/// Reads a size, like `64KiB`, `16MiB` or `1GiB`, in bytes.
pub fn size(at: &At<'_>, text: Option<&str>, bytes_min: u64) -> Option<Option<u64>> {
    size_within(at, text, bytes_min..=1 << 40)
}

/// Reads a size that has a bound above, too.
pub fn size_within(at: &At<'_>, text: Option<&str>, range: RangeInclusive<u64>) -> Option<Option<u64>> {
    let Some(text) = text else { return Some(None) };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "KiB" => Some(10),
        "MiB" => Some(20),
        "GiB" => Some(30),
        _ => None,
    };
    let bytes =
        number.parse().ok().zip(shift).and_then(|(number, shift)| u64::checked_mul(number, 1 << shift));
    match bytes {
        Some(bytes) if range.contains(&bytes) => Some(Some(bytes)),
        _ => {
            let (least, most) = (written_size(*range.start()), written_size(*range.end()));
            at.fault_found(format_args!(
                "must be a whole number with a unit, like `64MiB`: at least `{least}`, at most `{most}`"
            ));
            None
        }
    }
}

/// A size of whole kibibytes as an operator writes it, in the largest unit that it is a whole number of.
fn written_size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let (shift, unit) =
        units.into_iter().find(|(shift, _)| bytes.trailing_zeros() >= *shift).unwrap_or((10, "KiB"));
    format!("{}{unit}", bytes >> shift)
}

/// The duration that such a text stands for.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3_600).map(Duration::from_secs),
        _ => None,
    }
}

/// Reads an IP address and a port. `localhost` stands for 127.0.0.1; other names are not looked up.
pub fn address(at: &At<'_>, text: &str) -> Option<SocketAddr> {
    if let Some(port) = text.strip_prefix("localhost:")
        && let Ok(port) = port.parse()
    {
        return Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    let address = text.parse().ok();
    if address.is_none() {
        at.fault_found("must be an IP address and a port, like `0.0.0.0:8443` or `\"[::]:8443\"`");
    }
    address
}

/// Checks the name of an issuer, a connector or a tool.
pub fn check_name(at: &At<'_>, name: &str) {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if name == "." || name == ".." {
        at.fault("is not a name: in an address it leads elsewhere; add a letter or digit");
    } else if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
        at.fault(format_args!(
            "is not a name: use 1 to {NAME_BYTES_MAX} of the letters A to Z and a to z, digits, `_`, `-` \
             and `.`"
        ));
    }
}

/// Refuses a list that is there and holds nothing; `why` says what that would mean.
pub fn not_empty(at: &At<'_>, list: Option<&[String]>, why: &str) -> bool {
    let empty = list.is_some_and(<[String]>::is_empty);
    if empty {
        at.fault(format_args!("is an empty list: {why}"));
    }
    !empty
}

/// Reads a list of scopes.
pub fn scopes(at: &At<'_>, scopes: Option<&[String]>) -> Option<Scopes> {
    let scopes = scopes.unwrap_or_default();
    let mut sound = true;
    for (index, scope) in scopes.iter().enumerate() {
        if !is_scope(scope) {
            at.index(index).fault_found("is not one scope: list each on its own, without spaces and quotes");
            sound = false;
        }
    }
    sound.then(|| Scopes::new(scopes.iter().map(String::as_str)))
}

/// RFC 6749 section 3.3: printable ASCII without space, `"` and `\`.
fn is_scope(scope: &str) -> bool {
    !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
}

/// Whether a text is a GUID, in its plain form.
pub fn is_guid(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Whether an entry's addresses may use plain HTTP.
pub fn plain_http(allow: Option<bool>) -> PlainHttp {
    if allow == Some(true) { PlainHttp::Allowed } else { PlainHttp::LoopbackOnly }
}

/// Reads an address that the gateway calls, and warns when what is sent there can be read on the way.
pub fn url(at: &At<'_>, text: &str, plain_http: PlainHttp) -> Option<CheckedUrl> {
    match CheckedUrl::parse(text, plain_http) {
        Ok(url) => {
            if CheckedUrl::parse(text, PlainHttp::LoopbackOnly) == Err(UrlError::PlainHttp) {
                at.warn("is called without TLS: tokens sent to it can be read on the way");
            }
            Some(url)
        }
        Err(error @ UrlError::Credentials) => {
            at.hide();
            at.fault(error);
            None
        }
        Err(error) => {
            at.fault_found(error);
            None
        }
    }
}

/// Reads an issuer's address, under which its metadata is.
pub fn issuer(at: &At<'_>, text: &str, plain_http: PlainHttp) -> Option<CheckedUrl> {
    const WELL_KNOWN: &str = "/.well-known/";
    let url = self::url(at, text, plain_http)?;
    if url.as_url().query().is_some() {
        at.fault_found("must not have a query (?…): an issuer is an address without one");
        return None;
    }
    if url.as_url().path().contains(WELL_KNOWN) {
        at.fault_found(
            "is where an issuer's metadata is, and not the issuer, under which the gateway finds that itself: leave off \
             `/.well-known/…`",
        );
        return None;
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<Duration>) {
        assert_eq!(parse_duration(text), expected, "{text}");
    }

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        check("300ms", Some(Duration::from_millis(300)));
        check("5s", Some(Duration::from_secs(5)));
        check("2m", Some(Duration::from_secs(120)));
        check("1h", Some(Duration::from_secs(3_600)));
        check("5", None);
        check("s", None);
        check("-5s", None);
        check("+5s", None);
        check("5 s", None);
        check("1.5s", None);
        check("1d", None);
        check("99999999999999999999s", None);
        check("18446744073709551615h", None);
    }
}
