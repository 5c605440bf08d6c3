//! The record of what a person did on the pages, or of what became of something that they had connected.

use std::borrow::Cow;

use serde::Serialize;

use super::{Actor, AuthenticationToken, Event, HttpRequest, severity_of};
use crate::audit::authentication::{AuthenticationRecord, Failure, Issued};
use crate::audit::deed::{Deed, DeedEnd, DeedKind, KnownPerson};
use crate::audit::ocsf::Metadata;
use crate::audit::ocsf::parts::{
    Endpoint, Idp, Service, Session, Unmapped, User, microseconds, milliseconds, status,
};
use crate::audit::ocsf::text::Texts;
use crate::audit::record::Fault;

/// What OCSF has no place for in a deed.
#[derive(Serialize)]
pub(super) struct DeedDetails<'a> {
    kind: &'static str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    /// The request for the page, or the call in whose course it came about.
    #[serde(skip_serializing_if = "Option::is_none")]
    for_request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connector: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<Cow<'a, str>>,
    /// Whose it would have been.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Cow<'a, str>>,
    /// What the service calls the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway_client_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes_requested: Option<Vec<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes_granted: Option<Vec<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    error_codes: &'a [u64],
    #[serde(skip_serializing_if = "Option::is_none")]
    delegated_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    question: Option<&'a str>,
    duration_us: u64,
}

impl<'a> Event<'a, DeedDetails<'a>> {
    pub(super) fn of_deed(record: &'a AuthenticationRecord, deed: &'a Deed, texts: &Texts) -> Self {
        let end = record.began_at.saturating_add(record.duration);
        let (activity_id, activity_name, type_name) = activity(deed.kind);
        let (issued, failure) = match &deed.end {
            DeedEnd::Done(issued) => (issued.as_ref(), None),
            DeedEnd::Failed(failure) => (None, Some(failure)),
            DeedEnd::BrokeOff => (None, None),
        };
        let (status_id, status) = status(matches!(deed.end, DeedEnd::Done(_)));
        let user = deed.person.as_ref().map(|person| User::known(person, &record.privacy, texts));
        let user = user.unwrap_or_else(User::unknown);
        let details = DeedDetails::of(record, deed, issued, failure, texts);
        let message = message(deed, &user, &details, texts);
        let connector = deed.connector.as_ref().map(|connector| texts.name(connector.as_str()));
        let (server, visit) = (deed.server.as_ref(), deed.visit.as_ref());
        let correlation_id = match (issued, failure) {
            (Some(Issued { correlation_id, .. }), _) | (_, Some(Failure { correlation_id, .. })) => {
                correlation_id.as_deref()
            }
            (None, None) => None,
        };
        let (protocol_id, protocol) = protocol(deed.kind).unzip();
        Self {
            class_uid: 3002,
            class_name: "Authentication",
            category_uid: 3,
            activity_id,
            activity_name,
            type_uid: 300_200 + activity_id,
            type_name,
            severity_id: match &deed.end {
                DeedEnd::Done(_) => 1,
                DeedEnd::Failed(failure) => severity_of(failure.fault),
                DeedEnd::BrokeOff => 2,
            },
            time: milliseconds(end),
            start_time: milliseconds(record.began_at),
            end_time: milliseconds(end),
            duration: milliseconds(record.duration),
            status_id,
            status,
            status_code: (!matches!(deed.end, DeedEnd::Done(_))).then_some(details.outcome),
            status_detail: failure.map(|failure| texts.text(&failure.detail)),
            message,
            user,
            session: deed.person.as_ref().map(|person| Session::known(person, texts)),
            actor: Actor {
                app_uid: server.map(|server| texts.name(&server.client_id)),
                app_name: if visit.is_some() { "obo-gateway pages" } else { "obo-gateway" },
                idp: match (server, &deed.person) {
                    (Some(server), _) => Some(Idp::named(&server.name, server.issuer.as_ref(), texts)),
                    (None, Some(person)) => Some(Idp::of_known(person, texts)),
                    (None, None) => None,
                },
            },
            service: Service { name: connector.unwrap_or(Cow::Borrowed("obo-gateway")), uid: None },
            src_endpoint: visit.map(|visit| Endpoint::of_peer(visit.peer.address)),
            dst_endpoint: server.and_then(|server| {
                let endpoint = server.endpoint.as_ref()?;
                Some(Endpoint::of(endpoint, Some(server.name.as_str()), texts))
            }),
            http_request: visit.map(|visit| HttpRequest::of_page(visit, texts)),
            auth_protocol_id: protocol_id,
            auth_protocol: protocol,
            authentication_token: issued.map(|issued| AuthenticationToken::of(record, issued)),
            unmapped: Unmapped { obo: details },
            metadata: Metadata {
                correlation_uid: correlation_id.map(|id| texts.name(id)),
                tenant_uid: deed
                    .person
                    .as_ref()
                    .and_then(|person| person.id.tenant.id())
                    .map(|tenant| texts.name(tenant)),
                ..Metadata::of(record.id, texts)
            },
        }
    }
}

impl<'a> DeedDetails<'a> {
    fn of(
        record: &AuthenticationRecord,
        deed: &'a Deed,
        issued: Option<&'a Issued>,
        failure: Option<&'a Failure>,
        texts: &Texts,
    ) -> Self {
        let privacy = &record.privacy;
        let request = deed.visit.as_ref().map(|visit| visit.request).or(deed.request);
        let uid = |person: &'a KnownPerson| User::known(person, privacy, texts).uid;
        let fault = match &deed.end {
            DeedEnd::Done(_) => None,
            DeedEnd::Failed(failure) => Some(failure.fault),
            // Nobody's: people close windows.
            DeedEnd::BrokeOff => None,
        };
        Self {
            kind: deed.kind.as_str(),
            outcome: match &deed.end {
                DeedEnd::Done(_) => deed.kind.done(),
                DeedEnd::Failed(failure) => failure.code,
                DeedEnd::BrokeOff => "broke_off",
            },
            fault: fault.map(Fault::as_str),
            for_request: request.map(|request| request.to_string()),
            connector: deed.connector.as_ref().map(|connector| texts.name(connector.as_str())),
            tool: deed.tool.as_ref().map(|tool| texts.name(tool.as_str())),
            agent: deed.agent.as_ref().map(|agent| texts.name(agent.as_str())),
            owner: deed.owner.as_ref().and_then(uid),
            // It names the person at the service, and often everywhere.
            account: deed
                .account
                .as_deref()
                .filter(|_| !privacy.has_pseudonyms())
                .map(|account| texts.name(account)),
            gateway_client_id: deed.server.as_ref().map(|server| texts.name(&server.client_id)),
            scopes_requested: deed.requested.as_ref().map(|scopes| texts.list(scopes.iter())),
            scopes_granted: issued
                .and_then(|issued| issued.granted.as_ref())
                .map(|granted| texts.list(granted.iter())),
            error: failure.and_then(|failure| failure.error.as_deref()).map(|error| texts.name(error)),
            error_codes: failure.map(|failure| failure.error_codes.as_slice()).unwrap_or_default(),
            delegated_token: issued.map(|issued| privacy.token(&issued.token)),
            question: deed.question.as_deref(),
            duration_us: microseconds(record.duration),
        }
    }
}

/// OCSF's activity, and what it is called there.
fn activity(kind: DeedKind) -> (u32, &'static str, &'static str) {
    let other = |name| (99, name, "Authentication: Other");
    match kind {
        DeedKind::SignIn => (1, "Logon", "Authentication: Logon"),
        DeedKind::SignOut => (2, "Logoff", "Authentication: Logoff"),
        DeedKind::Connect => (4, "Service Ticket Request", "Authentication: Service Ticket Request"),
        DeedKind::ForeignLink => other("Foreign Link"),
        DeedKind::Consent => other("Consent"),
        DeedKind::Decline => other("Decline"),
        DeedKind::Disconnect => other("Disconnect"),
        DeedKind::ServiceRevocation => other("Service Revocation"),
        DeedKind::Confirm => other("Confirmation"),
        DeedKind::DeclineCall => other("Confirmation Decline"),
    }
}

/// By which protocol servers are asked, where some are.
fn protocol(kind: DeedKind) -> Option<(u32, &'static str)> {
    match kind {
        DeedKind::SignIn => Some((4, "OpenID")),
        DeedKind::Connect | DeedKind::ServiceRevocation => Some((6, "OAUTH 2.0")),
        DeedKind::SignOut
        | DeedKind::ForeignLink
        | DeedKind::Consent
        | DeedKind::Decline
        | DeedKind::Disconnect
        | DeedKind::Confirm
        | DeedKind::DeclineCall => None,
    }
}

/// One sentence for people, of what stands in the record elsewhere.
fn message(deed: &Deed, user: &User<'_>, details: &DeedDetails<'_>, texts: &Texts) -> Cow<'static, str> {
    let who = match &deed.person {
        Some(_) => texts.phrase(user.called()),
        None => Cow::Borrowed("somebody unknown"),
    };
    let connector = texts.phrase(details.connector.as_deref().unwrap_or("something"));
    let agent = texts.phrase(details.agent.as_deref().unwrap_or("an agent"));
    let call = match &details.tool {
        Some(tool) => format!("{connector}/{}", texts.phrase(tool)),
        None => connector.clone().into_owned(),
    };
    let what = match deed.kind {
        DeedKind::SignIn => "signs in to the pages".to_owned(),
        DeedKind::SignOut => "signs out of the pages".to_owned(),
        DeedKind::ForeignLink => format!("opens somebody else's link of {agent} for {connector}"),
        DeedKind::Connect => format!("connects an account of {connector} for {agent}"),
        DeedKind::Consent => format!("lets {agent} use the connection of {connector}"),
        DeedKind::Decline => format!("declines what {agent} asks of {connector}"),
        DeedKind::Disconnect => format!("disconnects {connector}"),
        DeedKind::ServiceRevocation => format!("has the tokens of {connector} taken back by the service"),
        DeedKind::Confirm => format!("agrees to a call of {call} by {agent}"),
        DeedKind::DeclineCall => format!("declines a call of {call} by {agent}"),
    };
    texts.made(format!("{who} {what}: {}", details.outcome))
}
