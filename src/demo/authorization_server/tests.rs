//! The server over real sockets, as its callers meet it.

use std::time::Duration;

use http::StatusCode;
use reqwest::Response;
use serde_json::Value;

use super::*;
use crate::demo::testing::{client, header, json};

mod exchange;
mod id_jag;
mod manners;
mod on_behalf_of;
mod sign_in;

const GATEWAY: &str = "9d2a6f8e-1c34-4e0b-8f57-6a0b9c3de200";
const MAIL_READ: &str = "https://graph.demo.test/Mail.Read";
const MAIL_SEND: &str = "https://graph.demo.test/Mail.Send";

async fn start() -> AuthorizationServer {
    AuthorizationServer::start(Settings::default()).await.expect("a loopback port is free")
}

async fn start_with(change: impl FnOnce(&mut Settings)) -> AuthorizationServer {
    let mut settings = Settings::default();
    change(&mut settings);
    AuthorizationServer::start(settings).await.expect("a loopback port is free")
}

/// A form, begun as a good one and then changed.
#[derive(Clone)]
struct TestForm(Vec<(String, String)>);

impl TestForm {
    fn new(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// A good on-behalf-of request for a person.
    fn on_behalf_of(server: &AuthorizationServer, who: &str, scope: &str) -> Self {
        let assertion = server.subject_token(who).mint();
        Self::new(&[
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("requested_token_use", "on_behalf_of"),
            ("client_id", GATEWAY),
            ("client_secret", &server.settings().gateway.secret),
            ("assertion", &assertion),
            ("scope", scope),
        ])
    }

    /// A good token exchange for a person, to the mail connector.
    fn token_exchange(server: &AuthorizationServer, who: &str) -> Self {
        let subject_token = server.subject_token(who).mint();
        Self::new(&[
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("client_id", GATEWAY),
            ("client_secret", &server.settings().gateway.secret),
            ("subject_token", &subject_token),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("audience", MAIL_AUDIENCE),
            ("scope", "Mail.Read"),
        ])
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.0.retain(|(key, _)| key != name);
        self.and(name, value)
    }

    fn and(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.0.retain(|(key, _)| key != name);
        self
    }

    async fn post(&self, server: &AuthorizationServer) -> Response {
        let request = client().post(server.token_endpoint()).form(&self.0);
        request.send().await.expect("the server answers")
    }

    async fn granted(&self, server: &AuthorizationServer) -> Value {
        let response = self.post(server).await;
        let status = response.status();
        let body = json(response).await;
        assert_eq!(status, StatusCode::OK, "{}", body["error_description"]);
        body
    }

    async fn refused(&self, server: &AuthorizationServer) -> (u16, Value) {
        let response = self.post(server).await;
        assert_eq!(header(&response, "cache-control"), "no-store");
        (response.status().as_u16(), json(response).await)
    }
}
