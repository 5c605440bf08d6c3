//! The whole way against the development authorization server, on a real socket: it rotates refresh tokens, and ends a grant
//! whose refresh token comes a second time.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::audit::{AuditLog, AuditSettings, Exchanges, KnownPerson, PageVisit, Privacy};
use crate::checked_url::{CheckedUrl, PlainHttp};
use crate::demo::authorization_server::{AuthorizationServer, Endpoint, GrantKind, MAIL_AUDIENCE, Settings};
use crate::demo::certificates::DevelopmentCertificates;
use crate::demo::script::Reply;
use crate::identity::{Issuer, IssuerName, Peer, Person, Realm, Subject, Tenant};
use crate::oauth::ClientAuth;
use crate::oauth::assertion::{AssertionKey, KeyNaming};
use crate::oauth::code_client::{CodeClient, CodeEndpoints};
use crate::oauth::exchange::TokenKind;
use crate::vault::{KeyId, VaultKey, VaultSettings};

mod attacks;
mod bounds;
mod endpoints;
mod keeping;
mod recording;
mod refreshing;

const BROWSER: &str = "a-cookie-that-nobody-else-knows";

/// A service, and the connections of people there.
pub(super) struct Bed {
    pub server: AuthorizationServer,
    pub connections: Connections,
    pub metrics: Arc<Metrics>,
    pub trail: AuditLog,
    folder: TempDir,
}

pub(super) fn holder(who: &str) -> PersonId {
    PersonId {
        issuer: Issuer::new("https://issuer.example"),
        tenant: Tenant::Sole,
        subject: Subject::new(who),
    }
}

pub(super) fn person(who: &str) -> Person {
    Person {
        realm: Realm::Issuers([Issuer::new("https://issuer.example")].into()),
        subject: Subject::new(who),
    }
}

/// A request for a page, of whoever is signed in there.
pub(super) fn visit(who: &str) -> PageVisit {
    let address = "192.0.2.7:40000".parse().expect("an address");
    let person = KnownPerson { name: Some(format!("{who} by name").into()), ..KnownPerson::of(&holder(who)) };
    PageVisit {
        request: RequestId::next(),
        person: Some(person),
        peer: Peer { address, tls: true, certificate: None },
        method: http::Method::GET,
        path: "/account/callback/mail".into(),
        user_agent: None,
    }
}

pub(super) fn wanted(who: &str, agent: &str) -> Wanted {
    Wanted {
        request: RequestId::next(),
        holder: holder(who),
        agent: Actor::new(agent),
        connector: ConnectorName::new("mail"),
        tool: ToolName::new("list_messages"),
        scopes: Scopes::new([format!("{MAIL_AUDIENCE}/Mail.Read")]),
    }
}

/// Later than any access token lives, and earlier than anything else ends.
pub(super) fn later() -> Now {
    Now::read().after(Duration::from_secs(7_200))
}

fn settings(server: &AuthorizationServer, scopes: &str) -> ConnectionSettings {
    let gateway = &server.settings().gateway;
    let metadata = format!("{}/.well-known/openid-configuration", server.issuer());
    ConnectionSettings {
        connector: ConnectorName::new("mail"),
        client: CodeClientSettings {
            label: IssuerName::new("connections/mail"),
            issuer: Some(Issuer::new(server.issuer())),
            metadata: vec![CheckedUrl::parse(&metadata, PlainHttp::LoopbackOnly).expect("a URL")],
            endpoints: CodeEndpoints::default(),
            plain_http: PlainHttp::LoopbackOnly,
            client_id: gateway.client_id.as_str().into(),
            client_auth: Some(ClientAuth::SecretPost(SecretToken::new(gateway.secret.as_str()))),
            scopes: Scopes::parse(scopes),
            resource: None,
            extra: Vec::new(),
            extra_roots: Vec::new(),
        },
        account: None,
    }
}

fn recorder(trail: &AuditLog) -> Recorder {
    Recorder::new(trail.clone(), Privacy::of_this_run(), Exchanges::default())
}

impl Bed {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut demo = Settings { signs_in_by_hint: true, ..Settings::default() };
        demo.gateway.redirect_uris.push("https://gateway.example/account/callback/mail".to_owned());
        change(&mut demo);
        let server = AuthorizationServer::start(demo).await.expect("it starts");
        let folder = tempfile::tempdir().expect("a folder");
        let metrics = Arc::<Metrics>::default();
        let held = Self::open(folder.path().join("vault.db"), &metrics).await;
        let trail =
            AuditLog::open(AuditSettings::of(folder.path().join("audit.jsonl")), Arc::clone(&metrics));
        let trail = trail.expect("a trail");
        let connections = Self::connections(&server, held, &metrics, &trail, "");
        Self { server, connections, metrics, trail, folder }
    }

    async fn open(file: PathBuf, metrics: &Arc<Metrics>) -> Arc<Held> {
        let bytes: Vec<u8> = (0..32).collect();
        let key = VaultKey::read(KeyId::new("a"), &bytes).expect("a key");
        let settings = VaultSettings { file: file.into(), keys: vec![key] };
        let vault = Vault::open(settings, Arc::clone(metrics)).await.expect("a vault");
        Arc::new(Held::new(vault))
    }

    fn connections(
        server: &AuthorizationServer,
        held: Arc<Held>,
        metrics: &Arc<Metrics>,
        trail: &AuditLog,
        more: &str,
    ) -> Connections {
        let links = Links::new(&"https://gateway.example".parse().expect("a URL"), "/account");
        let scopes = format!("openid offline_access {MAIL_AUDIENCE}/Mail.Read{more}");
        let settings = vec![settings(server, &scopes)];
        Connections::new(held, settings, links, None, recorder(trail), metrics).expect("connections")
    }

    /// The path of the vault.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("vault.db")
    }

    /// Ends the process, so to say, and starts it anew.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.resume().await;
    }

    pub async fn stop(&self) {
        self.connections.held.vault.close().await;
    }

    /// Starts it anew, after its end.
    pub async fn resume(&mut self) {
        // The lock goes with the last handle, which the tasks of the one before may hold for a moment.
        let links = self.connections.links.clone();
        let empty = Self::open(self.folder.path().join("unused.db"), &self.metrics).await;
        let recorder = recorder(&self.trail);
        let nothing = Connections::new(empty, Vec::new(), links, None, recorder, &self.metrics);
        let nothing = nothing.expect("connections");
        drop(std::mem::replace(&mut self.connections, nothing));
        let held = Self::open(self.file(), &self.metrics).await;
        self.connections = Self::connections(&self.server, held, &self.metrics, &self.trail, "");
    }

    /// Another configuration, with the same vault.
    pub fn reconfigure(&mut self, more_scopes: &str) {
        let held = Arc::clone(&self.connections.held);
        self.connections = Self::connections(&self.server, held, &self.metrics, &self.trail, more_scopes);
    }

    /// What an agent's call gets: the access token, or what is missing.
    pub async fn call(&self, who: &str, agent: &str) -> Result<String, ConnectionError> {
        self.call_at(who, agent, Now::read()).await
    }

    pub async fn call_at(&self, who: &str, agent: &str, now: Now) -> Result<String, ConnectionError> {
        let (grant, _) = self.connections.credential(&wanted(who, agent), now).await?;
        Ok(grant.access_token().expose().to_owned())
    }

    pub fn ask(&self, who: &str, agent: &str) -> TicketId {
        self.connections.ask(&wanted(who, agent), Missing::Connection, Now::read())
    }

    pub async fn begin(&self, ticket: &TicketId, who: &str) -> Url {
        let begun = self.connections.begin(ticket, &holder(who), BROWSER, &visit(who), Now::read()).await;
        begun.expect("a page of the service")
    }

    /// What the service answers when `account` signs in there: the query of the callback.
    pub async fn sign_in(&self, page: &Url, account: &str) -> Answered {
        let client =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build();
        let url = format!("{page}&login_hint={account}");
        let answer = client.expect("a client").get(url).send().await.expect("an answer");
        assert_eq!(answer.status(), 303, "{}", answer.text().await.unwrap_or_default());
        let location: Url = answer.headers()["location"].to_str().expect("ASCII").parse().expect("a URL");
        let connector = location.path().strip_prefix("/account/callback/").expect("a redirect address");
        let part = |name: &str| {
            location.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        Answered {
            connector: connector.to_owned(),
            state: part("state").expect("a state"),
            code: part("code"),
            error: part("error"),
            iss: part("iss"),
        }
    }

    pub async fn complete(&self, answered: &Answered, who: &str) -> Result<Connected, ConnectError> {
        let (callback, visit) = (answered.callback(), visit(who));
        self.connections.complete(&callback, &holder(who), BROWSER, &visit, Now::read()).await
    }

    /// All of it: `who` connects the account that goes by their name.
    pub async fn connect(&self, who: &str, agent: &str) -> Connected {
        let page = self.begin(&self.ask(who, agent), who).await;
        let answered = self.sign_in(&page, who).await;
        self.complete(&answered, who).await.expect("a connection")
    }

    /// Has a person forgotten, as an operator would.
    pub async fn forget(&self, who: &str) -> Result<Vec<ConnectorName>, DisconnectError> {
        self.connections.forget(&person(who), RequestId::next()).await
    }

    /// How often tokens were asked for by this grant.
    pub fn asked(&self, grant: GrantKind) -> usize {
        self.server.exchanges().iter().filter(|exchange| exchange.grant == grant).count()
    }

    pub fn counted(&self, event: &str) -> bool {
        let metrics = String::from_utf8(self.metrics.render().expect("metrics")).expect("text");
        metrics
            .contains(&format!(r#"obo_gateway_connection_events_total{{connector="mail",event="{event}"}}"#))
    }
}

/// A callback, as a browser brings it.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub connector: String,
    pub state: String,
    pub code: Option<String>,
    pub error: Option<String>,
    pub iss: Option<String>,
}

impl Answered {
    pub fn callback(&self) -> Callback<'_> {
        Callback {
            connector: &self.connector,
            state: &self.state,
            code: self.code.as_deref(),
            error: self.error.as_deref(),
            iss: self.iss.as_deref(),
        }
    }
}

#[track_caller]
pub(super) fn check_missing(called: Result<String, ConnectionError>, expected: Missing) {
    match called {
        Err(ConnectionError::Missing(missing)) => assert_eq!(missing, expected),
        other => panic!("{expected:?} was expected: {other:?}"),
    }
}

#[tokio::test]
async fn a_person_connects_an_account_and_the_agents_call_works() {
    let bed = Bed::start().await;
    check_missing(bed.call("ada", "planner").await, Missing::Connection);
    let ticket = bed.ask("ada", "planner");
    assert_eq!(
        bed.connections.links().connect(&ticket),
        format!("https://gateway.example/account/connect/{ticket}")
    );
    let shown = bed.connections.ticket(&ticket, Now::read()).expect("a ticket");
    assert_eq!((shown.agent, shown.connector), (Actor::new("planner"), ConnectorName::new("mail")));
    assert!(shown.scopes.contains("offline_access"), "the page shows all that is asked for");

    let connected = bed.connect("ada", "planner").await;
    assert_eq!(connected.account.as_deref(), Some("ada.lindqvist@demo.test"));
    let summaries = bed.connections.of(&holder("ada")).await.expect("connections");
    let granted = summaries[0].granted.as_ref().expect("scopes");
    assert_eq!(granted.canonical(), format!("{MAIL_AUDIENCE}/Mail.Read"));
    let token = bed.call("ada", "planner").await.expect("a token");
    assert_eq!(Some(token), bed.server.last_issued());
    assert_eq!(bed.asked(GrantKind::AuthorizationCode), 1);
    assert!(bed.connections.ticket(&ticket, Now::read()).is_none(), "the link is used up");
    check_missing(bed.call("bob", "planner").await, Missing::Connection);
    assert!(bed.counted("connected"));
}

#[tokio::test]
async fn the_request_has_a_challenge_and_the_code_needs_its_verifier() {
    let bed = Bed::start().await;
    let (first, second) = (bed.ask("ada", "planner"), bed.ask("ada", "other"));
    let (first, second) = (bed.begin(&first, "ada").await, bed.begin(&second, "ada").await);
    let challenge = |page: &Url| {
        let found = (page.query_pairs())
            .find(|(name, _)| name == "code_challenge")
            .map(|(_, value)| value.into_owned());
        found.expect("a challenge")
    };
    assert_eq!(challenge(&first).len(), 43);
    assert_ne!(challenge(&first), challenge(&second));
    // A code of another request, as somebody would slip it in.
    let (mine, theirs) = (bed.sign_in(&first, "ada").await, bed.sign_in(&second, "bob").await);
    let mixed = Answered { code: theirs.code, ..mine };
    let refused = bed.complete(&mixed, "ada").await;
    assert!(matches!(refused, Err(ConnectError::Exchange(ExchangeError::Refused { .. }))), "{refused:?}");
    check_missing(bed.call("ada", "planner").await, Missing::Connection);
    assert!(bed.counted("refused"));
}

#[tokio::test]
async fn another_agent_needs_the_persons_agreement_and_no_second_sign_in() {
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    check_missing(bed.call("ada", "other").await, Missing::Consent);
    let ticket = bed.connections.ask(&wanted("ada", "other"), Missing::Consent, Now::read());
    let bobs = bed.connections.agree(&ticket, &holder("bob"), &visit("bob"), Now::read()).await;
    assert!(matches!(bobs, Err(ConnectError::OtherPerson)), "{bobs:?}");
    check_missing(bed.call("ada", "other").await, Missing::Consent);
    bed.connections.agree(&ticket, &holder("ada"), &visit("ada"), Now::read()).await.expect("agreed");
    let tokens = (
        bed.call("ada", "planner").await.expect("a token"),
        bed.call("ada", "other").await.expect("a token"),
    );
    assert_eq!(tokens.0, tokens.1);
    let again = bed.connections.agree(&ticket, &holder("ada"), &visit("ada"), Now::read()).await;
    assert!(matches!(again, Err(ConnectError::TicketOver)), "{again:?}");
    assert_eq!(bed.asked(GrantKind::AuthorizationCode), 1);
    // Without a connection there is nothing to agree to.
    let bobs = bed.ask("bob", "other");
    let nothing = bed.connections.agree(&bobs, &holder("bob"), &visit("bob"), Now::read()).await;
    assert!(matches!(nothing, Err(ConnectError::NothingToAgreeTo)), "{nothing:?}");
}

#[tokio::test]
async fn a_person_sees_what_is_connected_and_takes_it_away() {
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    bed.call("ada", "planner").await.expect("a token");
    let summaries = bed.connections.of(&holder("ada")).await.expect("read");
    let [summary] = summaries.as_slice() else { panic!("{summaries:?}") };
    assert_eq!(summary.account.as_deref(), Some("ada.lindqvist@demo.test"));
    assert!(summary.is_usable);
    assert_eq!(summary.agents.iter().map(|consent| consent.agent.as_str()).collect::<Vec<_>>(), ["planner"]);
    assert!(summary.agents[0].last_used.is_some());
    assert_eq!(bed.connections.of(&holder("bob")).await.expect("read"), []);

    assert_eq!(bed.server.living_grants(), 1);
    let disconnected =
        bed.connections.disconnect(&holder("ada"), &ConnectorName::new("mail"), &visit("ada")).await;
    assert_eq!(disconnected.expect("done"), Disconnected { was_there: true, revoked: Some(true) });
    assert_eq!(bed.server.living_grants(), 0);
    check_missing(bed.call("ada", "planner").await, Missing::Connection);
    let again = bed.connections.disconnect(&holder("ada"), &ConnectorName::new("mail"), &visit("ada")).await;
    assert_eq!(again.expect("done"), Disconnected { was_there: false, revoked: None });
    assert!(bed.counted("disconnected") && bed.counted("revoked"));
}

#[tokio::test]
async fn a_service_that_does_not_take_tokens_back_keeps_nobody_from_disconnecting() {
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    bed.server.script(Endpoint::Revocation).always(Reply::status(500));
    let disconnected =
        bed.connections.disconnect(&holder("ada"), &ConnectorName::new("mail"), &visit("ada")).await;
    assert_eq!(disconnected.expect("done"), Disconnected { was_there: true, revoked: Some(false) });
    check_missing(bed.call("ada", "planner").await, Missing::Connection);
    assert!(bed.counted("revocation_failed"));
}

#[tokio::test]
async fn a_person_who_is_forgotten_has_no_connections_left() {
    let mut bed = Bed::start().await;
    for who in ["ada", "bob"] {
        bed.connect(who, "planner").await;
    }
    let open = bed.begin(&bed.ask("ada", "other"), "ada").await;
    let ada = Person {
        realm: Realm::Issuers([Issuer::new("https://issuer.example")].into()),
        subject: Subject::new("ada"),
    };
    let forgot = bed.connections.forget(&ada, RequestId::next()).await.expect("forgotten");
    assert_eq!(forgot, [ConnectorName::new("mail")]);
    check_missing(bed.call("ada", "planner").await, Missing::Connection);
    bed.call("bob", "planner").await.expect("a token");
    let answered = bed.sign_in(&open, "ada").await;
    assert!(matches!(bed.complete(&answered, "ada").await, Err(ConnectError::StateUnknown)));
    for _ in 0..100 {
        if bed.server.living_grants() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(bed.server.living_grants(), 1, "the service has been asked to take it back");
    bed.restart().await;
    check_missing(bed.call("ada", "planner").await, Missing::Connection);
    bed.call("bob", "planner").await.expect("a token");
}

#[tokio::test]
async fn other_settings_make_a_connection_unusable_until_the_person_connects_anew() {
    let mut bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    bed.reconfigure(&format!(" {MAIL_AUDIENCE}/User.Read"));
    check_missing(bed.call("ada", "planner").await, Missing::Settings);
    assert!(!bed.connections.of(&holder("ada")).await.expect("read")[0].is_usable);
    bed.connect("ada", "planner").await;
    bed.call("ada", "planner").await.expect("a token");
    bed.reconfigure("");
    check_missing(bed.call_at("ada", "planner", later()).await, Missing::Settings);
    assert_eq!(bed.asked(GrantKind::RefreshToken), 0, "no refresh token goes where it does not belong");
}

#[tokio::test]
async fn a_tool_that_needs_more_than_was_granted_is_not_called_with_less() {
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    let more =
        Wanted { scopes: Scopes::new([format!("{MAIL_AUDIENCE}/Mail.Send")]), ..wanted("ada", "planner") };
    let called = bed.connections.credential(&more, Now::read()).await.map(|_| String::new());
    check_missing(called, Missing::Scopes);
}

#[tokio::test]
async fn no_token_is_shown() {
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    let (grant, _) =
        bed.connections.credential(&wanted("ada", "planner"), Now::read()).await.expect("a grant");
    let token = grant.access_token().expose().to_owned();
    let shown = format!("{grant:?} {:?}", bed.connections.of(&holder("ada")).await.expect("read"));
    assert!(!shown.contains(&token) && shown.contains("[secret]"), "{shown}");
    let callback = Answered {
        connector: "mail".into(),
        state: "canary".into(),
        code: Some("canary".into()),
        error: None,
        iss: None,
    };
    assert!(!format!("{:?}", callback.callback()).contains("canary"));
}

#[tokio::test]
async fn a_client_with_a_key_gives_tokens_back_as_well() {
    // What happened: the assertion named the revocation endpoint, by which many servers do not know themselves.
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = DevelopmentCertificates::ensure(folder.path()).expect("certificates");
    let mut demo = Settings::default();
    demo.gateway.certificates.push(certificates.client.certificate.to_vec());
    let server = AuthorizationServer::start(demo).await.expect("it starts");
    let pem = |path: &Path| std::fs::read(path).expect("a file");
    let naming = KeyNaming { sha256_thumbprint: true, ..KeyNaming::default() };
    let (certificate, key) = (pem(&certificates.client.certificate_path), pem(&certificates.client.key_path));
    let key = AssertionKey::from_pem(Some(&certificate), &key, None, &naming).expect("a key");
    let mut client = settings(&server, "openid").client;
    client.client_auth = Some(ClientAuth::PrivateKeyJwt { key: Arc::new(key), audience: None });
    let client = CodeClient::new(client, None, &Arc::default()).expect("a client");
    let given_back = client.revoke(&SecretToken::new("a token"), TokenKind::Refresh, Now::read()).await;
    assert!(given_back.expect("taken"));
}
