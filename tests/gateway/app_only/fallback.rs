//! Every way in which an exchange can fail, and that no application token is asked for, or sent, when it does. And the
//! other way round.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use obo_gateway::demo::authorization_server::{
    AuthorizationServer, Endpoint, Fault, GrantKind, MAIL_AUDIENCE, Settings,
};
use obo_gateway::demo::mail::{MailConnector, MailSettings};
use obo_gateway::demo::script::Reply;
use reqwest::Response;
use serde_json::{Value, json};

use super::{BOTH, announce, asked, plain};
use crate::bed::{Parts, TestBed, refusal};

/// A way to fail: what the authorization server does, and what that comes down to in `exchanges_total`.
struct Failure {
    outcome: &'static str,
    config: Config,
    play: Play,
}

/// What is special about the gateway's configuration.
#[derive(Clone, Copy)]
enum Config {
    /// Nothing.
    Usual,
    /// More scopes than were asked for are refused.
    NoMoreScopes,
    /// The client of the exchange proves itself by a file that is not there; the application's does not.
    NoTokenFile,
    /// The token endpoint is known from metadata alone, which do not name it.
    NoTokenEndpoint,
}

enum Play {
    Nothing,
    /// The person's exchanges are refused so; the application would get a token.
    Fault(Fault),
    /// The token endpoint answers so from now on.
    Always(Reply),
    /// The same, and somebody has called already.
    AfterCalls(Reply, usize),
    /// The trail has a place for the record of one call, and none for that of an exchange.
    FullTrail,
}

fn entra(error: &str, code: u64) -> Reply {
    Reply::json(400, &json!({"error": error, "error_codes": [code]}))
}

fn answer(body: Value) -> Reply {
    Reply::json(200, &body)
}

/// Every refusal that the development authorization server has words for, with the class it is of.
fn faults() -> Vec<(&'static str, Fault)> {
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    vec![
        ("misconfigured", Fault::plain("invalid_request", "whatever")),
        ("sign_in", Fault::coded("invalid_grant", 50173, "The grant was revoked.")),
        ("admin_consent", Fault::coded("invalid_grant", 90094, "An administrator has to agree.")),
        ("consent", Fault::consent_missing("gateway", "obo-gateway")),
        ("step_up", Fault::multi_factor_required(MAIL_AUDIENCE, claims)),
        ("blocked", Fault::not_assigned("ada", MAIL_AUDIENCE)),
        ("blocked", Fault::blocked()),
        ("throttled", Fault::loop_detected()),
        ("unavailable", Fault::transient()),
        ("misconfigured", Fault::parameter_missing("scope")),
        ("subject_token", Fault::bad_assertion("whatever")),
        ("subject_token", Fault::wrong_assertion_audience()),
        ("subject_token", Fault::assertion_out_of_time()),
        ("subject_token", Fault::id_token_used()),
        ("misconfigured", Fault::app_only_assertion("gateway")),
        ("misconfigured", Fault::credential_missing()),
        ("misconfigured", Fault::wrong_secret("gateway")),
        ("misconfigured", Fault::bad_client_assertion("whatever")),
        ("misconfigured", Fault::client_assertion_out_of_time("whatever")),
        ("misconfigured", Fault::client_assertion_of_another()),
        ("misconfigured", Fault::unknown_client("gateway", "tenant")),
        ("misconfigured", Fault::bad_scope("scope")),
        ("misconfigured", Fault::two_resources("scopes")),
        ("misconfigured", Fault::unknown_resource("resource", "tenant")),
        ("misconfigured", Fault::resource_unlike_scope()),
        ("blocked", Fault::unknown_tenant("tenant")),
        ("misconfigured", Fault::unsupported_grant("grant")),
    ]
}

/// What the token endpoint can do beside saying no in words.
fn replies() -> Vec<(&'static str, Reply)> {
    vec![
        ("misconfigured", Reply::status(400)),
        ("misconfigured", Reply::status(401)),
        ("misconfigured", Reply::status(404)),
        ("misconfigured", Reply::status(302).header("location", "http://127.0.0.1:1/")),
        ("throttled", Reply::too_many_requests(9)),
        ("unavailable", Reply::status(500)),
        ("unavailable", Reply::status(503)),
        ("unavailable", entra("invalid_grant", 90033)),
        ("sign_in", entra("invalid_grant", 1)),
        ("unreachable", Reply::reset()),
        ("unreachable", Reply::raw("garbage\r\n\r\n")),
        ("timed_out", Reply::hang()),
        ("unusable_answer", Reply::status(200)),
        ("unusable_answer", answer(json!([]))),
        ("unusable_answer", answer(json!({"error": "invalid_grant"}))),
        ("unusable_answer", answer(json!({"access_token": "t", "token_type": "mac"}))),
        ("unusable_answer", answer(json!({"access_token": "a\r\nb", "token_type": "Bearer"}))),
        ("unusable_answer", answer(json!({"access_token": "t", "token_type": "Bearer", "expires_in": 0}))),
        ("unusable_answer", Reply::status(200).body(vec![b' '; 65_536]).endless()),
    ]
}

fn failures() -> Vec<Failure> {
    let usual = |outcome, play| Failure { outcome, config: Config::Usual, play };
    let of_faults = faults().into_iter().map(|(outcome, fault)| usual(outcome, Play::Fault(fault)));
    let of_replies = replies().into_iter().map(|(outcome, reply)| usual(outcome, Play::Always(reply)));
    let granted = |scope: &str| {
        answer(json!({
            "access_token": "t", "token_type": "Bearer", "expires_in": 300, "scope": scope,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        }))
    };
    let special = [
        usual("scopes_not_granted", Play::Always(granted("User.Read"))),
        usual("left_alone", Play::AfterCalls(Reply::too_many_requests(60), 1)),
        usual("circuit_open", Play::AfterCalls(Reply::status(503), 2)),
        usual("audit_unavailable", Play::FullTrail),
        Failure {
            outcome: "more_scopes_granted",
            config: Config::NoMoreScopes,
            play: Play::Always(granted("Mail.Read Mail.Send")),
        },
        Failure { outcome: "unprepared", config: Config::NoTokenFile, play: Play::Nothing },
        Failure { outcome: "no_token_endpoint", config: Config::NoTokenEndpoint, play: Play::Nothing },
    ];
    of_faults.chain(of_replies).chain(special).collect()
}

async fn bed(special: Config) -> TestBed {
    let server = AuthorizationServer::start(Settings::default()).await.expect("an authorization server");
    let connector = MailConnector::start(MailSettings::trusting(&server)).await.expect("a connector");
    if let Config::NoTokenEndpoint = special {
        let metadata = json!({"issuer": server.issuer(), "jwks_uri": server.jwks_uri()});
        server.script(Endpoint::Discovery).always(Reply::json(200, &metadata));
    }
    TestBed::between(server, connector, |parts: &Parts<'_>| match special {
        Config::Usual | Config::NoTokenEndpoint => parts.whole(&parts.issuer(), &parts.mail(BOTH)),
        Config::NoMoreScopes => plain(parts, "\n      more_scopes: refuse", ""),
        Config::NoTokenFile => {
            let secret = format!("secret_file: {}", parts.folder.join("secret").display());
            let issuer = parts.issuer().replace(&secret, "token_file: /nowhere/token");
            let client_id = &parts.authorization_server.settings().gateway.client_id;
            let application =
                format!("    application: {{ client_id: {client_id}, client_auth: {{ {secret} }} }}\n");
            parts.whole(&format!("{issuer}{application}"), &parts.mail(BOTH))
        }
    })
    .await
}

async fn list(bed: &TestBed, who: &str) -> Response {
    bed.get("/mail/me/messages", &bed.token(who)).await
}

/// Lets an exchange fail, and looks for an application token. `kept`: whether one is kept already.
async fn check_exchange(failure: Failure, kept: bool) -> &'static str {
    let Failure { outcome, config, play } = failure;
    let bed = bed(config).await;
    let has_token = kept && !matches!(config, Config::NoTokenEndpoint);
    if has_token {
        assert_eq!(announce(&bed, "ada").await.status(), 202, "{outcome}: an application token is to be had");
    }
    let script = bed.authorization_server.script(Endpoint::Token);
    let (trail, mut places) = (bed.gateway.audit(), Vec::new());
    match play {
        Play::FullTrail => {
            places.extend(std::iter::from_fn(|| trail.reserve().ok()));
            drop(places.pop());
        }
        Play::Nothing => {}
        Play::Fault(fault) => bed.authorization_server.refuse_exchanges("ada", fault),
        Play::Always(reply) => _ = script.always(reply),
        Play::AfterCalls(reply, calls) => {
            script.always(reply);
            for _ in 0..calls {
                assert!(!list(&bed, "bob").await.status().is_success());
            }
        }
    }
    let received = bed.connector.requests().len();
    let (status, code, problem) = refusal(list(&bed, "ada").await).await;
    assert!(status >= 400, "{outcome}: {problem}");
    drop(places);
    let of_application = usize::from(has_token);
    assert_eq!(asked(&bed, GrantKind::ClientCredentials), of_application, "{outcome}");
    assert_eq!(bed.authorization_server.issued_to_application().len(), of_application, "{outcome}");
    assert_eq!(bed.connector.requests().len(), received, "{outcome}: nothing reaches the connector");
    let series = format!(r#"obo_gateway_exchanges_total{{issuer="contoso",outcome="{outcome}"}}"#);
    assert!(bed.metric(&series).await.is_some_and(|count| count >= 1.0), "{outcome}: {code}");
    let records = bed.records().await;
    let record = records.last().expect("a record");
    assert_eq!(record.pointer("/unmapped/obo/identity"), Some(&json!("on_behalf_of")), "{outcome}");
    assert_eq!(record.pointer("/unmapped/obo/outcome"), Some(&json!(code)), "{outcome}");
    let exchanges = bed.authentications().await;
    let recorded = exchanges.last().and_then(|exchange| exchange["status_code"].as_str());
    assert_eq!(recorded, Some(outcome).filter(|outcome| *outcome != "audit_unavailable"), "{exchanges:#?}");
    outcome
}

#[tokio::test]
async fn no_failure_of_an_exchange_ends_in_an_application_token() {
    let each =
        [true, false].map(|kept| failures().into_iter().map(move |failure| check_exchange(failure, kept)));
    let seen: BTreeSet<&str> = join_all(each.into_iter().flatten()).await.into_iter().collect();
    assert_eq!(seen, outcomes(), "each outcome of an exchange is among the failures");
}

/// Lets a request for an application token fail, and looks for a person's. The agent hears nothing that the person could
/// do about it.
async fn check_application(outcome: &'static str, play: Play) {
    let bed = bed(Config::Usual).await;
    assert_eq!(list(&bed, "ada").await.status(), 200, "{outcome}: a person's token is to be had");
    match play {
        Play::Fault(fault) => bed.authorization_server.refuse_application(fault),
        Play::Always(reply) => _ = bed.authorization_server.script(Endpoint::Token).always(reply),
        Play::Nothing | Play::AfterCalls(..) | Play::FullTrail => unreachable!("not in the list"),
    }
    let (status, code, problem) = refusal(announce(&bed, "ada").await).await;
    assert!(status >= 500, "{outcome}: {problem}");
    assert_eq!(
        (asked(&bed, GrantKind::OnBehalfOf), asked(&bed, GrantKind::TokenExchange)),
        (1, 0),
        "{outcome}"
    );
    assert_eq!(bed.authorization_server.issued().len(), 1, "{outcome}");
    assert_eq!(bed.connector.requests().len(), 1, "{outcome}: nothing more reaches the connector");
    let series = format!(r#"obo_gateway_application_tokens_total{{issuer="contoso",outcome="{outcome}"}}"#);
    assert!(bed.metric(&series).await.is_some_and(|count| count >= 1.0), "{outcome}: {code}");
    let records = bed.records().await;
    let record = records.last().expect("a record");
    assert_eq!(record.pointer("/unmapped/obo/identity"), Some(&json!("app_only")), "{outcome}");
}

#[tokio::test]
async fn no_failure_to_get_an_application_token_ends_in_an_exchange() {
    let of_faults =
        faults().into_iter().map(|(outcome, fault)| check_application(outcome, Play::Fault(fault)));
    let of_replies =
        replies().into_iter().map(|(outcome, reply)| check_application(outcome, Play::Always(reply)));
    tokio::join!(join_all(of_faults), join_all(of_replies));
}

/// All outcomes but success, as the gateway's source lists them.
fn outcomes() -> BTreeSet<&'static str> {
    let of = |code: &'static str, function: &str| {
        let (_, body) = code.split_once(function).expect("the function that names them");
        let (body, _) = body.split_once("\n    }\n").expect("its end");
        body.split('"').skip(1).step_by(2).collect::<Vec<_>>()
    };
    let exchange = of(include_str!("../../../src/oauth/exchange.rs"), "fn outcome(");
    let classes = of(include_str!("../../../src/oauth/error_response.rs"), "fn as_str(");
    exchange.into_iter().chain(classes).collect()
}

#[test]
fn each_refusal_that_the_development_server_has_words_for_is_tried() {
    let source = include_str!("../../../src/demo/authorization_server/fault.rs");
    let tried = include_str!("fallback.rs");
    let makers = source.match_indices("    pub fn ").filter_map(|(at, found)| {
        let line = source[at + found.len()..].split('{').next()?;
        let name = line.split(['(', '<']).next()?;
        (line.contains("-> Self") && !line.contains("(self")).then_some(name)
    });
    let mut count = 0;
    for name in makers {
        assert!(tried.contains(&format!("Fault::{name}(")), "{name}");
        count += 1;
    }
    assert!(count > 20, "{count}");
}
