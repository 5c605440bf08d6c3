//! Sign-in by authorization code with PKCE, and the consent link.

use serde_json::json;
use url::Url;

use super::*;
use crate::demo::jws::sha256_base64url;
use crate::demo::testing::claims;

const VERIFIER: &str = "a-verifier-of-forty-three-characters-or-more";
const CALLBACK: &str = "http://127.0.0.1:9/callback";

/// A person at a browser that runs no scripts and keeps one cookie.
struct Browser {
    client: reqwest::Client,
    cookie: Option<String>,
}

impl Browser {
    fn new() -> Self {
        Self { client: client(), cookie: None }
    }

    async fn open(&mut self, url: &str) -> Response {
        let request = self.client.get(url).header("cookie", self.cookie.clone().unwrap_or_default());
        let response = request.send().await.expect("the server answers");
        if let Some(cookie) = response.headers().get("set-cookie") {
            let cookie = cookie.to_str().expect("ASCII");
            assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        response
    }

    /// Submits the form of a page with one of its buttons.
    async fn press(&self, server: &AuthorizationServer, page: &str, name: &str, value: &str) -> Response {
        assert!(page.contains(&format!("name={name} value=")), "the page has no such button");
        let action = between(page, "action=\"", "\"");
        let form_token = between(page, "name=form_token value=\"", "\"");
        self.submit(server, action, &[("form_token", form_token), (name, value)]).await
    }

    async fn submit(&self, server: &AuthorizationServer, action: &str, form: &[(&str, &str)]) -> Response {
        let request = self.client.post(format!("{}{action}", server.origin())).form(form);
        let request = request.header("cookie", self.cookie.clone().unwrap_or_default());
        request.send().await.expect("the server answers")
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let begin = text.find(start).unwrap_or_else(|| panic!("there is no {start}")) + start.len();
    text[begin..].split(end).next().unwrap_or_default()
}

fn authorization_url(server: &AuthorizationServer, change: impl FnOnce(&mut Vec<(&str, String)>)) -> String {
    let mut query = vec![
        ("client_id", "demo-agent".to_owned()),
        ("response_type", "code".to_owned()),
        ("redirect_uri", CALLBACK.to_owned()),
        ("scope", "openid api://obo-gateway/access_as_user".to_owned()),
        ("state", "st&te=1".to_owned()),
        ("nonce", "n-1".to_owned()),
        ("code_challenge", sha256_base64url(VERIFIER.as_bytes())),
        ("code_challenge_method", "S256".to_owned()),
    ];
    change(&mut query);
    Url::parse_with_params(&server.authorization_endpoint(), query).expect("a URL").to_string()
}

/// The redirect that ends a sign-in, as its query parameters.
fn redirected(response: &Response) -> Vec<(String, String)> {
    assert_eq!(response.status(), 303);
    let location = Url::parse(&header(response, "location")).expect("a URL");
    assert!(location.as_str().starts_with(CALLBACK), "{location}");
    location.query_pairs().into_owned().collect()
}

fn parameter(parameters: &[(String, String)], name: &str) -> Option<String> {
    parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
}

async fn sign_in(server: &AuthorizationServer, who: &str) -> String {
    let mut browser = Browser::new();
    let page = browser.open(&authorization_url(server, |_| {})).await.text().await.expect("a page");
    let response = browser.press(server, &page, "person", &server.person(who).oid).await;
    let parameters = redirected(&response);
    assert_eq!(parameter(&parameters, "state").as_deref(), Some("st&te=1"));
    assert_eq!(parameter(&parameters, "iss"), Some(server.issuer()));
    parameter(&parameters, "code").expect("a code")
}

fn redemption(code: &str) -> TestForm {
    TestForm::new(&[
        ("grant_type", "authorization_code"),
        ("client_id", "demo-agent"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ])
}

#[tokio::test]
async fn signing_in_gives_the_agent_a_token_for_the_gateway_and_an_id_token() {
    let server = start().await;
    let code = sign_in(&server, "ada").await;
    let answer = redemption(&code).granted(&server).await;
    assert_eq!(answer["scope"], "api://obo-gateway/access_as_user");
    let access = claims(answer["access_token"].as_str().expect("text"));
    assert_eq!(access["aud"], GATEWAY);
    assert_eq!(access["azp"], "demo-agent");
    assert_eq!(access["scp"], "access_as_user");
    assert_eq!(access["oid"], json!(server.person("ada").oid));
    assert_eq!(access["groups"], json!(["staff", "engineering"]));
    let id = claims(answer["id_token"].as_str().expect("text"));
    assert_eq!((&id["aud"], &id["nonce"]), (&json!("demo-agent"), &json!("n-1")));
    let form = TestForm::on_behalf_of(&server, "bob", MAIL_READ);
    let form = form.with("assertion", answer["access_token"].as_str().expect("text"));
    let delegated = form.granted(&server).await;
    let delegated = claims(delegated["access_token"].as_str().expect("text"));
    assert_eq!(delegated["oid"], json!(server.person("ada").oid), "it is the assertion that says who");
}

#[tokio::test]
async fn a_code_needs_its_verifier_its_address_and_its_client_and_works_once() {
    let server = start().await;
    for (name, wrong, code) in [
        ("code_verifier", "another-verifier-of-forty-three-characters-x", 501_481),
        ("code_verifier", "short", 501_481),
        ("redirect_uri", "http://127.0.0.1:9/other", 500_112),
        ("code", "guessed", 70000),
    ] {
        let fresh = sign_in(&server, "ada").await;
        let (status, body) = redemption(&fresh).with(name, wrong).refused(&server).await;
        assert_eq!((status, &body["error_codes"]), (400, &json!([code])), "{name}");
        assert_eq!(body["error"], "invalid_grant");
    }
    let code = sign_in(&server, "ada").await;
    redemption(&code).granted(&server).await;
    let (_, replayed) = redemption(&code).refused(&server).await;
    assert_eq!(replayed["error_codes"], json!([54005]));

    let code = sign_in(&server, "ada").await;
    let gateway =
        redemption(&code).with("client_id", GATEWAY).with("client_secret", &server.settings().gateway.secret);
    assert_eq!(gateway.refused(&server).await.1["error"], "invalid_grant");
    // A failed attempt uses the code up: whoever guessed gets no second try, and neither does a thief.
    assert_eq!(redemption(&code).refused(&server).await.1["error_codes"], json!([54005]));
}

#[tokio::test]
async fn a_code_dies_of_age() {
    let server = start_with(|settings| settings.code_lifespan = Duration::from_millis(400)).await;
    let code = sign_in(&server, "ada").await;
    tokio::time::sleep(Duration::from_millis(450)).await;
    assert_eq!(redemption(&code).refused(&server).await.1["error_codes"], json!([70008]));
}

#[tokio::test]
async fn the_client_hears_what_is_wrong_only_at_an_address_it_registered() {
    let server = start().await;
    let set = |name, value: &'static str| {
        authorization_url(&server, |query| {
            query.retain(|(key, _)| *key != name);
            query.push((name, value.to_owned()));
        })
    };
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("response_mode", "fragment", "invalid_request"),
        ("prompt", "none", "login_required"),
        ("scope", MAIL_READ, "invalid_scope"),
        ("resource", "https://elsewhere.test/mcp", "invalid_target"),
    ] {
        let parameters = redirected(&Browser::new().open(&set(name, value)).await);
        assert_eq!(parameter(&parameters, "error").as_deref(), Some(error), "{name}");
        assert_eq!(parameter(&parameters, "state").as_deref(), Some("st&te=1"));
        assert_eq!(parameter(&parameters, "code"), None);
    }
    for (name, value) in [
        ("redirect_uri", "https://attacker.test/callback"),
        ("redirect_uri", "http://127.0.0.1.attacker.test/"),
        ("redirect_uri", "http://user@127.0.0.1:9/callback"),
        ("redirect_uri", "http://127.0.0.1:9/callback#fragment"),
        ("redirect_uri", "https://127.0.0.1:9/callback"),
        ("redirect_uri", "nonsense"),
        ("client_id", "<b>stranger</b>"),
    ] {
        let response = Browser::new().open(&set(name, value)).await;
        assert_eq!(response.status(), 400, "{value}");
        assert!(response.headers().get("location").is_none());
        assert!(!response.text().await.expect("a page").contains("<b>"));
    }
}

#[tokio::test]
async fn any_loopback_port_and_each_registered_address_may_have_the_code() {
    let registered = "https://agent.demo.test/cb?x=1";
    let server = start_with(|settings| settings.agent.redirect_uris.push(registered.to_owned())).await;
    for address in ["http://localhost:4711/cb", "http://127.0.0.1:1/", registered] {
        let url = authorization_url(&server, |query| query[2].1 = address.to_owned());
        let response = Browser::new().open(&url).await;
        assert_eq!(response.status(), 200, "{address}");
        let origin = Url::parse(address).expect("a URL").origin().ascii_serialization();
        let policy = header(&response, "content-security-policy");
        assert!(policy.contains(&format!("form-action 'self' {origin};")), "{policy}");
    }
    let near_miss = authorization_url(&server, |query| query[2].1 = format!("{registered}&y=2"));
    assert_eq!(Browser::new().open(&near_miss).await.status(), 400);
}

#[tokio::test]
async fn a_form_works_once_in_its_own_browser_and_from_its_own_page() {
    let server = start().await;
    let oid = server.person("ada").oid.clone();
    let mut browser = Browser::new();
    let page = browser.open(&authorization_url(&server, |_| {})).await.text().await.expect("a page");

    let mut other = Browser::new();
    other.open(&authorization_url(&server, |_| {})).await;
    assert_eq!(other.press(&server, &page, "person", &oid).await.status(), 403);
    assert_eq!(Browser::new().press(&server, &page, "person", &oid).await.status(), 403);
    let action = between(&page, "action=\"", "\"");
    let form = [("form_token", "guessed"), ("person", oid.as_str())];
    assert_eq!(browser.submit(&server, action, &form).await.status(), 403);
    let cross_site = browser
        .client
        .post(format!("{}{action}", server.origin()))
        .header("cookie", browser.cookie.clone().expect("a cookie"))
        .header("sec-fetch-site", "cross-site")
        .form(&[("form_token", between(&page, "name=form_token value=\"", "\"")), ("person", &oid)]);
    assert_eq!(cross_site.send().await.expect("the server answers").status(), 403);

    assert_eq!(browser.press(&server, &page, "person", &oid).await.status(), 303);
    assert_eq!(browser.press(&server, &page, "person", &oid).await.status(), 403);
}

#[tokio::test]
async fn the_page_has_no_script_and_a_policy_that_allows_none() {
    let server = start_with(|settings| settings.people[0].name = "Ada <script>x</script>".to_owned()).await;
    let response = Browser::new().open(&authorization_url(&server, |_| {})).await;
    let policy = header(&response, "content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"));
    assert!(!policy.contains("unsafe"));
    let page = response.text().await.expect("a page");
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("Ada &lt;script&gt;"));
}

#[tokio::test]
async fn a_consent_link_turns_a_refusal_into_a_token() {
    let server = start().await;
    let form = TestForm::on_behalf_of(&server, "ada", MAIL_SEND);
    assert_eq!(form.refused(&server).await.1["error_codes"], json!([65001]));

    let mut browser = Browser::new();
    let page = browser.open(&server.consent_link(MAIL_SEND)).await.text().await.expect("a page");
    let response = browser.press(&server, &page, "person", &server.person("ada").oid).await;
    let page = response.text().await.expect("a page");
    assert!(page.contains("obo-gateway asks for your permission"), "{page}");
    assert!(page.contains("Send mail as you") && page.contains(MAIL_SEND) && page.contains("Ada Lindqvist"));
    assert!(!page.contains("Read your mail"), "only what is asked for is shown");
    assert_eq!(form.refused(&server).await.0, 400, "looking at the page agrees to nothing");

    let response = browser.press(&server, &page, "answer", "agree").await;
    assert_eq!(response.status(), 200);
    assert!(response.text().await.expect("a page").contains("Go back to your agent"));
    assert!(form.granted(&server).await["scope"].as_str().expect("text").contains(MAIL_SEND));
    let bob = TestForm::on_behalf_of(&server, "bob", MAIL_SEND);
    assert_eq!(bob.refused(&server).await.0, 400, "one person agrees for herself alone");
}

#[tokio::test]
async fn declining_changes_nothing() {
    let server = start().await;
    let mut browser = Browser::new();
    let page = browser.open(&server.consent_link(MAIL_SEND)).await.text().await.expect("a page");
    let page = browser.press(&server, &page, "person", &server.person("ada").oid).await;
    let page = page.text().await.expect("a page");
    let response = browser.press(&server, &page, "answer", "decline").await;
    assert!(response.text().await.expect("a page").contains("Nothing has changed"));
    assert_eq!(TestForm::on_behalf_of(&server, "ada", MAIL_SEND).refused(&server).await.0, 400);
}

#[tokio::test]
async fn a_consent_link_must_name_permissions_that_exist() {
    let server = start().await;
    for scope in ["", "openid", "https://graph.demo.test/Mail.Burn", "https://x.test/Mail.Read"] {
        assert_eq!(Browser::new().open(&server.consent_link(scope)).await.status(), 400, "{scope}");
    }
}
