//! Objects that records of several classes have.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Serialize;

use super::text::Texts;
use crate::audit::deed::KnownPerson;
use crate::audit::keyed::Privacy;
use crate::audit::record::Destination;
use crate::identity::{Caller, Issuer, IssuerName};

/// `user`: a person, or a service.
#[derive(Serialize)]
pub struct User<'a> {
    /// The identifier, or the pseudonym. `None`: nobody knows who it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<Cow<'a, str>>,
    /// What they are called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// 0: nobody knows. 1: a person. 4: a service.
    pub type_id: u32,
    /// The identifier of the token that speaks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_uid: Option<Cow<'a, str>>,
}

/// `session`: the sign-in.
#[derive(Serialize)]
pub struct Session<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<Cow<'a, str>>,
    issuer: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_mfa: Option<bool>,
}

/// `idp`: an authorization server.
#[derive(Serialize)]
pub struct Idp<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_uid: Option<Cow<'a, str>>,
}

/// `network_endpoint`.
#[derive(Serialize)]
pub struct Endpoint<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<Cow<'a, str>>,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    svc_name: Option<Cow<'a, str>>,
}

/// `service`.
#[derive(Serialize)]
pub struct Service<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// What authorization servers call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<Cow<'a, str>>,
}

/// `unmapped`: what OCSF has no place for.
#[derive(Serialize)]
pub struct Unmapped<T> {
    /// What this gateway says.
    pub obo: T,
}

impl<'a> User<'a> {
    /// The person that a call is for. `None`: there is none.
    pub fn of(caller: &'a Caller, privacy: &Privacy, texts: &Texts) -> Option<Self> {
        if caller.is_agent_alone() {
            return None;
        }
        let name = caller.display_name().filter(|_| !privacy.has_pseudonyms());
        let subject = caller.subject().as_str();
        let or = |pseudonym: Option<String>, plain: &'a str| {
            pseudonym.map_or_else(|| texts.name(plain), Cow::Owned)
        };
        Some(Self {
            uid: Some(or(privacy.person(caller.realm(), subject), subject)),
            name: name.map(|name| texts.name(name)),
            type_id: 1,
            credential_uid: caller.token_id().map(|id| or(privacy.token_id(caller), id)),
        })
    }

    /// A person whom the pages or connections know.
    pub fn known(person: &'a KnownPerson, privacy: &Privacy, texts: &Texts) -> Self {
        let name = person.name.as_deref().filter(|_| !privacy.has_pseudonyms());
        let subject = person.id.subject.as_str();
        let pseudonym = privacy.person(person.id.realm(), subject);
        Self {
            uid: Some(pseudonym.map_or_else(|| texts.name(subject), Cow::Owned)),
            name: name.map(|name| texts.name(name)),
            type_id: 1,
            credential_uid: None,
        }
    }

    /// Somebody of whom nothing is known.
    pub const fn unknown() -> Self {
        Self { uid: None, name: Some(Cow::Borrowed("unknown")), type_id: 0, credential_uid: None }
    }

    /// The gateway's own client.
    pub fn client(client_id: &'a str, texts: &Texts) -> Self {
        Self { uid: Some(texts.name(client_id)), name: None, type_id: 4, credential_uid: None }
    }

    /// What the user is called in a sentence.
    pub fn called(&self) -> &str {
        self.name.as_deref().or(self.uid.as_deref()).unwrap_or("somebody")
    }
}

impl<'a> Session<'a> {
    /// The sign-in that a call's token is from.
    pub fn of(caller: &'a Caller, privacy: &Privacy, texts: &Texts) -> Self {
        let uid = caller
            .session()
            .map(|session| privacy.session(caller).map_or_else(|| texts.name(session), Cow::Owned));
        let amr = &caller.authentication().amr;
        Self {
            uid,
            issuer: texts.name(caller.issuer().as_str()),
            created_time: caller.authenticated_at().map(in_milliseconds),
            expiration_time: Some(in_milliseconds(caller.expires_at())),
            // RFC 8176 section 2.
            is_mfa: (!amr.is_empty()).then(|| amr.iter().any(|method| &**method == "mfa")),
        }
    }

    /// One of which nothing is known but who vouches for the person.
    pub fn known(person: &'a KnownPerson, texts: &Texts) -> Self {
        let issuer = texts.name(person.id.issuer.as_str());
        Self { uid: None, issuer, created_time: None, expiration_time: None, is_mfa: None }
    }
}

impl<'a> Idp<'a> {
    /// The server that vouches for a caller.
    pub fn of(caller: &'a Caller, texts: &Texts) -> Self {
        let tenant = caller.tenant().id();
        Self {
            tenant_uid: tenant.map(|tenant| texts.name(tenant)),
            ..Self::named(caller.issuer_name(), Some(caller.issuer()), texts)
        }
    }

    /// The server that vouches for a person whom the pages or connections know.
    pub fn of_known(person: &'a KnownPerson, texts: &Texts) -> Self {
        let name = person.issuer_name.as_ref().map_or(person.id.issuer.as_str(), IssuerName::as_str);
        Self {
            name: texts.name(name),
            issuer: Some(texts.name(person.id.issuer.as_str())),
            tenant_uid: person.id.tenant.id().map(|tenant| texts.name(tenant)),
        }
    }

    /// This server.
    pub fn named(name: &'a IssuerName, issuer: Option<&'a Issuer>, texts: &Texts) -> Self {
        let issuer = issuer.map(|issuer| texts.name(issuer.as_str()));
        Self { name: texts.name(name.as_str()), issuer, tenant_uid: None }
    }
}

impl<'a> Endpoint<'a> {
    /// Who connected.
    pub fn of_peer(peer: SocketAddr) -> Self {
        Self { ip: Some(peer.ip()), hostname: None, port: peer.port(), svc_name: None }
    }

    /// Where something was sent, and what that is called here.
    pub fn of(destination: &'a Destination, called: Option<&'a str>, texts: &Texts) -> Self {
        let ip = destination.host.parse().ok();
        Self {
            ip,
            hostname: ip.is_none().then(|| texts.name(&destination.host)),
            port: destination.port,
            svc_name: called.map(|called| texts.name(called)),
        }
    }
}

/// What an event says of whether it went well.
pub fn status(succeeded: bool) -> (u32, &'static str) {
    match succeeded {
        true => (1, "Success"),
        false => (2, "Failure"),
    }
}

/// Latest time there is: OCSF's numbers have 63 bits.
const TIME_MAX: u64 = i64::MAX.unsigned_abs();

/// As OCSF counts time.
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(TIME_MAX).min(TIME_MAX)
}

fn in_milliseconds(seconds: u64) -> u64 {
    seconds.saturating_mul(1_000).min(TIME_MAX)
}

/// As the times of a call's stages are counted.
pub fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(TIME_MAX).min(TIME_MAX)
}

/// The tenant of an event, where its person has one.
pub fn tenant<'a>(caller: Option<&'a Caller>, texts: &Texts) -> Option<Cow<'a, str>> {
    caller.and_then(|caller| caller.tenant().id()).map(|tenant| texts.name(tenant))
}
