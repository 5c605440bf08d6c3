//! What a person is shown: all that goes on to the connector, readable, and as nothing but text.

use reqwest::Method;
use serde_json::json;

use super::{ADA, bed, bed_with, browser, held, open, post, send};
use crate::bed::TestBed;
use crate::browser::Page;

async fn shown(bed: &TestBed, link: &str) -> Page {
    let page = open(&mut browser(bed), bed, link, ADA).await;
    page.assert_says(200, "May this run?");
    page
}

#[track_caller]
fn assert_shows(page: &Page, texts: &[&str]) {
    for text in texts {
        assert!(page.text.contains(text), "no {text} in {}", page.text);
    }
}

#[tokio::test]
async fn what_would_mislead_a_reader_is_made_visible_and_nothing_is_markup() {
    let bed = bed().await;
    let subject = "\u{202e}evil\u{200b}</pre><script>alert(1)</script><form action=\"https://evil.example\">&amp;\u{0}\u{1b}[2J";
    let link = held(send(&bed, &bed.token("ada"), &json!({ "subject": subject })).await).await;
    let page = shown(&bed, &link).await;
    let odd = |code: &str| format!("<span class=\"odd\">{code}</span>");
    assert_shows(&page, &[&odd("U+202E"), &odd("U+200B"), "\\u0000", "\\u001b[2J"]);
    for character in ['\u{202e}', '\u{200b}', '\u{0}', '\u{1b}'] {
        assert!(!page.text.contains(character), "{character:?}");
    }
    for markup in ["<script", "</pre><", "<form action=", "&amp;amp;\\"] {
        assert!(!page.text.contains(markup), "{markup}: {}", page.text);
    }
    assert!(page.text.contains("&lt;script&gt;") || page.text.contains("&#60;script&#62;"), "{}", page.text);
}

#[tokio::test]
async fn nothing_is_cut_off() {
    let bed = bed().await;
    let list: Vec<String> = (0..2_000).map(|number| format!("recipient-{number}@contoso.example")).collect();
    let link = held(send(&bed, &bed.token("ada"), &json!({ "to": list, "last": "the end" })).await).await;
    let page = shown(&bed, &link).await;
    assert_shows(&page, &["recipient-0@", "recipient-1000@", "recipient-1999@", "the end"]);
}

#[tokio::test]
async fn forms_and_text_are_read_as_what_they_are_and_go_on_as_they_were_shown() {
    let bed = bed().await;
    let token = bed.token("ada");
    let form = post(
        &bed,
        &token,
        "/mail/echo",
        "application/x-www-form-urlencoded",
        "to=bob%40x.example&note=a+b%0Ac&to=eve",
    )
    .await;
    let page = shown(&bed, &held(form).await).await;
    assert_shows(
        &page,
        &["Body (application/x-www-form-urlencoded)", "bob@x.example", "a b\nc", "<code>to</code>"],
    );
    assert_eq!(page.text.matches("<code>to</code>").count(), 2, "{}", page.text);
    let odd = post(&bed, &token, "/mail/echo", "application/x-www-form-urlencoded", "a=1;b=2").await;
    assert_shows(&shown(&bed, &held(odd).await).await, &["a=1;b=2"]);

    let text = "\nDelete é <all>\r\nand\u{2028}more";
    let link = held(post(&bed, &token, "/mail/echo", "text/plain", text).await).await;
    let page = shown(&bed, &link).await;
    assert_shows(
        &page,
        &[
            "Body (text/plain; charset=utf-8)",
            "<pre tabindex=\"0\" role=\"region\" aria-labelledby=\"part1\">\n\nDelete é ",
            "U+2028",
        ],
    );
    super::agree(&bed, &link).await;
    let ran = post(&bed, &token, "/mail/echo", "text/plain", text).await;
    assert_eq!(ran.status(), 200);
    let seen = bed.connector.only_request();
    assert_eq!(seen.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(seen.contains(text.as_bytes()));
}

#[tokio::test]
async fn json_goes_on_as_it_was_read() {
    let bed = bed().await;
    let token = bed.token("ada");
    let body = "{ \"a\" : 1,\n \"b\\u0063\" : [ true ] }";
    let call = || post(&bed, &token, "/mail/echo", "application/merge-patch+json; charset=UTF-8", body);
    super::agree(&bed, &held(call().await).await).await;
    assert_eq!(call().await.status(), 200);
    let seen = bed.connector.only_request();
    assert_eq!(seen.header("content-type"), Some("application/merge-patch+json"));
    assert!(seen.contains(br#"{"a":1,"bc":[true]}"#));
}

#[tokio::test]
async fn address_parameters_and_header_fields_are_shown_as_they_go_on() {
    let bed = bed().await;
    let request = bed
        .request(Method::GET, "/mail/me/messages/caf%C3%A9?$select=a%20b&to=x%26y")
        .bearer_auth(bed.token("ada"));
    let request = request
        .header("x-tenant", "fabrikam")
        .header("prefer", "return=minimal")
        .header("x-stays-behind", "1");
    let link = held(request.send().await.expect("an answer")).await;
    let page = shown(&bed, &link).await;
    assert_shows(
        &page,
        &[
            "GET /me/messages/caf%C3%A9?$select=a%20b",
            "/me/messages/café",
            "a b",
            "x-tenant",
            "fabrikam",
            "prefer",
        ],
    );
    assert!(page.text.contains("x&#38;y") || page.text.contains("x&amp;y"), "{}", page.text);
    assert!(!page.text.contains("stays-behind"), "{}", page.text);
    assert!(!page.text.contains("Body"), "{}", page.text);
    // What `Connection` takes away does not go on, and is not shown as if it did.
    let request = bed.request(Method::GET, "/mail/me/messages/1").bearer_auth(bed.token("ada"));
    let request = request.header("connection", "x-tenant").header("x-tenant", "fabrikam");
    let link = held(request.send().await.expect("an answer")).await;
    assert!(!shown(&bed, &link).await.text.contains("fabrikam"));
}

#[tokio::test]
async fn a_flag_in_the_arguments_is_an_argument() {
    let bed = bed().await;
    let token = bed.token("ada");
    for flag in [
        json!({ "confirm": true, "confirmed": true, "user_confirmed": "yes" }),
        json!({ "_meta": { "obo-gateway/confirmed": true } }),
    ] {
        let link = held(send(&bed, &token, &flag).await).await;
        assert_shows(&shown(&bed, &link).await, &["confirmed"]);
    }
    let request = bed.request(Method::POST, "/mail/me/sendMail?confirm=true&confirmed=1").bearer_auth(&token);
    let request = request.header("x-confirmed", "true").header("obo-confirmed", "true");
    held(request.json(&json!({})).send().await.expect("an answer")).await;
    assert!(bed.connector.requests().is_empty());
}

#[tokio::test]
async fn arguments_that_policy_reads_are_shown_with_the_rest_of_the_body() {
    let tools = "    tools:
      send_message:
        match: POST /me/sendMail
        scopes: [Mail.Send]
        confirm: true
        arguments: { subject: { type: string, body: /message/subject } }
";
    let bed = bed_with(tools, "").await;
    let token = bed.token("ada");
    let link = held(send(&bed, &token, &super::mail("Lunch?")).await).await;
    assert_shows(&shown(&bed, &link).await, &["Lunch?", "See you at noon."]);
    super::agree(&bed, &link).await;
    assert_eq!(send(&bed, &token, &super::mail("Lunch?")).await.status(), 202);
}
