//! The official MCP SDK for Rust, as a client and as a server of either era, with the gateway between them.

mod bed;
mod elicitation;
mod server;

use bed::Bed;
use rmcp::ServiceError;
use rmcp::model::{CallToolRequestParams, ErrorCode, ProtocolVersion};
use serde_json::json;

/// Runs a test in each era.
macro_rules! in_each_era {
    ($($name:ident),* $(,)?) => {
        mod legacy {
            $(#[tokio::test] async fn $name() { super::$name(super::ProtocolVersion::V_2025_11_25).await })*
        }
        mod modern {
            $(#[tokio::test] async fn $name() { super::$name(super::ProtocolVersion::V_2026_07_28).await })*
        }
    };
}

in_each_era![
    the_server_offers_what_it_is_known_to_offer,
    a_person_is_shown_what_policy_lets_them_call,
    each_person_is_seen_as_themselves_and_their_token_by_nobody,
    progress_comes_while_the_tool_works,
    a_tool_that_policy_does_not_allow_is_as_one_that_is_not_there,
];

async fn the_server_offers_what_it_is_known_to_offer(era: ProtocolVersion) {
    let bed = Bed::without_gateway().await;
    let visitor = bed.connect(era.clone(), None).await;
    assert_eq!(visitor.protocol(), era);
    let offered = ["delete_everything", "in_steps", "next_step", "whoami"];
    assert_eq!(visitor.tools().await, offered);
    assert_eq!(visitor.call("whoami", json!({})).await, "nobody");
    assert_steps_are_told_one_by_one(&visitor).await;
}

async fn a_person_is_shown_what_policy_lets_them_call(era: ProtocolVersion) {
    let bed = Bed::start().await;
    let ada = bed.connect(era.clone(), Some("ada")).await;
    let bob = bed.connect(era.clone(), Some("bob")).await;
    assert_eq!(ada.protocol(), era);
    assert_eq!(ada.tools().await, ["in_steps", "next_step", "whoami"]);
    assert_eq!(bob.tools().await, ["delete_everything", "in_steps", "next_step", "whoami"]);
}

async fn each_person_is_seen_as_themselves_and_their_token_by_nobody(era: ProtocolVersion) {
    let bed = Bed::start().await;
    for who in ["ada", "bob"] {
        let visitor = bed.connect(era.clone(), Some(who)).await;
        let seen = visitor.call("whoami", json!({})).await;
        let token = seen.strip_prefix("Bearer ").expect("a token");
        assert_eq!(bed.person_of(token), who);
        assert_ne!(token, bed.token(who));
    }
}

async fn progress_comes_while_the_tool_works(era: ProtocolVersion) {
    let bed = Bed::start().await;
    assert_steps_are_told_one_by_one(&bed.connect(era, Some("ada")).await).await;
}

/// The tool takes its next step only when somebody who saw the last one says so.
async fn assert_steps_are_told_one_by_one(visitor: &bed::Visitor) {
    let mut begun = visitor.begin("in_steps", json!({})).await;
    for step in [1.0, 2.0, 3.0] {
        assert_eq!(begun.progress().await, step);
        visitor.call("next_step", json!({})).await;
    }
    assert_eq!(begun.text().await, "three steps");
}

async fn a_tool_that_policy_does_not_allow_is_as_one_that_is_not_there(era: ProtocolVersion) {
    let bed = Bed::start().await;
    let ada = bed.connect(era.clone(), Some("ada")).await;
    for name in ["delete_everything", "no_such_tool"] {
        let fault = ada.client.call_tool(CallToolRequestParams::new(name)).await.expect_err("a fault");
        let ServiceError::McpError(fault) = fault else { panic!("{name}: {fault}") };
        assert_eq!(fault.code, ErrorCode::INVALID_PARAMS, "{name}: {fault}");
    }
    let bob = bed.connect(era, Some("bob")).await;
    assert_eq!(bob.call("delete_everything", json!({})).await, "gone");
}
