//! What clients read that know only an address, and which pages in browsers may call.

use super::*;

const PUBLIC: (&str, &str) = ("issuers:", "public_url: https://gw.example\nissuers:");
const PUBLISHED: (&str, &str) = ("    exchange:", "    publish_metadata: true\n    exchange:");
const TENANT: &str = "5b1c6c1e-0f5b-4a54-8c3e-1f2a3b4c5d6e";

#[test]
fn loopback_without_a_public_address_goes_by_its_own_names_alone() {
    assert!(config(&[]).public.is_loopback_alone);
    assert!(!config(&[PUBLIC]).public.is_loopback_alone);
    assert!(!config(&[("127.0.0.1:8080", "0.0.0.0:8080\nplain_http: true")]).public.is_loopback_alone);
}

#[test]
fn mcp_clients_are_told_where_to_sign_in_or_an_operator_that_they_are_not() {
    let mcp: &[(&str, &str)] = &[
        ("kind: rest", "kind: mcp\n    scopes: [Mail.Read]"),
        ("match: GET /me/messages, ", ""),
        ("match: POST /me/sendMail, ", ""),
    ];
    check_warnings(
        mcp,
        &[
            "1: warning: public_url: is not given, so MCP clients that know only a connector's address are not told where \
           people sign in: give the address by which they reach the gateway, like `public_url: https://gateway.example`",
        ],
    );
    check_warnings(&[mcp, &[PUBLIC]].concat(), &[]);
    check_warnings(&[], &[]);
}

#[test]
fn metadata_is_published_under_the_public_address() {
    let publication = |edits: &[(&str, &str)]| config(edits).issuers[0].publication.clone();
    assert_eq!(publication(&[PUBLIC]), None);
    let published = publication(&[PUBLISHED, PUBLIC]).expect("a publication");
    assert_eq!(published.issuer.as_str(), "https://gw.example/issuers/contoso");
    let own = format!("https://login.microsoftonline.com/{TENANT}/v2.0/.well-known/openid-configuration");
    assert_eq!(published.metadata.as_str(), own);
    let below = ("issuers:", "public_url: https://gw.example/tools/\nissuers:");
    let published = publication(&[PUBLISHED, below]).expect("a publication");
    assert_eq!(published.issuer.as_str(), "https://gw.example/tools/issuers/contoso");
    let elsewhere =
        ("    exchange:", "    issuer: https://login.example/t\n    publish_metadata: true\n    exchange:");
    let published = publication(&[elsewhere, PUBLIC]).expect("a publication");
    assert_eq!(published.metadata.as_str(), "https://login.example/t/.well-known/openid-configuration");
    check(
        &[PUBLISHED],
        &[
            "7: issuers.contoso.publish_metadata: goes with `public_url`, under which clients find the metadata: add it, \
           or leave this out",
        ],
    );
    // A bad address is one fault, and not two.
    check(
        &[PUBLISHED, ("issuers:", "public_url: gw.example\nissuers:")],
        &[
            "2: public_url: not an absolute URL (relative URL without a base): give the address by which agents and browsers reach the gateway, like `https://gateway.example` (found \"gw.example\")",
        ],
    );
    let two = format!("tenants: [{TENANT}, 00000000-0000-0000-0000-000000000001]");
    check(
        &[PUBLISHED, PUBLIC, (&format!("tenant: {TENANT}"), &two)],
        &[
            "8: issuers.contoso.publish_metadata: is for one tenant, whose endpoints clients find by it: give each of \
           `tenants` an entry of its own, or leave this out",
        ],
    );
}

#[test]
fn no_connector_lies_where_metadata_is_published() {
    let path = ("path: /mail", "path: /issuers/mail");
    config(&[path, PUBLIC]);
    check(
        &[path, PUBLISHED, PUBLIC],
        &["16: connectors.mail.path: lies under /issuers, where `publish_metadata` publishes metadata \
           (found \"/issuers/mail\")"],
    );
}

#[test]
fn pages_that_may_call_are_listed_by_their_origins() {
    let origins = |edits: &[(&str, &str)]| format!("{:?}", config(edits).connectors[0].allowed_origins);
    let all = ("issuers:", "allowed_origins: [https://app.example, \"http://localhost:6274\"]\nissuers:");
    let own = ("    path: /mail", "    path: /mail\n    allowed_origins: [https://mail.example]");
    let none = ("    path: /mail", "    path: /mail\n    allowed_origins: []");
    assert_eq!(origins(&[]), "[]");
    assert_eq!(origins(&[all]), r#"["https://app.example", "http://localhost:6274"]"#);
    assert_eq!(origins(&[all, own]), r#"["https://mail.example"]"#);
    assert_eq!(origins(&[all, none]), "[]");
    check(
        &[
            ("issuers:", "allowed_origins: [\"*\", https://app.example/]\nissuers:"),
            (
                "    path: /mail",
                "    path: /mail\n    allowed_origins: [\"null\", app.example, http://app.example]",
            ),
        ],
        &[
            "2: allowed_origins[0]: would let in every page that anybody opens: list the origins that may call \
             (found \"*\")",
            "2: allowed_origins[1]: would match nothing: write it as browsers send it, `https://app.example` \
             (found \"https://app.example/\")",
            "16: connectors.mail.allowed_origins[0]: is what sandboxed pages of any origin send: list the origins that \
             may call (found \"null\")",
            "16: connectors.mail.allowed_origins[1]: is not an origin: write scheme, host and port, like \
             `https://app.example` (found \"app.example\")",
            "16: connectors.mail.allowed_origins[2]: must be https, unless its host is loopback: whoever can change the \
             page on its way could call (found \"http://app.example\")",
        ],
    );
}
