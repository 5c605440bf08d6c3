//! Tools that come from an OpenAPI document, and those that are written beside it.

use super::files::Files;
use super::*;
use crate::gateway::Tools;
use crate::tool::{IdentityMode, Tool};

const DOCUMENT: &str = r#"{
    "openapi": "3.1.0",
    "paths": {
        "/me/messages": { "get": { "operationId": "list" } },
        "/places": { "get": { "operationId": "rooms" }, "delete": { "operationId": "close" } }
    }
}"#;
const TOOLS: &str = "    tools:
      list: { match: GET /me/messages, scopes: [Mail.Read] }
      send: { match: POST /me/sendMail, scopes: [Mail.Send] }
";
const EXCHANGE: &str = "    exchange:
      grant: on_behalf_of
      client_id: gateway
      client_auth: { secret_env: CLIENT_SECRET }
";

/// What stands in place of the connector's tools: those of the document, and these.
fn importing(files: &Files, tools: &str) -> String {
    let document = files.write("api.json", DOCUMENT);
    format!("    openapi: {{ file: {document} }}\n    scopes: [Mail.Read]\n{tools}")
}

fn tool(config: &Config, name: &str) -> Tool {
    let Tools::Listed(tools) = &config.connectors[0].tools else { panic!("listed tools") };
    let found = tools.iter().find(|(_, tool)| tool.name.as_str() == name);
    Tool::clone(&found.expect("the tool").1)
}

#[test]
fn a_mode_that_is_written_for_one_tool_leaves_the_others_theirs() {
    let files = Files::new();
    let shared = "{ identity: app_only, scopes: [.default] }";
    let tools = importing(&files, &format!("    tools:\n      rooms: {shared}\n      close: {shared}\n"));
    let config = config(&[(TOOLS, &tools)]);
    let list = tool(&config, "list");
    assert_eq!(list.identity, IdentityMode::OnBehalfOf);
    assert_eq!(list.target.scopes.canonical(), "https://graph.microsoft.com/Mail.Read");
    assert_eq!(tool(&config, "rooms").identity, IdentityMode::AppOnly);
}

#[test]
fn what_may_not_be_meant_is_told_of_imported_tools_as_well() {
    let files = Files::new();
    let tools = importing(&files, "    identity: app_only\n").replace("[Mail.Read]", "[.default]");
    let expected = "connectors.mail.tools.list.match: is a person's data, which whoever may use this tool would see with \
                    the application's power: write `identity: on_behalf_of`";
    let (faults, warnings) = faults_of(&edited(&[(TOOLS, &tools)]));
    assert_eq!(faults, [""; 0]);
    assert!(warnings.len() == 1 && warnings[0].ends_with(expected), "{warnings:?}");
}

#[test]
fn what_no_tool_wants_is_not_missed() {
    let files = Files::new();
    let shared = "{ identity: app_only, scopes: [.default] }";
    let all = ["list", "rooms", "close"].map(|name| format!("      {name}: {shared}\n")).concat();
    let tools = importing(&files, &format!("    tools:\n{all}"));
    let application = "    application: { client_id: shared, client_auth: { secret_env: CLIENT_SECRET } }\n";
    assert_eq!(faults_of(&edited(&[(TOOLS, &tools), (EXCHANGE, application)])).0, [""; 0]);
}

#[test]
fn what_is_said_of_a_tool_beside_the_document_leaves_the_rest_of_what_that_says() {
    let files = Files::new();
    let tools = importing(&files, "    tools:\n      close: { annotations: { open_world: true } }\n");
    let annotations = tool(&config(&[(TOOLS, &tools)]), "close").annotations;
    assert_eq!((annotations.destructive, annotations.open_world), (Some(true), Some(true)));
}

#[test]
fn a_document_of_more_operations_than_anybody_looks_through_is_refused() {
    let files = Files::new();
    let document = |count: usize| {
        let path = |n| format!(r#""/places/{n}": {{ "get": {{ "operationId": "place-{n}" }} }}"#);
        let paths: Vec<String> = (0..count).map(path).collect();
        let text = format!(r#"{{ "openapi": "3.1.0", "paths": {{ {} }} }}"#, paths.join(", "));
        let document = files.write(&format!("{count}.json"), &text);
        (format!("    openapi: {{ file: {document} }}\n    scopes: [Mail.Read]\n"), document)
    };
    let (most, _) = document(2_000);
    assert_eq!(faults_of(&edited(&[(TOOLS, &most)])).0, [""; 0]);
    let (more, file) = document(2_001);
    let expected = format!(
        "16: connectors.mail.openapi.file: has more than 2000 operations: take some by `include` (found {file:?})"
    );
    check(&[(TOOLS, &more)], &[&expected]);
    let some = more.replace(" }", ", include: [\"place-1*\"] }");
    assert_eq!(faults_of(&edited(&[(TOOLS, &some)])).0, [""; 0]);
}

#[test]
fn a_rule_about_a_tool_that_the_document_does_not_have_is_a_typing_error() {
    let files = Files::new();
    let tools = importing(&files, "");
    let rules = "    - tools: [\"mail/*\"]\n  deny:\n    - tools: [\"mail/clsoe\"]\n";
    check(
        &[(TOOLS, &tools), ("    - tools: [\"mail/*\"]\n", rules)],
        &["22: policy.deny[0].tools[0]: covers no tool; did you mean `mail/close`? (found \"mail/clsoe\")"],
    );
}
