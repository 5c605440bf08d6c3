//! What is sent on and what is not, and requests that two readers could take differently.

use std::time::Duration;

use obo_gateway::demo::script::Reply;
use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bed::{ANYTHING, Setup, TOOLS, TestBed, assert_refused, refusal};

/// Sends bytes, and reads what comes back until the gateway closes or is silent for a while.
async fn raw(bed: &TestBed, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(bed.gateway.agent_address()).await.expect("a connection");
    // The gateway may have heard enough before it has heard all.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_millis(600), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status codes of all answers in a stream.
fn statuses(answer: &str) -> Vec<u16> {
    answer
        .match_indices("HTTP/1.1 ")
        .filter_map(|(at, found)| answer[at + found.len()..].get(..3)?.parse().ok())
        .collect()
}

#[tokio::test]
async fn what_the_agent_sends_as_identity_stays_behind() {
    let bed = Setup::default().tools(ANYTHING).start().await;
    let hostile = [
        ("cookie", "session=canary"),
        ("proxy-authorization", "Basic canary"),
        ("forwarded", "for=canary"),
        ("x-forwarded-for", "canary"),
        ("x-forwarded-user", "canary"),
        ("x-forwarded-host", "canary"),
        ("x-real-ip", "canary"),
        ("x-user", "canary"),
        ("x-auth-request-email", "canary"),
        ("x-ms-client-principal", "canary"),
        ("x-ms-token-aad-access-token", "canary"),
        ("x-ms-obo-usertoken", "canary"),
        ("x_forwarded_user", "canary"),
        ("authorization_", "canary"),
        ("dpop", "canary"),
        ("client-cert", "canary"),
        ("txn-token", "canary"),
        ("remote-user", "canary"),
        ("impersonate-user", "canary"),
        ("x-http-method-override", "canary"),
        ("obo-request-id", "canary"),
        ("te", "canary"),
        ("keep-alive", "canary"),
        ("proxy-connection", "canary"),
        ("upgrade", "canary"),
        ("http2-settings", "canary"),
        ("expect-nothing", "canary"),
    ];
    let request = hostile
        .iter()
        .fold(bed.request(Method::GET, "/mail/me"), |request, (name, value)| request.header(*name, *value))
        .header("accept-language", "de")
        .header("prefer", "outlook.timezone=\"UTC\"")
        .bearer_auth(bed.token("ada"));
    assert_eq!(request.send().await.expect("an answer").status(), 200);
    let received = bed.connector.only_request();
    assert!(!received.contains("canary"), "{:?}", received.headers);
    assert_eq!(received.header("accept-language"), Some("de"));
    assert_eq!(received.header("prefer"), Some("outlook.timezone=\"UTC\""));
    assert_eq!(received.header("via"), Some("1.1 obo-gateway"));
    assert_eq!(received.header("host"), Some(bed.connector.address().to_string().as_str()));
    assert_eq!(received.bearer(), bed.authorization_server.last_issued());
}

#[tokio::test]
async fn connection_cannot_take_our_headers_off() {
    let bed = Setup::default().tools(ANYTHING).start().await;
    let request = bed
        .request(Method::GET, "/mail/me")
        .bearer_auth(bed.token("ada"))
        .header("connection", "authorization, host, via, obo-request-id, prefer")
        .header("prefer", "hop-by-hop");
    assert_eq!(request.send().await.expect("an answer").status(), 200);
    let received = bed.connector.only_request();
    assert_eq!(received.bearer(), bed.authorization_server.last_issued());
    assert!(received.header("host").is_some() && received.header("via").is_some());
    assert!(received.header("obo-request-id").is_some());
    assert_eq!(received.header("prefer"), None);
}

#[tokio::test]
async fn a_connector_gets_the_headers_it_is_configured_for() {
    let bed = Setup::default()
        .tools("    scopes: [Mail.Read]\n    pass_headers: [X-GitHub-Api-Version]\n")
        .start()
        .await;
    let request = bed
        .request(Method::GET, "/mail/me")
        .header("x-github-api-version", "2022-11-28")
        .header("x-other", "1");
    assert_eq!(request.bearer_auth(bed.token("ada")).send().await.expect("an answer").status(), 200);
    let received = bed.connector.only_request();
    assert_eq!(received.header("x-github-api-version"), Some("2022-11-28"));
    assert_eq!(received.header("x-other"), None);
}

#[tokio::test]
async fn what_the_connector_says_about_itself_stays_behind() {
    let bed = TestBed::start().await;
    bed.connector.script().once(
        Reply::normal()
            .header("set-cookie", "canary")
            .header("www-authenticate", "canary")
            .header("server", "canary")
            .header("alt-svc", "canary")
            .header("dpop-nonce", "canary")
            .header("keep-alive", "canary")
            .header("connection", "x-hop")
            .header("x-hop", "canary")
            .header("obo-identity-mode", "canary")
            .header("x-ms-throttle-scope", "kept"),
    );
    let reply = bed.get("/mail/me/messages", &bed.token("ada")).await;
    assert!(!format!("{:?}", reply.headers()).contains("canary"), "{:?}", reply.headers());
    assert_eq!(reply.headers()["obo-identity-mode"], "on_behalf_of");
    assert_eq!(reply.headers()["x-ms-throttle-scope"], "kept");
}

#[tokio::test]
async fn errors_and_redirects_are_passed_on_untouched() {
    let bed = TestBed::start().await;
    bed.connector.script().once(Reply::status(409).header("retry-after", "7").body("it is broken"));
    let reply = bed.get("/mail/me/messages", &bed.token("ada")).await;
    assert_eq!((reply.status().as_u16(), reply.headers()["retry-after"].as_bytes()), (409, &b"7"[..]));
    assert_eq!(reply.text().await.expect("a body"), "it is broken");
    bed.connector.script().once(Reply::status(302).header("location", "https://elsewhere.example/"));
    let reply = bed.get("/mail/me/messages", &bed.token("ada")).await;
    assert_eq!(reply.headers()["location"], "https://elsewhere.example/");
    assert_eq!(bed.connector.requests().len(), 2, "nothing was followed or repeated");
}

#[tokio::test]
async fn a_path_that_two_readers_could_take_differently_is_refused() {
    let bed = Setup::default().tools(ANYTHING).start().await;
    let token = bed.token("ada");
    for path in [
        "/mail/../admin",
        "/mail/%2e%2e/admin",
        "/mail/a%2fb",
        "/mail/a%5cb",
        "/mail//me",
        "/mail/me;x=1",
        "/mail/%00",
        "/mail/%c0%ae",
        "/mail/%252e%252e",
        "/mail/%6de",
        "//mail/me",
        "/mail\\me",
        "/mail/./me",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {token}\r\n\r\n");
        let answer = raw(&bed, request.as_bytes()).await;
        assert_eq!(statuses(&answer), [400], "{path}: {answer}");
    }
    assert!(bed.connector.requests().is_empty());
}

#[tokio::test]
async fn a_request_that_is_not_plain_http_is_refused() {
    let bed = Setup::default().tools(ANYTHING).start().await;
    let token = bed.token("ada");
    let auth = format!("authorization: Bearer {token}\r\n");
    for (name, status, request) in [
        ("CONNECT", 501, format!("CONNECT mail:443 HTTP/1.1\r\nhost: mail:443\r\n{auth}\r\n")),
        ("TRACE", 501, format!("TRACE /mail/me HTTP/1.1\r\nhost: gw\r\n{auth}\r\n")),
        ("two hosts", 400, format!("GET /mail/me HTTP/1.1\r\nhost: gw\r\nhost: gw\r\n{auth}\r\n")),
        ("no host", 400, format!("GET /mail/me HTTP/1.1\r\n{auth}\r\n")),
        ("a host list", 400, format!("GET /mail/me HTTP/1.1\r\nhost: gw, other\r\n{auth}\r\n")),
        ("userinfo", 400, format!("GET /mail/me HTTP/1.1\r\nhost: me@gw\r\n{auth}\r\n")),
        ("another target", 400, format!("GET http://evil/mail/me HTTP/1.1\r\nhost: gw\r\n{auth}\r\n")),
        (
            "gzip, chunked",
            400,
            format!(
                "POST /mail/me HTTP/1.1\r\nhost: gw\r\n{auth}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        (
            "xchunked",
            400,
            format!(
                "POST /mail/me HTTP/1.1\r\nhost: gw\r\n{auth}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        (
            "two lengths",
            400,
            format!(
                "POST /mail/me HTTP/1.1\r\nhost: gw\r\n{auth}content-length: 3\r\ncontent-length: 4\r\n\r\nabc"
            ),
        ),
        (
            "a signed length",
            400,
            format!("POST /mail/me HTTP/1.1\r\nhost: gw\r\n{auth}content-length: +3\r\n\r\nabc"),
        ),
        ("a folded header", 400, format!("GET /mail/me HTTP/1.1\r\nhost: gw\r\n{auth}x: a\r\n b\r\n\r\n")),
        ("a space before the colon", 400, format!("GET /mail/me HTTP/1.1\r\nhost : gw\r\n{auth}\r\n")),
        ("a NUL", 400, format!("GET /mail/me HTTP/1.1\r\nhost: gw\r\n{auth}x: a\0b\r\n\r\n")),
        (
            "many headers",
            431,
            format!("GET /mail/me HTTP/1.1\r\nhost: gw\r\n{auth}{}\r\n", "x: y\r\n".repeat(200)),
        ),
        (
            "a large header",
            431,
            format!("GET /mail/me HTTP/1.1\r\nhost: gw\r\n{auth}x: {}\r\n\r\n", "y".repeat(200_000)),
        ),
        (
            "a long target",
            431,
            format!("GET /mail/{} HTTP/1.1\r\nhost: gw\r\n{auth}\r\n", "y".repeat(70_000)),
        ),
    ] {
        let answer = raw(&bed, request.as_bytes()).await;
        let refused = statuses(&answer);
        assert_eq!(refused, [status], "{name}: {answer}");
        assert!(bed.connector.requests().is_empty(), "{name} was forwarded: {answer}");
    }
}

#[tokio::test]
async fn a_length_beside_chunked_ends_the_connection() {
    let bed = Setup::default().tools(ANYTHING).start().await;
    let auth = format!("authorization: Bearer {}\r\n", bed.token("ada"));
    let (length, chunked) = ("content-length: 6\r\n", "transfer-encoding: chunked\r\n");
    for framing in [[length, chunked], [chunked, length]] {
        let hidden = format!("GET /mail/me HTTP/1.1\r\nhost: gw\r\n{auth}\r\n");
        let request = format!(
            "POST /mail/echo HTTP/1.1\r\nhost: gw\r\n{auth}{}\r\n0\r\n\r\n{hidden}",
            framing.concat()
        );
        let answer = raw(&bed, request.as_bytes()).await;
        assert_eq!(statuses(&answer).len(), 1, "{framing:?}: {answer}");
    }
    for received in bed.connector.requests() {
        assert_ne!(received.method, "GET", "the hidden request went through");
        assert_eq!(received.body_bytes, 0);
    }
}

#[tokio::test]
async fn an_upgrade_is_not_forwarded() {
    let bed = Setup::default().tools(ANYTHING).start().await;
    let token = bed.token("ada");
    for upgrade in ["websocket", "h2c"] {
        let request = format!(
            "GET /mail/me HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {token}\r\nconnection: upgrade\r\nupgrade: {upgrade}\r\n\r\n\
             GET /mail/me HTTP/1.1\r\nhost: gw\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(
            statuses(&raw(&bed, request.as_bytes()).await),
            [200, 401],
            "what follows is judged on its own"
        );
    }
    assert!(bed.connector.requests().iter().all(|request| request.header("upgrade").is_none()));
    bed.connector
        .script()
        .once(Reply::raw("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"));
    let refused = refusal(bed.get("/mail/me", &token).await).await;
    assert_refused(&refused, 502, "connector_upgraded");
}

#[tokio::test]
async fn people_on_one_connection_have_each_their_own_identity() {
    let bed = TestBed::start().await;
    let get = |token: Option<String>| {
        let auth = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        format!("GET /mail/me/messages HTTP/1.1\r\nhost: gw\r\n{auth}\r\n")
    };
    let pipelined = format!("{}{}{}", get(Some(bed.token("ada"))), get(Some(bed.token("bob"))), get(None));
    assert_eq!(statuses(&raw(&bed, pipelined.as_bytes()).await), [200, 200, 401]);
    let callers: Vec<_> = bed.connector.requests().iter().map(|request| request.caller.clone()).collect();
    assert_eq!(callers.len(), 2);
    assert_ne!(callers[0], callers[1]);
}

#[tokio::test]
async fn a_refusal_with_an_unread_body_does_not_confuse_what_follows() {
    let bed = TestBed::start().await;
    let hidden = "GET /mail/me/messages HTTP/1.1\r\nhost: gw\r\n\r\n";
    let request = format!(
        "POST /mail/me/sendMail HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n\r\n{hidden}",
        hidden.len()
    );
    let answer = raw(&bed, request.as_bytes()).await;
    assert_eq!(statuses(&answer), [401], "the body was read as a request: {answer}");
}

#[tokio::test]
async fn http2_without_tls_is_served_on_the_same_port() {
    let bed = TestBed::start().await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    let reply = client
        .get(bed.url("/mail/me/messages"))
        .bearer_auth(bed.token("ada"))
        .send()
        .await
        .expect("an answer");
    assert_eq!((reply.status().as_u16(), reply.version()), (200, reqwest::Version::HTTP_2));
    assert_eq!(bed.connector.only_request().header("via"), Some("2 obo-gateway"));
}

#[tokio::test]
async fn tls_serves_both_versions_of_http_and_reaches_a_tls_connector() {
    use obo_gateway::demo::certificates::DevelopmentCertificates;
    use obo_gateway::demo::mail::{MailConnector, MailSettings};
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = DevelopmentCertificates::ensure(folder.path()).expect("certificates");
    let authority = std::fs::read(&certificates.authority_path).expect("an authority");
    let server = certificates.server_config().expect("a server configuration");
    let paths =
        (certificates.server.certificate_path, certificates.server.key_path, certificates.authority_path);
    let bed_server = obo_gateway::demo::authorization_server::AuthorizationServer::start(Default::default())
        .await
        .expect("a server");
    let mail = MailSettings { tls: Some(server), ..MailSettings::trusting(&bed_server) };
    let connector = MailConnector::start(mail).await.expect("a connector");
    let (issuer, upstream) = (bed_server.issuer(), connector.base_url());
    assert!(upstream.starts_with("https://"), "{upstream}");
    let bed = Setup::default()
        .config(move |parts| {
            let whole = parts.whole(
                &parts.issuer().replace(&parts.authorization_server.issuer(), &issuer),
                &parts.mail(TOOLS),
            );
            let whole = whole.replace(
                &parts.connector.base_url(),
                &format!("{upstream}\n    ca_file: {}", paths.2.display()),
            );
            format!("tls: {{ certificate: {}, key: {} }}\n{whole}", paths.0.display(), paths.1.display())
        })
        .start()
        .await;
    let root = reqwest::Certificate::from_pem(&authority).expect("a certificate");
    let url = format!("https://localhost:{}/mail/me/messages", bed.gateway.agent_address().port());
    for http1 in [true, false] {
        let builder = reqwest::Client::builder().no_proxy().tls_certs_merge([root.clone()]);
        let client = if http1 { builder.http1_only() } else { builder }.build().expect("a client");
        let reply = client
            .get(&url)
            .bearer_auth(bed_server.subject_token("ada").mint())
            .send()
            .await
            .expect("an answer");
        assert_eq!(reply.status(), 200);
        let version = if http1 { reqwest::Version::HTTP_11 } else { reqwest::Version::HTTP_2 };
        assert_eq!(reply.version(), version);
    }
    let versions: Vec<_> = connector.requests().iter().map(|request| request.version).collect();
    assert_eq!(versions, [reqwest::Version::HTTP_2; 2], "the connector offers HTTP/2 and gets it");
}

#[tokio::test]
async fn a_connector_whose_certificate_is_not_trusted_is_not_called() {
    use obo_gateway::demo::certificates::DevelopmentCertificates;
    use obo_gateway::demo::mail::{MailConnector, MailSettings};
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = DevelopmentCertificates::ensure(folder.path()).expect("certificates");
    let tls = certificates.server_config().expect("a server configuration");
    let server = obo_gateway::demo::authorization_server::AuthorizationServer::start(Default::default())
        .await
        .expect("a server");
    let connector = MailConnector::start(MailSettings { tls: Some(tls), ..MailSettings::trusting(&server) })
        .await
        .expect("a connector");
    let upstream = connector.base_url();
    let bed = Setup::default()
        .config(move |parts| {
            parts.whole(&parts.issuer(), &parts.mail(TOOLS)).replace(&parts.connector.base_url(), &upstream)
        })
        .start()
        .await;
    let refused = refusal(bed.get("/mail/me/messages", &bed.token("ada")).await).await;
    assert_refused(&refused, 502, "connector_unreachable");
    assert!(
        refused.2["detail"].as_str().is_some_and(|detail| detail.contains("certificate")),
        "{}",
        refused.2
    );
    assert!(connector.requests().is_empty());
}
