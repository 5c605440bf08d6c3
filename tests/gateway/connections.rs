//! People's own connections, through the whole gateway: the mail connector is a service with accounts of its own, whose
//! authorization server is not the issuer. The test plays the browser.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use obo_gateway::audit::{PageVisit, RequestId};
use obo_gateway::clock::Now;
use obo_gateway::connections::{Callback, Connections, TicketId};
use obo_gateway::demo::authorization_server::{AuthorizationServer, GrantKind, MAIL_AUDIENCE, Settings};
use obo_gateway::demo::mail::{MailConnector, MailSettings};
use obo_gateway::demo::script::Reply;
use obo_gateway::identity::{Issuer, Peer, PersonId, Subject, Tenant};
use reqwest::{Method, Url};
use serde_json::Value;

use crate::bed::{Parts, TestBed, assert_refused, client, refusal};

const PUBLIC: &str = "https://gateway.example";
const BROWSER: &str = "what-the-cookie-says";

/// What a browser asks for, so to say.
pub fn visit() -> PageVisit {
    PageVisit {
        request: RequestId::next(),
        person: None,
        peer: Peer { address: ([127, 0, 0, 1], 1).into(), tls: false, certificate: None },
        method: Method::GET,
        path: "/account/callback/mail".into(),
        user_agent: None,
    }
}

/// A gateway between the issuer's people and a service that they have accounts at.
struct Bed {
    bed: TestBed,
    service: AuthorizationServer,
}

fn config(parts: &Parts<'_>, service: &AuthorizationServer, identity: &str) -> String {
    let gateway = &service.settings().gateway;
    let folder = parts.folder.display();
    let connector = parts.mail(&format!(
        "{identity}
    connection:
      issuer: {issuer}
      client_id: {client_id}
      client_auth: {{ secret_file: {folder}/service-secret }}
      scopes: [openid, offline_access, \"{MAIL_AUDIENCE}/Mail.Read\"]
",
        issuer = service.issuer(),
        client_id = gateway.client_id,
    ));
    let whole =
        parts.whole(&parts.issuer(), &connector.replace(&format!("    audience: {MAIL_AUDIENCE}\n"), ""));
    format!(
        "public_url: {PUBLIC}
vault: {{ file: {folder}/vault.db, keys: [{{ id: a, file: {folder}/vault.key }}] }}
{whole}"
    )
}

const TOOLS: &str = "    identity: connection
    tools:
      list_messages: { match: GET /me/messages }
      read_message: { match: 'GET /me/messages/{id}' }";

impl Bed {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings { signs_in_by_hint: true, ..Settings::default() };
        settings.gateway.redirect_uris.push(format!("{PUBLIC}/account/callback/mail"));
        change(&mut settings);
        let service = AuthorizationServer::start(settings).await.expect("a service");
        let issuer = AuthorizationServer::start(Settings::default()).await.expect("an issuer");
        let connector = MailConnector::start(MailSettings::trusting(&service)).await.expect("a connector");
        let bed = TestBed::between(issuer, connector, |parts| {
            let secret = &service.settings().gateway.secret;
            std::fs::write(parts.folder.join("service-secret"), secret).expect("a secret file");
            std::fs::write(parts.folder.join("vault.key"), (0..32).collect::<Vec<u8>>()).expect("a key file");
            config(parts, &service, TOOLS)
        })
        .await;
        Self { bed, service }
    }

    fn connections(&self) -> Arc<Connections> {
        self.bed.gateway.connections().expect("there is a vault")
    }

    fn holder(&self, who: &str) -> PersonId {
        let server = &self.bed.authorization_server;
        PersonId {
            issuer: Issuer::new(server.issuer()),
            tenant: Tenant::Named(server.settings().tenant.as_str().into()),
            subject: Subject::new(server.person(who).oid.as_str()),
        }
    }

    /// An agent's call, with the token of `who`.
    async fn call(&self, who: &str) -> reqwest::Response {
        self.bed.get("/mail/me/messages", &self.bed.token(who)).await
    }

    /// The ticket of the link in a refusal.
    fn ticket(problem: &Value) -> TicketId {
        let link = problem["connect_url"].as_str().expect("a link");
        let ticket = link.strip_prefix("https://gateway.example/account/connect/").expect("a link of ours");
        TicketId::parse(ticket).expect("a ticket")
    }

    /// What the person does with the link: signs in at the service, and is back.
    async fn connect(&self, ticket: &TicketId, who: &str) {
        let (connections, holder) = (self.connections(), self.holder(who));
        let page = connections
            .begin(ticket, &holder, BROWSER, &visit(), Now::read())
            .await
            .expect("a page of the service");
        let url = format!("{page}&login_hint={who}");
        let answer = client().get(url).send().await.expect("an answer");
        let location: Url = answer.headers()["location"].to_str().expect("ASCII").parse().expect("a URL");
        let parts: HashMap<String, String> = location.query_pairs().into_owned().collect();
        let part = |name: &str| parts.get(name).map(String::as_str);
        let callback = Callback {
            connector: "mail",
            state: part("state").expect("a state"),
            code: part("code"),
            error: part("error"),
            iss: part("iss"),
        };
        connections.complete(&callback, &holder, BROWSER, &visit(), Now::read()).await.expect("a connection");
    }

    /// The first call of `who`, the sign-in that it leads to, and the call that then works.
    async fn connected(&self, who: &str) {
        let refused = refusal(self.call(who).await).await;
        assert_refused(&refused, 401, "connection_required");
        self.connect(&Self::ticket(&refused.2), who).await;
        assert_eq!(self.call(who).await.status(), 200);
    }

    fn refreshes(&self) -> usize {
        self.service.exchanges().iter().filter(|exchange| exchange.grant == GrantKind::RefreshToken).count()
    }
}

#[tokio::test]
async fn the_first_call_is_answered_with_a_link_and_after_signing_in_the_same_call_works() {
    let bed = Bed::start().await;
    let answer = bed.call("ada").await;
    let challenge = answer.headers()["www-authenticate"].to_str().expect("ASCII").to_owned();
    let refused = refusal(answer).await;
    assert_refused(&refused, 401, "connection_required");
    let link = refused.2["connect_url"].as_str().expect("a link");
    assert_eq!(challenge, format!(r#"Connect realm="obo-gateway", connect_url="{link}""#));
    assert_eq!(refused.2["fault"], "user");
    let again = refusal(bed.call("ada").await).await;
    assert_eq!(again.2["connect_url"], link, "the agent that asks again gets the same link");
    assert!(bed.bed.connector.requests().is_empty());

    bed.connect(&Bed::ticket(&refused.2), "ada").await;
    let answer = bed.call("ada").await;
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["obo-identity-mode"].as_bytes()),
        (200, &b"connection"[..])
    );
    let request = bed.bed.connector.requests().pop().expect("a request");
    assert_eq!(request.bearer(), bed.service.last_issued());
    assert_eq!(bed.bed.exchanges(), 0, "the issuer was asked for nothing");
    assert_eq!(
        request.caller.expect("a good token").person.as_deref(),
        Some(bed.service.person("ada").oid.as_str())
    );
    // Bob's agent gets nothing of it.
    let bobs = refusal(bed.call("bob").await).await;
    assert_refused(&bobs, 401, "connection_required");
    assert_ne!(bobs.2["connect_url"], link);

    assert_eq!(
        bed.bed.outcomes(4).await,
        ["connection_required", "connection_required", "answered", "connection_required"]
    );
    let records = bed.bed.records().await;
    assert_eq!(records[2].pointer("/unmapped/obo/identity").and_then(Value::as_str), Some("connection"));
    let everything = std::fs::read_to_string(bed.bed.audit_path()).expect("a trail");
    for token in bed.service.issued() {
        assert!(!everything.contains(&token));
    }
    let connected = r#"obo_gateway_connection_events_total{connector="mail",event="connected"}"#;
    assert_eq!(bed.bed.metric(connected).await, Some(1.0));
    assert_eq!(bed.bed.metric("obo_gateway_vault_records").await, Some(1.0));
}

#[tokio::test]
async fn an_agent_that_the_person_did_not_agree_to_gets_a_link_of_its_own() {
    let bed = Bed::start().await;
    bed.connected("ada").await;
    let token = bed.bed.authorization_server.subject_token("ada").agent("other-agent").mint();
    let refused = refusal(bed.bed.get("/mail/me/messages", &token).await).await;
    assert_refused(&refused, 401, "connection_required");
    assert!(refused.2["remedy"].as_str().expect("text").contains("let this agent use"), "{}", refused.2);
    let ticket = Bed::ticket(&refused.2);
    let shown = bed.connections().ticket(&ticket, Now::read()).expect("a ticket");
    assert_eq!(shown.agent.as_str(), "other-agent");
    let agreed = bed.connections().agree(&ticket, &bed.holder("ada"), &visit(), Now::read()).await;
    agreed.expect("it can be used");
    assert_eq!(bed.bed.get("/mail/me/messages", &token).await.status(), 200);
    let nameless = bed.bed.authorization_server.subject_token("ada").without("azp").mint();
    let refused = refusal(bed.bed.get("/mail/me/messages", &nameless).await).await;
    assert_refused(&refused, 403, "agent_unidentified");
}

#[tokio::test]
async fn a_token_that_the_connector_turns_away_is_renewed_once_and_the_call_repeated() {
    // Every access token is a minute old, so to say.
    let bed = Bed::start().await;
    bed.connected("ada").await;
    bed.bed.connector.script().once(Reply::status(401));
    assert_eq!(bed.call("ada").await.status(), 401, "one that was only just obtained is not replaced");
    assert_eq!(bed.refreshes(), 0);
}

#[tokio::test]
async fn what_the_service_demands_of_its_own_accounts_is_not_the_issuers_to_fulfil() {
    let bed = Bed::start().await;
    bed.connected("ada").await;
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1763800000"}}}"#;
    bed.bed.connector.script().always(Reply::claims_challenge(claims));
    let answer = bed.call("ada").await;
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["www-authenticate"], r#"Bearer realm="obo-gateway""#);
}

#[tokio::test]
async fn a_short_lived_token_is_renewed_and_a_restart_finds_the_newest() {
    let bed = Bed::start_with(|settings| settings.access_token_lifespan = Duration::from_secs(4)).await;
    bed.connected("ada").await;
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    let calls = futures_util::future::join_all((0..50).map(|_| bed.call("ada"))).await;
    assert!(calls.iter().all(|answer| answer.status() == 200));
    assert_eq!((bed.refreshes(), bed.service.reused_refresh_tokens()), (1, 0));
    // The next process goes on where this one ended.
    bed.bed.gateway.drain().await;
    let text = std::fs::read_to_string(bed.bed.config_path()).expect("a configuration");
    std::fs::write(bed.bed.config_path(), text.replace("audit.jsonl", "other.jsonl")).expect("written");
    let again = obo_gateway::process::Process::start(&bed.bed.config_path(), Arc::new(|_| None)).await;
    let (again, _) = again.expect("a gateway");
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    let url = format!("http://{}/mail/me/messages", again.agent_address());
    let answer = client().get(url).bearer_auth(bed.bed.token("ada")).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!((bed.refreshes(), bed.service.reused_refresh_tokens()), (2, 0));
}

#[tokio::test]
async fn when_the_service_withdraws_the_grant_the_person_is_asked_again() {
    let bed = Bed::start_with(|settings| settings.access_token_lifespan = Duration::from_secs(2)).await;
    bed.connected("ada").await;
    bed.service.end_grants("ada");
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let refused = refusal(bed.call("ada").await).await;
    assert_refused(&refused, 401, "connection_required");
    assert!(
        refused.2["remedy"].as_str().expect("text").contains("connect your account again"),
        "{}",
        refused.2
    );
    bed.connect(&Bed::ticket(&refused.2), "ada").await;
    assert_eq!(bed.call("ada").await.status(), 200);
}

#[tokio::test]
async fn when_the_service_is_down_it_says_so_and_nothing_is_lost() {
    let bed = Bed::start_with(|settings| settings.access_token_lifespan = Duration::from_secs(2)).await;
    bed.connected("ada").await;
    bed.service.stop_listening().await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let refused = refusal(bed.call("ada").await).await;
    assert_refused(&refused, 503, "connection_unavailable");
    bed.service.listen_again().await.expect("it listens");
    for _ in 0..100 {
        if bed.call("ada").await.status() == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it does not work again");
}

#[tokio::test]
async fn forgetting_a_person_reaches_the_vault_and_the_service() {
    let bed = Bed::start().await;
    bed.connected("ada").await;
    bed.connected("bob").await;
    let subject = &bed.bed.authorization_server.person("ada").oid;
    let url = format!("http://{}/forget?issuer=contoso&subject={subject}", bed.bed.gateway.admin_address());
    let answer = client().post(url).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let dropped: Value = answer.json().await.expect("JSON");
    assert_eq!(dropped["connections"], 1, "{dropped}");
    assert_refused(&refusal(bed.call("ada").await).await, 401, "connection_required");
    assert_eq!(bed.call("bob").await.status(), 200);
    for _ in 0..100 {
        if bed.service.living_grants() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the service still has Ada's grant");
}

#[tokio::test]
async fn a_reload_keeps_connections_and_another_mode_uses_none_of_them() {
    let bed = Bed::start().await;
    bed.connected("ada").await;
    bed.bed.gateway.reload().await.expect("a good configuration");
    assert_eq!(bed.call("ada").await.status(), 200);
    // The same tool with the application's identity: nothing of Ada's is used for it, and back again it is.
    let text = std::fs::read_to_string(bed.bed.config_path()).expect("a configuration");
    let (start, connection) = text.split_once("    connection:\n").expect("a connection");
    let (_, rest) = connection.split_once("policy:").expect("a policy");
    let shared = format!("{start}policy:{rest}")
        .replace("identity: connection", "identity: on_behalf_of")
        .replace(
            "GET /me/messages }",
            &format!("GET /me/messages, scopes: [\"{MAIL_AUDIENCE}/Mail.Read\"] }}"),
        )
        .replace("{id}' }", &format!("{{id}}', scopes: [\"{MAIL_AUDIENCE}/Mail.Read\"] }}"));
    std::fs::write(bed.bed.config_path(), shared).expect("written");
    bed.bed.gateway.reload().await.expect("a good configuration");
    // The connector trusts the service alone, so it turns away what the issuer gives.
    assert_eq!(bed.call("ada").await.status(), 401);
    assert!(bed.bed.exchanges() > 0);
    std::fs::write(bed.bed.config_path(), &text).expect("written");
    bed.bed.gateway.reload().await.expect("a good configuration");
    assert_eq!(bed.call("ada").await.status(), 200);
    // Another client at the service: the grant is of no use any more, and the agent says so.
    std::fs::write(bed.bed.config_path(), text.replace("offline_access, ", "")).expect("written");
    bed.bed.gateway.reload().await.expect("a good configuration");
    let refused = refusal(bed.call("ada").await).await;
    assert_refused(&refused, 401, "connection_required");
    assert!(refused.2["detail"].as_str().expect("text").contains("other settings"), "{}", refused.2);
    // The vault itself takes a restart.
    std::fs::write(bed.bed.config_path(), text.replace("id: a,", "id: b,")).expect("written");
    let error = bed.bed.gateway.reload().await.expect_err("it takes a restart");
    assert!(error.to_string().contains("`vault` has changed"), "{error}");
}

#[tokio::test]
async fn a_wrong_key_or_a_vault_in_use_keeps_the_gateway_from_starting() {
    let bed = Bed::start().await;
    let start = async || {
        let started = obo_gateway::process::Process::start(&bed.bed.config_path(), Arc::new(|_| None)).await;
        let error = started.map(drop).expect_err("it must not start");
        obo_gateway::error_chain::ErrorChain(&error).to_string()
    };
    let text = std::fs::read_to_string(bed.bed.config_path()).expect("a configuration");
    let other_trail = text.replace("audit.jsonl", "other.jsonl");
    std::fs::write(bed.bed.config_path(), &other_trail).expect("written");
    assert!(start().await.contains("another process has it open"));
    bed.bed.gateway.drain().await;
    std::fs::write(bed.bed.folder.path().join("vault.key"), [7; 31]).expect("a key file");
    assert!(start().await.contains("vault.keys[0].file: names a file that is not a key"));
    let other: Vec<u8> = (1..33).collect();
    std::fs::write(bed.bed.folder.path().join("vault.key"), other).expect("a key file");
    let error = start().await;
    assert!(error.contains(r#"the key "a" is another one than the vault was sealed with"#), "{error}");
}

#[tokio::test]
async fn calls_that_need_no_connection_do_not_look_for_one() {
    let bed = Bed::start().await;
    let answer = bed.bed.request(Method::GET, "/mail/me/messages").send().await.expect("an answer");
    assert_eq!(answer.status(), 401, "whoever does not say who they are gets no link");
    assert!(answer.headers()["www-authenticate"].to_str().expect("ASCII").starts_with("Bearer"));
    let problem: Value = answer.json().await.expect("a problem");
    assert!(problem.get("connect_url").is_none());
}
