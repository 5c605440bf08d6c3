use super::*;
use crate::identity::Tenant;
use crate::oauth::{ClaimPath, Endpoints, IssuerKind, IssuerSettings, Profile};

const TENANT: &str = "5b1c6c1e-0f5b-4a54-8c3e-1f2a3b4c5d6e";
const OTHER_TENANT: &str = "00000000-0000-0000-0000-00000000000a";

fn issuers(edits: &[(&str, &str)]) -> Vec<IssuerSettings> {
    config(edits).issuers
}

fn addresses(endpoints: &Endpoints) -> [Option<&str>; 4] {
    [&endpoints.metadata, &endpoints.jwks_uri, &endpoints.token_endpoint, &endpoints.authorization_endpoint]
        .map(|address| address.as_ref().map(|address| address.as_str()))
}

#[test]
fn entras_addresses_follow_from_the_tenant() {
    let issuer = issuers(&[]).remove(0);
    assert_eq!(issuer.kind, IssuerKind::Entra { tenant: Tenant::Named(TENANT.into()) });
    assert_eq!(issuer.issuer.as_str(), format!("https://login.microsoftonline.com/{TENANT}/v2.0"));
    let authority = format!("https://login.microsoftonline.com/{TENANT}");
    assert_eq!(
        addresses(&issuer.endpoints),
        [
            None,
            Some(&*format!("{authority}/discovery/v2.0/keys")),
            Some(&*format!("{authority}/oauth2/v2.0/token")),
            Some(&*format!("{authority}/oauth2/v2.0/authorize")),
        ]
    );
}

#[test]
fn each_tenant_is_an_issuer_of_the_same_name() {
    let tenants = format!("tenants: [{TENANT}, {}]", OTHER_TENANT.to_uppercase());
    let both = issuers(&[(&format!("tenant: {TENANT}"), &tenants)]);
    assert_eq!(both.len(), 2);
    assert!(both.iter().all(|issuer| issuer.name.as_str() == "contoso" && issuer.exchange.is_some()));
    assert_eq!(both[1].issuer.as_str(), format!("https://login.microsoftonline.com/{OTHER_TENANT}/v2.0"));
}

#[test]
fn a_given_issuer_replaces_entras_authority() {
    let v1 =
        issuers(&[("    tenant:", &format!("    issuer: https://sts.windows.net/{TENANT}/\n    tenant:"))])
            .remove(0);
    assert_eq!(v1.issuer.as_str(), format!("https://sts.windows.net/{TENANT}/"));
    let metadata = format!("https://sts.windows.net/{TENANT}/.well-known/openid-configuration");
    assert_eq!(addresses(&v1.endpoints), [Some(&*metadata), None, None, None]);

    let cloud = "issuer: \"https://login.microsoftonline.us/{tenantid}/v2.0\"";
    let tenants = format!(
        "{cloud}\n    token_endpoint: \"https://login.microsoftonline.us/{{tenantid}}/token\"\n    tenants: \
         [{TENANT}, {OTHER_TENANT}]"
    );
    let both = issuers(&[(&format!("tenant: {TENANT}"), &tenants)]);
    assert_eq!(both[1].issuer.as_str(), format!("https://login.microsoftonline.us/{OTHER_TENANT}/v2.0"));
    assert_eq!(
        addresses(&both[1].endpoints)[2],
        Some(&*format!("https://login.microsoftonline.us/{OTHER_TENANT}/token"))
    );

    let fixed = format!("issuer: https://issuer.example\n    tenants: [{TENANT}, {OTHER_TENANT}]");
    check(
        &[(&format!("tenant: {TENANT}"), &fixed)],
        &["5: issuers.contoso.issuer: is one address for several tenants: write `{tenantid}` where the \
             tenant stands in it (found \"https://issuer.example\")"],
    );
}

#[test]
fn each_cloud_has_its_addresses_and_both_versions_of_tokens() {
    let global = issuers(&[]).remove(0);
    let other = |issuer: &IssuerSettings| issuer.other_issuer.as_ref().map(|other| other.as_str().to_owned());
    assert_eq!(other(&global), Some(format!("https://sts.windows.net/{TENANT}/")));
    let in_cloud =
        |cloud: &str| issuers(&[("    tenant:", &format!("    cloud: {cloud}\n    tenant:"))]).remove(0);
    let government = in_cloud("us_government");
    assert_eq!(government.issuer.as_str(), format!("https://login.microsoftonline.us/{TENANT}/v2.0"));
    let china = in_cloud("china");
    assert_eq!(other(&china), Some(format!("https://sts.chinacloudapi.cn/{TENANT}/")));
    assert_eq!(
        addresses(&china.endpoints)[2],
        Some(&*format!("https://login.partner.microsoftonline.cn/{TENANT}/oauth2/v2.0/token"))
    );
    check(
        &[("    tenant:", "    cloud: china\n    issuer: https://issuer.example\n    tenant:")],
        &[
            "5: issuers.contoso.cloud: stands beside `issuer`, which says where the tenant is: leave out one of the \
           two",
        ],
    );
}

#[test]
fn claims_have_the_names_that_are_written_and_a_person_a_stable_one() {
    let oidc = format!("kind: entra\n    tenant: {TENANT}");
    let with = |claims: &str| {
        (oidc.clone(), format!("kind: oidc\n    issuer: https://issuer.example\n    {claims}"))
    };
    let (from, to) = with("profile: rfc9068\n    claims: { roles: /realm_access/roles, subject: uid }");
    let issuer = issuers(&[(&from, &to)]).remove(0);
    assert_eq!(issuer.profile, Profile::Rfc9068);
    assert_eq!(issuer.claim_names.subject, Some(ClaimPath::Name("uid".into())));
    assert_eq!(issuer.claim_names.roles, Some(ClaimPath::Pointer("/realm_access/roles".into())));
    for mutable in ["email", "upn", "preferred_username", "/user/email"] {
        let (from, to) = with(&format!("claims: {{ subject: {mutable} }}"));
        let message = "can change, or be given to somebody else, who would then be taken for the person: name a \
                       stable identifier, such as `sub`";
        check(
            &[(&from, &to)],
            &[&format!("6: issuers.contoso.claims.subject: {message} (found \"{mutable}\")")],
        );
    }
    check(
        &[("kind: entra", "kind: entra\n    profile: lenient\n    claims: { subject: oid }")],
        &[
            "5: issuers.contoso.profile: goes with `kind: oidc`: leave it out",
            "6: issuers.contoso.claims: goes with `kind: oidc`: leave it out",
        ],
    );
}

#[test]
fn a_tenant_is_a_guid() {
    let guid = "must be a tenant (directory) ID, a GUID like `00000000-0000-0000-0000-000000000000`";
    check(
        &[(TENANT, "contoso.example")],
        &[&format!("5: issuers.contoso.tenant: {guid} (found \"contoso.example\")")],
    );
    check(
        &[(TENANT, "common")],
        &["5: issuers.contoso.tenant: lets in people of any tenant: list the tenants under `tenants`, \
             each by its GUID (found \"common\")"],
    );
    check(
        &[(&format!("    tenant: {TENANT}\n"), "")],
        &["3: issuers.contoso.tenant: is required: give the tenant (directory) ID, a GUID, whose users \
             may call"],
    );
    check(
        &[("tenant: ", "tenants: []\n    tenant: ")],
        &["6: issuers.contoso.tenant: stands beside `tenants`: leave out one of the two"],
    );
    check(
        &[(&format!("tenant: {TENANT}"), "tenants: []")],
        &["5: issuers.contoso.tenants: is an empty list: nobody could call; list the tenants whose users \
             may"],
    );
    check(
        &[(&format!("tenant: {TENANT}"), &format!("tenants: [{TENANT}, x, {{}}]"))],
        &[
            &format!("5: issuers.contoso.tenants[1]: {guid} (found \"x\")"),
            "5: issuers.contoso.tenants[2]: must be text (found a mapping)",
        ],
    );
}

const OIDC: (&str, &str) = (
    "kind: entra\n    tenant: 5b1c6c1e-0f5b-4a54-8c3e-1f2a3b4c5d6e",
    "kind: oidc\n    issuer: https://issuer.example/a",
);

#[test]
fn an_oidc_issuer_is_discovered_unless_all_is_given() {
    let metadata = "https://issuer.example/a/.well-known/openid-configuration";
    let issuer = issuers(&[OIDC]).remove(0);
    assert_eq!(issuer.kind, IssuerKind::Oidc);
    assert_eq!(addresses(&issuer.endpoints), [Some(metadata), None, None, None]);
    let keys = (
        OIDC.0,
        "kind: oidc\n    issuer: https://issuer.example/a\n    jwks_uri: https://issuer.example/keys",
    );
    assert_eq!(
        addresses(&issuers(&[keys])[0].endpoints),
        [Some(metadata), Some("https://issuer.example/keys"), None, None]
    );
    let all = (
        OIDC.0,
        "kind: oidc\n    issuer: https://issuer.example/a\n    jwks_uri: https://issuer.example/keys\n    \
         token_endpoint: https://issuer.example/token",
    );
    assert_eq!(
        addresses(&issuers(&[all])[0].endpoints),
        [None, Some("https://issuer.example/keys"), Some("https://issuer.example/token"), None]
    );
}

#[test]
fn an_issuer_is_kept_byte_for_byte() {
    let issuer = issuers(&[(OIDC.0, "kind: oidc\n    issuer: https://Issuer.example:443/a/")]).remove(0);
    assert_eq!(issuer.issuer.as_str(), "https://Issuer.example:443/a/");
    assert_eq!(
        addresses(&issuer.endpoints)[0],
        Some("https://issuer.example/a/.well-known/openid-configuration")
    );
}

#[test]
fn an_oidc_issuer_is_an_https_address() {
    check(
        &[(OIDC.0, "kind: oidc")],
        &["3: issuers.contoso.issuer: is required: give the exact `iss` of its tokens"],
    );
    check(
        &[("kind: entra", "kind: oidc\n    issuer: https://issuer.example")],
        &["6: issuers.contoso.tenant: goes with `kind: entra`: leave it out"],
    );
    check(
        &[(OIDC.0, "kind: oidc\n    issuer: https://issuer.example/?a=b")],
        &["5: issuers.contoso.issuer: must not have a query (?…): an issuer is an address without one \
             (found \"https://issuer.example/?a=b\")"],
    );
    // What happened: the address of the metadata was taken for the issuer, and no token had it as its `iss`.
    check(
        &[(OIDC.0, "kind: oidc\n    issuer: https://issuer.example/a/.well-known/openid-configuration")],
        &[
            "5: issuers.contoso.issuer: is where an issuer's metadata is, and not the issuer, under which the gateway finds that \
             itself: leave off `/.well-known/…` (found \"https://issuer.example/a/.well-known/openid-configuration\")",
        ],
    );
    let plain = "must be https, unless its host is loopback or the entry says `allow_plain_http: true`";
    check(
        &[(
            OIDC.0,
            "kind: oidc\n    issuer: http://issuer.example\n    jwks_uri: http://issuer.example/keys\n    \
             token_endpoint: http://login.example",
        )],
        &[
            &format!("5: issuers.contoso.issuer: {plain} (found \"http://issuer.example\")"),
            &format!("6: issuers.contoso.jwks_uri: {plain} (found \"http://issuer.example/keys\")"),
            &format!("7: issuers.contoso.token_endpoint: {plain} (found \"http://login.example\")"),
        ],
    );
    check_warnings(
        &[(OIDC.0, "kind: oidc\n    allow_plain_http: true\n    issuer: http://issuer.example")],
        &["6: warning: issuers.contoso.issuer: is called without TLS: tokens sent to it can be read on \
             the way"],
    );
}

#[test]
fn who_may_call_is_never_left_to_an_empty_list() {
    check(
        &[("[api://obo-gateway]", "[]")],
        &["6: issuers.contoso.audiences: is an empty list: list what `aud` of a token for the gateway \
             names, like `[api://obo-gateway]`"],
    );
    check(
        &[("    exchange:", "    agents: []\n    exchange:")],
        &["7: issuers.contoso.agents: is an empty list: nobody could call; leave the key out to let any \
             agent call"],
    );
    assert!(issuers(&[])[0].agents.is_none());
    let agents = issuers(&[(
        "    exchange:",
        "    agents: [planner]\n    required_scopes: [call, call]\n    exchange:",
    )])
    .remove(0);
    assert_eq!(agents.agents.map(|agents| agents.len()), Some(1));
    assert_eq!(agents.required_scopes.canonical(), "call");
}

#[test]
fn an_iss_leads_to_one_entry() {
    let twice = format!("tenants: [{TENANT}, {TENANT}]");
    check(
        &[(&format!("tenant: {TENANT}"), &twice)],
        &["3: issuers.contoso: has the same `iss` as another tenant of it: each may stand in the file once"],
    );
    let twin = format!(
        "  twin:\n    kind: oidc\n    issuer: https://login.microsoftonline.com/{TENANT}/v2.0\n    \
         audiences: [a]\nconnectors:"
    );
    check(
        &[("connectors:", &twin), ("kind: rest", "kind: rest\n    issuer: contoso")],
        &["11: issuers.twin: has the same `iss` as `contoso`: each may stand in the file once"],
    );
}

#[test]
fn there_is_someone_to_vouch() {
    let range = SOUND.find("issuers:").expect("issuers")..SOUND.find("connectors:").expect("connectors");
    let none = "name at least one authorization server";
    check(&[(&SOUND[range.clone()], "")], &[&format!("1: issuers: is required: {none}")]);
    check(&[(&SOUND[range], "issuers: {}\n")], &[&format!("2: issuers: is empty: {none}")]);
}
