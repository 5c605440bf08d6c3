//! A connector that has no connections any more, while people's are in the vault.

use std::fs;

use obo_gateway::demo::authorization_server::MAIL_AUDIENCE;

use crate::bed::Bed;

const LEFT: &str = "Connections left in the vault of a connector that has none any more";

#[tokio::test]
async fn what_is_left_in_the_vault_is_told_at_the_start_and_is_forgotten_with_its_person() {
    let bed = Bed::start().await;
    bed.connect("ada").await;
    bed.connect("bob").await;
    let gateway = bed.gateway("gateway").await;
    assert!(gateway.stop().success());
    let text = fs::read_to_string(bed.config("gateway")).expect("a configuration");
    let (start, connection) = text.split_once("    identity: connection\n").expect("a mode");
    let (_, rest) = connection.split_once("    tools:\n").expect("tools");
    let scopes = "{ match: GET /me/messages, scopes: [Mail.Read] }";
    let others = format!("{start}    audience: {MAIL_AUDIENCE}\n    tools:\n{rest}");
    let others = others.replace("{ match: GET /me/messages }", scopes);
    fs::write(bed.config("others"), others.replace("gateway.jsonl", "others.jsonl")).expect("written");

    let gateway = bed.gateway("others").await;
    let log = gateway.log();
    let left: Vec<&str> = log.lines().filter(|line| line.contains(LEFT)).collect();
    let [left] = left.as_slice() else { panic!("{log}") };
    for said in [r#""connector":"mail""#, r#""count":2"#, "`obo-gateway vault forget`"] {
        assert!(left.contains(said), "{said}: {left}");
    }
    let (status, said) = gateway.forget_and_read(&bed.subject("ada")).await;
    assert!(status == 200 && said.contains(r#""connections":1"#), "{status} {said}");
    assert!(gateway.stop().success());
    assert_eq!(bed.records().await.len(), 1);

    let gateway = bed.gateway("gateway").await;
    assert!(!gateway.log().contains(LEFT), "{}", gateway.log());
    assert!(gateway.stop().success());
}
