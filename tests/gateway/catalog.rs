//! What can be called, as whom and by whom: `obo-gateway tools`, and the admin endpoint `/connectors`.

use std::process::{Command, Output};

use serde_json::Value;

use crate::bed::TestBed;

fn tools(bed: &TestBed, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_obo-gateway"));
    command.env_remove("OBO_GATEWAY_CONFIG").args(["tools", "--config"]).arg(bed.config_path());
    command.args(more).output().expect("the program runs")
}

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).expect("JSON")
}

#[tokio::test]
async fn the_table_says_who_may_call_what_as_whom() {
    let bed = TestBed::start().await;
    let output = tools(&bed, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = String::from_utf8(output.stdout).expect("a text");
    let row = shown.lines().find(|line| line.contains("send_message")).expect("a row");
    for word in ["POST /me/sendMail", "on_behalf_of", "Mail.Send", "anyone (everybody)"] {
        assert!(row.contains(word), "{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "colour on something that is no terminal");
    let bad = tools(&bed, &["--config", "/nowhere/gateway.yaml"]);
    assert_ne!(bad.status.code(), Some(0));
}

#[tokio::test]
async fn the_admin_port_says_what_the_program_says_also_after_a_reload() {
    let bed = TestBed::start().await;
    let (status, body) = bed.admin("/connectors").await;
    assert_eq!(status, 200);
    assert_eq!(json(body.as_bytes()), json(&tools(&bed, &["--json"]).stdout));
    assert_eq!(json(body.as_bytes())["connectors"][0]["tools"][2]["match"], "POST /me/sendMail");

    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    let changed = text.replace("name: everybody", "name: staff, subjects: { groups: [staff] }");
    std::fs::write(bed.config_path(), changed.replace("path: /mail", "path: /post")).expect("written");
    bed.gateway.reload().await.expect("a good configuration");
    let (_, body) = bed.admin("/connectors").await;
    let swapped_in = json(body.as_bytes());
    assert_eq!(swapped_in, json(&tools(&bed, &["--json"]).stdout));
    let connector = &swapped_in["connectors"][0];
    assert_eq!(connector["path"], "/post");
    assert_eq!(connector["tools"][0]["allowed_by"][0]["subjects"]["groups"][0], "staff");
    let secret = &bed.authorization_server.settings().gateway.secret;
    assert!(!body.contains(secret.as_str()), "{body}");
}

#[tokio::test]
async fn the_admin_port_only_tells_it_to_those_who_ask() {
    let bed = TestBed::start().await;
    let url = format!("http://{}/connectors", bed.gateway.admin_address());
    let posted = crate::bed::client().post(&url).send().await.expect("an answer");
    assert_eq!(
        (posted.status().as_u16(), &posted.headers()["allow"]),
        (405, &"GET, HEAD".parse().expect("a value"))
    );
    let rebound = crate::bed::client().get(&url).header("host", "rebound.example").send().await;
    assert_eq!(rebound.expect("an answer").status(), 421);
    // The public port has nothing of the kind.
    assert_eq!(bed.get("/connectors", &bed.token("ada")).await.status(), 404);
}
