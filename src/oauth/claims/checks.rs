//! The claims of a person's token, check by check. All are made, also when one has failed, so that whoever wants to know
//! why a token is refused is told everything at once; what is refused, is refused for the first of them.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    Actor, Authentication, ClaimsError, IssuerKind, IssuerSettings, Now, Profile, Reader, Scopes, Subject,
    Tenant, VerifiedClaims, agent, authentication, check_agent, check_audience, check_purpose, check_times,
    entra_person, may_act, oidc_person, possession, scopes, scopes_of, shared,
};

/// Longest name of a person that is kept. Directories allow 256 characters.
const DISPLAY_NAME_BYTES_MAX: usize = 512;

/// What is looked at in a token's claims, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClaimCheck {
    /// `iss` is the issuer's.
    Issuer,
    /// It is an access token.
    Purpose,
    /// It names one agent, or none.
    Agent,
    /// Its scopes can be read.
    Scopes,
    /// A person of the right tenant stands behind it.
    Person,
    /// It has what RFC 9068 wants, where the configuration wants that.
    Profile,
    /// What it is bound to can be read.
    Confirmation,
    /// It is meant for this gateway.
    Audience,
    /// Its time has come, and is not over.
    Times,
    /// Who else may act can be read.
    MayAct,
    /// The configuration lets the agent call.
    AgentAllowed,
    /// It holds the scopes that every caller needs.
    RequiredScopes,
    /// Groups, roles, and how the person signed in can be read.
    Rest,
}

impl ClaimCheck {
    /// As it is called in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issuer => "iss",
            Self::Purpose => "purpose",
            Self::Agent => "agent",
            Self::Scopes => "scopes",
            Self::Person => "person",
            Self::Profile => "profile",
            Self::Confirmation => "confirmation",
            Self::Audience => "audience",
            Self::Times => "times",
            Self::MayAct => "may_act",
            Self::AgentAllowed => "agent_allowed",
            Self::RequiredScopes => "required_scopes",
            Self::Rest => "other_claims",
        }
    }
}

/// What the checks came to.
pub struct ClaimsExamined {
    /// Each check that could be made. One that needs what another could not read is left out.
    pub checks: Vec<(ClaimCheck, Result<(), ClaimsError>)>,
    /// What the claims say, or the first that is wrong with them.
    pub verified: Result<VerifiedClaims, ClaimsError>,
}

/// Makes every check.
pub fn examine(claims: &Map<String, Value>, settings: &IssuerSettings, now: Now) -> ClaimsExamined {
    let mut made = Made::default();
    let verified = verified(Reader(claims), settings, now, &mut made);
    let first = made.0.iter().find_map(|(_, result)| result.clone().err());
    let verified = match (first, verified) {
        (Some(error), _) => Err(error),
        (None, verified) => Ok(verified.expect("whatever could not be read has been noted as what is wrong")),
    };
    ClaimsExamined { checks: made.0, verified }
}

/// The checks that were made.
#[derive(Default)]
struct Made(Vec<(ClaimCheck, Result<(), ClaimsError>)>);

impl Made {
    /// Notes what a check came to, and hands on what it read.
    fn note<T>(&mut self, check: ClaimCheck, result: Result<T, ClaimsError>) -> Option<T> {
        let (read, result) = match result {
            Ok(read) => (Some(read), Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.0.push((check, result));
        read
    }
}

/// What the claims say; `None` when something could not be read.
fn verified(
    reader: Reader<'_>,
    settings: &IssuerSettings,
    now: Now,
    made: &mut Made,
) -> Option<VerifiedClaims> {
    made.note(ClaimCheck::Issuer, check_issuer(reader, settings));
    // What kind of token it is comes first: "send an access token" helps whoever sent an ID token, whose audience
    // is wrong as well.
    made.note(ClaimCheck::Purpose, check_purpose(reader));
    let actor = made.note(ClaimCheck::Agent, agent(reader, settings));
    let scopes = made.note(ClaimCheck::Scopes, granted_scopes(reader, settings));
    let person = match (&actor, &scopes) {
        (Some(actor), Some(scopes)) => {
            made.note(ClaimCheck::Person, person(reader, settings, actor.as_ref(), scopes))
        }
        (None, _) | (_, None) => None,
    };
    if settings.profile == Profile::Rfc9068 {
        made.note(ClaimCheck::Profile, check_profile(reader));
    }
    let confirmation = made.note(ClaimCheck::Confirmation, possession::confirmation(reader.0.get("cnf")));
    made.note(ClaimCheck::Audience, check_audience(reader, settings));
    let expires_at = made.note(ClaimCheck::Times, check_times(reader, settings, now));
    let may_act = made.note(ClaimCheck::MayAct, may_act(reader));
    // Where agents prove by a token of their own who they are, that token decides.
    let agent_proves_itself =
        settings.exchange.as_ref().is_some_and(|exchange| exchange.grant.wants_agents_token());
    if let Some(actor) = actor.as_ref().filter(|_| !agent_proves_itself) {
        made.note(ClaimCheck::AgentAllowed, check_agent(actor.as_ref(), settings));
    }
    if let Some(scopes) = &scopes {
        made.note(ClaimCheck::RequiredScopes, check_required_scopes(scopes, settings));
    }
    let rest = made.note(ClaimCheck::Rest, rest(reader, settings));
    let (tenant, subject) = person?;
    let rest = rest?;
    Some(VerifiedClaims {
        issuer_name: settings.name.clone(),
        issuer: settings.issuer.clone(),
        tenant,
        subject,
        actor: actor?,
        may_act: may_act?,
        confirmation: confirmation?,
        scopes: scopes?,
        groups: rest.groups,
        roles: rest.roles,
        token_id: rest.token_id,
        session: rest.session,
        display_name: rest.display_name,
        authentication: Arc::new(rest.authentication),
        authenticated_at: rest.authenticated_at,
        issued_at: rest.issued_at,
        expires_at: expires_at?,
        handles_claims_challenges: rest.handles_claims_challenges,
        is_agent_alone: false,
    })
}

fn check_issuer(reader: Reader<'_>, settings: &IssuerSettings) -> Result<(), ClaimsError> {
    let iss = reader.text("iss")?;
    let is_other = settings.other_issuer.as_ref().is_some_and(|other| other.as_str() == iss);
    match iss == settings.issuer.as_str() || is_other {
        true => Ok(()),
        false => Err(ClaimsError::WrongType("iss")),
    }
}

fn granted_scopes(reader: Reader<'_>, settings: &IssuerSettings) -> Result<Scopes, ClaimsError> {
    match &settings.claim_names.scopes {
        Some(path) => Ok(scopes_of(reader.texts_at(path, "claims.scopes")?)),
        None => scopes(reader),
    }
}

fn person(
    reader: Reader<'_>,
    settings: &IssuerSettings,
    actor: Option<&Actor>,
    scopes: &Scopes,
) -> Result<(Tenant, Subject), ClaimsError> {
    match &settings.kind {
        IssuerKind::Entra { tenant } => entra_person(reader, tenant, scopes, actor),
        IssuerKind::Oidc => oidc_person(reader, settings.claim_names.subject.as_ref(), actor),
    }
}

/// RFC 9068 section 2.2.
fn check_profile(reader: Reader<'_>) -> Result<(), ClaimsError> {
    for name in ["sub", "client_id", "jti"] {
        reader.text(name)?;
    }
    reader.time("iat")?.ok_or(ClaimsError::Missing("iat")).map(drop)
}

fn check_required_scopes(scopes: &Scopes, settings: &IssuerSettings) -> Result<(), ClaimsError> {
    let missing = settings.required_scopes.missing_from(scopes);
    match missing.is_empty() {
        true => Ok(()),
        false => Err(ClaimsError::Scopes { required: settings.required_scopes.clone(), missing }),
    }
}

/// What nothing is demanded of but that it can be read.
struct Rest {
    groups: Vec<Arc<str>>,
    roles: Vec<Arc<str>>,
    token_id: Option<Arc<str>>,
    session: Option<Arc<str>>,
    display_name: Option<Arc<str>>,
    authentication: Authentication,
    authenticated_at: Option<u64>,
    issued_at: Option<u64>,
    handles_claims_challenges: bool,
}

/// What the person is called, where that is wanted. Nothing depends on it, so an odd one is none.
fn display_name(reader: Reader<'_>, settings: &IssuerSettings) -> Option<Arc<str>> {
    let name = reader.0.get("name").filter(|_| settings.keeps_display_names)?.as_str()?;
    (!name.is_empty() && name.len() <= DISPLAY_NAME_BYTES_MAX).then(|| name.into())
}

fn rest(reader: Reader<'_>, settings: &IssuerSettings) -> Result<Rest, ClaimsError> {
    let names = &settings.claim_names;
    Ok(Rest {
        groups: match &names.groups {
            Some(path) => shared(reader.texts_at(path, "claims.groups")?),
            None => reader.texts("groups")?,
        },
        roles: match &names.roles {
            Some(path) => shared(reader.texts_at(path, "claims.roles")?),
            None => reader.texts("roles")?,
        },
        token_id: match reader.optional_text("jti")? {
            Some(id) => Some(id.into()),
            None => reader.optional_text("uti")?.map(Into::into),
        },
        session: reader.optional_text("sid")?.map(Into::into),
        display_name: display_name(reader, settings),
        authentication: authentication(reader)?,
        authenticated_at: reader.time("auth_time")?,
        issued_at: reader.time("iat")?,
        handles_claims_challenges: reader
            .texts_or_text("xms_cc")?
            .iter()
            .any(|capability| capability.eq_ignore_ascii_case("cp1")),
    })
}
