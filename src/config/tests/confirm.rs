use super::*;
use crate::tool::Confirm;

const PUBLIC: (&str, &str) = ("issuers:", "public_url: https://gateway.example\nissuers:");
const SEND: &str = "scopes: [Mail.Send]";
/// An issuer whose people cannot sign in to pages.
const EXCHANGE: &str = "    exchange:\n      grant: on_behalf_of\n      client_id: gateway\n      client_auth: { secret_env: CLIENT_SECRET }\n";

#[track_caller]
fn check_tools(edits: &[(&str, &str)], expected: [Confirm; 2]) {
    let config = config(edits);
    let tools: Vec<_> = config.connectors[0].tools.declared().iter().map(|tool| tool.confirm).collect();
    assert_eq!(tools, expected);
    assert!(config.public.pages.is_some(), "there is where people are asked");
    assert!(config.issuers[0].sign_in.is_some(), "and they can sign in there");
}

#[test]
fn a_tool_says_whether_people_are_asked_or_else_its_connector_does() {
    let own = |confirm: &str| format!("{SEND}, confirm: {confirm}");
    check_tools(&[PUBLIC, (SEND, &own("true"))], [Confirm::No, Confirm::Anywhere]);
    check_tools(&[PUBLIC, (SEND, &own("page"))], [Confirm::No, Confirm::OnPage]);
    let connector = ("tools:", "confirm: page\n    tools:");
    check_tools(&[PUBLIC, connector], [Confirm::OnPage; 2]);
    check_tools(&[PUBLIC, connector, (SEND, &own("false"))], [Confirm::OnPage, Confirm::No]);
    check(
        &[PUBLIC, (SEND, &own("yes"))],
        &["19: connectors.mail.tools.send.confirm: must be one of `false`, `true`, `page` (found \"yes\")"],
    );
}

#[test]
fn where_nobody_is_asked_there_are_no_pages() {
    let config = config(&[PUBLIC, (SEND, "scopes: [Mail.Send], confirm: false")]);
    assert!(config.public.pages.is_none());
}

#[test]
fn a_question_that_nobody_can_answer_is_refused() {
    let address = "needs `public_url`, under which people's browsers find the page that asks them: add it, like \
                   `public_url: https://gateway.example`";
    let send = (SEND, "scopes: [Mail.Send], confirm: true");
    let connector = ("tools:", "confirm: true\n    tools:");
    let rule = ("audit:", "  confirm: [{ tools: [mail/send] }]\naudit:");
    check(&[send], &[&format!("18: connectors.mail.tools.send.confirm: {address}")]);
    check(&[connector], &[&format!("16: connectors.mail.confirm: {address}")]);
    check(&[rule], &[&format!("22: policy.confirm[0]: {address}")]);
    let sign_in = "needs its people to sign in to the page that asks them, and those of `contoso` cannot: give that issuer \
                   `sign_in`, or `exchange`";
    let application = (
        "    audiences",
        "    application: { client_id: a, client_auth: { secret_env: CLIENT_SECRET } }\n    audiences",
    );
    let app_only = [
        PUBLIC,
        (EXCHANGE, ""),
        application,
        ("tools:", "identity: app_only\n    tools:"),
        ("[Mail.Read] }", "[.default] }"),
        ("[Mail.Send] }", "[.default], confirm: true }"),
    ];
    check(&app_only, &[&format!("17: connectors.mail.tools.send.confirm: {sign_in}")]);
    let pages = "    sign_in: { client_id: pages, client_auth: { secret_env: OTHER_SECRET } }\nconnectors:";
    self::config(&[&app_only[..], &[("connectors:", pages)]].concat());
}

#[test]
fn rules_say_for_which_calls_people_are_asked() {
    let rule = |rule: &str| format!("  confirm: [{rule}]\naudit:");
    let one = rule("{ name: asks, subjects: { groups: [staff] }, tools: [mail/send] }");
    let config = self::config(&[PUBLIC, ("audit:", &one)]);
    let [rule_] = config.policy.confirmations() else { panic!("one rule") };
    assert_eq!(rule_.name.as_str(), "asks");
    assert!(config.public.pages.is_some());
    check(
        &[PUBLIC, ("audit:", &rule("{ tools: [mail/sned] }"))],
        &["23: policy.confirm[0].tools[0]: covers no tool; did you mean `mail/send`? (found \"mail/sned\")"],
    );
    assert!(!rule_.on_page);
    let on_page = self::config(&[PUBLIC, ("audit:", &rule("{ tools: [mail/send], confirm: page }"))]);
    assert!(on_page.policy.confirmations()[0].on_page);
    check(
        &[PUBLIC, ("audit:", &rule("{ tools: [mail/send], confirm: false }"))],
        &[
            "23: policy.confirm[0].confirm: must be `true` or `page`: whatever a rule of `policy.confirm` covers is asked about",
        ],
    );
    let deny = "  deny: [{ tools: [mail/send], confirm: page }]\naudit:";
    check(
        &[PUBLIC, ("audit:", deny)],
        &[
            "23: policy.deny[0].confirm: is for rules of `policy.confirm`: write the rule there as well, and leave the key out here",
        ],
    );
    let summary = summary(&config, false);
    assert!(summary.contains("on_behalf_of, asks first"), "{summary}");
    let tools = tools(&catalog(&config), false);
    assert!(tools.contains("by policy") && tools.contains("no "), "{tools}");
}

#[test]
fn the_catalog_says_it_as_the_configuration_does() {
    for (confirm, expected) in [("true", serde_json::json!(true)), ("page", serde_json::json!("page"))] {
        let own = format!("{SEND}, confirm: {confirm}");
        let catalog = catalog(&config(&[PUBLIC, (SEND, &own)]));
        let shown = serde_json::to_value(&catalog.connectors[0].tools).expect("JSON");
        assert_eq!((&shown[0]["confirm"], &shown[1]["confirm"]), (&serde_json::json!(false), &expected));
    }
}
