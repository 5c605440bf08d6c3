//! Arguments of REST tools, and where they stand.

use super::*;

const LIST: &str = "list: { match: GET /me/messages, scopes: [Mail.Read] }";

#[track_caller]
fn check_arguments(arguments: &str, expected: &[&str]) {
    let tool = format!(
        "list:\n        match: GET /users/{{user}}/messages/{{id}}\n        scopes: [a]\n        arguments:\n          {}",
        arguments.replace('\n', "\n          ")
    );
    check(&[(LIST, &tool)], expected);
}

#[test]
fn an_argument_stands_in_one_place() {
    check_arguments(
        "id: { type: string, path: id }\n$filter: { type: string, query: x }",
        &[
            "22: connectors.mail.tools.list.arguments.$filter: is not a name: use 1 to 128 of the letters A to Z and a to z, \
           digits, `_`, `-` and `.`",
        ],
    );
    check_arguments(
        "a: { type: string }\nb: { type: string, query: x, path: id }\nc: { query: q }\nd: { type: string, query: y }\n\
         e: { type: string, query: y }",
        &[
            "21: connectors.mail.tools.list.arguments.a: is required: say where it stands, with `query`, `path` or `body`",
            "22: connectors.mail.tools.list.arguments.b: stands in several places: keep one of `query`, `path` and `body`",
            "23: connectors.mail.tools.list.arguments.c.type: is required: give `string`, `integer`, `boolean` or `strings`",
            "25: connectors.mail.tools.list.arguments.e: stands where `d` does: leave out one of the two",
        ],
    );
}

#[test]
fn a_place_is_one_that_a_call_has() {
    check_arguments(
        "a: { type: string, path: nowhere }\nb: { type: strings, path: id }\nc: { type: string, body: subject }\n\
         d: { type: string, body: '/to/*' }\ne: { type: strings, body: '/to/*' }",
        &[
            "21: connectors.mail.tools.list.arguments.a.path: is no parameter of `match` (found \"nowhere\")",
            "22: connectors.mail.tools.list.arguments.b.path: is one text: its type cannot be `strings`",
            "23: connectors.mail.tools.list.arguments.c.body: must be a JSON pointer like `/message/subject`, where `~1` \
             stands for `/` and `~0` for `~` (found \"subject\")",
            "24: connectors.mail.tools.list.arguments.d.body: can find several texts: its type has to be `strings` (found \
             \"/to/*\")",
        ],
    );
}

#[test]
fn arguments_of_mcp_tools_stand_nowhere_else() {
    let tools = SOUND.find("    tools:").expect("tools")..SOUND.find("policy:").expect("policy");
    let listed =
        "    scopes: [a]\n    tools:\n      read: { arguments: { id: { type: string, query: id } } }\n";
    check(
        &[("kind: rest", "kind: mcp"), (&SOUND[tools], listed)],
        &[
            "18: connectors.mail.tools.read.arguments.id.query: is for a REST API: leave it out, since a call of an MCP tool \
           has its arguments by name",
        ],
    );
}
