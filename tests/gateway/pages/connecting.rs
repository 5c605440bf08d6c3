//! From an agent's link to a connection, and everything that can be tried on the way.

use obo_gateway::demo::authorization_server::{MAIL_AUDIENCE, Settings};
use url::Url;

use super::{ADA, BOB, account, browser, issuer, sign_in_from, with};
use crate::bed::{Setup, TestBed, assert_refused, refusal};
use crate::browser::{Browser, PUBLIC, Page};

pub const PATH: &str = "/mail/me/messages";
pub const OURS: [(&str, &str); 2] = [("sec-fetch-site", "same-origin"), ("origin", "null")];

/// The mail connector, with accounts of its own at the development server, which is the issuer as well.
pub async fn bed() -> TestBed {
    setup().start().await
}

/// The same with a secret of the gateway's own that is looked for, and access tokens that end soon.
pub async fn bed_for_canaries(secret: &'static str) -> TestBed {
    let change = |server: &mut Settings| {
        server.gateway.secret = secret.to_owned();
        server.access_token_lifespan = std::time::Duration::from_secs(2);
    };
    setup().server(change).start().await
}

fn setup() -> Setup {
    Setup::default()
        .server(|server| {
            let back = ["signed-in", "callback/mail"].map(|rest| format!("{PUBLIC}/account/{rest}"));
            server.gateway.redirect_uris.extend(back);
        })
        .config(|parts| {
            let (settings, key) = (parts.authorization_server.settings(), parts.folder.join("vault.key"));
            std::fs::write(&key, (0..32).collect::<Vec<u8>>()).expect("a key");
            let connection = format!(
                "    identity: connection
    connection:
      issuer: {issuer}
      client_id: {client_id}
      client_auth: {{ secret_file: {secret} }}
      scopes: [openid, offline_access, \"{MAIL_AUDIENCE}/Mail.Read\"]
    tools:
      list_messages: {{ match: GET /me/messages }}
      read_message: {{ match: 'GET /me/messages/{{id}}' }}
",
                issuer = parts.authorization_server.issuer(),
                client_id = settings.gateway.client_id,
                secret = parts.folder.join("secret").display(),
            );
            // What is asked for there, the connection's scopes say.
            let mail = parts.mail(&connection).replace(&format!("    audience: {MAIL_AUDIENCE}\n"), "");
            let whole = parts.whole(&parts.issuer(), &mail);
            let (vault, key) = (parts.folder.join("vault.db"), key.display());
            format!(
                "public_url: {PUBLIC}\nvault: {{ file: {}, keys: [{{ id: first, file: {key} }}] }}\n{whole}",
                vault.display()
            )
        })
}

/// The link that an agent gets which calls without a connection.
pub async fn link(bed: &TestBed, person: &str) -> String {
    let refused = refusal(bed.get(PATH, &bed.token(person)).await).await;
    assert_refused(&refused, 401, "connection_required");
    let link = refused.2["connect_url"].as_str().expect("a link").to_owned();
    assert!(link.starts_with(&account("/connect/")), "{link}");
    link
}

pub async fn status(bed: &TestBed, person: &str) -> u16 {
    bed.get(PATH, &bed.token(person)).await.status().as_u16()
}

/// From the page of a link to where people pick who they are, at the service.
async fn to_the_service(browser: &mut Browser, page: &Page) -> Page {
    browser.open(&format!("{PUBLIC}{}", page.link("/begin?"))).await
}

/// The address by which the service sends the browser back.
pub async fn way_back(browser: &mut Browser, bed: &TestBed, page: &Page) -> Url {
    let page = to_the_service(browser, page).await;
    let back = browser.pick_only(&page, &issuer(bed), ADA).await;
    assert!(back.starts_with(&account("/callback/")), "{back}");
    Url::parse(&back).expect("an address")
}

/// The same where the person is signed in already.
pub async fn connect_signed_in(browser: &mut Browser, bed: &TestBed, link: &str) -> Page {
    let page = browser.open(link).await;
    let back = way_back(browser, bed, &page).await;
    browser.open(back.as_str()).await
}

/// Signs in with the gateway and then with the service, from a link on.
pub async fn connect(browser: &mut Browser, bed: &TestBed, link: &str) -> Page {
    let page = sign_in_from(browser, bed, link, ADA).await;
    let back = way_back(browser, bed, &page).await;
    browser.open(back.as_str()).await
}

#[tokio::test]
async fn after_connecting_the_same_call_works_until_the_person_disconnects() {
    let bed = bed().await;
    let link = link(&bed, "ada").await;
    let mut browser = browser(&bed);
    let page = sign_in_from(&mut browser, &bed, &link, ADA).await;
    page.assert_says(200, "Connect mail?");
    for shown in ["demo-agent", "list_messages", "Mail.Read", "offline_access"] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    let back = way_back(&mut browser, &bed, &page).await;
    browser.open(back.as_str()).await.assert_says(200, "mail is connected");
    assert_eq!(status(&bed, "ada").await, 200);
    assert_eq!(status(&bed, "bob").await, 401, "it is hers alone");
    // Neither the link nor the answer can be used again.
    browser.open(&link).await.assert_says(410, "This link does not lead anywhere any more");
    browser.open(back.as_str()).await.assert_says(400, "This sign-in cannot be completed");

    let page = browser.open(&account("/")).await;
    page.assert_says(200, "Your connections");
    for shown in ["mail", "demo-agent", "Mail.Read"] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    let page = browser.submit(&page, "/account/disconnect").await;
    page.assert_says(200, "Your connections");
    assert!(page.text.contains("Disconnected."), "{}", page.text);
    assert!(page.text.contains("You have connected nothing"), "{}", page.text);
    assert_eq!(status(&bed, "ada").await, 401);
}

#[tokio::test]
async fn a_link_shows_nothing_before_somebody_signs_in_and_nothing_to_anybody_else() {
    let bed = bed().await;
    let link = link(&bed, "ada").await;
    let mut bobs = browser(&bed);
    let page = bobs.open(&link).await;
    page.assert_says(200, "Sign in");
    let hides = |page: &Page| {
        for hidden in ["demo-agent", "list_messages", "Mail.Read"] {
            assert!(!page.text.contains(hidden), "{hidden}: {}", page.text);
        }
    };
    hides(&page);
    let page = sign_in_from(&mut bobs, &bed, &link, BOB).await;
    page.assert_says(403, "This link is for somebody else");
    hides(&page);
    let anew = bobs.open(&format!("{PUBLIC}{}", page.link("anew=1"))).await;
    let asked = bobs.step(&format!("{PUBLIC}{}", anew.link("anew=1"))).await.location().expect("an address");
    assert!(asked.contains("prompt=login"), "the issuer would sign the same one in again: {asked}");
    bobs.open(&format!("{link}/begin?token=AAAA")).await.assert_says(403, "This did not come from your page");
    for step in ["agree", "decline"] {
        let page = bobs.post(&format!("{link}/{step}"), &[], &OURS).await;
        page.assert_says(403, "This did not come from your page");
    }
    connect(&mut browser(&bed), &bed, &link).await.assert_says(200, "mail is connected");
}

#[tokio::test]
async fn what_one_person_began_another_cannot_end() {
    let bed = bed().await;
    let (adas_link, bobs_link) = (link(&bed, "ada").await, link(&bed, "bob").await);
    let (mut adas, mut bobs) = (browser(&bed), browser(&bed));
    let adas_page = sign_in_from(&mut adas, &bed, &adas_link, ADA).await;
    let bobs_page = sign_in_from(&mut bobs, &bed, &bobs_link, BOB).await;
    // Bob has Ada's browser finish what he began: his account would become hers. And the other way about.
    let adas_back = way_back(&mut adas, &bed, &adas_page).await;
    let bobs_back = way_back(&mut bobs, &bed, &bobs_page).await;
    adas.open(bobs_back.as_str()).await.assert_says(400, "This sign-in cannot be completed");
    bobs.open(adas_back.as_str()).await.assert_says(400, "This sign-in cannot be completed");
    let mut stranger = browser(&bed);
    stranger.open(adas_back.as_str()).await.assert_says(400, "This sign-in cannot be completed");
    assert_eq!((status(&bed, "ada").await, status(&bed, "bob").await), (401, 401));
}

#[tokio::test]
async fn an_answer_of_the_service_that_was_changed_connects_nothing() {
    let bed = bed().await;
    let (senseless, cannot) = ("This request makes no sense here", "This sign-in cannot be completed");
    let cases = [
        ("state", None, 400, senseless),
        ("state", Some("another"), 400, cannot),
        ("code", None, 400, senseless),
        ("code", Some("another"), 400, cannot),
        ("iss", Some("https://evil.example"), 400, "This answer is from the wrong place"),
    ];
    for (name, value, code, heading) in cases {
        let link = link(&bed, "ada").await;
        let mut browser = browser(&bed);
        let page = sign_in_from(&mut browser, &bed, &link, ADA).await;
        let back = way_back(&mut browser, &bed, &page).await;
        browser.open(&with(&back, name, value)).await.assert_says(code, heading);
        assert_eq!(status(&bed, "ada").await, 401);
    }
    let link = link(&bed, "ada").await;
    let mut browser = browser(&bed);
    let page = sign_in_from(&mut browser, &bed, &link, ADA).await;
    let back = way_back(&mut browser, &bed, &page).await;
    // At the address of another connector, whose service would have got the code.
    let elsewhere = back.as_str().replace("/callback/mail?", "/callback/another?");
    browser.open(&elsewhere).await.assert_says(400, "This answer is from the wrong place");
    browser.open(back.as_str()).await.assert_says(400, cannot);
    let nowhere = back.as_str().replace("/callback/mail?", "/callback?");
    browser.open(&nowhere).await.assert_says(404, "There is no such page");
    assert_eq!(status(&bed, "ada").await, 401);
    let page = browser.open(&link).await;
    let back = way_back(&mut browser, &bed, &page).await;
    let back = with(&Url::parse(&with(&back, "code", None)).expect("one"), "error", Some("access_denied"));
    browser.open(&back).await.assert_says(403, "Nothing has been connected");
    assert_eq!(status(&bed, "ada").await, 401);
}

#[tokio::test]
async fn another_agent_has_to_be_agreed_to_and_can_be_declined() {
    let bed = bed().await;
    let mut browser = browser(&bed);
    connect(&mut browser, &bed, &link(&bed, "ada").await).await.assert_says(200, "mail is connected");
    let others = bed.authorization_server.subject_token("ada").agent("another-agent").mint();
    let ask = async |token: &str| {
        let refused = refusal(bed.get(PATH, token).await).await;
        assert_refused(&refused, 401, "connection_required");
        refused.2["connect_url"].as_str().expect("a link").to_owned()
    };
    let first = ask(&others).await;
    let page = browser.open(&first).await;
    page.assert_says(200, "Let another agent use mail?");
    let path = first.strip_prefix(PUBLIC).expect("a link of ours").to_owned();
    browser.submit(&page, &format!("{path}/decline")).await.assert_says(200, "Declined");
    browser.open(&first).await.assert_says(410, "This link does not lead anywhere any more");
    // That agent hears it, and gets no other link; a third one may ask.
    let refused = refusal(bed.get(PATH, &others).await).await;
    assert_refused(&refused, 403, "connection_declined");
    assert!(refused.2.get("connect_url").is_none(), "{}", refused.2);
    let thirds = bed.authorization_server.subject_token("ada").agent("third-agent").mint();
    let second = ask(&thirds).await;
    let page = browser.open(&second).await;
    let path = second.strip_prefix(PUBLIC).expect("a link of ours").to_owned();
    browser.submit(&page, &format!("{path}/agree")).await.assert_says(200, "mail can be used");
    assert_eq!(bed.get(PATH, &thirds).await.status(), 200);
    assert_eq!(bed.get(PATH, &others).await.status(), 403);
    let page = browser.open(&account("/")).await;
    assert!(page.text.contains("third-agent") && page.text.contains("demo-agent"), "{}", page.text);
    assert!(!page.text.contains("another-agent"), "{}", page.text);
}

#[tokio::test]
async fn a_form_does_what_it_is_for_and_to_nothing_else() {
    let bed = bed().await;
    let mut browser = browser(&bed);
    let link = link(&bed, "ada").await;
    let page = sign_in_from(&mut browser, &bed, &link, ADA).await;
    let path = link.strip_prefix(PUBLIC).expect("a link of ours").to_owned();
    // The token that declines does not begin, and the other way about.
    let decline = page.form(&format!("{path}/decline"));
    let begin = Url::parse(&format!("{PUBLIC}{}", page.link("/begin?"))).expect("an address");
    let begin = begin.query_pairs().next().expect("a token").1.into_owned();
    let address = format!("{link}/begin?token={}", decline[0].1);
    browser.open(&address).await.assert_says(403, "This did not come from your page");
    let begin = [("token".to_owned(), begin)];
    browser
        .post(&format!("{link}/decline"), &begin, &OURS)
        .await
        .assert_says(403, "This did not come from your page");
    let cross = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
    browser
        .post(&format!("{link}/decline"), &decline, &cross)
        .await
        .assert_says(403, "This did not come from your page");
    let back = way_back(&mut browser, &bed, &page).await;
    browser.open(back.as_str()).await.assert_says(200, "mail is connected");
    let page = browser.open(&account("/")).await;
    let mut form = page.form("/account/disconnect");
    form.iter_mut().find(|(name, _)| name == "connector").expect("a field").1 = "another".to_owned();
    browser
        .post(&account("/disconnect"), &form, &OURS)
        .await
        .assert_says(403, "This did not come from your page");
    assert_eq!(status(&bed, "ada").await, 200);
}
