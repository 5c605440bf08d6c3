//! `application`: how the gateway obtains tokens of its own from an issuer, for `app_only` tools.

use super::{Surroundings, exchange};
use crate::config::at::At;
use crate::config::file;
use crate::gateway::{ConnectorSettings, ListWithoutPerson, Tools};
use crate::oauth::{ApplicationSettings, ExchangeSettings, IssuerSettings, TargetParameter};
use crate::tool::{IdentityMode, Tool};

/// Whether an issuer can be asked for application tokens.
#[derive(Clone, Copy)]
pub enum Application {
    /// It can, and the target is named so.
    By(Naming),
    /// It knows no client of the gateway's.
    Missing,
    /// It has faults of its own, so nothing can be said.
    Unclear,
}

/// What names the target to a server that is asked for an application token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// Entra: one scope, the resource and `/.default`.
    DefaultScope,
    /// A parameter of the request.
    Parameter(TargetParameter),
}

/// What a connector needs to know of it. `at` is the issuer's place.
pub fn known(issuer: Option<&file::Issuer>, at: &At<'_>) -> Application {
    let Some(issuer) = issuer else { return Application::Unclear };
    let (exchange_at, application_at) = (at.key("exchange"), at.key("application"));
    if issuer.exchange.is_none() && issuer.application.is_none() {
        let is_written = exchange_at.is_written() || application_at.is_written();
        return if is_written { Application::Unclear } else { Application::Missing };
    }
    match issuer.kind {
        Some(file::IssuerKind::Entra) => Application::By(Naming::DefaultScope),
        Some(file::IssuerKind::Oidc) => target(issuer, at)
            .map_or(Application::Unclear, |parameter| Application::By(Naming::Parameter(parameter))),
        None => Application::Unclear,
    }
}

/// Checks an issuer's application. `exchange` is what came of its exchange: the client there is the application's unless
/// `application` names another. `at` is the issuer's place.
pub fn settings(
    issuer: &file::Issuer,
    exchange: Option<&Option<ExchangeSettings>>,
    at: &At<'_>,
    surroundings: &Surroundings<'_>,
) -> Option<Option<ApplicationSettings>> {
    let is_entra = issuer.kind == Some(file::IssuerKind::Entra);
    let application_at = at.key("application");
    let application = issuer.application.as_ref();
    if is_entra && application.is_some_and(|application| application.target.is_some()) {
        application_at
            .key("target")
            .fault("goes with `kind: oidc`: leave it out, Entra has the scope name the target");
    }
    let extra = exchange::extra(
        application.and_then(|application| application.extra.as_ref()),
        &application_at.key("extra"),
    );
    let client_id = application.and_then(|application| application.client_id.as_deref());
    let client_auth = application.and_then(|application| application.client_auth.as_ref());
    let (id_at, auth_at) = (application_at.key("client_id"), application_at.key("client_auth"));
    let own = match (id_at.is_written(), auth_at.is_written()) {
        (false, false) => None,
        (true, true) => Some((client_id, exchange::client_auth(client_auth, &auth_at, surroundings))),
        (true, false) => {
            id_at.fault("needs `client_auth`, by which the gateway proves to be that client: add it");
            Some((client_id, None))
        }
        (false, true) => {
            auth_at.fault("needs `client_id`, the client that it proves: add it, or leave both out for that of `exchange`");
            Some((None, None))
        }
    };
    let (client_id, client_auth, refuses_more_scopes) = match (own, exchange?) {
        (Some((client_id, client_auth)), exchange) => {
            let refuses = exchange.as_ref().is_some_and(|exchange| exchange.refuses_more_scopes);
            (client_id?.into(), client_auth?, refuses)
        }
        (None, Some(exchange)) => {
            let ExchangeSettings { client_id, client_auth, refuses_more_scopes, .. } = exchange;
            (std::sync::Arc::clone(client_id), client_auth.clone(), *refuses_more_scopes)
        }
        (None, None) if application.is_some() => {
            id_at.fault("is required: give the application's client ID, since there is no `exchange` whose client it could be");
            return None;
        }
        (None, None) => return Some(None),
    };
    let target = if is_entra { TargetParameter::Scope } else { target(issuer, at)? };
    Some(Some(ApplicationSettings { client_id, client_auth, target, extra: extra?, refuses_more_scopes }))
}

/// Which parameter names the target: the application's own, or else that of the exchange.
fn target(issuer: &file::Issuer, at: &At<'_>) -> Option<TargetParameter> {
    let own = issuer.application.as_ref().and_then(|application| application.target);
    let application_at = at.key("application");
    match (own, &issuer.exchange) {
        (None, Some(exchange)) if !application_at.lost("target") => {
            exchange::parameter(exchange.target, &at.key("exchange"))
        }
        (own, _) => exchange::parameter(own, &application_at),
    }
}

/// Leaves the settings to those issuers alone for whose people there is an `app_only` tool: elsewhere there is nothing by
/// which an application token could be had.
pub fn keep_where_used(issuers: &mut [IssuerSettings], connectors: &[ConnectorSettings]) {
    for issuer in issuers {
        let uses = |tool: &Tool, lists: bool| {
            (lists || tool.identity == IdentityMode::AppOnly) && tool.issuers.contains(&issuer.name)
        };
        let is_used = connectors.iter().any(|connector| match &connector.tools {
            Tools::Any(tool) => uses(tool, false),
            Tools::Listed(tools) => tools.iter().any(|(_, tool)| uses(tool, false)),
            Tools::Mcp(mcp) => {
                let listed = mcp.listed.iter().flatten();
                uses(&mcp.unlisted, matches!(mcp.list_without_person, ListWithoutPerson::AppOnly(_)))
                    || listed.into_iter().any(|tool| uses(tool, false))
            }
        });
        if !is_used {
            issuer.application = None;
        }
    }
}
