//! From a request to what answers it, with the script of its endpoint in between.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::fault::Fault;
use super::form::Form;
use super::respond::json_response;
use super::tenant::{Endpoint, Tenant};
use crate::demo::body::Body;
use crate::demo::host::{Answer, Respond};

/// Largest request body. A token request holds two tokens and little else.
const REQUEST_BYTES_MAX: usize = 65_536;

/// What a request is for.
enum Route {
    Discovery,
    Jwks,
    Token,
    Introspection,
    Revocation,
    UserInfo,
    Authorize,
    SignIn,
    Consent,
    UnknownTenant(String),
    MethodNotAllowed(&'static str),
    NotFound,
}

impl Route {
    fn of(head: &Parts, tenant: &str) -> Self {
        let path: Vec<&str> = head.uri.path().trim_start_matches('/').split('/').collect();
        let (named, route) = match path.as_slice() {
            [named, "v2.0", ".well-known", "openid-configuration"]
            | [".well-known", "openid-configuration" | "oauth-authorization-server", named, "v2.0"] => {
                (*named, Self::Discovery)
            }
            [named, "discovery", "v2.0", "keys"] => (*named, Self::Jwks),
            [named, "oauth2", "v2.0", "token"] => (*named, Self::Token),
            [named, "oauth2", "v2.0", "introspect"] => (*named, Self::Introspection),
            [named, "oauth2", "v2.0", "revoke"] => (*named, Self::Revocation),
            [named, "oidc", "userinfo"] => (*named, Self::UserInfo),
            [named, "oauth2", "v2.0", "authorize"] => (*named, Self::Authorize),
            [named, "sign-in"] => (*named, Self::SignIn),
            [named, "consent"] => (*named, Self::Consent),
            _ => return Self::NotFound,
        };
        if named != tenant {
            return Self::UnknownTenant(named.to_owned());
        }
        let allowed = match route {
            Self::Token | Self::Introspection | Self::Revocation | Self::SignIn | Self::Consent => {
                Method::POST
            }
            _ => Method::GET,
        };
        match allowed {
            method if method == head.method => route,
            Method::POST => Self::MethodNotAllowed("POST"),
            _ => Self::MethodNotAllowed("GET"),
        }
    }

    fn endpoint(&self) -> Option<Endpoint> {
        match self {
            Self::Discovery => Some(Endpoint::Discovery),
            Self::Jwks => Some(Endpoint::Jwks),
            Self::Token => Some(Endpoint::Token),
            Self::Introspection => Some(Endpoint::Introspection),
            Self::Revocation => Some(Endpoint::Revocation),
            Self::UserInfo => Some(Endpoint::UserInfo),
            Self::Authorize | Self::SignIn | Self::Consent => Some(Endpoint::Authorize),
            Self::UnknownTenant(_) | Self::MethodNotAllowed(_) | Self::NotFound => None,
        }
    }
}

impl Respond for Tenant {
    async fn respond(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let route = Route::of(&head, &self.settings.tenant);
        let Some(endpoint) = route.endpoint() else {
            return self.answer(&route, &head, &Form::parse(&[]), 0).into();
        };
        self.count_fetch(endpoint);
        let reply = self.script(endpoint).next();
        let body = if reply.is_before_the_body() {
            Bytes::new()
        } else {
            match read(body).await {
                Ok(body) => body,
                Err(refused) => return (*refused).into(),
            }
        };
        let form = match route {
            Route::Authorize => Form::parse(head.uri.query().unwrap_or_default().as_bytes()),
            _ => Form::parse(&body),
        };
        let is_token = matches!(route, Route::Token);
        let number = if is_token { self.record_exchange(&head.headers, &form) } else { 0 };
        let answer = reply.play(async { self.answer(&route, &head, &form, number) }).await;
        if let Answer::Response(response) = &answer
            && is_token
        {
            self.record_status(number, response.status());
        }
        answer
    }
}

impl Tenant {
    fn answer(&self, route: &Route, head: &Parts, form: &Form, number: usize) -> Response<Body> {
        match route {
            Route::Discovery => json_response(StatusCode::OK, &self.metadata()),
            Route::Jwks => json_response(StatusCode::OK, &self.keys().key_set(&self.issuer())),
            Route::Token => self.answer_token(number, &head.headers, form),
            Route::Introspection => self.answer_introspection(&head.headers, form),
            Route::Revocation => self.answer_revocation(&head.headers, form),
            Route::UserInfo => self.answer_userinfo(&head.headers),
            Route::Authorize => self.begin_authorization(form, &head.headers),
            Route::SignIn => self.sign_in(form, &head.headers),
            Route::Consent => self.consent(form, &head.headers),
            Route::UnknownTenant(named) => {
                let named: String = named.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
                Fault::unknown_tenant(&named).answer(&head.headers, &self.origin)
            }
            Route::MethodNotAllowed(allowed) => {
                let mut response =
                    json_response(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": "method_not_allowed" }));
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
                response
            }
            Route::NotFound => json_response(StatusCode::NOT_FOUND, &json!({ "error": "not_found" })),
        }
    }

    /// OpenID Connect discovery, which serves as RFC 8414 metadata too.
    fn metadata(&self) -> Value {
        let own = self.settings.gateway.scopes.iter();
        let own = own.map(|scope| format!("{}/{}", self.settings.gateway.app_id_uri, scope.name));
        let scopes: Vec<String> = ["openid", "profile", "email", "offline_access"]
            .map(str::to_owned)
            .into_iter()
            .chain(own)
            .collect();
        let mut metadata = json!({
            "issuer": self.issuer(),
            "authorization_endpoint": self.authorization_endpoint(),
            "token_endpoint": self.token_endpoint(),
            "jwks_uri": self.jwks_uri(),
            "introspection_endpoint": self.introspection_endpoint(),
            "revocation_endpoint": self.revocation_endpoint(),
            "userinfo_endpoint": self.userinfo_endpoint(),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": [
                "authorization_code",
                "refresh_token",
                "client_credentials",
                "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ],
            "token_endpoint_auth_methods_supported": [
                "client_secret_post", "client_secret_basic", "private_key_jwt", "none",
            ],
            "token_endpoint_auth_signing_alg_values_supported": ["PS256", "RS256"],
            "subject_types_supported": [if self.settings.public_subjects { "public" } else { "pairwise" }],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": scopes,
            "authorization_response_iss_parameter_supported": true,
        });
        if self.settings.advertises_pkce {
            metadata["code_challenge_methods_supported"] = json!(["S256"]);
        }
        metadata
    }
}

async fn read(body: Incoming) -> Result<Bytes, Box<Response<Body>>> {
    match Limited::new(body, REQUEST_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let body = json!({ "error": "invalid_request", "error_description": "the body is too large" });
            Err(Box::new(json_response(StatusCode::PAYLOAD_TOO_LARGE, &body)))
        }
        Err(_) => {
            let body = json!({ "error": "invalid_request", "error_description": "the body broke off" });
            Err(Box::new(json_response(StatusCode::BAD_REQUEST, &body)))
        }
    }
}
