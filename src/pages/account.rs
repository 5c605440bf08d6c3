//! What a person has connected, and taking it back.

use http::StatusCode;

use super::fields::Fields;
use super::problem::Problem;
use super::reply::Reply;
use super::sessions::Session;
use super::text::{self, NAME_CHARS_MAX};
use super::view::{ConnectionView, ConnectionsPage};
use super::{Visit, rendered};
use crate::connections::{DisconnectError, Summary};
use crate::error_chain::ErrorChain;
use crate::tool::ConnectorName;
use crate::vault::VaultError;

impl Visit<'_> {
    /// `GET …/`: what the person has connected.
    pub(super) async fn account(&self) -> Result<Reply, Problem> {
        let Some(session) = &self.session else { return Ok(self.ask_to_sign_in(None, None, false)) };
        let query = self.query()?;
        let connections = match &self.pages.connections {
            Some(connections) => connections.of(session.person().id()).await.map_err(|error| {
                tracing::error!(error = %ErrorChain(&error), "Connections not read");
                Problem::VaultUnavailable
            })?,
            None => Vec::new(),
        };
        // What the address says is not shown: it only picks one of these sentences.
        let notice = match query.get("done") {
            Some("revoked") => Some("Disconnected. The service has taken the access back as well."),
            Some("disconnected") => Some("Disconnected. No agent can use it from here any more."),
            Some("not_revoked") => Some(
                "Disconnected: no agent can use it from here any more. The service itself could not be told; you can remove the \
                 access in your account there as well.",
            ),
            Some(_) | None => None,
        };
        let page = ConnectionsPage {
            frame: self.frame(),
            notice: notice.map(str::to_owned),
            connections: connections.iter().map(|summary| view(summary, session)).collect(),
        };
        Ok(Reply::page(StatusCode::OK, rendered(&page)))
    }

    /// `POST …/disconnect`.
    pub(super) async fn disconnect(&self, form: &Fields) -> Result<Reply, Problem> {
        let connector = form.required("connector")?;
        let session = self.session_for(&purpose(connector), form.get("token"))?;
        let (holder, connector) = (session.person().id(), ConnectorName::new(connector));
        let taken = self.connections()?.disconnect(holder, &connector, &self.as_recorded()).await;
        let taken = taken.map_err(|error| {
            tracing::error!(error = %ErrorChain(&error), "Connection not taken away");
            match error {
                DisconnectError::Vault(VaultError::InDoubt(_)) => Problem::InDoubt,
                DisconnectError::Vault(_) => Problem::VaultUnavailable,
                DisconnectError::NotRecorded(_) => Problem::Unrecorded,
            }
        })?;
        if !taken.was_there {
            return Err(Problem::NoConnection);
        }
        let done = match taken.revoked {
            Some(true) => "revoked",
            Some(false) => "not_revoked",
            None => "disconnected",
        };
        Ok(Reply::see_other(&format!("{}/?done={done}", self.pages.settings.base())))
    }
}

fn purpose(connector: &str) -> String {
    format!("disconnect:{connector}")
}

fn view(summary: &Summary, session: &Session) -> ConnectionView {
    let name = |text: &str| text::shown(text, NAME_CHARS_MAX);
    let used = summary.agents.iter().filter_map(|consent| consent.last_used).max();
    ConnectionView {
        id: summary.connector.as_str().to_owned(),
        connector: name(summary.connector.as_str()),
        account: summary.account.as_deref().map(name),
        scopes: text::all(summary.granted.iter().flat_map(|scopes| scopes.iter())),
        // A person sees each that has access.
        agents: text::all(summary.agents.iter().map(|consent| consent.agent.as_str())),
        connected: text::time(summary.connected_at),
        used: used.map_or_else(|| "Not yet".to_owned(), text::time),
        is_unusable: !summary.is_usable,
        disconnect: session.token(&purpose(summary.connector.as_str())),
    }
}
