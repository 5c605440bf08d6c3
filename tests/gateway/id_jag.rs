//! ID-JAG in its two legs: the issuer vouches for the person to the connector's authorization server, which issues the
//! token. Two development authorization servers play the two.

use std::time::{Duration, Instant};

use obo_gateway::demo::authorization_server::{Endpoint, MAIL_AUDIENCE};
use obo_gateway::demo::certificates::DevelopmentCertificates;
use obo_gateway::demo::script::Reply;
use reqwest::Method;
use serde_json::{Value, json};

use self::bed::{Bed, CLIENT_AT_CRM, ID_JAG_TYPE, SECRET_AT_CORP, SECRET_AT_CRM, Setup};
use crate::bed::{assert_refused, refusal};

mod bed;

#[tokio::test]
async fn each_person_reaches_the_connector_on_the_word_of_the_issuer() {
    let bed = Bed::start().await;
    for _ in 0..2 {
        for who in ["ada", "bob"] {
            let reply = bed.read_mail(who).await;
            assert_eq!(reply.status(), 200, "{:?}", reply.text().await);
        }
    }
    assert_eq!(bed.asked(), [2, 2], "the second call of each is served from the cache");
    let requests = bed.bed.connector.requests();
    let seen: Vec<_> = requests.iter().map(|request| request.caller.clone().expect("a good token")).collect();
    for (caller, who) in seen.iter().zip(["ada", "bob", "ada", "bob"]) {
        assert_eq!(caller.person.as_deref(), Some(&*bed.crm.person(who).oid), "{seen:?}");
        assert_eq!(caller.client_id.as_deref(), Some(CLIENT_AT_CRM));
        assert_eq!(caller.permissions, ["Mail.Read"]);
    }
    assert_eq!(requests[0].bearer(), bed.crm.issued().first().cloned());
    assert!(bed.corp().issued().is_empty(), "the issuer issues no token for the connector");

    let [first, second] = [&bed.corp().exchanges()[0], &bed.crm.exchanges()[0]];
    let crm = bed.crm.issuer();
    for (exchange, name, value) in [
        (first, "grant_type", Some("urn:ietf:params:oauth:grant-type:token-exchange")),
        (first, "requested_token_type", Some(ID_JAG_TYPE)),
        (first, "subject_token_type", Some("urn:ietf:params:oauth:token-type:access_token")),
        (first, "audience", Some(crm.as_str())),
        (first, "resource", None),
        (first, "scope", Some("Mail.Read")),
        (first, "client_id", Some(bed.corp().settings().gateway.client_id.as_str())),
        (second, "grant_type", Some("urn:ietf:params:oauth:grant-type:jwt-bearer")),
        (second, "requested_token_use", None),
        (second, "audience", None),
        (second, "scope", Some("Mail.Read")),
        (second, "client_id", Some(CLIENT_AT_CRM)),
    ] {
        assert_eq!(exchange.parameter(name), value, "{name}");
    }
    for record in bed.bed.records().await {
        assert_eq!(record.pointer("/unmapped/obo/authorization_server"), Some(&json!("crm")), "{record:#}");
    }
    let exchanges = bed.bed.authentications().await;
    let legs: Vec<_> = exchanges
        .iter()
        .map(|exchange| {
            let details = &exchange["unmapped"]["obo"];
            assert_eq!(details["outcome"], "issued", "{exchange:#}");
            (
                details["grant"].clone(),
                exchange["actor"]["idp"]["name"].clone(),
                exchange["actor"]["app_uid"].clone(),
            )
        })
        .collect();
    let gateway = &bed.corp().settings().gateway.client_id;
    let both = [
        (json!("id_jag"), json!("corp"), json!(gateway)),
        (json!("id_jag_redemption"), json!("corp/crm"), json!(CLIENT_AT_CRM)),
    ];
    assert_eq!(legs, [both.clone(), both].concat(), "a record for each leg, in their order");
    for label in ["corp", "corp/crm"] {
        let series = format!(r#"obo_gateway_exchanges_total{{issuer="{label}",outcome="issued"}}"#);
        assert_eq!(bed.bed.metric(&series).await, Some(2.0), "{label}");
    }
}

#[tokio::test]
async fn the_connectors_address_is_sent_where_it_is_configured() {
    let bed =
        Setup { connector: "    resource: https://crm.example/api\n", ..Setup::default() }.start().await;
    assert_eq!(bed.read_mail("ada").await.status(), 200);
    assert_eq!(bed.corp().exchanges()[0].parameter("resource"), Some("https://crm.example/api"));
    assert_eq!(bed.crm.exchanges()[0].parameter("resource"), None);
}

#[tokio::test]
async fn an_issuer_with_another_name_for_the_person_everywhere_can_vouch_too() {
    let bed = Setup { public_subjects: false, ..Setup::default() }.start().await;
    assert_eq!(bed.read_mail("ada").await.status(), 200);
    let caller = bed.bed.connector.only_request().caller.expect("a good token");
    assert_eq!(caller.person.as_deref(), Some(&*bed.crm.person("ada").oid));
}

#[tokio::test]
async fn nothing_that_is_for_one_server_reaches_the_other() {
    let bed = Bed::start().await;
    let token = bed.bed.token("ada");
    assert_eq!(bed.bed.get("/mail/me/messages", &token).await.status(), 200);
    // Also when it is refused, and asked again.
    bed.crm.script(Endpoint::Token).once(Reply::status(503)).once(Reply::status(401));
    let refused = refusal(bed.read_mail("bob").await).await;
    assert_refused(&refused, 500, "exchange_misconfigured");
    assert_eq!(bed.asked(), [2, 3]);
    let (corp, crm) = (bed.to_corp.seen(), bed.to_crm.seen());
    assert!(corp.contains(SECRET_AT_CORP) && corp.contains(&token), "what is for it arrives");
    assert!(crm.contains(SECRET_AT_CRM), "what is for it arrives");
    let corps_client = &bed.corp().settings().gateway.client_id;
    for (what, seen, not_for_it) in [
        ("the issuer", &corp, vec![SECRET_AT_CRM, CLIENT_AT_CRM]),
        ("the resource authorization server", &crm, vec![SECRET_AT_CORP, corps_client, &token]),
    ] {
        for secret in not_for_it {
            assert!(!seen.contains(secret), "{what} received {secret}");
        }
    }
    let assertion = bed.crm.exchanges()[0].parameter("assertion").expect("an assertion").to_owned();
    for request in bed.bed.connector.requests() {
        let everything = format!("{:?} {:?}", request.headers, request.uri);
        assert!(!everything.contains(&assertion), "the connector received the ID-JAG");
    }
}

#[tokio::test]
async fn an_id_jag_for_somebody_else_is_never_sent_on() {
    let bed = Bed::start().await;
    let client_at_corp = bed.corp().settings().gateway.client_id.clone();
    for (what, id_jag) in [
        ("another person", bed.id_jag("bob")),
        ("another audience", bed.id_jag("ada").audience(MAIL_AUDIENCE)),
        ("another audience", bed.id_jag("ada").claim("aud", json!([bed.crm.issuer(), "more"]))),
        ("another client", bed.id_jag("ada").claim("client_id", client_at_corp)),
        ("another client", bed.id_jag("ada").without("client_id")),
        ("another issuer", bed.id_jag("ada").claim("iss", bed.crm.issuer())),
        ("nobody", bed.id_jag("ada").without("sub")),
        ("expired", bed.id_jag("ada").expired()),
        ("another type", bed.id_jag("ada").header("typ", "JWT")),
        ("another type", bed.id_jag("ada").without_header("typ")),
        ("not a JWT", bed.id_jag("ada").raw_claims("[]")),
        ("gives a member twice", bed.id_jag("ada").raw_header(r#"{"typ":"JWT","typ":"oauth-id-jag+jwt"}"#)),
    ] {
        bed.corp_answers(&id_jag.mint(), &[]);
        let refused = refusal(bed.read_mail("ada").await).await;
        assert_refused(&refused, 502, "issuer_answer_invalid");
        let detail = refused.2["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("corp ") && detail.contains(what), "{what}: {detail}");
    }
    assert_eq!(bed.crm.fetches(Endpoint::Token), 0);
    assert!(bed.bed.connector.requests().is_empty());
    bed.corp_answers(&bed.id_jag("ada").mint(), &[]);
    assert_eq!(bed.read_mail("ada").await.status(), 200, "a good one is sent on");
}

#[tokio::test]
async fn what_is_not_plainly_an_id_jag_is_never_sent_on() {
    let bed = Bed::start().await;
    let access_token = "urn:ietf:params:oauth:token-type:access_token";
    for (name, value) in [
        ("token_type", json!("Bearer")),
        ("token_type", Value::Null),
        ("issued_token_type", json!(access_token)),
        ("issued_token_type", Value::Null),
        ("access_token", json!(format!("{}\r\nx: y", bed.id_jag("ada").mint()))),
        ("access_token", json!("x".repeat(70_000))),
        ("error", json!("invalid_grant")),
    ] {
        bed.corp_answers(&bed.id_jag("ada").mint(), &[(name, value.clone())]);
        let refused = refusal(bed.read_mail("ada").await).await;
        assert_refused(&refused, 502, "issuer_answer_invalid");
    }
    bed.corp_answers(&bed.id_jag("ada").mint(), &[("scope", json!("User.Read"))]);
    assert_refused(&refusal(bed.read_mail("ada").await).await, 403, "scope_not_granted");
    assert_eq!(bed.crm.fetches(Endpoint::Token), 0);
    // `N_A` is written in any case.
    bed.corp_answers(&bed.id_jag("bob").mint(), &[("token_type", json!("n_a"))]);
    assert_eq!(bed.read_mail("bob").await.status(), 200);
}

#[tokio::test]
async fn each_refusal_of_the_second_server_has_its_answer_and_names_it() {
    let error = |error: &str| Reply::json(400, &json!({ "error": error }));
    let answer = |change: Value| {
        let mut answer = json!({"access_token": "opaque", "token_type": "Bearer", "expires_in": 300});
        answer.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        Reply::json(200, &answer)
    };
    for (reply, status, code) in [
        (error("invalid_grant"), 401, "sign_in_required"),
        (error("insufficient_user_authentication"), 403, "step_up_required"),
        (error("access_denied"), 403, "access_blocked"),
        (error("invalid_client"), 500, "exchange_misconfigured"),
        (error("invalid_scope"), 500, "exchange_misconfigured"),
        (Reply::too_many_requests(9), 503, "issuer_throttled"),
        (answer(json!({"token_type": "N_A"})), 502, "issuer_answer_invalid"),
        (answer(json!({"access_token": "a\r\nb"})), 502, "issuer_answer_invalid"),
        (answer(json!({"scope": "User.Read"})), 403, "scope_not_granted"),
    ] {
        let bed = Bed::start().await;
        bed.crm.script(Endpoint::Token).once(reply);
        let refused = refusal(bed.read_mail("ada").await).await;
        assert_refused(&refused, status, code);
        assert!(refused.2["detail"].as_str().is_some_and(|why| why.contains("corp/crm ")), "{:#}", refused.2);
        assert_eq!(bed.asked(), [1, 1], "{code}");
        assert!(bed.bed.connector.requests().is_empty(), "nothing goes out without a delegated token");
        let outcomes = bed.bed.admin("/metrics").await.1;
        let counted = outcomes.lines().any(|line| {
            line.starts_with("obo_gateway_exchanges_total{issuer=\"corp/crm\"") && !line.contains("issued")
        });
        assert!(counted, "{code}: {outcomes}");
    }
}

#[tokio::test]
async fn a_token_that_was_sent_is_never_what_comes_back() {
    let bed = Bed::start().await;
    let token = bed.bed.token("ada");
    let id_jag = bed.id_jag("ada").mint();
    let for_notes = bed.crm.subject_token("ada").audience("https://notes.example").mint();
    for (back, why) in [
        (&token, "the caller's own"),
        (&id_jag, "the assertion that it was sent"),
        (&for_notes, "for another audience"),
    ] {
        bed.corp_answers(&id_jag, &[]);
        let answer = json!({"access_token": back, "token_type": "Bearer", "expires_in": 300});
        bed.crm.script(Endpoint::Token).once(Reply::json(200, &answer));
        let refused = refusal(bed.bed.get("/mail/me/messages", &token).await).await;
        assert_refused(&refused, 502, "issuer_answer_invalid");
        let detail = refused.2["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(why), "{why}: {detail}");
    }
    assert!(bed.bed.connector.requests().is_empty());
}

#[tokio::test]
async fn a_person_who_must_prove_more_to_the_second_server_hears_so() {
    let bed = Bed::start().await;
    bed.crm.require_step_up("ada", "c1");
    assert_refused(&refusal(bed.read_mail("ada").await).await, 403, "step_up_required");
    assert_eq!(bed.crm.exchanges()[0].error, Some("insufficient_user_authentication"));
    assert_eq!(bed.read_mail("bob").await.status(), 200, "another person is another matter");
}

#[tokio::test]
async fn each_server_is_trusted_by_its_own_authorities() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = || DevelopmentCertificates::ensure(folder.path()).expect("certificates");
    let ca_file = format!("ca_file: {}\n", certificates().authority_path.display());
    let tls = || Some(certificates());
    let resource_authorization_server = format!("          {ca_file}");
    let bed = Setup { tls: tls(), resource_authorization_server, ..Setup::default() }.start().await;
    assert!(bed.to_crm.url(&bed.crm).starts_with("https://"));
    assert_eq!(bed.read_mail("ada").await.status(), 200);
    // What the issuer is trusted by says nothing about the resource authorization server.
    let bed = Setup { tls: tls(), issuer: format!("    {ca_file}"), ..Setup::default() }.start().await;
    let refused = refusal(bed.read_mail("ada").await).await;
    assert_refused(&refused, 503, "issuer_unavailable");
    assert!(refused.2["detail"].as_str().is_some_and(|why| why.contains("corp/crm")), "{:#}", refused.2);
    assert_eq!(bed.asked(), [1, 0]);
}

#[tokio::test]
async fn a_refusal_of_the_issuer_ends_it() {
    let bed = Bed::start().await;
    bed.corp().script(Endpoint::Token).once(Reply::json(400, &json!({"error": "access_denied"})));
    let refused = refusal(bed.read_mail("ada").await).await;
    assert_refused(&refused, 403, "access_blocked");
    assert!(refused.2["detail"].as_str().is_some_and(|why| why.contains("corp refused")), "{:#}", refused.2);
    assert_eq!(bed.asked(), [1, 0]);
}

#[tokio::test]
async fn a_second_server_that_is_down_is_left_alone_and_the_first_is_not() {
    let bed = Bed::start().await;
    let open = async |label: &str| {
        bed.bed.metric(&format!(r#"obo_gateway_issuer_circuit_open{{issuer="{label}"}}"#)).await
    };
    bed.crm.script(Endpoint::Token).always(Reply::status(503));
    for _ in 0..2 {
        let refused = refusal(bed.read_mail("ada").await).await;
        assert_refused(&refused, 503, "issuer_unavailable");
        assert!(refused.2["detail"].as_str().is_some_and(|why| why.contains("corp/crm ")), "{:#}", refused.2);
    }
    assert_eq!(bed.asked(), [2, 6], "each attempt at the second leg is with the word that was given");
    let retries = r#"obo_gateway_exchange_retries_total{issuer="corp/crm"}"#;
    assert_eq!(bed.bed.metric(retries).await, Some(4.0));
    assert_eq!([open("corp").await, open("corp/crm").await], [Some(0.0), Some(1.0)]);
    assert_refused(&refusal(bed.read_mail("bob").await).await, 503, "issuer_unavailable");
    assert_eq!(bed.asked(), [2, 6], "nobody is asked for what would not be used");
}

#[tokio::test]
async fn a_reload_keeps_what_is_known_of_the_second_server_and_what_is_still_so() {
    let bed = Bed::start().await;
    let reload = async |from: &str, to: &str| {
        let path = bed.bed.config_path();
        let config = std::fs::read_to_string(&path).expect("a configuration");
        assert!(config.contains(from), "{from}");
        std::fs::write(&path, config.replacen(from, to, 1)).expect("written");
        bed.bed.gateway.reload().await.expect("a good configuration");
    };
    assert_eq!(bed.read_mail("ada").await.status(), 200);
    // How the gateway proves itself is no part of what a token is.
    reload(", method: basic", "").await;
    assert_eq!(bed.read_mail("ada").await.status(), 200);
    assert_eq!(bed.asked(), [1, 1]);
    bed.crm.script(Endpoint::Token).once(Reply::too_many_requests(600));
    assert_refused(&refusal(bed.read_mail("bob").await).await, 503, "issuer_throttled");
    assert_eq!(bed.asked(), [2, 2]);
    reload("drain: 2s", "drain: 3s").await;
    assert_refused(&refusal(bed.read_mail("bob").await).await, 503, "issuer_throttled");
    assert_eq!(bed.read_mail("ada").await.status(), 200, "what is kept needs no exchange");
    // For another client there, nothing is kept; and the server still wants to be left alone.
    reload(&format!("client_id: {CLIENT_AT_CRM}"), "client_id: another").await;
    assert_refused(&refusal(bed.read_mail("ada").await).await, 503, "issuer_throttled");
    assert_eq!(bed.asked(), [2, 2]);
}

#[tokio::test]
async fn an_issuer_that_is_down_says_nothing_about_the_second_server() {
    let bed = Bed::start().await;
    bed.corp().script(Endpoint::Token).always(Reply::status(503));
    for _ in 0..2 {
        assert_refused(&refusal(bed.read_mail("ada").await).await, 503, "issuer_unavailable");
    }
    assert_eq!(bed.asked(), [6, 0]);
    for (label, open) in [("corp", 1.0), ("corp/crm", 0.0)] {
        let series = format!(r#"obo_gateway_issuer_circuit_open{{issuer="{label}"}}"#);
        assert_eq!(bed.bed.metric(&series).await, Some(open), "{label}");
    }
}

#[tokio::test]
async fn both_legs_have_one_deadline() {
    let bed = Bed::start().await;
    bed.corp().script(Endpoint::Token).once(Reply::normal().after(Duration::from_secs(6)));
    bed.crm.script(Endpoint::Token).always(Reply::hang());
    let started = Instant::now();
    let refused = refusal(bed.read_mail("ada").await).await;
    assert_refused(&refused, 504, "issuer_timeout");
    assert!(refused.2["detail"].as_str().is_some_and(|why| why.contains("corp/crm ")), "{:#}", refused.2);
    assert!(started.elapsed() < Duration::from_secs(15), "waited {:?}", started.elapsed());
}

#[tokio::test]
async fn another_tool_is_another_exchange() {
    let bed = Bed::start().await;
    assert_eq!(bed.read_mail("ada").await.status(), 200);
    let message = json!({"message": {"subject": "Hi", "toRecipients": [{"emailAddress": {"address": "bob@demo.test"}}]}});
    let request = bed.bed.request(Method::POST, "/mail/me/sendMail").bearer_auth(bed.bed.token("ada"));
    assert_eq!(request.json(&message).send().await.expect("an answer").status(), 202);
    assert_eq!(bed.asked(), [2, 2]);
    assert_eq!(bed.crm.exchanges()[1].parameter("scope"), Some("Mail.Send"));
}
