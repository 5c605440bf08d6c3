//! `exchange`: how delegated tokens are obtained from an issuer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jsonwebtoken::Algorithm;

use super::files::{self, NamedFile};
use super::{Surroundings, resource_authorization_servers};
use crate::config::at::At;
use crate::config::expand::is_variable_name;
use crate::config::file::{self, SecretMethod};
use crate::identity::{Scopes, SecretToken};
use crate::oauth::TargetParameter;
use crate::oauth::assertion::KeyNaming;
use crate::oauth::{ACCESS_TOKEN_TYPE, ActorToken, ClientAuth, ExchangeSettings, Grant, JWT_TYPE, Reuse};

/// Form fields that the gateway sets itself. A second value for one of them would leave it to the server
/// which counts.
const OWN_FIELDS: [&str; 19] = [
    "grant_type",
    "assertion",
    "requested_token_use",
    "subject_token",
    "subject_token_type",
    "requested_token_type",
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
    at.key("grant").required(
        exchange.grant,
        "`on_behalf_of` for Entra, `token_exchange` for RFC 8693, `jwt_bearer` for RFC 7523, `id_jag` for ID-JAG",
    );
    refuse_what_does_not_go_with_the_grant(exchange, at);
    let client_id =
        at.key("client_id").required(exchange.client_id.as_deref(), "give the gateway's own client ID");
    let client_auth_at = at.key("client_auth");
    let client_auth = client_auth(exchange.client_auth.as_ref(), &client_auth_at, surroundings);
    let extra = extra(exchange.extra.as_ref(), &at.key("extra"));
    let grant = grant(exchange, at, surroundings);
    Some(ExchangeSettings {
        grant: grant?,
        client_id: client_id?.into(),
        client_auth: client_auth?,
        extra: extra?,
        reuse: match exchange.reuse {
            Some(file::Reuse::Session) => Reuse::Session,
            Some(file::Reuse::Token) => Reuse::Token,
            Some(file::Reuse::Identity) | None => Reuse::Identity,
        },
        refuses_more_scopes: exchange.more_scopes == Some(file::MoreScopes::Refuse),
        client_capabilities: client_capabilities(exchange),
    })
}

fn client_capabilities(exchange: &file::Exchange) -> Vec<Arc<str>> {
    let declared = exchange.client_capabilities.iter().flatten();
    declared.map(|file::ClientCapability::Cp1| Arc::from("cp1")).collect()
}

/// Keys that a grant has no use for are faults: whoever wrote them expects something of them.
fn refuse_what_does_not_go_with_the_grant(exchange: &file::Exchange, at: &At<'_>) {
    use file::Grant::{IdJag, JwtBearer, OnBehalfOf, TokenExchange};
    let Some(grant) = exchange.grant else { return };
    let goes_with: [(&str, bool, &[file::Grant]); 7] = [
        ("target", exchange.target.is_some(), &[TokenExchange, JwtBearer]),
        ("subject_token_type", exchange.subject_token_type.is_some(), &[TokenExchange, IdJag]),
        ("requested_token_type", exchange.requested_token_type.is_some(), &[TokenExchange]),
        ("actor_token", exchange.actor_token.is_some(), &[TokenExchange]),
        ("actor_scopes", exchange.actor_scopes.is_some(), &[TokenExchange]),
        ("client_capabilities", exchange.client_capabilities.is_some(), &[OnBehalfOf]),
        ("resource_authorization_servers", exchange.resource_authorization_servers.is_some(), &[IdJag]),
    ];
    for (key, _, grants) in goes_with.iter().filter(|(_, given, grants)| *given && !grants.contains(&grant)) {
        let names: Vec<String> = grants.iter().map(|grant| format!("`grant: {}`", grant.as_str())).collect();
        let instead = match (*key, grant) {
            ("target", OnBehalfOf) => "; with `on_behalf_of` the scopes name the target",
            ("target", IdJag) => "; with `id_jag` the connector's `authorization_server` names the target",
            _ => ": leave it out",
        };
        at.key(key).fault(format_args!("goes with {}{instead}", names.join(" or ")));
    }
    if exchange.more_scopes == Some(file::MoreScopes::Refuse) && grant == OnBehalfOf {
        at.key("more_scopes").fault(
            "cannot be `refuse` with `on_behalf_of`: Entra grants all that was consented to, whatever is asked for",
        );
    }
    let is_the_gateways = exchange.actor_token == Some(file::ActorToken::Gateway);
    if grant == TokenExchange && exchange.actor_scopes.is_some() && !is_the_gateways {
        at.key("actor_scopes").fault("goes with `actor_token: gateway`: add it, or leave this out");
    }
}

/// What names the target to a server.
pub enum Naming {
    /// Entra: the scopes.
    Scopes,
    /// A parameter of the request.
    Parameter(TargetParameter),
    /// Whom it is asked to vouch to: one of these.
    ResourceAuthorizationServers(Vec<String>),
}

/// What names the target, as far as it can be told.
pub fn naming(exchange: &file::Exchange, at: &At<'_>) -> Option<Naming> {
    match exchange.grant? {
        file::Grant::OnBehalfOf => Some(Naming::Scopes),
        file::Grant::JwtBearer | file::Grant::TokenExchange => target(exchange, at).map(Naming::Parameter),
        file::Grant::IdJag => {
            let names = at.key("resource_authorization_servers").names();
            // That there are none is a fault of its own.
            (!names.is_empty())
                .then(|| Naming::ResourceAuthorizationServers(names.into_iter().map(str::to_owned).collect()))
        }
    }
}

fn target(exchange: &file::Exchange, at: &At<'_>) -> Option<TargetParameter> {
    parameter(exchange.target, at)
}

/// Which parameter names the target; `None` when what is written at `at` was taken out.
pub fn parameter(target: Option<file::Target>, at: &At<'_>) -> Option<TargetParameter> {
    match target {
        _ if at.lost("target") => None,
        Some(file::Target::Scope) => Some(TargetParameter::Scope),
        Some(file::Target::Resource) => Some(TargetParameter::Resource),
        Some(file::Target::Audience) | None => Some(TargetParameter::Audience),
    }
}

fn grant(exchange: &file::Exchange, at: &At<'_>, surroundings: &Surroundings<'_>) -> Option<Grant> {
    match exchange.grant? {
        file::Grant::OnBehalfOf => Some(Grant::OnBehalfOf),
        file::Grant::JwtBearer => Some(Grant::JwtBearer { target: target(exchange, at)? }),
        file::Grant::IdJag => {
            let subject_token_type = subject_token_type(exchange, at);
            let resource_authorization_servers = resource_authorization_servers::settings(
                exchange,
                &at.key("resource_authorization_servers"),
                surroundings,
            );
            Some(Grant::IdJag {
                subject_token_type: subject_token_type?,
                resource_authorization_servers: resource_authorization_servers?,
            })
        }
        file::Grant::TokenExchange => Some(Grant::TokenExchange {
            target: target(exchange, at)?,
            subject_token_type: subject_token_type(exchange, at)?,
            requested_token_type: match exchange.requested_token_type {
                Some(file::RequestedTokenType::Jwt) => JWT_TYPE.into(),
                Some(file::RequestedTokenType::AccessToken) | None => ACCESS_TOKEN_TYPE.into(),
            },
            actor: match exchange.actor_token {
                Some(file::ActorToken::Gateway) => ActorToken::Gateway {
                    scopes: Scopes::new(exchange.actor_scopes.iter().flatten().map(String::as_str)),
                },
                Some(file::ActorToken::Agent) => ActorToken::Agent,
                None => ActorToken::None,
            },
        }),
    }
}

fn subject_token_type(exchange: &file::Exchange, at: &At<'_>) -> Option<Arc<str>> {
    match exchange.subject_token_type.as_deref() {
        None | Some("access_token") => Some(ACCESS_TOKEN_TYPE.into()),
        Some(short @ ("jwt" | "id_token")) => {
            Some(format!("urn:ietf:params:oauth:token-type:{short}").into())
        }
        Some(urn) if urn.starts_with("urn:") && urn.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Some(urn.into())
        }
        Some(_) => {
            at.key("subject_token_type").fault_found("must be `access_token`, `jwt`, `id_token` or a URN");
            None
        }
    }
}

/// Further form fields.
pub fn extra(extra: Option<&BTreeMap<String, String>>, at: &At<'_>) -> Option<Vec<(String, SecretToken)>> {
    // Whatever an operator adds here may be a secret of theirs.
    at.hide();
    let extra = extra.into_iter().flatten();
    let mut sound = true;
    for (field, _) in extra.clone() {
        if OWN_FIELDS.contains(&field.as_str()) {
            at.key(field).fault("is a field that the gateway sets itself: leave it out");
            sound = false;
        }
    }
    sound.then(|| extra.map(|(field, value)| (field.clone(), SecretToken::new(value.as_str()))).collect())
}

/// How the gateway proves itself, which has to be written.
pub fn client_auth(
    auth: Option<&file::ClientAuth>,
    at: &At<'_>,
    surroundings: &Surroundings<'_>,
) -> Option<ClientAuth> {
    let auth = at.required(
        auth,
        "give `certificate` and `key`, `secret_file`, `secret_env`, `token_file`, or `tls_certificate` and `tls_key`",
    )?;
    let ways = [
        ("key", auth.certificate.is_some() || auth.key.is_some()),
        ("secret_file", auth.secret_file.is_some()),
        ("secret_env", auth.secret_env.is_some()),
        ("token_file", auth.token_file.is_some()),
        ("tls_certificate", auth.tls_certificate.is_some() || auth.tls_key.is_some()),
    ];
    let given: Vec<&str> = ways.iter().filter(|(_, given)| *given).map(|(way, _)| *way).collect();
    let [way] = given.as_slice() else {
        let message = match given.as_slice() {
            [] => "is empty: give `certificate` and `key`, `secret_file`, `secret_env`, `token_file`, or \
                 `tls_certificate` and `tls_key`"
                .to_owned(),
            several => format!("has several ways at once (`{}`): give one", several.join("`, `")),
        };
        at.fault(message);
        return None;
    };
    if auth.method.is_some() && !way.starts_with("secret") {
        at.key("method").fault("goes with a secret: leave it out");
    }
    let of_keys = [
        ("algorithm", auth.algorithm.is_some()),
        ("name_key_by", auth.name_key_by.is_some()),
        ("key_id", auth.key_id.is_some()),
        ("audience", auth.audience.is_some()),
    ];
    for (key, given) in of_keys {
        if given && *way != "key" {
            at.key(key).fault("goes with `key`: leave it out");
        }
    }
    match *way {
        "key" => return private_key(auth, at, surroundings),
        "token_file" => return token_file(auth, &at.key("token_file")),
        "tls_certificate" => return tls_identity(auth, at, surroundings),
        _ => {}
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

fn private_key(auth: &file::ClientAuth, at: &At<'_>, surroundings: &Surroundings<'_>) -> Option<ClientAuth> {
    let (certificate_at, key_at) = (at.key("certificate"), at.key("key"));
    let key = key_at.required(auth.key.as_deref(), "name the PEM file with the private key");
    let certificate = auth.certificate.as_deref().map(|path| NamedFile { at: &certificate_at, path });
    if certificate.is_none() && (auth.key_id.is_none() || auth.name_key_by.is_some()) {
        certificate_at.fault("is required: name the PEM file with the certificate, or give `key_id` alone");
        return None;
    }
    let names = |name| match &auth.name_key_by {
        Some(names) => names.contains(&name),
        None => name == file::KeyName::X5tS256,
    };
    let naming = KeyNaming {
        sha256_thumbprint: names(file::KeyName::X5tS256),
        sha1_thumbprint: names(file::KeyName::X5t),
        chain: names(file::KeyName::X5c),
        key_id: auth.key_id.clone(),
    };
    let algorithm = auth.algorithm.map(|algorithm| match algorithm {
        file::AssertionAlgorithm::Ps256 => Algorithm::PS256,
        file::AssertionAlgorithm::Rs256 => Algorithm::RS256,
        file::AssertionAlgorithm::Es256 => Algorithm::ES256,
    });
    let key = NamedFile { at: &key_at, path: key? };
    let key = files::assertion_key(certificate, key, algorithm, &naming, surroundings.now)?;
    Some(ClientAuth::PrivateKeyJwt { key, audience: auth.audience.as_deref().map(Into::into) })
}

/// The platform may only write the file once the gateway runs, and writes it anew all the time: what is wrong with it now
/// is worth a warning.
fn token_file(auth: &file::ClientAuth, at: &At<'_>) -> Option<ClientAuth> {
    let path = Path::new(auth.token_file.as_deref()?);
    if !path.is_file() {
        at.warn(format_args!("names a file that is not there yet (found {})", at.written()));
    }
    Some(ClientAuth::TokenFile(path.into()))
}

fn tls_identity(auth: &file::ClientAuth, at: &At<'_>, surroundings: &Surroundings<'_>) -> Option<ClientAuth> {
    let (certificate_at, key_at) = (at.key("tls_certificate"), at.key("tls_key"));
    let certificate =
        certificate_at.required(auth.tls_certificate.as_deref(), "name the PEM file with the certificate");
    let key = key_at.required(auth.tls_key.as_deref(), "name the PEM file with the certificate's key");
    let certificate = NamedFile { at: &certificate_at, path: certificate? };
    let identity = files::tls_identity(certificate, NamedFile { at: &key_at, path: key? }, surroundings.now)?;
    Some(ClientAuth::Tls(Arc::new(identity)))
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
