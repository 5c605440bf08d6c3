//! Calls that policy wants to be agreed to, whatever their tool says.

use super::{agree, bed_with, held, mail, send};
use crate::bed::TestBed;

const TOOLS: &str = crate::bed::TOOLS;

#[tokio::test]
async fn a_rule_says_whose_calls_are_asked_about() {
    let rule =
        "  confirm:\n    - { name: guests ask, subjects: { groups: [guests] }, tools: [\"mail/send_*\"] }\n";
    let bed = bed_with(TOOLS, rule).await;
    let guest = bed.authorization_server.subject_token("ada").claim("groups", vec!["guests"]).mint();
    let link = held(send(&bed, &guest, &mail("Lunch?")).await).await;
    assert_eq!(
        send(&bed, &bed.token("ada"), &mail("Lunch?")).await.status(),
        202,
        "who is no guest is not asked"
    );
    assert_eq!(bed.get("/mail/me/messages", &guest).await.status(), 200, "nor about what is not covered");
    agree(&bed, &link).await;
    assert_eq!(send(&bed, &guest, &mail("Lunch?")).await.status(), 202);
    held(send(&bed, &guest, &mail("Lunch?")).await).await;
    assert_eq!(bed.connector.sent().len(), 2);
}

#[tokio::test]
async fn a_whole_connector_can_be_asked_about_call_by_call() {
    let bed = bed_with("    scopes: [Mail.Read]\n    confirm: page\n", "").await;
    let token = bed.token("ada");
    let link = held(bed.get("/mail/me/messages", &token).await).await;
    held(bed.get("/mail/me/messages?$top=1", &token).await).await;
    agree(&bed, &link).await;
    assert_eq!(bed.get("/mail/me/messages", &token).await.status(), 200);
    assert_eq!(bed.connector.requests().len(), 1);
}

#[tokio::test]
async fn explain_says_by_what_a_call_is_asked_about_and_where() {
    // What happened: that the person agrees was all that was said.
    let rule = "  confirm:\n    - { name: guests ask, subjects: { groups: [guests] }, tools: [\"mail/send_*\"], confirm: page }\n";
    let bed = bed_with(TOOLS, rule).await;
    let guest = bed.authorization_server.subject_token("ada").claim("groups", vec!["guests"]).mint();
    let (asked, free) = (explain(&bed, &guest).await, explain(&bed, &bed.token("ada")).await);
    assert_eq!(
        asked["policy"]["confirm"],
        serde_json::json!({ "on_page": true, "by_tool": false, "by": ["guests ask"] })
    );
    let condition =
        r#"the person agrees to this call on the gateway's page, once they have seen it (by "guests ask")"#;
    let provided = |report: &serde_json::Value| report["provided"].as_array().expect("conditions").clone();
    assert!(provided(&asked).contains(&condition.into()), "{asked}");
    assert_eq!(free["policy"]["confirm"], serde_json::Value::Null);
    assert!(!provided(&free).iter().any(|said| said.to_string().contains("agrees")), "{free}");
}

/// What `explain` reports of sending a mail with this token.
async fn explain(bed: &TestBed, token: &str) -> serde_json::Value {
    let path = bed.folder.path().join("token");
    std::fs::write(&path, token).expect("written");
    let config = bed.config_path();
    let run = move || {
        std::process::Command::new(env!("CARGO_BIN_EXE_obo-gateway"))
            .args(["explain", "--call", "mail/send_message", "--json", "--config"])
            .arg(config)
            .arg("--token-file")
            .arg(path)
            .output()
            .expect("the program runs")
    };
    let output = tokio::task::spawn_blocking(run).await.expect("it ends");
    serde_json::from_slice(&output.stdout).expect("a report")
}

#[cfg(feature = "cedar")]
async fn cedar(policies: &'static str) -> TestBed {
    use crate::browser::PUBLIC;
    let setup = super::Setup::default()
        .server(|server| server.gateway.redirect_uris.push(format!("{PUBLIC}/account/signed-in")))
        .config(move |parts| {
            let file = parts.folder.join("policies.cedar");
            std::fs::write(&file, policies).expect("a file of policies");
            let whole = parts.whole(&parts.issuer(), &parts.mail(TOOLS));
            let (before, rest) = whole.split_once("policy:").expect("a policy");
            let (_, audit) = rest.split_once("audit:").expect("audit");
            let cedar = format!("policy: {{ cedar: {{ files: [{}] }} }}\naudit:", file.display());
            format!("public_url: {PUBLIC}\npages: {{}}\n{before}{cedar}{audit}")
        });
    super::started(setup).await
}

#[cfg(feature = "cedar")]
#[tokio::test]
async fn a_permit_that_decides_says_whether_its_calls_are_asked_about() {
    let bed = cedar(
        "@confirm(\"true\") permit(principal, action, resource == Tool::\"mail/send_message\");
         permit(principal in Group::\"contoso/staff\", action, resource);
         permit(principal, action, resource == Tool::\"mail/list_messages\");",
    )
    .await;
    let token = bed.token("ada");
    assert_eq!(bed.get("/mail/me/messages", &token).await.status(), 200);
    let link = held(send(&bed, &token, &mail("Lunch?")).await).await;
    agree(&bed, &link).await;
    assert_eq!(send(&bed, &token, &mail("Lunch?")).await.status(), 202);
    // That another permit allows it as well takes nothing away.
    let staff = bed.authorization_server.subject_token("ada").claim("groups", vec!["staff"]).mint();
    held(send(&bed, &staff, &mail("Lunch?")).await).await;
}
