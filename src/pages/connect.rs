//! From the link of an agent to a connection: who asks for what, to the service and back, or no.
//!
//! Before anybody is signed in, a link shows nothing but where to sign in; to anybody but its person, nothing at all.

use std::sync::Arc;

use http::StatusCode;

use super::fields::Fields;
use super::link::{Link, LinkPage};
use super::problem::Problem;
use super::reply::Reply;
use super::sessions::Session;
use super::text::{self, NAME_CHARS_MAX};
use super::view::{ConnectPage, DonePage};
use super::{Visit, rendered};
use crate::audit::DeedKind;
use crate::connections::{Callback, ConnectError, Connected, Connections, Missing, Ticket, TicketId};
use crate::oauth::exchange::ExchangeError;
use crate::vault::VaultError;

impl Visit<'_> {
    /// `GET …/connect/{ticket}`: who asks for what.
    pub(super) async fn connect(&self, ticket: &str) -> Result<Reply, Problem> {
        let (id, asked) = self.asked(ticket)?;
        let Some(session) = &self.session else {
            let link = Link::new(LinkPage::Connect, ticket);
            return Ok(self.ask_to_sign_in(link.as_ref(), Some(&asked.holder.issuer), false));
        };
        self.check_person(&asked, session)?;
        let connections = self.connections()?;
        let account = match asked.missing {
            Missing::Consent => self.account_at(connections, &asked).await?,
            _ => None,
        };
        let connector = text::shown(asked.connector.as_str(), NAME_CHARS_MAX);
        let (tools, more_tools) = text::list(asked.tools.iter().map(|tool| tool.as_str()));
        let (scopes, more_scopes) = text::list(asked.scopes.iter());
        let is_connected = asked.missing.is_consent_alone();
        let page = ConnectPage {
            frame: self.frame(),
            title: match is_connected {
                true => format!("Let another agent use {connector}?"),
                false => format!("Connect {connector}?"),
            },
            agent: text::shown(asked.agent.as_str(), NAME_CHARS_MAX),
            place: connections.sign_in_host(&asked.connector).map(|host| text::shown(&host, NAME_CHARS_MAX)),
            why: why(asked.missing),
            connector,
            account,
            tools,
            more_tools,
            scopes,
            more_scopes,
            is_connected,
            begin: session.token(&format!("begin:{id}")),
            agree: session.token(&format!("agree:{id}")),
            decline: session.token(&format!("decline:{id}")),
            ticket: id.to_string(),
        };
        Ok(Reply::page(StatusCode::OK, rendered(&page)))
    }

    /// `GET …/connect/{ticket}/begin`: to the service. It is a link, since a form's redirect would have to stay with us
    /// (`form-action`); the token that it carries is of this session, this ticket, and this step.
    pub(super) async fn begin(&self, ticket: &str) -> Result<Reply, Problem> {
        let (id, asked) = self.asked(ticket)?;
        let session = self.session_for(&format!("begin:{id}"), self.query()?.get("token"))?;
        self.check_person(&asked, session)?;
        let connections = self.connections()?;
        let begun = connections
            .begin(&id, session.person().id(), &browser(session), &self.as_recorded(), self.now)
            .await;
        Ok(Reply::see_other(begun.map_err(|error| self.failed(&error))?.as_str()))
    }

    /// `GET …/callback/{connector}`: back from the service.
    pub(super) async fn callback(&self, connector: &str) -> Result<Reply, Problem> {
        let query = self.query()?;
        let callback = Callback {
            connector,
            state: query.required("state")?,
            code: query.get("code"),
            error: query.get("error"),
            iss: query.get("iss"),
        };
        let connections = self.connections()?;
        let Some(session) = &self.session else {
            // Who brings an answer without being signed in is nobody's browser that asked.
            let happening = self.begins(DeedKind::Connect)?;
            happening.failed(&Problem::NotBegun);
            return Err(Problem::NotBegun);
        };
        let (holder, browser, visit) = (session.person().id(), browser(session), self.as_recorded());
        let connected = connections.complete(&callback, holder, &browser, &visit, self.now).await;
        match connected {
            Ok(connected) => Ok(self.done(&connected, "is connected")),
            Err(ConnectError::Declined { error }) => {
                Err(Problem::of_answer(error.as_str(), query.get("error_description")))
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// `POST …/connect/{ticket}/agree`: another agent may use what is connected.
    pub(super) async fn agree(&self, ticket: &str, form: &Fields) -> Result<Reply, Problem> {
        let (id, asked) = self.asked(ticket)?;
        let session = self.session_for(&format!("agree:{id}"), form.get("token"))?;
        self.check_person(&asked, session)?;
        let agreed =
            self.connections()?.agree(&id, session.person().id(), &self.as_recorded(), self.now).await;
        match agreed {
            Ok(connected) => Ok(self.done(&connected, "can be used")),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// `POST …/connect/{ticket}/decline`: nothing is connected, and the link is used up.
    pub(super) fn decline(&self, ticket: &str, form: &Fields) -> Result<Reply, Problem> {
        let (id, asked) = self.asked(ticket)?;
        let session = self.session_for(&format!("decline:{id}"), form.get("token"))?;
        self.check_person(&asked, session)?;
        let declined = self.connections()?.decline(&id, session.person().id(), &self.as_recorded(), self.now);
        declined.map_err(|error| self.failed(&error))?;
        let agent = text::shown(asked.agent.as_str(), NAME_CHARS_MAX);
        let connector = text::shown(asked.connector.as_str(), NAME_CHARS_MAX);
        let page = DonePage {
            frame: self.frame(),
            title: "Declined".to_owned(),
            kind: "stopped",
            lines: vec![
                format!("{agent} cannot use {connector} for you, and the link is used up."),
                "You can close this window. For ten minutes the agent hears that you declined; if it asks after that, it gets a new \
                 link, which you can decline as well."
                    .to_owned(),
            ],
        };
        Ok(Reply::page(StatusCode::OK, rendered(&page)))
    }

    pub(super) fn connections(&self) -> Result<&Arc<Connections>, Problem> {
        self.pages.connections.as_ref().ok_or(Problem::NoConnections)
    }

    fn asked(&self, ticket: &str) -> Result<(TicketId, Ticket), Problem> {
        let id = TicketId::parse(ticket).ok_or(Problem::LinkGone)?;
        let asked = self.connections()?.ticket(&id, self.now).ok_or(Problem::LinkGone)?;
        Ok((id, asked))
    }

    fn check_person(&self, asked: &Ticket, session: &Session) -> Result<(), Problem> {
        if asked.holder == *session.person().id() {
            return Ok(());
        }
        let recorded = self.connections()?.opened_by_another(asked, &self.as_recorded());
        recorded.map_err(|error| self.failed(&error))?;
        tracing::warn!(request_id = self.reference, "Link opened by another person than it is for");
        Err(Problem::OtherPerson)
    }

    async fn account_at(&self, connections: &Connections, asked: &Ticket) -> Result<Option<String>, Problem> {
        let all = connections.of(&asked.holder).await.map_err(|_| Problem::VaultUnavailable)?;
        let summary = all.into_iter().find(|summary| summary.connector == asked.connector);
        Ok(summary.and_then(|summary| Some(text::shown(&summary.account?, NAME_CHARS_MAX))))
    }

    fn done(&self, connected: &Connected, how: &str) -> Reply {
        let agent = text::shown(connected.agent.as_str(), NAME_CHARS_MAX);
        let connector = text::shown(connected.connector.as_str(), NAME_CHARS_MAX);
        let account = match &connected.account {
            Some(account) => format!(" as {}", text::shown(account, NAME_CHARS_MAX)),
            None => String::new(),
        };
        let page = DonePage {
            frame: self.frame(),
            title: format!("{connector} {how}"),
            kind: "good",
            lines: vec![
                format!("{agent} can use {connector} for you now{account}."),
                "Go back to your agent, and let it try again. You can close this window.".to_owned(),
            ],
        };
        Reply::page(StatusCode::OK, rendered(&page))
    }

    fn failed(&self, error: &ConnectError) -> Problem {
        tracing::debug!(
            request_id = self.reference,
            error = %crate::error_chain::ErrorChain(error),
            "Connection not made"
        );
        Problem::from(error)
    }
}

/// Why the person is asked, where it is not for the first time.
fn why(missing: Missing) -> Option<&'static str> {
    match missing {
        Missing::Connection | Missing::Consent => None,
        Missing::Scopes => {
            Some("You have connected it before, but the agent needs more than you granted then.")
        }
        Missing::Settings => Some(
            "You have connected it before; its settings have changed since, so it has to be connected anew.",
        ),
        Missing::Renewal | Missing::Withdrawn => {
            Some("You have connected it before; that connection has ended, so it has to be connected anew.")
        }
        Missing::Unusable(_) => Some(
            "You have connected it before; what was kept of it cannot be used, so it has to be connected anew.",
        ),
    }
}

/// What ties a sign-in at a service to this browser and this session.
fn browser(session: &Session) -> String {
    session.digest().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl From<&ConnectError> for Problem {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::TicketOver => Self::LinkGone,
            ConnectError::OtherPerson => Self::OtherPerson,
            ConnectError::StateUnknown | ConnectError::OtherBrowser => Self::NotBegun,
            ConnectError::OtherServer => Self::WrongIssuer,
            ConnectError::Declined { error } => Self::of_answer(error.as_str(), None),
            ConnectError::NoCode => Self::Malformed,
            ConnectError::NothingToAgreeTo => Self::NoConnection,
            ConnectError::Forgotten => Self::NotKept,
            ConnectError::NotConfigured => Self::NoConnections,
            ConnectError::Exchange(error) => Self::of_exchange(error),
            ConnectError::Vault(VaultError::InDoubt(_)) => Self::InDoubt,
            ConnectError::Vault(_) => Self::VaultUnavailable,
            ConnectError::NotRecorded(_) => Self::Unrecorded,
            ConnectError::BrokeOff => Self::Broken,
        }
    }
}

impl Problem {
    fn of_exchange(error: &ExchangeError) -> Self {
        match error {
            ExchangeError::TimedOut { .. } => Self::TooSlow,
            ExchangeError::Unreachable { .. }
            | ExchangeError::CircuitOpen { .. }
            | ExchangeError::LeftAlone { .. }
            | ExchangeError::NoTokenEndpoint { .. } => Self::Unreachable,
            ExchangeError::Unusable { .. } => Self::UnusableAnswer,
            // RFC 6749 section 5.2: the code is used, old, or another's.
            ExchangeError::Refused { refused, .. } if refused.error.as_str() == "invalid_grant" => {
                Self::NotBegun
            }
            ExchangeError::Refused { .. }
            | ExchangeError::ScopesNotGranted { .. }
            | ExchangeError::MoreScopesGranted { .. } => Self::ProviderFailed(error.outcome().to_owned()),
            ExchangeError::NotRecorded(_) => Self::Unrecorded,
            ExchangeError::Unprepared { .. } => Self::Broken,
        }
    }
}
