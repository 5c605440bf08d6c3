//! What a query or a form says.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, ORIGIN};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};

use super::problem::Problem;

/// Largest form that is read. Ours have a token and a name.
const FORM_BYTES_MAX: usize = 8_192;
/// Longest wait for a form.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);
/// Most fields. Servers send back some five.
const FIELDS_MAX: usize = 32;

/// Names and values, each name once.
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads a query, or the body of a form.
    ///
    /// # Errors
    ///
    /// [`Problem::Malformed`] when a name is there twice, of which readers could take either, or when there are too many.
    pub fn parse(text: &[u8]) -> Result<Self, Problem> {
        let fields: Vec<(String, String)> = url::form_urlencoded::parse(text)
            .take(FIELDS_MAX + 1)
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let is_double = |at: usize| fields[..at].iter().any(|(name, _)| *name == fields[at].0);
        match fields.len() > FIELDS_MAX || (0..fields.len()).any(is_double) {
            true => Err(Problem::Malformed),
            false => Ok(Self(fields)),
        }
    }

    /// Reads a form.
    ///
    /// # Errors
    ///
    /// [`Problem`] when it is none, or cannot be read.
    pub async fn of_form<B>(headers: &HeaderMap, body: B) -> Result<Self, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let content_type =
            headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Problem::Malformed);
        }
        let read = Limited::new(body, FORM_BYTES_MAX).collect();
        match tokio::time::timeout(FORM_TIMEOUT, std::pin::pin!(read)).await {
            Ok(Ok(whole)) => Self::parse(&whole.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Problem::TooLarge),
            Ok(Err(_)) | Err(_) => Err(Problem::Unread),
        }
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The value of `name`, which has to be there.
    ///
    /// # Errors
    ///
    /// [`Problem::Malformed`].
    pub fn required(&self, name: &str) -> Result<&str, Problem> {
        self.get(name).filter(|value| !value.is_empty()).ok_or(Problem::Malformed)
    }
}

/// Whether a form is from a page of ours, in the browser's own words.
///
/// Our pages let no referrer out, and then a browser says `Origin: null` of its own forms (Fetch, "append a request Origin
/// header"); but it says `Sec-Fetch-Site: same-origin` as well, and of nobody else's. One that does not know that header has
/// to name our origin.
///
/// # Errors
///
/// [`Problem::NotOurs`] when it is not, or does not say so.
pub fn check_origin(headers: &HeaderMap, origin: &str) -> Result<(), Problem> {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (value, None) => Ok(value.map(|value| value.as_bytes())),
            (_, Some(_)) => Err(Problem::NotOurs),
        }
    };
    let is_ours = match (one("sec-fetch-site")?, one(ORIGIN.as_str())?) {
        (Some(site), Some(from)) => site == b"same-origin" && (from == b"null" || from == origin.as_bytes()),
        (Some(site), None) => site == b"same-origin",
        (None, Some(from)) => from == origin.as_bytes(),
        (None, None) => false,
    };
    if is_ours { Ok(()) } else { Err(Problem::NotOurs) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &'static str)], is_ours: bool) {
        let map = headers
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .collect();
        assert_eq!(check_origin(&map, "https://gateway.example").is_ok(), is_ours, "{headers:?}");
    }

    #[test]
    fn a_form_is_from_a_page_of_ours() {
        let (site, origin) = ("sec-fetch-site", "origin");
        check(&[(site, "same-origin"), (origin, "null")], true);
        check(&[(site, "same-origin"), (origin, "https://gateway.example")], true);
        check(&[(site, "same-origin")], true);
        check(&[(origin, "https://gateway.example")], true);
        check(&[(site, "same-origin"), (origin, "https://evil.example")], false);
        check(&[(site, "same-site"), (origin, "null")], false);
        check(&[(site, "cross-site"), (origin, "https://gateway.example")], false);
        check(&[(site, "none")], false);
        check(&[(origin, "null")], false);
        check(&[(origin, "http://gateway.example")], false);
        check(&[], false);
    }

    fn form_header() -> HeaderMap {
        let kind = "application/x-www-form-urlencoded".parse().expect("a value");
        [(CONTENT_TYPE, kind)].into_iter().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_form_that_drips_in_for_ever_is_not_waited_for() {
        let drips = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(FORM_TIMEOUT / 10).await;
            Some((Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from_static(b"a"))), ()))
        });
        let (began, body) = (tokio::time::Instant::now(), http_body_util::StreamBody::new(drips));
        assert_eq!(Fields::of_form(&form_header(), body).await.err(), Some(Problem::Unread));
        assert_eq!(began.elapsed(), FORM_TIMEOUT);
    }

    #[tokio::test]
    async fn a_form_is_read_up_to_a_length() {
        let of = async |bytes: usize| {
            let body = http_body_util::Full::new(Bytes::from("a".repeat(bytes)));
            Fields::of_form(&form_header(), body).await.err()
        };
        assert_eq!((of(FORM_BYTES_MAX).await, of(FORM_BYTES_MAX + 1).await), (None, Some(Problem::TooLarge)));
    }

    #[test]
    fn a_name_is_there_once() {
        let fields = Fields::parse(b"state=a%20b&code=c").expect("fields");
        assert_eq!((fields.get("state"), fields.get("iss")), (Some("a b"), None));
        assert_eq!(Fields::parse(b"state=a&state=a").err(), Some(Problem::Malformed));
        assert_eq!(
            Fields::parse(b"state=").expect("fields").required("state").err(),
            Some(Problem::Malformed)
        );
        let many: String = (0..=FIELDS_MAX).map(|n| format!("a{n}=&")).collect();
        assert_eq!(Fields::parse(many.as_bytes()).err(), Some(Problem::Malformed));
    }
}
