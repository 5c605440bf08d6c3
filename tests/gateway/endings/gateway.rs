//! Ends that the gateway brings about, or the authorization server for it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use obo_gateway::demo::authorization_server::Endpoint;
use obo_gateway::demo::script::Reply;
use reqwest::Method;
use serde_json::json;

use super::{Way, until};

/// How long a token has left when a stream begins, in seconds. Those that expired a minute ago still serve: clocks differ.
const LEFT: u64 = 6;

pub(super) const WAYS: &[Way] = &[
    Way::new("nobody signed in", &["no_credentials"], |bed| {
        Box::pin(async {
            let reply = bed.bed.request(Method::GET, "/mail/me/messages").send().await;
            assert_eq!(reply.expect("an answer").status(), 401);
        })
    }),
    Way::new("the token is none", &["token_malformed"], |bed| {
        Box::pin(async {
            assert_eq!(bed.bed.get("/mail/me/messages", "garbage").await.status(), 401);
        })
    }),
    Way::new("policy says no", &["policy_denied"], |bed| {
        Box::pin(async {
            assert_eq!(bed.bed.get("/mail/me/messages", &bed.bed.token("bob")).await.status(), 403);
        })
    }),
    Way::new("no connector is there", &["connector_unknown"], |bed| {
        Box::pin(async {
            assert_eq!(bed.bed.get("/none", &bed.bed.token("ada")).await.status(), 404);
        })
    }),
    Way::new("the authorization server refuses", &["access_blocked"], |bed| {
        Box::pin(async {
            let refusal = Reply::json(400, &json!({ "error": "invalid_grant", "error_codes": [50105] }));
            bed.bed.authorization_server.script(Endpoint::Token).always(refusal);
            assert_eq!(bed.bed.get("/mail/me", &bed.bed.token("ada")).await.status(), 403);
        })
    }),
    Way::new("the authorization server fails", &["issuer_unavailable"], |bed| {
        Box::pin(async {
            bed.bed.authorization_server.script(Endpoint::Token).always(Reply::status(500));
            assert_eq!(bed.bed.get("/mail/me", &bed.bed.token("ada")).await.status(), 503);
        })
    }),
    Way::new("the authorization server is gone", &["issuer_unavailable"], |bed| {
        Box::pin(async {
            bed.bed.authorization_server.stop_listening().await;
            assert_eq!(bed.bed.get("/mail/me", &bed.bed.token("ada")).await.status(), 503);
        })
    }),
    Way::new("the authorization server says nothing", &["issuer_timeout"], |bed| {
        Box::pin(async {
            bed.bed.authorization_server.script(Endpoint::Token).always(Reply::hang());
            assert_eq!(bed.bed.get("/mail/me", &bed.bed.token("ada")).await.status(), 504);
        })
    }),
    Way::new("the token expires within a stream", &["stream_expired"], |bed| {
        Box::pin(async {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
            let token = bed.bed.authorization_server.subject_token("ada").claim("exp", now - 60 + LEFT);
            bed.notes.hold_counting();
            let count = json!({ "name": "count_slowly", "arguments": { "to": 3 } });
            let bearer = format!("Bearer {}", token.mint()).parse().expect("a value");
            let call = bed.modern("ada", "tools/call", count);
            let call = call.headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]));
            let reply = call.send().await.expect("an answer");
            assert_eq!(reply.status(), 200);
            reply.bytes().await.expect("a clean end");
        })
    }),
    Way::new("the gateway is drained, and it takes too long", &["gateway_stopped"], |bed| {
        Box::pin(async {
            let endless = bed.bed.get("/mail/events?count=10000&every_ms=50", &bed.bed.token("ada")).await;
            let mut events = endless.bytes_stream();
            events.next().await.expect("an event").expect("an event");
            bed.bed.gateway.drain().await;
        })
    }),
    Way::new("the gateway is stopped at once, within the exchange", &["gateway_stopped"], |bed| {
        Box::pin(async {
            let server = &bed.bed.authorization_server;
            server.script(Endpoint::Token).always(Reply::hang());
            let call = bed.bed.request(Method::GET, "/mail/me").bearer_auth(bed.bed.token("ada"));
            let call = tokio::spawn(call.send());
            until("an exchange", || server.fetches(Endpoint::Token) == 1).await;
            let cut = async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                bed.bed.gateway.cut();
            };
            tokio::join!(bed.bed.gateway.drain(), cut);
            assert!(call.await.expect("no panic").is_err(), "it was answered");
        })
    }),
];
