//! Tools that the gateway's application uses: what the connector sees, and that nothing ever falls back from a person to
//! the application, or from the application to a person.

use obo_gateway::demo::authorization_server::{Endpoint, GrantKind, MAIL_AUDIENCE};
use obo_gateway::demo::script::Reply;
use reqwest::{Method, Response};
use serde_json::json;

use crate::bed::{Parts, Setup, TestBed, assert_refused, refusal};

mod fallback;

/// One tool of each mode.
const BOTH: &str = "    tools:
      list_messages: { match: GET /me/messages, identity: on_behalf_of, scopes: [Mail.Read] }
      announce: { match: 'POST /users/{user}/sendMail', identity: app_only, scopes: [.default] }
";

fn both() -> Setup {
    Setup::default().tools(BOTH)
}

/// The same with an authorization server that follows the RFCs: `more` stands in its entry, `exchange` in its exchange.
fn plain(parts: &Parts<'_>, exchange: &str, more: &str) -> String {
    let tenant = format!("    tenant: {}\n", parts.authorization_server.settings().tenant);
    let issuer = parts
        .issuer()
        .replace("kind: entra", "kind: oidc")
        .replace(&tenant, "")
        .replace("grant: on_behalf_of", &format!("grant: token_exchange{exchange}"));
    parts.whole(&format!("{issuer}{more}"), &parts.mail(&BOTH.replace(".default", "Mail.Send")))
}

/// A call of `who` for the tool that the application uses.
async fn announce(bed: &TestBed, who: &str) -> Response {
    let message = json!({"message": {
        "subject": "To all",
        "toRecipients": [{"emailAddress": {"address": "bob.okafor@demo.test"}}],
    }});
    let path = format!("/mail/users/{}/sendMail", bed.authorization_server.person("bob").oid);
    let request = bed.request(Method::POST, &path).bearer_auth(bed.token(who)).json(&message);
    request.send().await.expect("an answer")
}

/// How often the authorization server was asked by this grant.
fn asked(bed: &TestBed, grant: GrantKind) -> usize {
    bed.authorization_server.exchanges().iter().filter(|exchange| exchange.grant == grant).count()
}

#[tokio::test]
async fn the_connector_sees_the_application_whoever_calls_and_the_record_says_who() {
    let bed = both().start().await;
    for who in ["ada", "bob", "ada"] {
        let answer = announce(&bed, who).await;
        assert_eq!(answer.status(), 202);
        assert_eq!(answer.headers()["obo-identity-mode"], "app_only");
    }
    let gateway = bed.authorization_server.settings().gateway.client_id.clone();
    for request in bed.connector.requests() {
        let caller = request.caller.clone().expect("a good token");
        assert_eq!((caller.person, caller.client_id), (None, Some(gateway.clone())));
        assert_eq!(caller.permissions, ["Mail.Send"]);
        assert_eq!(request.bearer().as_ref(), bed.authorization_server.issued_to_application().first());
    }
    assert!(bed.connector.sent().iter().all(|mail| mail.by_application));
    assert_eq!(bed.exchanges(), 1, "one token for everybody");
    assert_eq!(asked(&bed, GrantKind::ClientCredentials), 1);
    assert!(bed.authorization_server.issued().is_empty());

    bed.outcomes(3).await;
    let records = bed.records().await;
    for (record, who) in records.iter().zip(["ada", "bob", "ada"]) {
        let at = |place| record.pointer(place).cloned().unwrap_or_default();
        assert_eq!(at("/actor/user/uid"), json!(bed.authorization_server.person(who).oid));
        assert_eq!(at("/actor/app_uid"), json!("demo-agent"));
        assert_eq!(at("/unmapped/obo/identity"), json!("app_only"));
        assert_eq!(at("/unmapped/obo/tool"), json!("announce"));
        assert_eq!(at("/authorizations/0/policy/name"), json!("everybody"), "{record:#}");
    }
    for (series, count) in [
        (
            r#"obo_gateway_requests_total{connector="mail",identity="app_only",outcome="answered",tool="announce"}"#,
            3.0,
        ),
        (r#"obo_gateway_application_tokens_total{issuer="contoso",outcome="issued"}"#, 1.0),
        (r#"obo_gateway_credential_cache_lookups_total{result="hit"}"#, 2.0),
    ] {
        assert_eq!(bed.metric(series).await, Some(count), "{series}");
    }
}

#[tokio::test]
async fn nothing_of_the_persons_reaches_authorization_server_or_connector() {
    let bed = both().start().await;
    let (ada, oid) = (bed.token("ada"), bed.authorization_server.person("ada").oid.clone());
    let path = format!("/mail/users/{}/sendMail", bed.authorization_server.person("bob").oid);
    let message =
        json!({"message": {"toRecipients": [{"emailAddress": {"address": "bob.okafor@demo.test"}}]}});
    let request = bed.request(Method::POST, &path).bearer_auth(&ada).json(&message);
    assert_eq!(request.send().await.expect("an answer").status(), 202);
    let received = bed.connector.only_request();
    let exchange = &bed.authorization_server.exchanges()[0];
    for secret in [&ada, &oid] {
        assert!(!received.contains(secret));
        assert!(!exchange.form.iter().any(|(_, value)| value.contains(secret)));
    }
}

#[tokio::test]
async fn each_mode_sees_its_own_side_by_side() {
    let bed = both().start().await;
    for _ in 0..2 {
        assert_eq!(announce(&bed, "ada").await.status(), 202);
        let answer = bed.get("/mail/me/messages", &bed.token("ada")).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["obo-identity-mode"]),
            (200, &"on_behalf_of".parse().expect("a value"))
        );
    }
    let persons: Vec<_> = bed
        .connector
        .requests()
        .into_iter()
        .map(|request| request.caller.expect("a good token").person)
        .collect();
    let ada = Some(bed.authorization_server.person("ada").oid.clone());
    assert_eq!(persons, [None, ada.clone(), None, ada]);
    assert_eq!((asked(&bed, GrantKind::ClientCredentials), asked(&bed, GrantKind::OnBehalfOf)), (1, 1));
}

#[tokio::test]
async fn a_token_is_for_one_connector_and_one_set_of_scopes() {
    let bed = Setup::default()
        .config(|parts| {
            let connectors = parts.mail(BOTH);
            let second = connectors.replace("  mail:\n", "  news:\n").replace("/mail", "/news");
            parts.whole(&parts.issuer(), &format!("{connectors}{second}"))
        })
        .start()
        .await;
    let path = format!("users/{}/sendMail", bed.authorization_server.person("bob").oid);
    for connector in ["mail", "news", "mail", "news"] {
        let request =
            bed.request(Method::POST, &format!("/{connector}/{path}")).bearer_auth(bed.token("ada"));
        assert_eq!(
            request.body("{}").send().await.expect("an answer").status(),
            400,
            "there is nothing to send"
        );
    }
    assert_eq!(bed.exchanges(), 2);

    let tools = "    tools:
      read: { match: 'GET /users/{user}/messages', identity: app_only, scopes: [Mail.Read] }
      send: { match: 'POST /users/{user}/sendMail', identity: app_only, scopes: [Mail.Send] }
";
    let bed = Setup::default()
        .server(|settings| {
            let mut role = settings.gateway.app_roles[0].clone();
            role.role = "Mail.Read".to_owned();
            settings.gateway.app_roles.push(role);
        })
        .config(move |parts| plain(parts, "", "").replace(&BOTH.replace(".default", "Mail.Send"), tools))
        .start()
        .await;
    let path = format!("/mail/users/{}/messages", bed.authorization_server.person("bob").oid);
    for _ in 0..2 {
        assert_eq!(bed.get(&path, &bed.token("ada")).await.status(), 200);
        assert_eq!(announce(&bed, "ada").await.status(), 202);
    }
    let scopes: Vec<_> = bed
        .authorization_server
        .exchanges()
        .iter()
        .map(|exchange| exchange.parameter("scope").map(str::to_owned))
        .collect();
    assert_eq!(scopes, [Some("Mail.Read".to_owned()), Some("Mail.Send".to_owned())]);
    let requests = bed.connector.requests();
    assert_eq!(requests[0].caller.as_ref().expect("a good token").permissions, ["Mail.Read"]);
    assert_eq!(requests[1].caller.as_ref().expect("a good token").permissions, ["Mail.Send"]);
}

#[tokio::test]
async fn a_server_that_follows_the_rfcs_is_told_the_target_as_configured() {
    for (target, parameter) in [("audience", "audience"), ("resource", "resource")] {
        let bed = Setup::default()
            .config(move |parts| {
                let more = format!("    application: {{ target: {target} }}\n");
                let resource = format!("    audience: {MAIL_AUDIENCE}\n    resource: {MAIL_AUDIENCE}\n");
                plain(parts, "", &more).replace(&format!("    audience: {MAIL_AUDIENCE}\n"), &resource)
            })
            .start()
            .await;
        assert_eq!(announce(&bed, "ada").await.status(), 202, "{target}");
        let exchange = &bed.authorization_server.exchanges()[0];
        let gateway = bed.authorization_server.settings().gateway.client_id.clone();
        for (name, value) in [
            ("grant_type", Some("client_credentials")),
            ("scope", Some("Mail.Send")),
            ("audience", Some(MAIL_AUDIENCE).filter(|_| parameter == "audience")),
            ("resource", Some(MAIL_AUDIENCE).filter(|_| parameter == "resource")),
            ("client_id", Some(gateway.as_str())),
        ] {
            assert_eq!(exchange.parameter(name), value, "{name}");
        }
        let caller = bed.connector.only_request().caller.expect("a good token");
        assert_eq!((caller.person, caller.client_id), (None, Some(gateway)));
    }
}

#[tokio::test]
async fn the_application_proves_itself_in_its_own_way() {
    let bed = Setup::default()
        .server(|settings| settings.gateway.workload_tokens = vec!["platform-token".to_owned()])
        .config(|parts| {
            let file = parts.folder.join("platform-token");
            std::fs::write(&file, "platform-token\n").expect("a file");
            let client_id = &parts.authorization_server.settings().gateway.client_id;
            let application = format!(
                "    application: {{ client_id: {client_id}, client_auth: {{ token_file: {} }}, extra: {{ hint: x }} }}\n",
                file.display()
            );
            parts.whole(&format!("{}{application}", parts.issuer()), &parts.mail(BOTH))
        })
        .start()
        .await;
    assert_eq!(announce(&bed, "ada").await.status(), 202);
    assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200);
    let exchanges = bed.authorization_server.exchanges();
    assert_eq!(exchanges[0].parameter("client_assertion"), Some("platform-token"));
    assert_eq!((exchanges[0].parameter("client_secret"), exchanges[0].parameter("hint")), (None, Some("x")));
    assert_eq!((exchanges[1].parameter("client_assertion"), exchanges[1].parameter("hint")), (None, None));
}

#[tokio::test]
async fn a_person_still_has_to_sign_in_and_a_rule_to_allow_it() {
    let bed = Setup::default()
        .config(|parts| {
            let whole = parts.whole(&parts.issuer(), &parts.mail(BOTH));
            whole.replace("tools: [\"*/*\"]", "tools: [mail/list_messages]")
        })
        .start()
        .await;
    assert_refused(&refusal(announce(&bed, "ada").await).await, 403, "policy_denied");
    let path = format!("/mail/users/{}/sendMail", bed.authorization_server.person("bob").oid);
    let nobody = bed.request(Method::POST, &path).send().await.expect("an answer");
    assert_refused(&refusal(nobody).await, 401, "no_credentials");
    let application = bed.authorization_server.subject_token("ada").app_only().mint();
    let nobody = bed.request(Method::POST, &path).bearer_auth(application).send().await.expect("an answer");
    assert_refused(&refusal(nobody).await, 403, "person_required");
    assert_eq!((bed.exchanges(), bed.connector.requests().len()), (0, 0));
}

#[tokio::test]
async fn a_kept_token_that_is_turned_away_is_replaced_and_the_call_sent_again() {
    let bed = both().start().await;
    assert_eq!(announce(&bed, "ada").await.status(), 202);
    bed.connector.script().once(Reply::status(401));
    assert_eq!(announce(&bed, "bob").await.status(), 202);
    assert_eq!((bed.exchanges(), bed.connector.requests().len()), (2, 3));
    assert_eq!(bed.connector.requests()[2].bearer(), bed.authorization_server.issued_to_application().pop());
    bed.outcomes(2).await;
    assert_eq!(bed.records().await[1]["unmapped"]["obo"]["second_try"], "unauthorized");
    // However often the connector says no after that: whoever calls, it is one token for all.
    bed.connector.script().always(Reply::status(401));
    for who in ["ada", "bob", "ada"] {
        assert_eq!(announce(&bed, who).await.status(), 401);
    }
    assert_eq!(bed.exchanges(), 2);
}

#[tokio::test]
async fn what_a_connector_demands_of_the_application_is_not_the_persons_to_fulfil() {
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1763800000"}}}"#;
    let bed = both().start().await;
    assert_eq!(announce(&bed, "ada").await.status(), 202);
    bed.connector.script().once(Reply::claims_challenge(claims));
    assert_eq!(announce(&bed, "ada").await.status(), 202);
    assert_eq!(bed.authorization_server.exchanges()[1].parameter("claims"), Some(claims));
    bed.connector.script().always(Reply::claims_challenge(claims));
    let answer = announce(&bed, "ada").await;
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["www-authenticate"], r#"Bearer realm="obo-gateway""#);
}

#[tokio::test]
async fn a_person_who_is_forgotten_takes_no_token_of_the_applications_along() {
    let bed = both().start().await;
    assert_eq!(announce(&bed, "ada").await.status(), 202);
    let subject = &bed.authorization_server.person("ada").oid;
    let url = format!("http://{}/forget?issuer=contoso&subject={subject}", bed.gateway.admin_address());
    let forgotten = crate::bed::client().post(url).send().await.expect("an answer");
    assert_eq!(forgotten.status(), 200);
    assert_eq!(announce(&bed, "ada").await.status(), 202);
    assert_eq!(bed.exchanges(), 1);
}

#[tokio::test]
async fn a_reload_keeps_the_applications_token() {
    let bed = both().start().await;
    assert_eq!(announce(&bed, "ada").await.status(), 202);
    bed.gateway.reload().await.expect("a good configuration");
    assert_eq!(announce(&bed, "ada").await.status(), 202);
    assert_eq!(bed.exchanges(), 1);
    bed.authorization_server.script(Endpoint::Token).always(Reply::status(503));
    assert_eq!(announce(&bed, "bob").await.status(), 202, "what is kept needs no server");
}
