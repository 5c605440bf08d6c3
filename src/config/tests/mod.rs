//! A sound configuration, edited in each test, and the faults that come of it.

mod app_only;
mod arguments;
mod bounds;
mod catalog;
#[cfg(feature = "cedar")]
mod cedar;
mod clients;
mod confirm;
mod connection;
mod connectors;
mod document;
mod examples;
mod exchange;
mod files;
mod issuers;
mod limits;
mod openapi;
mod pages;
mod policy;
mod privacy;
mod reload;
mod schema;
mod server;
mod shape;
mod summary;
mod traps;

use super::*;

/// Nothing is wrong with it. Tests count its lines.
const SOUND: &str = r#"listen: 127.0.0.1:8080
issuers:
  contoso:
    kind: entra
    tenant: 5b1c6c1e-0f5b-4a54-8c3e-1f2a3b4c5d6e
    audiences: [api://obo-gateway]
    exchange:
      grant: on_behalf_of
      client_id: gateway
      client_auth: { secret_env: CLIENT_SECRET }
connectors:
  mail:
    kind: rest
    path: /mail
    upstream: https://graph.microsoft.com/v1.0
    tools:
      list: { match: GET /me/messages, scopes: [Mail.Read] }
      send: { match: POST /me/sendMail, scopes: [Mail.Send] }
policy:
  allow:
    - tools: ["mail/*"]
audit: { file: audit.jsonl }
"#;

/// What must never be shown.
const CANARY: &str = "canary-7f3a";
/// 2026-11-22.
const NOW: u64 = 1_795_305_600;

fn environment(name: &str) -> Option<String> {
    match name {
        "CLIENT_SECRET" | "OTHER_SECRET" => Some(format!("secret-{CANARY}")),
        "HOST" => Some("issuer.example".to_owned()),
        "EMPTY" => Some(String::new()),
        "LINES" => Some("127.0.0.1:1\nplain_http: true".to_owned()),
        "YAML" => Some("[a, b]".to_owned()),
        _ => None,
    }
}

fn surroundings(environment: &dyn Fn(&str) -> Option<String>) -> Surroundings<'_> {
    Surroundings { environment, now: NOW, without_cedar: false }
}

fn read_text(text: &str) -> Result<Loaded, LoadError> {
    read("gateway.yaml", text.as_bytes(), &surroundings(&environment)).0
}

/// Faults and warnings of a text, as they would be logged, without the file's name.
fn faults_of(text: &str) -> (Vec<String>, Vec<String>) {
    let (faults, warnings) = match read_text(text) {
        Ok(loaded) => (Vec::new(), loaded.warnings),
        Err(LoadError::Faulty { faults, warnings }) => (faults, warnings),
        Err(error) => panic!("{error}"),
    };
    let logged = |faults: &[Fault]| -> Vec<String> {
        faults.iter().map(|fault| fault.to_string().trim_start_matches("gateway.yaml:").to_owned()).collect()
    };
    for fault in faults.iter().chain(&warnings) {
        let shown = format!("{fault} {fault:?} {}", fault.render(true));
        assert!(!shown.contains(CANARY), "{shown}");
    }
    (logged(&faults), logged(&warnings))
}

/// The sound configuration after some edits, each of which must find its place.
#[track_caller]
fn edited(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(SOUND.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in the configuration");
        text.replacen(from, to, 1)
    })
}

/// Checks that the edits cause exactly these faults: `line: path: message`.
#[track_caller]
fn check(edits: &[(&str, &str)], expected: &[&str]) {
    let (faults, _) = faults_of(&edited(edits));
    assert_eq!(faults, expected);
}

/// Checks that the edits cause no fault and exactly these warnings.
#[track_caller]
fn check_warnings(edits: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(faults_of(&edited(edits)), (Vec::new(), expected.iter().map(ToString::to_string).collect()));
}

/// The configuration that comes of the edits.
#[track_caller]
fn config(edits: &[(&str, &str)]) -> Config {
    match read_text(&edited(edits)) {
        Ok(loaded) => loaded.config,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_sound_configuration_is_sound() {
    check_warnings(&[], &[]);
}

#[test]
fn every_fault_is_reported_at_once_in_the_order_of_the_file() {
    check(
        &[
            ("127.0.0.1:8080", "nowhere"),
            ("kind: entra", "kind: entry"),
            ("    audiences: [api://obo-gateway]\n", ""),
            ("client_id: gateway", "clientid: gateway"),
            ("CLIENT_SECRET", "NO_SECRET"),
            ("path: /mail", "path: mail"),
            ("https://graph", "http://graph"),
            ("GET /me/messages", "GETT /me/messages"),
            ("[Mail.Send]", "Mail.Send"),
            ("[\"mail/*\"]", "[\"mial/*\"]"),
            ("{ file: audit.jsonl }", "{ path: audit.jsonl }"),
        ],
        &[
            "1: listen: must be an IP address and a port, like `0.0.0.0:8443` or `\"[::]:8443\"` \
             (found \"nowhere\")",
            "3: issuers.contoso.audiences: is required: list what `aud` of a token for the gateway names, \
             like \
             `[api://obo-gateway]`",
            "4: issuers.contoso.kind: must be one of `entra`, `oidc` (found \"entry\")",
            "8: issuers.contoso.exchange.clientid: is not a key here; did you mean `client_id`?",
            "9: issuers.contoso.exchange.client_auth.secret_env: names an environment variable that is not \
             set \
             (found \"NO_SECRET\")",
            "13: connectors.mail.path: does not begin with `/` (found \"mail\")",
            "14: connectors.mail.upstream: must be https, unless its host is loopback or the entry says \
             `allow_plain_http: true` (found \"http://graph.microsoft.com/v1.0\")",
            "16: connectors.mail.tools.list.match: has a method that is not served: \"GETT\" \
             (found \"GETT /me/messages\")",
            "17: connectors.mail.tools.send.scopes: must be a list, like `[one, two]` (found text)",
            "20: policy.allow[0].tools[0]: covers no tool; did you mean `mail/*`? (found \"mial/*\")",
            "21: audit.file: is required: name the file that records are appended to, or `\"-\"` for \
             standard output",
            "21: audit.path: is not a key here; the keys are `file`, `durability`, `instance`, `rotate`, \
             `compress`, `keep`, `checkpoints`, \
             `keys`, `pseudonyms`, `display_names`",
        ],
    );
}

#[test]
fn a_secret_is_nowhere_to_be_seen() {
    let loaded = read_text(SOUND).expect("the sound configuration");
    let shown = format!("{loaded:?} {:#?} {}", loaded.config, summary(&loaded.config, true));
    assert!(!shown.contains(CANARY), "{shown}");
    let exchange = loaded.config.issuers[0].exchange.as_ref().expect("an exchange");
    let crate::oauth::ClientAuth::SecretPost(secret) = &exchange.client_auth else { panic!("a secret") };
    assert!(secret.expose().contains(CANARY));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load(Path::new("/nowhere/gateway.yaml"), &environment).expect_err("no such file");
    assert_eq!(error.to_string(), "cannot read the configuration /nowhere/gateway.yaml");
    assert!(error.render(false).contains("No such file"), "{}", error.render(false));
}
