//! The modern era: each request alone.

use super::*;

#[tokio::test]
async fn a_modern_request_is_served_alone_and_told_nothing_of_sessions() {
    let pair = Pair::start().await;
    let token = pair.token("ada", "Notes.Read");
    let discovered = pair.modern_result(&token, "server/discover", json!({})).await;
    assert_eq!(discovered["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(
        (&discovered["resultType"], &discovered["cacheScope"]),
        (&json!("complete"), &json!("public"))
    );

    let response =
        pair.modern(&token, "tools/list", json!({})).header("mcp-session-id", "stray").send().await;
    let response = response.expect("an answer");
    assert!(!response.headers().contains_key("mcp-session-id"));
    let page = json(response).await["result"].take();
    assert_eq!(names(&page["tools"])[0], "list_notes");
    let next = pair.modern_result(&token, "tools/list", json!({ "cursor": page["nextCursor"] })).await;
    assert_eq!(next["nextCursor"], Value::Null);
    let all = [names(&page["tools"]), names(&next["tools"])].concat();
    assert_eq!(all, catalogue::TOOLS.map(catalogue::Tool::name));
    assert_eq!(pair.notes.sessions(), 0);
}

#[tokio::test]
async fn everybody_has_their_own_notes_and_the_application_none() {
    let pair = Pair::start().await;
    let mut titles = Vec::new();
    for who in ["ada", "bob"] {
        let call = json!({ "name": "list_notes" });
        let result = pair.modern_result(&pair.token(who, "Notes.Read"), "tools/call", call).await;
        titles.push(result["structuredContent"]["notes"].to_string());
    }
    assert!(titles[0].contains("Failure budget") && !titles[1].contains("Failure budget"), "{titles:?}");

    let application = pair.application().claim("roles", json!(["Notes.Read"]));
    let result = pair.modern_result(&application, "tools/call", json!({ "name": "list_notes" })).await;
    assert_eq!(result["isError"], true);
}

#[tokio::test]
async fn who_announces_is_seen_and_recorded() {
    let pair = Pair::start().await;
    let call = json!({ "name": "publish_announcement", "arguments": { "text": "Lunch" } });
    let result = pair.modern_result(&pair.application(), "tools/call", call.clone()).await;
    assert_eq!(result["structuredContent"]["published_by"], "application");
    let announced = pair.notes.announcements();
    assert_eq!((announced.len(), announced[0].by.person.as_deref()), (1, None));
    assert_eq!(pair.notes.only_request().caller, Some(announced[0].by.clone()));

    let response = pair.modern(&pair.token("ada", "Notes.ReadWrite"), "tools/call", call).send().await;
    let response = response.expect("an answer");
    assert_eq!(response.status(), 403);
    assert!(header(&response, "www-authenticate").contains("scope=\"Notes.Publish\""));
    assert_eq!(pair.notes.announcements().len(), 1);
}

#[tokio::test]
async fn headers_that_differ_from_the_body_are_refused() {
    let pair = Pair::start().await;
    let token = pair.token("ada", "Notes.ReadWrite");
    let call = json!({ "name": "find_notes", "arguments": { "word": "Zürich" } });
    let body = modern_body("tools/call", call);
    let good = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "find_notes"),
        ("mcp-param-word", "=?base64?WsO8cmljaA==?="),
    ];
    let send = async |headers: &[(&str, &str)]| {
        let request =
            headers.iter().fold(pair.post(&token), |request, (name, value)| request.header(*name, *value));
        let response = request.json(&body).send().await.expect("an answer");
        (response.status().as_u16(), json(response).await["error"]["code"].as_i64())
    };
    assert_eq!(send(&good).await, (200, None));
    for index in 0..good.len() {
        let mut without = good.to_vec();
        without.remove(index);
        assert_eq!(send(&without).await, (400, Some(-32_020)), "without {}", good[index].0);
        let mut wrong = good.to_vec();
        wrong[index].1 = if index == 0 { "2027-01-01" } else { "delete_note" };
        assert_eq!(send(&wrong).await, (400, Some(-32_020)), "another {}", good[index].0);
    }
}

#[tokio::test]
async fn what_a_modern_request_lacks_is_said_in_the_eras_own_codes() {
    let pair = Pair::start().await;
    let token = pair.token("ada", "Notes.Read");
    let check = async |method: &str, change: &dyn Fn(&mut Value), version: &str, expected: (u16, i64)| {
        let mut body = modern_body(method, json!({}));
        change(&mut body);
        let request = pair.post(&token).header("mcp-protocol-version", version).header("mcp-method", method);
        let response = request.json(&body).send().await.expect("an answer");
        let status = response.status().as_u16();
        assert_eq!((status, json(response).await["error"]["code"].as_i64()), (expected.0, Some(expected.1)));
    };
    let same: &dyn Fn(&mut Value) = &|_| {};
    check("tools/lists", same, "2026-07-28", (404, -32_601)).await;
    check("tools/call", same, "2026-07-28", (200, -32_602)).await;
    check("tools/list", &|body| body["params"]["cursor"] = json!("page-9"), "2026-07-28", (200, -32_602))
        .await;
    let without = |key: &'static str| {
        move |body: &mut Value| {
            let meta = body["params"]["_meta"].as_object_mut().expect("an object");
            meta.remove(&format!("io.modelcontextprotocol/{key}")).expect("a key");
        }
    };
    check("tools/list", &without("clientCapabilities"), "2026-07-28", (400, -32_602)).await;
    check("tools/list", &without("protocolVersion"), "2026-07-28", (400, -32_602)).await;
    let later = |body: &mut Value| {
        body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2027-01-01")
    };
    check("tools/list", &later, "2027-01-01", (400, -32_022)).await;
}
