use std::time::Duration;

use super::*;
use crate::gateway::{ConnectorTimeouts, ListWithoutPerson, McpTools, Tools};
use crate::tool::{Annotations, ArgumentType, IdentityMode, Primitive, RequiredSignIn, Tool};

/// The tools of the first connector.
fn tools(edits: &[(&str, &str)]) -> Vec<(String, std::sync::Arc<Tool>)> {
    match config(edits).connectors.remove(0).tools {
        Tools::Any(tool) => vec![("any".to_owned(), tool)],
        Tools::Listed(tools) => {
            tools.into_iter().map(|(matches, tool)| (matches.to_string(), tool)).collect()
        }
        Tools::Mcp(_) => panic!("the connector of these tests is a REST API"),
    }
}

#[track_caller]
fn check_scopes(edits: &[(&str, &str)], expected: &[&str]) {
    let scopes: Vec<String> =
        tools(edits).iter().map(|(_, tool)| tool.target.scopes.canonical().to_owned()).collect();
    assert_eq!(scopes, expected);
}

const ALL_TOOLS: &str = "    tools:\n      list: { match: GET /me/messages, scopes: [Mail.Read] }\n      \
                         send: { match: POST \
                         /me/sendMail, scopes: [Mail.Send] }\n";

#[test]
fn a_tool_is_what_is_written() {
    let tools = tools(&[(
        "scopes: [Mail.Send]",
        "scopes: [Mail.Send], required_scopes: [send], confirm: false, required_acrs: []",
    )]);
    let (matches, send) = &tools[1];
    assert_eq!(matches, "POST /me/sendMail");
    assert_eq!(send.to_string(), "mail/send");
    assert_eq!(send.identity, IdentityMode::OnBehalfOf);
    assert_eq!(send.required_scopes.canonical(), "send");
    assert_eq!(send.issuers.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["contoso"]);
}

#[test]
fn a_connector_without_tools_is_one_tool() {
    let tools = tools(&[(ALL_TOOLS, "    scopes: [Mail.Read]\n")]);
    assert_eq!(tools[0].1.to_string(), "mail/any");
    check(
        &[(ALL_TOOLS, "    tools: {}\n"), ("mail/*", "*/*")],
        &["16: connectors.mail.tools: is empty, so nothing could be called; leave the key out to serve \
             all of the connector"],
    );
}

/// The MCP server that the first connector becomes with these tools.
#[track_caller]
fn mcp(tools: &str) -> McpTools {
    let edits = [("kind: rest", "kind: mcp\n    scopes: [Notes.Read]"), (ALL_TOOLS, tools)];
    match config(&edits).connectors.remove(0).tools {
        Tools::Mcp(tools) => tools,
        other => panic!("the connector is an MCP server: {other:?}"),
    }
}

#[test]
fn an_mcp_server_serves_what_it_lists_or_else_what_policy_allows() {
    let tools = mcp("");
    assert!(tools.listed.is_none());
    assert_eq!(tools.list_without_person, ListWithoutPerson::Refuse);
    assert_eq!(tools.unlisted.primitive, Primitive::Method);
    assert_eq!(tools.unlisted.target.scopes.canonical(), "https://graph.microsoft.com/Notes.Read");

    let tools = mcp(
        "    list_without_person: configured\n    tools:\n      read:\n        description: Reads.\n        \
                     annotations: { read_only: true }\n        arguments: { id: { type: string }, tags: { type: strings } }\n      \
                     write: { scopes: [Notes.Write] }\n",
    );
    assert_eq!(tools.list_without_person, ListWithoutPerson::Configured);
    let listed = tools.listed.expect("a list");
    let [read, write] = listed.as_slice() else { panic!("two tools: {listed:?}") };
    assert_eq!((read.to_string().as_str(), read.primitive), ("mail/read", Primitive::Tool));
    assert_eq!(read.annotations, Annotations { read_only: Some(true), ..Annotations::default() });
    assert_eq!(read.arguments.get("tags"), Some(&ArgumentType::Strings));
    assert_eq!(read.description.as_deref(), Some("Reads."));
    assert_eq!(write.target.scopes.canonical(), "https://graph.microsoft.com/Notes.Write");
}

#[test]
fn what_an_mcp_server_cannot_have_is_refused() {
    let mcp = |tools: &'static str| [("kind: rest", "kind: mcp\n    scopes: [a]"), (ALL_TOOLS, tools)];
    check(
        &mcp("    tools:\n      any: {}\n      read: { match: GET /read, arguments: { id: {} } }\n"),
        &[
            "18: connectors.mail.tools.any: is what tools are called that are not listed: choose another name",
            "19: connectors.mail.tools.read.match: is for a REST API: leave it out, since an MCP tool is \
             called by its name",
            "19: connectors.mail.tools.read.arguments.id.type: is required: give `string`, `integer`, \
             `boolean` or `strings`",
        ],
    );
    check(
        &mcp("    tools: {}\n"),
        &["17: connectors.mail.tools: is empty, so no tool could be called; leave the key out to serve \
             those that policy allows"],
    );
    check(
        &mcp("    list_without_person: configured\n"),
        &["17: connectors.mail.list_without_person: is `configured`, and no tools are: list them under \
             `tools`"],
    );
    check(
        &[("kind: rest", "kind: rest\n    list_without_person: app_only")],
        &["14: connectors.mail.list_without_person: is for an MCP server: leave it out, since a REST API \
             has no list of tools"],
    );
}

#[test]
fn a_batch_is_no_tool() {
    for matches in [
        "POST /$batch",
        "POST /v1/$BATCH",
        "POST /%24batch",
        "POST /$batch/x",
        "GET /v1/%24Batch/{id}",
        "POST /users/{id}/$batch",
    ] {
        let expected = format!(
            "18: connectors.mail.tools.send.match: is a batch: it hides other calls, which nothing would judge, so agents \
             have to send those one by one (found \"{matches}\")"
        );
        check(&[("POST /me/sendMail", &format!("\"{matches}\""))], &[&expected]);
    }
}

#[test]
fn a_tool_demands_what_it_says_or_else_what_its_connector_says() {
    let tools = tools(&[
        ("kind: rest", "kind: rest\n    required_scopes: [all]\n    required_acrs: [c1]\n    max_age: 12h"),
        ("scopes: [Mail.Send]", "scopes: [Mail.Send], required_acr: [high], required_acrs: [], max_age: 15m"),
    ]);
    let [list, send] = [&tools[0].1, &tools[1].1].map(|tool| tool.required_sign_in.clone());
    let of = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(list, RequiredSignIn { acrs: vec!["c1".into()], acr: Vec::new(), max_age: of(43_200) });
    assert_eq!(send, RequiredSignIn { acrs: Vec::new(), acr: vec!["high".into()], max_age: of(900) });
    assert_eq!(tools[1].1.required_scopes.canonical(), "all");
    check(
        &[("scopes: [Mail.Send]", "scopes: [Mail.Send], required_acrs: [\"a b\"], max_age: soon")],
        &[
            "18: connectors.mail.tools.send.required_acrs[0]: must be one word without quotes, such as `c1` (found \
             \"a b\")",
            "18: connectors.mail.tools.send.max_age: must be a whole number with a unit, like `15m` or `12h`, and \
             at most `720h` (found \"soon\")",
        ],
    );
}

#[test]
fn a_match_is_needed_and_tells_tools_apart() {
    check(
        &[("match: GET /me/messages, ", "")],
        &["17: connectors.mail.tools.list.match: is required: give the method and the path, like `GET \
             /me/messages/{id}`"],
    );
    check(
        &[("GET /me/messages", "\"GET /me/{id}\""), ("POST /me/sendMail", "\"GET /me/{name}\"")],
        &["18: connectors.mail.tools.send.match: fits the same requests as `GET /me/{id}` of `list` \
             (found \"GET /me/{name}\")"],
    );
    check(
        &[("GET /me/messages", "GET /me/../you")],
        &["17: connectors.mail.tools.list.match: has a path that no request can have: it has a `.` or \
             `..` segment (found \"GET /me/../you\")"],
    );
}

#[test]
fn names_are_plain() {
    let rule = "is not a name: use 1 to 128 of the letters A to Z and a to z, digits, `_`, `-` and `.`";
    check(&[("list:", "list mail:")], &[&format!("17: connectors.mail.tools.list mail: {rule}")]);
    check(&[("  mail:", "  mä/il:"), ("mail/*", "*/*")], &[&format!("12: connectors.mä/il: {rule}")]);
    check(
        &[("  contoso:", &format!("  {}:", "x".repeat(129)))],
        &[&format!("3: issuers.{}: {rule}", "x".repeat(129))],
    );
    check(
        &[("  mail:", "  ..:"), ("mail/*", "*/*")],
        &["12: connectors...: is not a name: in an address it leads elsewhere; add a letter or digit"],
    );
    check(
        &[("list:", "any:")],
        &["17: connectors.mail.tools.any: is what tools are called that are not listed: choose another name"],
    );
}

#[test]
fn a_path_is_canonical_and_belongs_to_one_connector() {
    check(
        &[("path: /mail", "path: /mail/")],
        &["14: connectors.mail.path: must not end with `/` (found \"/mail/\")"],
    );
    check(
        &[("path: /mail", "path: /.well-known/a")],
        &["14: connectors.mail.path: lies under /.well-known, which belongs to the gateway itself (found \
             \"/.well-known/a\")"],
    );
    check(
        &[("    path: /mail\n", "")],
        &["12: connectors.mail.path: is required: give the path under which agents call it, like `/mail`"],
    );
    let second = "  notes:\n    kind: rest\n    path: /mail\n    upstream: https://notes.example\n    \
                  audience: api://notes\npolicy:";
    check(
        &[("policy:", second)],
        &["21: connectors.notes.path: is the path of `mail` already: give each its own (found \"/mail\")"],
    );
}

#[test]
fn an_upstream_is_written_as_it_is_called() {
    let upstream = |text: &str, message: &str| {
        // An address with a password in it is not repeated.
        let found = if text.contains('@') { String::new() } else { format!(" (found {text:?})") };
        let found = format!("15: connectors.mail.upstream: {message}{found}");
        let edits = [(
            "upstream: https://graph.microsoft.com/v1.0",
            format!("upstream: {text}\n    audience: api://mail"),
        )];
        check(&[(edits[0].0, &edits[0].1)], &[&found]);
    };
    upstream(
        "https://mail.example/a?b=c",
        "must not have a query (?…): what agents send is appended to its path",
    );
    upstream("https://mail.example/a/", "must not end with `/`");
    upstream("https://mail.example/a/../b", "has a path that has a `.` or `..` segment");
    upstream("https://mail.example/a//b", "has a path that has an empty segment (`//`)");
    upstream(
        "https://mail.example/a\\b",
        "has a path that has a character that is not allowed in a path: '\\\\'",
    );
    upstream("https://mail.example\\b", "has a path that would be sent differently from how it is written");
    upstream("https://me:pw@mail.example/a", "must not contain a user name or password");
    upstream("ftp://mail.example/a", "must be https");
    upstream(
        "http://mail.example/a",
        "must be https, unless its host is loopback or the entry says `allow_plain_http: true`",
    );
    upstream("mail.example", "not an absolute URL (relative URL without a base)");
    for sound in [
        "https://mail.example",
        "https://mail.example/",
        "https://MAIL.example:443/A",
        "http://127.0.0.1:1/a",
    ] {
        config(&[(
            "upstream: https://graph.microsoft.com/v1.0",
            &format!("upstream: {sound}\n    audience: api://mail"),
        )]);
    }
    check_warnings(
        &[(
            "https://graph.microsoft.com/v1.0",
            "http://graph.microsoft.com/v1.0\n    allow_plain_http: true",
        )],
        &["15: warning: connectors.mail.upstream: is called without TLS: tokens sent to it can be read on \
             the way"],
    );
}

#[test]
fn scopes_of_on_behalf_of_name_their_resource() {
    let graph = "https://graph.microsoft.com/v1.0";
    check_scopes(&[], &["https://graph.microsoft.com/Mail.Read", "https://graph.microsoft.com/Mail.Send"]);
    check_scopes(
        &[(graph, "https://dod-graph.microsoft.us/v1.0")],
        &["https://dod-graph.microsoft.us/Mail.Read", "https://dod-graph.microsoft.us/Mail.Send"],
    );
    check_scopes(
        &[(graph, "https://mail.example\n    audience: api://mail/")],
        &["api://mail/Mail.Read", "api://mail/Mail.Send"],
    );
    check_scopes(
        &[(graph, "https://mail.example\n    audience: api://mail"), (ALL_TOOLS, "")],
        &["api://mail/.default"],
    );
    check_scopes(
        &[("[Mail.Read]", "[https://a.example/Read, https://a.example/List]")],
        &["https://a.example/List https://a.example/Read", "https://graph.microsoft.com/Mail.Send"],
    );
    check_scopes(
        &[(", scopes: [Mail.Send]", ""), ("    tools:", "    scopes: [Mail.ReadWrite]\n    tools:")],
        &["https://graph.microsoft.com/Mail.Read", "https://graph.microsoft.com/Mail.ReadWrite"],
    );
    check(
        &[(graph, "https://mail.example")],
        &["12: connectors.mail.audience: is required, since its scopes do not say whose they are: give \
             the connector's application ID URI, like `api://notes`"],
    );
    check(
        &[(ALL_TOOLS, "")],
        &["12: connectors.mail.scopes: is required: with `on_behalf_of` the scopes name what the \
             token is for"],
    );
    check(
        &[("[Mail.Read]", "[Mail.Read, https://a.example/Read]")],
        &["17: connectors.mail.tools.list.scopes: names several resources (https://a.example, \
             https://graph.microsoft.com): a token is for one, so make a tool for each"],
    );
    check(
        &[("[Mail.Read]", "[Mail.Read, offline_access]")],
        &["17: connectors.mail.tools.list.scopes: has `offline_access`, which is for signing in: leave it \
             out"],
    );
    check(
        &[("[Mail.Read]", "[Mail.Read Mail.Send]")],
        &["17: connectors.mail.tools.list.scopes[0]: is not one scope: list each on its own, without \
             spaces and quotes (found \"Mail.Read Mail.Send\")"],
    );
    check(
        &[("[Mail.Read]", "[]")],
        &["17: connectors.mail.tools.list.scopes: is an empty list: name the scopes to ask for, or leave \
             the key out"],
    );
}

#[test]
fn a_token_exchange_names_its_target_as_the_issuer_wants_it() {
    let exchange = |target: &str| format!("grant: token_exchange\n      target: {target}");
    check_scopes(
        &[("grant: on_behalf_of", "grant: token_exchange"), ("kind: rest", "kind: rest\n    audience: mail")],
        &["Mail.Read", "Mail.Send"],
    );
    check_scopes(&[("grant: on_behalf_of", &exchange("scope"))], &["Mail.Read", "Mail.Send"]);
    let tools = tools(&[
        ("grant: on_behalf_of", &exchange("resource")),
        ("kind: rest", "kind: rest\n    resource: https://mail.example/"),
    ]);
    assert_eq!(
        tools[0].1.target.resource.as_ref().map(|resource| resource.as_str()),
        Some("https://mail.example/")
    );
    let because = |key: &str| {
        format!(
            "12: connectors.mail.{key}: is required: the issuer's `exchange` names connectors by it \
             (`target: {key}`)"
        )
    };
    check(&[("grant: on_behalf_of", "grant: token_exchange")], &[&because("audience")]);
    check(&[("grant: on_behalf_of", &exchange("resource"))], &[&because("resource").replace("12:", "13:")]);
    check(
        &[("grant: on_behalf_of", &exchange("scope")), (ALL_TOOLS, "")],
        &["13: connectors.mail.scopes: is required: the issuer's `exchange` has `target: scope`, so \
             scopes name the connector"],
    );
    check(
        &[("kind: rest", "kind: rest\n    resource: https://a/#b")],
        &["14: connectors.mail.resource: must not have a fragment (#…) (found \"https://a/#b\")"],
    );
    check(
        &[("kind: rest", "kind: rest\n    resource: mail")],
        &["14: connectors.mail.resource: must be an absolute URI, like `https://notes.example/` (found \
             \"mail\")"],
    );
}

const SECOND_ISSUER: &str = "  keycloak:\n    kind: oidc\n    issuer: \
                             https://keycloak.example/realms/a\n    audiences: [gateway]\nconnectors:";

#[test]
fn a_connector_knows_its_issuers() {
    let two = ("connectors:", SECOND_ISSUER);
    check(
        &[two],
        &["16: connectors.mail.issuer: is required: name the issuer whose users may call: `contoso`, \
             `keycloak`"],
    );
    config(&[two, ("kind: rest", "kind: rest\n    issuer: contoso")]);
    check(
        &[two, ("kind: rest", "kind: rest\n    issuer: contso")],
        &["18: connectors.mail.issuer: is not under `issuers`, which has `contoso`, `keycloak`; did you \
             mean `contoso`? (found \"contso\")"],
    );
    check(
        &[two, ("kind: rest", "kind: rest\n    issuers: [contoso, keycloak]")],
        &["16: connectors.mail: needs `issuers.keycloak.exchange`, which is not there: `on_behalf_of` \
             obtains its tokens by it"],
    );
    check(
        &[("kind: rest", "kind: rest\n    issuers: []")],
        &["14: connectors.mail.issuers: is an empty list: nobody could call; name the issuers whose users \
             may"],
    );
    check(
        &[("kind: rest", "kind: rest\n    issuer: contoso\n    issuers: [contoso]")],
        &["14: connectors.mail.issuer: stands beside `issuers`: leave out one of the two"],
    );
    let exchange = "audiences: [gateway]\n    exchange: { grant: token_exchange, client_id: a, client_auth: \
                    { secret_env: OTHER_SECRET } }\nconnectors:";
    check(
        &[
            two,
            ("audiences: [gateway]\nconnectors:", exchange),
            ("kind: rest", "kind: rest\n    issuers: [contoso, keycloak]"),
        ],
        &["17: connectors.mail: has issuers with different grants, which write scopes differently: make \
             one connector for each"],
    );
}

#[test]
fn a_faulty_issuer_is_one_fault_and_not_one_for_each_connector() {
    check(
        &[("grant: on_behalf_of", "grant: obo")],
        &[
            "8: issuers.contoso.exchange.grant: must be one of `on_behalf_of`, `token_exchange`, `jwt_bearer`, `id_jag` \
             (found \"obo\")",
        ],
    );
    check(
        &[("grant: on_behalf_of", "grant: token_exchange\n      target: audienze")],
        &["9: issuers.contoso.exchange.target: must be one of `scope`, `audience`, `resource` (found \
             \"audienze\")"],
    );
    check(
        &[("  contoso:", "  contoso: contoso\nx:")],
        &[
            "3: issuers.contoso: must be a mapping of keys and values, like `{ kind: …, tenant: …, … }` (found text)",
            "4: x: is not a key here; the keys are `listen`, `tls`, `plain_http`, `public_url`, `require_dpop_nonce`, `allowed_origins`, `admin`, `admin_token_file`, `reload`, `timeouts`, `bounds`, \
             `memory`, `limits`, `issuers`, `connectors`, `policy`, `vault`, `pages`, `audit`",
        ],
    );
}

#[test]
fn headers_that_say_who_is_asking_are_not_passed() {
    let passed = |names: &str| format!("kind: rest\n    pass_headers: {names}");
    let headers =
        config(&[("kind: rest", &passed("[Prefer, ConsistencyLevel]"))]).connectors.remove(0).pass_headers;
    assert_eq!(headers, ["prefer", "consistencylevel"]);
    let who = "says who is asking, or belongs to one connection: it is never let through";
    check(
        &[(
            "kind: rest",
            &passed("[Authorization, X-Forwarded-For, X_User, \"a b\", X-MS-Client-Principal-Name]"),
        )],
        &[
            &format!("14: connectors.mail.pass_headers[0]: {who} (found \"Authorization\")"),
            &format!("14: connectors.mail.pass_headers[1]: {who} (found \"X-Forwarded-For\")"),
            "14: connectors.mail.pass_headers[2]: has `_`, which many servers take for `-`: such headers \
             are never let through (found \"X_User\")",
            "14: connectors.mail.pass_headers[3]: is not the name of a header (found \"a b\")",
            &format!("14: connectors.mail.pass_headers[4]: {who} (found \"X-MS-Client-Principal-Name\")"),
        ],
    );
}

#[test]
fn calls_are_repeated_unless_the_connector_says_no() {
    let repeats = |edits: &[(&str, &str)]| config(edits).connectors[0].repeats;
    assert!(repeats(&[]));
    assert!(repeats(&[("kind: rest", "kind: rest\n    retries: true")]));
    assert!(!repeats(&[("kind: rest", "kind: rest\n    retries: false")]));
}

#[test]
fn timeouts_have_defaults() {
    let timeouts = |edits: &[(&str, &str)]| config(edits).connectors[0].timeouts;
    assert_eq!(timeouts(&[]), ConnectorTimeouts::default());
    let set = timeouts(&[("kind: rest", "kind: rest\n    timeouts: { connect: 300ms, response: 5s }")]);
    assert_eq!(
        set,
        ConnectorTimeouts {
            connect: Duration::from_millis(300),
            response: Duration::from_secs(5),
            ..ConnectorTimeouts::default()
        }
    );
}

#[test]
fn there_is_something_to_call() {
    let connectors = SOUND.find("connectors:").expect("connectors")..SOUND.find("policy:").expect("policy");
    let none = "name at least one system that agents call";
    check(&[(&SOUND[connectors.clone()], "")], &[&format!("1: connectors: is required: {none}")]);
    check(&[(&SOUND[connectors], "connectors: {}\n")], &[&format!("11: connectors: is empty: {none}")]);
}
