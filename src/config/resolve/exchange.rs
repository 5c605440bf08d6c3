//! `exchange`: how delegated tokens are obtained from an issuer.

use std::sync::Arc;

use super::Surroundings;
use super::files::{self, NamedFile};
use crate::config::at::At;
use crate::config::expand::is_variable_name;
use crate::config::file::{self, SecretMethod};
use crate::identity::SecretToken;
use crate::oauth::{ClientAuth, ExchangeSettings, Grant, Reuse, TargetParameter};

/// Form fields that the gateway sets itself. A second value for one of them would leave it to the server
/// which counts. `requested_token_type` is not among them: some servers give a JWT only when asked for one.
const OWN_FIELDS: [&str; 18] = [
    "grant_type",
    "assertion",
    "requested_token_use",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "scope",
    "audience",
    "resource",
    "claims",
    // Whose token comes back is the caller's business alone.
    "requested_subject",
    "requested_issuer",
    "subject_issuer",
];

/// Checks an exchange.
pub fn settings(
    exchange: &file::Exchange,
    at: &At<'_>,
    surroundings: &Surroundings<'_>,
) -> Option<ExchangeSettings> {
    at.key("grant").required(exchange.grant, "`on_behalf_of` for Entra, `token_exchange` for RFC 8693");
    if exchange.grant == Some(file::Grant::OnBehalfOf) && exchange.target.is_some() {
        at.key("target")
            .fault("goes with `grant: token_exchange`; with `on_behalf_of` the scopes name the target");
    }
    if exchange.grant == Some(file::Grant::TokenExchange) && exchange.client_capabilities.is_some() {
        at.key("client_capabilities").fault("goes with `grant: on_behalf_of`: leave it out");
    }
    let client_id =
        at.key("client_id").required(exchange.client_id.as_deref(), "give the gateway's own client ID");
    let client_auth_at = at.key("client_auth");
    let client_auth = client_auth_at
        .required(
            exchange.client_auth.as_ref(),
            "give `certificate` and `key`, `secret_file` or `secret_env`",
        )
        .and_then(|client_auth| self::client_auth(client_auth, &client_auth_at, surroundings));
    let extra = extra(exchange, &at.key("extra"));
    Some(ExchangeSettings {
        grant: grant(exchange, at)?,
        client_id: client_id?.into(),
        client_auth: client_auth?,
        extra: extra?,
        reuse: match exchange.reuse {
            Some(file::Reuse::Session) => Reuse::Session,
            Some(file::Reuse::Token) => Reuse::Token,
            Some(file::Reuse::Identity) | None => Reuse::Identity,
        },
        client_capabilities: client_capabilities(exchange),
    })
}

fn client_capabilities(exchange: &file::Exchange) -> Vec<Arc<str>> {
    let declared = exchange.client_capabilities.iter().flatten();
    declared.map(|file::ClientCapability::Cp1| Arc::from("cp1")).collect()
}

/// The grant, as far as it can be told.
pub fn grant(exchange: &file::Exchange, at: &At<'_>) -> Option<Grant> {
    match exchange.grant? {
        file::Grant::OnBehalfOf => Some(Grant::OnBehalfOf),
        file::Grant::TokenExchange if at.lost("target") => None,
        file::Grant::TokenExchange => Some(Grant::TokenExchange {
            target: match exchange.target {
                Some(file::Target::Scope) => TargetParameter::Scope,
                Some(file::Target::Resource) => TargetParameter::Resource,
                Some(file::Target::Audience) | None => TargetParameter::Audience,
            },
        }),
    }
}

fn extra(exchange: &file::Exchange, at: &At<'_>) -> Option<Vec<(String, SecretToken)>> {
    // Whatever an operator adds here may be a secret of theirs.
    at.hide();
    let extra = exchange.extra.iter().flatten();
    let mut sound = true;
    for (field, _) in extra.clone() {
        if OWN_FIELDS.contains(&field.as_str()) {
            at.key(field).fault("is a field that the gateway sets itself: leave it out");
            sound = false;
        }
    }
    sound.then(|| extra.map(|(field, value)| (field.clone(), SecretToken::new(value.as_str()))).collect())
}

fn client_auth(auth: &file::ClientAuth, at: &At<'_>, surroundings: &Surroundings<'_>) -> Option<ClientAuth> {
    let ways = [
        ("certificate", auth.certificate.is_some() || auth.key.is_some()),
        ("secret_file", auth.secret_file.is_some()),
        ("secret_env", auth.secret_env.is_some()),
        ("token_file", auth.token_file.is_some()),
    ];
    let given: Vec<&str> = ways.iter().filter(|(_, given)| *given).map(|(way, _)| *way).collect();
    let [way] = given.as_slice() else {
        let message = match given.as_slice() {
            [] => "is empty: give `certificate` and `key`, `secret_file` or `secret_env`".to_owned(),
            several => format!("has several ways at once (`{}`): give one", several.join("`, `")),
        };
        at.fault(message);
        return None;
    };
    if *way == "token_file" {
        at.key("token_file").fault("is not served by this version: use `certificate` and `key`, or a secret");
        return None;
    }
    if *way == "certificate" {
        if auth.method.is_some() {
            at.key("method").fault("goes with a secret, not with a certificate: leave it out");
        }
        return private_key(auth, at, surroundings).map(ClientAuth::PrivateKeyJwt);
    }
    let secret = match (&auth.secret_file, &auth.secret_env) {
        (Some(path), _) => files::secret(NamedFile { at: &at.key("secret_file"), path }),
        (None, Some(name)) => secret_of_environment(name, &at.key("secret_env"), surroundings),
        (None, None) => None,
    };
    match auth.method {
        Some(SecretMethod::Basic) => secret.map(ClientAuth::SecretBasic),
        Some(SecretMethod::Post) | None => secret.map(ClientAuth::SecretPost),
    }
}

fn private_key(
    auth: &file::ClientAuth,
    at: &At<'_>,
    surroundings: &Surroundings<'_>,
) -> Option<Arc<crate::oauth::assertion::AssertionKey>> {
    let (certificate_at, key_at) = (at.key("certificate"), at.key("key"));
    let certificate =
        certificate_at.required(auth.certificate.as_deref(), "name the PEM file with the certificate");
    let key = key_at.required(auth.key.as_deref(), "name the PEM file with the certificate's RSA key");
    files::assertion_key(
        NamedFile { at: &certificate_at, path: certificate? },
        NamedFile { at: &key_at, path: key? },
        surroundings.now,
    )
}

fn secret_of_environment(name: &str, at: &At<'_>, surroundings: &Surroundings<'_>) -> Option<SecretToken> {
    if !is_variable_name(name) {
        // Perhaps it is the secret itself.
        at.hide();
        at.fault("must be the bare name of an environment variable, like `CLIENT_SECRET`, without `${}`");
        return None;
    }
    match (surroundings.environment)(name) {
        Some(secret) => files::checked_secret(at, &secret),
        None => {
            at.fault_found("names an environment variable that is not set");
            None
        }
    }
}
