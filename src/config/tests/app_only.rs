use super::*;
use crate::gateway::{ListWithoutPerson, Tools};
use crate::oauth::{ApplicationSettings, ClientAuth, TargetParameter};
use crate::tool::{IdentityMode, Tool};

const ENTRA: &str = "kind: entra\n    tenant: 5b1c6c1e-0f5b-4a54-8c3e-1f2a3b4c5d6e";
const OIDC: (&str, &str) = (ENTRA, "kind: oidc\n    issuer: https://kc.example");
const SEND: &str = "send: { match: POST /me/sendMail, scopes: [Mail.Send] }";
/// Replaces `send`, so that modes are mixed and each tool says its own.
const SHARED: [(&str, &str); 2] = [
    ("list: {", "list: { identity: on_behalf_of,"),
    (SEND, "rooms: { match: GET /places, identity: app_only }"),
];
const EXCHANGE: &str = "    exchange:\n      grant: on_behalf_of\n      client_id: gateway\n      client_auth: { secret_env: CLIENT_SECRET }\n";

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&SHARED, more].concat()
}

fn application(edits: &[(&str, &str)]) -> ApplicationSettings {
    config(edits).issuers.remove(0).application.expect("an application")
}

fn tool(config: &Config, name: &str) -> Tool {
    let Tools::Listed(tools) = &config.connectors[0].tools else { panic!("listed tools") };
    let found = tools.iter().find(|(_, tool)| tool.name.as_str() == name);
    Tool::clone(&found.expect("the tool").1)
}

#[test]
fn a_tool_can_declare_the_applications_identity() {
    let config = config(&SHARED);
    let rooms = tool(&config, "rooms");
    assert_eq!(rooms.identity, IdentityMode::AppOnly);
    assert_eq!(rooms.target.scopes.canonical(), "https://graph.microsoft.com/.default");
    assert_eq!(tool(&config, "list").identity, IdentityMode::OnBehalfOf);
    let application = config.issuers[0].application.as_ref().expect("an application");
    assert_eq!(&*application.client_id, "gateway", "the client of the exchange");
    assert!(matches!(application.client_auth, ClientAuth::SecretPost(_)));
    check_warnings(&SHARED, &[]);
}

#[test]
fn without_such_a_tool_there_is_nothing_to_ask_for_an_application_token_by() {
    let named =
        "application: { client_id: shared, client_auth: { secret_env: CLIENT_SECRET } }\n    exchange:";
    for edits in [vec![], vec![("exchange:", named)]] {
        assert!(config(&edits).issuers[0].application.is_none(), "{edits:?}");
    }
}

#[test]
fn the_application_can_be_a_client_of_its_own() {
    let own = "application: { client_id: shared, client_auth: { secret_env: CLIENT_SECRET, method: basic }, extra: { x: y \
               } }\n    exchange:";
    let application = application(&with(&[("exchange:", own)]));
    assert_eq!((&*application.client_id, application.target), ("shared", TargetParameter::Scope));
    assert!(matches!(application.client_auth, ClientAuth::SecretBasic(_)));
    assert_eq!(application.extra[0].0, "x");
    let half = |keys: &str| format!("application: {{ {keys} }}\n    exchange:");
    check(
        &with(&[("exchange:", &half("client_id: shared"))]),
        &[
            "7: issuers.contoso.application.client_id: needs `client_auth`, by which the gateway proves to be that \
           client: add it",
        ],
    );
    check(
        &with(&[("exchange:", &half("client_auth: { secret_env: CLIENT_SECRET }"))]),
        &[
            "7: issuers.contoso.application.client_auth: needs `client_id`, the client that it proves: add it, or leave \
           both out for that of `exchange`",
        ],
    );
    check(
        &with(&[("exchange:", &half("target: audience"))]),
        &[
            "7: issuers.contoso.application.target: goes with `kind: oidc`: leave it out, Entra has the scope name the \
           target",
        ],
    );
    check(
        &with(&[("exchange:", &half("extra: { scope: more }"))]),
        &[
            "7: issuers.contoso.application.extra.scope: is a field that the gateway sets itself: leave it out",
        ],
    );
}

#[test]
fn an_issuer_without_exchange_can_serve_the_application_alone() {
    let alone = [
        (EXCHANGE, "    application: { client_id: shared, client_auth: { secret_env: CLIENT_SECRET } }\n"),
        ("    path: /mail", "    path: /mail\n    identity: app_only"),
        ("GET /me/messages, scopes: [Mail.Read]", "GET /places"),
        (SEND, ""),
    ];
    let config = config(&alone);
    assert!(config.issuers[0].exchange.is_none());
    assert_eq!(&*config.issuers[0].application.as_ref().expect("an application").client_id, "shared");
    let [_, rest @ ..] = alone;
    check(
        &[&[(EXCHANGE, "")], &rest[..]].concat(),
        &[
            "8: connectors.mail: needs `issuers.contoso.application`, or `exchange` there, and neither is: `app_only` \
           obtains its tokens by their client",
        ],
    );
    check(
        &[&[(EXCHANGE, "    application: { extra: { x: y } }\n")], &rest[..]].concat(),
        &[
            "7: issuers.contoso.application.client_id: is required: give the application's client ID, since there is no \
           `exchange` whose client it could be",
        ],
    );
}

#[test]
fn entra_takes_no_scope_but_default_for_an_application() {
    let rooms =
        |scopes: &str| format!("rooms: {{ match: GET /places, identity: app_only, scopes: {scopes} }}");
    let list = SHARED[0];
    for scopes in ["[.default]", "[\"https://graph.microsoft.com/.default\"]"] {
        let config = config(&[list, (SEND, &rooms(scopes))]);
        assert_eq!(tool(&config, "rooms").target.scopes.canonical(), "https://graph.microsoft.com/.default");
    }
    let fault = |named: &str| {
        format!(
            "18: connectors.mail.tools.rooms.scopes: asks for {named}, and Entra gives an application all that it was \
             granted or nothing: write `scopes: [\"https://graph.microsoft.com/.default\"]`"
        )
    };
    check(&[list, (SEND, &rooms("[Place.Read.All]"))], &[&fault("`Place.Read.All`")]);
    check(
        &[list, (SEND, &rooms("[https://graph.microsoft.com/Place.Read.All]"))],
        &[&fault("`https://graph.microsoft.com/Place.Read.All`")],
    );
    check(&[list, (SEND, &rooms("[.default, Place.Read.All]"))], &[&fault("`.default`, `Place.Read.All`")]);
    // What the other tools ask for is inherited, and no better.
    check(
        &[list, SHARED[1], ("    path: /mail", "    scopes: [Mail.Read]\n    path: /mail")],
        &[&fault("`Mail.Read`").replace("18:", "19:")],
    );
    check(
        &[
            list,
            SHARED[1],
            ("https://graph.microsoft.com/v1.0", "https://notes.example"),
            ("[Mail.Read]", "[api://notes/Read]"),
        ],
        &[
            "12: connectors.mail.audience: is required: an `app_only` token of Entra's is for a resource, so give the \
           connector's application ID URI, like `api://notes`",
        ],
    );
}

#[test]
fn elsewhere_the_target_is_named_as_in_the_exchange_or_as_the_application_says() {
    let rooms = (SEND, "rooms: { match: GET /places, identity: app_only, scopes: [rooms.read] }");
    let exchange = ("grant: on_behalf_of", "grant: token_exchange\n      target: resource");
    let resource = ("    path: /mail", "    path: /mail\n    resource: https://mail.example");
    let edits = [OIDC, exchange, resource, SHARED[0], rooms];
    assert_eq!(application(&edits).target, TargetParameter::Resource);
    assert_eq!(tool(&config(&edits), "rooms").target.scopes.canonical(), "rooms.read");
    let own = ("    exchange:", "    application: { target: scope }\n    exchange:");
    assert_eq!(application(&[&edits[..], &[own]].concat()).target, TargetParameter::Scope);
    check(
        &[OIDC, own, exchange, resource, SHARED[0], SHARED[1]],
        &[
            "21: connectors.mail.tools.rooms.scopes: is required: the issuer's `application` has `target: scope`, so scopes \
           name the connector",
        ],
    );
    let audience = ("    exchange:", "    application: { target: audience }\n    exchange:");
    check(
        &[&edits[..], &[audience]].concat(),
        &[
            "14: connectors.mail.audience: is required: the issuer's `application` names connectors by it (`target: \
           audience`)",
        ],
    );
    let vouched = "authorization_server: crm\n    path: /mail";
    check(
        &[
            OIDC,
            exchange,
            SHARED[0],
            rooms,
            ("    path: /mail", &format!("    resource: https://mail.example\n    {vouched}")),
        ],
        &[
            "16: connectors.mail.authorization_server: goes with an issuer whose `exchange` has `grant: id_jag`: leave it out",
            "16: connectors.mail.authorization_server: issues no tokens for `app_only` tools, whose own issuer does: make a \
           connector of its own for them",
        ],
    );
}

#[test]
fn a_connector_that_serves_the_application_alone_needs_no_exchange_that_fits() {
    // With two issuers whose grants differ there could be no exchange.
    let second = format!(
        "  fabrikam:\n    {ENTRA}\n    audiences: [api://obo-gateway]\n    application: {{ client_id: shared, client_auth: {{ \
         secret_env: CLIENT_SECRET }} }}\nconnectors:"
    )
    .replace("5b1c", "6c2d");
    let shared = [
        ("connectors:", &*second),
        ("    path: /mail", "    path: /mail\n    identity: app_only\n    issuers: [contoso, fabrikam]"),
        ("GET /me/messages, scopes: [Mail.Read]", "GET /places"),
        (SEND, ""),
    ];
    let config = config(&shared);
    assert!(config.issuers.iter().all(|issuer| issuer.application.is_some()));
    let oidc = second.replace(&ENTRA.replace("5b1c", "6c2d"), "kind: oidc\n    issuer: https://kc.example");
    let [_, rest @ ..] = shared;
    check(
        &[&[("connectors:", &*oidc)], &rest[..]].concat(),
        &[
            "17: connectors.mail: has issuers of both kinds, whose `app_only` scopes differ: make one connector for each",
        ],
    );
}

#[test]
fn a_persons_data_is_not_for_the_application() {
    for (path, warned) in
        [("/me/messages", true), ("/users/{id}/messages", true), ("/users", false), ("/places", false)]
    {
        let rooms = format!("rooms: {{ match: 'GET {path}', identity: app_only }}");
        let warning = "18: warning: connectors.mail.tools.rooms.match: is a person's data, which whoever may use this tool \
                       would see with the application's power: write `identity: on_behalf_of`";
        let first =
            ("list: { match: GET /me/messages", "list: { identity: on_behalf_of, match: GET /me/inbox");
        check_warnings(&[first, (SEND, &rooms)], if warned { std::slice::from_ref(&warning) } else { &[] });
    }
}

#[test]
fn a_tool_that_writes_has_a_scope_that_lets_it() {
    let send = |scopes: &str| format!("POST /me/sendMail, scopes: [{scopes}]");
    let from = "POST /me/sendMail, scopes: [Mail.Send]";
    let warning = |named: &str| {
        format!(
            "18: warning: connectors.mail.tools.send.scopes: only read ({named}), and the tool changes something: name a \
             scope that lets it, or say `annotations: {{ read_only: true }}`"
        )
    };
    check_warnings(&[(from, &send("Mail.Read"))], &[&warning("`Mail.Read`")]);
    check_warnings(
        &[(from, &send("Mail.Read, Sites.Read.All"))],
        &[&warning("`Mail.Read`, `Sites.Read.All`")],
    );
    check_warnings(&[(from, &send("Mail.Read, Mail.Send"))], &[]);
    check_warnings(
        &[(from, "POST /me/sendMail, scopes: [Mail.Read], annotations: { read_only: true }")],
        &[],
    );
    let list = (
        "GET /me/messages, scopes: [Mail.Read]",
        "GET /me/messages, scopes: [Mail.Read], annotations: { destructive: true }",
    );
    check_warnings(&[list], &[&warning("`Mail.Read`").replace("18:", "17:").replace("send", "list")]);
}

#[test]
fn who_mixes_modes_says_so_for_each_tool() {
    check_warnings(
        &[SHARED[1]],
        &[
            "16: warning: connectors.mail.tools: have different identity modes, and `list` would change with the \
           connector's: write `identity` for each tool",
        ],
    );
    check_warnings(&SHARED, &[]);
    check_warnings(
        &[(SEND, "send: { match: POST /me/sendMail, scopes: [Mail.Send], identity: on_behalf_of }")],
        &[],
    );
}

#[test]
fn lists_without_a_person_are_the_applications() {
    let lists = ("kind: rest", "kind: mcp\n    scopes: [Notes.Read]\n    list_without_person: app_only");
    let tools = "    tools:\n      list: { match: GET /me/messages, scopes: [Mail.Read] }\n      send: { match: POST /me/sendMail, scopes: [Mail.Send] }\n";
    let target = |edits: &[(&str, &str)]| {
        let mut config = config(edits);
        assert!(config.issuers[0].application.is_some());
        let Tools::Mcp(tools) = config.connectors.remove(0).tools else { panic!("an MCP server") };
        match tools.list_without_person {
            ListWithoutPerson::AppOnly(target) => target.scopes.canonical().to_owned(),
            other => panic!("{other:?}"),
        }
    };
    // A person's scopes are none of an application's at Entra, and elsewhere they are.
    assert_eq!(target(&[lists, (tools, "")]), "https://graph.microsoft.com/.default");
    let exchange = ("grant: on_behalf_of", "grant: token_exchange\n      target: scope");
    assert_eq!(target(&[OIDC, exchange, lists, (tools, "")]), "Notes.Read");
}
