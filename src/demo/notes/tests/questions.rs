//! Asking the person, in the way of each era.

use super::*;

fn ask() -> Value {
    json!({ "name": "ask_back" })
}

fn retry(state: &Value, answer: Value) -> Value {
    json!({ "name": "ask_back", "requestState": state, "inputResponses": { "name": answer } })
}

#[tokio::test]
async fn a_modern_question_is_a_result_and_the_answer_a_retry() {
    let pair = Pair::start().await;
    let token = pair.token("ada", "Notes.Read");
    let asked = pair.modern_result(&token, "tools/call", ask()).await;
    assert_eq!(asked["resultType"], "input_required");
    assert_eq!(asked["inputRequests"]["name"]["method"], "elicitation/create");
    assert_eq!(asked["ttlMs"], Value::Null, "what wants input is never kept");
    let accept = json!({ "action": "accept", "content": { "name": "Ada" } });
    let call = retry(&asked["requestState"], accept.clone());
    let result = pair.modern_result(&token, "tools/call", call.clone()).await;
    assert_eq!(result["structuredContent"]["greeting"], "Good day, Ada.");

    let send = async |token: &TokenBuilder, call: Value| {
        let response = pair.modern(token, "tools/call", call).send().await.expect("an answer");
        json(response).await["error"]["code"].as_i64()
    };
    assert_eq!(send(&token, call).await, Some(-32_602), "a state is good once");
    let asked = pair.modern_result(&token, "tools/call", ask()).await;
    let bobs = send(&pair.token("bob", "Notes.Read"), retry(&asked["requestState"], accept.clone())).await;
    assert_eq!(bobs, Some(-32_602), "another person's state");
    let altered = format!("{}x", asked["requestState"].as_str().expect("text"));
    assert_eq!(send(&token, retry(&json!(altered), accept)).await, Some(-32_602));
    let declined = retry(&asked["requestState"], json!({ "action": "decline" }));
    assert_eq!(pair.modern_result(&token, "tools/call", declined).await["isError"], true);
}

#[tokio::test]
async fn an_answer_that_is_missing_is_asked_for_again() {
    let pair = Pair::start().await;
    let token = pair.token("ada", "Notes.Read");
    let asked = pair.modern_result(&token, "tools/call", ask()).await;
    let call = json!({ "name": "ask_back", "requestState": asked["requestState"] });
    let again = pair.modern_result(&token, "tools/call", call).await;
    assert_eq!(again["resultType"], "input_required");
    assert_ne!(again["requestState"], asked["requestState"]);
}

#[tokio::test]
async fn a_client_without_forms_is_not_asked() {
    let pair = Pair::start().await;
    let token = pair.token("ada", "Notes.Read");
    let mut body = modern_body("tools/call", ask());
    let capabilities = json!({ "elicitation": { "url": {} } });
    body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities;
    let request = pair.modern(&token, "tools/call", ask()).json(&body);
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 400);
    let error = json(response).await["error"].take();
    assert_eq!(error["code"], -32_021);
    assert_eq!(error["data"]["requiredCapabilities"], json!({ "elicitation": { "form": {} } }));
}

#[tokio::test]
async fn a_legacy_question_is_a_request_on_the_stream_and_the_answer_a_post() {
    let pair = Pair::start().await;
    for version in ["2025-11-25", "2025-06-18"] {
        let talk = pair.session(pair.token("ada", "Notes.Read"), version).await;
        let other = pair.session(pair.token("bob", "Notes.Read"), version).await;
        let mut stream = talk.stream(3, "tools/call", ask()).await;
        let question = stream.message().await;
        assert_eq!(question["method"], "elicitation/create");
        assert_eq!(question["params"]["mode"].is_string(), version == "2025-11-25");
        let answer = json!({
            "jsonrpc": "2.0", "id": question["id"],
            "result": { "action": "accept", "content": { "name": "Ada" } },
        });
        assert_eq!(other.post(&answer).await.status(), 400, "nothing was asked in that session");
        assert_eq!(talk.post(&answer).await.status(), 202);
        assert_eq!(stream.message().await["result"]["structuredContent"]["greeting"], "Good day, Ada.");
        assert_eq!(talk.post(&answer).await.status(), 400, "a question is answered once");
    }
}
