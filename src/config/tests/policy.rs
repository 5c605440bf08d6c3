use super::*;

#[track_caller]
fn check_rule(rule: &str, expected: &[&str]) {
    check(&[("- tools: [\"mail/*\"]", rule)], expected);
}

#[test]
fn rules_are_named_by_their_place_or_as_they_say() {
    let config = config(&[(
        "- tools: [\"mail/*\"]",
        "- tools: [\"mail/*\"]\n    - { name: staff, subjects: { groups: [staff], ids: [ada] }, agents: \
         [planner], tools: [mail/send] }",
    )]);
    let rules = config.policy.rules();
    assert_eq!(rules[0].name.as_str(), "allow[0]");
    assert!(rules[0].subjects.is_none() && rules[0].agents.is_none());
    assert_eq!(rules[1].name.as_str(), "staff");
    assert_eq!(rules[1].agents.as_ref().map(Vec::len), Some(1));
    let subjects = rules[1].subjects.as_ref().expect("subjects");
    assert_eq!((subjects.ids.len(), subjects.groups.len(), subjects.roles.len()), (1, 1, 0));
}

#[test]
fn an_empty_list_is_not_a_key_left_out() {
    check_rule(
        "- { subjects: {}, tools: [\"mail/*\"] }",
        &[
            "21: policy.allow[0].subjects: is empty, so it matches nobody; leave the key out to cover any person",
        ],
    );
    check_rule(
        "- { subjects: { groups: [], roles: [] }, tools: [\"mail/*\"] }",
        &[
            "21: policy.allow[0].subjects.groups: is an empty list: it matches nobody; leave the key out",
            "21: policy.allow[0].subjects.roles: is an empty list: it matches nobody; leave the key out",
        ],
    );
    check_rule(
        "- { agents: [], tools: [\"mail/*\"] }",
        &["21: policy.allow[0].agents: is an empty list: no agent fits it; leave the key out to cover any \
             agent"],
    );
    check_rule(
        "- { tools: [] }",
        &["21: policy.allow[0].tools: is an empty list: name the tools it is about, like `[\"mail/*\"]`"],
    );
    check_rule(
        "- { agents: [planner] }",
        &[
            "21: policy.allow[0].tools: is required: name the tools it is about, like `[\"mail/*\"]`; or list \
             `prompts` or `resources`",
        ],
    );
}

#[test]
fn a_pattern_covers_a_tool_that_is_there() {
    check_rule("- tools: [mail/list, \"*/send\", \"m*/s*d\"]", &[]);
    check_rule(
        "- tools: [mail]",
        &["21: policy.allow[0].tools[0]: a tool pattern is `connector/tool`, where `*` stands for any run \
             of characters within its part (found \"mail\")"],
    );
    check_rule(
        "- tools: [mail/list, mail/lst, notes/delete]",
        &[
            "21: policy.allow[0].tools[1]: covers no tool; did you mean `mail/list`? (found \"mail/lst\")",
            "21: policy.allow[0].tools[2]: covers no tool (found \"notes/delete\")",
        ],
    );
}

#[test]
fn a_pattern_for_a_faulty_tool_is_no_second_fault() {
    check(
        &[
            ("list: {", "list: { mtach: x,"),
            ("[\"mail/*\"]", "[mail/list]"),
            ("match: GET /me/messages, ", ""),
        ],
        &["17: connectors.mail.tools.list.mtach: is not a key here; did you mean `match`?"],
    );
}

#[test]
fn records_can_tell_rules_apart() {
    check_rule(
        "- { name: a, tools: [\"mail/*\"] }\n    - { name: a, tools: [\"mail/*\"] }",
        &["22: policy.allow[1].name: is already the name of allow[0]: give each rule its own (found \"a\")"],
    );
    let long = "x".repeat(129);
    check_rule(
        &format!("- {{ name: {long}, tools: [\"mail/*\"] }}"),
        &["21: policy.allow[0].name: is longer than 128 characters"],
    );
}

#[test]
fn nothing_allowed_is_worth_a_warning() {
    let range = SOUND.find("policy:").expect("policy")..SOUND.find("audit:").expect("audit");
    let nothing = "allows nothing, so every call is denied: add rules under `policy.allow`";
    check_warnings(&[(&SOUND[range.clone()], "")], &[&format!("1: warning: policy: {nothing}")]);
    check_warnings(&[(&SOUND[range.clone()], "policy: {}\n")], &[&format!("19: warning: policy: {nothing}")]);
    check_warnings(
        &[(&SOUND[range], "policy: { allow: [] }\n")],
        &[&format!("19: warning: policy: {nothing}")],
    );
}

#[test]
fn what_denies_is_written_like_what_allows() {
    let deny = |rules: &str| {
        let audit = "audit: { file: audit.jsonl }";
        faults_of(&edited(&[(audit, &format!("  deny:\n{rules}\n{audit}"))])).0
    };
    assert_eq!(deny("    - { tools: [mail/send], subjects: { ids: [ada] } }"), [""; 0]);
    assert_eq!(
        deny("    - { name: \"allow[0]\", tools: [mail/sned] }\n    - { agents: [], tools: [mail/send] }"),
        [
            "23: policy.deny[0].name: is already the name of allow[0]: give each rule its own (found \"allow[0]\")",
            "23: policy.deny[0].tools[0]: covers no tool; did you mean `mail/send`? (found \"mail/sned\")",
            "24: policy.deny[1].agents: is an empty list: no agent fits it; leave the key out to cover any agent",
        ]
    );
    let audit = "audit: { file: audit.jsonl }";
    let config = config(&[(audit, &format!("  deny: [{{ tools: [mail/send] }}]\n{audit}"))]);
    let names =
        |rules: &[crate::policy::Rule]| rules.iter().map(|rule| rule.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(config.policy.rules()), ["allow[0]"]);
    assert_eq!(names(config.policy.denials()), ["deny[0]"]);
}

#[test]
fn prompts_and_resources_are_of_mcp_servers() {
    check_rule(
        "- { prompts: [mail/x], resources: [\"mail/file:///a/*\"] }",
        &[
            "21: policy.allow[0].prompts[0]: covers REST connectors alone, and only MCP servers have prompts \
             (found \"mail/x\")",
            "21: policy.allow[0].resources[0]: covers REST connectors alone, and only MCP servers have resources \
             (found \"mail/file:///a/*\")",
        ],
    );
    check_rule(
        "- { prompts: [mial/x, y], resources: [x] }",
        &[
            "21: policy.allow[0].prompts[0]: covers no connector; did you mean `mail`? (found \"mial/x\")",
            "21: policy.allow[0].prompts[1]: a tool pattern is `connector/tool`, where `*` stands for any run of \
             characters within its part (found \"y\")",
            "21: policy.allow[0].resources[0]: a tool pattern is `connector/tool`, where `*` stands for any run of \
             characters within its part (found \"x\")",
        ],
    );
}
