//! A JSON body that is read whole before anybody decides about it: under a limit, and only where it is plain.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use http_body::Body;
use http_body_util::BodyExt as _;

/// How long a body may take to come: a megabyte over a slow line.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Why a body is not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JsonBodyError {
    /// It is not said to be plain JSON.
    #[error("the body is not `application/json` without an encoding")]
    MediaType,
    /// It is longer than is read.
    #[error("the body is longer than is read")]
    TooLarge,
    /// Nothing came of it for too long, or too little.
    #[error("the agent's body stalled")]
    Stalled,
    /// It broke off.
    #[error("the agent's body broke off")]
    BrokeOff,
}

/// Reads the bytes of a body that is said to be JSON, at most `bytes_max` of them. `idle_timeout` is how long nothing may
/// come of it.
///
/// # Errors
///
/// [`JsonBodyError`] when it is something else, too long, or does not come to its end.
pub async fn read<B: Body<Data = Bytes> + Unpin>(
    headers: &HeaderMap,
    body: B,
    bytes_max: usize,
    idle_timeout: Duration,
) -> Result<Bytes, JsonBodyError> {
    if !is_json(headers) || headers.contains_key(CONTENT_ENCODING) {
        return Err(JsonBodyError::MediaType);
    }
    collect(body, bytes_max, idle_timeout).await
}

/// Reads the bytes of a body, whatever they are: at most `bytes_max` of them, and none for `idle_timeout` at most.
///
/// # Errors
///
/// [`JsonBodyError`] when it is too long, or does not come to its end.
pub async fn collect<B: Body<Data = Bytes> + Unpin>(
    body: B,
    bytes_max: usize,
    idle_timeout: Duration,
) -> Result<Bytes, JsonBodyError> {
    let collected = tokio::time::timeout(TIME_MAX, collect_all(body, bytes_max, idle_timeout)).await;
    collected.unwrap_or(Err(JsonBodyError::Stalled))
}

async fn collect_all<B: Body<Data = Bytes> + Unpin>(
    mut body: B,
    bytes_max: usize,
    idle_timeout: Duration,
) -> Result<Bytes, JsonBodyError> {
    let mut read = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(idle_timeout, body.frame()).await;
        match frame.map_err(|_| JsonBodyError::Stalled)? {
            None => return Ok(read.freeze()),
            Some(frame) => {
                let frame = frame.map_err(|_| JsonBodyError::BrokeOff)?;
                let data = frame.data_ref().map(AsRef::as_ref).unwrap_or_default();
                if read.len() + data.len() > bytes_max {
                    return Err(JsonBodyError::TooLarge);
                }
                read.extend_from_slice(data);
            }
        }
    }
}

/// Whether the body is said to be JSON (RFC 9110 section 8.3).
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else { return false };
    value.to_str().is_ok_and(is_json_type)
}

/// Whether a content type is that of JSON, whatever its parameters.
pub fn is_json_type(content_type: &str) -> bool {
    media_type(content_type).eq_ignore_ascii_case("application/json")
}

/// The media type that a header names, without parameters.
pub fn media_type_of(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().map(media_type)
}

fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_not_waited_for() {
        let began = tokio::time::Instant::now();
        let drops = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b" "))), ()))
        });
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let read = read(&headers, StreamBody::new(Box::pin(drops)), 600, Duration::from_secs(2)).await;
        assert_eq!(read, Err(JsonBodyError::Stalled));
        assert!(began.elapsed() <= Duration::from_secs(61), "{:?}", began.elapsed());
    }
}
