//! A connector as a protected resource (RFC 9728): what a client reads that knows only its address, to find out where
//! the person signs in, and what to ask for there.

use bytes::Bytes;
use serde::Serialize;
use url::Url;

use super::settings::{ConnectorSettings, PublicSettings};
use crate::identity::{Audience, IssuerName, Scopes};
use crate::oauth::authorization_server::{AuthorizationServer, AuthorizationServers};
use crate::oauth::keys::accepted_algorithms;
use crate::oauth::{IssuerKind, IssuerSettings};

/// Where the metadata of all resources is, followed by the path of the resource (RFC 9728 section 3.1).
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
/// The scope by which a client asks for a refresh token. That is between it and the authorization server: what the
/// connector demands is never that.
const OFFLINE_ACCESS: &str = "offline_access";

/// A connector as clients see it.
pub struct ProtectedResource {
    metadata_url: String,
    path: String,
    document: Bytes,
    issuers: Vec<IssuerScopes>,
    /// Scopes that every tool demands.
    common: Scopes,
    to_begin_with: Option<Scopes>,
}

/// What one of the connector's issuers is asked for.
struct IssuerScopes {
    name: IssuerName,
    /// What every token of it must hold.
    required: Scopes,
    /// What stands before a scope where it is asked for, and not where a token holds it.
    prefix: Option<String>,
}

impl ProtectedResource {
    /// The connector as clients see it. `None` when it is not known by which address they do.
    pub fn new(
        connector: &ConnectorSettings,
        servers: &AuthorizationServers,
        public: &PublicSettings,
    ) -> Option<Self> {
        let public_url = public.public_url.as_ref()?;
        let resource = address(public_url, connector.path.as_str());
        let path = format!("{WELL_KNOWN}{}", resource_path(&resource));
        let metadata_url = format!("{}{path}", public_url.origin().ascii_serialization());
        let servers = servers_of(connector, servers);
        let issuers: Vec<IssuerScopes> =
            servers.iter().map(|server| IssuerScopes::of(server.settings(), &resource)).collect();
        let mut demands = connector.tools.declared().into_iter().map(|tool| &tool.required_scopes);
        let first = demands.next().cloned().unwrap_or_default();
        let (common, all) = demands.fold((first.clone(), first), |(common, all), demanded| {
            let shared = common.iter().filter(|scope| demanded.contains(scope)).map(str::to_owned);
            (Scopes::new(shared), union(&all, demanded))
        });
        let document = Document {
            resource: &resource,
            resource_name: connector.name.as_str(),
            authorization_servers: servers
                .iter()
                .map(|server| server.issuer_for_clients().as_str())
                .collect(),
            scopes_supported: agreed(&issuers, &all)
                .filter(|scopes| !scopes.is_empty())
                .map(|scopes| scopes.iter().map(str::to_owned).collect()),
            bearer_methods_supported: ["header"],
            dpop_signing_alg_values_supported: accepted_algorithms().split(' ').map(str::to_owned).collect(),
            tls_client_certificate_bound_access_tokens: public.takes_certificates,
        };
        // Texts and booleans only: writing them into memory does not fail.
        let document = serde_json::to_vec(&document).unwrap_or_default().into();
        let to_begin_with = agreed(&issuers, &common).filter(|scopes| !scopes.is_empty());
        Some(Self { metadata_url, path, document, issuers, common, to_begin_with })
    }

    /// The address of its metadata.
    pub fn metadata_url(&self) -> &str {
        &self.metadata_url
    }

    /// The path at which its metadata is asked for.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its metadata, as JSON.
    pub fn document(&self) -> &Bytes {
        &self.document
    }

    /// What a client asks for that has no token yet: as little as will do for something. `None` when there is nothing,
    /// or when it depends on where the person signs in.
    pub fn scopes_to_begin_with(&self) -> Option<&Scopes> {
        self.to_begin_with.as_ref()
    }

    /// What a client asks for whose token lacks some of `demanded`: all that the call needs, at once. `issuer` is where
    /// the person signed in, where that is known.
    pub fn scopes_to_ask_for(&self, demanded: &Scopes, issuer: Option<&IssuerName>) -> Scopes {
        let demanded = union(demanded, &self.common);
        match self.issuers.iter().find(|known| Some(&known.name) == issuer) {
            Some(issuer) => issuer.asked_for(&demanded),
            None => agreed(&self.issuers, &demanded).unwrap_or(demanded),
        }
    }
}

/// RFC 9728 section 2.
#[derive(Serialize)]
struct Document<'a> {
    resource: &'a str,
    resource_name: &'a str,
    authorization_servers: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes_supported: Option<Vec<String>>,
    bearer_methods_supported: [&'static str; 1],
    dpop_signing_alg_values_supported: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls_client_certificate_bound_access_tokens: bool,
}

impl IssuerScopes {
    fn of(issuer: &IssuerSettings, resource: &str) -> Self {
        let prefix = match issuer.kind {
            IssuerKind::Entra { .. } => {
                application_id(&issuer.audiences, resource).map(|id| format!("{id}/"))
            }
            IssuerKind::Oidc => None,
        };
        Self { name: issuer.name.clone(), required: issuer.required_scopes.clone(), prefix }
    }

    /// The scopes of a request for a token that holds `demanded`, and what every token must hold.
    fn asked_for(&self, demanded: &Scopes) -> Scopes {
        let held = union(&self.required, demanded);
        let held = held.iter().filter(|scope| *scope != OFFLINE_ACCESS);
        match &self.prefix {
            None => Scopes::new(held.map(str::to_owned)),
            Some(prefix) => {
                let asked = Scopes::new(held.map(|scope| format!("{prefix}{scope}")));
                // Entra gives a token only to who names something of the application's (AADSTS900144).
                if asked.is_empty() { Scopes::new([format!("{prefix}.default")]) } else { asked }
            }
        }
    }
}

/// What of an Entra application stands before its scopes: an identifier that tokens name as their audience, and rather
/// an address than a GUID. The resource's own is best, since Entra takes `resource` only together with scopes of the
/// application that goes by it (AADSTS9010010).
fn application_id<'a>(audiences: &'a [Audience], resource: &str) -> Option<&'a str> {
    let find = |fits: &dyn Fn(&str) -> bool| audiences.iter().map(Audience::as_str).find(|id| fits(id));
    find(&|id| id == resource)
        .or_else(|| find(&|id| id.contains("://")))
        .or_else(|| find(&|_| true))
        .map(|id| id.trim_end_matches('/'))
}

/// What all of the connector's issuers are asked for. A client asks one of them, and none knows the others' scopes.
fn agreed(issuers: &[IssuerScopes], demanded: &Scopes) -> Option<Scopes> {
    let mut asked = issuers.iter().map(|issuer| issuer.asked_for(demanded));
    let first = asked.next()?;
    asked.all(|other| other == first).then_some(first)
}

fn union(one: &Scopes, other: &Scopes) -> Scopes {
    Scopes::new(one.iter().chain(other.iter()).map(str::to_owned))
}

/// The connector's authorization servers, in the order of its issuers.
fn servers_of<'a>(
    connector: &ConnectorSettings,
    servers: &'a AuthorizationServers,
) -> Vec<&'a AuthorizationServer> {
    let declared = connector.tools.declared();
    let names = declared.first().map(|tool| &*tool.issuers).unwrap_or_default();
    let mut found = Vec::new();
    for name in names {
        // Entra's are known by two issuers each.
        let own = servers.iter().filter(|(issuer, server)| {
            server.settings().name == *name && server.settings().issuer == **issuer
        });
        let mut own: Vec<&AuthorizationServer> = own.map(|(_, server)| &**server).collect();
        own.sort_by(|one, other| one.settings().issuer.cmp(&other.settings().issuer));
        found.extend(own);
    }
    found
}

/// The address of what is at `path` on the gateway: without a slash at its end, as clients name a resource.
pub fn address(public_url: &Url, path: &str) -> String {
    format!("{}{path}", public_url.as_str().trim_end_matches('/')).trim_end_matches('/').to_owned()
}

/// The path of an address without a slash at its end: empty for a host alone.
pub fn resource_path(address: &str) -> &str {
    let host = address.find("://").map_or(0, |scheme| scheme + 3);
    address[host..].find('/').map_or("", |path| &address[host + path..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Tenant;

    #[track_caller]
    fn check_address(public_url: &str, path: &str, expected: &str, expected_path: &str) {
        let address = address(&public_url.parse().expect("an address of the test"), path);
        assert_eq!((address.as_str(), resource_path(&address)), (expected, expected_path));
    }

    #[test]
    fn a_resource_is_the_address_that_clients_call() {
        check_address("https://gw.example", "/mail", "https://gw.example/mail", "/mail");
        check_address("https://gw.example/", "/mail", "https://gw.example/mail", "/mail");
        check_address("https://GW.example:443/t/", "/mail", "https://gw.example/t/mail", "/t/mail");
        check_address("https://gw.example:8443", "/", "https://gw.example:8443", "");
        check_address("http://127.0.0.1:80/t", "/", "http://127.0.0.1/t", "/t");
    }

    fn entra(audiences: &[&str], required: &str) -> IssuerScopes {
        let mut issuer = IssuerSettings::of(IssuerKind::Entra { tenant: Tenant::Named("t".into()) });
        issuer.audiences = audiences.iter().map(|audience| Audience::new(*audience)).collect();
        issuer.required_scopes = Scopes::parse(required);
        IssuerScopes::of(&issuer, "https://gw.example/mail")
    }

    #[test]
    fn entra_is_asked_for_scopes_with_the_application_before_each() {
        let asked = |audiences: &[&str], required, demanded| {
            entra(audiences, required).asked_for(&Scopes::parse(demanded)).canonical().to_owned()
        };
        let guid = "9d2a6f8e-1c34-4e0b-8f57-6a0b9c3de200";
        assert_eq!(asked(&[guid, "api://gw"], "access", "mail.read"), "api://gw/access api://gw/mail.read");
        assert_eq!(
            asked(&["api://gw", "https://gw.example/mail"], "access", ""),
            "https://gw.example/mail/access"
        );
        assert_eq!(asked(&[guid], "access", ""), format!("{guid}/access"));
        assert_eq!(asked(&["api://gw"], "", ""), "api://gw/.default");
    }

    #[test]
    fn nobody_is_told_to_ask_for_a_refresh_token() {
        let mut issuer = IssuerSettings::of(IssuerKind::Oidc);
        issuer.required_scopes = Scopes::parse("tools offline_access");
        let asked =
            IssuerScopes::of(&issuer, "https://gw.example/mail").asked_for(&Scopes::parse("mail.read"));
        assert_eq!(asked.canonical(), "mail.read tools");
    }

    #[test]
    fn scopes_are_named_where_all_issuers_take_them() {
        let one = || entra(&["api://gw"], "access");
        let demanded = Scopes::default();
        assert_eq!(agreed(&[one(), one()], &demanded), Some(Scopes::parse("api://gw/access")));
        assert_eq!(agreed(&[one(), entra(&["api://other"], "access")], &demanded), None);
    }
}
