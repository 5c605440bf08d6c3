//! When a server wants to be asked again.

use std::time::{Duration, SystemTime};

use http::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date, which is counted from the date of the answer, since the
/// server's clock may be another than ours. `None`: the server does not say, or nobody can read it.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let until = text(RETRY_AFTER)?;
    if !until.is_empty() && until.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than there are numbers for are for ever.
        return Some(Duration::from_secs(until.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(until).ok()?;
    let now = text(DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    Some(until.duration_since(now.unwrap_or_else(SystemTime::now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[track_caller]
    fn check(retry_after_header: &'static str, expected: Option<u64>) {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, HeaderValue::from_static("Sun, 22 Nov 2026 10:00:00 GMT"));
        headers.insert(RETRY_AFTER, HeaderValue::from_static(retry_after_header));
        assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{retry_after_header}");
    }

    #[test]
    fn a_delay_is_seconds_or_a_date() {
        check("7", Some(7));
        check(" 120 ", Some(120));
        check("0", Some(0));
        check("99999999999999999999999", Some(u64::MAX));
        check("Sun, 22 Nov 2026 10:01:30 GMT", Some(90));
        // The obsolete forms, which a recipient has to take (RFC 9110 section 5.6.7).
        check("Sunday, 22-Nov-26 10:01:30 GMT", Some(90));
        check("Sun Nov 22 10:01:30 2026", Some(90));
        check("Sun, 22 Nov 2026 09:00:00 GMT", Some(0));
    }

    #[test]
    fn what_is_neither_says_nothing() {
        for unreadable in ["", "soon", "-1", "+7", "1.5", "7, 8", "7 seconds", "2026-11-22T10:01:30Z"] {
            check(unreadable, None);
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn a_date_without_another_beside_it_is_counted_from_now() {
        let mut headers = HeaderMap::new();
        let until = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(1_000));
        headers.insert(RETRY_AFTER, HeaderValue::from_str(&until).expect("a date"));
        let delay = retry_after(&headers).expect("a delay");
        assert!((Duration::from_secs(900)..=Duration::from_secs(1_000)).contains(&delay), "{delay:?}");
    }
}
