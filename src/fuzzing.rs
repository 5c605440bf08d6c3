//! What fuzzing runs: one function for each of the readers that strangers and other servers reach first, and one for the whole
//! way in (`connection`).
//!
//! Each takes any bytes, asserts what must hold of whatever is accepted, and says in a word what came of it. The targets
//! in `fuzz/fuzz_targets` call these functions, and so does the test below for every file of `fuzz/corpus`: in a corpus,
//! a name begins with the word that must come of the file (`refused.two-headers`). Names without a dot are the fuzzer's
//! own, and any word will do.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use crate::audit::checkpoint::{Checkpoint, CheckpointPublicKey, NOTE_BYTES_MAX};
use crate::audit::link::Link;
use crate::clock::Now;
use crate::config::openapi_tools;
use crate::gateway::event_stream::{Event, EventError, EventReader};
use crate::gateway::message::{MESSAGE_BYTES_MAX, Message};
use crate::gateway::path::CanonicalPath;
use crate::gateway::rest::Operations;
use crate::gateway::{TurnedAway, presented_token, read_connector_answer};
use crate::identity::{Audience, Caller, Issuer, Scopes, SecretToken, Tenant, VerifiedClaims};
use crate::oauth::claims::{self, CLOCK_SKEW_SECONDS};
use crate::oauth::error_response::{ErrorClass, ErrorResponse};
use crate::oauth::exchange::read_answer;
use crate::oauth::jws::{Jws, TOKEN_BYTES_MAX};
use crate::oauth::keys::{KEY_ID_BYTES_MAX, Keys};
use crate::oauth::outbound::OutboundAnswer;
use crate::oauth::verifier::check_signature;
use crate::oauth::{
    ACCESS_TOKEN_TYPE, ActorToken, ClaimPath, Grant, IssuerKind, IssuerSettings, Profile, TargetParameter,
    delegated,
};
use crate::tool::Target;
use crate::trail::record::Record;
use crate::trail::verify::Notes;
use crate::unseen::clean;

mod connection;
#[cfg(test)]
mod mutation;
mod upstream;

pub use connection::connection;

/// A fuzz target: its name, and what it runs.
pub type FuzzTarget = (&'static str, fn(&[u8]) -> &'static str);

/// Every fuzz target.
pub const TARGETS: [FuzzTarget; 13] = [
    ("connection", connection),
    ("bearer_header", bearer_header),
    ("token", token),
    ("key_set", key_set),
    ("token_answer", token_answer),
    ("error_answer", error_answer),
    ("challenge", challenge),
    ("connector_answer", connector_answer),
    ("json_rpc_message", json_rpc_message),
    ("event_stream", event_stream),
    ("path_matcher", path_matcher),
    ("openapi", openapi),
    ("audit_line", audit_line),
];

/// When the corpus was made: its good tokens are good at this time only, in seconds since 1970 UTC.
const NOW: u64 = 1_800_000_000;
/// The public keys of the corpus. Nobody has the private ones any more, so nothing but what they signed for the corpus
/// can ever verify.
const KEYS: &[u8] = include_bytes!("../fuzz/corpus/key_set/accepted.keys-of-the-token-corpus");
/// All that these keys ever signed.
const SIGNED: [&str; 4] = [
    include_str!("../fuzz/corpus/token/verified.entra-rs256"),
    include_str!("../fuzz/corpus/token/verified.oidc-es256"),
    include_str!("../fuzz/corpus/token/verified.rfc9068-eddsa"),
    include_str!("../fuzz/corpus/token/refused.signed-and-expired"),
];

/// What the checkpoints of the corpus are verified with. Nobody has the private key any more.
const CHECKPOINT_KEY: &str = include_str!("../fuzz/corpus/audit_line/refused.checkpoint-key");
/// All that this key ever signed.
const SIGNED_CHECKPOINTS: &str = include_str!("../fuzz/corpus/audit_line/checkpoint.three");

/// Lines are the values of `Authorization` headers.
pub fn bearer_header(data: &[u8]) -> &'static str {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let mut headers = HeaderMap::new();
    for line in &lines {
        let Ok(value) = HeaderValue::from_bytes(line) else { return "refused" };
        headers.append(AUTHORIZATION, value);
    }
    let Ok((token, _)) = presented_token(&headers) else { return "refused" };
    let [line] = lines.as_slice() else { panic!("a token was taken from one of several headers") };
    let before = line.strip_suffix(token.as_bytes()).expect("the token ends the header");
    assert!(before[..6].eq_ignore_ascii_case(b"bearer"), "the scheme is another");
    assert!(
        before.len() > 6 && before[6..].iter().all(|byte| *byte == b' '),
        "not blanks alone between them"
    );
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    assert!(!token.is_empty() && token.chars().all(allowed), "the token is no b64token");
    "accepted"
}

/// A token; or, so that mutation gets past the encoding, its header, claims and signature as lines.
pub fn token(data: &[u8]) -> &'static str {
    let Ok(text) = std::str::from_utf8(data) else { return "refused" };
    let built;
    let text = match text.starts_with('{') {
        true => {
            let mut lines = text.splitn(3, '\n');
            let mut part = || URL_SAFE_NO_PAD.encode(lines.next().unwrap_or_default());
            built = format!("{}.{}.{}", part(), part(), part());
            &built
        }
        false => text,
    };
    let Ok(jws) = Jws::parse(text) else { return "refused" };
    assert!(text.len() <= TOKEN_BYTES_MAX, "a token beyond the bound was read");
    assert_eq!(text, format!("{}.{}", jws.signed, jws.signature), "the parts are not the token's");
    let hmac = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
    assert!(!hmac.contains(&jws.algorithm), "a symmetric algorithm");
    assert!(jws.key_id.as_ref().is_none_or(|id| id.len() <= KEY_ID_BYTES_MAX), "an overlong key id");
    let payload = jws.signed.split_once('.').map(|(_, payload)| payload).expect("two parts are signed");
    let payload = URL_SAFE_NO_PAD.decode(payload).expect("base64url: it has been read");
    let read: Map<String, Value> = serde_json::from_slice(&payload).expect("JSON: it has been read");
    assert_eq!(jws.claims, read, "another reader takes the claims differently");

    let keys = Keys::parse(KEYS).expect("the keys of the corpus");
    let mut came_to = "refused";
    for settings in issuers() {
        let signed = check_signature(&jws, &keys, &settings.issuer).is_ok();
        assert!(
            !signed || SIGNED.iter().any(|token| token.starts_with(jws.signed)),
            "a signature was forged"
        );
        let now = Now::new(Duration::from_secs(NOW), Instant::now());
        if let Ok(verified) = claims::check(&jws.claims, &settings, now) {
            check_verified(&jws.claims, &settings, &verified);
            let is_fit = settings.profile == Profile::Lenient || jws.is_at_jwt;
            came_to = match came_to {
                "verified" => "verified",
                _ if signed && is_fit => "verified",
                _ => "accepted",
            };
        }
    }
    came_to
}

fn issuers() -> [IssuerSettings; 3] {
    let audiences = || vec![Audience::new("api://gateway")];
    let entra = IssuerKind::Entra { tenant: Tenant::Named("t-1".into()) };
    let entra = IssuerSettings {
        other_issuer: Some(Issuer::new("https://sts.example/t-1/")),
        audiences: audiences(),
        ..IssuerSettings::of(entra)
    };
    let oidc = IssuerSettings {
        audiences: audiences(),
        required_scopes: Scopes::parse("mail.read"),
        ..IssuerSettings::of(IssuerKind::Oidc)
    };
    let mut strict = IssuerSettings {
        audiences: audiences(),
        profile: Profile::Rfc9068,
        ..IssuerSettings::of(IssuerKind::Oidc)
    };
    strict.claim_names.groups = Some(ClaimPath::Pointer("/realm_access/groups".into()));
    strict.claim_names.roles = Some(ClaimPath::Pointer("/resource_access/a~1b~0c/roles".into()));
    [entra, oidc, strict]
}

/// What must hold of claims that were accepted, read a second time in the simplest way.
fn check_verified(claims: &Map<String, Value>, settings: &IssuerSettings, verified: &VerifiedClaims) {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let time = |name: &str| claims.get(name).map(|time| time.as_f64().expect("a time is a number"));
    let names = |value: &Value, wanted: &str| match value {
        Value::Array(values) => values.iter().any(|value| value == wanted),
        value => value == wanted,
    };
    let skew = CLOCK_SKEW_SECONDS as f64;
    let iss = text("iss").expect("it has an issuer");
    let other = settings.other_issuer.as_ref().map(Issuer::as_str);
    assert!(iss == settings.issuer.as_str() || Some(iss) == other, "another issuer");
    assert!(names(&claims["aud"], "api://gateway"), "another audience");
    assert!(time("exp").expect("it expires") + skew > NOW as f64, "it has expired");
    for start in ["nbf", "iat"] {
        assert!(time(start).is_none_or(|start| start < NOW as f64 + skew + 1.0), "it begins later");
    }
    let is_bound =
        verified.confirmation.is_some_and(|bound| bound.key.is_some() || bound.certificate.is_some());
    assert_eq!(claims.contains_key("cnf"), is_bound, "bound to a key, and taken as if it were not");
    for other_purpose in ["events", "at_hash", "c_hash", "s_hash"] {
        assert!(!claims.contains_key(other_purpose), "it is for another purpose");
    }
    let person = match &settings.kind {
        IssuerKind::Entra { tenant } => {
            assert_eq!(text("tid"), tenant.id(), "another tenant");
            assert_ne!(text("idtyp"), Some("app"), "an application");
            assert!(!verified.scopes.is_empty(), "no delegated scope");
            text("oid")
        }
        IssuerKind::Oidc => {
            assert_ne!(verified.actor.as_ref().map(|actor| actor.as_str()), text("sub"), "an application");
            text("sub")
        }
    };
    assert_eq!(person, Some(verified.subject.as_str()), "another person");
    assert!(!verified.subject.as_str().is_empty(), "nobody");
    for name in ["azp", "client_id", "appid", "cid"] {
        let actor = verified.actor.as_ref().map(|actor| actor.as_str());
        assert!(text(name).is_none_or(|named| actor == Some(named)), "another agent");
    }
    assert!(settings.required_scopes.missing_from(&verified.scopes).is_empty(), "a scope is missing");
    for scope in verified.scopes.iter() {
        let lists = ["scp", "scope"].into_iter().filter_map(|name| claims.get(name));
        let granted = lists.into_iter().any(|list| match list {
            Value::Array(lists) => lists.iter().filter_map(Value::as_str).any(|list| holds(list, scope)),
            list => list.as_str().is_some_and(|list| holds(list, scope)),
        });
        assert!(granted, "a scope from nowhere");
    }
}

fn holds(list: &str, scope: &str) -> bool {
    list.split(' ').any(|held| held == scope)
}

/// The body of a key set's answer.
pub fn key_set(data: &[u8]) -> &'static str {
    let Ok(keys) = Keys::parse(data) else { return "refused" };
    let document: Value = serde_json::from_slice(data).expect("JSON: it has been read");
    let listed = document["keys"].as_array().expect("a list: it has been read");
    assert!(keys.usable() >= 1, "a set without a key");
    assert!(keys.usable() + keys.unusable() <= listed.len(), "more keys than are listed");
    assert!(keys.same_as(&Keys::parse(data).expect("it was a set before")), "it differs from itself");
    assert_eq!(keys.find(None).is_some(), keys.usable() == 1, "a token without `kid` fits one key alone");
    for jwk in listed {
        let Some(id) = jwk["kid"].as_str() else { continue };
        let Some(key) = keys.find(Some(id)) else { continue };
        assert!(id.len() <= KEY_ID_BYTES_MAX, "an overlong key id");
        assert!(
            listed.iter().any(|jwk| jwk["kid"] == id && is_plainly_usable(jwk)),
            "a key that must not verify"
        );
        for algorithm in [Algorithm::RS256, Algorithm::PS512, Algorithm::ES256, Algorithm::EdDSA] {
            assert!(!key.verifies(algorithm, b"message", "c2lnbmF0dXJl"), "it verifies anything");
        }
        for algorithm in [Algorithm::HS256, Algorithm::HS512] {
            assert!(!key.verifies(algorithm, b"", ""), "a public key as a secret");
        }
    }
    "accepted"
}

fn is_plainly_usable(jwk: &Value) -> bool {
    let bytes = |name: &str| jwk[name].as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let for_signatures = jwk.get("use").is_none_or(|usage| usage == "sig");
    let strong = match jwk["kty"].as_str() {
        Some("RSA") => bytes("n").is_some_and(|modulus| modulus.len() >= 256 && modulus[0] != 0),
        Some("EC") => bytes("x").is_some_and(|x| x.len() == 32 || x.len() == 48),
        Some("OKP") => bytes("x").is_some_and(|x| x.len() == 32),
        _ => false,
    };
    for_signatures && strong && jwk.get("k").is_none_or(|_| jwk["kty"] != "oct")
}

fn caller() -> Caller {
    let claims = VerifiedClaims { tenant: Tenant::Named("t-1".into()), ..VerifiedClaims::of("ada") };
    Caller::verified(claims, SecretToken::new("subject-token"))
}

/// The body of a success from the token endpoint.
pub fn token_answer(data: &[u8]) -> &'static str {
    let exchange = Grant::TokenExchange {
        target: TargetParameter::Audience,
        subject_token_type: ACCESS_TOKEN_TYPE.into(),
        requested_token_type: ACCESS_TOKEN_TYPE.into(),
        actor: ActorToken::None,
    };
    let answer = OutboundAnswer { status: StatusCode::OK, headers: HeaderMap::new(), body: data.to_vec() };
    let caller = caller();
    let mut came_to = "refused";
    for grant in [Grant::OnBehalfOf, exchange] {
        let Ok(read) = read_answer(&answer, &grant, &caller) else { continue };
        let body: Value = serde_json::from_slice(data).expect("JSON: it has been read");
        let token = read.token.expose();
        assert_eq!(body["access_token"], *token, "another token");
        assert!(token.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "a token that breaks a header");
        assert!((1..=65_536).contains(&token.len()), "a token beyond the bounds");
        assert_ne!(token, "subject-token", "the caller's own token");
        assert!(HeaderValue::from_str(token).is_ok(), "a token that fits no header");
        let token_type = body["token_type"].as_str().unwrap_or_default();
        assert!(token_type.eq_ignore_ascii_case("bearer"), "a token of another type");
        assert!(body.get("error").is_none(), "a success with an error");
        assert!(read.lifetime.is_none_or(|lifetime| lifetime >= Duration::from_secs(1)), "it is over");
        assert_eq!(
            read.lifetime.is_none(),
            body.get("expires_in").is_none_or(Value::is_null),
            "a lifetime from nowhere, or one not heeded"
        );
        if let Grant::TokenExchange { .. } = grant {
            let issued = body["issued_token_type"].as_str().unwrap_or_default();
            assert!(issued.ends_with(":access_token") || issued.ends_with(":jwt"), "not an access token");
        }
        check_granted(read.granted.as_ref());
        came_to = if is_for_ada(token) { "accepted" } else { "foreign" };
    }
    came_to
}

fn check_granted(granted: Option<&Scopes>) {
    let asked = Scopes::parse("https://graph.example/Mail.Read mail.send");
    let missing = granted.map(|granted| delegated::not_granted(&asked, granted)).unwrap_or_default();
    assert!(missing.missing_from(&asked).is_empty(), "what was not asked for is missing");
    for scope in asked.iter().filter(|scope| granted.is_some_and(|granted| granted.contains(scope))) {
        assert!(!missing.contains(scope), "what was granted is missing");
    }
}

/// Whether a delegated token may be Ada's; one that says it is somebody else's must have been noticed.
fn is_for_ada(token: &str) -> bool {
    let tenant = Tenant::Named("t-1".into());
    let settings = IssuerSettings::of(IssuerKind::Entra { tenant });
    let accepted = delegated::check(token, &settings, true, &caller(), &Target::default()).is_ok();
    let payload = token.split('.').nth(1).and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
    let claims = payload.and_then(|payload| serde_json::from_slice::<Map<String, Value>>(&payload).ok());
    if let Some(person) = claims.as_ref().and_then(|claims| claims.get("oid")).and_then(Value::as_str) {
        assert!(!accepted || person == "ada" || token.split('.').count() != 3, "somebody else's token");
    }
    accepted
}

/// The first line is the status and, after a blank, `Retry-After`; the rest is the body of an error answer.
pub fn error_answer(data: &[u8]) -> &'static str {
    let (head, body) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[][..]),
    };
    let (status, retry_after) = match head.iter().position(|byte| *byte == b' ') {
        Some(end) => (&head[..end], Some(&head[end + 1..])),
        None => (head, None),
    };
    let Ok(status) = StatusCode::from_bytes(status) else { return "refused" };
    let mut headers = HeaderMap::new();
    if let Some(value) = retry_after.and_then(|value| HeaderValue::from_bytes(value).ok()) {
        headers.insert(RETRY_AFTER, value);
    }
    let answer = OutboundAnswer { status, headers, body: body.to_vec() };
    let read = ErrorResponse::read(&answer);
    for text in [Some(&read.error), read.correlation_id.as_ref()].into_iter().flatten() {
        let text = text.as_str();
        assert!(text.len() <= 128, "an overlong word in a record");
        assert!(text.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "a word that breaks a record");
        assert!(!text.contains(['"', '\\', '<', '>']), "a word that breaks out of quotes");
    }
    assert!(read.codes.len() <= 8, "too many codes");
    let shown = read.to_string();
    assert!(shown.len() <= 512 && shown.bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "{shown:?}");
    match &read.class {
        ErrorClass::Throttled { retry_after } | ErrorClass::Unavailable { retry_after } => {
            assert!(retry_after.is_none_or(|delay| delay <= Duration::from_secs(3_600)), "an endless delay");
        }
        ErrorClass::StepUp { claims: Some(claims) } => {
            let body: Value = serde_json::from_slice(body).expect("JSON: it has been read");
            assert_eq!(body["claims"], **claims, "another demand");
            assert!((1..=4_096).contains(&claims.len()), "a demand beyond the bounds");
        }
        ErrorClass::StepUp { claims: None }
        | ErrorClass::Consent
        | ErrorClass::AdminConsent
        | ErrorClass::SubjectToken
        | ErrorClass::SignIn
        | ErrorClass::Blocked
        | ErrorClass::Misconfigured => {
            assert_ne!(status, StatusCode::TOO_MANY_REQUESTS, "throttling is nobody's fault");
            assert!(!status.is_server_error(), "the server's trouble is nobody else's");
        }
    }
    read.class.as_str()
}

/// Lines are the values of a connector's `WWW-Authenticate` headers.
pub fn challenge(data: &[u8]) -> &'static str {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            response.headers_mut().append(WWW_AUTHENTICATE, value);
        }
    }
    let turned_away = TurnedAway::read(&response).expect("a 401 turns away");
    let Some(claims) = turned_away.claims else { return "plain" };
    assert!(claims.len() <= 4_096, "a demand beyond the bound");
    assert!(serde_json::from_str::<Map<String, Value>>(&claims).is_ok(), "a demand that is no object");
    let text = String::from_utf8_lossy(data).replace('\\', "").to_ascii_lowercase();
    assert!(text.contains("insufficient_claims"), "a demand from nowhere");
    assert!(text.contains("bearer"), "a demand of another scheme");
    "claims"
}

/// What a connector writes onto a connection of HTTP/1 that it closes then.
pub fn connector_answer(data: &[u8]) -> &'static str {
    let whole = read_connector_answer([data]).ok();
    assert_eq!(read_connector_answer(data.chunks(1)).ok(), whole, "in pieces it is another answer");
    let Some((status, body, left)) = whole else { return "refused" };
    assert!(!status.is_informational(), "it is interim");
    assert!(body.len() + left.len() < data.len(), "there is more of it than came");
    assert!(data.ends_with(&left), "what is left over is not what came last");
    "answer"
}

/// A message of JSON-RPC.
pub fn json_rpc_message(data: &[u8]) -> &'static str {
    let message = match Message::parse(data) {
        Ok(message) => message,
        Err(error) => {
            assert!([-32_700, -32_600, -32_602].contains(&error.rpc_code()), "a code from nowhere");
            return "refused";
        }
    };
    assert!(data.len() <= MESSAGE_BYTES_MAX, "a message beyond the bound was read");
    let written = message.to_bytes();
    // Some numbers are longer once they are written anew.
    if written.len() <= MESSAGE_BYTES_MAX {
        let again = Message::parse(&written).expect("what was written is a message");
        assert_eq!(again, message, "another message was written");
        assert_eq!(again.to_bytes(), written, "it is written in two ways");
    }
    let read = |text: &[u8]| serde_json::from_slice::<Value>(text).expect("JSON: it has been read");
    assert_eq!(read(data), read(&written), "another reader takes what is written differently");
    match &message {
        Message::Request(request) => {
            let name = request.name().map(|name| ("name", name));
            let uri = request.uri().map(|uri| ("uri", uri));
            for (member, subject) in name.into_iter().chain(uri) {
                let params = request.params().expect("it names something");
                let like = params.keys().filter(|name| name.eq_ignore_ascii_case(member)).count();
                assert_eq!(like, 1, "another reader finds another name");
                assert!((1..=4_096).contains(&subject.len()), "a name beyond the bounds");
            }
            "request"
        }
        Message::Notification(_) => "notification",
        Message::Response(_) => "response",
    }
}

/// The first byte says in what pieces a stream of server-sent events comes; the rest is the stream.
pub fn event_stream(data: &[u8]) -> &'static str {
    const EVENT_BYTES: usize = 256;
    let Some((size, stream)) = data.split_first() else { return "nothing" };
    let whole = events(stream, stream.len().max(1), EVENT_BYTES);
    for size in [1, 2, usize::from(*size).max(1)] {
        assert_eq!(events(stream, size, EVENT_BYTES), whole, "in pieces it is another stream");
    }
    let (events_of_whole, left) = &whole;
    let passed: Vec<u8> = events_of_whole.iter().flat_map(|event| event.raw.to_vec()).collect();
    assert!(stream.starts_with(&passed), "what is passed on is not what came");
    for event in events_of_whole {
        assert!(event.raw.len() <= EVENT_BYTES, "an event beyond the bound");
        let (data, other) = (event.data.as_deref().unwrap_or_default(), br#"{"tools":[]}"#);
        for data in [data, other] {
            let anew = event.with_data(data);
            assert_eq!((anew.data.as_deref(), &anew.id), (Some(data), &event.id), "another event");
            assert_eq!(events(&anew.raw, 1, 4_096), (vec![anew], Ok(0)), "it is read differently");
        }
    }
    match left {
        Err(EventError::TooLarge { .. }) => return "refused",
        Ok(left) => assert_eq!(passed.len() + left, stream.len(), "bytes were lost"),
    }
    match events_of_whole.iter().any(|event| event.data.is_some()) {
        true => "events",
        false => "nothing",
    }
}

/// The events of a stream that comes in pieces of this size, and how many bytes are left over.
fn events(stream: &[u8], size: usize, bytes_max: usize) -> (Vec<Event>, Result<usize, EventError>) {
    let mut reader = EventReader::bounded(bytes_max);
    let mut events = Vec::new();
    for piece in stream.chunks(size).map(Some).chain([None]) {
        match piece {
            Some(piece) => reader.push(piece),
            None => reader.close(),
        }
        loop {
            match reader.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Err(error)),
            }
        }
    }
    (events, Ok(reader.unfinished()))
}

/// The path of a request, to a connector with tools of every kind.
pub fn path_matcher(data: &[u8]) -> &'static str {
    const TEMPLATES: [&str; 5] = [
        "/me/messages",
        "/me/messages/{id}",
        "/me/messages/delta",
        "/me/messages/$count",
        "/files/caf%C3%A9",
    ];
    let mut operations = Operations::default();
    for template in TEMPLATES {
        let matches = format!("GET {template}").parse().expect("a template of the target");
        operations.add(&matches, template).expect("no two of them overlap");
    }
    let Some(path) = std::str::from_utf8(data).ok().and_then(|text| CanonicalPath::parse(text).ok()) else {
        return "refused";
    };
    let decoded = path.decoded();
    let again = percent_encoding::percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
    assert_eq!(again, *decoded, "a second decoding makes another path of it");
    let segments: Vec<&str> = decoded.split('/').collect();
    let is_plain = |segment: &&str| !["", ".", ".."].contains(segment) && !segment.contains(['\\', ';']);
    let (last, before) = segments.split_last().expect("a text has a part");
    assert!(before[1..].iter().all(is_plain) && (last.is_empty() || is_plain(last)), "it climbs");
    let Some(template) = operations.find(&Method::GET, path) else { return "none" };
    let wanted = template.replace("%C3%A9", "é");
    let wanted: Vec<&str> = wanted.split('/').collect();
    assert_eq!(wanted.len(), segments.len(), "another number of segments");
    for (wanted, segment) in wanted.iter().zip(&segments) {
        match wanted.starts_with('{') {
            true => assert!(!segment.starts_with(['$', ' ']) && !segment.ends_with(['.', ' ']), "{segment}"),
            false => assert_eq!(wanted, segment, "another tool"),
        }
    }
    "tool"
}

/// An OpenAPI document.
pub fn openapi(data: &[u8]) -> &'static str {
    let Ok(text) = std::str::from_utf8(data) else { return "refused" };
    match openapi_tools(text) {
        None => "refused",
        Some(Err(())) => "faults",
        Some(Ok(matches)) => {
            for matches in matches {
                assert!(matches.split_once(' ').is_some_and(|(_, path)| !path.contains(' ')), "{matches}");
            }
            "tools"
        }
    }
}

/// A line of a trail, or checkpoints as they are kept beside one.
pub fn audit_line(data: &[u8]) -> &'static str {
    let mut notes = Notes::new(data);
    let mut is_checkpoint = false;
    while let Some(note) = notes.next_note().expect("memory is read") {
        assert!(
            !note.text.is_empty() && note.text.len() <= 2 * NOTE_BYTES_MAX + 1,
            "a note beyond the bound"
        );
        let key = CheckpointPublicKey::parse(CHECKPOINT_KEY).expect("the key of the corpus");
        let verified = key.verify(&note.text);
        if let Ok(read) = Checkpoint::unverified(&note.text) {
            is_checkpoint = true;
            assert!(
                verified.as_ref().is_ok_and(|signed| *signed == read) || verified.is_err(),
                "read in two ways"
            );
        }
        let is_of_corpus = SIGNED_CHECKPOINTS.contains(note.text.split("\n\n").next().unwrap_or_default());
        assert!(verified.is_err() || is_of_corpus, "a signature was forged");
    }
    let link = Link::of(data);
    if let Some(link) = &link {
        assert!(link.sequence > 0 && link.boot.len() == 16, "a place that the gateway does not write");
        let end = format!(r#"{{"name":"previous","value":"{}"}}]}}}}"#, link.previous);
        assert!(data.ends_with(end.as_bytes()), "a place from the middle of a line");
    }
    match (Record::parse(data), link) {
        (Some(record), link) => {
            assert!(serde_json::from_slice::<Value>(data).is_ok(), "no other reader takes it");
            if let Some(sequence) = record.sequence().filter(|_| data.ends_with(b"}]}}")) {
                assert!(link.is_none_or(|link| link.sequence == sequence), "another number");
            }
            for text in [record.target().as_ref(), record.outcome(), record.request_id()] {
                assert!(!clean(text).contains(['\n', '\r', '\x1b', '\u{202e}']), "it steers a terminal");
            }
            "record"
        }
        (None, Some(_)) => "linked",
        (None, None) if is_checkpoint => "checkpoint",
        (None, None) => "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::io::Write as _;
    use std::panic::catch_unwind;
    use std::path::{Path, PathBuf};

    fn folder(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
    }

    fn names(folder: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn every_file_of_the_corpus_comes_to_what_its_name_says() {
        let mut wrong = Vec::new();
        for (target, run) in TARGETS {
            let folder = folder("corpus").join(target);
            let files = names(&folder);
            for file in &files {
                let data = fs::read(folder.join(file)).expect("a file of the corpus");
                let expected = file.split_once('.').map(|(expected, _)| expected);
                match (catch_unwind(|| run(&data)), expected) {
                    (Err(_), _) => wrong.push(format!("{target}/{file} panics")),
                    (Ok(word), Some(expected)) if word != expected => {
                        wrong.push(format!("{target}/{file} is {word}"));
                    }
                    (Ok(_), _) => {}
                }
            }
            // Past the harness, which shows only what failing tests print.
            let _ = writeln!(std::io::stderr(), "fuzz corpus {target}: {} inputs replayed", files.len());
            assert!(files.len() >= 10, "the corpus of {target} is all but empty");
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn every_fuzz_target_is_replayed() {
        let listed: BTreeSet<String> = TARGETS.map(|(name, _)| name.to_owned()).into();
        let targets = names(&folder("fuzz_targets"));
        let targets: BTreeSet<String> = targets.iter().map(|name| name.replace(".rs", "")).collect();
        assert_eq!((&targets, names(&folder("corpus"))), (&listed, listed.clone()));
        for target in listed {
            let path = folder("fuzz_targets").join(format!("{target}.rs"));
            let text = fs::read_to_string(path).expect("a fuzz target");
            assert!(text.contains(&format!("fuzzing::{target}(data)")), "{target} runs something else");
        }
    }
}
