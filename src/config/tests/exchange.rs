use super::*;
use crate::identity::Scopes;
use crate::oauth::{
    ACCESS_TOKEN_TYPE, ActorToken, ClientAuth, ExchangeSettings, Grant, JWT_TYPE, TargetParameter,
};

const SECRET: &str = "{ secret_env: CLIENT_SECRET }";

fn exchange(edits: &[(&str, &str)]) -> ExchangeSettings {
    config(edits).issuers.remove(0).exchange.expect("an exchange")
}

#[test]
fn an_exchange_is_what_is_written() {
    let exchange =
        exchange(&[(SECRET, "{ secret_env: CLIENT_SECRET, method: basic }\n      extra: { b: c, a: d }")]);
    assert_eq!(exchange.grant, Grant::OnBehalfOf);
    assert_eq!(&*exchange.client_id, "gateway");
    assert!(matches!(exchange.client_auth, ClientAuth::SecretBasic(_)));
    let extra: Vec<_> = exchange.extra.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(extra, [("a", "d"), ("b", "c")]);
}

#[test]
fn a_token_exchange_sends_the_audience_unless_told_otherwise() {
    let audience = ("kind: rest", "kind: rest\n    audience: mail\n    resource: https://mail.example");
    let grant = |text: &str| exchange(&[audience, ("grant: on_behalf_of", text)]).grant;
    let by = |target| Grant::TokenExchange {
        target,
        subject_token_type: ACCESS_TOKEN_TYPE.into(),
        requested_token_type: ACCESS_TOKEN_TYPE.into(),
        actor: ActorToken::None,
    };
    assert_eq!(grant("grant: token_exchange"), by(TargetParameter::Audience));
    assert_eq!(grant("grant: token_exchange\n      target: scope"), by(TargetParameter::Scope));
    assert_eq!(grant("grant: token_exchange\n      target: resource"), by(TargetParameter::Resource));
    check(
        &[("grant: on_behalf_of", "grant: on_behalf_of\n      target: audience")],
        &["9: issuers.contoso.exchange.target: goes with `grant: token_exchange`; with `on_behalf_of` the \
             scopes name \
             the target"],
    );
}

#[test]
fn what_is_missing_is_named() {
    check(
        &[(
            "      grant: on_behalf_of\n      client_id: gateway\n      client_auth: { secret_env: \
             CLIENT_SECRET }\n",
            "      extra: { a: b }\n",
        )],
        &[
            "7: issuers.contoso.exchange.client_auth: is required: give `certificate` and `key`, \
             `secret_file`, `secret_env`, `token_file`, or `tls_certificate` and `tls_key`",
            "7: issuers.contoso.exchange.client_id: is required: give the gateway's own client ID",
            "7: issuers.contoso.exchange.grant: is required: `on_behalf_of` for Entra, `token_exchange` for \
             RFC 8693, `jwt_bearer` for RFC 7523",
        ],
    );
}

#[test]
fn the_gateways_own_fields_are_not_overridden() {
    let own = "is a field that the gateway sets itself: leave it out";
    check(
        &[(
            SECRET,
            "{ secret_env: CLIENT_SECRET }\n      extra:\n        a: b\n        scope: all\n        \
             client_secret: canary-7f3a",
        )],
        &[
            &format!("13: issuers.contoso.exchange.extra.scope: {own}"),
            &format!("14: issuers.contoso.exchange.extra.client_secret: {own}"),
        ],
    );
}

#[test]
fn dialects_of_rfc_8693_are_settings() {
    let audience = ("kind: rest", "kind: rest\n    audience: mail");
    let written = "grant: token_exchange\n      subject_token_type: jwt\n      requested_token_type: jwt\n      \
                   actor_token: gateway\n      actor_scopes: [act]";
    let Grant::TokenExchange { subject_token_type, requested_token_type, actor, .. } =
        exchange(&[audience, ("grant: on_behalf_of", written)]).grant
    else {
        panic!("another grant");
    };
    assert_eq!((&*subject_token_type, &*requested_token_type), (JWT_TYPE, JWT_TYPE));
    assert_eq!(actor, ActorToken::Gateway { scopes: Scopes::parse("act") });
    let grant = |text: &str| exchange(&[audience, ("grant: on_behalf_of", text)]).grant;
    assert_eq!(grant("grant: jwt_bearer"), Grant::JwtBearer { target: TargetParameter::Audience });
    for (key, value) in [
        ("subject_token_type", "jwt"),
        ("requested_token_type", "jwt"),
        ("actor_token", "gateway"),
        ("actor_scopes", "[act]"),
    ] {
        check(
            &[("grant: on_behalf_of", &format!("grant: on_behalf_of\n      {key}: {value}"))],
            &[&format!("9: issuers.contoso.exchange.{key}: goes with `grant: token_exchange`: leave it out")],
        );
    }
    check(
        &[audience, ("grant: on_behalf_of", "grant: token_exchange\n      subject_token_type: saml")],
        &[
            "9: issuers.contoso.exchange.subject_token_type: must be `access_token`, `jwt`, `id_token` or a URN \
           (found \"saml\")",
        ],
    );
    check(
        &[audience, ("grant: on_behalf_of", "grant: token_exchange\n      client_capabilities: [cp1]")],
        &["9: issuers.contoso.exchange.client_capabilities: goes with `grant: on_behalf_of`: leave it out"],
    );
}

#[test]
fn there_is_one_way_to_be_the_client() {
    let at = "10: issuers.contoso.exchange.client_auth";
    let ways = "give `certificate` and `key`, `secret_file`, `secret_env`, `token_file`, or `tls_certificate` and \
                `tls_key`";
    check(&[(SECRET, "{}")], &[&format!("{at}: is empty: {ways}")]);
    check(&[(SECRET, "{ method: basic }")], &[&format!("{at}: is empty: {ways}")]);
    check(
        &[(SECRET, "{ secret_env: CLIENT_SECRET, certificate: a, key: b }")],
        &[&format!("{at}: has several ways at once (`key`, `secret_env`): give one")],
    );
    check_warnings(
        &[(SECRET, "{ token_file: /var/run/token }")],
        &[
            "10: warning: issuers.contoso.exchange.client_auth.token_file: names a file that is not there yet \
             (found \"/var/run/token\")",
        ],
    );
    check(
        &[(SECRET, "{ certificate: a, method: post }")],
        &[
            &format!("{at}.key: is required: name the PEM file with the private key"),
            &format!("{at}.method: goes with a secret: leave it out"),
        ],
    );
    check(
        &[(SECRET, "{ secret_env: CLIENT_SECRET, algorithm: es256, key_id: k }")],
        &[
            &format!("{at}.algorithm: goes with `key`: leave it out"),
            &format!("{at}.key_id: goes with `key`: leave it out"),
        ],
    );
    check(
        &[(SECRET, "{ key: a }")],
        &[&format!(
            "{at}.certificate: is required: name the PEM file with the certificate, or give `key_id` alone"
        )],
    );
    check(
        &[(SECRET, "{ tls_certificate: a }")],
        &[&format!("{at}.tls_key: is required: name the PEM file with the certificate's key")],
    );
}

#[test]
fn a_secret_of_the_environment_is_named_and_not_quoted() {
    let at = "10: issuers.contoso.exchange.client_auth.secret_env";
    check(
        &[("CLIENT_SECRET", "NONE")],
        &[&format!("{at}: names an environment variable that is not set (found \"NONE\")")],
    );
    check(&[("CLIENT_SECRET", "EMPTY")], &[&format!("{at}: names an empty secret (found \"EMPTY\")")]);
    check(
        &[("CLIENT_SECRET", "LINES")],
        &[&format!(
            "{at}: names a secret with a line break or another control character within (found \"LINES\")"
        )],
    );
    check(
        &[("CLIENT_SECRET", "\"${CLIENT_SECRET}\"")],
        &[&format!(
            "{at}: must be the bare name of an environment variable, like `CLIENT_SECRET`, without `${{}}`"
        )],
    );
}

#[test]
fn entra_cannot_be_held_to_what_is_asked_for() {
    let more_scopes = |value: &str| format!("client_id: gateway\n      more_scopes: {value}");
    config(&[("client_id: gateway", &more_scopes("allow"))]);
    check(
        &[("client_id: gateway", &more_scopes("refuse"))],
        &[
            "10: issuers.contoso.exchange.more_scopes: cannot be `refuse` with `on_behalf_of`: Entra grants all that was \
             consented to, whatever is asked for",
        ],
    );
}
