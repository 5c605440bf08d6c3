//! The record of an exchange, of a person who was forgotten, or of what one did: class Authentication (3002).

use std::borrow::Cow;
use std::io::Write;
use std::sync::Arc;

use serde::Serialize;

use super::Metadata;
use super::parts::{
    Endpoint, Idp, Service, Session, Unmapped, User, microseconds, milliseconds, status, tenant,
};
use super::text::Texts;
use crate::audit::authentication::{
    Authentication, AuthenticationRecord, Exchange, ExchangeEnd, Failure, Forgotten, Issued, Revocation, Whom,
};
use crate::audit::deed::PageVisit;
use crate::audit::record::Fault;
use crate::identity::Realm;

mod deed;

/// Appends the record.
///
/// # Errors
///
/// When it cannot be written.
pub fn append(record: &AuthenticationRecord, line: impl Write) -> serde_json::Result<()> {
    match &record.what {
        Authentication::Exchange(exchange) => {
            let texts = match &exchange.whom {
                Whom::Owner(person, _) => Texts::about_known([&**person], &record.privacy),
                Whom::Caller(_) | Whom::Application => Texts::about(exchange.whom.caller(), &record.privacy),
            };
            serde_json::to_writer(line, &Event::of_exchange(record, exchange, &texts))
        }
        Authentication::Revocation(revocation) => {
            let mut texts = Texts::default();
            let subject = revocation.person.subject.as_str();
            texts.hide(Some(subject), pseudonyms(record, revocation).into_iter().next());
            serde_json::to_writer(line, &Event::of_revocation(record, revocation, &texts))
        }
        Authentication::Deed(deed) => {
            let texts = Texts::about_known(deed.person.iter().chain(&deed.owner), &record.privacy);
            serde_json::to_writer(line, &Event::of_deed(record, deed, &texts))
        }
    }
}

/// The event that the record is.
#[derive(Serialize)]
struct Event<'a, D> {
    class_uid: u32,
    class_name: &'static str,
    category_uid: u32,
    activity_id: u32,
    activity_name: &'static str,
    type_uid: u32,
    type_name: &'static str,
    severity_id: u32,
    time: u64,
    start_time: u64,
    end_time: u64,
    duration: u64,
    status_id: u32,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_detail: Option<Cow<'a, str>>,
    message: Cow<'static, str>,
    user: User<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Session<'a>>,
    actor: Actor<'a>,
    service: Service<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_endpoint: Option<Endpoint<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dst_endpoint: Option<Endpoint<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_request: Option<HttpRequest<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_protocol_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication_token: Option<AuthenticationToken>,
    unmapped: Unmapped<D>,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
struct Actor<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    app_uid: Option<Cow<'a, str>>,
    app_name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    idp: Option<Idp<'a>>,
}

#[derive(Serialize)]
struct HttpRequest<'a> {
    http_method: &'a str,
    url: Url<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct Url<'a> {
    path: Cow<'a, str>,
}

impl<'a> HttpRequest<'a> {
    /// A request for a page.
    fn of_page(visit: &'a PageVisit, texts: &Texts) -> Self {
        Self {
            http_method: visit.method.as_str(),
            url: Url { path: texts.text(&visit.path) },
            user_agent: visit.user_agent.as_ref().map(|agent| texts.header(agent)),
        }
    }
}

/// The token that was obtained. Never the token itself.
#[derive(Serialize)]
struct AuthenticationToken {
    type_id: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    created_time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_time: Option<u64>,
}

impl AuthenticationToken {
    /// A token that this record is of.
    fn of(record: &AuthenticationRecord, issued: &Issued) -> Self {
        let lives_until = |lifetime| milliseconds(record.began_at.saturating_add(lifetime));
        Self {
            type_id: 99,
            kind: "Access Token",
            created_time: milliseconds(record.began_at.saturating_add(record.duration)),
            expiration_time: issued.lifetime.map(lives_until),
        }
    }
}

/// What OCSF has no place for in an exchange.
#[derive(Serialize)]
struct ExchangeDetails<'a> {
    kind: &'static str,
    grant: &'static str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    reason: &'static str,
    renewal: bool,
    /// The call it was made for.
    for_request: String,
    connector: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<Cow<'a, str>>,
    gateway_client_id: Cow<'a, str>,
    scopes_requested: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes_granted: Option<Vec<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_server: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    error_codes: &'a [u64],
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delegated_token: Option<String>,
    duration_us: u64,
}

/// What OCSF has no place for when a person is forgotten.
#[derive(Serialize)]
struct RevocationDetails<'a> {
    kind: &'static str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    asked_by: &'static str,
    forgotten: ForgottenPerson<'a>,
    duration_us: u64,
}

#[derive(Serialize)]
struct ForgottenPerson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    issuers: Vec<Cow<'a, str>>,
    /// Under which pseudonyms the person stands in other records.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pseudonyms: Vec<String>,
    #[serde(flatten)]
    dropped: Forgotten,
    /// The connectors whose connections were dropped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    connectors: Vec<Cow<'a, str>>,
    /// Sessions at the pages that ended.
    sessions: usize,
}

impl<'a> Event<'a, ExchangeDetails<'a>> {
    fn of_exchange(record: &'a AuthenticationRecord, exchange: &'a Exchange, texts: &Texts) -> Self {
        let caller = exchange.whom.caller();
        let end = record.began_at.saturating_add(record.duration);
        let (activity_id, activity_name, type_name) = match exchange.occasion.reason.is_renewal() {
            false => (4, "Service Ticket Request", "Authentication: Service Ticket Request"),
            true => (5, "Service Ticket Renew", "Authentication: Service Ticket Renew"),
        };
        let details = ExchangeDetails::of(record, exchange, texts);
        let (status_id, status) = status(matches!(exchange.end, ExchangeEnd::Issued(_)));
        let known = match &exchange.whom {
            Whom::Owner(person, _) => Some(&**person),
            Whom::Caller(_) | Whom::Application => None,
        };
        let person = match known {
            Some(person) => Some(User::known(person, &record.privacy, texts)),
            None => caller.and_then(|caller| User::of(caller, &record.privacy, texts)),
        };
        let is_a_persons = person.is_some();
        let user = person.unwrap_or_else(|| User::client(&exchange.client_id, texts));
        let message = message(exchange, is_a_persons.then(|| user.called()), &details, texts);
        Self {
            class_uid: 3002,
            class_name: "Authentication",
            category_uid: 3,
            activity_id,
            activity_name,
            type_uid: 300_200 + activity_id,
            type_name,
            severity_id: severity(&exchange.end),
            time: milliseconds(end),
            start_time: milliseconds(record.began_at),
            end_time: milliseconds(end),
            duration: milliseconds(record.duration),
            status_id,
            status,
            status_code: match &exchange.end {
                ExchangeEnd::Issued(_) => None,
                ExchangeEnd::Failed(_) | ExchangeEnd::BrokeOff => Some(details.outcome),
            },
            status_detail: match &exchange.end {
                ExchangeEnd::Failed(failure) => Some(texts.text(&failure.detail)),
                ExchangeEnd::Issued(_) | ExchangeEnd::BrokeOff => None,
            },
            message,
            user,
            session: match known {
                Some(person) => Some(Session::known(person, texts)),
                None => {
                    caller.filter(|_| is_a_persons).map(|caller| Session::of(caller, &record.privacy, texts))
                }
            },
            actor: Actor {
                app_uid: Some(texts.name(&exchange.client_id)),
                app_name: "obo-gateway",
                idp: Some(Idp::named(&exchange.server, exchange.issuer.as_ref(), texts)),
            },
            service: Service {
                name: texts.name(exchange.occasion.connector.as_str()),
                uid: exchange.target.audience.as_ref().map(|audience| texts.name(audience.as_str())),
            },
            src_endpoint: None,
            dst_endpoint: exchange
                .endpoint
                .as_ref()
                .map(|endpoint| Endpoint::of(endpoint, Some(exchange.server.as_str()), texts)),
            http_request: None,
            auth_protocol_id: Some(6),
            auth_protocol: Some("OAUTH 2.0"),
            authentication_token: match &exchange.end {
                ExchangeEnd::Issued(issued) => Some(AuthenticationToken::of(record, issued)),
                ExchangeEnd::Failed(_) | ExchangeEnd::BrokeOff => None,
            },
            unmapped: Unmapped { obo: details },
            metadata: Metadata {
                correlation_uid: correlation_id(&exchange.end).map(|id| texts.name(id)),
                tenant_uid: match known {
                    Some(person) => person.id.tenant.id().map(|tenant| texts.name(tenant)),
                    None => tenant(caller, texts),
                },
                ..Metadata::of(record.id, texts)
            },
        }
    }
}

impl<'a> ExchangeDetails<'a> {
    fn of(record: &AuthenticationRecord, exchange: &'a Exchange, texts: &Texts) -> Self {
        let (caller, target, occasion) = (exchange.whom.caller(), &exchange.target, &exchange.occasion);
        let (outcome, fault, error, error_codes) = match &exchange.end {
            ExchangeEnd::Issued(_) => ("issued", None, None, &[][..]),
            ExchangeEnd::Failed(failure) => {
                let Failure { code, fault, error, error_codes, .. } = failure;
                (*code, Some(*fault), error.as_deref(), error_codes.as_slice())
            }
            ExchangeEnd::BrokeOff => ("broke_off", Some(Fault::Gateway), None, &[][..]),
        };
        let (token, granted) = match &exchange.end {
            ExchangeEnd::Issued(Issued { token, granted, .. }) => (Some(token), granted.as_ref()),
            ExchangeEnd::Failed(_) | ExchangeEnd::BrokeOff => (None, None),
        };
        Self {
            kind: "exchange",
            grant: exchange.grant,
            outcome,
            fault: fault.map(Fault::as_str),
            reason: occasion.reason.as_str(),
            renewal: occasion.reason.is_renewal(),
            for_request: occasion.request.to_string(),
            connector: texts.name(occasion.connector.as_str()),
            agent: exchange.whom.agent().map(|agent| texts.name(agent.as_str())),
            gateway_client_id: texts.name(&exchange.client_id),
            scopes_requested: texts.list(target.scopes.iter()),
            scopes_granted: granted.map(|granted| texts.list(granted.iter())),
            audience: target.audience.as_ref().map(|audience| texts.name(audience.as_str())),
            resource: target.resource.as_ref().map(|resource| texts.name(resource.as_str())),
            authorization_server: target
                .authorization_server
                .as_ref()
                .map(|server| texts.name(server.as_str())),
            error: error.map(|error| texts.name(error)),
            error_codes,
            subject_token: caller.map(|caller| record.privacy.token(&caller.subject_token().digest())),
            delegated_token: token.map(|digest| record.privacy.token(digest)),
            duration_us: microseconds(record.duration),
        }
    }
}

fn correlation_id(end: &ExchangeEnd) -> Option<&str> {
    match end {
        ExchangeEnd::Issued(Issued { correlation_id, .. })
        | ExchangeEnd::Failed(Failure { correlation_id, .. }) => correlation_id.as_deref(),
        ExchangeEnd::BrokeOff => None,
    }
}

/// One sentence for people, of what stands in the record elsewhere.
fn message(
    exchange: &Exchange,
    person: Option<&str>,
    details: &ExchangeDetails<'_>,
    texts: &Texts,
) -> Cow<'static, str> {
    let server = texts.phrase(exchange.server.as_str());
    let whose = match person {
        Some(person) => format!("for {}", texts.phrase(person)),
        None => "for the gateway's application".to_owned(),
    };
    let what = if details.renewal { "renewing the token" } else { "a token" };
    let outcome = details.outcome;
    texts.made(format!(
        "{server} was asked {whose} for {what} of {}: {outcome}",
        texts.phrase(&details.connector)
    ))
}

/// Informational, Low (somebody has to do something), Medium (something is broken), High (the gateway itself).
fn severity(end: &ExchangeEnd) -> u32 {
    match end {
        ExchangeEnd::Issued(_) => 1,
        ExchangeEnd::Failed(failure) => severity_of(failure.fault),
        ExchangeEnd::BrokeOff => 4,
    }
}

fn severity_of(fault: Fault) -> u32 {
    match fault {
        Fault::User | Fault::Agent => 2,
        Fault::AuthorizationServer | Fault::Connector => 3,
        Fault::Gateway => 4,
    }
}

/// Under which pseudonyms a forgotten person stands in other records.
fn pseudonyms(record: &AuthenticationRecord, revocation: &Revocation) -> Vec<String> {
    let subject = revocation.person.subject.as_str();
    let of = |realm: &Arc<str>| record.privacy.person(realm, subject);
    revocation.realms.iter().take(PSEUDONYMS_MAX).filter_map(of).collect()
}

/// Most pseudonyms of one person that are listed: one for each tenant of an issuer.
const PSEUDONYMS_MAX: usize = 64;

impl<'a> Event<'a, RevocationDetails<'a>> {
    fn of_revocation(record: &'a AuthenticationRecord, revocation: &'a Revocation, texts: &Texts) -> Self {
        let end = record.began_at.saturating_add(record.duration);
        let pseudonyms = pseudonyms(record, revocation);
        let subject = revocation.person.subject.as_str();
        let uid = match pseudonyms.first() {
            Some(pseudonym) => Cow::Owned(pseudonym.clone()),
            None => texts.name(subject),
        };
        let (tenant, issuers) = match &revocation.person.realm {
            Realm::Tenant(tenant) => (Some(texts.name(tenant)), Vec::new()),
            Realm::Issuers(issuers) => (None, texts.list(issuers.iter().map(|issuer| issuer.as_str()))),
        };
        let dropped = revocation.dropped;
        let failure = revocation.failure.as_ref();
        let (tokens, remembered) = (dropped.credentials, dropped.remembered_tokens);
        let message = texts.made(match failure {
            None => format!(
                "{} was forgotten: {tokens} kept and {remembered} remembered tokens and {} connections were dropped",
                texts.phrase(&uid),
                dropped.connections,
            ),
            Some(failure) => format!(
                "{} was forgotten in part: {tokens} kept and {remembered} remembered tokens were dropped, and no connections \
                 ({})",
                texts.phrase(&uid),
                failure.code,
            ),
        });
        let (status_id, status) = status(failure.is_none());
        Self {
            class_uid: 3002,
            class_name: "Authentication",
            category_uid: 3,
            activity_id: 99,
            activity_name: "Revocation",
            type_uid: 300_299,
            type_name: "Authentication: Other",
            severity_id: 1,
            time: milliseconds(end),
            start_time: milliseconds(record.began_at),
            end_time: milliseconds(end),
            duration: milliseconds(record.duration),
            status_id,
            status,
            status_code: failure.map(|failure| failure.code),
            status_detail: failure.map(|failure| texts.text(&failure.detail)),
            message,
            user: User { uid: Some(uid), name: None, type_id: 1, credential_uid: None },
            session: None,
            actor: Actor { app_uid: None, app_name: "obo-gateway admin endpoint", idp: None },
            service: Service { name: Cow::Borrowed("obo-gateway"), uid: None },
            src_endpoint: Some(Endpoint::of_peer(revocation.peer.address)),
            dst_endpoint: None,
            http_request: Some(HttpRequest {
                http_method: revocation.method.as_str(),
                url: Url { path: texts.text(&revocation.path) },
                user_agent: revocation.user_agent.as_ref().map(|agent| texts.header(agent)),
            }),
            auth_protocol_id: None,
            auth_protocol: None,
            authentication_token: None,
            unmapped: Unmapped {
                obo: RevocationDetails {
                    kind: "revocation",
                    outcome: failure.map_or("forgotten", |failure| failure.code),
                    fault: failure.map(|failure| failure.fault.as_str()),
                    asked_by: if revocation.peer.address.ip().to_canonical().is_loopback() {
                        "this_machine"
                    } else {
                        "admin_token"
                    },
                    forgotten: ForgottenPerson {
                        tenant: tenant.clone(),
                        issuers,
                        pseudonyms,
                        dropped,
                        connectors: texts
                            .list(revocation.connectors.iter().map(|connector| connector.as_str())),
                        sessions: revocation.sessions,
                    },
                    duration_us: microseconds(record.duration),
                },
            },
            metadata: Metadata { tenant_uid: tenant, ..Metadata::of(record.id, texts) },
        }
    }
}
