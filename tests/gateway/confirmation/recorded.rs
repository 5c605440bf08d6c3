//! What a person answers on the page of a call is recorded once, and without a place for its record it is no answer.

use obo_gateway::audit::Slot;

use super::*;

fn deeds(records: &[Value]) -> Vec<String> {
    let text = |record: &Value, name: &str| record["unmapped"]["obo"][name].as_str().unwrap_or("").to_owned();
    let deeds = records.iter().filter(|record| record["unmapped"]["obo"]["kind"] != "exchange");
    deeds.map(|record| format!("{} {}", text(record, "kind"), text(record, "outcome"))).collect()
}

#[tokio::test]
async fn each_answer_has_a_record_that_says_whose_it_is_and_about_which_call() {
    let bed = bed().await;
    let token = bed.token("ada");
    let (agreed, declined) = (
        held(send(&bed, &token, &mail("one")).await).await,
        held(send(&bed, &token, &mail("two")).await).await,
    );
    open(&mut browser(&bed), &bed, &agreed, BOB).await.assert_says(403, "This link is for somebody else");
    agree(&bed, &agreed).await;
    let mut adas = browser(&bed);
    let page = open(&mut adas, &bed, &declined, ADA).await;
    answer(&mut adas, &page, &declined, "decline").await.assert_says(200, "Declined");
    let records = bed.authentications().await;
    let expected = [
        "sign_in signed_in",
        "foreign_link other_person",
        "sign_in signed_in",
        "confirmation confirmed",
        "sign_in signed_in",
        "confirmation_decline declined",
    ];
    assert_eq!(deeds(&records), expected);
    let confirmation =
        records.iter().find(|record| record["unmapped"]["obo"]["kind"] == "confirmation").expect("a record");
    let path = agreed.strip_prefix(PUBLIC).expect("a link of ours");
    for (pointer, expected) in [
        ("/user/uid", ADA),
        ("/unmapped/obo/agent", "demo-agent"),
        ("/unmapped/obo/connector", "mail"),
        ("/unmapped/obo/tool", "send_message"),
        ("/unmapped/obo/question", path.rsplit('/').next().expect("a name")),
        ("/http_request/url/path", &format!("{path}/agree")),
    ] {
        assert_eq!(confirmation.pointer(pointer), Some(&json!(expected)), "{pointer} {confirmation:#}");
    }
    assert!(!confirmation.to_string().contains("noon"), "{confirmation:#}");
}

#[tokio::test]
async fn without_a_place_for_the_record_nobody_agrees() {
    let bed = bed().await;
    let token = bed.token("ada");
    let link = held(send(&bed, &token, &mail("Lunch?")).await).await;
    let mut browser = browser(&bed);
    let page = open(&mut browser, &bed, &link, ADA).await;
    let trail = bed.gateway.audit();
    let mut places: Vec<Slot> = std::iter::from_fn(|| trail.reserve().ok()).collect();
    places.pop();
    answer(&mut browser, &page, &link, "agree").await.assert_says(503, "This cannot be done at the moment");
    drop(places);
    held(send(&bed, &token, &mail("Lunch?")).await).await;
    answer(&mut browser, &page, &link, "agree").await.assert_says(200, "You have agreed");
    assert_eq!(send(&bed, &token, &mail("Lunch?")).await.status(), 202);
}
