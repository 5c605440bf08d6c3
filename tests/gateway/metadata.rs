//! What a client reads that knows only an address, to find out where the person signs in; and the way from there to a call.

use std::time::Duration;

use obo_gateway::demo::authorization_server::{AuthorizationServer, Endpoint, Settings};
use obo_gateway::demo::certificates::DevelopmentCertificates;
use obo_gateway::demo::jws::sha256_base64url;
use obo_gateway::demo::mail::{MailConnector, MailSettings};
use obo_gateway::demo::script::Reply;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use crate::bed::{Setup, TOOLS, TestBed, assert_refused, client, refusal};
use crate::challenge::Challenge;

const PUBLIC_URL: &str = "public_url: https://gateway.example";
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// A gateway with `settings` at the top, `issuer` keys, and the usual connector.
async fn bed(settings: &'static str, issuer: &'static str) -> TestBed {
    Setup::default()
        .config(move |parts| {
            let issuers = parts.issuer().replace("    exchange:", &format!("{issuer}    exchange:"));
            format!("{settings}\n{}", parts.whole(&issuers, &parts.mail(TOOLS)))
        })
        .start()
        .await
}

async fn get(bed: &TestBed, path: &str) -> Response {
    bed.request(Method::GET, path).send().await.expect("an answer")
}

async fn json_of(response: Response) -> Value {
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    response.json().await.expect("JSON")
}

#[tokio::test]
async fn a_connector_says_where_people_sign_in_and_what_to_ask_for() {
    let bed = bed(PUBLIC_URL, "    required_scopes: [access_as_user]\n").await;
    for path in [format!("{WELL_KNOWN}/mail"), WELL_KNOWN.to_owned()] {
        let response = get(&bed, &path).await;
        assert_eq!(response.headers()["cache-control"], "public, max-age=300");
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        assert!(response.headers().contains_key("obo-request-id"));
        let mut metadata = json_of(response).await;
        let algorithms = metadata["dpop_signing_alg_values_supported"].take();
        assert!(algorithms.as_array().is_some_and(|algorithms| algorithms.contains(&json!("ES256"))));
        assert_eq!(
            metadata,
            json!({
                "resource": "https://gateway.example/mail",
                "resource_name": "mail",
                "authorization_servers": [bed.authorization_server.issuer()],
                "scopes_supported": ["api://obo-gateway/access_as_user"],
                "bearer_methods_supported": ["header"],
                "dpop_signing_alg_values_supported": null,
            })
        );
    }
    assert_eq!(bed.outcomes(2).await, ["answered", "answered"]);
    let record = &bed.records().await[0];
    assert_eq!(record.pointer("/unmapped/obo/connector"), Some(&json!("mail")));
    assert_eq!(record.pointer("/actor/user"), None);
}

#[tokio::test]
async fn metadata_is_read_and_nothing_else_is_done_with_it() {
    let bed = bed(PUBLIC_URL, "").await;
    let path = format!("{WELL_KNOWN}/mail");
    let whole = get(&bed, &path).await.text().await.expect("a body");
    let head = bed.request(Method::HEAD, &path).send().await.expect("an answer");
    assert_eq!(head.headers()["content-length"], whole.len().to_string().as_str());
    assert_eq!((head.status().as_u16(), head.text().await.expect("no body").as_str()), (200, ""));
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        let response = bed.request(method.clone(), &path).send().await.expect("an answer");
        assert_eq!(response.headers()["allow"], "GET, HEAD", "{method}");
        assert_refused(&refusal(response).await, 405, "method_not_allowed");
    }
    // A token changes nothing: nobody looks at it.
    let reply = bed.request(Method::GET, &path).bearer_auth("whatever").header("host", "elsewhere.example");
    assert_eq!(reply.send().await.expect("an answer").text().await.expect("a body"), whole);
    let preflight = bed
        .request(Method::OPTIONS, &path)
        .header("origin", "https://inspector.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "mcp-protocol-version")
        .send()
        .await
        .expect("an answer");
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
    assert_eq!(preflight.headers()["access-control-allow-headers"], "mcp-protocol-version");
    assert!(!preflight.headers().contains_key("access-control-allow-credentials"));
}

#[tokio::test]
async fn of_two_connectors_each_has_its_own_and_the_root_has_none() {
    let other = AuthorizationServer::start(Settings::default()).await.expect("another");
    let second = other.issuer();
    let bed = Setup::default()
        .config(move |parts| {
            let contoso =
                parts.issuer().replace("    exchange:", "    required_scopes: [b, a]\n    exchange:");
            let fabrikam = parts
                .issuer()
                .replace("  contoso:", "  fabrikam:")
                .replace(&parts.authorization_server.issuer(), &second);
            let tools =
                TOOLS.replace("scopes: [Mail.Send] }", "scopes: [Mail.Send], required_scopes: [send] }");
            let mail = parts.mail(&format!("    issuer: contoso\n{tools}"));
            let notes = parts
                .mail(&format!("    issuers: [fabrikam, contoso]\n{TOOLS}"))
                .replace("  mail:", "  notes:")
                .replace("path: /mail", "path: /team/notes");
            let whole = parts.whole(&format!("{contoso}{fabrikam}"), &format!("{mail}{notes}"));
            format!("public_url: https://gateway.example/tools/\n{whole}")
        })
        .start()
        .await;
    let mail = json_of(get(&bed, &format!("{WELL_KNOWN}/tools/mail")).await).await;
    assert_eq!(mail["resource"], "https://gateway.example/tools/mail");
    assert_eq!(mail["authorization_servers"], json!([bed.authorization_server.issuer()]));
    let scopes = ["a", "b", "send"].map(|scope| format!("api://obo-gateway/{scope}"));
    assert_eq!(mail["scopes_supported"], json!(scopes));
    let notes = json_of(get(&bed, &format!("{WELL_KNOWN}/tools/team/notes")).await).await;
    assert_eq!(notes["resource"], "https://gateway.example/tools/team/notes");
    assert_eq!(notes["authorization_servers"], json!([other.issuer(), bed.authorization_server.issuer()]));
    // The one wants scopes that the other does not know, and a client asks one of them.
    assert_eq!(notes.get("scopes_supported"), None);
    for unknown in [
        "",
        "/",
        "/mail",
        "/tools",
        "/tools/",
        "/tools/mail/",
        "/tools/mail/me",
        "/tools/team",
        "/tools/Mail",
        "/tools/nothing",
    ] {
        let response = get(&bed, &format!("{WELL_KNOWN}{unknown}")).await;
        assert_eq!(response.headers()["access-control-allow-origin"], "*", "a page reads that there is none");
        assert_refused(&refusal(response).await, 404, "connector_unknown");
    }
    // What is demanded by some tools alone is not asked for at first, and all of it when it is needed.
    let reply = get(&bed, "/mail/me/messages").await;
    assert_eq!(Challenge::of(&reply).get("scope"), Some("api://obo-gateway/a api://obo-gateway/b"));
    let token = bed.authorization_server.subject_token("ada").scopes("a b").mint();
    let reply =
        bed.request(Method::POST, "/mail/me/sendMail").bearer_auth(&token).send().await.expect("an answer");
    let challenge = Challenge::of(&reply);
    assert_eq!(challenge.get("error"), Some("insufficient_scope"));
    assert_eq!(challenge.get("scope"), Some(scopes.join(" ").as_str()));
    let metadata = "https://gateway.example/.well-known/oauth-protected-resource/tools/mail";
    assert_eq!(challenge.get("resource_metadata"), Some(metadata));
    let refused = refusal(reply).await;
    assert_refused(&refused, 403, "scope_missing");
    assert_eq!(refused.2["required_scopes"], json!(["send"]), "as tokens hold them");
    // Where the issuers differ, no scope is named before it is known whose person it is.
    let reply = get(&bed, "/team/notes/me/messages").await;
    assert_eq!(Challenge::of(&reply).get("scope"), None);
}

#[tokio::test]
async fn a_challenge_leads_to_the_metadata_and_is_otherwise_what_it_was() {
    let bed = bed(PUBLIC_URL, "    required_scopes: [access_as_user]\n").await;
    let metadata = Some("https://gateway.example/.well-known/oauth-protected-resource/mail");
    let scope = Some("api://obo-gateway/access_as_user");
    let none = get(&bed, "/mail/me/messages").await;
    let challenge = Challenge::of(&none);
    assert_eq!((challenge.scheme.as_str(), challenge.get("error")), ("Bearer", None));
    assert_eq!((challenge.get("resource_metadata"), challenge.get("scope")), (metadata, scope));
    assert_refused(&refusal(none).await, 401, "no_credentials");

    let bad = bed.get("/mail/me/messages", "x.y.z").await;
    let challenge = Challenge::of(&bad);
    assert_eq!(challenge.get("error"), Some("invalid_token"));
    assert_eq!((challenge.get("resource_metadata"), challenge.get("scope")), (metadata, scope));

    let lacking = bed.authorization_server.subject_token("ada").scopes("other").mint();
    let lacking = bed.get("/mail/me/messages", &lacking).await;
    let challenge = Challenge::of(&lacking);
    assert_eq!(challenge.get("error"), Some("insufficient_scope"));
    assert_eq!((challenge.get("resource_metadata"), challenge.get("scope")), (metadata, scope));
    assert_refused(&refusal(lacking).await, 403, "scope_missing");

    let dpop = bed.request(Method::GET, "/mail/me/messages").header("authorization", "DPoP x.y.z");
    let dpop = dpop.send().await.expect("an answer");
    let challenge = Challenge::of(&dpop);
    assert_eq!((challenge.scheme.as_str(), challenge.get("error")), ("DPoP", Some("invalid_dpop_proof")));
    assert!(challenge.get("algs").is_some_and(|algorithms| algorithms.contains("ES256")));
    assert_eq!((challenge.get("resource_metadata"), challenge.get("scope")), (metadata, scope));

    // What is malformed is not mended by signing in (RFC 6750 section 3.1).
    let malformed = bed.request(Method::GET, "/mail/me/messages").header("authorization", "Bearer a b");
    let malformed = malformed.send().await.expect("an answer");
    let challenge = Challenge::of(&malformed);
    assert_eq!(challenge.get("error"), Some("invalid_request"));
    assert_eq!((challenge.get("resource_metadata"), challenge.get("scope")), (None, None));
    assert_refused(&refusal(malformed).await, 400, "authorization_malformed");
}

#[tokio::test]
async fn without_a_public_address_nothing_is_said_of_it() {
    let bed = bed("", "    required_scopes: [access_as_user]\n").await;
    for path in [format!("{WELL_KNOWN}/mail"), WELL_KNOWN.to_owned()] {
        let request = bed.request(Method::GET, &path).header("host", "gateway.example");
        assert_refused(&refusal(request.send().await.expect("an answer")).await, 404, "connector_unknown");
    }
    let reply = get(&bed, "/mail/me/messages").await;
    assert_eq!(reply.headers()["www-authenticate"], r#"Bearer realm="obo-gateway""#);
}

#[tokio::test]
async fn a_connector_at_the_root_leaves_the_well_known_places_to_the_gateway() {
    let bed = Setup::default()
        .config(|parts| {
            let mail = parts.mail(TOOLS).replace("path: /mail", "path: /");
            format!("{PUBLIC_URL}\n{}", parts.whole(&parts.issuer(), &mail))
        })
        .start()
        .await;
    assert_eq!(json_of(get(&bed, WELL_KNOWN).await).await["resource"], "https://gateway.example");
    for path in ["/.well-known/openid-configuration", "/.well-known/anything", "/.well-known"] {
        assert_refused(&refusal(get(&bed, path).await).await, 404, "connector_unknown");
    }
    assert_eq!(bed.get("/me/messages", &bed.token("ada")).await.status(), 200);
}

#[tokio::test]
async fn certificates_that_tokens_can_be_bound_to_are_in_the_metadata() {
    let world = World::start("tls_certificates", true).await;
    let metadata = world.read(&format!("https://localhost{WELL_KNOWN}/mail")).await;
    assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], true);
}

/// A gateway at `https://localhost`, before a server that does PKCE and does not say so.
struct World {
    bed: TestBed,
    client: Client,
    _certificates: TempDir,
}

impl World {
    async fn start(folder: &str, asks_for_certificates: bool) -> Self {
        let certificates_folder = tempfile::Builder::new().prefix(folder).tempdir().expect("a folder");
        let certificates = DevelopmentCertificates::ensure(certificates_folder.path()).expect("certificates");
        let authority = std::fs::read(&certificates.authority_path).expect("an authority");
        let (certificate, key) = (certificates.server.certificate_path, certificates.server.key_path);
        let clients = if asks_for_certificates { ", client_certificates: optional" } else { "" };
        let bed = Setup::default()
            .server(|settings| {
                settings.advertises_pkce = false;
                settings.gateway.identifier_uris = vec!["https://localhost/mail".to_owned()];
            })
            .config(move |parts| {
                let issuer = parts.issuer().replace(
                    "    exchange:",
                    "    required_scopes: [access_as_user]\n    publish_metadata: true\n    exchange:",
                );
                format!(
                    "public_url: https://localhost\ntls: {{ certificate: {}, key: {}{clients} }}\n{}",
                    certificate.display(),
                    key.display(),
                    parts.whole(&issuer, &parts.mail(TOOLS))
                )
            })
            .start()
            .await;
        // Its port is not in the address, so it is the one to go to.
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(20))
            .resolve("localhost", bed.gateway.agent_address())
            .tls_certs_merge([reqwest::Certificate::from_pem(&authority).expect("a certificate")])
            .build()
            .expect("a client");
        Self { bed, client, _certificates: certificates_folder }
    }

    async fn get(&self, url: &str) -> Response {
        self.client.get(url).send().await.expect("an answer")
    }

    /// Reads a document as a client does that is told to come back later.
    async fn read(&self, url: &str) -> Value {
        for _ in 0..100 {
            let response = self.get(url).await;
            if response.status() != 503 {
                return json_of(response).await;
            }
            assert!(response.headers().contains_key("retry-after"));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{url} is still not there")
    }

    /// The metadata of an authorization server, sought where MCP clients look.
    async fn server_metadata(&self, issuer: &str) -> Value {
        let url = Url::parse(issuer).expect("an address");
        let (origin, path) = (url.origin().ascii_serialization(), url.path().trim_end_matches('/'));
        let places = [
            format!("{origin}/.well-known/oauth-authorization-server{path}"),
            format!("{origin}/.well-known/openid-configuration{path}"),
            format!("{origin}{path}/.well-known/openid-configuration"),
        ];
        let first = self.read(&places[0]).await;
        for place in &places[1..] {
            assert_eq!(self.read(place).await, first, "{place}");
        }
        assert_eq!(first["issuer"], issuer, "or clients throw it away");
        first
    }

    /// A person signs in at a server's pages; gives the answer to the redirect address.
    async fn sign_in(&self, authorize: &str, who: &str) -> Vec<(String, String)> {
        let browser = client();
        let page = browser.get(authorize).send().await.expect("a page");
        let cookie = page.headers()["set-cookie"]
            .to_str()
            .expect("text")
            .split(';')
            .next()
            .expect("a cookie")
            .to_owned();
        let page = page.text().await.expect("a page");
        let between = |start: &str| {
            let at = page.find(start).unwrap_or_else(|| panic!("{start} in {page}")) + start.len();
            page[at..].split('"').next().expect("an end").to_owned()
        };
        let person = &self.bed.authorization_server.person(who).oid;
        let form = [("form_token", between("name=form_token value=\"")), ("person", person.clone())];
        let action = format!("{}{}", self.bed.authorization_server.origin(), between("action=\""));
        let answer =
            browser.post(action).header("cookie", cookie).form(&form).send().await.expect("an answer");
        let location = answer.headers()["location"].to_str().expect("text");
        Url::parse(location).expect("an address").query_pairs().into_owned().collect()
    }
}

/// The steps of an MCP client that knows nothing but the address of the connector: RFC 9728, RFC 8414, the code with
/// PKCE, the call.
#[tokio::test]
async fn a_client_that_knows_only_the_address_gets_to_a_call() {
    let world = World::start("steps", false).await;
    let address = "https://localhost/mail/me/messages";
    let challenge = Challenge::of(&world.get(address).await);
    let resource = world.read(challenge.get("resource_metadata").expect("an address")).await;
    assert_eq!(resource["resource"], "https://localhost/mail");
    let issuer = resource["authorization_servers"][0].as_str().expect("an issuer");
    assert_eq!(issuer, "https://localhost/issuers/contoso");
    let metadata = world.server_metadata(issuer).await;
    assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(metadata.get("authorization_response_iss_parameter_supported"), None);
    assert_eq!(metadata["token_endpoint"], world.bed.authorization_server.token_endpoint());
    assert!(
        metadata["authorization_endpoint"].as_str().is_some_and(|url| url.starts_with("http://127.0.0.1"))
    );

    let verifier = "a-verifier-of-forty-three-characters-or-more";
    let redirect = "http://127.0.0.1:9/callback";
    let query = [
        ("client_id", "demo-agent"),
        ("response_type", "code"),
        ("redirect_uri", redirect),
        ("scope", challenge.get("scope").expect("scopes")),
        ("resource", resource["resource"].as_str().expect("an address")),
        ("code_challenge", &sha256_base64url(verifier.as_bytes())),
        ("code_challenge_method", "S256"),
    ];
    let authorize = metadata["authorization_endpoint"].as_str().expect("an address");
    let authorize = Url::parse_with_params(authorize, query).expect("an address");
    let redirected = world.sign_in(authorize.as_str(), "ada").await;
    let code = redirected.iter().find(|(name, _)| name == "code").unwrap_or_else(|| panic!("{redirected:?}"));
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "demo-agent"),
        ("redirect_uri", redirect),
        ("code", &code.1),
        ("code_verifier", verifier),
    ];
    let endpoint = metadata["token_endpoint"].as_str().expect("an address");
    let answer = client().post(endpoint).form(&form).send().await.expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    let token = answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}"));
    let reply = world.client.get(address).bearer_auth(token).send().await.expect("an answer");
    assert_eq!(reply.status(), 200);
}

#[tokio::test]
async fn a_reload_goes_on_with_what_is_published() {
    let world = World::start("reload", false).await;
    let url = "https://localhost/.well-known/oauth-authorization-server/issuers/contoso";
    let before = world.read(url).await;
    world.bed.authorization_server.script(Endpoint::Discovery).always(Reply::status(500));
    world.bed.gateway.reload().await.expect("a good configuration");
    assert_eq!(json_of(world.get(url).await).await, before);
}

#[tokio::test]
async fn metadata_that_cannot_be_fetched_is_not_made_up() {
    let server = AuthorizationServer::start(Settings::default()).await.expect("a server");
    let connector = MailConnector::start(MailSettings::trusting(&server)).await.expect("a connector");
    let other = json!({
        "issuer": "https://evil.example",
        "authorization_endpoint": "https://evil.example/authorize",
        "token_endpoint": "https://evil.example/token",
    });
    server.script(Endpoint::Discovery).always(Reply::json(200, &other));
    let bed = TestBed::between(server, connector, |parts| {
        let known = format!(
            "    publish_metadata: true\n    jwks_uri: {}\n    token_endpoint: {}\n    exchange:",
            parts.authorization_server.jwks_uri(),
            parts.authorization_server.token_endpoint(),
        );
        let entra = format!("kind: entra\n    tenant: {}", parts.authorization_server.settings().tenant);
        let issuers = parts.issuer().replace("    exchange:", &known).replace(&entra, "kind: oidc");
        format!("{PUBLIC_URL}\n{}", parts.whole(&issuers, &parts.mail(TOOLS)))
    })
    .await;
    let asked = || bed.authorization_server.fetches(Endpoint::Discovery);
    for _ in 0..200 {
        if asked() > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(asked() > 0, "it was fetched, and it is another's");
    let response = get(&bed, "/.well-known/oauth-authorization-server/issuers/contoso").await;
    assert_eq!(response.headers()["retry-after"], "5");
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert_refused(&refusal(response).await, 503, "issuer_not_ready");
    assert_eq!(bed.outcomes(1).await, ["issuer_not_ready"]);
    assert_eq!(bed.admin("/readyz").await.0, 200, "no call waits for it");
}
