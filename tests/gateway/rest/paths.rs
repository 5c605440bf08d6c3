//! Paths that two readers could take differently, and what agents put into paths, queries and headers: nothing of it makes
//! another call of a call.

use super::*;

#[tokio::test]
async fn a_path_that_readers_take_differently_reaches_nobody() {
    let bed = TestBed::start().await;
    for path in [
        "/mail/me/../admin",
        "/mail/me/messages/..",
        "/mail/./me/messages",
        "/mail/%2e%2e/admin",
        "/mail/.%2e/admin",
        "/mail/me/messages/%2E",
        "/mail/me%2fmessages",
        "/mail/me/messages/a%2F..%2Fb",
        "/mail/me%5cmessages",
        "/mail/me\\messages",
        "/mail//me/messages",
        "/mail/me/messages//",
        "//mail/me/messages",
        "/mail/me;x/messages",
        "/mail/me/messages;x=1",
        "/mail/..;/admin",
        "/mail/me/messages%3bx",
        "/mail/me/messages/%00",
        "/mail/me/messages%00.json",
        "/mail/me/messages/%c0%ae%c0%ae",
        "/mail/me/messages/%e0%80%ae",
        "/mail/me/messages/%c0%af",
        "/mail/me/messages/%f0%80%80%af",
        "/mail/me/messages/%252e%252e",
        "/mail/me/messages/%252f",
        "/mail/me/messages/%25252e",
        "/mail/me/messages/%",
        "/mail/me/messages/%u002e",
        "/mail/%6de/messages",
    ] {
        let answer = raw(&bed, path).await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert_eq!(status, "400", "{path}: {answer}");
        assert!(answer.contains("path_not_canonical"), "{path}: {answer}");
    }
    assert_eq!((bed.exchanges(), bed.connector.requests().len()), (0, 0));
    assert_eq!(bed.records().await.len(), 29);
}

/// A GET as these bytes, which a client's own URL parser would mend.
async fn raw(bed: &TestBed, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(bed.gateway.agent_address()).await.expect("a connection");
    let token = bed.token("ada");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn what_is_encoded_in_a_path_is_text_of_one_segment_at_the_connector_too() {
    let bed = TestBed::start().await;
    for (segment, decoded) in
        [("a%20b", "a b"), ("%3Fx=1", "?x=1"), ("%23x", "#x"), ("100%25", "100%"), ("a&b=c", "a&b=c")]
    {
        bed.connector.forget_requests();
        call(&bed, Method::GET, &format!("/mail/me/messages/{segment}")).await;
        let received = bed.connector.only_request();
        assert_eq!(received.uri.path().rsplit('/').next(), Some(segment), "{decoded}");
        assert_eq!(received.uri.query(), None, "{decoded}");
        assert_eq!(received.uri.path().split('/').count(), 5, "{}", received.uri);
    }
}

#[tokio::test]
async fn what_an_agent_gives_as_an_argument_stays_one() {
    let tools = "    tools:
      read_message:
        match: GET /me/messages/{id}
        scopes: [Mail.Read]
        arguments: { id: { type: string, path: id }, folder: { type: string, query: folder } }
";
    let bed = bed(tools, "").await;
    let hostile = "a%26admin=true%23%3Fx%20HTTP/1.1%0D%0AX-Evil:%201%0D%0A%0D%0A%2F..%2Fb";
    let answer = call(&bed, Method::GET, &format!("/mail/me/messages/1?folder={hostile}&other=2")).await;
    assert_eq!(answer.headers()["obo-identity-mode"], "on_behalf_of");
    let received = bed.connector.only_request();
    let query = received.uri.query().expect("a query");
    assert_eq!(query.split('&').count(), 2, "{query}");
    let decoded: Vec<_> = query.split('&').map(|piece| piece.split_once('=').expect("a value")).collect();
    assert_eq!(decoded[1], ("other", "2"));
    assert!(!decoded[0].1.contains(['&', '=', '#', '?', ' ', '/', ':']), "{query}");
    assert!(received.headers.keys().all(|name| name != "x-evil"), "a header came of an argument");
    // Into headers nothing of an argument goes at all.
    for (name, value) in &received.headers {
        assert!(!value.as_bytes().windows(5).any(|part| part == b"admin"), "{name}");
    }
}
