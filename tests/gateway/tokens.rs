//! Tokens that must not get anywhere: each is refused with its own code, nothing is exchanged, nothing forwarded.

use std::time::Duration;

use obo_gateway::demo::authorization_server::{AuthorizationServer, Endpoint, Settings, TokenBuilder};
use obo_gateway::demo::script::Reply;
use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};

use crate::bed::{Setup, TestBed, assert_refused, refusal};

/// Sends a token that is good but for one change, and expects this refusal.
async fn check(bed: &TestBed, change: impl FnOnce(TokenBuilder) -> TokenBuilder, status: u16, code: &str) {
    check_text(bed, &change(bed.authorization_server.subject_token("ada")).mint(), status, code).await;
}

async fn check_text(bed: &TestBed, token: &str, status: u16, code: &str) {
    let refused = refusal(bed.get("/mail/me/messages", token).await).await;
    assert_refused(&refused, status, code);
    assert!(token.len() < 40 || !refused.2.to_string().contains(token), "the answer holds the token");
    assert_eq!(bed.exchanges(), 0, "something was exchanged for {code}");
    assert!(bed.connector.requests().is_empty(), "something was forwarded for {code}");
}

#[tokio::test]
async fn a_forged_or_foreign_signature_is_refused() {
    let bed = TestBed::start().await;
    check(&bed, TokenBuilder::signed_by_a_stranger, 401, "signature_invalid").await;
    check(&bed, TokenBuilder::signed_with_the_public_key, 401, "token_algorithm_refused").await;
    check(&bed, TokenBuilder::unsigned, 401, "token_algorithm_refused").await;
    for alg in ["none", "nOnE", "HS256", "RS257"] {
        check(&bed, |token| token.header("alg", alg), 401, "token_algorithm_refused").await;
    }
    check(&bed, |token| token.header("alg", "PS256"), 401, "signature_invalid").await;
    check(&bed, |token| token.header("alg", "ES256"), 401, "signature_invalid").await;
    let (head, signature) = {
        let token = bed.token("ada");
        let (head, signature) = token.rsplit_once('.').expect("a signature");
        (head.to_owned(), signature.to_owned())
    };
    let flipped = signature.replacen(|c: char| c != 'A', "A", 1);
    check_text(&bed, &format!("{head}.{flipped}"), 401, "signature_invalid").await;
}

#[tokio::test]
async fn a_token_that_brings_its_own_key_or_rules_is_refused() {
    let bed = TestBed::start().await;
    let fetched = bed.authorization_server.fetches(Endpoint::Jwks);
    let elsewhere = bed.authorization_server.jwks_uri();
    for (name, value) in [
        ("jwk", json!({"kty": "RSA"})),
        ("jku", json!(elsewhere)),
        ("x5u", json!(elsewhere)),
        ("x5c", json!(["AAAA"])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
    ] {
        check(&bed, |token| token.header(name, value), 401, "token_header_refused").await;
    }
    assert_eq!(bed.authorization_server.fetches(Endpoint::Jwks), fetched);
}

#[tokio::test]
async fn a_token_from_elsewhere_or_for_somebody_else_is_refused() {
    let bed = TestBed::start().await;
    let issuer = bed.authorization_server.issuer();
    check(&bed, |token| token.claim("iss", format!("{issuer}/")), 401, "issuer_unknown").await;
    check(&bed, |token| token.claim("iss", "https://evil.example"), 401, "issuer_unknown").await;
    for bad in [json!(null), json!(7), json!([issuer]), json!({})] {
        check(&bed, |token| token.claim("iss", bad), 401, "claim_invalid").await;
    }
    check(&bed, |token| token.without("iss"), 401, "claim_missing").await;
    check(&bed, |token| token.audience("https://graph.demo.test"), 401, "audience_mismatch").await;
    check(&bed, |token| token.audience("api://obo-gateway/"), 401, "audience_mismatch").await;
    for bad in [json!({}), json!(""), json!(null), json!([7])] {
        check(&bed, |token| token.claim("aud", bad), 401, "claim_invalid").await;
    }
    check(&bed, |token| token.claim("aud", json!([])), 401, "claim_missing").await;
    check(&bed, |token| token.without("aud"), 401, "claim_missing").await;
    check(&bed, |token| token.claim("tid", "another"), 401, "tenant_not_allowed").await;
    check(&bed, |token| token.claim("tid", "{tenantid}"), 401, "tenant_not_allowed").await;
}

#[tokio::test]
async fn a_token_out_of_its_time_is_refused() {
    let bed = TestBed::start().await;
    check(&bed, TokenBuilder::expired, 401, "token_expired").await;
    check(&bed, TokenBuilder::not_yet_valid, 401, "token_not_yet_valid").await;
    for bad in [json!("2000000000"), json!(-1), json!(null), json!([1]), json!(true)] {
        check(&bed, |token| token.claim("exp", bad.clone()), 401, "claim_invalid").await;
        check(&bed, |token| token.claim("nbf", bad), 401, "claim_invalid").await;
    }
    check(&bed, |token| token.without("exp"), 401, "claim_missing").await;
    check(&bed, |token| token.claim("nbf", u64::MAX), 401, "token_not_yet_valid").await;
    let endless = bed.authorization_server.subject_token("ada").claim("exp", u64::MAX).mint();
    let reply = bed.get("/mail/me/messages", &endless).await;
    assert_ne!(reply.status(), 500, "a lifetime without end is no panic");
}

#[tokio::test]
async fn only_a_persons_access_token_will_do() {
    let bed = TestBed::start().await;
    check_text(&bed, &bed.authorization_server.id_token("ada"), 401, "id_token_refused").await;
    check(&bed, TokenBuilder::app_only, 403, "person_required").await;
    check(&bed, |token| token.header("typ", "dpop+jwt"), 401, "not_an_access_token").await;
    check(&bed, |token| token.claim("cnf", json!({"kid": "x"})), 401, "token_bound").await;
    check(&bed, |token| token.claim("cnf", json!({"jkt": "x"})), 401, "claim_invalid").await;
}

#[tokio::test]
async fn a_member_given_twice_is_refused() {
    let bed = TestBed::start().await;
    for name in ["iss", "aud", "exp", "tid", "oid", "sub", "scp", "azp", "anything"] {
        let token = bed.authorization_server.subject_token("ada");
        let claims = token.claims_text();
        let twice =
            format!("{{\"{name}\":\"x\",\"{name}\":\"y\",{}", claims.strip_prefix('{').expect("an object"));
        check(&bed, |token| token.raw_claims(twice), 401, "token_member_repeated").await;
    }
    let twice = r#"{"alg":"RS256","alg":"RS256"}"#;
    check(&bed, |token| token.raw_header(twice), 401, "token_member_repeated").await;
}

#[tokio::test]
async fn garbage_of_any_shape_and_size_is_refused() {
    let bed = TestBed::start().await;
    for (text, code) in [
        ("a", "token_malformed"),
        ("a.b", "token_malformed"),
        ("a.b.c.d", "token_malformed"),
        ("a.b.c.d.e", "token_encrypted"),
        ("...", "token_malformed"),
        ("eyJ.eyJ.", "token_algorithm_refused"),
    ] {
        check_text(&bed, text, 401, code).await;
    }
    check(&bed, |token| token.raw_claims("[]"), 401, "token_malformed").await;
    check(&bed, |token| token.raw_claims("[".repeat(5_000)), 401, "token_malformed").await;
    check_text(&bed, &"a".repeat(16_385), 401, "token_too_large").await;
    check_text(&bed, &"a".repeat(40_000), 401, "token_too_large").await;
    // Beyond what a head may hold, hyper answers by itself.
    let reply = bed.get("/mail/me/messages", &"a".repeat(200_000)).await;
    assert_eq!(reply.status(), 431);
}

#[tokio::test]
async fn one_authorization_header_with_one_bearer_token() {
    let bed = TestBed::start().await;
    let token = bed.token("ada");
    let send = async |values: &[&str], path: &str| {
        let request = values
            .iter()
            .fold(bed.request(Method::GET, path), |request, value| request.header(AUTHORIZATION, *value));
        request.send().await.expect("an answer")
    };
    let none = send(&[], "/mail/me/messages").await;
    assert_eq!(none.headers()["www-authenticate"], r#"Bearer realm="obo-gateway""#);
    assert_refused(&refusal(none).await, 401, "no_credentials");
    let bearer = format!("Bearer {token}");
    let twice = send(&[&bearer, &bearer], "/mail/me/messages").await;
    assert_refused(&refusal(twice).await, 400, "authorization_malformed");
    let listed = send(&[&format!("{bearer}, {bearer}")], "/mail/me/messages").await;
    assert_refused(&refusal(listed).await, 400, "authorization_malformed");
    let basic = send(&["Basic YTpi"], "/mail/me/messages").await;
    assert_refused(&refusal(basic).await, 401, "no_credentials");
    let query = send(&[], &format!("/mail/me/messages?access_token={token}")).await;
    assert_refused(&refusal(query).await, 400, "token_misplaced");
    let cookie = bed.request(Method::GET, "/mail/me/messages").header("cookie", format!("token={token}"));
    assert_refused(&refusal(cookie.send().await.expect("an answer")).await, 401, "no_credentials");
    assert!(bed.connector.requests().is_empty());
    let trail = std::fs::read_to_string(bed.audit_path()).expect("a trail");
    assert!(!trail.contains(&token), "a token in the query is in the trail");
}

#[tokio::test]
async fn issuer_agents_and_scopes_are_heeded() {
    let bed = Setup::default()
        .config(|parts| {
            let issuer = parts.issuer().replace(
                "    exchange:",
                "    agents: [planner]\n    required_scopes: [access_as_user]\n    exchange:",
            );
            let tools = crate::bed::TOOLS
                .replace("scopes: [Mail.Read] }", "scopes: [Mail.Read], required_scopes: [mail, more] }");
            parts.whole(&issuer, &parts.mail(&tools))
        })
        .start()
        .await;
    check(&bed, |token| token.agent("other"), 403, "agent_not_allowed").await;
    check(&bed, |token| token.agent("planner").scopes("access_as_users"), 403, "scope_missing").await;
    let token =
        bed.authorization_server.subject_token("ada").agent("planner").scopes("access_as_user mail").mint();
    let reply = bed.get("/mail/me/messages", &token).await;
    let challenge = reply.headers()["www-authenticate"].to_str().expect("text").to_owned();
    assert!(challenge.contains(r#"error="insufficient_scope""#), "{challenge}");
    assert!(challenge.contains(r#"scope="mail more""#), "{challenge}");
    let refused = refusal(reply).await;
    assert_refused(&refused, 403, "scope_missing");
    assert_eq!(refused.2["required_scopes"], json!(["mail", "more"]));
    let all = bed
        .authorization_server
        .subject_token("ada")
        .agent("planner")
        .scopes("access_as_user mail more")
        .mint();
    assert_eq!(bed.get("/mail/me/messages", &all).await.status(), 200);
}

#[tokio::test]
async fn issuer_a_cannot_sign_for_issuer_b_under_the_same_key_id() {
    let other = AuthorizationServer::start(Settings { own_rsa_key: true, ..Settings::default() })
        .await
        .expect("another");
    let (issuer, tenant) = (other.issuer(), other.settings().tenant.clone());
    let bed = Setup::default()
        .server(|settings| settings.own_rsa_key = true)
        .config(move |parts| {
            let second = parts
                .issuer()
                .replace("  contoso:", "  fabrikam:")
                .replace(&parts.authorization_server.issuer(), &issuer);
            assert!(second.contains(&tenant));
            let mail = parts.mail(&format!("    issuers: [contoso, fabrikam]\n{}", crate::bed::TOOLS));
            parts.whole(&format!("{}{second}", parts.issuer()), &mail)
        })
        .start()
        .await;
    assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200);
    // The other server's key, presented under the first one's `iss` and key id.
    let key_id = {
        let token = bed.token("ada");
        let header = token.split('.').next().expect("a header");
        use base64::Engine as _;
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).expect("base64url");
        let header: Value = serde_json::from_slice(&header).expect("a header");
        header["kid"].clone()
    };
    let forged = other
        .subject_token("ada")
        .claim("iss", bed.authorization_server.issuer())
        .header("kid", key_id)
        .mint();
    let refused = refusal(bed.get("/mail/me/messages", &forged).await).await;
    assert_refused(&refused, 401, "signature_invalid");
}

#[tokio::test]
async fn a_connector_takes_only_its_own_issuers_people() {
    let other = AuthorizationServer::start(Settings::default()).await.expect("another");
    let issuer = other.issuer();
    let bed = Setup::default()
        .config(move |parts| {
            let second = parts
                .issuer()
                .replace("  contoso:", "  fabrikam:")
                .replace(&parts.authorization_server.issuer(), &issuer);
            let mail = parts.mail(&format!("    issuer: contoso\n{}", crate::bed::TOOLS));
            parts.whole(&format!("{}{second}", parts.issuer()), &mail)
        })
        .start()
        .await;
    check_text(&bed, &other.subject_token("ada").mint(), 403, "issuer_not_accepted").await;
}

#[tokio::test]
async fn a_new_key_is_found_at_once_and_a_withdrawn_one_is_gone() {
    let bed = TestBed::start().await;
    let old = bed.token("ada");
    assert_eq!(bed.get("/mail/me/messages", &old).await.status(), 200);
    bed.authorization_server.rotate_keys(false);
    let fresh = bed.token("ada");
    assert_eq!(bed.get("/mail/me/messages", &fresh).await.status(), 200);
    // The old token was remembered; its key is not listed any more.
    check_code(&bed, &old, "signing_key_unknown").await;
}

async fn check_code(bed: &TestBed, token: &str, code: &str) {
    assert_refused(&refusal(bed.get("/mail/me/messages", token).await).await, 401, code);
}

#[tokio::test]
async fn a_flood_of_invented_key_ids_costs_the_issuer_one_fetch() {
    let bed = TestBed::start().await;
    let before = bed.authorization_server.fetches(Endpoint::Jwks);
    for number in 0..50 {
        let token =
            bed.authorization_server.subject_token("ada").header("kid", format!("invented-{number}")).mint();
        check_code(&bed, &token, "signing_key_unknown").await;
    }
    for hostile in ["../../etc/passwd", "' OR 1=1 --", "{\"a\":\"\\n\"}", "\n{\"forged\":true}"] {
        let token = bed.authorization_server.subject_token("ada").header("kid", hostile).mint();
        check_code(&bed, &token, "signing_key_unknown").await;
    }
    assert_eq!(bed.authorization_server.fetches(Endpoint::Jwks) - before, 1);
    assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200);
}

#[tokio::test]
async fn a_failed_refresh_keeps_the_keys() {
    let bed = TestBed::start().await;
    // The connector has fetched its keys as well before they are withheld.
    assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200);
    let script = bed.authorization_server.script(Endpoint::Jwks);
    for reply in
        [Reply::status(500), Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>"), Reply::reset()]
    {
        script.clear().always(reply);
        let unknown = bed.authorization_server.subject_token("ada").header("kid", "unknown").mint();
        check_code(&bed, &unknown, "signing_key_unknown").await;
        assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200);
    }
}

#[tokio::test]
async fn an_issuer_that_is_down_at_the_start_is_refused_and_heals() {
    let bed = Setup::default().issuer_is_down().start().await;
    let reply = bed.get("/mail/me/messages", &bed.token("ada")).await;
    assert_eq!(reply.headers()["retry-after"], "5");
    assert_refused(&refusal(reply).await, 503, "issuer_not_ready");
    assert_eq!(bed.admin("/readyz").await.0, 503);
    bed.authorization_server.listen_again().await.expect("listening");
    let mut status = 0;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        status = bed.get("/mail/me/messages", &bed.token("ada")).await.status().as_u16();
        if status == 200 {
            break;
        }
    }
    assert_eq!(status, 200, "healed within five seconds");
    assert_eq!(bed.admin("/readyz").await.0, 200);
}

#[tokio::test]
async fn a_remembered_token_is_forgotten_by_either_clock() {
    use obo_gateway::clock::Now;
    use obo_gateway::gateway::MemoryBounds;
    use obo_gateway::oauth::authorization_server::AuthorizationServer as Known;
    use obo_gateway::oauth::claims::ClaimsError;
    use obo_gateway::oauth::possession::Presented;
    use obo_gateway::oauth::verifier::{Verifier, VerifyError};
    let bed = TestBed::start().await;
    let loaded = obo_gateway::config::load(&bed.config_path(), &|_| None).expect("a configuration");
    let settings = loaded.config.issuers.into_iter().next().expect("an issuer");
    let issuer = settings.issuer.clone();
    let server = std::sync::Arc::new(Known::start(settings, None, Default::default()).expect("a server"));
    server.key_set().refresh().await.expect("keys");
    let servers = std::sync::Arc::new([(issuer, server)].into_iter().collect());
    let verifier = Verifier::new(servers, None, MemoryBounds::DEFAULT.verified_bytes_max);
    let token = bed.authorization_server.subject_token("ada").expires_in(Duration::from_secs(600)).mint();
    let (token, now) = (Presented::bearer(&token), Now::read());
    verifier.verify(&token, now).await.expect("a good token");
    verifier.verify(&token, now.after(Duration::from_secs(500))).await.expect("remembered");
    let expired = VerifyError::Claims(ClaimsError::Expired);
    let later = now.after(Duration::from_secs(700));
    let wall_alone = Now { wall: later.wall, ..now };
    assert_eq!(verifier.verify(&token, wall_alone).await.expect_err("expired"), expired);
    verifier.verify(&token, now).await.expect("a good token");
    // Only the monotonic clock has moved: somebody set the wall clock back. What is forgotten is checked anew, and has expired by what
    // has passed since the process began.
    let monotonic_alone = Now { monotonic: later.monotonic, ..now };
    assert_eq!(verifier.verify(&token, monotonic_alone).await.expect_err("expired"), expired);
    let an_hour_back = Now { wall: later.wall - Duration::from_secs(3_600), ..later };
    assert_eq!(verifier.verify(&token, an_hour_back).await.expect_err("expired"), expired);
    let before_1970 = Now { wall: Duration::ZERO, ..later };
    assert_eq!(verifier.verify(&token, before_1970).await.expect_err("expired"), expired);
    let an_hour_forward = Now { wall: now.wall + Duration::from_secs(3_600), ..now };
    assert_eq!(verifier.verify(&token, an_hour_forward).await.expect_err("expired"), expired);
    verifier.verify(&token, now).await.expect("good again, as if nothing had been");
    assert_eq!(verifier.verify(&token, later).await.expect_err("expired"), expired);
    // One that comes when the wall clock is behind is remembered no longer for it.
    let bobs = bed.authorization_server.subject_token("bob").expires_in(Duration::from_secs(600)).mint();
    let (bobs, behind) = (Presented::bearer(&bobs), |seconds| {
        let at = now.after(Duration::from_secs(seconds));
        Now { wall: at.wall - Duration::from_secs(50), ..at }
    });
    verifier.verify(&bobs, behind(0)).await.expect("a good token");
    verifier.verify(&bobs, behind(600)).await.expect("remembered");
    assert_eq!(verifier.verify(&bobs, behind(690)).await.expect_err("expired"), expired);
}

#[tokio::test]
async fn metadata_cannot_send_the_gateway_to_private_addresses() {
    for host in ["127.0.0.2", "localhost", "10.0.0.1"] {
        let bed = Setup::default()
            .config(|parts| {
                let issuer = parts.issuer().replace("kind: entra", "kind: oidc");
                let tenant = format!("    tenant: {}\n", parts.authorization_server.settings().tenant);
                parts.whole(&issuer.replace(&tenant, ""), &parts.mail(crate::bed::TOOLS))
            })
            .issuer_is_down()
            .start()
            .await;
        let issuer = bed.authorization_server.issuer();
        let port = bed.authorization_server.address().port();
        let metadata = json!({"issuer": issuer, "jwks_uri": format!("https://{host}:{port}/keys")});
        bed.authorization_server.script(Endpoint::Discovery).always(Reply::json(200, &metadata));
        bed.authorization_server.listen_again().await.expect("listening");
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert!(bed.authorization_server.fetches(Endpoint::Discovery) > 0);
        assert_eq!(bed.authorization_server.fetches(Endpoint::Jwks), 0);
        assert_refused(
            &refusal(bed.get("/mail/me/messages", &bed.token("ada")).await).await,
            503,
            "issuer_not_ready",
        );
    }
}

#[tokio::test]
async fn keys_of_another_place_are_not_taken_over_by_a_reload() {
    let bed = Setup::default()
        .config(|parts| {
            let jwks = format!("    jwks_uri: {}\n    exchange:", parts.authorization_server.jwks_uri());
            parts.whole(&parts.issuer().replace("    exchange:", &jwks), &parts.mail(crate::bed::TOOLS))
        })
        .start()
        .await;
    let token = bed.token("ada");
    assert_eq!(bed.get("/mail/me/messages", &token).await.status(), 200);
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    let moved = text.replace(&bed.authorization_server.jwks_uri(), "http://127.0.0.1:1/keys");
    std::fs::write(bed.config_path(), moved).expect("written");
    bed.gateway.reload().await.expect("a good configuration");
    assert_refused(&refusal(bed.get("/mail/me/messages", &token).await).await, 503, "issuer_not_ready");
}

/// A gateway that takes opaque tokens, between the same counterparts.
async fn introspecting() -> TestBed {
    Setup::default()
        .config(|parts| {
            let tenant = format!("    tenant: {}\n", parts.authorization_server.settings().tenant);
            let issuer = parts
                .issuer()
                .replace("kind: entra", "kind: oidc\n    introspect: true\n    claims: { subject: oid }")
                .replace(&tenant, "")
                .replace("grant: on_behalf_of", "grant: token_exchange");
            parts.whole(&issuer, &parts.mail("    scopes: [Mail.Read]\n"))
        })
        .start()
        .await
}

#[tokio::test]
async fn an_opaque_token_is_what_its_issuer_says() {
    let bed = introspecting().await;
    let server = &bed.authorization_server;
    let [ada, bob] = ["ada", "bob"].map(|who| server.opaque_token(&bed.token(who)));
    for token in [&ada, &bob, &ada] {
        let reply = bed.get("/mail/me/messages", token).await;
        assert_eq!(reply.status(), 200, "{:?}", reply.text().await);
    }
    assert_eq!((server.fetches(Endpoint::Introspection), bed.exchanges()), (2, 2));
    let callers: Vec<_> = bed
        .connector
        .requests()
        .iter()
        .map(|request| request.caller.clone().expect("a caller").person)
        .collect();
    let [ada_oid, bob_oid] = ["ada", "bob"].map(|who| server.person(who).oid.clone());
    assert_eq!(callers, [ada_oid.clone(), bob_oid, ada_oid].map(Some));
    // A signed token needs no question.
    assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200);
    assert_eq!(server.fetches(Endpoint::Introspection), 2);
}

#[tokio::test]
async fn an_opaque_token_that_is_not_active_is_refused_and_not_asked_about_again_at_once() {
    let bed = introspecting().await;
    let server = &bed.authorization_server;
    let revoked = server.opaque_token(&bed.token("ada"));
    server.revoke(&revoked);
    for _ in 0..3 {
        assert_refused(&refusal(bed.get("/mail/me", &revoked).await).await, 401, "token_inactive");
    }
    assert_eq!(server.fetches(Endpoint::Introspection), 1);
    let checked = |change: &dyn Fn(TokenBuilder) -> TokenBuilder| {
        server.opaque_token(&change(server.subject_token("ada")).mint())
    };
    for (token, code) in [
        (checked(&|token| token.audience("api://other")), "audience_mismatch"),
        (checked(&|token| token.claim("cnf", json!({ "kid": "x" }))), "token_bound"),
        (checked(&|token| token.claim("iss", "https://elsewhere.example")), "claim_invalid"),
    ] {
        assert_refused(&refusal(bed.get("/mail/me", &token).await).await, 401, code);
    }
}

#[tokio::test]
async fn many_calls_with_one_opaque_token_ask_once_and_a_failure_is_not_remembered() {
    let bed = introspecting().await;
    let server = &bed.authorization_server;
    let token = server.opaque_token(&bed.token("ada"));
    let script = server.script(Endpoint::Introspection);
    script.once(Reply::status(500));
    assert_refused(&refusal(bed.get("/mail/me", &token).await).await, 503, "issuer_unavailable");
    script.once(Reply::normal().after(Duration::from_millis(300)));
    let answers = futures_util::future::join_all((0..20).map(|_| bed.get("/mail/me/messages", &token))).await;
    assert!(answers.iter().all(|answer| answer.status() == 200), "{answers:?}");
    assert_eq!(server.fetches(Endpoint::Introspection), 2);
}

#[tokio::test]
async fn a_tool_that_wants_a_stronger_sign_in_says_which() {
    const DEMANDING: &str = "    scopes: [Mail.Read]
    tools:
      contexts: { match: GET /me/messages, required_acrs: [c1, c2] }
      classes: { match: GET /me, required_acr: [high, higher], max_age: 5m }
      scoped: { match: GET /me/mailFolders, required_scopes: [access_as_user, b, a] }
";
    let bed = Setup::default().tools(DEMANDING).start().await;
    let ask = async |path: &str, change: &dyn Fn(TokenBuilder) -> TokenBuilder| {
        bed.get(path, &change(bed.authorization_server.subject_token("ada")).mint()).await
    };
    let challenge = |reply: &reqwest::Response| {
        reply.headers().get("www-authenticate").map(|value| value.to_str().expect("text").to_owned())
    };
    let contexts = "/mail/me/messages";
    let capable = |token: TokenBuilder| token.claim("xms_cc", vec!["cp1"]).claim("acrs", vec!["c2"]);
    let reply = ask(contexts, &capable).await;
    let claims = base64_of(r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#);
    assert!(challenge(&reply).is_some_and(|text| text.contains(&claims)), "{reply:?}");
    assert_refused(&refusal(reply).await, 401, "step_up_required");
    let reply = ask(contexts, &|token| token).await;
    assert_eq!(challenge(&reply), None, "an agent that cannot act on claims gets none");
    assert_refused(&refusal(reply).await, 403, "step_up_required");
    assert_eq!(ask(contexts, &|token| token.claim("acrs", vec!["c1", "c2"])).await.status(), 200);

    let signed_in = |acr: &'static str, ago: i64| {
        let at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
        let at = i64::try_from(at.as_secs()).expect("seconds") - ago;
        move |token: TokenBuilder| token.claim("acr", acr).claim("auth_time", at)
    };
    for (acr, ago) in [("low", 10), ("high", 400)] {
        let reply = ask("/mail/me", &signed_in(acr, ago)).await;
        let text = challenge(&reply).expect("a challenge");
        for part in
            [r#"error="insufficient_user_authentication""#, r#"acr_values="high higher""#, r#"max_age="300""#]
        {
            assert!(text.contains(part), "{text}");
        }
        let refused = refusal(reply).await;
        assert_refused(&refused, 401, "step_up_required");
        assert_eq!((&refused.2["acr_values"], &refused.2["max_age"]), (&json!("high higher"), &json!(300)));
    }
    assert_eq!(ask("/mail/me", &signed_in("higher", 10)).await.status(), 200);

    let reply = ask("/mail/me/mailFolders", &|token| token).await;
    let text = challenge(&reply).expect("a challenge");
    assert!(text.contains(r#"scope="a access_as_user b""#), "{text}");
    assert_refused(&refusal(reply).await, 403, "scope_missing");
}

fn base64_of(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
