//! Against the development authorization server, at times that the tests choose.

use std::time::Duration;

use serde_json::json;

use crate::audit::RequestId;
use crate::clock::Now;
use crate::credential::testing::{Bed, late};
use crate::credential::{Credential, ObtainError};
use crate::demo::authorization_server::{Endpoint, Fault, GrantKind};
use crate::demo::script::Reply;
use crate::identity::{Issuer, Person, Realm, Subject};
use crate::metrics::CacheLookup;
use crate::oauth::Reuse;
use crate::oauth::exchange::ExchangeError;
use crate::tool::IdentityMode;

async fn obtained(bed: &Bed, who: &str, now: Now) -> Credential {
    bed.credential(&bed.application_permit(who, "mail"), now).await.expect("a token")
}

#[tokio::test]
async fn everybody_shares_the_applications_token_and_no_two_connectors_do() {
    let bed = Bed::start(Reuse::Identity).await;
    let now = Now::read();
    let first = obtained(&bed, "ada", now).await;
    assert_eq!((first.identity(), first.lookup()), (IdentityMode::AppOnly, CacheLookup::Miss));
    let second = obtained(&bed, "bob", now).await;
    assert_eq!(second.lookup(), CacheLookup::Hit);
    assert_eq!(first.authorization(), second.authorization());
    let other = bed.application_permit("ada", "notes");
    assert_eq!(bed.obtain(&other, now).await.expect("a token"), CacheLookup::Miss);
    let asked = bed.demo.exchanges();
    assert_eq!(asked.iter().map(|asked| asked.grant).collect::<Vec<_>>(), [GrantKind::ClientCredentials; 2]);
    for asked in &asked {
        let names: Vec<_> = asked.form.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["grant_type", "scope", "client_id", "client_secret"], "nothing of the person's");
    }
}

#[tokio::test]
async fn a_person_who_is_forgotten_takes_no_token_of_the_applications_along() {
    let bed = Bed::start(Reuse::Identity).await;
    let now = Now::read();
    obtained(&bed, "ada", now).await;
    let realm = Realm::Issuers([Issuer::new(bed.demo.issuer())].into());
    let subject = Subject::new(bed.demo.person("ada").oid.as_str());
    assert_eq!(bed.cache.forget(&Person { realm, subject }, Now::read()), 0);
    assert_eq!(obtained(&bed, "ada", now).await.lookup(), CacheLookup::Hit);
}

#[tokio::test]
async fn callers_on_a_cold_key_share_one_request_that_outlives_the_first_of_them() {
    let bed = Bed::start(Reuse::Identity).await;
    let (permit, now) = (bed.application_permit("ada", "mail"), Now::read());
    bed.demo.script(Endpoint::Token).once(Reply::normal().after(Duration::from_millis(300)));
    let gone = tokio::time::timeout(Duration::from_millis(100), bed.obtain(&permit, now)).await;
    gone.expect_err("it leaves before there is an answer");
    let all = futures_util::future::join_all((0..20).map(|_| bed.obtain(&permit, now))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(bed.exchanges(), 1);
}

#[tokio::test]
async fn a_token_in_use_is_renewed_in_the_background() {
    let bed = Bed::start(Reuse::Identity).await;
    let now = Now::read();
    let old = obtained(&bed, "ada", now).await;
    assert_eq!(obtained(&bed, "bob", late(now)).await.authorization(), old.authorization());
    bed.until(|bed| bed.refreshes("renewed")).await;
    assert_eq!(bed.exchanges(), 2);
    assert_ne!(obtained(&bed, "ada", Now::read()).await.authorization(), old.authorization());
}

#[tokio::test]
async fn while_the_server_is_down_the_old_token_serves() {
    let bed = Bed::start(Reuse::Identity).await;
    let now = Now::read();
    obtained(&bed, "ada", now).await;
    bed.demo.script(Endpoint::Token).always(Reply::status(503));
    obtained(&bed, "ada", late(now)).await;
    bed.until(|bed| bed.refreshes("failed")).await;
    assert_eq!(obtained(&bed, "ada", late(now)).await.lookup(), CacheLookup::Hit);
}

#[tokio::test]
async fn what_the_server_withdraws_serves_no_more() {
    let bed = Bed::start(Reuse::Identity).await;
    let now = Now::read();
    obtained(&bed, "ada", now).await;
    bed.demo.refuse_application(Fault::blocked());
    obtained(&bed, "ada", late(now)).await;
    bed.until(|bed| bed.refreshes("withdrawn")).await;
    bed.obtain(&bed.application_permit("ada", "mail"), late(now)).await.expect_err("no token any more");
}

#[tokio::test]
async fn a_refusal_is_remembered_for_everybody_and_what_may_pass_is_not() {
    let bed = Bed::start(Reuse::Identity).await;
    let now = Now::read();
    bed.demo.refuse_application(Fault::blocked());
    for who in ["ada", "bob", "ada"] {
        let error = bed.obtain(&bed.application_permit(who, "mail"), now).await.expect_err("blocked");
        assert!(matches!(error, ObtainError::Application(ExchangeError::Refused { .. })), "{error:?}");
    }
    assert_eq!(bed.exchanges(), 1);
    bed.demo.allow_application();
    let later = now.after(Duration::from_secs(3));
    bed.obtain(&bed.application_permit("ada", "mail"), later).await.expect("a token");

    let bed = Bed::start(Reuse::Identity).await;
    bed.demo.script(Endpoint::Token).once(Reply::json(200, &json!([])));
    bed.obtain(&bed.application_permit("ada", "mail"), now).await.expect_err("of no use");
    bed.obtain(&bed.application_permit("ada", "mail"), now).await.expect("a token");
}

#[tokio::test]
async fn a_token_that_speaks_for_a_person_is_never_the_applications() {
    let bed = Bed::start(Reuse::Identity).await;
    let now = Now::read();
    bed.obtain(&bed.permit(), now).await.expect("a delegated token");
    let persons = bed.demo.last_issued().expect("a token");
    let answer = json!({"access_token": persons, "token_type": "Bearer", "expires_in": 300});
    bed.demo.script(Endpoint::Token).once(Reply::json(200, &answer));
    let error = bed.obtain(&bed.application_permit("ada", "mail"), now).await.expect_err("it is Ada's");
    assert!(matches!(error, ObtainError::Application(ExchangeError::Unusable { .. })), "{error:?}");
}

#[tokio::test]
async fn a_token_that_is_turned_away_is_replaced_once_and_then_not_for_a_while() {
    let bed = Bed::start(Reuse::Identity).await;
    let (permit, now) = (bed.application_permit("ada", "mail"), Now::read());
    let renew = async |old: &Credential, claims: Option<&str>, now: Now| {
        bed.credentials.renew(&permit, old, claims, RequestId::next(), now).await.expect("no refusal")
    };
    let fresh = obtained(&bed, "ada", now).await;
    assert!(renew(&fresh, None, now).await.is_none(), "it has only just been obtained");
    let kept = obtained(&bed, "bob", now).await;
    let new = renew(&kept, None, now).await.expect("another one");
    assert_ne!(new.authorization(), kept.authorization());
    let kept = obtained(&bed, "ada", now).await;
    assert_eq!(kept.authorization(), new.authorization(), "the old one is gone");
    assert!(renew(&kept, None, now).await.is_none(), "it replaced another a moment ago");
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;
    let demanded = renew(&kept, Some(claims), now).await.expect("another one, with the claims");
    assert!(renew(&demanded, Some(claims), now).await.is_none(), "it has what was demanded");
    let asked = bed.demo.exchanges();
    assert_eq!((asked.len(), asked[2].parameter("claims")), (3, Some(claims)));
}

#[tokio::test]
async fn a_request_for_an_application_token_has_a_record_that_names_no_person() {
    let bed = Bed::start(Reuse::Identity).await;
    obtained(&bed, "ada", Now::read()).await;
    let records = bed.records().await;
    let [record] = records.as_slice() else { panic!("one record: {records:#?}") };
    let gateway = bed.demo.settings().gateway.client_id.as_str();
    assert_eq!((&record["user"]["uid"], &record["user"]["type_id"]), (&gateway.into(), &4.into()));
    assert_eq!(record["unmapped"]["obo"]["grant"], "client_credentials");
    assert!(!record.to_string().contains(&bed.demo.person("ada").oid), "{record:#}");
    let full = bed.full_trail();
    bed.credential(&bed.application_permit("ada", "notes"), Now::read()).await.expect_err("no place");
    assert_eq!(bed.exchanges(), 1);
    drop(full);
}
