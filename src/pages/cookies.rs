//! The two cookies: the session's, and the one by which a sign-in comes back to the browser that began it.
//!
//! With `__Host-` a browser takes them from this host alone, over https, for all of it: no sibling domain can plant one
//! (RFC 6265bis section 4.1.3.2). Over plain http, which is loopback for development, there is no such thing.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use super::settings::PagesSettings;

/// Longest value that is read. A sealed sign-in has some 600 bytes.
const VALUE_BYTES_MAX: usize = 4_096;

/// One of the cookies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cookie {
    /// Whose session it is. It ends with the browser.
    Session,
    /// The sign-in that is under way. It ends by itself.
    Flow,
}

impl Cookie {
    const fn name(self, is_secure: bool) -> &'static str {
        match (self, is_secure) {
            (Self::Session, true) => "__Host-obo-session",
            (Self::Session, false) => "obo-session",
            (Self::Flow, true) => "__Host-obo-flow",
            (Self::Flow, false) => "obo-flow",
        }
    }

    /// What the browser sent. `None` as well when it sent several, of which one is not ours.
    pub fn read(self, headers: &HeaderMap, settings: &PagesSettings) -> Option<String> {
        let name = self.name(settings.is_secure());
        let sent = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let mut values = sent
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().strip_prefix(name)?.strip_prefix('='));
        match (values.next(), values.next()) {
            (Some(value), None) if value.len() <= VALUE_BYTES_MAX => Some(value.to_owned()),
            (Some(_), None) | (None, _) | (_, Some(_)) => None,
        }
    }

    /// Has the browser keep `value`, for `seconds` or as long as it runs.
    pub fn set(self, value: &str, seconds: Option<u64>, settings: &PagesSettings) -> HeaderValue {
        let name = self.name(settings.is_secure());
        let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        let secure = if settings.is_secure() { "; Secure" } else { "" };
        let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{age}{secure}");
        HeaderValue::from_str(&cookie).expect("values are base64url")
    }

    /// Has the browser drop it.
    pub fn clear(self, settings: &PagesSettings) -> HeaderValue {
        self.set("", Some(0), settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(public_url: &str) -> PagesSettings {
        PagesSettings::new("/account", &public_url.parse().expect("a URL"))
    }

    fn sent(lines: &[&[u8]]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, HeaderValue::from_bytes(line).expect("a value"))).collect()
    }

    #[track_caller]
    fn check(lines: &[&str], expected: Option<&str>) {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        let read = Cookie::Session.read(&sent(&lines), &pages("https://gateway.example"));
        assert_eq!(read.as_deref(), expected, "{lines:?}");
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        check(&["__Host-obo-session=a"], Some("a"));
        check(&["theme=dark;  __Host-obo-session=a=b ;__Host-obo-flow=c"], Some("a=b"));
        check(&["theme=dark", "__Host-obo-session=a"], Some("a"));
        check(&[], None);
        check(&["theme=dark; __Host-obo-flow=c"], None);
    }

    #[test]
    fn of_two_cookies_of_one_name_none_is_taken() {
        check(&["__Host-obo-session=a; __Host-obo-session=b"], None);
        check(&["__Host-obo-session=a; __Host-obo-session=a"], None);
        check(&["__Host-obo-session=a", "__Host-obo-session=b"], None);
        check(&["__Host-obo-session=; __Host-obo-session=b"], None);
    }

    #[test]
    fn only_the_name_that_nobody_else_can_plant_counts_and_such_a_plant_takes_nothing_away() {
        for planted in [
            "obo-session=b",
            "__Secure-obo-session=b",
            "__host-obo-session=b",
            "x__Host-obo-session=b",
            "__Host-obo-session",
        ] {
            check(&[planted], None);
            check(&[&format!("{planted}; __Host-obo-session=a")], Some("a"));
            check(&[&format!("__Host-obo-session=a; {planted}")], Some("a"));
        }
        // Over plain http there is no such name, and what has it is none of ours.
        let plain = pages("http://localhost:8080");
        for (line, expected) in [
            ("obo-session=a", Some("a")),
            ("__Host-obo-session=b", None),
            ("__Host-obo-session=b; obo-session=a", Some("a")),
            ("obo-session=a; obo-session=b", None),
        ] {
            assert_eq!(
                Cookie::Session.read(&sent(&[line.as_bytes()]), &plain).as_deref(),
                expected,
                "{line}"
            );
        }
    }

    #[test]
    fn a_value_that_is_too_long_is_not_read() {
        let line = |bytes| format!("__Host-obo-session={}", "a".repeat(bytes));
        check(&[&line(VALUE_BYTES_MAX)], Some(&"a".repeat(VALUE_BYTES_MAX)));
        check(&[&line(VALUE_BYTES_MAX + 1)], None);
    }

    #[test]
    fn a_line_that_is_no_text_is_none_of_ours() {
        let ours: &[u8] = b"__Host-obo-session=a";
        let secure = pages("https://gateway.example");
        assert_eq!(Cookie::Session.read(&sent(&[b"__Host-obo-session=\xff"]), &secure), None);
        assert_eq!(Cookie::Session.read(&sent(&[b"x=\xff", ours]), &secure).as_deref(), Some("a"));
    }

    #[test]
    fn a_cookie_is_for_this_host_alone_and_for_no_script() {
        let secure = pages("https://gateway.example");
        for (cookie, name) in [(Cookie::Session, "__Host-obo-session"), (Cookie::Flow, "__Host-obo-flow")] {
            let of_the_host = "Path=/; HttpOnly; SameSite=Lax";
            assert_eq!(cookie.set("a", None, &secure), format!("{name}=a; {of_the_host}; Secure").as_str());
            let aged = format!("{name}=a; {of_the_host}; Max-Age=600; Secure");
            assert_eq!(cookie.set("a", Some(600), &secure), aged.as_str());
            assert_eq!(cookie.clear(&secure), format!("{name}=; {of_the_host}; Max-Age=0; Secure").as_str());
        }
        let plain = Cookie::Flow.set("a", None, &pages("http://localhost:8080"));
        assert_eq!(plain, "obo-flow=a; Path=/; HttpOnly; SameSite=Lax");
    }
}
