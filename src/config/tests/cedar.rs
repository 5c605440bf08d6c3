//! Policies in the Cedar language, as the configuration takes them.

use super::files::Files;
use super::*;

const RULES: &str = "  allow:\n    - tools: [\"mail/*\"]\n";
const TENANT: &str = "tenant: 5b1c6c1e-0f5b-4a54-8c3e-1f2a3b4c5d6e";

/// Faults and warnings of the sound configuration after some edits, with these policies in place of the rules. The folder
/// is left out of them.
fn with_policies(policies: &[&str], edits: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let files = Files::new();
    let paths: Vec<String> = policies
        .iter()
        .enumerate()
        .map(|(index, text)| files.write(&format!("{index}.cedar"), text))
        .collect();
    let cedar = format!("  cedar: {{ files: [{}] }}\n", paths.join(", "));
    let text = edited(&[edits, &[(RULES, &cedar)]].concat());
    let (faults, warnings) = faults_of(&text);
    let folder = files.path("");
    let plain = |lines: Vec<String>| lines.iter().map(|line| line.replace(&folder, "")).collect();
    (plain(faults), plain(warnings))
}

#[track_caller]
fn check_policies(policies: &[&str], expected: &[&str]) {
    assert_eq!(with_policies(policies, &[]).0, expected);
}

#[test]
fn policies_that_name_what_is_there_are_good() {
    let text = "permit(principal in Group::\"contoso/staff\", action, resource == Tool::\"mail/list\")
                  when { context has agent && context.agent == Agent::\"contoso/planner\" };
                forbid(principal == Person::\"contoso/eve\", action, resource in Connector::\"mail\");";
    assert_eq!(with_policies(&[text], &[]), (Vec::new(), Vec::new()));
}

#[test]
fn what_a_policy_names_has_to_be_there() {
    check_policies(
        &[
            "permit(\n  principal == Person::\"contso/ada\",\n  action,\n  resource == Tool::\"mail/lsit\"\n);\n\
           permit(principal in Group::\"staff\", action, resource in Connector::\"mial\");\n\
           permit(principal, action == Action::\"call\", resource) when { [Tool::\"mail\", Tool::\"nowhere/x\", Tool::\"mial/list\"]\n\
           .contains(resource) };\n\
           forbid(principal, action == Action::\"get\", resource == Prompt::\"mail/x\");\n\
           forbid(principal, action == Action::\"reda\", resource);",
        ],
        &[
            "0.cedar:2:16: Person::\"contso/ada\" names no issuer; did you mean `contoso`?",
            "0.cedar:4:15: Tool::\"mail/lsit\" names no tool; did you mean `mail/list`?",
            "0.cedar:6:21: Group::\"staff\" must have the form `issuer/name`",
            "0.cedar:6:57: Connector::\"mial\" names no connector; did you mean `mail`?",
            "0.cedar:7:63: Tool::\"mail\" must have the form `connector/tool`",
            "0.cedar:7:77: Tool::\"nowhere/x\" names no connector",
            "0.cedar:7:96: Tool::\"mial/list\" names no tool; did you mean `mail/list`?",
            "0.cedar:9:56: Prompt::\"mail/x\" is on a REST connector, and only MCP servers have prompts and resources",
            "0.cedar:10:29: unrecognized action `Action::\"reda\"`; did you mean `Action::\"read\"`?",
        ],
    );
}

#[test]
fn an_mcp_server_may_have_tools_that_nobody_listed() {
    let edits = [("kind: rest", "kind: mcp"), ("    tools:\n", "    description_of_tools:\n")];
    let tools = SOUND.find("    tools:").expect("tools")..SOUND.find("policy:").expect("policy");
    let edits = [edits[0], (&SOUND[tools], "    audience: api://notes\n")];
    let text = "permit(principal, action, resource == Tool::\"mail/whatever\");
                permit(principal, action, resource == Prompt::\"mail/x\");
                permit(principal, action, resource == Resource::\"mail/file:///x\");";
    assert_eq!(with_policies(&[text], &edits).0, [""; 0]);
}

#[test]
fn people_of_several_tenants_are_named_with_theirs() {
    let tenants =
        (TENANT, "tenants: [11111111-1111-4111-8111-111111111111, 22222222-2222-4222-8222-222222222222]");
    let text = "permit(principal in Group::\"contoso/11111111-1111-4111-8111-111111111111/staff\", action, resource);
permit(principal in Group::\"contoso/staff\", action, resource);
permit(principal == Person::\"contoso/11111111-1111-4111-8111-111111111112/ada\", action, resource);
permit(principal, action, resource) when { context has agent && context.agent == Agent::\"contoso/planner\" };";
    assert_eq!(
        with_policies(&[text], &[tenants]).0,
        [
            "0.cedar:2:21: Group::\"contoso/staff\" must have the form `issuer/tenant/name`: its issuer has several \
             tenants",
            "0.cedar:3:21: Person::\"contoso/11111111-1111-4111-8111-111111111112/ada\" names no tenant of its issuer, \
             and must have the form `issuer/tenant/subject`; did you mean `11111111-1111-4111-8111-111111111111`?",
        ]
    );
}

#[test]
fn people_are_not_named_by_what_changes_hands() {
    let (faults, warnings) = with_policies(
        &["permit(principal == Person::\"contoso/ada@contoso.example\", action, resource);"],
        &[],
    );
    assert_eq!(faults, [""; 0]);
    assert_eq!(
        warnings,
        [
            "0.cedar:1:21: warning: looks like an e-mail address, which can be given to somebody else and is no identifier \
          of a person: name the `oid` or `sub`"
        ]
    );
}

#[test]
fn an_annotation_that_means_nothing_is_refused_where_it_stands() {
    // What happened: with `@Confirm` or `@confirms` nobody was asked, and nothing was said of it.
    check_policies(
        &["@id(\"a\")\n  @Confirm(\"true\") permit(principal, action, resource);\n\
           @confirms(\"page\") permit(principal, action, resource == Tool::\"mail/list\");\n\
           @owner(\"mail team\")\n@Id(\"b\") forbid(principal, action, resource == Tool::\"mail/send\");"],
        &[
            "0.cedar:2:3: `@Confirm` is no annotation that has a meaning here; did you mean `@confirm`?",
            "0.cedar:3:1: `@confirms` is no annotation that has a meaning here; did you mean `@confirm`?",
            "0.cedar:4:1: `@owner` is no annotation that has a meaning here; there are `@confirm` and `@id`, and what is for \
             people goes behind `//`",
            "0.cedar:5:1: `@Id` is no annotation that has a meaning here; did you mean `@id`?",
        ],
    );
}

#[test]
fn what_is_wrong_with_confirm_is_told_at_its_own_line() {
    let value = "must be `@confirm(\"true\")` or `@confirm(\"page\")`; without either nobody is asked";
    check_policies(
        &["@id(\"a\")\n@confirm(\"yes\")\npermit(principal, action, resource == Tool::\"mail/list\");\n\
           @confirm permit(principal, action, resource == Tool::\"mail/list\");\n\
           @id(\"b\")\n  @confirm(\"page\")\nforbid(principal, action, resource == Tool::\"mail/send\");"],
        &[
            &format!("0.cedar:2:1: {value} (found \"yes\")"),
            &format!("0.cedar:4:1: {value} (found \"\")"),
            "0.cedar:6:3: is on a `forbid`, and `@confirm` is for a `permit`: what is forbidden does not run, whoever agrees; \
             leave it out",
        ],
    );
}

#[test]
fn every_fault_of_every_file_is_reported_at_once() {
    check_policies(
        &["permit(principal, action);", "permit(principal, action, resource) when { context.huor == 1 };"],
        &[
            "0.cedar:1:25: this policy is missing the `resource` variable in the scope; policy scopes must contain a \
             `principal`, `action`, and `resource` element in that order",
            "1.cedar:1:44: attribute `huor` in context not found; did you mean `hour`?",
        ],
    );
}

#[test]
fn records_can_tell_policies_apart() {
    let long = "x".repeat(129);
    check_policies(
        &[
            "@id(\"a\") permit(principal, action, resource);",
            &format!(
                "@id(\"a\") permit(principal, action, resource);\n@id(\"{long}\") permit(principal, action, resource);"
            ),
        ],
        &[
            "1.cedar:1:1: `a` is already the name of 0.cedar:1: give each rule its own, by `@id(\"…\")`",
            &format!("1.cedar:2:1: `{long}` is longer than 128 characters"),
        ],
    );
}

#[test]
fn the_files_have_to_be_there() {
    let files = Files::new();
    let path = files.write("p.cedar", "permit(principal, action, resource);");
    let found = |value: &str| faults_of(&edited(&[(RULES, &format!("  cedar: {value}\n"))])).0;
    assert_eq!(
        found("{}"),
        ["20: policy.cedar.files: is required: name the files with policies, like `[policies.cedar]`"]
    );
    assert_eq!(
        found("{ files: [] }"),
        ["20: policy.cedar.files: is an empty list: name the files with policies, like `[policies.cedar]`"]
    );
    assert_eq!(
        found("{ files: [/nowhere/p.cedar] }"),
        [
            "20: policy.cedar.files[0]: names a file that is not there; relative names start at the working directory \
          (found \"/nowhere/p.cedar\")"
        ]
    );
    assert_eq!(
        found(&format!("{{ files: [{path}, {path}] }}")),
        [format!("20: policy.cedar.files[1]: is listed twice (found {path:?})")]
    );
    files.write("p.cedar", b"permit\xff");
    assert_eq!(
        found(&format!("{{ files: [{path}] }}")),
        [format!("20: policy.cedar.files[0]: names a file that is not UTF-8 text (found {path:?})")]
    );
    files.write("p.cedar", vec![b' '; 4_194_305]);
    assert_eq!(
        found(&format!("{{ files: [{path}] }}")),
        [format!("20: policy.cedar.files[0]: names a file of more than 4194304 bytes (found {path:?})")]
    );
}

#[test]
fn faults_elsewhere_are_not_told_again_by_what_follows_from_them() {
    let text = "permit(principal, action, resource == Tool::\"mail/list\");";
    let (faults, _) = with_policies(&[text], &[("kind: rest", "kind: rset")]);
    assert_eq!(faults.len(), 1, "{faults:?}");
}

#[test]
fn the_schema_is_to_be_had_while_the_policies_are_broken() {
    let files = Files::new();
    let policies = files.write("p.cedar", "permit(");
    let config =
        files.write("gateway.yaml", edited(&[(RULES, &format!("  cedar: {{ files: [{policies}] }}\n"))]));
    let schema = policy_schema(Path::new(&config), &environment).expect("a schema");
    assert!(schema.contains("entity Person in [Group, Role]"), "{schema}");
    assert!(load(Path::new(&config), &environment).is_err());
}

#[test]
fn a_summary_counts_policies_and_says_whom_they_allow() {
    let files = Files::new();
    let policies = files.write(
        "p.cedar",
        "@id(\"readers\") permit(principal, action, resource == Tool::\"mail/list\");\n\
         @id(\"all of it\") permit(principal == Person::\"contoso/ada\", action, resource in Connector::\"mail\");\n\
         @id(\"no\") forbid(principal, action, resource == Tool::\"mail/send\");",
    );
    let rules = format!("{RULES}  cedar: {{ files: [{policies}] }}\n");
    assert_eq!(
        summary(&config(&[(RULES, &rules)]), false),
        "CONNECTOR  TOOL  MATCH              IDENTITY      ALLOWED BY                    SCOPES\n\
         mail       list  GET /me/messages   on_behalf_of  allow[0], all of it, readers  https://graph.microsoft.com/Mail.Read\n\
         \x20          send  POST /me/sendMail  on_behalf_of  allow[0], all of it           https://graph.microsoft.com/Mail.Send\n\
         \ngood: 1 issuer, 1 connector, 2 tools, 1 rule, 3 policies\n"
    );
}
