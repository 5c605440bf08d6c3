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
}

/// Checks what the tables say of sending, with this in its declaration and these rules.
#[track_caller]
fn check_shown(own: &str, rules: &str, asks: &str, by: &str) {
    let (own, rules) = (format!("{SEND}{own}"), format!("{rules}audit:"));
    let config = config(&[PUBLIC, (SEND, &own), ("audit:", &rules)]);
    let cells = |table: &str, column: usize| {
        let row = table.lines().find(|line| line.contains("send ")).expect("the tool").to_owned();
        let cells = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.map(str::to_owned).nth(column).expect("the column")
    };
    assert_eq!(cells(&summary(&config, false), 2), format!("on_behalf_of{asks}"));
    assert_eq!(cells(&tools(&catalog(&config), false), 4), by);
}

#[test]
fn tables_say_who_is_asked_and_where_and_by_which_rule() {
    // What happened: whoever was asked, and wherever, the summary said "asks first", and a rule had no name.
    let rules = |rules: &str| format!("  confirm: [{rules}]\n");
    let some = "{ name: guests, subjects: { groups: [guests] }, tools: [mail/send] }";
    let page = "{ name: bots, agents: [bot], tools: [mail/send], confirm: page }";
    let all = "{ name: everybody, tools: [mail/*] }";
    check_shown("", "", "", "no");
    check_shown(", confirm: true", "", ", asks first", "yes");
    check_shown(", confirm: page", "", ", asks on the page", "page");
    check_shown("", &rules(some), ", asks some", "by guests");
    check_shown("", &rules(&[some, page].join(", ")), ", asks some", "by guests, bots (page)");
    check_shown(", confirm: true", &rules(&[some, page].join(", ")), ", asks first", "yes; by bots (page)");
    check_shown("", &rules(&[some, all].join(", ")), ", asks first", "by guests, everybody");
    check_shown(
        "",
        &rules("{ name: all, tools: [mail/send], confirm: page }"),
        ", asks on the page",
        "by all (page)",
    );
}

#[test]
fn the_catalog_says_of_each_rule_where_people_are_asked() {
    let rules = "  confirm: [{ name: a, tools: [mail/send] }, { name: b, tools: [mail/send], confirm: page }]\naudit:";
    let catalog = catalog(&config(&[PUBLIC, ("audit:", rules)]));
    let shown = serde_json::to_value(&catalog.connectors[0].tools[1]).expect("JSON");
    let said: Vec<_> =
        shown["confirmed_by"].as_array().expect("rules").iter().map(|rule| &rule["confirm"]).collect();
    assert_eq!(said, [&serde_json::json!(true), &serde_json::json!("page")]);
    assert_eq!(shown["allowed_by"][0].get("confirm"), None);
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
