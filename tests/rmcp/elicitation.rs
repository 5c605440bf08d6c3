//! The SDK's client asks its person for a connection, in the form of either era, and whether a call may run.

use rmcp::ServiceError;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ElicitResult, ElicitationAction, ErrorCode, ProtocolVersion,
};
use serde_json::json;

use crate::bed::{Bed, PUBLIC, Visitor, params};

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

/// Sends the form, ticked or not.
fn sent(agrees: bool) -> ElicitResult {
    ElicitResult::new(ElicitationAction::Accept).with_content(json!({ "agree": agrees }))
}

/// Calls a tool that its person has to agree to.
async fn step(visitor: &Visitor, why: &str) -> CallToolResult {
    let call = params("next_step", json!({ "why": why }));
    visitor.client.call_tool(call).await.expect("a result")
}

/// That the call was not made, and with which code.
#[track_caller]
fn assert_refused(told: &CallToolResult, code: &str) {
    assert_eq!(told.is_error, Some(true), "{told:?}");
    let refusal = told.meta.as_ref().and_then(|meta| meta.get("obo-gateway/refusal"));
    assert_eq!(refusal.and_then(|refusal| refusal["code"].as_str()), Some(code), "{told:?}");
}

#[tokio::test]
async fn a_modern_client_shows_the_whole_call_in_a_form_and_a_yes_lets_it_run_once() {
    let bed = Bed::with_accounts().await;
    let visitor = bed.connect_with_forms(ProtocolVersion::V_2026_07_28, sent(true)).await;
    for (asked, why) in ["one", "another", "another"].into_iter().enumerate() {
        assert_eq!(visitor.call("next_step", json!({ "why": why })).await, "one step");
        let forms = visitor.forms.as_ref().expect("forms").asked();
        assert_eq!(forms.len(), asked + 1, "each call is asked about, and each time that it is made");
        for shown in ["wants to call next_step on rmcp, as you", &format!("\"why\": \"{why}\"")] {
            assert!(forms[asked].contains(shown), "{shown}: {}", forms[asked]);
        }
    }
}

#[tokio::test]
async fn a_no_in_the_form_is_told_to_the_model_and_stands() {
    let bed = Bed::with_accounts().await;
    let modern = ProtocolVersion::V_2026_07_28;
    for (why, no) in [("declined", ElicitResult::new(ElicitationAction::Decline)), ("unticked", sent(false))]
    {
        let visitor = bed.connect_with_forms(modern.clone(), no).await;
        assert_refused(&step(&visitor, why).await, "confirmation_declined");
        // Nor does a yes count that comes after it.
        let visitor = bed.connect_with_forms(modern.clone(), sent(true)).await;
        assert_refused(&step(&visitor, why).await, "confirmation_declined");
        assert_eq!(visitor.forms.as_ref().expect("forms").asked(), Vec::<String>::new());
    }
}

/// In this era the gateway asks by the page alone.
#[tokio::test]
async fn a_legacy_client_that_shows_forms_reads_the_link() {
    let bed = Bed::with_accounts().await;
    let visitor = bed.connect_with_forms(ProtocolVersion::V_2025_11_25, sent(true)).await;
    let told = step(&visitor, "legacy").await;
    assert_refused(&told, "confirmation_required");
    let text = &told.content[0].as_text().expect("a text").text;
    assert!(text.contains(&format!("{PUBLIC}/account/confirm/")), "{text}");
    assert_eq!(visitor.forms.as_ref().expect("forms").asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_client_that_opens_pages_is_sent_to_the_page_of_the_call() {
    let bed = Bed::with_accounts().await;
    let visitor = bed.connect_with_pages(ProtocolVersion::V_2025_11_25, ElicitationAction::Accept).await;
    let fault = visitor.client.call_tool(params("next_step", json!({}))).await.expect_err("a fault");
    let ServiceError::McpError(fault) = fault else { panic!("{fault}") };
    let asked = &fault.data.expect("data")["elicitations"][0];
    assert_eq!(fault.code, ErrorCode(-32_042));
    let url = asked["url"].as_str().expect("a link");
    assert!(url.starts_with(&format!("{PUBLIC}/account/confirm/")), "{url}");
    let visitor = bed.connect_with_pages(ProtocolVersion::V_2026_07_28, ElicitationAction::Decline).await;
    let told = step(&visitor, "page").await;
    assert_refused(&told, "confirmation_declined");
    let asked = visitor.pages.expect("pages").asked();
    assert!(matches!(asked.as_slice(), [link] if link.starts_with(&format!("{PUBLIC}/account/confirm/"))));
}
