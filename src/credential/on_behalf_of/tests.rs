//! Against the development authorization server, at times that the tests choose.

use std::collections::HashMap;

use serde_json::json;

use super::*;
use crate::checked_url::{CheckedUrl, PlainHttp};
use crate::demo::authorization_server::{self as demo, Endpoint, Fault, MAIL_AUDIENCE};
use crate::demo::script::Reply;
use crate::identity::{
    Actor, Audience, Authentication, Issuer, Person, Realm, RuleName, Scopes, SecretToken, Subject, Tenant,
    VerifiedClaims,
};
use crate::oauth::{ClientAuth, ExchangeSettings, Grant, IssuerKind, IssuerSettings, Reuse};
use crate::policy::{Circumstances, Policy, Rule, ToolPattern};
use crate::tool::{Arguments, Tool};

struct Bed {
    demo: demo::AuthorizationServer,
    on_behalf_of: OnBehalfOf,
    cache: Arc<CredentialCache>,
    metrics: Arc<Metrics>,
}

impl Bed {
    async fn start(reuse: Reuse) -> Self {
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
        let metrics = Arc::<Metrics>::default();
        let issuer = settings.issuer.clone();
        let server = AuthorizationServer::start(settings, None, Arc::clone(&metrics)).expect("it starts");
        let servers: AuthorizationServers = Arc::new(HashMap::from([(issuer, Arc::new(server))]));
        let cache = Arc::new(CredentialCache::new(Arc::clone(&metrics)));
        let on_behalf_of = OnBehalfOf::new(servers, Arc::clone(&cache), Arc::clone(&metrics));
        Self { demo, on_behalf_of, cache, metrics }
    }

    /// Ada's claims, as the gateway would have verified them.
    fn claims(&self) -> VerifiedClaims {
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

    fn permit_for(&self, claims: VerifiedClaims, token: String) -> Permit {
        let tool = Tool {
            target: Target {
                audience: Some(Audience::new(MAIL_AUDIENCE)),
                scopes: Scopes::new([format!("{MAIL_AUDIENCE}/Mail.Read")]),
                ..Target::default()
            },
            ..Tool::of("mail", "list")
        };
        let tools = vec!["mail/*".parse::<ToolPattern>().expect("a pattern")];
        let rule = Rule { tools, ..Rule::named(RuleName::new("all")) };
        let caller = Arc::new(Caller::verified(claims, SecretToken::new(token)));
        let arguments = Arguments::new();
        let circumstances =
            Circumstances { arguments: &arguments, client: [127, 0, 0, 1].into(), now: Now::read() };
        Policy::new(vec![rule]).decide(caller, Arc::new(tool), circumstances).expect("a permit")
    }

    fn permit(&self) -> Permit {
        self.permit_for(self.claims(), self.demo.subject_token("ada").mint())
    }

    async fn obtain(&self, permit: &Permit, now: Now) -> Result<CacheLookup, ObtainError> {
        self.on_behalf_of.obtain(permit, now).await.map(|credential| credential.lookup())
    }

    fn exchanges(&self) -> usize {
        self.demo.fetches(Endpoint::Token)
    }

    async fn until(&self, done: impl Fn(&Self) -> bool) {
        for _ in 0..1_000 {
            if done(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not within ten seconds");
    }

    fn refreshes(&self, result: &str) -> bool {
        let text = String::from_utf8(self.metrics.render().expect("metrics")).expect("text");
        text.contains(&format!("obo_gateway_credential_cache_refreshes_total{{result=\"{result}\"}} 1"))
    }
}

/// Late enough for a renewal, and early enough for the old token.
fn late(now: Now) -> Now {
    now.after(Duration::from_secs(3_100))
}

#[tokio::test]
async fn a_token_in_use_is_renewed_in_the_background_with_the_newest_subject_token() {
    let bed = Bed::start(Reuse::Identity).await;
    let now = Now::read();
    assert_eq!(bed.obtain(&bed.permit(), now).await.expect("a token"), CacheLookup::Miss);
    let newest = VerifiedClaims { expires_at: 9, ..bed.claims() };
    let token = bed.demo.subject_token("ada").mint();
    bed.obtain(&bed.permit_for(newest, token.clone()), now).await.expect("a token");
    assert_eq!(bed.exchanges(), 1);
    assert_eq!(bed.obtain(&bed.permit(), late(now)).await.expect("a token"), CacheLookup::Hit);
    bed.until(|bed| bed.refreshes("renewed")).await;
    assert_eq!(bed.exchanges(), 2);
    assert_eq!(bed.demo.exchanges()[1].parameter("assertion"), Some(token.as_str()));
}

#[tokio::test]
async fn while_the_server_is_down_the_old_token_serves() {
    let bed = Bed::start(Reuse::Identity).await;
    let (permit, now) = (bed.permit(), Now::read());
    bed.obtain(&permit, now).await.expect("a token");
    bed.demo.script(Endpoint::Token).always(Reply::status(503));
    assert_eq!(bed.obtain(&permit, late(now)).await.expect("a token"), CacheLookup::Hit);
    bed.until(|bed| bed.refreshes("failed")).await;
    assert_eq!(bed.obtain(&permit, late(now)).await.expect("a token"), CacheLookup::Hit);
}

#[tokio::test]
async fn what_the_server_withdraws_serves_no_more() {
    let bed = Bed::start(Reuse::Identity).await;
    let (permit, now) = (bed.permit(), Now::read());
    bed.obtain(&permit, now).await.expect("a token");
    bed.demo.refuse_exchanges("ada", Fault::blocked());
    assert_eq!(bed.obtain(&permit, late(now)).await.expect("a token"), CacheLookup::Hit);
    bed.until(|bed| bed.refreshes("withdrawn")).await;
    bed.obtain(&permit, late(now)).await.expect_err("no token any more");
}

#[tokio::test]
async fn a_persons_own_matter_is_not_asked_again_at_once_except_with_another_token() {
    let bed = Bed::start(Reuse::Identity).await;
    let (permit, now) = (bed.permit(), Now::read());
    bed.demo.refuse_exchanges("ada", Fault::blocked());
    for _ in 0..5 {
        bed.obtain(&permit, now).await.expect_err("blocked");
    }
    assert_eq!(bed.exchanges(), 1);
    bed.obtain(&bed.permit(), now).await.expect_err("blocked");
    assert_eq!(bed.exchanges(), 2, "another token may do better");
    bed.obtain(&permit, now.after(Duration::from_secs(3))).await.expect_err("blocked");
    assert_eq!(bed.exchanges(), 3);
}

#[tokio::test]
async fn what_may_pass_is_asked_again_at_once() {
    let bed = Bed::start(Reuse::Identity).await;
    let (permit, now) = (bed.permit(), Now::read());
    bed.demo.script(Endpoint::Token).once(Reply::json(200, &json!([])));
    bed.obtain(&permit, now).await.expect_err("of no use");
    bed.obtain(&permit, now).await.expect("a token");
}

#[tokio::test]
async fn whoever_waits_with_a_better_token_gets_an_exchange_of_their_own() {
    let bed = Bed::start(Reuse::Identity).await;
    let now = Now::read();
    let stale = bed.permit_for(bed.claims(), bed.demo.subject_token("ada").expired().mint());
    let fresh = bed.permit();
    let (refused, served) = tokio::join!(bed.obtain(&stale, now), bed.obtain(&fresh, now));
    refused.expect_err("its token has expired");
    assert_eq!(served.expect("a token"), CacheLookup::Miss);
    assert_eq!(bed.exchanges(), 2);
}

#[tokio::test]
async fn a_token_is_kept_for_as_much_as_the_site_says() {
    for (reuse, same_session, other_session, same_token) in [
        (Reuse::Identity, CacheLookup::Hit, CacheLookup::Hit, CacheLookup::Hit),
        (Reuse::Session, CacheLookup::Hit, CacheLookup::Miss, CacheLookup::Hit),
        (Reuse::Token, CacheLookup::Miss, CacheLookup::Miss, CacheLookup::Hit),
    ] {
        let bed = Bed::start(reuse).await;
        let now = Now::read();
        let session = |session: &str| VerifiedClaims { session: Some(session.into()), ..bed.claims() };
        let mint = || bed.demo.subject_token("ada").mint();
        let first = bed.permit_for(session("s-1"), mint());
        assert_eq!(bed.obtain(&first, now).await.expect("a token"), CacheLookup::Miss);
        let again = async |permit: Permit| bed.obtain(&permit, now).await.expect("a token");
        assert_eq!(again(first).await, same_token, "{reuse:?}");
        assert_eq!(again(bed.permit_for(session("s-1"), mint())).await, same_session, "{reuse:?}");
        assert_eq!(again(bed.permit_for(session("s-2"), mint())).await, other_session, "{reuse:?}");
    }
    let bed = Bed::start(Reuse::Session).await;
    let now = Now::read();
    assert_eq!(bed.obtain(&bed.permit(), now).await.expect("a token"), CacheLookup::Uncacheable, "no `sid`");
}

#[tokio::test]
async fn a_weaker_sign_in_is_not_served_what_a_stronger_one_was_given() {
    let bed = Bed::start(Reuse::Identity).await;
    let now = Now::read();
    let signed_in = |acr: &str, amr: &[&str]| {
        let amr = amr.iter().map(|method| Arc::from(*method)).collect();
        let authentication = Arc::new(Authentication { acr: Some(acr.into()), acrs: Vec::new(), amr });
        bed.permit_for(
            VerifiedClaims { authentication, ..bed.claims() },
            bed.demo.subject_token("ada").mint(),
        )
    };
    bed.obtain(&signed_in("1", &["mfa", "pwd"]), now).await.expect("a token");
    for weaker in [signed_in("0", &["mfa", "pwd"]), signed_in("1", &["pwd"])] {
        assert_eq!(bed.obtain(&weaker, now).await.expect("a token"), CacheLookup::Miss);
    }
    assert_eq!(bed.obtain(&signed_in("1", &["mfa", "pwd"]), now).await.expect("a token"), CacheLookup::Hit);
}

#[tokio::test]
async fn who_is_forgotten_during_an_exchange_is_asked_for_anew() {
    let bed = Bed::start(Reuse::Identity).await;
    let (permit, now) = (bed.permit(), Now::read());
    bed.demo.script(Endpoint::Token).once(Reply::normal().after(Duration::from_millis(300)));
    let forget = async {
        bed.until(|bed| bed.exchanges() == 1).await;
        let realm = Realm::Issuers([Issuer::new(bed.demo.issuer())].into());
        let subject = Subject::new(bed.demo.person("ada").oid.as_str());
        assert_eq!(bed.cache.forget(&Person { realm, subject }, Now::read()), 0);
    };
    let (obtained, ()) = tokio::join!(bed.obtain(&permit, now), forget);
    obtained.expect("a token, of an exchange that began afterwards");
    assert_eq!(bed.exchanges(), 2);
}
