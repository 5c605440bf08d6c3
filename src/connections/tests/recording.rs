//! Whatever happens to a connection has one record, in every way it can end; and without a place for it, it does not happen.

use serde_json::Value;

use super::*;
use crate::audit::{AuditUnavailable, Slot};
use crate::oauth::exchange::ExchangeError;

impl Bed {
    /// Every record so far.
    pub(super) async fn records(&self) -> Vec<Value> {
        self.trail.flush().await;
        let trail = std::fs::read_to_string(self.folder.path().join("audit.jsonl")).expect("a trail");
        trail.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    }

    /// What each record is of, and what came of it, from record `from` on.
    pub(super) async fn recorded_from(&self, from: usize) -> Vec<String> {
        let text = |record: &Value, name: &str| record["unmapped"]["obo"][name].as_str().map(str::to_owned);
        let shown = |record: &Value| {
            format!(
                "{} {}",
                text(record, "kind").unwrap_or_default(),
                text(record, "outcome").unwrap_or_default()
            )
        };
        self.records().await[from..].iter().map(shown).collect()
    }

    /// The records that come in the course of `work`, once there are `count` of them, and a moment later still.
    async fn recorded<T>(&self, count: usize, work: impl Future<Output = T>) -> (Vec<String>, T) {
        let before = self.records().await.len();
        let result = work.await;
        for _ in 0..100 {
            if self.records().await.len() >= before + count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        (self.recorded_from(before).await, result)
    }

    /// Takes all places for records but some.
    fn leave_places(&self, count: usize) -> Vec<Slot> {
        let mut places: Vec<Slot> = std::iter::from_fn(|| self.trail.reserve().ok()).collect();
        places.truncate(places.len() - count);
        places
    }
}

#[tokio::test]
async fn a_connections_life_has_a_record_for_each_thing_that_happens() {
    let bed = Bed::start().await;
    let (records, _) = bed.recorded(1, bed.connect("ada", "planner")).await;
    assert_eq!(records, ["connect connected"]);
    let (records, _) = bed.recorded(0, bed.call("ada", "planner")).await;
    assert_eq!(records, [""; 0], "that a call uses it, the call's record says");
    let (records, _) = bed.recorded(1, bed.call_at("ada", "planner", later())).await;
    assert_eq!(records, ["exchange issued"]);

    let ask = || bed.connections.ask(&wanted("ada", "other"), Missing::Consent, Now::read());
    let visit = visit("ada");
    let declined = async { bed.connections.decline(&ask(), &holder("ada"), &visit, Now::read()) };
    assert_eq!(bed.recorded(1, declined).await.0, ["decline declined"]);
    assert!(bed.counted("declined") && !bed.counted("refused"), "nothing failed");
    let agreed = async { bed.connections.agree(&ask(), &holder("ada"), &visit, Now::read()).await };
    let (records, agreed) = bed.recorded(1, agreed).await;
    assert_eq!((records, agreed.is_ok()), (vec!["consent consented".to_owned()], true));

    let mail = ConnectorName::new("mail");
    let disconnect = async || bed.connections.disconnect(&holder("ada"), &mail, &visit).await;
    let (records, _) = bed.recorded(2, disconnect()).await;
    assert_eq!(records, ["disconnect disconnected", "service_revocation revoked"]);
    let (records, _) = bed.recorded(0, disconnect()).await;
    assert_eq!(records, [""; 0], "there was nothing to disconnect");
}

#[tokio::test]
async fn what_comes_to_nothing_is_recorded_with_why() {
    let bed = Bed::start().await;
    let ticket = bed.ask("ada", "planner");
    let answered = async || bed.sign_in(&bed.begin(&ticket, "ada").await, "ada").await;
    let check = async |answered: Answered, who: &str, expected: &str| {
        let (records, result) = bed.recorded(1, bed.complete(&answered, who)).await;
        assert!(result.is_err());
        assert_eq!(records, [format!("connect {expected}")]);
    };
    let good = answered().await;
    check(Answered { state: "guessed".to_owned(), ..good.clone() }, "ada", "not_begun").await;
    check(Answered { iss: Some("https://evil.example".to_owned()), ..good }, "ada", "other_server").await;
    check(answered().await, "bob", "other_person").await;
    check(Answered { code: None, ..answered().await }, "ada", "no_code").await;
    let error = |error: &str| (None, Some(error.to_owned()));
    let (code, denied) = error("access_denied");
    check(Answered { code, error: denied, ..answered().await }, "ada", "declined_at_service").await;
    assert!(bed.counted("declined"), "a person's no, wherever they say it");
    let (code, failed) = error("server_error");
    check(Answered { code, error: failed, ..answered().await }, "ada", "service_error").await;
    let good = answered().await;
    bed.server.script(Endpoint::Token).once(Reply::json(200, &serde_json::json!({})));
    check(good, "ada", "unusable_answer").await;

    let (bob, bobs) = (holder("bob"), visit("bob"));
    let foreign = bed.connections.begin(&ticket, &bob, BROWSER, &bobs, Now::read());
    assert_eq!(bed.recorded(1, foreign).await.0, ["foreign_link other_person"]);
    let record = bed.records().await.pop().expect("a record");
    assert_eq!((&record["user"]["uid"], &record["unmapped"]["obo"]["owner"]), (&"bob".into(), &"ada".into()));
    let (ada, adas) = (holder("ada"), visit("ada"));
    let nothing = bed.connections.agree(&ticket, &ada, &adas, Now::read());
    assert_eq!(bed.recorded(1, nothing).await.0, ["consent no_connection"]);
    // The vault takes nothing: what the service gave goes back.
    let good = answered().await;
    bed.connections.held.vault.fail_writes(true).await;
    let (records, _) = bed.recorded(2, bed.complete(&good, "ada")).await;
    assert_eq!(records, ["connect vault_unavailable", "service_revocation revoked"]);
}

#[tokio::test]
async fn a_refresh_is_recorded_with_the_call_it_is_for_and_before_anybody_uses_what_came() {
    let mut bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    let connected = bed.records().await.pop().expect("a record")["metadata"]["uid"].clone();
    let wanted = wanted("ada", "planner");
    let (grant, _) = bed.connections.credential(&wanted, Now::read()).await.expect("a grant");
    assert_eq!(grant.recorded_as().to_string(), connected);
    let (grant, _) = bed.connections.credential(&wanted, later()).await.expect("a grant");
    let record = bed.records().await.pop().expect("a record");
    for (pointer, expected) in [
        ("/metadata/uid", grant.recorded_as().to_string()),
        ("/user/uid", "ada".to_owned()),
        ("/unmapped/obo/agent", "planner".to_owned()),
        ("/unmapped/obo/grant", "refresh_token".to_owned()),
        ("/unmapped/obo/reason", "expired".to_owned()),
        ("/unmapped/obo/for_request", wanted.request.to_string()),
    ] {
        assert_eq!(record.pointer(pointer).and_then(Value::as_str), Some(&*expected), "{pointer} {record:#}");
    }
    // However long ago that was, and in whichever run.
    bed.restart().await;
    let (again, _) = bed.connections.credential(&wanted, Now::read()).await.expect("a grant");
    assert_eq!(again.recorded_as(), grant.recorded_as());
}

#[tokio::test]
async fn a_refresh_that_fails_and_one_that_ends_the_connection_are_told_apart() {
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    bed.server
        .script(Endpoint::Token)
        .once(Reply::json(400, &serde_json::json!({"error": "invalid_client"})));
    let (records, _) = bed.recorded(1, bed.call_at("ada", "planner", later())).await;
    assert_eq!(records, ["exchange misconfigured"]);
    let (records, _) = bed.recorded(0, bed.call_at("ada", "planner", later())).await;
    assert_eq!(records, [""; 0], "the same no is repeated without asking");
    tokio::time::sleep(REFUSED_FOR).await;
    bed.server.end_grants("ada");
    let (records, _) = bed.recorded(1, bed.call_at("ada", "planner", later())).await;
    assert_eq!(records, ["exchange withdrawn"]);
    let record = bed.records().await.pop().expect("a record");
    assert_eq!(record["unmapped"]["obo"]["error"], "invalid_grant");
}

#[tokio::test]
async fn who_is_forgotten_leaves_a_record_for_each_service_that_was_asked() {
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    bed.server.script(Endpoint::Revocation).always(Reply::status(500));
    let realm = Realm::Issuers([Issuer::new("https://issuer.example")].into());
    let (ada, request) = (Person { realm, subject: Subject::new("ada") }, RequestId::next());
    let (records, _) = bed.recorded(1, bed.connections.forget(&ada, request)).await;
    assert_eq!(records, ["service_revocation unavailable"]);
    let record = bed.records().await.pop().expect("a record");
    assert_eq!(record["unmapped"]["obo"]["for_request"], request.to_string());
    assert_eq!(record["user"]["uid"], "ada");
}

#[tokio::test]
async fn without_a_place_for_the_record_nothing_is_done_and_nothing_is_lost() {
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    let (ticket, visit, now) = (bed.ask("bob", "planner"), visit("bob"), Now::read());
    let answered = bed.sign_in(&bed.begin(&ticket, "bob").await, "bob").await;
    let mail = ConnectorName::new("mail");
    let before = (bed.asked(GrantKind::AuthorizationCode), bed.asked(GrantKind::RefreshToken));
    let count = bed.records().await.len();

    let places = bed.leave_places(0);
    let unrecorded = |error: Option<ConnectError>| {
        assert!(matches!(error, Some(ConnectError::NotRecorded(AuditUnavailable))), "{error:?}");
    };
    unrecorded(bed.complete(&answered, "bob").await.err());
    unrecorded(bed.connections.begin(&ticket, &holder("bob"), BROWSER, &visit, now).await.err());
    unrecorded(bed.connections.agree(&ticket, &holder("bob"), &visit, now).await.err());
    unrecorded(bed.connections.decline(&ticket, &holder("bob"), &visit, now).err());
    let kept = bed.connections.disconnect(&holder("ada"), &mail, &super::visit("ada")).await;
    assert!(matches!(kept, Err(DisconnectError::NotRecorded(_))), "{kept:?}");
    let realm = Realm::Issuers([Issuer::new("https://issuer.example")].into());
    let ada = Person { realm, subject: Subject::new("ada") };
    let kept = bed.connections.forget(&ada, RequestId::next()).await;
    assert!(matches!(kept, Err(DisconnectError::NotRecorded(_))), "{kept:?}");
    let refreshed = bed.call_at("ada", "planner", later()).await;
    let refused = matches!(refreshed, Err(ConnectionError::Exchange(ExchangeError::NotRecorded(_))));
    assert!(refused, "{refreshed:?}");
    assert_eq!((bed.asked(GrantKind::AuthorizationCode), bed.asked(GrantKind::RefreshToken)), before);
    drop(places);

    assert_eq!(bed.records().await.len(), count);
    bed.call("ada", "planner").await.expect("it is still there");
    bed.complete(&answered, "bob").await.expect("the state and the code are still good");
}

#[tokio::test]
async fn a_browser_that_goes_away_changes_nothing_about_what_is_recorded() {
    let bed = Bed::start().await;
    let answered = bed.sign_in(&bed.begin(&bed.ask("ada", "planner"), "ada").await, "ada").await;
    bed.server.script(Endpoint::Token).once(Reply::normal().after(Duration::from_millis(200)));
    let leaves =
        async { tokio::time::timeout(Duration::from_millis(50), bed.complete(&answered, "ada")).await };
    let (records, left) = bed.recorded(1, leaves).await;
    assert!(left.is_err());
    assert_eq!(records, ["connect connected"]);
}
