//! What somebody can do who has a browser and no account, or is forgotten while they sign in.

use std::net::{IpAddr, Ipv4Addr};

use obo_gateway::demo::authorization_server::Endpoint;
use obo_gateway::demo::script::Reply;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{ADA, BOB, account, assert_signed_out, bed, browser, issuer, sign_in, way_back, with};
use crate::bed::{TestBed, outcome};
use crate::browser::{Browser, Page};

/// How many sign-ins of one address are completed at a time, and how many may fail before it has to wait.
const AT_A_TIME: usize = 8;
const FAILING: usize = 30;
const WAIT: &str = "Too many sign-ins come from where you are";

#[track_caller]
fn assert_has_to_wait(page: &Page) {
    page.assert_says(429, WAIT);
    assert_eq!(page.headers["retry-after"], "10");
}

fn codes_sent(bed: &TestBed) -> usize {
    bed.authorization_server.fetches(Endpoint::Token)
}

/// Waits until the issuer has been sent so many codes.
async fn until_sent(bed: &TestBed, codes: usize) {
    let sent = async {
        while codes_sent(bed) < codes {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(10), sent).await;
    assert!(waited.is_ok(), "{} of {codes}", codes_sent(bed));
}

async fn bad_code(browser: &mut Browser, bed: &TestBed) -> Page {
    let back = way_back(browser, bed).await;
    browser.open(&with(&back, "code", Some("another"))).await
}

#[tokio::test]
async fn who_is_forgotten_while_they_sign_in_is_not_signed_in() {
    // What happened: forgetting a person ended the sessions that there were, and a sign-in whose code was at the issuer just
    // then began another one.
    let bed = bed().await;
    let (mut adas, mut bobs) = (browser(&bed), browser(&bed));
    let ways = [way_back(&mut adas, &bed).await, {
        let page = super::to_the_issuer(&mut bobs).await;
        Url::parse(&bobs.pick_only(&page, &issuer(&bed), BOB).await).expect("an address")
    }];
    let release = CancellationToken::new();
    bed.authorization_server.script(Endpoint::Token).times(2, &Reply::normal().held_until(release.clone()));
    let [adas_way, bobs_way] = ways.map(String::from);
    let forgotten = async {
        until_sent(&bed, 2).await;
        let tenant = &bed.authorization_server.settings().tenant;
        let url = format!("http://{}/forget?tenant={tenant}&subject={ADA}", bed.gateway.admin_address());
        let response = crate::bed::client().post(url).send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), 200, "{:?}", response.text().await);
        release.cancel();
    };
    let (adas_page, bobs_page, ()) = tokio::join!(adas.open(&adas_way), bobs.open(&bobs_way), forgotten);
    adas_page.assert_says(409, "You were forgotten while you signed in");
    assert_signed_out(&adas);
    bobs_page.assert_says(200, "Your connections");
    let records = bed.authentications().await;
    let adas_record = records.iter().find(|record| outcome(record) == "forgotten").expect("a record");
    assert_eq!(adas_record["user"]["uid"], ADA, "{adas_record:#}");
    sign_in(&mut adas, &bed, ADA).await.assert_says(200, "Your connections");
}

#[tokio::test]
async fn one_address_has_some_sign_ins_completed_at_a_time_and_the_others_wait() {
    // What happened: whoever had an issuer wait with its answers, thirty-two times, kept everybody else from signing in.
    let bed = bed().await;
    let mut waiting = Vec::new();
    for _ in 0..AT_A_TIME {
        let mut browser = browser(&bed);
        let back = way_back(&mut browser, &bed).await;
        waiting.push((browser, back));
    }
    let mut late = browser(&bed);
    let late_way = way_back(&mut late, &bed).await;
    let mut elsewhere = browser(&bed).coming_from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));
    let way_elsewhere = way_back(&mut elsewhere, &bed).await;

    let release = CancellationToken::new();
    let held = Reply::normal().held_until(release.clone());
    bed.authorization_server.script(Endpoint::Token).times(AT_A_TIME, &held);
    let mut under_way = JoinSet::new();
    for (mut browser, back) in waiting {
        under_way.spawn(async move { browser.open(back.as_str()).await.status });
    }
    until_sent(&bed, AT_A_TIME).await;
    assert_has_to_wait(&late.open(late_way.as_str()).await);
    assert_eq!(codes_sent(&bed), AT_A_TIME);
    elsewhere.open(way_elsewhere.as_str()).await.assert_says(200, "Your connections");
    release.cancel();
    assert!(under_way.join_all().await.iter().all(|status| *status == 200));
    // What came was not used, so it is still good.
    late.open(late_way.as_str()).await.assert_says(200, "Your connections");
}

#[tokio::test]
async fn who_makes_up_codes_is_soon_not_believed_and_others_are() {
    let bed = bed().await;
    let mut stranger = browser(&bed);
    for _ in 0..FAILING {
        bad_code(&mut stranger, &bed).await.assert_says(400, "This sign-in cannot be completed");
    }
    let mut page = bad_code(&mut stranger, &bed).await;
    // One is forgiven every two seconds, and this machine may be slow.
    for _ in 0..FAILING {
        if page.status == 429 {
            break;
        }
        page = bad_code(&mut stranger, &bed).await;
    }
    assert_has_to_wait(&page);
    let mut elsewhere = browser(&bed).coming_from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));
    sign_in(&mut elsewhere, &bed, ADA).await.assert_says(200, "Your connections");
    let outcomes: Vec<_> = bed.authentications().await.iter().map(outcome).collect();
    assert!(outcomes.contains(&"too_many".to_owned()), "{outcomes:?}");
}

#[tokio::test]
async fn people_who_do_sign_in_are_not_counted_against_their_address() {
    let bed = bed().await;
    for _ in 0..=FAILING {
        sign_in(&mut browser(&bed), &bed, ADA).await.assert_says(200, "Your connections");
    }
}

#[tokio::test]
async fn a_state_is_good_for_one_code() {
    // What happened: the browser itself keeps a sign-in that is under way, and one that kept it for longer than it was told to had as
    // many codes sent to the issuer as it made up.
    let bed = bed().await;
    let mut stranger = browser(&bed);
    let back = way_back(&mut stranger, &bed).await;
    let kept = stranger.gateway_cookies()[0].1.to_owned();
    let cannot = "This sign-in cannot be completed";
    for code in ["another", "and-another"] {
        stranger.plant("__Host-obo-flow", &kept);
        stranger.open(&with(&back, "code", Some(code))).await.assert_says(400, cannot);
    }
    stranger.plant("__Host-obo-flow", &kept);
    stranger.open(back.as_str()).await.assert_says(400, cannot);
    assert_eq!(codes_sent(&bed), 1);
    assert_signed_out(&stranger);
    stranger.open(&account("/")).await.assert_says(200, "Sign in");
}
