//! What can be called, as whom and by whom: as JSON, and as a table.

use serde_json::json;

use super::*;
use crate::identity::RuleName;
use crate::policy::{Policy, Rule, ToolPattern};

const TOOLS: &str = "    tools:
      list: { match: GET /me/messages, scopes: [Mail.Read] }
      send: { match: POST /me/sendMail, scopes: [Mail.Send] }
";

fn tool_json(edits: &[(&str, &str)], index: usize) -> serde_json::Value {
    serde_json::to_value(&catalog(&config(edits)).connectors[0].tools[index]).expect("JSON")
}

#[test]
fn json_says_all_that_is_declared_for_a_tool() {
    let whole = "    tools:
      send:
        match: POST /me/sendMail
        description: Sends a message.
        scopes: [Mail.Send]
        required_scopes: [send]
        required_acrs: [c1]
        max_age: 15m
        annotations: { read_only: false, destructive: true }
";
    let rules = "    - name: staff
      subjects: { ids: [ada-1], groups: [staff], roles: [Mail.User] }
      agents: [planner]
      tools: [\"mail/s*\"]
    - tools: [\"mail/*\"]
";
    let edits = [(TOOLS, whole), ("    - tools: [\"mail/*\"]\n", rules)];
    assert_eq!(
        tool_json(&edits, 0),
        json!({
            "name": "send",
            "primitive": "tool",
            "match": "POST /me/sendMail",
            "description": "Sends a message.",
            "identity": "on_behalf_of",
            "audience": null,
            "resource": null,
            "authorization_server": null,
            "scopes": ["https://graph.microsoft.com/Mail.Send"],
            "issuers": ["contoso"],
            "required_scopes": ["send"],
            "required_sign_in": { "acrs": ["c1"], "acr": [], "max_age_seconds": 900 },
            "limits": [],
            "confirm": false,
            "annotations": { "read_only": false, "destructive": true },
            "arguments": {},
            "allowed_by": [
                {
                    "name": "staff",
                    "kind": "rule",
                    "names": null,
                    "subjects": { "ids": ["ada-1"], "groups": ["staff"], "roles": ["Mail.User"] },
                    "principal": null,
                    "agents": ["planner"],
                    "conditional": false,
                },
                {
                    "name": "allow[1]",
                    "kind": "rule",
                    "names": null,
                    "subjects": null,
                    "principal": null,
                    "agents": null,
                    "conditional": false,
                },
            ],
            "denied_by": [],
            "confirmed_by": [],
        })
    );
    let connector = &catalog(&config(&edits)).connectors[0];
    assert_eq!(
        (connector.name.as_str(), connector.kind, connector.path.as_str(), connector.upstream.as_str()),
        ("mail", "rest", "/mail", "https://graph.microsoft.com/v1.0")
    );
}

#[test]
fn what_an_mcp_server_has_that_is_not_listed_is_for_those_whom_a_rule_lets_have_some() {
    let mut config = config(&[("kind: rest", "kind: mcp\n    scopes: [Notes.Read]"), (TOOLS, "")]);
    let rule = |name: &str, tools: &[&str], resources: &[&str]| Rule {
        tools: tools.iter().map(|text| text.parse().expect("a pattern")).collect(),
        resources: resources.iter().map(|text| ToolPattern::of_resource(text).expect("a pattern")).collect(),
        ..Rule::named(RuleName::new(name))
    };
    config.policy = Policy::new(vec![
        rule("readers", &["mail/read_*", "mail/list", "crm/*"], &[]),
        rule("owners", &["*/*"], &["mail/file:///shared/*"]),
        rule("others", &["crm/*"], &["crm/*"]),
    ]);
    let catalog = catalog(&config);
    let shown: Vec<_> = catalog
        .tools()
        .map(|(_, tool)| {
            let rules = tool.allowed_by.iter().map(|rule| (rule.name.as_str(), rule.names.clone()));
            (tool.name.as_str(), tool.primitive, rules.collect::<Vec<_>>())
        })
        .collect();
    let names = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect());
    assert_eq!(
        shown,
        [
            ("*", "tool", vec![("readers", names(&["read_*", "list"])), ("owners", None)]),
            ("*", "resource", vec![("owners", names(&["file:///shared/*"]))]),
        ]
    );
}

#[test]
fn the_table_gives_each_rule_a_line() {
    let rules = "    - name: staff
      subjects: { groups: [staff, office], roles: [Mail.User] }
      agents: [planner]
      tools: [\"mail/list\"]
    - { name: many, subjects: { ids: [a-1, b-2, c-3, d-4, e-5, f-6] }, tools: [\"mail/list\"] }
";
    let config = config(&[("    - tools: [\"mail/*\"]\n", rules)]);
    let expected = [
        "CONNECTOR  TOOL  MATCH              IDENTITY      SCOPES                                 CONFIRM  WHO MAY CALL",
        "mail       list  GET /me/messages   on_behalf_of  https://graph.microsoft.com/Mail.Read  no       group staff, office or role Mail.User through agent planner (staff)",
        &format!("{:98}or person a-1, b-2, c-3, d-4 and 2 more (many)", ""),
        "           send  POST /me/sendMail  on_behalf_of  https://graph.microsoft.com/Mail.Send  no       nobody",
    ];
    let table = tools(&catalog(&config), false);
    assert_eq!(table.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_tool_that_runs_as_the_application_stands_out() {
    let mut catalog = catalog(&config(&[]));
    catalog.connectors[0].tools[1].identity = crate::tool::IdentityMode::AppOnly.as_str();
    let plain = tools(&catalog, false);
    assert!(plain.contains("  app_only (no person)  "), "{plain}");
    assert!(!plain.contains('\u{1b}'), "{plain}");
    let coloured = tools(&catalog, true);
    assert!(coloured.contains("\u{1b}[33mapp_only (no person)\u{1b}[0m"), "{coloured}");
    assert!(!coloured.contains("[33mon_behalf_of"), "{coloured}");
    // Colour takes no room.
    let bare = coloured.replace("\u{1b}[33m", "").replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
    assert_eq!(bare, plain);
}

#[test]
fn no_secret_is_in_the_catalog() {
    let catalog = catalog(&config(&[]));
    let shown =
        format!("{catalog:?} {} {}", serde_json::to_string(&catalog).expect("JSON"), tools(&catalog, true));
    assert!(!shown.contains(CANARY), "{shown}");
}

#[cfg(feature = "cedar")]
#[test]
fn cedar_policies_and_rules_that_deny_are_told_as_well() {
    let files = super::files::Files::new();
    let policies = "@id(\"planners\")\npermit(principal in Group::\"contoso/staff\", action, resource == Tool::\"mail/list\")
          when { context has agent && context.agent == Agent::\"contoso/planner\" };
        @id(\"never\")\nforbid(principal == Person::\"contoso/eve\", action, resource in Connector::\"mail\");";
    let path = files.write("site.cedar", policies);
    let both = format!(
        "    - tools: [\"mail/*\"]\n  deny:\n    - {{ name: interns, subjects: {{ groups: [interns] }}, tools: \
         [\"mail/send\"] }}\n  cedar: {{ files: [{path}] }}\n"
    );
    let config = config(&[("    - tools: [\"mail/*\"]\n", &both)]);
    let catalog = catalog(&config);
    let [list, send] = catalog.connectors[0].tools.as_slice() else { panic!("two tools") };
    let names = |rules: &[crate::gateway::catalog::CatalogRule]| -> Vec<_> {
        rules.iter().map(|rule| (rule.kind, rule.name.clone(), rule.conditional)).collect()
    };
    let named = |kind: &'static str, name: &str, conditional| (kind, name.to_owned(), conditional);
    assert_eq!(names(&list.allowed_by), [named("rule", "allow[0]", false), named("cedar", "planners", true)]);
    assert_eq!(names(&list.denied_by), [named("cedar", "never", false)]);
    assert_eq!(names(&send.allowed_by), [named("rule", "allow[0]", false)]);
    assert_eq!(names(&send.denied_by), [named("rule", "interns", false), named("cedar", "never", false)]);
    let table = tools(&catalog, false);
    for line in [
        "anyone (allow[0])",
        "or Group::\"contoso/staff\", on conditions (planners)",
        "but not group interns (interns)",
        "but not Person::\"contoso/eve\" (never)",
    ] {
        assert!(table.contains(line), "{table}");
    }
}
