//! Exchanges, and people who were forgotten.

use super::*;
use crate::audit::authentication::{
    Authentication, AuthenticationRecord, Exchange, ExchangeEnd, ExchangeReason, Failure, Forgotten, Issued,
    Occasion, Revocation, Whom,
};
use crate::audit::record::RequestId;
use crate::identity::{Issuer, IssuerName, Person, Realm, Subject};

pub fn record_of(what: Authentication, privacy: Arc<Privacy>) -> AuthenticationRecord {
    AuthenticationRecord {
        id: RequestId::next(),
        privacy,
        began_at: Duration::from_millis(1_800_000_000_000),
        duration: Duration::from_micros(12_500),
        what,
    }
}

pub fn exchange(reason: ExchangeReason, end: ExchangeEnd) -> Exchange {
    Exchange {
        grant: "on_behalf_of",
        whom: Whom::Caller(caller(claims())),
        server: IssuerName::new("contoso"),
        issuer: Some(Issuer::new("https://issuer.example")),
        endpoint: Some(Destination { host: "login.example".into(), port: 443 }),
        client_id: "gateway-client".into(),
        target: Target {
            audience: Some(Audience::new("https://graph.example")),
            scopes: Scopes::parse("Mail.Read"),
            ..Target::default()
        },
        occasion: Occasion { request: RequestId::next(), connector: ConnectorName::new("mail"), reason },
        end,
    }
}

pub fn token() -> Issued {
    Issued {
        token: [7; 32],
        granted: Some(Scopes::parse("Mail.Read User.Read")),
        lifetime: Some(Duration::from_secs(3_600)),
        correlation_id: Some("c-1".to_owned()),
    }
}

pub fn issued() -> ExchangeEnd {
    ExchangeEnd::Issued(token())
}

pub fn failure() -> Failure {
    Failure {
        code: "consent",
        fault: Fault::User,
        detail: "contoso refused the exchange: 400 invalid_grant [65001]".to_owned(),
        error: Some("invalid_grant".to_owned()),
        error_codes: vec![65_001],
        correlation_id: Some("c-1".to_owned()),
    }
}

pub fn failed() -> ExchangeEnd {
    ExchangeEnd::Failed(failure())
}

fn event(exchange: Exchange) -> Value {
    let record = record_of(Authentication::Exchange(exchange), Privacy::of_this_run());
    let (line, value) = written(&Record::Authentication(&record));
    assert!(!line.contains("canary"), "{line}");
    value
}

#[test]
fn an_exchange_tells_who_asked_whom_for_whom_and_what_came_of_it() {
    let exchange = exchange(ExchangeReason::Needed, issued());
    let for_request = exchange.occasion.request.to_string();
    let value = event(exchange);
    for (pointer, expected) in [
        ("/class_uid", json!(3002)),
        ("/activity_id", json!(4)),
        ("/type_uid", json!(300_204)),
        ("/status", json!("Success")),
        ("/message", json!("contoso was asked for Ada Lovelace for a token of mail: issued")),
        ("/user/uid", json!("o-1-ada")),
        ("/actor/app_uid", json!("gateway-client")),
        ("/actor/idp/name", json!("contoso")),
        ("/service", json!({"name": "mail", "uid": "https://graph.example"})),
        ("/dst_endpoint/hostname", json!("login.example")),
        ("/auth_protocol_id", json!(6)),
        ("/authentication_token/expiration_time", json!(1_800_003_600_000_u64)),
        ("/metadata/correlation_uid", json!("c-1")),
        ("/metadata/tenant_uid", json!("t-1")),
        ("/unmapped/obo/kind", json!("exchange")),
        ("/unmapped/obo/grant", json!("on_behalf_of")),
        ("/unmapped/obo/agent", json!("planner")),
        ("/unmapped/obo/for_request", json!(for_request)),
        ("/unmapped/obo/renewal", json!(false)),
        ("/unmapped/obo/scopes_requested", json!(["Mail.Read"])),
        ("/unmapped/obo/scopes_granted", json!(["Mail.Read", "User.Read"])),
        ("/unmapped/obo/delegated_token", json!(Privacy::of_this_run().token(&[7; 32]))),
        ("/unmapped/obo/duration_us", json!(12_500)),
    ] {
        expect(&value, pointer, expected);
    }
}

#[test]
fn a_failed_exchange_tells_what_the_server_said() {
    let value = event(exchange(ExchangeReason::Needed, failed()));
    for (pointer, expected) in [
        ("/status", json!("Failure")),
        ("/status_code", json!("consent")),
        ("/status_detail", json!("contoso refused the exchange: 400 invalid_grant [65001]")),
        ("/severity_id", json!(2)),
        ("/metadata/correlation_uid", json!("c-1")),
        ("/unmapped/obo/error", json!("invalid_grant")),
        ("/unmapped/obo/error_codes", json!([65_001])),
        ("/unmapped/obo/fault", json!("user")),
    ] {
        expect(&value, pointer, expected);
    }
    assert_eq!(value.pointer("/authentication_token"), None);
    let broke_off = event(exchange(ExchangeReason::Needed, ExchangeEnd::BrokeOff));
    expect(&broke_off, "/status_code", json!("broke_off"));
}

#[test]
fn a_renewal_is_told_from_a_first_token() {
    for (reason, activity) in [
        (ExchangeReason::Needed, 4),
        (ExchangeReason::Expired, 5),
        (ExchangeReason::RefreshAhead, 5),
        (ExchangeReason::TurnedAway, 5),
        (ExchangeReason::ClaimsDemanded, 5),
    ] {
        let value = event(exchange(reason, issued()));
        expect(&value, "/activity_id", json!(activity));
        expect(&value, "/unmapped/obo/renewal", json!(activity == 5));
        expect(&value, "/unmapped/obo/reason", json!(reason.as_str()));
    }
}

#[test]
fn a_token_of_the_applications_is_no_persons() {
    let no_endpoint = Exchange {
        grant: "client_credentials",
        whom: Whom::Application,
        endpoint: None,
        ..exchange(ExchangeReason::Needed, issued())
    };
    let value = event(no_endpoint);
    expect(&value, "/user", json!({"uid": "gateway-client", "type_id": 4}));
    expect(
        &value,
        "/message",
        json!("contoso was asked for the gateway's application for a token of mail: issued"),
    );
    assert_eq!((value.pointer("/session"), value.pointer("/dst_endpoint")), (None, None));
}

#[test]
fn an_exchange_names_nobody_under_pseudonyms() {
    let end = ExchangeEnd::Failed(Failure { detail: "o-1-ada is not known".to_owned(), ..failure() });
    for end in [issued(), end] {
        let exchange = Authentication::Exchange(exchange(ExchangeReason::Needed, end));
        let record = record_of(exchange, pseudonymous());
        let (line, value) = written(&Record::Authentication(&record));
        for named in ["o-1-ada", "sid-1", "uti-1", "Lovelace"] {
            assert!(!line.contains(named), "{named} in {line}");
        }
        expect(&value, "/user/uid", json!(pseudonymous().person("t-1", "o-1-ada")));
    }
}

fn forgotten(realm: Realm, realms: &[&str], privacy: Arc<Privacy>) -> (String, Value) {
    forgotten_but(None, realm, realms, privacy)
}

fn forgotten_but(
    failure: Option<Failure>,
    realm: Realm,
    realms: &[&str],
    privacy: Arc<Privacy>,
) -> (String, Value) {
    let revocation = Revocation {
        person: Person { realm, subject: Subject::new("o-1-ada") },
        realms: realms.iter().map(|realm| Arc::from(*realm)).collect(),
        dropped: Forgotten { credentials: 2, remembered_tokens: 1, connections: 1 },
        connectors: vec![ConnectorName::new("crm")],
        sessions: 3,
        failure,
        peer: peer(),
        method: Method::POST,
        path: "/forget".into(),
        user_agent: None,
    };
    written(&Record::Authentication(&record_of(Authentication::Revocation(revocation), privacy)))
}

#[test]
fn a_forgotten_person_is_named_with_what_was_dropped_and_who_asked() {
    let (_, value) = forgotten(Realm::Tenant("t-1".into()), &["t-1"], Privacy::of_this_run());
    for (pointer, expected) in [
        ("/class_uid", json!(3002)),
        ("/activity_id", json!(99)),
        ("/activity_name", json!("Revocation")),
        ("/user/uid", json!("o-1-ada")),
        ("/src_endpoint/ip", json!("192.0.2.7")),
        ("/http_request", json!({"http_method": "POST", "url": {"path": "/forget"}})),
        (
            "/message",
            json!("o-1-ada was forgotten: 2 kept and 1 remembered tokens and 1 connections were dropped"),
        ),
        ("/unmapped/obo/kind", json!("revocation")),
        ("/unmapped/obo/asked_by", json!("admin_token")),
        (
            "/unmapped/obo/forgotten",
            json!({"tenant": "t-1", "credentials": 2, "remembered_tokens": 1, "connections": 1, "connectors": ["crm"], "sessions": 3}),
        ),
    ] {
        expect(&value, pointer, expected);
    }
    let issuers = Realm::Issuers([Issuer::new("https://issuer.example")].into());
    let (_, value) = forgotten(issuers, &["https://issuer.example"], Privacy::of_this_run());
    expect(&value, "/unmapped/obo/forgotten/issuers", json!(["https://issuer.example"]));
}

#[test]
fn a_person_whose_connections_could_not_be_taken_away_is_not_said_to_be_forgotten() {
    let failure = Failure::of("vault_unavailable", Fault::Gateway, "the disk is full");
    let (_, value) =
        forgotten_but(Some(failure), Realm::Tenant("t-1".into()), &["t-1"], Privacy::of_this_run());
    for (pointer, expected) in [
        ("/status", json!("Failure")),
        ("/status_code", json!("vault_unavailable")),
        ("/status_detail", json!("the disk is full")),
        (
            "/message",
            json!(
                "o-1-ada was forgotten in part: 2 kept and 1 remembered tokens were dropped, and no connections (vault_unavailable)"
            ),
        ),
        ("/unmapped/obo/outcome", json!("vault_unavailable")),
        ("/unmapped/obo/fault", json!("gateway")),
    ] {
        expect(&value, pointer, expected);
    }
}

#[test]
fn a_forgotten_person_is_found_again_under_each_pseudonym() {
    let (line, value) = forgotten(Realm::Tenant("t-1".into()), &["t-1", "t-2"], pseudonymous());
    assert!(!line.contains("o-1-ada"), "{line}");
    let pseudonyms =
        ["t-1", "t-2"].map(|realm| pseudonymous().person(realm, "o-1-ada").expect("a pseudonym"));
    expect(&value, "/user/uid", json!(pseudonyms[0]));
    expect(&value, "/unmapped/obo/forgotten/pseudonyms", json!(pseudonyms));
}
