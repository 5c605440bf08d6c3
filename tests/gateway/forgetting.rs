//! Forgetting a person: all that is held for them is gone, and the trail says so.

use std::process::Command;

use serde_json::{Value, json};

use crate::bed::TestBed;

async fn post(bed: &TestBed, path: &str, header: Option<(&str, &str)>) -> (u16, String) {
    let request = crate::bed::client().post(format!("http://{}{path}", bed.gateway.admin_address()));
    let request = match header {
        Some((name, value)) => request.header(name, value),
        None => request,
    };
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a body"))
}

#[tokio::test]
async fn a_forgotten_person_is_asked_for_anew_and_nobody_else() {
    let bed = TestBed::start().await;
    let (ada, bob) = (bed.token("ada"), bed.token("bob"));
    for token in [&ada, &bob] {
        assert_eq!(bed.get("/mail/me/messages", token).await.status(), 200);
    }
    let person = bed.authorization_server.person("ada").oid.clone();
    let path = format!("/forget?tenant={}&subject={person}", bed.authorization_server.settings().tenant);
    let (status, body) = post(&bed, &path, None).await;
    let dropped: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (status, dropped),
        (200, json!({ "credentials": 1, "remembered_tokens": 1, "connections": 0 }))
    );
    assert_eq!(bed.metric("obo_gateway_credential_cache_entries").await, Some(1.0));
    for token in [&ada, &bob] {
        assert_eq!(bed.get("/mail/me/messages", token).await.status(), 200);
    }
    assert_eq!(bed.exchanges(), 3);
    bed.outcomes(4).await;
    let records = bed.authentications().await;
    // Two exchanges before, and one for her afterwards.
    assert_eq!(records.len(), 4);
    let record = &records[2];
    assert_eq!((&record["activity_name"], &record["user"]["uid"]), (&json!("Revocation"), &json!(person)));
    assert_eq!(record["http_request"]["url"]["path"], "/forget");
    assert_eq!(record["unmapped"]["obo"]["asked_by"], "this_machine");
    assert_eq!(
        record["unmapped"]["obo"]["forgotten"],
        json!({
            "tenant": bed.authorization_server.settings().tenant,
            "credentials": 1, "remembered_tokens": 1, "connections": 0, "sessions": 0,
        })
    );
    let (_, again) = post(&bed, &path.replace(&person, "nobody"), None).await;
    assert_eq!(again, r#"{"credentials":0,"remembered_tokens":0,"connections":0}"#);
}

#[tokio::test]
async fn nobody_is_forgotten_by_a_vague_request_or_by_a_page() {
    let bed = TestBed::start().await;
    assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200);
    let person = &bed.authorization_server.person("ada").oid;
    for query in [
        String::new(),
        format!("?subject={person}"),
        "?issuer=contoso".to_owned(),
        format!("?issuer=contoso&tenant=t&subject={person}"),
        format!("?issuer=contoso&issuer=contoso&subject={person}"),
        format!("?issuer=contoso&subject={person}&all=true"),
        "?issuer=contoso&subject=".to_owned(),
    ] {
        let (status, body) = post(&bed, &format!("/forget{query}"), None).await;
        assert!(status == 400 && body.starts_with("name the person"), "{query}: {status} {body}");
    }
    let (status, body) = post(&bed, &format!("/forget?issuer=nobody%0A&subject={person}"), None).await;
    let unknown = r#"the gateway's configuration has no issuer "nobody\n": give the name of one that it has, or its `iss`"#;
    assert_eq!((status, body.trim_end()), (400, unknown));
    let path = format!("/forget?issuer=contoso&subject={person}");
    for header in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        assert_eq!(post(&bed, &path, Some(header)).await.0, 403);
    }
    assert_eq!(post(&bed, &path, Some(("host", "evil.example"))).await.0, 421);
    assert_eq!(bed.admin(&path).await.0, 405);
    assert_eq!(bed.metric("obo_gateway_credential_cache_entries").await, Some(1.0));
}

#[tokio::test]
async fn the_command_asks_the_running_gateway() {
    let bed = TestBed::start().await;
    assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200);
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    let config = bed.folder.path().join("with-port.yaml");
    let address = format!("admin: {}", bed.gateway.admin_address());
    std::fs::write(&config, text.replace("admin: 127.0.0.1:0", &address)).expect("written");
    let person = bed.authorization_server.person("ada").oid.clone();
    let forget = move |issuer: &'static str| {
        let (config, person) = (config.clone(), person.clone());
        tokio::task::spawn_blocking(move || {
            Command::new(env!("CARGO_BIN_EXE_obo-gateway"))
                .args(["forget", "--issuer", issuer, "--subject", &person, "--config"])
                .arg(config)
                .output()
                .expect("the program runs")
        })
    };
    let output = forget("contoso").await.expect("it ends");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "{\"credentials\":1,\"remembered_tokens\":1,\"connections\":0}\n"
    );
    assert!(output.status.success());
    let output = forget("nobody").await.expect("it ends");
    assert!(!output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("has no issuer \"nobody\": give the name"),
        "{output:?}"
    );
}

#[tokio::test]
async fn whoever_has_a_person_forgotten_hears_it_once_it_is_recorded() {
    // What happened: the answer was given while the record was on its way.
    let bed = TestBed::start().await;
    let path = format!("/forget?tenant={}&subject=nobody", bed.authorization_server.settings().tenant);
    for number in 1..=300 {
        assert_eq!(post(&bed, &path, None).await.0, 200);
        let trail = std::fs::read_to_string(bed.audit_path()).expect("a trail");
        assert_eq!(trail.matches(r#""kind":"revocation""#).count(), number);
    }
}
