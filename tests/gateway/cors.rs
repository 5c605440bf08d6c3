//! Pages in browsers: which may call, and what they may read.

use reqwest::{Method, RequestBuilder, Response};

use crate::bed::{ANYTHING, Setup, TOOLS, TestBed, assert_refused, outcome, refusal};

const APP: &str = "https://app.example";
const PATH: &str = "/mail/me/messages";

async fn bed(settings: &'static str, connector: &'static str) -> TestBed {
    Setup::default()
        .config(move |parts| {
            let mail = parts.mail(&format!("{connector}{TOOLS}"));
            format!("{settings}\n{}", parts.whole(&parts.issuer(), &mail))
        })
        .start()
        .await
}

async fn send(request: RequestBuilder) -> Response {
    request.send().await.expect("an answer")
}

fn header(response: &Response, name: &str) -> Option<String> {
    let values: Vec<_> =
        response.headers().get_all(name).iter().map(|value| value.to_str().expect("text")).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

fn preflight(bed: &TestBed, origin: &str) -> RequestBuilder {
    bed.request(Method::OPTIONS, PATH)
        .header("origin", origin)
        .header("access-control-request-method", "GET")
        .header(
            "access-control-request-headers",
            "authorization,content-type,mcp-param-x,dpop,last-event-id,x-evil",
        )
}

#[track_caller]
fn assert_is_for_no_page(response: &Response) {
    for (name, _) in response.headers() {
        assert!(!name.as_str().starts_with("access-control-"), "{name}");
    }
}

#[tokio::test]
async fn without_origins_in_the_configuration_no_page_may_call() {
    let bed = bed("", "").await;
    for origin in [APP, "null", "http://localhost:3000", ""] {
        let call = bed.request(Method::GET, PATH).bearer_auth(bed.token("ada")).header("origin", origin);
        for request in [call, preflight(&bed, origin)] {
            let response = send(request).await;
            assert_is_for_no_page(&response);
            assert_refused(&refusal(response).await, 403, "origin_not_allowed");
        }
    }
    assert_eq!(bed.exchanges(), 0);
    assert!(bed.connector.requests().is_empty());
    let response = bed.get(PATH, &bed.token("ada")).await;
    assert_eq!(response.status(), 200, "what is no page sends no origin");
    assert_is_for_no_page(&response);
    assert_eq!(header(&response, "vary"), None);
}

#[tokio::test]
async fn a_page_that_may_call_can_read_the_answer_and_the_refusal() {
    let bed = bed("allowed_origins: [https://app.example]", "").await;
    let call = || bed.request(Method::GET, PATH).header("origin", APP);
    for (request, status) in [(call().bearer_auth(bed.token("ada")), 200), (call(), 401)] {
        let response = send(request).await;
        assert_eq!(response.status(), status);
        assert_eq!(header(&response, "access-control-allow-origin").as_deref(), Some(APP));
        assert_eq!(header(&response, "access-control-allow-credentials"), None);
        assert!(header(&response, "vary").is_some_and(|vary| vary.contains("Origin")));
        let exposed = header(&response, "access-control-expose-headers").expect("a list");
        for name in ["WWW-Authenticate", "Mcp-Session-Id", "Obo-Request-Id", "Obo-Identity-Mode"] {
            assert!(exposed.contains(name), "{exposed}");
        }
    }
    let response = bed.get(PATH, &bed.token("ada")).await;
    assert_is_for_no_page(&response);
    assert_eq!(header(&response, "vary").as_deref(), Some("Origin"), "nor is it kept for one");
    for other in
        ["https://app.example:8443", "https://app.example.evil.example", "http://app.example", "null"]
    {
        let response = send(bed.request(Method::GET, PATH).header("origin", other)).await;
        assert_is_for_no_page(&response);
        assert_refused(&refusal(response).await, 403, "origin_not_allowed");
    }
    for received in bed.connector.requests() {
        assert_eq!(received.header("origin"), None, "which page it is stays here");
    }
    let twice = call().header("origin", APP).bearer_auth(bed.token("ada"));
    assert_refused(&refusal(send(twice).await).await, 403, "origin_not_allowed");
}

#[tokio::test]
async fn a_preflight_is_answered_here_and_recorded() {
    let bed = bed("allowed_origins: [https://app.example]", "    pass_headers: [X-Passed]\n").await;
    let request = preflight(&bed, APP).header("access-control-request-headers", "x-passed");
    let response = send(request).await;
    assert_eq!(response.status(), 204);
    assert_eq!(header(&response, "access-control-allow-origin").as_deref(), Some(APP));
    assert_eq!(
        header(&response, "access-control-allow-headers").as_deref(),
        Some("authorization, content-type, mcp-param-x, dpop, last-event-id, x-passed")
    );
    assert!(
        header(&response, "access-control-allow-methods").is_some_and(|methods| methods.contains("DELETE"))
    );
    assert!(response.headers().contains_key("access-control-max-age"));
    let request_id = header(&response, "obo-request-id").expect("an id");
    assert_eq!(bed.outcomes(1).await, ["answered"]);
    let record = &bed.records().await[0];
    assert_eq!(record.pointer("/metadata/uid").and_then(|id| id.as_str()), Some(request_id.as_str()));
    assert_eq!(record.pointer("/http_response/code"), Some(&204.into()));
    assert_eq!(record.pointer("/unmapped/obo/connector"), Some(&"mail".into()));
    let series =
        r#"obo_gateway_requests_total{connector="mail",identity="none",outcome="answered",tool="none"}"#;
    assert_eq!(bed.metric(series).await, Some(1.0));
    assert!(bed.connector.requests().is_empty());
    assert_eq!(bed.exchanges(), 0);
}

#[tokio::test]
async fn an_options_request_that_is_no_preflight_is_a_call_like_any_other() {
    let bed = Setup::default()
        .config(|parts| {
            let mail = parts.mail(&format!("    allowed_origins: [{APP}]\n{ANYTHING}"));
            parts.whole(&parts.issuer(), &mail)
        })
        .start()
        .await;
    let request = bed.request(Method::OPTIONS, PATH).header("origin", APP);
    assert_refused(&refusal(send(request).await).await, 401, "no_credentials");
    let request = bed
        .request(Method::OPTIONS, PATH)
        .header("access-control-request-method", "GET")
        .bearer_auth(bed.token("ada"));
    send(request).await;
    assert_eq!(bed.connector.requests().len(), 1);
}

#[tokio::test]
async fn a_connector_names_its_own_pages_and_no_upstream_does() {
    use obo_gateway::demo::script::Reply;
    let bed =
        bed("allowed_origins: [https://other.example]", "    allowed_origins: [https://app.example]\n").await;
    let call =
        |origin: &str| bed.request(Method::GET, PATH).header("origin", origin).bearer_auth(bed.token("ada"));
    assert_refused(&refusal(send(call("https://other.example")).await).await, 403, "origin_not_allowed");
    let upstream = || {
        Reply::status(200)
            .header("access-control-allow-origin", "*")
            .header("access-control-allow-credentials", "true")
            .header("access-control-expose-headers", "*")
            .header("vary", "Accept")
    };
    bed.connector.script().once(upstream());
    let response = send(call(APP)).await;
    assert_eq!(header(&response, "access-control-allow-origin").as_deref(), Some(APP));
    assert_eq!(header(&response, "access-control-allow-credentials"), None);
    assert_eq!(header(&response, "vary").as_deref(), Some("Accept, Origin"));
    bed.connector.script().once(upstream());
    assert_is_for_no_page(&bed.get(PATH, &bed.token("ada")).await);
}

/// A page of an attacker's that a browser takes to be on this machine (DNS rebinding): it names the host that it knows.
#[tokio::test]
async fn an_mcp_server_on_loopback_goes_by_loopbacks_names_alone() {
    let mcp = |public_url: &'static str| {
        Setup::default().config(move |parts| {
            let mail = parts.mail("    scopes: [Mail.Read]\n");
            let mcp = mail
                .replace("  mail:", "  notes:")
                .replace("kind: rest", "kind: mcp")
                .replace("/mail\n", "/notes\n");
            format!("{public_url}\n{}", parts.whole(&parts.issuer(), &format!("{mail}{mcp}")))
        })
    };
    let bed = mcp("").start().await;
    let ask = |path: &str, host: &str| send(bed.request(Method::POST, path).header("host", host));
    for (path, host, status) in [
        ("/notes", "evil.example", 403),
        ("/notes", "localhost.evil.example:80", 403),
        ("/notes", "127.0.0.1", 401),
        ("/notes", "localhost:1234", 401),
        ("/notes", "[::1]:80", 401),
        ("/mail/me", "whatever.something.in.front.says", 401),
    ] {
        let response = ask(path, host).await;
        assert_eq!(response.status(), status, "{path} {host}");
    }
    let records = bed.records().await;
    assert_eq!(records.iter().take(2).map(outcome).collect::<Vec<_>>(), ["host_not_allowed"; 2]);
    let bed = mcp("public_url: https://gateway.example").start().await;
    let response = send(bed.request(Method::POST, "/notes").header("host", "gateway.internal")).await;
    assert_eq!(response.status(), 401, "what is in front names it as it likes");
}
