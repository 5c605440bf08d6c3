//! Against the development authorization server, at times that the tests choose.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::clock::Now;
use crate::credential::ObtainError;
use crate::credential::key::KeyFields;
use crate::credential::mode::ByMode;
use crate::credential::testing::{Bed, late};
use crate::demo::authorization_server::{Endpoint, Fault};
use crate::demo::script::Reply;
use crate::identity::{Authentication, Issuer, Person, Realm, Scopes, Subject, VerifiedClaims};
use crate::metrics::CacheLookup;
use crate::oauth::Reuse;
use crate::oauth::exchange::ExchangeError;
use crate::policy::Permit;

#[tokio::test]
async fn a_token_in_use_is_renewed_in_the_background_with_the_newest_subject_token() {
    let bed = Bed::start(Reuse::Identity).await;
    let now = Now::read();
    assert_eq!(bed.obtain(&bed.permit(), now).await.expect("a token"), CacheLookup::Miss);
    let newest = VerifiedClaims { expires_at: 9, ..bed.claims() };
    let token = bed.demo.subject_token("ada").mint();
    let newest = bed.permit_for(newest, token.clone());
    bed.obtain(&newest, now).await.expect("a token");
    assert_eq!(bed.exchanges(), 1);
    assert_eq!(bed.obtain(&bed.permit(), late(now)).await.expect("a token"), CacheLookup::Hit);
    bed.until(|bed| bed.refreshes("renewed")).await;
    assert_eq!(bed.exchanges(), 2);
    assert_eq!(bed.demo.exchanges()[1].parameter("assertion"), Some(token.as_str()));
}

#[tokio::test]
async fn while_the_server_is_down_the_old_token_serves() {
    let bed = Bed::start(Reuse::Identity).await;
    let (permit, now) = (bed.permit(), Now::read());
    bed.obtain(&permit, now).await.expect("a token");
    bed.demo.script(Endpoint::Token).always(Reply::status(503));
    assert_eq!(bed.obtain(&permit, late(now)).await.expect("a token"), CacheLookup::Hit);
    bed.until(|bed| bed.refreshes("failed")).await;
    assert_eq!(bed.obtain(&permit, late(now)).await.expect("a token"), CacheLookup::Hit);
}

#[tokio::test]
async fn what_the_server_withdraws_serves_no_more() {
    let bed = Bed::start(Reuse::Identity).await;
    let (permit, now) = (bed.permit(), Now::read());
    bed.obtain(&permit, now).await.expect("a token");
    bed.demo.refuse_exchanges("ada", Fault::blocked());
    assert_eq!(bed.obtain(&permit, late(now)).await.expect("a token"), CacheLookup::Hit);
    bed.until(|bed| bed.refreshes("withdrawn")).await;
    bed.obtain(&permit, late(now)).await.expect_err("no token any more");
}

#[tokio::test]
async fn a_persons_own_matter_is_not_asked_again_at_once_except_with_another_token() {
    let bed = Bed::start(Reuse::Identity).await;
    let (permit, now) = (bed.permit(), Now::read());
    bed.demo.refuse_exchanges("ada", Fault::blocked());
    for _ in 0..5 {
        bed.obtain(&permit, now).await.expect_err("blocked");
    }
    assert_eq!(bed.exchanges(), 1);
    bed.obtain(&bed.permit(), now).await.expect_err("blocked");
    assert_eq!(bed.exchanges(), 2, "another token may do better");
    bed.obtain(&permit, now.after(Duration::from_secs(3))).await.expect_err("blocked");
    assert_eq!(bed.exchanges(), 3);
}

#[tokio::test]
async fn what_may_pass_is_asked_again_at_once() {
    let bed = Bed::start(Reuse::Identity).await;
    let (permit, now) = (bed.permit(), Now::read());
    bed.demo.script(Endpoint::Token).once(Reply::json(200, &json!([])));
    bed.obtain(&permit, now).await.expect_err("of no use");
    bed.obtain(&permit, now).await.expect("a token");
}

#[tokio::test]
async fn whoever_waits_with_a_better_token_gets_an_exchange_of_their_own() {
    let bed = Bed::start(Reuse::Identity).await;
    let now = Now::read();
    let stale = bed.permit_for(bed.claims(), bed.demo.subject_token("ada").expired().mint());
    let fresh = bed.permit();
    let (refused, served) = tokio::join!(bed.obtain(&stale, now), bed.obtain(&fresh, now));
    refused.expect_err("its token has expired");
    assert_eq!(served.expect("a token"), CacheLookup::Miss);
    assert_eq!(bed.exchanges(), 2);
}

#[tokio::test]
async fn a_token_is_kept_for_as_much_as_the_site_says() {
    for (reuse, same_session, other_session, same_token) in [
        (Reuse::Identity, CacheLookup::Hit, CacheLookup::Hit, CacheLookup::Hit),
        (Reuse::Session, CacheLookup::Hit, CacheLookup::Miss, CacheLookup::Hit),
        (Reuse::Token, CacheLookup::Miss, CacheLookup::Miss, CacheLookup::Hit),
    ] {
        let bed = Bed::start(reuse).await;
        let now = Now::read();
        let session = |session: &str| VerifiedClaims { session: Some(session.into()), ..bed.claims() };
        let mint = || bed.demo.subject_token("ada").mint();
        let first = bed.permit_for(session("s-1"), mint());
        assert_eq!(bed.obtain(&first, now).await.expect("a token"), CacheLookup::Miss);
        let again = async |permit: Permit| bed.obtain(&permit, now).await.expect("a token");
        assert_eq!(again(first).await, same_token, "{reuse:?}");
        assert_eq!(again(bed.permit_for(session("s-1"), mint())).await, same_session, "{reuse:?}");
        assert_eq!(again(bed.permit_for(session("s-2"), mint())).await, other_session, "{reuse:?}");
    }
    let bed = Bed::start(Reuse::Session).await;
    let now = Now::read();
    assert_eq!(bed.obtain(&bed.permit(), now).await.expect("a token"), CacheLookup::Uncacheable, "no `sid`");
}

#[tokio::test]
async fn a_weaker_sign_in_is_not_served_what_a_stronger_one_was_given() {
    let bed = Bed::start(Reuse::Identity).await;
    let now = Now::read();
    let signed_in = |acr: &str, amr: &[&str]| {
        let amr = amr.iter().map(|method| Arc::from(*method)).collect();
        let authentication = Arc::new(Authentication { acr: Some(acr.into()), acrs: Vec::new(), amr });
        bed.permit_for(
            VerifiedClaims { authentication, ..bed.claims() },
            bed.demo.subject_token("ada").mint(),
        )
    };
    bed.obtain(&signed_in("1", &["mfa", "pwd"]), now).await.expect("a token");
    for weaker in [signed_in("0", &["mfa", "pwd"]), signed_in("1", &["pwd"])] {
        assert_eq!(bed.obtain(&weaker, now).await.expect("a token"), CacheLookup::Miss);
    }
    assert_eq!(bed.obtain(&signed_in("1", &["mfa", "pwd"]), now).await.expect("a token"), CacheLookup::Hit);
}

#[tokio::test]
async fn who_is_forgotten_during_an_exchange_is_asked_for_anew() {
    let bed = Bed::start(Reuse::Identity).await;
    let (permit, now) = (bed.permit(), Now::read());
    bed.demo.script(Endpoint::Token).once(Reply::normal().after(Duration::from_millis(300)));
    let forget = async {
        bed.until(|bed| bed.exchanges() == 1).await;
        let realm = Realm::Issuers([Issuer::new(bed.demo.issuer())].into());
        let subject = Subject::new(bed.demo.person("ada").oid.as_str());
        assert_eq!(bed.cache.forget(&Person { realm, subject }, Now::read()), 0);
    };
    let (obtained, ()) = tokio::join!(bed.obtain(&permit, now), forget);
    obtained.expect("a token, of an exchange that began afterwards");
    assert_eq!(bed.exchanges(), 2);
    let of_each = |record: &serde_json::Value| record["unmapped"]["obo"]["outcome"].clone();
    let outcomes: Vec<_> = bed.records().await.iter().map(of_each).collect();
    assert_eq!(outcomes, ["issued", "issued"], "also what nobody got is recorded");
}

#[tokio::test]
async fn each_exchange_has_a_record_before_anybody_has_its_token() {
    let bed = Bed::start(Reuse::Identity).await;
    let (permit, now) = (bed.permit(), Now::read());
    let first = bed.credential(&permit, now).await.expect("a token");
    let records = bed.records().await;
    let [record] = records.as_slice() else { panic!("one record: {records:#?}") };
    let exchange = first.note().exchange.expect("a record").to_string();
    assert_eq!(record["metadata"]["uid"], json!(exchange));
    assert_eq!(
        (&record["activity_id"], &record["unmapped"]["obo"]["outcome"]),
        (&json!(4), &json!("issued"))
    );
    let kept = bed.credential(&permit, now).await.expect("a token");
    assert_eq!(kept.note().exchange, first.note().exchange, "it is known where a kept token is from");
    assert_eq!(bed.records().await.len(), 1);

    bed.obtain(&permit, late(now)).await.expect("a token");
    bed.until(|bed| bed.refreshes("renewed")).await;
    let records = bed.records().await;
    let renewal = &records[1]["unmapped"]["obo"];
    assert_eq!((&records[1]["activity_id"], &renewal["renewal"]), (&json!(5), &json!(true)));
    assert_eq!(renewal["reason"], "refresh_ahead");

    bed.demo.refuse_exchanges("bob", Fault::blocked());
    let bob = VerifiedClaims { subject: Subject::new(bed.demo.person("bob").oid.as_str()), ..bed.claims() };
    let permit = bed.permit_for(bob, bed.demo.subject_token("bob").mint());
    bed.credential(&permit, now).await.expect_err("blocked");
    let records = bed.records().await;
    assert_eq!((&records[2]["status"], &records[2]["status_code"]), (&json!("Failure"), &json!("blocked")));
    assert_eq!(records[2]["user"]["uid"], json!(bed.demo.person("bob").oid));
    // The server is not asked again at once, so there is nothing to record.
    bed.credential(&permit, now).await.expect_err("blocked");
    assert_eq!(bed.records().await.len(), 3);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_exchanged() {
    let bed = Bed::start(Reuse::Identity).await;
    let (permit, now) = (bed.permit(), Now::read());
    let full = bed.full_trail();
    let error = bed.credential(&permit, now).await.expect_err("there is no place for the record");
    assert!(matches!(error, ObtainError::Exchange(ExchangeError::NotRecorded(_))), "{error}");
    assert_eq!(bed.exchanges(), 0);
    drop(full);
    bed.credential(&permit, now).await.expect("a token, as soon as there is a place");
    assert_eq!((bed.exchanges(), bed.records().await.len()), (1, 1));
    // What is kept needs no record, and what is not renewed serves on.
    let full = bed.full_trail();
    assert_eq!(bed.obtain(&permit, late(now)).await.expect("the old token"), CacheLookup::Hit);
    bed.until(|bed| bed.refreshes("failed")).await;
    assert_eq!(bed.exchanges(), 1);
    drop(full);
}

#[tokio::test]
async fn what_is_digested_once_for_a_caller_makes_the_key_of_all_their_fields() {
    let bed = Bed::start(Reuse::Identity).await;
    let permit = bed.permit();
    let ByMode::OnBehalfOf(persons) = ByMode::of(&permit) else { panic!("a tool for people") };
    let server = bed.credentials.on_behalf_of.server(persons).expect("it is configured");
    // The second time the digest is there.
    for _ in 0..2 {
        let (key, fields) = KeyFields::of(&permit, server).expect("a whole identity");
        assert_eq!(key, fields.key());
    }
    let other = bed.permit_for(
        VerifiedClaims { scopes: Scopes::parse("access_as_user more"), ..bed.claims() },
        bed.demo.subject_token("ada").mint(),
    );
    let (key, fields) = KeyFields::of(&other, server).expect("a whole identity");
    assert_eq!(key, fields.key());
    assert_ne!(key, KeyFields::of(&permit, server).expect("a whole identity").0);
}
