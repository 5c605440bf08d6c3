//! The connector over real sockets, with the real tokens of the authorization server beside it.

use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use super::*;
use crate::demo::authorization_server::{Settings, TokenBuilder};
use crate::demo::testing::{client, json};

mod graph;
mod manners;

/// An authorization server and a connector that trusts it.
struct Pair {
    server: AuthorizationServer,
    mail: MailConnector,
}

impl Pair {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        change(&mut settings);
        let server = AuthorizationServer::start(settings).await.expect("a loopback port is free");
        let mail =
            MailConnector::start(MailSettings::trusting(&server)).await.expect("a loopback port is free");
        Self { server, mail }
    }

    /// A delegated token for a person's mail, as an exchange would give it.
    fn token(&self, who: &str, scopes: &str) -> TokenBuilder {
        let gateway = &self.server.settings().gateway.client_id;
        self.server.subject_token(who).audience(MAIL_AUDIENCE).scopes(scopes).agent(gateway)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.mail.base_url())
    }

    fn get_request(&self, path: &str, token: &str) -> RequestBuilder {
        client().get(self.url(path)).bearer_auth(token)
    }

    async fn get(&self, path: &str, token: &TokenBuilder) -> Response {
        self.get_request(path, &token.mint()).send().await.expect("the connector answers")
    }

    async fn subjects(&self, who: &str) -> Vec<String> {
        let response = self.get("/me/messages", &self.token(who, "Mail.Read")).await;
        assert_eq!(response.status(), 200);
        let body = json(response).await;
        let messages = body["value"].as_array().expect("a list");
        messages.iter().map(|one| one["subject"].as_str().expect("text").to_owned()).collect()
    }
}
