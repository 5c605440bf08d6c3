//! What the tests of both ways to a token have in common.

use std::sync::Arc;
use std::time::Duration;

use super::{CACHE_BYTES_MAX, Credential, CredentialCache, Credentials, ObtainError};
use crate::audit::{AuditLog, AuditSettings, Exchanges, Privacy, Recorder, RequestId, Slot};
use crate::checked_url::{CheckedUrl, PlainHttp};
use crate::clock::Now;
use crate::demo::authorization_server::{self as demo, Endpoint, MAIL_AUDIENCE};
use crate::identity::{
    Actor, Audience, Caller, Issuer, RuleName, Scopes, SecretToken, Subject, Tenant, VerifiedClaims,
};
use crate::metrics::{CacheLookup, Metrics};
use crate::oauth::authorization_server::{AuthorizationServer, AuthorizationServers};
use crate::oauth::{
    ApplicationSettings, ClientAuth, ExchangeSettings, Grant, IssuerKind, IssuerSettings, Reuse,
    TargetParameter,
};
use crate::policy::{Circumstances, Permit, Policy, Rule, ToolPattern};
use crate::tool::{Arguments, IdentityMode, Target, Tool};

/// Credentials of the development authorization server, and what they come from.
pub struct Bed {
    pub demo: demo::AuthorizationServer,
    pub credentials: Credentials,
    pub cache: Arc<CredentialCache>,
    pub metrics: Arc<Metrics>,
    audit: AuditLog,
    folder: tempfile::TempDir,
}

impl Bed {
    /// With tokens kept for as much as `reuse` says.
    pub async fn start(reuse: Reuse) -> Self {
        let demo = demo::AuthorizationServer::start(demo::Settings::default()).await.expect("it starts");
        let gateway = &demo.settings().gateway;
        let tenant = Tenant::Named(demo.settings().tenant.as_str().into());
        let mut settings = IssuerSettings::of(IssuerKind::Entra { tenant });
        settings.issuer = Issuer::new(demo.issuer());
        let url = |text: String| Some(CheckedUrl::parse(&text, PlainHttp::LoopbackOnly).expect("a URL"));
        settings.endpoints.jwks_uri = url(demo.jwks_uri());
        settings.endpoints.token_endpoint = url(demo.token_endpoint());
        settings.exchange = Some(ExchangeSettings {
            grant: Grant::OnBehalfOf,
            client_id: gateway.client_id.as_str().into(),
            client_auth: ClientAuth::SecretPost(SecretToken::new(gateway.secret.as_str())),
            extra: Vec::new(),
            reuse,
            refuses_more_scopes: false,
            client_capabilities: Vec::new(),
        });
        settings.application = Some(ApplicationSettings {
            client_id: gateway.client_id.as_str().into(),
            client_auth: ClientAuth::SecretPost(SecretToken::new(gateway.secret.as_str())),
            target: TargetParameter::Scope,
            extra: Vec::new(),
            refuses_more_scopes: false,
        });
        let metrics = Arc::<Metrics>::default();
        let issuer = settings.issuer.clone();
        let server = AuthorizationServer::start(settings, None, Arc::clone(&metrics)).expect("it starts");
        let servers: AuthorizationServers = Arc::new([(issuer, Arc::new(server))].into_iter().collect());
        let cache = Arc::new(CredentialCache::new(CACHE_BYTES_MAX, Arc::clone(&metrics)));
        let folder = tempfile::tempdir().expect("a folder");
        let settings = AuditSettings::of(folder.path().join("audit.jsonl"));
        let audit = AuditLog::open(settings, Arc::clone(&metrics)).expect("a trail");
        let recorder = Recorder::new(audit.clone(), Privacy::of_this_run(), Exchanges::default());
        let credentials = Credentials::new(servers, Arc::clone(&cache), recorder, Arc::clone(&metrics));
        Self { demo, credentials, cache, metrics, audit, folder }
    }

    /// Ada's claims, as the gateway would have verified them.
    pub fn claims(&self) -> VerifiedClaims {
        let person = self.demo.person("ada");
        VerifiedClaims {
            issuer: Issuer::new(self.demo.issuer()),
            tenant: Tenant::Named(self.demo.settings().tenant.as_str().into()),
            actor: Some(Actor::new("planner")),
            scopes: Scopes::parse("access_as_user"),
            expires_at: 1,
            ..VerifiedClaims::of(&person.oid)
        }
    }

    /// A permit for a tool that reads somebody's mail as them.
    pub fn permit_for(&self, claims: VerifiedClaims, token: String) -> Permit {
        let tool = Tool {
            target: Target {
                audience: Some(Audience::new(MAIL_AUDIENCE)),
                scopes: Scopes::new([format!("{MAIL_AUDIENCE}/Mail.Read")]),
                ..Target::default()
            },
            ..Tool::of("mail", "list")
        };
        permitted(claims, token, tool)
    }

    /// A permit of `who` for a tool of `connector` that the application uses.
    pub fn application_permit(&self, who: &str, connector: &str) -> Permit {
        let subject = Subject::new(self.demo.person(who).oid.as_str());
        let claims = VerifiedClaims { subject, ..self.claims() };
        let tool = Tool {
            identity: IdentityMode::AppOnly,
            target: Target {
                audience: Some(Audience::new(MAIL_AUDIENCE)),
                scopes: Scopes::new([format!("{MAIL_AUDIENCE}/.default")]),
                ..Target::default()
            },
            ..Tool::of(connector, "announce")
        };
        permitted(claims, self.demo.subject_token(who).mint(), tool)
    }

    /// A permit of Ada's, with a token of its own.
    pub fn permit(&self) -> Permit {
        self.permit_for(self.claims(), self.demo.subject_token("ada").mint())
    }

    /// Where the credential for a permit came from.
    pub async fn obtain(&self, permit: &Permit, now: Now) -> Result<CacheLookup, ObtainError> {
        self.credential(permit, now).await.map(|credential| credential.lookup())
    }

    /// The credential for a permit.
    pub async fn credential(&self, permit: &Permit, now: Now) -> Result<Credential, ObtainError> {
        self.credentials.obtain(permit, RequestId::next(), now).await
    }

    /// Takes every place there is for a record, until what this gives back is dropped.
    pub fn full_trail(&self) -> Vec<Slot> {
        std::iter::from_fn(|| self.audit.reserve().ok()).collect()
    }

    /// The records of all exchanges, in their order.
    pub async fn records(&self) -> Vec<serde_json::Value> {
        self.audit.flush().await;
        let trail = std::fs::read_to_string(self.folder.path().join("audit.jsonl")).expect("a trail");
        let lines = trail.lines().map(|line| serde_json::from_str(line).expect("a JSON line"));
        // What the trail says of itself is no exchange.
        lines.filter(|record: &serde_json::Value| record["class_uid"] == 3002).collect()
    }

    /// How often the token endpoint was asked.
    pub fn exchanges(&self) -> usize {
        self.demo.fetches(Endpoint::Token)
    }

    /// Waits until it is so.
    pub async fn until(&self, done: impl Fn(&Self) -> bool) {
        for _ in 0..1_000 {
            if done(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not within ten seconds");
    }

    /// Whether there was one renewal with this result.
    pub fn refreshes(&self, result: &str) -> bool {
        let text = String::from_utf8(self.metrics.render().expect("metrics")).expect("text");
        text.contains(&format!("obo_gateway_credential_cache_refreshes_total{{result=\"{result}\"}} 1"))
    }
}

/// What policy says of a rule that allows everything.
fn permitted(claims: VerifiedClaims, token: String, tool: Tool) -> Permit {
    let tools = vec!["*/*".parse::<ToolPattern>().expect("a pattern")];
    let rule = Rule { tools, ..Rule::named(RuleName::new("all")) };
    let caller = Arc::new(Caller::verified(claims, SecretToken::new(token)));
    let arguments = Arguments::new();
    let circumstances =
        Circumstances { arguments: &arguments, client: [127, 0, 0, 1].into(), now: Now::read() };
    Policy::new(vec![rule]).decide(caller, Arc::new(tool), circumstances).expect("a permit")
}

/// Late enough for a renewal, and early enough for the old token.
pub fn late(now: Now) -> Now {
    now.after(Duration::from_secs(3_100))
}
