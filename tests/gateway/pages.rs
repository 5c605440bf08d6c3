//! The pages for people: who gets in, what they are shown, and what comes of everything that is not as it should be.

pub mod connecting;
mod recording;
mod strangers;

use std::time::Duration;

use obo_gateway::demo::authorization_server::Endpoint;
use obo_gateway::demo::script::Reply;
use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::bed::{Setup, TOOLS, TestBed, outcome};
use crate::browser::{Browser, PUBLIC, Page};
use crate::endings::panics::{GOING_ON, Panics};

pub const ADA: &str = "2f9a1c64-7d0e-4b7e-9d57-0c3a51f0a001";
pub const BOB: &str = "8c41d2b7-53ae-4f09-8a1b-6e2f7b90b002";

fn setup(settings: &'static str) -> Setup {
    Setup::default()
        .server(|server| server.gateway.redirect_uris.push(format!("{PUBLIC}/account/signed-in")))
        .config(move |parts| {
            let whole = parts.whole(&parts.issuer(), &parts.mail(TOOLS));
            format!("public_url: {PUBLIC}\n{settings}\n{whole}")
        })
}

async fn bed() -> TestBed {
    setup("pages: {}").start().await
}

pub fn browser(bed: &TestBed) -> Browser {
    Browser::at(bed.url(""))
}

fn issuer(bed: &TestBed) -> Url {
    Url::parse(&bed.authorization_server.issuer()).expect("an issuer")
}

pub fn account(rest: &str) -> String {
    format!("{PUBLIC}/account{rest}")
}

/// From a page of the gateway to where people pick who they are, at the issuer.
async fn to_the_issuer_from(browser: &mut Browser, address: &str) -> Page {
    let page = browser.open(address).await;
    page.assert_says(200, "Sign in");
    browser.open(&format!("{PUBLIC}{}", page.link("/sign-in?"))).await
}

async fn to_the_issuer(browser: &mut Browser) -> Page {
    to_the_issuer_from(browser, &account("/")).await
}

pub async fn sign_in_from(browser: &mut Browser, bed: &TestBed, address: &str, person: &str) -> Page {
    let page = to_the_issuer_from(browser, address).await;
    browser.pick(&page, &issuer(bed), person).await
}

async fn sign_in(browser: &mut Browser, bed: &TestBed, person: &str) -> Page {
    sign_in_from(browser, bed, &account("/"), person).await
}

/// The address by which the issuer sends the browser back.
pub async fn way_back(browser: &mut Browser, bed: &TestBed) -> Url {
    let page = to_the_issuer(browser).await;
    let back = browser.pick_only(&page, &issuer(bed), ADA).await;
    assert!(back.starts_with(&account("/signed-in?")), "{back}");
    Url::parse(&back).expect("an address")
}

/// The same address with one parameter changed; `None` leaves it out.
pub fn with(address: &Url, name: &str, value: Option<&str>) -> String {
    let mut changed = address.clone();
    let rest = address.query_pairs().filter(|(own, _)| own != name);
    changed.query_pairs_mut().clear().extend_pairs(rest).extend_pairs(value.map(|value| (name, value)));
    changed.into()
}

#[tokio::test]
async fn a_person_signs_in_and_out() {
    let bed = bed().await;
    let mut browser = browser(&bed);
    let page = sign_in(&mut browser, &bed, ADA).await;
    page.assert_says(200, "Your connections");
    assert!(page.text.contains("Ada Lindqvist"), "{}", page.text);
    assert!(page.text.contains("You have connected nothing"), "{}", page.text);
    let [(name, _)] = browser.gateway_cookies()[..] else { panic!("{:?}", browser.gateway_cookies()) };
    assert_eq!(name, "__Host-obo-session", "what the sign-in needed is gone");
    let page = browser.submit(&page, "/account/sign-out").await;
    page.assert_says(200, "You are signed out");
    assert!(browser.gateway_cookies().is_empty());
    browser.open(&account("/")).await.assert_says(200, "Sign in");
}

#[tokio::test]
async fn a_panic_in_a_page_ends_that_one_alone_and_is_recorded() {
    let (panics, _subscribed) = Panics::here();
    let bed = bed().await;
    let mut adas = browser(&bed);
    let back = way_back(&mut adas, &bed).await;
    let (server, release) = (&bed.authorization_server, CancellationToken::new());
    server.script(Endpoint::Token).once(Reply::normal().held_until(release.clone()));
    let before = bed.records().await.len();
    let panicking = async {
        while server.fetches(Endpoint::Token) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        browser(&bed).open(&account("/")).await.assert_says(200, "Sign in");
        panics.at(GOING_ON);
        release.cancel();
    };
    let (page, ()) = tokio::join!(adas.open(back.as_str()), panicking);
    page.assert_says(500, "Something went wrong here");
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    browser(&bed).open(&account("/")).await.assert_says(200, "Sign in");
    assert_eq!(bed.outcomes(before + 3).await[before..], ["answered", "panicked", "answered"]);
    let record = &bed.records().await[before + 1];
    assert_eq!(record["unmapped"]["obo"]["kind"], "page", "{record:#}");
}

#[tokio::test]
async fn what_the_issuer_is_asked_binds_the_answer_to_the_browser() {
    let bed = bed().await;
    let mut browser = browser(&bed);
    let page = browser.open(&account("/")).await;
    let page = browser.step(&format!("{PUBLIC}{}", page.link("/sign-in?"))).await;
    assert_eq!(page.status, 303);
    let asked = Url::parse(&page.location().expect("an address")).expect("an address");
    let get =
        |name: &str| asked.query_pairs().find(|(own, _)| own == name).expect("a parameter").1.into_owned();
    assert!(asked.as_str().starts_with(&bed.authorization_server.issuer().replace("/v2.0", "")));
    assert_eq!(get("response_type"), "code");
    assert_eq!(get("redirect_uri"), account("/signed-in"));
    assert_eq!(get("scope"), "openid profile");
    assert_eq!((get("code_challenge_method").as_str(), get("code_challenge").len()), ("S256", 43));
    assert_eq!((get("state").len(), get("nonce").len()), (43, 43));
    let cookies = browser.gateway_cookies();
    let [(name, sealed)] = cookies[..] else { panic!("{cookies:?}") };
    assert_eq!(name, "__Host-obo-flow");
    for secret in [get("state"), get("nonce")] {
        assert!(!sealed.contains(&secret), "it is sealed");
    }
}

#[tokio::test]
async fn an_answer_that_this_browser_did_not_ask_for_signs_nobody_in() {
    let bed = bed().await;
    let heading = "This sign-in cannot be completed";
    let mut asking = browser(&bed);
    let back = way_back(&mut asking, &bed).await;
    let mut other = browser(&bed);
    other.open(back.as_str()).await.assert_says(400, heading);
    assert!(other.gateway_cookies().is_empty());
    // One that has begun a sign-in of its own is no better off.
    to_the_issuer(&mut other).await;
    other.open(back.as_str()).await.assert_says(400, heading);
    assert!(other.gateway_cookies().is_empty());
    // The code is still good for the one that asked; once.
    asking.open(back.as_str()).await.assert_says(200, "Your connections");
    asking.open(back.as_str()).await.assert_says(400, heading);
}

#[track_caller]
fn assert_signed_out(browser: &Browser) {
    assert!(browser.gateway_cookies().is_empty(), "{:?}", browser.gateway_cookies());
}

#[tokio::test]
async fn an_answer_that_was_changed_on_its_way_signs_nobody_in() {
    let bed = bed().await;
    let cannot = "This sign-in cannot be completed";
    let senseless = "This request makes no sense here";
    let wrong = "This answer is from the wrong place";
    let cases = [
        ("state", None, 400, senseless),
        ("state", Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), 400, cannot),
        ("code", None, 400, senseless),
        ("code", Some("another"), 400, cannot),
        ("iss", Some("https://evil.example"), 400, wrong),
        ("iss", Some(""), 400, wrong),
    ];
    for (name, value, status, heading) in cases {
        let mut browser = browser(&bed);
        let back = way_back(&mut browser, &bed).await;
        browser.open(&with(&back, name, value)).await.assert_says(status, heading);
        assert_signed_out(&browser);
        browser.open(back.as_str()).await.assert_says(400, cannot);
    }
    let mut browser = browser(&bed);
    let back = way_back(&mut browser, &bed).await;
    browser.open(&format!("{back}&state=x")).await.assert_says(400, senseless);
    assert_signed_out(&browser);
}

#[tokio::test]
async fn who_is_not_let_in_by_the_issuer_hears_it_and_no_more() {
    let bed = bed().await;
    let mut browser = browser(&bed);
    let back = way_back(&mut browser, &bed).await;
    let back = Url::parse(&with(&back, "code", None)).expect("an address");
    let said = "\u{202e}<script>alert(1)</script> ".repeat(50);
    let back = with(
        &Url::parse(&with(&back, "error", Some("access_denied"))).expect("one"),
        "error_description",
        Some(&said),
    );
    let page = browser.open(&back).await;
    page.assert_says(403, "You have not been signed in");
    assert!(!page.text.contains("<script") && !page.text.contains('\u{202e}'), "{}", page.text);
    assert!(page.text.contains("&#60;script&#62;"), "it is shown as text: {}", page.text);
    assert!(page.text.len() < 6_000, "and not all of it");
    assert_signed_out(&browser);
}

#[tokio::test]
async fn a_session_has_a_name_of_its_own_that_nobody_can_give_it() {
    let bed = bed().await;
    let mut browser = browser(&bed);
    browser.plant("__Host-obo-session", "chosen-by-somebody-else");
    sign_in(&mut browser, &bed, ADA).await.assert_says(200, "Your connections");
    let first = browser.gateway_cookies()[0].1.to_owned();
    assert_ne!(first, "chosen-by-somebody-else");
    let address = account("/sign-in");
    let page = browser.open(&address).await;
    let page = browser.open(&format!("{PUBLIC}{}", page.link("/sign-in?"))).await;
    browser.pick(&page, &issuer(&bed), ADA).await.assert_says(200, "Your connections");
    assert_ne!(browser.gateway_cookies()[0].1, first);
    let mut with_the_old_one = self::browser(&bed);
    with_the_old_one.plant("__Host-obo-session", &first);
    with_the_old_one.open(&account("/")).await.assert_says(200, "Sign in");
}

type Form<'a> = &'a [(String, String)];
type Headers<'a> = &'a [(&'a str, &'a str)];

#[tokio::test]
async fn a_form_of_another_site_or_session_does_nothing() {
    let bed = bed().await;
    let (mut adas, mut bobs) = (browser(&bed), browser(&bed));
    let page = sign_in(&mut adas, &bed, ADA).await;
    let bobs_page = sign_in(&mut bobs, &bed, BOB).await;
    let (own, others) = (page.form("/account/sign-out"), bobs_page.form("/account/sign-out"));
    let address = account("/sign-out");
    let ours = [("sec-fetch-site", "same-origin"), ("origin", "null")];
    let refused: [(Form<'_>, Headers<'_>); 6] = [
        (&own, &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")]),
        (&own, &[("sec-fetch-site", "same-site"), ("origin", "https://sibling.example")]),
        (&own, &[("origin", "https://evil.example")]),
        (&own, &[]),
        (&others, &ours),
        (&[], &ours),
    ];
    for (form, headers) in refused {
        let page = adas.post(&address, form, headers).await;
        page.assert_says(403, "This did not come from your page");
    }
    adas.open(&account("/")).await.assert_says(200, "Your connections");
    let mut signed_out = browser(&bed);
    signed_out.post(&address, &own, &ours).await.assert_says(403, "You are not signed in any more");
    adas.post(&address, &own, &ours).await.assert_says(200, "You are signed out");
}

#[tokio::test]
async fn every_answer_keeps_itself_in_its_place() {
    let bed = bed().await;
    let mut browser = browser(&bed);
    sign_in(&mut browser, &bed, ADA).await;
    for (rest, status) in
        [("/", 200), ("/sign-in", 200), ("/nowhere", 404), ("/signed-in", 400), ("/connect/x", 410)]
    {
        let page = browser.step(&account(rest)).await;
        assert_eq!(page.status, status, "{rest} {}", page.text);
        let header = |name: &str| page.headers.get(name).map(|value| value.to_str().expect("text"));
        assert_eq!(
            header("content-security-policy"),
            Some(
                "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
            )
        );
        assert_eq!(header("cache-control"), Some("no-store"));
        assert_eq!(header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(header("x-content-type-options"), Some("nosniff"));
        assert_eq!(header("x-frame-options"), Some("DENY"));
        assert_eq!(header("referrer-policy"), Some("no-referrer"));
        assert_eq!(header("cross-origin-opener-policy"), Some("same-origin"));
        assert_eq!(header("access-control-allow-origin"), None);
        for forbidden in ["<script", "style=", "<style", " onclick", "javascript:"] {
            assert!(!page.text.contains(forbidden), "{rest}: {forbidden}");
        }
        for needed in ["<html lang=\"en\">", "<main id=\"main\">", "<h1>", "name=\"viewport\""] {
            assert!(page.text.contains(needed), "{rest}: {needed}");
        }
    }
    let page = browser.step(&account("/")).await;
    let style = browser.step(&format!("{PUBLIC}{}", page.link("style.css"))).await;
    assert_eq!(
        (style.status, style.headers["content-type"].to_str().expect("text")),
        (200, "text/css; charset=utf-8")
    );
    assert!(style.text.contains("prefers-color-scheme: dark"));
}

#[tokio::test]
async fn what_a_page_does_not_take_is_refused_with_what_it_takes() {
    let bed = bed().await;
    let cases = [
        (Method::POST, "/account/", 405, Some("GET, HEAD")),
        (Method::DELETE, "/account/sign-in", 405, Some("GET, HEAD")),
        (Method::OPTIONS, "/account/", 405, Some("GET, HEAD")),
        (Method::GET, "/account/sign-out", 405, Some("POST")),
        (Method::HEAD, "/account/", 200, None),
        (Method::GET, "/account", 200, None),
        (Method::GET, "/accounts", 404, None),
        (Method::GET, "/account/sign-in?issuer=0000000000000000", 404, None),
        (Method::GET, "/account/sign-in?ticket=https://evil.example", 400, None),
        (Method::GET, "/account/sign-in?ticket=a&ticket=b", 400, None),
    ];
    for (method, path, status, allow) in cases {
        let response = bed.request(method.clone(), path).send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        let allowed = response.headers().get("allow").map(|allow| allow.to_str().expect("text"));
        assert_eq!(allowed, allow, "{method} {path}");
    }
    let large = vec![("token".to_owned(), "x".repeat(10_000))];
    let mut browser = browser(&bed);
    sign_in(&mut browser, &bed, ADA).await.assert_says(200, "Your connections");
    let page = browser.post(&account("/sign-out"), &large, &[("sec-fetch-site", "same-origin")]).await;
    page.assert_says(413, "This form is too large");
}

#[tokio::test]
async fn a_stranger_who_keeps_a_form_back_is_not_waited_for() {
    // What happened: a form was waited for before anybody looked whose it is. Each took a place in the trail for ten seconds, so
    // that some thousand connections of strangers left none for calls.
    let bed = bed().await;
    let forms = [
        "sign-out",
        "disconnect",
        "connect/AAAAAAAAAAAAAAAAAAAAAA/agree",
        "connect/AAAAAAAAAAAAAAAAAAAAAA/decline",
        "confirm/AAAAAAAAAAAAAAAAAAAAAA/agree",
        "confirm/AAAAAAAAAAAAAAAAAAAAAA/decline",
    ];
    for form in forms {
        let head = format!(
            "POST /account/{form} HTTP/1.1\r\nhost: gateway.example\r\nsec-fetch-site: same-origin\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: 40\r\n\r\n"
        );
        let mut stream = TcpStream::connect(bed.gateway.agent_address()).await.expect("a connection");
        stream.write_all(head.as_bytes()).await.expect("it is sent");
        let mut answer = [0; 12];
        let heard = tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut answer)).await;
        assert!(heard.is_ok_and(|read| read.is_ok()), "{form}: no answer");
        assert_eq!(&answer, b"HTTP/1.1 403", "{form}");
    }
    assert!(bed.outcomes(forms.len()).await.iter().all(|outcome| outcome == "answered"));
}

#[tokio::test]
async fn every_request_for_a_page_is_recorded_and_no_code_is_in_the_record() {
    let bed = bed().await;
    let mut browser = browser(&bed);
    let back = way_back(&mut browser, &bed).await;
    browser.open(back.as_str()).await.assert_says(200, "Your connections");
    let outcomes = bed.outcomes(4).await;
    assert!(outcomes.iter().all(|outcome| outcome == "answered"), "{outcomes:?}");
    let records = bed.records().await;
    assert_eq!(records.iter().map(outcome).collect::<Vec<_>>(), outcomes);
    let trail = std::fs::read_to_string(bed.audit_path()).expect("a trail");
    let (_, code) = back.query_pairs().find(|(name, _)| name == "code").expect("a code");
    let secrets = [code.into_owned(), browser.gateway_cookies()[0].1.to_owned()];
    for secret in secrets {
        assert!(!trail.contains(&secret), "{trail}");
    }
    assert!(trail.contains("/account/signed-in"));
}

#[tokio::test]
async fn who_is_forgotten_is_signed_out() {
    let bed = bed().await;
    let mut browser = browser(&bed);
    sign_in(&mut browser, &bed, ADA).await.assert_says(200, "Your connections");
    let tenant = &bed.authorization_server.settings().tenant;
    let url = format!("http://{}/forget?tenant={tenant}&subject={ADA}", bed.gateway.admin_address());
    let response = crate::bed::client().post(url).send().await.expect("an answer");
    assert_eq!(response.status().as_u16(), 200, "{:?}", response.text().await);
    browser.open(&account("/")).await.assert_says(200, "Sign in");
}

#[tokio::test]
async fn an_issuer_that_is_down_is_named_and_nobody_is_signed_in() {
    let bed = bed().await;
    let mut browser = browser(&bed);
    let back = way_back(&mut browser, &bed).await;
    bed.authorization_server.stop_listening().await;
    browser.open(back.as_str()).await.assert_says(502, "The other side cannot be reached");
    assert_signed_out(&browser);
}

#[tokio::test]
async fn a_reload_signs_nobody_out_and_an_issuer_that_is_gone_does() {
    let bed = bed().await;
    let mut browser = browser(&bed);
    sign_in(&mut browser, &bed, ADA).await.assert_says(200, "Your connections");
    bed.gateway.reload().await.expect("the same configuration");
    browser.open(&account("/")).await.assert_says(200, "Your connections");
    let config = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    std::fs::write(bed.config_path(), config.replace("pages: {}", "")).expect("written");
    bed.gateway.reload().await.expect("a configuration without pages");
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(browser.step(&account("/")).await.status, 404);
}
