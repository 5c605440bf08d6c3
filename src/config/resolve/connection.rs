//! `connection`: services with accounts of their own, where people sign in for themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::files::authorities;
use super::publication::PublicUrl;
use super::{Surroundings, exchange, modes, values};
use crate::checked_url::{CheckedUrl, PlainHttp};
use crate::config::at::At;
use crate::config::file::{self, File};
use crate::connections::ConnectionSettings;
use crate::gateway::ConnectorSettings;
use crate::identity::{Issuer, IssuerName, Scopes};
use crate::oauth::code_client::{CodeClientSettings, CodeEndpoints};
use crate::tool::{ConnectorName, IdentityMode, Resource, Tool};

/// Scopes of signing in: they are about the account, and no tool needs them of a token.
const SIGN_IN_SCOPES: [&str; 6] = ["openid", "profile", "email", "address", "phone", "offline_access"];
/// Parameters that the gateway sets itself. A second value for one of them would leave it to the server which counts.
const OWN_PARAMETERS: [&str; 12] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "resource",
    "request",
    "request_uri",
];

/// Checks the connections of all connectors. `connectors` is what came of those. `None` when faults were noted.
pub fn settings(
    file: &File,
    root: &At<'_>,
    public_url: &PublicUrl<'_>,
    connectors: Option<&[ConnectorSettings]>,
    surroundings: &Surroundings<'_>,
) -> Option<Vec<ConnectionSettings>> {
    let mut checked = Vec::new();
    for (name, connector) in file.connectors.iter().flat_map(|connectors| &connectors.0) {
        let at = root.key("connectors").key(name).key("connection");
        // That one is missing is noted where something needs it.
        let Some(connection) = &connector.connection else { continue };
        let is_unused = |settings: &ConnectorSettings| {
            let of_people = |tool: &&Arc<Tool>| tool.identity == IdentityMode::Connection;
            settings.name.as_str() == name && !settings.tools.declared().iter().any(of_people)
        };
        // A mode that cannot be read has its own fault.
        let is_silent = !modes::connects(connector) && !root.key("connectors").key(name).lost("identity");
        if is_silent || connectors.is_some_and(|all| all.iter().any(is_unused)) {
            at.fault(
                "goes with `identity: connection`, which neither the connector nor a tool has: add it there, or leave this \
                 out",
            );
            checked.push(None);
            continue;
        }
        let surrounded = is_surrounded(root, public_url, &at);
        checked.push(one(name, connector, connection, &at, surroundings).filter(|_| surrounded));
    }
    checked.into_iter().collect()
}

/// Whether there is what every connection needs.
fn is_surrounded(root: &At<'_>, public_url: &PublicUrl<'_>, at: &At<'_>) -> bool {
    let mut sound = true;
    if !root.key("vault").is_written() {
        at.fault(
            "needs `vault`, where what people grant is kept: add it, like `vault: { file: vault.db, keys: [{ id: \"2026-11\", \
             file: secrets/vault-2026-11.key }] }`",
        );
        sound = false;
    }
    match public_url {
        PublicUrl::Given(_) => {}
        PublicUrl::Missing => {
            at.fault(
                "needs `public_url`, under which people's browsers find the gateway: add it, like `public_url: \
                 https://gateway.example`",
            );
            sound = false;
        }
        PublicUrl::Unclear => sound = false,
    }
    sound
}

fn one(
    name: &str,
    connector: &file::Connector,
    connection: &file::Connection,
    at: &At<'_>,
    surroundings: &Surroundings<'_>,
) -> Option<ConnectionSettings> {
    let plain_http = values::plain_http(connection.allow_plain_http);
    let endpoint = |key: &str, text: &Option<String>| match text.as_deref() {
        Some(text) => values::url(&at.key(key), text, plain_http).map(Some),
        None => (!at.key(key).is_written()).then_some(None),
    };
    let authorization = endpoint("authorization_endpoint", &connection.authorization_endpoint);
    let token = endpoint("token_endpoint", &connection.token_endpoint);
    let revocation = endpoint("revocation_endpoint", &connection.revocation_endpoint);
    let userinfo = endpoint("userinfo_endpoint", &connection.userinfo_endpoint);
    let issuer_at = at.key("issuer");
    let issuer = match connection.issuer.as_deref() {
        Some(text) => issuer(&issuer_at, text, plain_http).map(Some),
        None if connection.authorization_endpoint.is_some() && connection.token_endpoint.is_some() => {
            Some(None)
        }
        None => {
            issuer_at.required::<()>(
                None,
                "give the issuer of the service's authorization server, or both `authorization_endpoint` and `token_endpoint`",
            );
            None
        }
    };
    let client_id = at
        .key("client_id")
        .required(connection.client_id.as_deref(), "give the gateway's own client ID at this service");
    let auth_at = at.key("client_auth");
    let client_auth = match &connection.client_auth {
        Some(auth) => exchange::client_auth(Some(auth), &auth_at, surroundings).map(Some),
        None => (!auth_at.is_written()).then_some(None),
    };
    let scopes = scopes(connection, &at.key("scopes"));
    let extra = extra(connection.extra.as_ref(), &at.key("extra"));
    let extra_roots = authorities(&at.key("ca_file"), connection.ca_file.as_deref());
    let (issuer, authorization, token) = (issuer?, authorization?, token?);
    // Discovery also says where tokens are given back and whose account it is, so it is read as long as there is one.
    let (issuer, metadata) = issuer.map_or((None, Vec::new()), |(issuer, metadata)| (Some(issuer), metadata));
    Some(ConnectionSettings {
        connector: ConnectorName::new(name),
        client: CodeClientSettings {
            // No name of an issuer has a slash, so this is nobody else's.
            label: IssuerName::new(format!("connections/{name}")),
            issuer,
            metadata,
            endpoints: CodeEndpoints { authorization, token, revocation: revocation?, userinfo: userinfo? },
            plain_http,
            client_id: client_id?.into(),
            client_auth: client_auth?,
            scopes: scopes?,
            resource: connector.resource.as_deref().map(Resource::new),
            extra: extra?,
            extra_roots: extra_roots?,
        },
        account: connection.account.as_deref().map(Into::into),
    })
}

/// The issuer, and where its metadata may be: as OpenID Connect Discovery has it, and as RFC 8414 section 3.1 does.
fn issuer(at: &At<'_>, text: &str, plain_http: PlainHttp) -> Option<(Issuer, Vec<CheckedUrl>)> {
    let url = values::issuer(at, text, plain_http)?;
    let origin = url.as_url().origin().ascii_serialization();
    let path = url.as_url().path().trim_end_matches('/');
    let places = [
        format!("{}/.well-known/openid-configuration", text.trim_end_matches('/')),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
    ];
    let metadata: Option<Vec<_>> =
        places.iter().map(|place| at.checked(CheckedUrl::parse(place, plain_http))).collect();
    Some((Issuer::new(text), metadata?))
}

fn scopes(connection: &file::Connection, at: &At<'_>) -> Option<Scopes> {
    if !values::not_empty(
        at,
        connection.scopes.as_deref(),
        "name the scopes to ask for, or leave the key out",
    ) {
        return None;
    }
    values::scopes(at, connection.scopes.as_deref())
}

fn extra(extra: Option<&BTreeMap<String, String>>, at: &At<'_>) -> Option<Vec<(String, String)>> {
    let extra = extra.into_iter().flatten();
    let mut sound = true;
    for (name, _) in extra.clone() {
        if OWN_PARAMETERS.contains(&name.as_str()) {
            at.key(name).fault("is a parameter that the gateway sets itself: leave it out");
            sound = false;
        }
    }
    sound.then(|| extra.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// What the token of a tool has to be good for: the scopes that it names, which have to be among those that people grant, or
/// else all of those. `at` is where the tool's are.
pub fn tool_scopes(
    connection: Option<&file::Connection>,
    own: &Scopes,
    at: &At<'_>,
    connector_at: &At<'_>,
) -> Option<Scopes> {
    // Noted once, however many tools need it.
    let connection = connector_at.key("connection").required(
        connection,
        "`identity: connection` needs a service where people sign in; give its `issuer`, and the gateway's `client_id` there",
    );
    let granted = connection?.scopes.as_deref().unwrap_or_default();
    if own.is_empty() {
        let needed = granted.iter().map(String::as_str).filter(|scope| !SIGN_IN_SCOPES.contains(scope));
        return Some(Scopes::new(needed));
    }
    let missing: Vec<_> =
        own.iter().filter(|scope| !granted.iter().any(|granted| granted == scope)).collect();
    match missing.as_slice() {
        [] => Some(own.clone()),
        [scope, ..] => {
            at.fault(format_args!(
                "has `{scope}`, which people are not asked to grant: add it to the connector's `connection.scopes`"
            ));
            None
        }
    }
}
