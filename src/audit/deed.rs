//! What people do themselves on the gateway's pages, and what becomes of what they have connected.

use std::sync::Arc;

use http::{HeaderValue, Method};

use super::authentication::{Failure, Issued};
use super::record::{Destination, RequestId};
use crate::identity::{Actor, Issuer, IssuerName, Peer, PersonId, Scopes};
use crate::tool::{ConnectorName, ToolName};

/// Something that a person did, or that became of something they had connected. What is not known stays empty.
#[derive(Clone, Debug)]
pub struct Deed {
    /// What.
    pub kind: DeedKind,
    /// Who did it, or whose connection it is about. `None`: that never came to be known.
    pub person: Option<KnownPerson>,
    /// Whose it would have been, where that is somebody else.
    pub owner: Option<KnownPerson>,
    /// The agent that it is about.
    pub agent: Option<Actor>,
    /// The connector.
    pub connector: Option<ConnectorName>,
    /// The tool.
    pub tool: Option<ToolName>,
    /// The question about a single call, which the call's record names as well.
    pub question: Option<Arc<str>>,
    /// What a service calls the account. It is left out where people stand under pseudonyms.
    pub account: Option<Arc<str>>,
    /// The scopes that were asked for.
    pub requested: Option<Scopes>,
    /// Where the person signed in, or what was asked about tokens.
    pub server: Option<DeedServer>,
    /// The page that it was done on.
    pub visit: Option<PageVisit>,
    /// In the course of which request it came about, where there is no page.
    pub request: Option<RequestId>,
    /// How it ended.
    pub end: DeedEnd,
}

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeedKind {
    /// Signed in to the pages.
    SignIn,
    /// Signed out of them.
    SignOut,
    /// Opened a link that is for somebody else.
    ForeignLink,
    /// Connected an account.
    Connect,
    /// Agreed that another agent may use what is connected.
    Consent,
    /// Declined what an agent's link asks for.
    Decline,
    /// Took a connection away.
    Disconnect,
    /// A service was asked to take tokens back.
    ServiceRevocation,
    /// Agreed to a single call.
    Confirm,
    /// Declined a single call.
    DeclineCall,
}

impl DeedKind {
    /// As it stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::SignOut => "sign_out",
            Self::ForeignLink => "foreign_link",
            Self::Connect => "connect",
            Self::Consent => "consent",
            Self::Decline => "decline",
            Self::Disconnect => "disconnect",
            Self::ServiceRevocation => "service_revocation",
            Self::Confirm => "confirmation",
            Self::DeclineCall => "confirmation_decline",
        }
    }

    /// The outcome when all went well.
    pub const fn done(self) -> &'static str {
        match self {
            Self::SignIn => "signed_in",
            Self::SignOut => "signed_out",
            Self::ForeignLink => "opened",
            Self::Connect => "connected",
            Self::Consent => "consented",
            Self::Decline | Self::DeclineCall => "declined",
            Self::Disconnect => "disconnected",
            Self::ServiceRevocation => "revoked",
            Self::Confirm => "confirmed",
        }
    }
}

/// How a deed ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeedEnd {
    /// It is done; with the tokens that came of it, where some did.
    Done(Option<Issued>),
    /// It is not, or not as it was meant.
    Failed(Failure),
    /// Nobody heard the end of it: the browser went away, the gateway stopped, or its own code failed.
    BrokeOff,
}

/// A person, as the pages and connections know people: there is no token of theirs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownPerson {
    /// The gateway's name for the issuer, where it is at hand.
    pub issuer_name: Option<IssuerName>,
    /// Which person.
    pub id: PersonId,
    /// What people call them, where records are to say so.
    pub name: Option<Arc<str>>,
}

impl KnownPerson {
    /// This person, of whom nothing else is at hand.
    pub fn of(id: &PersonId) -> Self {
        Self { issuer_name: None, id: id.clone(), name: None }
    }
}

/// An authorization server that a person or the gateway went to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeedServer {
    /// The gateway's name for it.
    pub name: IssuerName,
    /// Its identifier, where it has one.
    pub issuer: Option<Issuer>,
    /// Its token endpoint, where it is known.
    pub endpoint: Option<Destination>,
    /// The gateway's own client there.
    pub client_id: Arc<str>,
}

/// A request for a page. Its query holds codes and states, and is not recorded.
#[derive(Clone, Debug)]
pub struct PageVisit {
    /// The request, which has a record of its own.
    pub request: RequestId,
    /// Who is signed in.
    pub person: Option<KnownPerson>,
    /// Who connected.
    pub peer: Peer,
    /// By which method.
    pub method: Method,
    /// Of which path.
    pub path: Arc<str>,
    /// What the browser calls itself.
    pub user_agent: Option<HeaderValue>,
}

impl Deed {
    /// Nothing but that it was begun.
    pub fn of(kind: DeedKind) -> Self {
        Self {
            kind,
            person: None,
            owner: None,
            agent: None,
            connector: None,
            tool: None,
            question: None,
            account: None,
            requested: None,
            server: None,
            visit: None,
            request: None,
            end: DeedEnd::BrokeOff,
        }
    }

    /// One that whoever asks for a page is about to do.
    pub fn on_page(kind: DeedKind, visit: &PageVisit) -> Self {
        Self { person: visit.person.clone(), visit: Some(visit.clone()), ..Self::of(kind) }
    }
}
