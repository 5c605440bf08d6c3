//! Settings that each stand well by themselves and together let in too much, or nobody: what people get wrong with
//! authorization servers, over and over. What cannot be meant is a fault; what may be meant is a warning.

use std::collections::BTreeMap;

use super::values;
use crate::config::at::At;
use crate::config::file::{self, File, Identity};

/// What tokens for Microsoft's own APIs name as their audience. An agent that holds one could use it here as well.
const OTHERS_AUDIENCES: [&str; 4] = [
    "00000003-0000-0000-c000-000000000000",
    "https://graph.microsoft.com",
    "https://management.azure.com",
    "https://outlook.office365.com",
];
/// What in the name of a form field says that its value is a secret.
const SECRET_WORDS: [&str; 4] = ["secret", "password", "token", "key"];

/// What becomes of a token that is asked for without scopes.
const WHATEVER_THERE_IS: &str = "are not named, so tokens may do whatever the server gives by default, and nothing of it is checked: name them";

/// Looks at issuers, connectors and rules as a whole.
pub fn check(file: &File, root: &At<'_>) {
    let issuers_at = root.key("issuers");
    for (name, issuer) in file.issuers.iter().flat_map(|issuers| &issuers.0) {
        check_issuer(issuer, &issuers_at.key(name));
    }
    let connectors_at = root.key("connectors");
    for (name, connector) in file.connectors.iter().flat_map(|connectors| &connectors.0) {
        for (issuer_name, issuer) in issuers_of(connector, file) {
            check_connector(connector, issuer_name, issuer, &connectors_at.key(name));
        }
    }
    let (policy, at) = (file.policy.as_ref(), root.key("policy"));
    check_rules(policy.and_then(|policy| policy.allow.as_deref()), &at.key("allow"));
    check_rules(policy.and_then(|policy| policy.deny.as_deref()), &at.key("deny"));
}

fn check_issuer(issuer: &file::Issuer, at: &At<'_>) {
    let audiences_at = at.key("audiences");
    let audiences = issuer.audiences.as_deref().unwrap_or_default();
    for (index, audience) in audiences.iter().enumerate() {
        if OTHERS_AUDIENCES.contains(&audience.trim_end_matches('/')) {
            audiences_at.index(index).fault_found(
                "is another service, whose tokens were not issued for this gateway: name the gateway itself",
            );
        }
    }
    let exchange = issuer.exchange.as_ref();
    if let Some(client_id) = exchange.and_then(|exchange| exchange.client_id.as_deref())
        && issuer.kind == Some(file::IssuerKind::Entra)
        && values::is_guid(client_id)
        && !audiences.iter().any(|audience| values::is_guid(audience))
    {
        audiences_at.warn(format_args!(
            "names no client ID: Entra's tokens of version 2 have {client_id} as their `aud` and are refused; add it"
        ));
    }
    let extra = issuer.application.as_ref().and_then(|application| application.extra.as_ref());
    check_extra(extra, &at.key("application").key("extra"));
    let Some(exchange) = exchange else { return };
    let exchange_at = at.key("exchange");
    if exchange.subject_token_type.as_deref() == Some("id_token") {
        exchange_at.key("subject_token_type").warn(
            "calls the person's token an ID token: the gateway takes access tokens alone, so leave it out unless this \
             server wants it so",
        );
    }
    check_extra(exchange.extra.as_ref(), &exchange_at.key("extra"));
}

fn check_extra(extra: Option<&BTreeMap<String, String>>, at: &At<'_>) {
    for field in extra.into_iter().flatten().map(|(field, _)| field) {
        let name = field.to_ascii_lowercase();
        let at = at.key(field);
        if SECRET_WORDS.iter().any(|word| name.contains(word)) && !at.has_variables() {
            at.warn("looks like a secret written into this file: take it from the environment, as `${NAME}`");
        }
    }
}

fn check_connector(connector: &file::Connector, issuer_name: &str, issuer: &file::Issuer, at: &At<'_>) {
    let own = |name: &Option<String>| {
        let name = name.as_deref().map(|name| name.trim_end_matches('/'));
        let audiences = issuer.audiences.iter().flatten();
        name.is_some_and(|name| audiences.into_iter().any(|own| own.trim_end_matches('/') == name))
    };
    for (key, name) in [("audience", &connector.audience), ("resource", &connector.resource)] {
        if own(name) {
            at.key(key).fault_found(format_args!(
                "is the gateway itself at `{issuer_name}`, so whoever gets such a token could come back with it: name \
                 the connector"
            ));
        }
    }
    if issuer.kind == Some(file::IssuerKind::Oidc) && asks_for_nothing(connector, Identity::AppOnly) {
        at.key("scopes").warn(WHATEVER_THERE_IS);
    }
    let Some(exchange) = &issuer.exchange else { return };
    if !asks_for_nothing(connector, Identity::OnBehalfOf) {
        return;
    }
    match exchange.grant {
        Some(file::Grant::OnBehalfOf) if connector.audience.is_some() => at.key("scopes").warn(
            "are not named, so tokens are asked for with all that was ever consented to (`/.default`): name them",
        ),
        Some(file::Grant::TokenExchange | file::Grant::JwtBearer)
            if exchange.target != Some(file::Target::Scope) =>
        {
            at.key("scopes").warn(WHATEVER_THERE_IS);
        }
        Some(file::Grant::IdJag) => at.key("scopes").warn(WHATEVER_THERE_IS),
        // Others name the target by the scopes, and without any there is a fault.
        Some(file::Grant::OnBehalfOf | file::Grant::TokenExchange | file::Grant::JwtBearer) | None => {}
    }
}

/// Whether some tool of this mode is asked for no scopes in particular.
fn asks_for_nothing(connector: &file::Connector, mode: Identity) -> bool {
    let own = connector.identity.unwrap_or(Identity::OnBehalfOf);
    let tools = connector.tools.iter().flat_map(|tools| &tools.0);
    let mut silent = tools.filter(|(_, tool)| tool.scopes.is_none() && tool.identity.unwrap_or(own) == mode);
    connector.scopes.is_none() && (silent.next().is_some() || (connector.tools.is_none() && own == mode))
}

/// Rules name people by what never changes: an address may be somebody else's tomorrow.
fn check_rules(rules: Option<&[file::Rule]>, at: &At<'_>) {
    for (index, rule) in rules.unwrap_or_default().iter().enumerate() {
        let ids = rule.subjects.iter().filter_map(|subjects| subjects.ids.as_deref()).flatten();
        let ids_at = at.index(index).key("subjects").key("ids");
        for (index, _) in ids.enumerate().filter(|(_, id)| id.contains('@')) {
            ids_at.index(index).warn(
                "looks like an e-mail address, which can be given to somebody else and is no identifier of a person: \
                 name the `oid` or `sub`",
            );
        }
    }
}

/// The issuers of a connector that are there.
fn issuers_of<'a>(connector: &file::Connector, file: &'a File) -> Vec<(&'a str, &'a file::Issuer)> {
    let all = file.issuers.iter().flat_map(|issuers| &issuers.0);
    let named: Vec<&String> = connector.issuer.iter().chain(connector.issuers.iter().flatten()).collect();
    all.filter(|(name, _)| named.is_empty() || named.contains(&name))
        .map(|(name, issuer)| (name.as_str(), issuer))
        .collect()
}
