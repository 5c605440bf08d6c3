//! `obo-gateway explain`: what would become of a call, and why; offline, and with the authorization server's help.

use std::path::PathBuf;
use std::process::{Command, Output};

use obo_gateway::demo::authorization_server::{Endpoint, Fault, TokenBuilder};
use serde_json::{Value, json};

use crate::bed::{Setup, TOOLS, TestBed};

/// What is asked of whom, and what came of it.
struct Explained {
    code: Option<i32>,
    report: Value,
    text: String,
}

impl Explained {
    fn at(&self, pointer: &str) -> &Value {
        self.report.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// What came of a check of the token.
    fn check(&self, name: &str) -> (&str, &str) {
        let checks = self.at("/token/checks").as_array().expect("checks");
        let check = checks.iter().find(|check| check["check"] == name).expect("the check");
        (check["outcome"].as_str().expect("an outcome"), check["why"].as_str().unwrap_or_default())
    }
}

/// Runs the program off this thread, which also serves the authorization server.
async fn run(arguments: Vec<String>) -> Output {
    let run = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_obo-gateway"));
        command
            .env_remove("OBO_GATEWAY_CONFIG")
            .arg("explain")
            .args(arguments)
            .output()
            .expect("the program runs")
    };
    tokio::task::spawn_blocking(run).await.expect("it ends")
}

fn write_token(bed: &TestBed, token: &str) -> PathBuf {
    let path = bed.folder.path().join("token");
    std::fs::write(&path, format!("{token}\n")).expect("written");
    path
}

/// Whether a text holds the token, or a part of it that nobody but its holder has.
fn holds(text: &[u8], token: &str) -> bool {
    let text = String::from_utf8_lossy(text);
    token.split('.').filter(|part| part.len() > 20).any(|part| text.contains(part))
}

/// Explains in both forms, and looks for the token in whatever is said.
async fn explain(bed: &TestBed, token: &str, call: &str, more: &[&str]) -> Explained {
    let path = write_token(bed, token);
    let mut arguments = vec!["--config".to_owned(), bed.config_path().display().to_string()];
    arguments.extend([
        "--token-file".to_owned(),
        path.display().to_string(),
        "--call".to_owned(),
        call.to_owned(),
    ]);
    arguments.extend(more.iter().map(ToString::to_string));
    let text = run(arguments.clone()).await;
    let json = run([arguments, vec!["--json".to_owned()]].concat()).await;
    for output in [&text, &json] {
        let issued = bed.authorization_server.issued();
        for secret in issued.iter().map(String::as_str).chain([token]) {
            assert!(!holds(&output.stdout, secret) && !holds(&output.stderr, secret), "a token is shown");
        }
    }
    assert_eq!(text.status.code(), json.status.code());
    let said = String::from_utf8([text.stdout, text.stderr].concat()).expect("a text");
    let report = serde_json::from_slice(&json.stdout).unwrap_or(Value::Null);
    Explained { code: text.status.code(), report, text: said }
}

/// How often the authorization server has been asked for anything.
fn asked(bed: &TestBed) -> usize {
    [Endpoint::Discovery, Endpoint::Jwks, Endpoint::Token, Endpoint::Authorize, Endpoint::Introspection]
        .map(|endpoint| bed.authorization_server.fetches(endpoint))
        .into_iter()
        .sum()
}

#[tokio::test]
async fn offline_all_is_said_that_can_be_known_and_nobody_is_asked() {
    let bed = TestBed::start().await;
    let before = asked(&bed);
    let explained = explain(&bed, &bed.token("ada"), "mail/send_message", &[]).await;
    assert_eq!(explained.code, Some(0), "{}", explained.text);
    assert_eq!(explained.at("/verdict"), "allowed");
    assert_eq!(
        explained.at("/provided"),
        &json!(["the token's signature is good", "contoso grants the exchange"])
    );
    assert_eq!(explained.at("/token/issuer"), "contoso");
    assert_eq!(explained.check("signature").0, "not_checked");
    for check in ["form", "issuer", "audience", "times", "person", "agent_allowed", "required_scopes"] {
        assert_eq!(explained.check(check), ("passed", ""));
    }
    let ada = bed.authorization_server.person("ada");
    assert_eq!(explained.at("/caller/subject"), &json!(ada.oid));
    assert_eq!(explained.at("/caller/groups"), &json!(ada.groups));
    assert_eq!(explained.at("/tool/match"), "POST /me/sendMail");
    assert_eq!(explained.at("/identity/mode"), "on_behalf_of");
    assert_eq!(explained.at("/policy/policies"), &json!(["everybody"]));
    assert_eq!(explained.at("/exchange/outcome"), "not_tried");
    for words in ["not checked: signature", "allowed by \"everybody\"", "allowed, provided that"] {
        assert!(explained.text.contains(words), "{words}: {}", explained.text);
    }
    assert!(!explained.text.contains('\u{1b}'), "colour on something that is no terminal");
    assert_eq!(asked(&bed), before, "the authorization server was asked");
    assert!(bed.connector.requests().is_empty(), "the connector was called");
    assert!(bed.records().await.is_empty(), "the trail has a call that nobody made");
}

#[tokio::test]
async fn a_request_line_is_as_good_as_a_name() {
    let bed = TestBed::start().await;
    let token = bed.token("ada");
    let by_line = explain(&bed, &token, "GET /mail/me/messages/AAMk?$select=subject", &[]).await;
    assert_eq!((by_line.code, by_line.at("/tool/name")), (Some(0), &json!("read_message")));
    for (call, status, refused) in [
        ("DELETE /mail/me/messages/AAMk", 403, "tool_unlisted"),
        ("GET /nowhere", 404, "connector_unknown"),
        ("GET /mail/me/../messages", 400, "path_not_canonical"),
    ] {
        let explained = explain(&bed, &token, call, &[]).await;
        assert_eq!(explained.code, Some(1), "{}", explained.text);
        assert_eq!(explained.at("/refusal/stage"), "tool");
        assert_eq!(
            (explained.at("/refusal/status"), explained.at("/refusal/code")),
            (&json!(status), &json!(refused))
        );
    }
}

/// Explains a token, and checks that the gateway refuses it for the same reason.
async fn check_token(bed: &TestBed, token: TokenBuilder, code: &str, failed: &[&str]) {
    let token = token.mint();
    let explained = explain(bed, &token, "mail/list_messages", &[]).await;
    assert_eq!(explained.code, Some(1), "{}", explained.text);
    assert_eq!(
        (explained.at("/refusal/stage"), explained.at("/refusal/code")),
        (&json!("token"), &json!(code))
    );
    let checks = explained.at("/token/checks").as_array().expect("checks");
    let found: Vec<_> = checks
        .iter()
        .filter(|check| check["outcome"] == "failed")
        .map(|check| check["check"].clone())
        .collect();
    assert_eq!(found, failed.iter().map(|check| json!(check)).collect::<Vec<_>>());
    assert_eq!(explained.at("/policy"), &Value::Null);
    let (_, refused, _) = crate::bed::refusal(bed.get("/mail/me/messages", &token).await).await;
    assert_eq!(refused, code, "the gateway itself says otherwise");
}

#[tokio::test]
async fn a_token_is_told_everything_that_is_wrong_with_it_and_refused_for_the_first() {
    let bed = TestBed::start().await;
    let ada = || bed.authorization_server.subject_token("ada");
    check_token(&bed, ada().expired(), "token_expired", &["times"]).await;
    check_token(&bed, ada().expired().audience("api://other"), "audience_mismatch", &["audience", "times"])
        .await;
    check_token(
        &bed,
        ada().claim("tid", "x").claim("groups", 7),
        "tenant_not_allowed",
        &["person", "other_claims"],
    )
    .await;
    check_token(&bed, ada().claim("iss", "https://elsewhere.example"), "issuer_unknown", &["issuer"]).await;
    check_token(&bed, ada().unsigned(), "token_algorithm_refused", &["form"]).await;
}

#[tokio::test]
async fn a_signature_is_checked_offline_with_keys_from_a_file() {
    let bed = TestBed::start().await;
    let keys = bed.folder.path().join("keys.json");
    let fetched =
        crate::bed::client().get(bed.authorization_server.jwks_uri()).send().await.expect("an answer");
    std::fs::write(&keys, fetched.bytes().await.expect("a body")).expect("written");
    let (keys, before) = (keys.display().to_string(), asked(&bed));
    let good = explain(&bed, &bed.token("ada"), "mail/list_messages", &["--keys", &keys]).await;
    assert_eq!((good.code, good.check("signature")), (Some(0), ("passed", "")));
    assert_eq!(good.at("/provided"), &json!(["contoso grants the exchange"]));
    let stranger = bed.authorization_server.subject_token("ada").signed_by_a_stranger().mint();
    let bad = explain(&bed, &stranger, "mail/list_messages", &["--keys", &keys]).await;
    assert_eq!((bad.code, bad.check("signature").0), (Some(1), "failed"));
    assert_eq!(asked(&bed), before, "the authorization server was asked");
    let none = explain(&bed, &stranger, "mail/list_messages", &["--keys", "/nowhere/keys.json"]).await;
    assert_eq!(none.code, Some(2), "{}", none.text);
    let token = bed.folder.path().join("token").display().to_string();
    let no_keys = explain(&bed, &stranger, "mail/list_messages", &["--keys", &token]).await;
    assert_eq!(no_keys.code, Some(2), "{}", no_keys.text);
    // Keys at hand would leave the endpoints unknown, and the exchange would be told to fail for it.
    let both = explain(&bed, &stranger, "mail/list_messages", &["--keys", &keys, "--online"]).await;
    assert!(both.code == Some(2) && both.text.contains("cannot be used with"), "{}", both.text);
}

#[tokio::test]
async fn online_the_exchange_is_tried_and_the_connector_is_not_called() {
    let bed = TestBed::start().await;
    let explained = explain(&bed, &bed.token("ada"), "mail/list_messages", &["--online"]).await;
    assert_eq!(explained.code, Some(0), "{}", explained.text);
    assert_eq!((explained.check("signature"), explained.at("/provided")), (("passed", ""), &json!([])));
    assert_eq!(explained.at("/exchange/outcome"), "obtained");
    let granted = explained.at("/exchange/granted").to_string();
    assert!(granted.contains("Mail.Read"), "{granted}");
    assert!(explained.at("/exchange/lifetime_seconds").as_u64().is_some_and(|seconds| seconds > 60));
    assert!(explained.text.contains("\nallowed\n"), "{}", explained.text);
    assert_eq!(bed.exchanges(), 2, "one for each form");
    assert!(bed.connector.requests().is_empty(), "the connector was called");
    assert!(bed.records().await.is_empty(), "the trail has a call that nobody made");
}

#[tokio::test]
async fn online_a_refused_exchange_is_a_refused_call_and_a_silent_server_tells_nothing() {
    let bed = TestBed::start().await;
    let token = bed.token("ada");
    bed.authorization_server.refuse_exchanges("ada", Fault::blocked());
    let refused = explain(&bed, &token, "mail/list_messages", &["--online"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.text);
    assert_eq!(
        (refused.at("/refusal/stage"), refused.at("/refusal/code")),
        (&json!("exchange"), &json!("access_blocked"))
    );
    assert_eq!(refused.at("/exchange/outcome"), "failed");

    let stranger = bed.authorization_server.subject_token("ada").signed_by_a_stranger().mint();
    let forged = explain(&bed, &stranger, "mail/list_messages", &["--online"]).await;
    assert_eq!((forged.code, forged.at("/refusal/stage")), (Some(1), &json!("token")));

    bed.authorization_server.stop_listening().await;
    let silent = explain(&bed, &token, "mail/list_messages", &["--online"]).await;
    assert_eq!((silent.code, silent.at("/verdict")), (Some(2), &json!("cannot_tell")), "{}", silent.text);
    assert_eq!(silent.at("/refusal/code"), "issuer_not_ready");
    assert_eq!(silent.check("signature").0, "not_checked");
}

#[tokio::test]
async fn a_denial_says_which_rules_are_about_the_tool_and_for_whom() {
    let rules = "    - name: everybody reads
      tools: [\"mail/list_*\", \"mail/read_*\"]
    - name: assistants send
      subjects: { groups: [assistants] }
      agents: [planner]
      tools: [\"mail/send_message\"]
  deny:
    - { name: nobody lists, subjects: { groups: [engineering] }, tools: [\"mail/list_messages\"] }
";
    let setup = Setup::default().config(move |parts| {
        let everybody = "    - { name: everybody, tools: [\"*/*\"] }\n";
        parts.whole(&parts.issuer(), &parts.mail(TOOLS)).replace(everybody, rules)
    });
    let bed = setup.start().await;
    let token = bed.token("ada");
    let denied = explain(&bed, &token, "mail/send_message", &[]).await;
    assert_eq!(denied.code, Some(1), "{}", denied.text);
    assert_eq!(
        (denied.at("/refusal/stage"), denied.at("/refusal/code")),
        (&json!("policy"), &json!("policy_denied"))
    );
    assert_eq!(
        denied.at("/policy/near_misses"),
        &json!([{ "rule": "assistants send", "for_others": "group assistants", "through_others": "planner" }])
    );
    assert!(denied.text.contains("\"assistants send\" is about this tool"), "{}", denied.text);
    let forbidden = explain(&bed, &token, "mail/list_messages", &[]).await;
    assert_eq!((forbidden.code, forbidden.at("/policy/policies")), (Some(1), &json!(["nobody lists"])));
    let allowed = explain(&bed, &bed.token("bob"), "mail/list_messages", &[]).await;
    assert_eq!((allowed.code, allowed.at("/policy/policies")), (Some(0), &json!(["everybody reads"])));
}

/// The notes connector, which lists some tools with arguments.
fn notes() -> Setup {
    let notes = "  notes:
    kind: mcp
    path: /notes
    upstream: http://127.0.0.1:9/mcp
    audience: api://notes
    scopes: [Notes.Read]
    tools:
      read_note: { arguments: { id: { type: string }, pages: { type: integer }, tags: { type: strings } } }
      delete_note: { scopes: [Notes.ReadWrite] }
";
    let rules = "    - { name: readers, tools: [\"notes/read_note\"], prompts: [\"notes/sum*\"], resources: [\"notes/file:///shared/*\"] }\n";
    Setup::default().config(move |parts| {
        let everybody = "    - { name: everybody, tools: [\"*/*\"] }\n";
        parts.whole(&parts.issuer(), notes).replace(everybody, rules)
    })
}

#[tokio::test]
async fn what_an_mcp_server_has_is_named_and_its_arguments_are_what_policy_sees() {
    let bed = notes().start().await;
    let token = bed.token("ada");
    let given = ["--argument", "id=a=b", "--argument", "tags=x", "--argument", "pages=3"];
    let more = [&given[..], &["--argument", "tags=y", "--argument", "colour=red"]].concat();
    let read = explain(&bed, &token, "notes/read_note", &more).await;
    assert_eq!(read.code, Some(0), "{}", read.text);
    assert_eq!(read.at("/policy/arguments"), &json!({ "id": "a=b", "pages": 3, "tags": ["x", "y"] }));
    assert_eq!(read.at("/unseen_arguments"), &json!(["colour"]));
    let wrong = explain(&bed, &token, "notes/read_note", &["--argument", "pages=many"]).await;
    assert_eq!((wrong.code, wrong.at("/refusal/stage")), (Some(1), &json!("arguments")), "{}", wrong.text);
    let twice = explain(&bed, &token, "notes/read_note", &["--argument", "id=a", "--argument", "id=b"]).await;
    assert_eq!(twice.code, Some(2), "{}", twice.text);
    for (call, code, primitive) in [
        ("notes/prompts/summary", 0, "prompt"),
        ("notes/prompts/other", 1, "prompt"),
        ("notes/resources/file:///shared/a/b", 0, "resource"),
        ("notes/resources/file:///mine", 1, "resource"),
        ("notes/delete_note", 1, "tool"),
    ] {
        let explained = explain(&bed, &token, call, &[]).await;
        assert_eq!(
            (explained.code, explained.at("/tool/primitive")),
            (Some(code), &json!(primitive)),
            "{call}"
        );
        assert_eq!(explained.at("/policy/hidden"), &json!(code == 1), "{call}");
    }
    let unlisted = explain(&bed, &token, "notes/nowhere", &[]).await;
    assert_eq!(
        (unlisted.code, unlisted.at("/refusal/stage")),
        (Some(1), &json!("tool")),
        "{}",
        unlisted.text
    );
}

#[tokio::test]
async fn what_nobody_could_mean_is_bad_usage() {
    let bed = notes().start().await;
    let token = bed.token("ada");
    for call in ["nowhere/read_note", "read_note", "POST /notes", ""] {
        let explained = explain(&bed, &token, call, &[]).await;
        assert_eq!(
            (explained.code, &explained.report),
            (Some(2), &Value::Null),
            "{call}: {}",
            explained.text
        );
        assert!(explained.text.starts_with("error: "), "{}", explained.text);
    }
    let config = bed.config_path().display().to_string();
    let without_token =
        run(vec!["--config".into(), config.clone(), "--call".into(), "notes/read_note".into()]).await;
    assert_eq!(without_token.status.code(), Some(2));
    let empty = explain(&bed, "", "notes/read_note", &[]).await;
    assert_eq!(empty.code, Some(2), "{}", empty.text);
    let odd = explain(&bed, "Bearer eyJhbGciOiJub25lIn0canary", "notes/read_note", &[]).await;
    assert_eq!(
        (odd.code, odd.at("/refusal/code")),
        (Some(1), &json!("authorization_malformed")),
        "{}",
        odd.text
    );
    std::fs::write(bed.config_path(), "listen: nowhere\n").expect("written");
    assert_eq!(explain(&bed, &token, "notes/read_note", &[]).await.code, Some(64));
}

#[tokio::test]
async fn an_opaque_token_means_nothing_offline() {
    let bed = Setup::default()
        .config(|parts| {
            let tenant = format!("    tenant: {}\n", parts.authorization_server.settings().tenant);
            let issuer = parts
                .issuer()
                .replace("kind: entra", "kind: oidc\n    introspect: true\n    claims: { subject: oid }");
            let issuer = issuer.replace(&tenant, "").replace("grant: on_behalf_of", "grant: token_exchange");
            parts.whole(&issuer, &parts.mail(TOOLS))
        })
        .start()
        .await;
    let opaque = bed.authorization_server.opaque_token(&bed.token("ada"));
    let offline = explain(&bed, &opaque, "mail/list_messages", &[]).await;
    assert_eq!((offline.code, offline.at("/verdict")), (Some(2), &json!("cannot_tell")), "{}", offline.text);
    assert_eq!(bed.authorization_server.fetches(Endpoint::Introspection), 0);
    let online = explain(&bed, &opaque, "mail/list_messages", &["--online"]).await;
    assert_eq!(
        (online.code, online.at("/exchange/outcome")),
        (Some(0), &json!("obtained")),
        "{}",
        online.text
    );
    bed.authorization_server.revoke(&opaque);
    let revoked = explain(&bed, &opaque, "mail/list_messages", &["--online"]).await;
    assert_eq!(
        (revoked.code, revoked.at("/refusal/code")),
        (Some(1), &json!("token_inactive")),
        "{}",
        revoked.text
    );
}

#[tokio::test]
async fn what_only_the_sender_can_prove_is_a_condition_and_gets_no_credential() {
    let bed = TestBed::start().await;
    let thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
    let bound =
        bed.authorization_server.subject_token("ada").claim("cnf", json!({ "jkt": thumbprint })).mint();
    let explained = explain(&bed, &bound, "mail/list_messages", &["--online"]).await;
    assert_eq!(
        (explained.code, explained.check("possession").0),
        (Some(0), "not_checked"),
        "{}",
        explained.text
    );
    assert_eq!(explained.at("/exchange/outcome"), "not_tried");
    assert_eq!(bed.exchanges(), 0);
    assert!(explained.text.contains("proves to hold the key"), "{}", explained.text);
}

#[tokio::test]
async fn what_a_token_says_moves_no_cursor() {
    let bed = TestBed::start().await;
    let odd = json!(["\u{1b}[2J\r\nallowed", "\u{202e}dne"]);
    let token = bed.authorization_server.subject_token("ada").claim("groups", odd).mint();
    let explained = explain(&bed, &token, "mail/list_messages", &[]).await;
    assert_eq!(explained.code, Some(0), "{}", explained.text);
    assert!(explained.text.contains("\\u{1b}[2J\\u{d}\\u{a}allowed"), "{}", explained.text);
    assert!(!explained.text.contains(['\u{1b}', '\r', '\u{202e}']), "{}", explained.text);
}
