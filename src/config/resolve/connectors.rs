//! `connectors`: what agents can call, and where it is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::files::authorities;
use super::issuers::{Issuers, KnownIssuer};
use super::target::TargetNames;
use super::tools::{Host, Ways};
use super::{bounds, headers, limits, modes, origins, target, tools, values};
use crate::checked_url::CheckedUrl;
use crate::config::at::At;
use crate::config::file::{self, ConnectorKind, File, Identity};
use crate::config::nearest::suggestion;
use crate::gateway::path::{CanonicalPath, ConnectorPath};
use crate::gateway::{ConnectorSettings, ConnectorTimeouts, Origin};
use crate::limit::RateLimit;
use crate::tool::ConnectorName;

/// Checks all connectors.
pub fn settings(file: &File, root: &At<'_>, issuers: &Issuers) -> Option<Vec<ConnectorSettings>> {
    let at = root.key("connectors");
    let connectors = at.required(file.connectors.as_ref(), "name at least one system that agents call")?;
    if connectors.0.is_empty() {
        at.fault("is empty: name at least one system that agents call");
    }
    let origins_at = root.key("allowed_origins");
    let gateways_origins = match &file.allowed_origins {
        Some(origins) => origins::origins(&origins_at, origins),
        None => (!origins_at.is_written()).then(Vec::new),
    };
    let gateways_limits = limits::of_gateway(file.limits.as_ref(), &root.key("limits"));
    let gateways = Gateways {
        origins: gateways_origins.as_deref(),
        limits: gateways_limits.as_deref(),
        body_timeout: bounds::body_timeout(file, root),
    };
    let publishes = issuers.settings.iter().any(|issuer| issuer.publication.is_some());
    let mut paths: HashMap<ConnectorPath, &str> = HashMap::new();
    let mut checked = Vec::new();
    for (name, connector) in &connectors.0 {
        let at = at.key(name);
        values::check_name(&at, name);
        let path = path(connector, &at.key("path"));
        if let Some(path) = &path
            && let Some(other) = paths.insert(path.clone(), name)
        {
            at.key("path").fault_found(format_args!("is the path of `{other}` already: give each its own"));
        }
        if let Some(path) = &path
            && publishes
            && (path.as_str() == "/issuers" || path.as_str().starts_with("/issuers/"))
        {
            at.key("path").fault_found("lies under /issuers, where `publish_metadata` publishes metadata");
        }
        checked.push(connector_settings(name, connector, &at, path, &gateways, issuers));
    }
    checked.into_iter().collect()
}

/// What the gateway says of all connectors. `None` when it has faults.
struct Gateways<'a> {
    origins: Option<&'a [Origin]>,
    limits: Option<&'a [Arc<RateLimit>]>,
    body_timeout: Option<Duration>,
}

fn connector_settings(
    name: &str,
    connector: &file::Connector,
    at: &At<'_>,
    path: Option<ConnectorPath>,
    gateways: &Gateways<'_>,
    issuers: &Issuers,
) -> Option<ConnectorSettings> {
    let kind = at.key("kind").required(connector.kind, "`rest` for an HTTP API, `mcp` for an MCP server");
    let upstream = upstream(connector, &at.key("upstream"));
    let extra_roots = authorities(&at.key("ca_file"), connector.ca_file.as_deref());
    let pass_headers = headers::passed(&at.key("pass_headers"), connector.pass_headers.as_deref());
    let timeouts = timeouts(connector, &at.key("timeouts"));
    let allowed_origins = match &connector.allowed_origins {
        Some(own) => origins::origins(&at.key("allowed_origins"), own),
        None if at.key("allowed_origins").is_written() => None,
        None => gateways.origins.map(<[_]>::to_vec),
    };
    let issuers = issuers_of(connector, at, issuers);
    let names = TargetNames::of(connector, at, upstream.as_ref());
    let identity = tools::identity(connector.identity);
    let listed = kind.and_then(|kind| tools::of(connector, kind, at));
    let listed = listed.as_ref().map(Option::as_deref);
    modes::check(connector, listed.flatten(), at);
    let limits = limits::of_connector(connector, listed.flatten(), at, gateways.limits);
    let uses = |mode| {
        let listed = kind.zip(listed);
        listed.is_some_and(|(kind, tools)| modes::in_use(connector, tools, kind).any(|used| used == mode))
    };
    // Whoever writes where people sign in wants no exchange; that the mode is missing is noted there.
    let is_unsaid =
        connector.connection.is_some() && connector.identity.is_none() && !modes::connects(connector);
    if uses(Identity::Connection) && !uses(Identity::OnBehalfOf) && !uses(Identity::AppOnly) {
        target::check_unused_audience(connector, at);
    }
    let ways = Ways {
        // What no tool wants is not asked for, and not missed.
        delegation: (issuers.as_ref().filter(|_| uses(Identity::OnBehalfOf) && !is_unsaid))
            .and_then(|issuers| target::delegation(issuers, at)),
        application: (issuers.as_ref().filter(|_| uses(Identity::AppOnly)))
            .and_then(|issuers| target::application(issuers, at)),
    };
    let host = Host {
        name: ConnectorName::new(name),
        issuers: issuers.map(|issuers| issuers.iter().map(|issuer| issuer.name.clone()).collect()),
        identity,
        ways,
        names,
        connector,
        tools: listed,
        at,
    };
    let tools = kind.and_then(|kind| match kind {
        ConnectorKind::Rest => tools::rest_tools(&host),
        ConnectorKind::Mcp => tools::mcp_tools(&host),
    });
    Some(ConnectorSettings {
        name: host.name,
        path: path?,
        upstream: upstream?,
        extra_roots: extra_roots?,
        tools: tools?,
        pass_headers: pass_headers?,
        allowed_origins: allowed_origins?,
        timeouts: timeouts?,
        // A connector may be less patient with bodies, and not more.
        body_timeout: gateways.body_timeout?.min(timeouts?.idle),
        repeats: connector.retries.unwrap_or(true),
        limits: limits?,
    })
}

fn path(connector: &file::Connector, at: &At<'_>) -> Option<ConnectorPath> {
    let path =
        at.required(connector.path.as_deref(), "give the path under which agents call it, like `/mail`")?;
    at.checked(path.parse())
}

fn upstream(connector: &file::Connector, at: &At<'_>) -> Option<CheckedUrl> {
    let text = at.required(connector.upstream.as_deref(), "give the address that calls go to")?;
    let url = values::url(at, text, values::plain_http(connector.allow_plain_http))?;
    if url.as_url().query().is_some() {
        at.fault_found("must not have a query (?…): what agents send is appended to its path");
        return None;
    }
    // A URL parser repairs what it reads (`/a/../b`, `\`); what is written must already be what is called.
    let written = text.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
    let path = written.unwrap_or("/");
    if let Err(error) = CanonicalPath::parse(path) {
        at.fault_found(format_args!("has a path that {error}"));
        return None;
    }
    if path != url.as_url().path() {
        at.fault_found("has a path that would be sent differently from how it is written");
        return None;
    }
    if path.len() > 1 && path.ends_with('/') {
        at.fault_found("must not end with `/`");
        return None;
    }
    Some(url)
}

fn timeouts(connector: &file::Connector, at: &At<'_>) -> Option<ConnectorTimeouts> {
    let defaults = ConnectorTimeouts::default();
    let given = connector.timeouts.as_ref();
    let connect = given.and_then(|given| given.connect.as_deref());
    let response = given.and_then(|given| given.response.as_deref());
    let idle = given.and_then(|given| given.idle.as_deref());
    let connect = values::duration(&at.key("connect"), connect, defaults.connect);
    let response = values::duration(&at.key("response"), response, defaults.response);
    let idle = values::duration(&at.key("idle"), idle, defaults.idle);
    Some(ConnectorTimeouts { connect: connect?, response: response?, idle: idle? })
}

/// The issuers whose users may call a connector.
fn issuers_of<'a>(
    connector: &file::Connector,
    at: &At<'_>,
    issuers: &'a Issuers,
) -> Option<Vec<&'a KnownIssuer>> {
    let (one, several) = (at.key("issuer"), at.key("issuers"));
    match (&connector.issuer, &connector.issuers) {
        (Some(_), Some(_)) => {
            one.fault("stands beside `issuers`: leave out one of the two");
            None
        }
        (Some(name), None) => Some(vec![issuer(&one, name, issuers)?]),
        (None, Some(names)) => {
            if !values::not_empty(
                &several,
                Some(names),
                "nobody could call; name the issuers whose users may",
            ) {
                return None;
            }
            let found: Vec<_> = names
                .iter()
                .enumerate()
                .map(|(index, name)| issuer(&several.index(index), name, issuers))
                .collect();
            found.into_iter().collect()
        }
        (None, None) if several.is_written() => None,
        (None, None) => match issuers.known.as_slice() {
            [only] => Some(vec![only]),
            // That there is none is a fault of its own.
            [] => None,
            _ => one.required(None, &format!("name the issuer whose users may call: {}", listed(issuers))),
        },
    }
}

fn issuer<'a>(at: &At<'_>, name: &str, issuers: &'a Issuers) -> Option<&'a KnownIssuer> {
    let found = issuers.known.iter().find(|known| known.name.as_str() == name);
    if found.is_none() && !issuers.known.is_empty() {
        let near = suggestion(name, issuers.known.iter().map(|known| known.name.as_str()));
        at.fault_found(format_args!("is not under `issuers`, which has {}{near}", listed(issuers)));
    }
    found
}

fn listed(issuers: &Issuers) -> String {
    let names: Vec<String> = issuers.known.iter().map(|known| format!("`{}`", known.name)).collect();
    names.join(", ")
}
