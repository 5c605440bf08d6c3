//! What somebody can do who has a browser and no account, or is forgotten while they sign in.

use obo_gateway::demo::authorization_server::Endpoint;
use obo_gateway::demo::script::Reply;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{ADA, BOB, assert_signed_out, bed, browser, issuer, sign_in, way_back};
use crate::bed::{TestBed, outcome};

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
