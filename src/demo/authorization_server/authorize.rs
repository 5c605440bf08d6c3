//! The authorization endpoint: sign-in, consent, and the code or the page in the end.

use std::time::Instant;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use url::{Host, Url};

use super::authorization_code::Code;
use super::form::Form;
use super::interaction::{AuthorizationRequest, CodeTo, Interaction};
use super::pages;
use super::respond::see_other;
use super::scopes::Asked;
use super::settings::{AgentClient, Consent, Scope};
use super::tenant::Tenant;
use crate::demo::body::Body;
use crate::demo::random;

/// Names the browser that a page was shown in.
const COOKIE: &str = "development-sign-in";

/// Why an authorization request is refused.
enum Refusal {
    /// There is nobody who may be told but the person.
    Page(String),
    /// The client is told, at its redirect address.
    Redirect { to: CodeTo, error: &'static str, text: String },
}

impl Tenant {
    /// `GET …/authorize`: checks the request and asks who is there.
    pub(super) fn begin_authorization(&self, query: &Form, headers: &HeaderMap) -> Response<Body> {
        let request = match self.check_authorization(query) {
            Ok(request) => request,
            Err(Refusal::Page(text)) => return pages::problem(StatusCode::BAD_REQUEST, &text),
            Err(Refusal::Redirect { to, error, text }) => {
                return self.redirect(&to, &[("error", error), ("error_description", &text)]);
            }
        };
        let hinted = query.get("login_hint").filter(|_| self.settings.signs_in_by_hint);
        if let Some(person) = hinted.and_then(|who| self.settings.people.iter().find(|person| person.is(who)))
        {
            return self.finish(&request, &person.oid);
        }
        let (browser, is_new) = browser(headers);
        let form_token =
            self.interactions.begin(Interaction { request: request.clone(), person: None }, &browser);
        let action = format!("/{}/sign-in", self.settings.tenant);
        let mut page = pages::sign_in(&request, &self.settings.people, &action, &form_token);
        if is_new {
            let cookie = format!(
                "{COOKIE}={browser}; Path=/{}; HttpOnly; SameSite=Strict; Max-Age=86400",
                self.settings.tenant
            );
            let cookie = HeaderValue::from_str(&cookie).expect("a token and a checked tenant make a cookie");
            page.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        page
    }

    /// `POST …/sign-in`: somebody said who they are.
    pub(super) fn sign_in(&self, form: &Form, headers: &HeaderMap) -> Response<Body> {
        let Some(interaction) = self.continue_interaction(form, headers) else { return stale() };
        let Some(person) = form.get("person").and_then(|oid| self.person(oid)) else {
            return pages::problem(StatusCode::BAD_REQUEST, "Nobody of that name can sign in here.");
        };
        let request = interaction.request;
        if !request.ask_consent {
            return self.finish(&request, &person.oid);
        }
        let (browser, _) = browser(headers);
        let scopes = self.scopes_asked(&request.asked);
        let next = Interaction { request: request.clone(), person: Some(person.oid.clone()) };
        let form_token = self.interactions.begin(next, &browser);
        let action = format!("/{}/consent", self.settings.tenant);
        pages::consent(&request, person, &scopes, &action, &form_token)
    }

    /// `POST …/consent`: the person agreed, or did not.
    pub(super) fn consent(&self, form: &Form, headers: &HeaderMap) -> Response<Body> {
        let Some(interaction) = self.continue_interaction(form, headers) else { return stale() };
        let Some(person) = interaction.person else { return stale() };
        let request = interaction.request;
        if form.get("answer") != Some("agree") {
            let Some(to) = request.code_to else { return pages::declined(&request.client_name) };
            let text = "AADSTS65004: User declined to consent to access the app.";
            return self.redirect(&to, &[("error", "access_denied"), ("error_description", text)]);
        }
        for scope in self.scopes_asked(&request.asked) {
            let audience = request.asked.audience.as_deref().unwrap_or_default();
            self.grant_consent(Consent::new(&person, &request.client_id, audience, &scope.name));
        }
        self.finish(&request, &person)
    }

    fn finish(&self, request: &AuthorizationRequest, person: &str) -> Response<Body> {
        let Some(to) = &request.code_to else {
            return pages::done(&request.client_name, &self.scopes_asked(&request.asked));
        };
        let code = self.codes.issue(
            Code {
                client_id: request.client_id.clone(),
                redirect_uri: to.redirect_uri.clone(),
                code_challenge: to.code_challenge.clone(),
                person: person.to_owned(),
                asked: request.asked.clone(),
                nonce: request.nonce.clone(),
                born: Instant::now(),
            },
            self,
        );
        self.redirect(to, &[("code", &code)])
    }

    /// Sends the browser back with `state` and, after RFC 9207, with `iss`.
    fn redirect(&self, to: &CodeTo, parameters: &[(&str, &str)]) -> Response<Body> {
        let mut url = Url::parse(&to.redirect_uri).expect("a redirect address was checked when it came in");
        url.query_pairs_mut().extend_pairs(parameters);
        if let Some(state) = &to.state {
            url.query_pairs_mut().append_pair("state", state);
        }
        url.query_pairs_mut().append_pair("iss", &self.issuer());
        see_other(url.as_str()).expect("a serialized URL is ASCII without controls")
    }

    fn continue_interaction(&self, form: &Form, headers: &HeaderMap) -> Option<Interaction> {
        // A browser that says where a form came from must say: from here.
        if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin") {
            return None;
        }
        let (browser, is_new) = browser(headers);
        if is_new { None } else { self.interactions.take(form.get("form_token")?, &browser) }
    }

    fn check_authorization(&self, query: &Form) -> Result<AuthorizationRequest, Refusal> {
        if query.check_repetition().is_err() {
            return Err(Refusal::Page("A parameter of this link is given twice.".to_owned()));
        }
        let client_id = query.get("client_id").unwrap_or_default();
        let settings = &self.settings;
        if client_id == settings.gateway.client_id && query.get("redirect_uri").is_none() {
            return self.check_consent_link(query);
        }
        let is_gateway = client_id == settings.gateway.client_id;
        if client_id != settings.agent.client_id && !is_gateway {
            let text =
                format!("AADSTS700016: there is no application '{client_id}' that people sign in to here.");
            return Err(Refusal::Page(text));
        }
        let redirect_uri = query.get("redirect_uri").unwrap_or_default();
        let is_registered = match is_gateway {
            true => settings.gateway.redirect_uris.iter().any(|registered| registered == redirect_uri),
            false => settings.agent.redirects_to(redirect_uri),
        };
        if !is_registered {
            let text = "AADSTS50011: the redirect address is not one that the application registered.";
            return Err(Refusal::Page(text.to_owned()));
        }
        let to = CodeTo {
            redirect_uri: redirect_uri.to_owned(),
            state: query.get("state").map(str::to_owned),
            code_challenge: query.get("code_challenge").unwrap_or_default().to_owned(),
        };
        let refuse = |error, text: &str| Refusal::Redirect { to: to.clone(), error, text: text.to_owned() };
        if query.get("response_type") != Some("code") {
            return Err(refuse("unsupported_response_type", "response_type must be code"));
        }
        if query.get("response_mode").is_some_and(|mode| mode != "query") {
            return Err(refuse("invalid_request", "response_mode must be query"));
        }
        if query.get("code_challenge_method") != Some("S256") || to.code_challenge.len() != 43 {
            return Err(refuse("invalid_request", "PKCE with S256 is required"));
        }
        if query.get("prompt") == Some("none") {
            return Err(refuse("login_required", "somebody must pick who they are"));
        }
        // RFC 8707: what the token is for must be the application whose scopes are asked for.
        if query.all("resource").any(|resource| !is_gateway && !settings.gateway.goes_by(resource)) {
            return Err(refuse("invalid_target", "AADSTS9010010: resource does not match the scopes"));
        }
        let scope = query.get("scope").unwrap_or_default();
        let implied = settings.resources.first().filter(|_| is_gateway);
        let implied = implied.map_or(&settings.gateway.client_id, |resource| &resource.audience);
        let asked = Asked::parse(scope, settings, implied)
            .map_err(|fault| refuse(fault.error(), "the scope is not valid"))?;
        if !is_gateway
            && asked.audience.as_ref().is_some_and(|audience| *audience != settings.gateway.client_id)
        {
            return Err(refuse("invalid_scope", "agents get tokens for the gateway alone"));
        }
        Ok(AuthorizationRequest {
            client_id: client_id.to_owned(),
            client_name: if is_gateway { settings.gateway.name.clone() } else { settings.agent.name.clone() },
            ask_consent: query.get("prompt") == Some("consent") && asked.audience.is_some(),
            asked,
            nonce: query.get("nonce").map(str::to_owned),
            code_to: Some(to),
        })
    }

    /// The link that a refusal for want of consent carries: the gateway's id, the scopes, and no way back.
    fn check_consent_link(&self, query: &Form) -> Result<AuthorizationRequest, Refusal> {
        let settings = &self.settings;
        let implied = settings.resources.first().map_or("", |resource| resource.audience.as_str());
        let asked = Asked::parse(query.get("scope").unwrap_or_default(), settings, implied)
            .map_err(|_| Refusal::Page("The scopes in this link are not valid.".to_owned()))?;
        if asked.audience.is_none() {
            return Err(Refusal::Page("This link names no permission to agree to.".to_owned()));
        }
        Ok(AuthorizationRequest {
            client_id: settings.gateway.client_id.clone(),
            client_name: settings.gateway.name.clone(),
            asked,
            nonce: None,
            ask_consent: true,
            code_to: None,
        })
    }

    /// The scopes named, or all of the resource for `.default`.
    fn scopes_asked(&self, asked: &Asked) -> Vec<Scope> {
        let resource = asked.audience.as_deref().and_then(|audience| self.settings.resource(audience));
        let scopes = resource.map(|resource| resource.scopes).unwrap_or_default();
        scopes.into_iter().filter(|scope| asked.default || asked.names.contains(&scope.name)).collect()
    }
}

impl AgentClient {
    /// Whether a redirect address is registered: exactly, or as any port of this machine (RFC 8252 section
    /// 7.3).
    fn redirects_to(&self, redirect_uri: &str) -> bool {
        let Ok(url) = Url::parse(redirect_uri) else { return false };
        if url.fragment().is_some() {
            return false;
        }
        if self.redirect_uris.iter().any(|registered| registered == redirect_uri) {
            return true;
        }
        let is_loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address == std::net::Ipv4Addr::LOCALHOST,
            Some(Host::Ipv6(_)) | None => false,
        };
        is_loopback && url.scheme() == "http" && url.username().is_empty() && url.password().is_none()
    }
}

/// The browser's name for itself, and whether we just made it up.
fn browser(headers: &HeaderMap) -> (String, bool) {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
    let ours = cookies
        .flat_map(|cookies| cookies.split("; "))
        .filter_map(|cookie| cookie.strip_prefix(COOKIE)?.strip_prefix('='))
        .find(|name| {
            name.len() == 43 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        });
    ours.map_or_else(|| (random::token(), true), |name| (name.to_owned(), false))
}

fn stale() -> Response<Body> {
    pages::problem(
        StatusCode::FORBIDDEN,
        "This form is no longer valid here. Go back to where you came from and begin again.",
    )
}
