//! `exchange.resource_authorization_servers`: who issues tokens for connectors on the word of an issuer (ID-JAG).

use super::files::authorities;
use super::{Surroundings, exchange, values};
use crate::checked_url::PlainHttp;
use crate::config::at::At;
use crate::config::file;
use crate::identity::Issuer;
use crate::oauth::resource_authorization_server::{
    ResourceAuthorizationServerSettings, ResourceAuthorizationServers,
};
use crate::tool::ResourceAuthorizationServerName;

/// Checks all of them.
pub fn settings(
    exchange: &file::Exchange,
    at: &At<'_>,
    surroundings: &Surroundings<'_>,
) -> Option<ResourceAuthorizationServers> {
    const WHAT: &str =
        "with `id_jag` name at least one authorization server that issues tokens for connectors";
    let servers = at.required(exchange.resource_authorization_servers.as_ref(), WHAT)?;
    if servers.0.is_empty() {
        at.fault(format_args!("is empty: {WHAT}"));
        return None;
    }
    let checked: Vec<Option<ResourceAuthorizationServerSettings>> =
        servers.0.iter().map(|(name, server)| one(name, server, &at.key(name), surroundings)).collect();
    checked.into_iter().collect::<Option<Vec<_>>>().map(ResourceAuthorizationServers::new)
}

fn one(
    name: &str,
    server: &file::ResourceAuthorizationServer,
    at: &At<'_>,
    surroundings: &Surroundings<'_>,
) -> Option<ResourceAuthorizationServerSettings> {
    values::check_name(at, name);
    let plain_http = values::plain_http(server.allow_plain_http);
    let issuer_at = at.key("issuer");
    let issuer = issuer_at
        .required(
            server.issuer.as_deref(),
            "give its issuer identifier, which assertions for it name as audience",
        )
        .and_then(|text| issuer(&issuer_at, text, plain_http));
    let endpoint_at = at.key("token_endpoint");
    let token_endpoint = endpoint_at
        .required(server.token_endpoint.as_deref(), "give the address that tokens are asked for at")
        .and_then(|text| values::url(&endpoint_at, text, plain_http));
    let client_id = at
        .key("client_id")
        .required(server.client_id.as_deref(), "give the gateway's own client ID at this server");
    let client_auth =
        exchange::client_auth(server.client_auth.as_ref(), &at.key("client_auth"), surroundings);
    let extra_roots = authorities(&at.key("ca_file"), server.ca_file.as_deref());
    Some(ResourceAuthorizationServerSettings {
        name: ResourceAuthorizationServerName::new(name),
        issuer: issuer?,
        token_endpoint: token_endpoint?,
        client_id: client_id?.into(),
        client_auth: client_auth?,
        extra_roots: extra_roots?,
    })
}

/// An issuer identifier is an address, though nothing is fetched from there.
fn issuer(at: &At<'_>, text: &str, plain_http: PlainHttp) -> Option<Issuer> {
    let url = values::url(at, text, plain_http)?;
    if url.as_url().query().is_some() {
        at.fault_found("must not have a query (?…): an issuer is an address without one");
        return None;
    }
    Some(Issuer::new(text))
}
