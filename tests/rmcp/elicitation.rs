//! The SDK's client asks its person for a connection, in the form of either era.

use rmcp::ServiceError;
use rmcp::model::{CallToolRequestParams, ElicitationAction, ErrorCode, ProtocolVersion};
use serde_json::json;

use crate::bed::{Bed, PUBLIC};

#[tokio::test]
async fn a_modern_client_opens_the_page_and_goes_on_by_itself() {
    let bed = Bed::with_accounts().await;
    let visitor = bed.connect_with_pages(ProtocolVersion::V_2026_07_28, ElicitationAction::Accept).await;
    let seen = visitor.call("whoami", json!({})).await;
    assert_eq!(bed.person_of(seen.strip_prefix("Bearer ").expect("a token")), "ada");
    let asked = visitor.pages.as_ref().expect("pages").asked();
    let [link] = asked.as_slice() else { panic!("once, since the call waits for her: {asked:?}") };
    assert!(link.starts_with(&format!("{PUBLIC}/account/connect/")), "{link}");
    visitor.call("whoami", json!({})).await;
    assert_eq!(visitor.pages.as_ref().expect("pages").asked().len(), 1, "what is connected stays so");
}

#[tokio::test]
async fn a_modern_client_whose_person_declines_tells_the_model() {
    let bed = Bed::with_accounts().await;
    let visitor = bed.connect_with_pages(ProtocolVersion::V_2026_07_28, ElicitationAction::Decline).await;
    for _ in 0..2 {
        let told = visitor.client.call_tool(CallToolRequestParams::new("whoami")).await.expect("a result");
        assert_eq!(told.is_error, Some(true), "{told:?}");
        let text = &told.content[0].as_text().expect("a text").text;
        assert!(text.contains("connection_declined"), "{text}");
    }
    assert_eq!(visitor.pages.expect("pages").asked().len(), 1, "who declined is not asked again");
}

/// In this era the SDK leaves it to the program to open the page, and to call again.
#[tokio::test]
async fn a_legacy_client_hears_which_page_to_open() {
    let bed = Bed::with_accounts().await;
    let visitor = bed.connect_with_pages(ProtocolVersion::V_2025_11_25, ElicitationAction::Accept).await;
    let fault = visitor.client.call_tool(CallToolRequestParams::new("whoami")).await.expect_err("a fault");
    let ServiceError::McpError(fault) = fault else { panic!("{fault}") };
    assert_eq!(fault.code, ErrorCode(-32_042), "{fault}");
    let elicitation = &fault.data.expect("data")["elicitations"][0];
    bed.ada().connect(elicitation["url"].as_str().expect("a link")).await;
    let seen = visitor.call("whoami", json!({})).await;
    assert_eq!(bed.person_of(seen.strip_prefix("Bearer ").expect("a token")), "ada");
}

#[tokio::test]
async fn a_client_that_opens_no_pages_reads_the_link_in_either_era() {
    let bed = Bed::with_accounts().await;
    for era in [ProtocolVersion::V_2025_11_25, ProtocolVersion::V_2026_07_28] {
        let visitor = bed.connect(era, Some("ada")).await;
        let told = visitor.client.call_tool(CallToolRequestParams::new("whoami")).await.expect("a result");
        assert_eq!(told.is_error, Some(true), "{told:?}");
        let text = &told.content[0].as_text().expect("a text").text;
        assert!(text.contains(&format!("{PUBLIC}/account/connect/")), "{text}");
    }
}
