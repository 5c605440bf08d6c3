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
        &[
            "9: issuers.contoso.exchange.target: goes with `grant: token_exchange` or `grant: jwt_bearer`; with `on_behalf_of` the \
             scopes name \
             the target",
        ],
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
             RFC 8693, `jwt_bearer` for RFC 7523, `id_jag` for ID-JAG",
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
    let token_exchange = "`grant: token_exchange`";
    for (key, value, grants) in [
        ("subject_token_type", "jwt", "`grant: token_exchange` or `grant: id_jag`"),
        ("requested_token_type", "jwt", token_exchange),
        ("actor_token", "gateway", token_exchange),
        ("actor_scopes", "[act]", token_exchange),
    ] {
        check(
            &[("grant: on_behalf_of", &format!("grant: on_behalf_of\n      {key}: {value}"))],
            &[&format!("9: issuers.contoso.exchange.{key}: goes with {grants}: leave it out")],
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

/// The parts of a configuration with `grant: id_jag` that tests leave out or change.
const CRM: &str = "crm: { issuer: 'https://auth.crm.example', token_endpoint: 'https://auth.crm.example/token', \
                   client_id: at-crm, client_auth: { secret_env: OTHER_SECRET } }";
const OIDC: (&str, &str) = (
    "kind: entra\n    tenant: 5b1c6c1e-0f5b-4a54-8c3e-1f2a3b4c5d6e",
    "kind: oidc\n    issuer: https://idp.example",
);
const ISSUED_BY_CRM: (&str, &str) = ("path: /mail", "path: /mail\n    authorization_server: crm");

/// `grant: id_jag` with this as its resource authorization servers.
fn id_jag(resource_authorization_servers: &str) -> String {
    format!("grant: id_jag\n      resource_authorization_servers: {{ {resource_authorization_servers} }}")
}

#[track_caller]
fn check_resource_authorization_servers(resource_authorization_servers: &str, expected: &[&str]) {
    let grant = id_jag(resource_authorization_servers);
    check(&[OIDC, ("grant: on_behalf_of", &grant), ISSUED_BY_CRM], expected);
}

#[test]
fn an_id_jag_is_for_one_of_the_resource_authorization_servers() {
    let grant = id_jag(CRM);
    let config = config(&[OIDC, ("grant: on_behalf_of", &grant), ISSUED_BY_CRM]);
    let exchange = config.issuers[0].exchange.as_ref().expect("an exchange");
    let Grant::IdJag { subject_token_type, resource_authorization_servers } = &exchange.grant else {
        panic!("another grant: {:?}", exchange.grant)
    };
    assert_eq!(&**subject_token_type, ACCESS_TOKEN_TYPE);
    let crate::gateway::Tools::Listed(tools) = &config.connectors[0].tools else { panic!("listed tools") };
    let target = &tools[0].1.target;
    assert_eq!(target.authorization_server.as_ref().map(|server| server.as_str()), Some("crm"));
    assert_eq!(target.scopes, Scopes::parse("Mail.Read"));
    let server = resource_authorization_servers.of(target).expect("the connector's");
    assert_eq!(server.issuer.as_str(), "https://auth.crm.example");
    assert_eq!(server.token_endpoint.as_str(), "https://auth.crm.example/token");
    assert_eq!(&*server.client_id, "at-crm");
    assert!(matches!(server.client_auth, ClientAuth::SecretPost(_)) && server.extra_roots.is_empty());
}

#[test]
fn a_resource_authorization_server_is_named_by_each_connector_of_its_issuer() {
    let grant = id_jag(CRM);
    let by_id_jag = [OIDC, ("grant: on_behalf_of", grant.as_str())];
    check(
        &by_id_jag,
        &["13: connectors.mail.authorization_server: is required: name who issues its tokens: `crm`"],
    );
    let named = |name: &str| format!("path: /mail\n    authorization_server: {name}");
    check(
        &[by_id_jag[0], by_id_jag[1], ("path: /mail", &named("crn"))],
        &[
            "16: connectors.mail.authorization_server: is not under `issuers.contoso.exchange.resource_authorization_servers`, which has `crm`; did you mean `crm`? \
             (found \"crn\")",
        ],
    );
    check(
        &[ISSUED_BY_CRM],
        &[
            "15: connectors.mail.authorization_server: goes with an issuer whose `exchange` has `grant: id_jag`: leave \
           it out",
        ],
    );
    let second = "  staff:\n    kind: oidc\n    issuer: https://staff.example\n    audiences: [a]\n    exchange: \
                  { grant: token_exchange, client_id: g, client_auth: { secret_env: CLIENT_SECRET } }\nconnectors:";
    check(
        &[
            by_id_jag[0],
            by_id_jag[1],
            ("connectors:", second),
            ("path: /mail", "path: /mail\n    issuers: [contoso, staff]\n    authorization_server: crm"),
        ],
        &[
            "18: connectors.mail: has issuers with `grant: id_jag` and issuers without: make one connector for each",
        ],
    );
}

#[test]
fn resource_authorization_servers_go_with_their_grant_alone() {
    let at = "issuers.contoso.exchange";
    for grant in ["on_behalf_of", "jwt_bearer", "token_exchange"] {
        let written = format!("grant: {grant}\n      resource_authorization_servers: {{ {CRM} }}");
        check(
            &[("kind: rest", "kind: rest\n    audience: api://mail"), ("grant: on_behalf_of", &written)],
            &[&format!("9: {at}.resource_authorization_servers: goes with `grant: id_jag`: leave it out")],
        );
    }
    let what = "with `id_jag` name at least one authorization server that issues tokens for connectors";
    check(
        &[OIDC, ("grant: on_behalf_of", "grant: id_jag"), ISSUED_BY_CRM],
        &[&format!("7: {at}.resource_authorization_servers: is required: {what}")],
    );
    check_resource_authorization_servers(
        "",
        &[&format!("9: {at}.resource_authorization_servers: is empty: {what}")],
    );
    let grant = id_jag(CRM);
    check(
        &[("grant: on_behalf_of", &grant), ISSUED_BY_CRM],
        &[&format!(
            "8: {at}.grant: goes with `kind: oidc`: an Entra tenant names its people by `oid`, and an ID-JAG by `sub` \
             (found \"id_jag\")"
        )],
    );
    for (key, value, remedy) in [
        ("requested_token_type", "jwt", "goes with `grant: token_exchange`: leave it out"),
        ("actor_token", "gateway", "goes with `grant: token_exchange`: leave it out"),
        ("client_capabilities", "[cp1]", "goes with `grant: on_behalf_of`: leave it out"),
        (
            "target",
            "audience",
            "goes with `grant: token_exchange` or `grant: jwt_bearer`; with `id_jag` the connector's `authorization_server` names the target",
        ),
    ] {
        let grant = format!("{grant}\n      {key}: {value}");
        check(
            &[OIDC, ("grant: on_behalf_of", &grant), ISSUED_BY_CRM],
            &[&format!("10: {at}.{key}: {remedy}")],
        );
    }
    let grant = format!("{grant}\n      subject_token_type: id_token");
    let Grant::IdJag { subject_token_type, .. } =
        exchange(&[OIDC, ("grant: on_behalf_of", &grant), ISSUED_BY_CRM]).grant
    else {
        panic!("another grant");
    };
    assert_eq!(&*subject_token_type, "urn:ietf:params:oauth:token-type:id_token");
}

#[test]
fn a_resource_authorization_server_is_checked_like_an_issuer() {
    let at = "9: issuers.contoso.exchange.resource_authorization_servers.crm";
    check_resource_authorization_servers(
        "crm: {}",
        &[
            &format!(
                "{at}.client_auth: is required: give `certificate` and `key`, `secret_file`, `secret_env`, \
                 `token_file`, or `tls_certificate` and `tls_key`"
            ),
            &format!("{at}.client_id: is required: give the gateway's own client ID at this server"),
            &format!(
                "{at}.issuer: is required: give its issuer identifier, which assertions for it name as audience"
            ),
            &format!("{at}.token_endpoint: is required: give the address that tokens are asked for at"),
        ],
    );
    let https = "must be https, unless its host is loopback or the entry says `allow_plain_http: true`";
    let changed = |from: &str, to: &str| {
        assert!(CRM.contains(from), "{from}");
        CRM.replacen(from, to, 1)
    };
    check_resource_authorization_servers(
        &changed("https://auth.crm.example/token", "http://auth.crm.example/token"),
        &[&format!("{at}.token_endpoint: {https} (found \"http://auth.crm.example/token\")")],
    );
    check_resource_authorization_servers(
        &changed("https://auth.crm.example'", "https://auth.crm.example?a=b'"),
        &[&format!(
            "{at}.issuer: must not have a query (?…): an issuer is an address without one (found \
             \"https://auth.crm.example?a=b\")"
        )],
    );
    check_resource_authorization_servers(
        &changed("OTHER_SECRET", "NO_SECRET"),
        &[&format!(
            "{at}.client_auth.secret_env: names an environment variable that is not set (found \"NO_SECRET\")"
        )],
    );
    check_resource_authorization_servers(
        &changed("client_id: at-crm", "client_id: at-crm, ca_file: /nowhere/ca.pem"),
        &[&format!(
            "{at}.ca_file: names a file that is not there; relative names start at the working directory (found \
             \"/nowhere/ca.pem\")"
        )],
    );
    check_resource_authorization_servers(
        &changed("crm: {", "'c/m': {"),
        &[
            "9: issuers.contoso.exchange.resource_authorization_servers.c/m: is not a name: use 1 to 128 of the letters A to Z and a \
             to z, digits, `_`, `-` and `.`",
            "16: connectors.mail.authorization_server: is not under `issuers.contoso.exchange.resource_authorization_servers`, which \
             has `c/m`; did you mean `c/m`? (found \"crm\")",
        ],
    );
    check_resource_authorization_servers(
        &changed("client_id: at-crm", "clientid: at-crm"),
        &[&format!("{at}.clientid: is not a key here; did you mean `client_id`?")],
    );
    let plain = changed("https://auth.crm.example/token", "http://auth.crm.example/token");
    let plain = plain.replace("client_id", "allow_plain_http: true, client_id");
    let grant = id_jag(&plain);
    check_warnings(
        &[OIDC, ("grant: on_behalf_of", &grant), ISSUED_BY_CRM],
        &[
            "9: warning: issuers.contoso.exchange.resource_authorization_servers.crm.token_endpoint: is called without TLS: tokens \
           sent to it can be read on the way",
        ],
    );
}
