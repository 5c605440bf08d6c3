use super::files::Files;
use super::*;
use crate::tool::IdentityMode;

/// A random key, in base64.
const KEY: &str = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";
/// Of Entra, the part that no connection needs.
const EXCHANGE: &str = "    exchange:\n      grant: on_behalf_of\n      client_id: gateway\n      client_auth: { secret_env: CLIENT_SECRET }\n";
const CONNECTION: &str = "identity: connection
    connection:
      issuer: https://login.crm.example
      client_id: obo-gateway
      client_auth: { secret_env: CLIENT_SECRET }
      scopes: [openid, Mail.Read, Mail.Send]
    tools:";

/// How they sign in to the pages instead.
const SIGN_IN: &str = "    sign_in: { client_id: pages, client_auth: { secret_env: CLIENT_SECRET } }\n";

/// The sound configuration, whose tools are for people's own connections, with these edits.
fn edits<'a>(before: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("issuers:", before), ("tools:", CONNECTION), (EXCHANGE, SIGN_IN)], more].concat()
}

struct Bed {
    before: String,
    _files: Files,
}

impl Bed {
    fn new() -> Self {
        let files = Files::new();
        let key = files.write("vault.key", format!("{KEY}\n"));
        let vault =
            format!("vault: {{ file: {}, keys: [{{ id: a, file: {key} }}] }}", files.path("vault.db"));
        Self { before: format!("public_url: https://gateway.example\n{vault}\nissuers:"), _files: files }
    }

    #[track_caller]
    fn check(&self, more: &[(&str, &str)], expected: &[&str]) {
        check(&edits(&self.before, more), expected);
    }
}

#[test]
fn a_connector_can_be_for_peoples_own_connections() {
    let bed = Bed::new();
    let config = config(&edits(&bed.before, &[]));
    let [connection] = config.connections.as_slice() else { panic!("one connection") };
    assert_eq!(connection.connector.as_str(), "mail");
    let client = &connection.client;
    assert_eq!(client.issuer.as_ref().map(|issuer| issuer.as_str()), Some("https://login.crm.example"));
    let places: Vec<&str> = client.metadata.iter().map(|url| url.as_str()).collect();
    assert_eq!(
        places,
        [
            "https://login.crm.example/.well-known/openid-configuration",
            "https://login.crm.example/.well-known/oauth-authorization-server"
        ]
    );
    assert_eq!(client.scopes.canonical(), "Mail.Read Mail.Send openid");
    let links = config.links.expect("pages");
    let back = "https://gateway.example/account/callback/mail";
    assert_eq!(links.callback(&connection.connector), back);
    let shown = summary(&self::config(&edits(&bed.before, &[])), false);
    assert!(shown.contains(&format!("\nredirect address of the client for mail: {back}\n")), "{shown}");
    assert_eq!(config.vault.expect("a vault").keys.len(), 1);
    let tools = config.connectors[0].tools.declared();
    assert!(tools.iter().all(|tool| tool.identity == IdentityMode::Connection));
    assert_eq!(tools[0].target.scopes.canonical(), "Mail.Read");
    check_warnings(&edits(&bed.before, &[]), &[]);
}

#[test]
fn a_tool_without_scopes_needs_all_that_people_grant_but_for_signing_in() {
    let bed = Bed::new();
    let config = config(&edits(&bed.before, &[(", scopes: [Mail.Read] }", " }")]));
    assert_eq!(config.connectors[0].tools.declared()[0].target.scopes.canonical(), "Mail.Read Mail.Send");
}

#[test]
fn a_connection_needs_a_vault_an_address_and_a_place_to_sign_in() {
    let vault = "needs `vault`, where what people grant is kept: add it, like `vault: { file: vault.db, keys: [{ id: \
                 \"2026-11\", file: secrets/vault-2026-11.key }] }`";
    let address = "needs `public_url`, under which people's browsers find the gateway: add it, like `public_url: \
                   https://gateway.example`";
    check(
        &edits("issuers:", &[(SIGN_IN, "")]),
        &[
            &format!("13: connectors.mail.connection: {address}"),
            &format!("13: connectors.mail.connection: {vault}"),
        ],
    );
    let bed = Bed::new();
    bed.check(
        &[("    connection:\n      issuer: https://login.crm.example\n      client_id: obo-gateway\n      client_auth: { secret_env: CLIENT_SECRET }\n      scopes: [openid, Mail.Read, Mail.Send]\n", "")],
        &["11: connectors.mail.connection: is required: `identity: connection` needs a service where people sign in; give its \
           `issuer`, and the gateway's `client_id` there"],
    );
    bed.check(
        &[("identity: connection\n", "identity: app_only\n"), ("    audiences", "    application: { client_id: a, client_auth: { secret_env: CLIENT_SECRET } }\n    audiences"),
          ("[Mail.Read] }", "[.default] }"), ("[Mail.Send] }", "[.default] }")],
        &["17: connectors.mail.connection: goes with `identity: connection`, which neither the connector nor a tool has: add it \
           there, or leave this out"],
    );
}

#[test]
fn what_is_wrong_with_a_connection_is_told_with_its_place() {
    let bed = Bed::new();
    bed.check(
        &[("issuer: https://login.crm.example", "issuer: http://login.crm.example")],
        &["17: connectors.mail.connection.issuer: must be https, unless its host is loopback or the entry says \
           `allow_plain_http: true` (found \"http://login.crm.example\")"],
    );
    bed.check(
        &[("issuer: https://login.crm.example", "issuer: https://login.crm.example?x=1")],
        &["17: connectors.mail.connection.issuer: must not have a query (?…): an issuer is an address without one (found \
           \"https://login.crm.example?x=1\")"],
    );
    bed.check(
        &[("      issuer: https://login.crm.example\n", "      token_endpoint: https://login.crm.example/token\n")],
        &["16: connectors.mail.connection.issuer: is required: give the issuer of the service's authorization server, or both \
           `authorization_endpoint` and `token_endpoint`"],
    );
    bed.check(
        &[("      client_id: obo-gateway\n", "")],
        &["16: connectors.mail.connection.client_id: is required: give the gateway's own client ID at this service"],
    );
    bed.check(
        &[("scopes: [openid, Mail.Read, Mail.Send]", "scopes: []")],
        &[
            "20: connectors.mail.connection.scopes: is an empty list: name the scopes to ask for, or leave the key out",
            "22: connectors.mail.tools.list.scopes: has `Mail.Read`, which people are not asked to grant: add it to the \
             connector's `connection.scopes`",
            "23: connectors.mail.tools.send.scopes: has `Mail.Send`, which people are not asked to grant: add it to the \
             connector's `connection.scopes`",
        ],
    );
    bed.check(
        &[("scopes: [openid, Mail.Read, Mail.Send]", "scopes: [openid, Mail.Read, Mail.Send]\n      extra: { state: x, prompt: consent }")],
        &["21: connectors.mail.connection.extra.state: is a parameter that the gateway sets itself: leave it out"],
    );
}

#[test]
fn people_who_cannot_sign_in_cannot_connect() {
    // What happened: with several issuers nothing was said, and with one there was a warning.
    let cannot = |issuer: &str| {
        format!(
            "connectors.mail.connection: needs its people to sign in to the pages where they connect, and those of `{issuer}` \
             cannot: give that issuer `sign_in`, or `exchange`"
        )
    };
    let bed = Bed::new();
    bed.check(&[(SIGN_IN, "")], &[&format!("15: {}", cannot("contoso"))]);
    let (_, warnings) = faults_of(&edited(&edits(&bed.before, &[(SIGN_IN, "")])));
    assert_eq!(warnings, [""; 0], "it is said once");
    let other = (
        "connectors:",
        "  other:\n    kind: oidc\n    issuer: https://issuer.example\n    audiences: [gateway]\nconnectors:",
    );
    bed.check(
        &[other, ("path: /mail", "path: /mail\n    issuers: [contoso, other]")],
        &[&format!("21: {}", cannot("other"))],
    );
    bed.check(&[other, ("path: /mail", "path: /mail\n    issuer: contoso")], &[]);
}

#[test]
fn a_connection_without_its_mode_is_told_of_the_mode() {
    // What happened: an exchange was asked for, which nobody wants who writes where people sign in.
    let bed = Bed::new();
    let says = "15: connectors.mail.connection: goes with `identity: connection`, which neither the connector nor a tool has: add \
                it there, or leave this out";
    bed.check(&[("identity: connection\n    ", "")], &[says]);
    bed.check(
        &[("identity: connection\n", "identity: conection\n")],
        &["15: connectors.mail.identity: must be one of `on_behalf_of`, `connection`, `app_only` (found \"conection\")"],
    );
}

#[test]
fn what_has_no_effect_on_a_connection_is_refused() {
    let bed = Bed::new();
    let audience = ("identity: connection\n", "identity: connection\n    audience: api://crm\n");
    bed.check(
        &[audience],
        &["16: connectors.mail.audience: has no effect with `identity: connection`: leave it out, or name the service by \
           `resource`, where its server wants to be told"],
    );
    bed.check(
        &[("issuer: https://login.crm.example", "issuer: https://login.crm.example/.well-known/openid-configuration")],
        &["17: connectors.mail.connection.issuer: is where an issuer's metadata is, and not the issuer, under which the gateway \
           finds that itself: leave off `/.well-known/…` (found \"https://login.crm.example/.well-known/openid-configuration\")"],
    );
}

#[test]
fn endpoints_can_be_given_in_place_of_an_issuer() {
    let bed = Bed::new();
    let given =
        "      authorization_endpoint: https://crm.example/a\n      token_endpoint: https://crm.example/t\n";
    let config = config(&edits(&bed.before, &[("      issuer: https://login.crm.example\n", given)]));
    let client = &config.connections[0].client;
    assert!(client.issuer.is_none() && client.metadata.is_empty());
    assert_eq!(client.endpoints.token.as_ref().map(|url| url.as_str()), Some("https://crm.example/t"));
}

#[test]
fn a_vault_has_a_file_and_keys_that_are_keys() {
    let files = Files::new();
    let short = files.write("short", "too short");
    let zeros = files.write("zeros", [0; 32]);
    let good = files.write("good", KEY);
    let other = files.write("other", (0..32).collect::<Vec<u8>>());
    let again = files.write("again", format!("{KEY}\n"));
    let vault = |keys: &str| {
        let file = files.path("vault.db");
        format!("public_url: https://gateway.example\nvault: {{ file: {file}, keys: {keys} }}\nissuers:")
    };
    let check = |keys: &str, expected: &[&str]| check(&[("issuers:", &vault(keys))], expected);
    check(
        "[]",
        &[
            "3: vault.keys: is empty: name at least one key, like `keys: [{ id: \"2026-11\", file: secrets/vault-2026-11.key }]`",
        ],
    );
    check(
        "[certs/x.key]",
        &["3: vault.keys[0]: must be a mapping of keys and values, like `{ id: …, file: … }` (found text)"],
    );
    check(
        &format!("[{{ id: a, file: {short} }}]"),
        &[&format!(
            "3: vault.keys[0].file: names a file that is not a key: 32 random bytes, as they are or in base64; `openssl rand -base64 32` makes them (found {short:?})"
        )],
    );
    check(
        &format!("[{{ id: a, file: {zeros} }}]"),
        &[&format!(
            "3: vault.keys[0].file: names a file that holds the same byte over and over, which is no random key: `openssl rand -base64 32` makes one (found {zeros:?})"
        )],
    );
    check(
        &format!("[{{ id: a, file: {good} }}, {{ id: a, file: {other} }}]"),
        &["3: vault.keys[1].id: is the name of `vault.keys[0]` already: give each its own (found \"a\")"],
    );
    check(
        &format!("[{{ id: a, file: {good} }}, {{ id: b, file: {other} }}, {{ id: c, file: {again} }}]"),
        &[&format!(
            "3: vault.keys[2].file: holds the same key as `vault.keys[0]`: draw a new one (found {again:?})"
        )],
    );
    check(
        &format!("[{{ id: a, file: {} }}]", files.path("missing")),
        &[&format!(
            "3: vault.keys[0].file: names a file that is not there; relative names start at the working directory (found {:?})",
            files.path("missing")
        )],
    );
    check(
        &format!("[{{ file: {good} }}]"),
        &["3: vault.keys[0].id: is required: give the key a name, like `\"2026-11\"`"],
    );
    let folder = files.path("");
    super::check(
        &[(
            "issuers:",
            &format!(
                "public_url: https://gateway.example\nvault: {{ file: {folder}, keys: [{{ id: a, file: {good} }}] }}\nissuers:"
            ),
        )],
        &[&format!("3: vault.file: is a folder: name a file in it (found {folder:?})")],
    );
}

#[test]
fn a_vault_without_pages_is_refused_so_that_nobody_is_forgotten_but_in_it() {
    // What happened: the vault was open, and forgetting a person did not look into it.
    let bed = Bed::new();
    let vault = bed.before.replace("public_url: https://gateway.example\n", "");
    check(
        &[("issuers:", &vault)],
        &[
            "2: vault: goes with `public_url`, under which people find what they have connected: add it, like `public_url: \
           https://gateway.example`; or have everybody in the vault forgotten, and leave this out",
        ],
    );
    let config = config(&[("issuers:", &bed.before)]);
    assert!(config.vault.is_some() && config.links.is_some() && config.connections.is_empty());
}

#[test]
fn pages_have_a_path_of_their_own() {
    let bed = Bed::new();
    let at = |path: &str| format!("pages: {{ path: {path} }}\n{}", bed.before);
    let check_at = |path: &str, expected: &[&str]| check(&edits(&at(path), &[]), expected);
    check_at("/me", &[]);
    check_at(
        "/",
        &[
            "2: pages.path: is all of the gateway: give the pages a path of their own, like `/account` (found \"/\")",
        ],
    );
    let under = "14: connectors.mail.path: lies under /mail, where people's pages are: choose another, or say where they are \
                 with `pages: { path: … }` (found \"/mail\")";
    check_at("/mail", &[under]);
    bed.check(
        &[("path: /mail", "path: /account/mail")],
        &["13: connectors.mail.path: lies under /account, where people's pages are: choose another, or say where they are with \
           `pages: { path: … }` (found \"/account/mail\")"],
    );
    check(
        &[("issuers:", "pages: { path: /me }\nissuers:")],
        &["2: pages: goes with `public_url`, under which browsers find the pages: add it, or leave this out"],
    );
    // Without a vault there are no pages that could be in anybody's way.
    check(&[("path: /mail", "path: /account")], &[]);
}

#[test]
fn check_and_tools_show_whose_account_it_is() {
    let bed = Bed::new();
    let config = config(&edits(&bed.before, &[]));
    assert!(
        summary(&config, false).contains("GET /me/messages   connection  allow[0]    Mail.Read"),
        "{}",
        summary(&config, false)
    );
    assert!(tools(&catalog(&config), false).contains("connection"));
}
