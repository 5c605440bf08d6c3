//! What a tool's token has to be good for, in the words of the grant that obtains it.

use std::collections::BTreeSet;

use super::application::{Application, Naming as ApplicationNaming};
use super::exchange::Naming;
use super::issuers::{Exchange, KnownIssuer};
use crate::checked_url::CheckedUrl;
use crate::config::at::At;
use crate::config::file;
use crate::config::nearest::suggestion;
use crate::identity::{Audience, IssuerName, Scopes};
use crate::oauth::TargetParameter;
use crate::tool::{Resource, ResourceAuthorizationServerName, Target};

/// Microsoft Graph and its national clouds, whose scopes are commonly written without the resource.
const GRAPH_HOSTS: [&str; 4] = [
    "graph.microsoft.com",
    "graph.microsoft.us",
    "dod-graph.microsoft.us",
    "microsoftgraph.chinacloudapi.cn",
];
/// Scopes of signing in. They name no resource, and a token for a connector needs none of them.
const SIGN_IN_SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// How the tokens of a connector are obtained.
pub enum Delegation {
    /// Entra: the scopes name the target.
    OnBehalfOf,
    /// RFC 8693: by each of these parameters, one for each issuer.
    TokenExchange(Vec<TargetParameter>),
    /// ID-JAG: by one of the resource authorization servers of each issuer.
    IdJag(Vec<(IssuerName, Vec<String>)>),
}

/// How its issuers obtain tokens for a connector; `None` when they cannot, or cannot all in the same way.
pub fn delegation(issuers: &[&KnownIssuer], at: &At<'_>) -> Option<Delegation> {
    let mut ways = Vec::new();
    let mut sound = true;
    for issuer in issuers {
        match &issuer.exchange {
            Exchange::By(naming) => ways.push((&issuer.name, naming)),
            Exchange::Unclear => sound = false,
            Exchange::Missing => {
                at.fault(format_args!(
                    "needs `issuers.{0}.exchange`, which is not there: `on_behalf_of` obtains its tokens by \
                     it",
                    issuer.name
                ));
                sound = false;
            }
        }
    }
    if !sound {
        return None;
    }
    let mut parameters = Vec::new();
    let mut resource_authorization_servers = Vec::new();
    for (issuer, naming) in &ways {
        match naming {
            Naming::Scopes => {}
            Naming::Parameter(parameter) => parameters.push(*parameter),
            Naming::ResourceAuthorizationServers(names) => {
                resource_authorization_servers.push(((*issuer).clone(), names.clone()))
            }
        }
    }
    match (parameters.len(), resource_authorization_servers.len()) {
        (0, 0) => Some(Delegation::OnBehalfOf),
        (count, 0) if count == ways.len() => Some(Delegation::TokenExchange(parameters)),
        (0, count) if count == ways.len() => Some(Delegation::IdJag(resource_authorization_servers)),
        (_, 1..) => {
            at.fault("has issuers with `grant: id_jag` and issuers without: make one connector for each");
            None
        }
        _ => {
            at.fault(
                "has issuers with different grants, which write scopes differently: make one connector for \
                 each",
            );
            None
        }
    }
}

/// How its issuers are asked for application tokens for a connector; `None` when they cannot, or not all in a way that
/// one list of scopes fits.
pub fn application(issuers: &[&KnownIssuer], at: &At<'_>) -> Option<Vec<ApplicationNaming>> {
    let mut ways = Vec::new();
    let mut sound = true;
    for issuer in issuers {
        match issuer.application {
            Application::By(naming) => ways.push(naming),
            Application::Unclear => sound = false,
            Application::Missing => {
                at.fault(format_args!(
                    "needs `issuers.{0}.application`, or `exchange` there, and neither is: `app_only` obtains its \
                     tokens by their client",
                    issuer.name
                ));
                sound = false;
            }
        }
    }
    let is_entra = |naming: &ApplicationNaming| *naming == ApplicationNaming::DefaultScope;
    if sound && ways.iter().any(is_entra) && !ways.iter().all(is_entra) {
        at.fault("has issuers of both kinds, whose `app_only` scopes differ: make one connector for each");
        return None;
    }
    sound.then_some(ways)
}

/// Refuses an audience that goes nowhere: all of the connector is for people's own connections.
pub fn check_unused_audience(connector: &file::Connector, at: &At<'_>) {
    if connector.audience.is_some() {
        at.key("audience").fault(
            "has no effect with `identity: connection`: leave it out, or name the service by `resource`, where its server \
             wants to be told",
        );
    }
}

/// What a connector says of itself to authorization servers.
pub struct TargetNames {
    audience: Option<Audience>,
    /// `None` when it is not sound.
    resource: Option<Option<Resource>>,
    authorization_server: Option<ResourceAuthorizationServerName>,
    /// What goes before scopes that name no resource, if anything can. `None` when that depends on a fault.
    scope_prefix: Option<Option<String>>,
}

impl TargetNames {
    pub fn of(connector: &file::Connector, at: &At<'_>, upstream: Option<&CheckedUrl>) -> Self {
        let resource = match connector.resource.as_deref() {
            Some(text) => resource(&at.key("resource"), text).map(Some),
            None => Some(None),
        };
        let scope_prefix = match (&connector.audience, upstream) {
            (Some(audience), _) => Some(Some(audience.trim_end_matches('/').to_owned())),
            (None, Some(url)) => {
                Some(GRAPH_HOSTS.contains(&url.host()).then(|| format!("https://{}", url.host())))
            }
            (None, None) => None,
        };
        Self {
            audience: connector.audience.as_deref().map(Audience::new),
            resource,
            authorization_server: connector
                .authorization_server
                .as_deref()
                .map(ResourceAuthorizationServerName::new),
            scope_prefix,
        }
    }

    /// The target of a tool with these scopes, written at `at`. Faults of the connector itself are noted at
    /// `connector_at`, so that they are noted once.
    pub fn target(
        &self,
        delegation: &Delegation,
        scopes: Scopes,
        at: &At<'_>,
        connector_at: &At<'_>,
    ) -> Option<Target> {
        let resource = self.resource.clone()?;
        let authorization_server = self.authorization_server(delegation, connector_at)?;
        let scopes = match delegation {
            Delegation::OnBehalfOf => self.qualified(scopes, at, connector_at)?,
            Delegation::TokenExchange(parameters) => {
                for parameter in parameters {
                    self.check_parameter(*parameter, "exchange", &scopes, at, connector_at)?;
                }
                scopes
            }
            Delegation::IdJag(_) => scopes,
        };
        Some(Target { audience: self.audience.clone(), resource, authorization_server, scopes })
    }

    /// The target of a tool that the application uses, as [`target`](Self::target).
    pub fn application_target(
        &self,
        ways: &[ApplicationNaming],
        scopes: Scopes,
        at: &At<'_>,
        connector_at: &At<'_>,
    ) -> Option<Target> {
        let resource = self.resource.clone()?;
        if self.authorization_server.is_some() {
            connector_at.key("authorization_server").fault(
                "issues no tokens for `app_only` tools, whose own issuer does: make a connector of its own for them",
            );
            return None;
        }
        let mut scopes = scopes;
        for naming in ways {
            match naming {
                ApplicationNaming::DefaultScope => scopes = self.default_scope(&scopes, at, connector_at)?,
                ApplicationNaming::Parameter(parameter) => {
                    self.check_parameter(*parameter, "application", &scopes, at, connector_at)?;
                }
            }
        }
        Some(Target { audience: self.audience.clone(), resource, authorization_server: None, scopes })
    }

    /// Entra gives an application all that it was granted for a resource, and takes no other scope than that.
    fn default_scope(&self, scopes: &Scopes, at: &At<'_>, connector_at: &At<'_>) -> Option<Scopes> {
        let prefix = self.scope_prefix.as_ref()?;
        let own = prefix.as_ref().map(|prefix| format!("{prefix}/.default"));
        let given: Vec<&str> = scopes.iter().collect();
        match (given.as_slice(), own) {
            ([] | [".default"], Some(own)) => Some(Scopes::new([own])),
            ([] | [".default"], None) => {
                connector_at.key("audience").fault(
                    "is required: an `app_only` token of Entra's is for a resource, so give the connector's application \
                     ID URI, like `api://notes`",
                );
                None
            }
            ([scope], _) if scope.strip_suffix("/.default").is_some_and(|resource| !resource.is_empty()) => {
                Some(scopes.clone())
            }
            (given, own) => {
                at.fault(format_args!(
                    "asks for {}, and Entra gives an application all that it was granted or nothing: write \
                     `scopes: [\"{}\"]`",
                    given.iter().map(|scope| format!("`{scope}`")).collect::<Vec<_>>().join(", "),
                    own.as_deref().unwrap_or("<resource>/.default"),
                ));
                None
            }
        }
    }

    fn authorization_server(
        &self,
        delegation: &Delegation,
        connector_at: &At<'_>,
    ) -> Option<Option<ResourceAuthorizationServerName>> {
        let at = connector_at.key("authorization_server");
        let Delegation::IdJag(issuers) = delegation else {
            if self.authorization_server.is_some() {
                at.fault("goes with an issuer whose `exchange` has `grant: id_jag`: leave it out");
                return None;
            }
            return Some(None);
        };
        let listed =
            |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let name = at.required(
            self.authorization_server.as_ref(),
            &format!("name who issues its tokens: {}", listed(&issuers[0].1)),
        )?;
        for (issuer, names) in issuers {
            if !names.iter().any(|known| known == name.as_str()) {
                let near = suggestion(name.as_str(), names.iter().map(String::as_str));
                at.fault_found(format_args!(
                    "is not under `issuers.{issuer}.exchange.resource_authorization_servers`, which has {}{near}",
                    listed(names)
                ));
                return None;
            }
        }
        Some(Some(name.clone()))
    }

    fn check_parameter(
        &self,
        parameter: TargetParameter,
        part: &str,
        scopes: &Scopes,
        at: &At<'_>,
        connector_at: &At<'_>,
    ) -> Option<()> {
        let (key, there) = match parameter {
            TargetParameter::Audience => ("audience", self.audience.is_some()),
            TargetParameter::Resource => ("resource", self.resource.as_ref().is_some_and(Option::is_some)),
            TargetParameter::Scope if scopes.is_empty() => {
                at.fault(format_args!(
                    "is required: the issuer's `{part}` has `target: scope`, so scopes name the connector"
                ));
                return None;
            }
            TargetParameter::Scope => return Some(()),
        };
        if !there {
            connector_at.key(key).fault(format_args!(
                "is required: the issuer's `{part}` names connectors by it (`target: {key}`)"
            ));
        }
        there.then_some(())
    }

    /// Entra has no parameter for the target: each scope begins with it.
    fn qualified(&self, scopes: Scopes, at: &At<'_>, connector_at: &At<'_>) -> Option<Scopes> {
        let prefix = self.scope_prefix.as_ref()?;
        if scopes.is_empty() {
            // On a Graph host alone it would be everything that was ever consented to: that is said, or not
            // had.
            let Some(audience) = prefix.as_ref().filter(|_| self.audience.is_some()) else {
                at.fault("is required: with `on_behalf_of` the scopes name what the token is for");
                return None;
            };
            return Some(Scopes::new([format!("{audience}/.default")]));
        }
        let mut qualified = Vec::new();
        for scope in scopes.iter() {
            if SIGN_IN_SCOPES.contains(&scope) {
                at.fault(format_args!("has `{scope}`, which is for signing in: leave it out"));
                return None;
            }
            match prefix {
                _ if scope.contains("://") => qualified.push(scope.to_owned()),
                Some(prefix) => qualified.push(format!("{prefix}/{scope}")),
                None => {
                    connector_at.key("audience").fault(
                        "is required, since its scopes do not say whose they are: give the connector's \
                         application \
                         ID URI, like `api://notes`",
                    );
                    return None;
                }
            }
        }
        let resources: BTreeSet<&str> = qualified
            .iter()
            .map(|scope| scope.rsplit_once('/').map_or(scope.as_str(), |(of, _)| of))
            .collect();
        if resources.len() > 1 {
            let resources: Vec<&str> = resources.into_iter().collect();
            at.fault(format_args!(
                "names several resources ({}): a token is for one, so make a tool for each",
                resources.join(", ")
            ));
            return None;
        }
        Some(Scopes::new(qualified))
    }
}

/// An absolute URI without a fragment (RFC 8707 section 2).
fn resource(at: &At<'_>, text: &str) -> Option<Resource> {
    match url::Url::parse(text) {
        Ok(uri) if uri.fragment().is_none() => Some(Resource::new(text)),
        Ok(_) => {
            at.fault_found("must not have a fragment (#…)");
            None
        }
        Err(_) => {
            at.fault_found("must be an absolute URI, like `https://notes.example/`");
            None
        }
    }
}
