//! Everything that can keep somebody from what they came for, and what they hear: what it is, and what to do.

use http::StatusCode;

use super::text;
use crate::audit::Fault;
use crate::oauth::error_response::is_declined;
use crate::oauth::outbound::OutboundError;
use crate::oauth::sign_in::SignInError;

/// Most characters of what another server says.
const DETAIL_CHARS_MAX: usize = 200;

/// How long somebody waits who hears that too many sign in where they are: a few that came to nothing are forgiven by then.
const RETRY_AFTER_SECONDS: u64 = 10;

/// Why a page is not the one that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// There is no such page.
    NotFound,
    /// There is, and it does not take this method.
    Method(&'static str),
    /// The request gives a parameter twice, or lacks one, or has one of another form.
    Malformed,
    /// The form is larger than any of ours.
    TooLarge,
    /// The form did not come to its end.
    Unread,
    /// The form or link is not of this page in this session.
    NotOurs,
    /// Nobody is signed in, or not any more.
    SignedOut,
    /// An answer came back for which this browser began nothing: it is old, was used, or was begun elsewhere.
    NotBegun,
    /// The answer is from another server than was asked.
    WrongIssuer,
    /// The person, or their organisation, said no at the other server.
    Refused(String),
    /// The person, or their organisation, said no at their own issuer.
    NotLetIn(String),
    /// The other server gave an error.
    ProviderFailed(String),
    /// The other server cannot be reached.
    Unreachable,
    /// The other server took too long.
    TooSlow,
    /// What the person's issuer said cannot be trusted.
    Distrusted,
    /// What a service said cannot be used.
    UnusableAnswer,
    /// Nobody signs in there.
    NotOffered,
    /// Too many people sign in at once.
    Busy,
    /// Too many people sign in from one address at once, or too many of them came to nothing.
    TooMany,
    /// The person was forgotten while they signed in.
    Forgotten,
    /// The link is used, too old, or never was one.
    LinkGone,
    /// The link is for somebody else.
    OtherPerson,
    /// The question has been answered, used or forgotten, is too old, or never was one.
    QuestionOver,
    /// The question has been answered otherwise.
    Answered,
    /// There is no such connection, or not any more.
    NoConnection,
    /// The person was forgotten while they signed in at a service.
    NotKept,
    /// No connector has connections.
    NoConnections,
    /// The gateway cannot keep or read connections at the moment.
    VaultUnavailable,
    /// It may have been done: the vault's disk did not say in time.
    InDoubt,
    /// The gateway cannot record what is done at the moment.
    Unrecorded,
    /// It was done, and the gateway cannot say that the record of it is safe.
    NotRecordedYet,
    /// The gateway's own code failed.
    Broken,
}

/// What the person hears.
pub struct Heard {
    /// The status code.
    pub status: StatusCode,
    /// The heading.
    pub title: &'static str,
    /// What is wrong.
    pub what: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

const LINK_AGAIN: &str =
    "Go back to your agent and ask it again for what you wanted. It will give you a new link.";
const BEGIN_AGAIN: &str = "Open the link that your agent gave you once more, in the browser that you want to sign in with, and stay in \
                           that window until you are back here.";
const ASK_OPERATOR: &str = "Try again in a few minutes. If it stays like this, ask whoever runs this gateway, and give them the reference \
                            below.";

impl Problem {
    /// What the person hears. No arm is left out: a new problem does not compile until someone has chosen its words.
    pub fn heard(&self) -> Heard {
        let heard = |status, title, what, remedy| Heard { status, title, what, remedy };
        match self {
            Self::NotFound => heard(
                StatusCode::NOT_FOUND,
                "There is no such page",
                "The address may have been cut when it was copied.",
                "If you came by a link of your agent, copy all of it. Otherwise begin at your connections.",
            ),
            Self::Method(_) => heard(
                StatusCode::METHOD_NOT_ALLOWED,
                "This page does not work like that",
                "It was asked in a way that it does not answer to.",
                "Begin at your connections, and use the buttons there.",
            ),
            Self::Malformed => heard(
                StatusCode::BAD_REQUEST,
                "This request makes no sense here",
                "Something is missing in it, or is there twice. The address may have been cut or changed.",
                LINK_AGAIN,
            ),
            Self::TooLarge => heard(
                StatusCode::PAYLOAD_TOO_LARGE,
                "This form is too large",
                "It is larger than any form of these pages.",
                "Begin at your connections, and use the buttons there.",
            ),
            Self::Unread => heard(
                StatusCode::REQUEST_TIMEOUT,
                "The form did not arrive",
                "The connection broke off, or took too long.",
                "Go back and try it again. Nothing has been changed.",
            ),
            Self::NotOurs => heard(
                StatusCode::FORBIDDEN,
                "This did not come from your page",
                "What you sent was not made by this page in your present session, so it was not done. Perhaps you have signed \
                 in anew since, or another site tried to act for you.",
                "Go to your connections, look whether all is as you want it, and use the buttons there.",
            ),
            Self::SignedOut => heard(
                StatusCode::FORBIDDEN,
                "You are not signed in any more",
                "You were away for a while, so you have been signed out, and nothing was changed.",
                "Sign in again under your connections, or open the link of your agent once more.",
            ),
            Self::NotBegun => heard(
                StatusCode::BAD_REQUEST,
                "This sign-in cannot be completed",
                "It was begun in another browser or window, has been completed already, or has taken too long.",
                BEGIN_AGAIN,
            ),
            Self::WrongIssuer => heard(
                StatusCode::BAD_REQUEST,
                "This answer is from the wrong place",
                "You were sent back by another server than the one you were sent to, so nothing has been done. That can be a fault in \
                 its settings, or somebody's attempt to mislead you.",
                "Do not try it again with the same link. Tell whoever runs this gateway, and give them the reference below.",
            ),
            Self::Refused(_) => heard(
                StatusCode::FORBIDDEN,
                "Nothing has been connected",
                "You chose not to go on, or your account is not allowed to.",
                "If that is what you wanted, there is nothing more to do. Otherwise ask your agent again, and agree there; if you \
                 are not allowed to, ask whoever looks after that account.",
            ),
            Self::NotLetIn(_) => heard(
                StatusCode::FORBIDDEN,
                "You have not been signed in",
                "You chose not to go on, or your organisation does not let you sign in here.",
                "If you do want to sign in, begin again. If you are not allowed to, ask your organisation, and give them the \
                 reference below.",
            ),
            Self::ProviderFailed(_) => heard(
                StatusCode::BAD_GATEWAY,
                "The other side could not complete this",
                "The place where you were to sign in gave an error. Nothing has been changed here.",
                ASK_OPERATOR,
            ),
            Self::Unreachable => heard(
                StatusCode::BAD_GATEWAY,
                "The other side cannot be reached",
                "The place where you sign in does not answer the gateway at the moment. Nothing has been changed here.",
                ASK_OPERATOR,
            ),
            Self::TooSlow => heard(
                StatusCode::GATEWAY_TIMEOUT,
                "The other side took too long",
                "The place where you sign in did not answer the gateway in time. Nothing has been changed here.",
                ASK_OPERATOR,
            ),
            Self::Distrusted => heard(
                StatusCode::BAD_GATEWAY,
                "The other side's answer cannot be trusted",
                "The place where you signed in did not say who you are in a way that the gateway can check, so you are not \
                 signed in.",
                ASK_OPERATOR,
            ),
            Self::UnusableAnswer => heard(
                StatusCode::BAD_GATEWAY,
                "The other side's answer cannot be used",
                "The place where you signed in gave the gateway something else than what was agreed on, so nothing has been connected.",
                ASK_OPERATOR,
            ),
            Self::NotOffered => heard(
                StatusCode::NOT_FOUND,
                "Nobody signs in there",
                "This gateway does not let people sign in at the place that the link names, or not any more.",
                "Begin at your connections, and choose from what is there.",
            ),
            Self::Busy => heard(
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many people sign in at once",
                "The gateway completes only so many sign-ins at a time.",
                "Wait a minute, and begin again.",
            ),
            Self::TooMany => heard(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many sign-ins come from where you are",
                "The gateway completes only so many sign-ins of one address at a time, and waits after many that came to nothing. \
                 Others may share that address with you. Your sign-in has not been used.",
                "Wait ten seconds, and load this page again. If you are told then that it cannot be completed, begin again.",
            ),
            Self::Forgotten => heard(
                StatusCode::CONFLICT,
                "You were forgotten while you signed in",
                "Whoever runs this gateway had it forget all that it held for you, just at that moment, so you are not signed in.",
                "If you want to go on, sign in again.",
            ),
            Self::LinkGone => heard(
                StatusCode::GONE,
                "This link does not lead anywhere any more",
                "Links of agents work once, and for ten minutes. This one has been used or declined, is older than that, or was not \
                 copied whole.",
                "Go back to your agent and ask it again for what you wanted. It will give you a new link, unless you have declined in \
                 the last ten minutes: then wait until they are over.",
            ),
            Self::QuestionOver => heard(
                StatusCode::GONE,
                "There is nothing to answer here any more",
                "An agent's question waits ten minutes for its answer, and what you agreed to runs once. This one is over, or its \
                 link was not copied whole.",
                "Go back to your agent. If what you wanted has not been done, ask for it again: you will get a new link.",
            ),
            Self::Answered => heard(
                StatusCode::CONFLICT,
                "You have answered this already",
                "You gave the other answer before, perhaps in another window, and that one counts.",
                "If you have changed your mind, tell your agent.",
            ),
            Self::OtherPerson => heard(
                StatusCode::FORBIDDEN,
                "This link is for somebody else",
                "The agent asked for another person than the one who is signed in here. Nothing has been done, and the link shows \
                 nothing more to you.",
                "If it is your agent, sign in with the account that your agent works for. If somebody sent you the link, do not use it, \
                 and tell them that it is for them alone.",
            ),
            Self::NoConnection => heard(
                StatusCode::NOT_FOUND,
                "There is no such connection",
                "It has been disconnected already, perhaps in another window.",
                "Look under your connections what there is.",
            ),
            Self::NotKept => heard(
                StatusCode::GONE,
                "Nothing has been connected",
                "While you signed in, whoever runs this gateway had it forget all that it held for you. So what you have just granted \
                 was not kept.",
                LINK_AGAIN,
            ),
            Self::NoConnections => heard(
                StatusCode::NOT_FOUND,
                "There is nothing to connect",
                "No system behind this gateway takes accounts of your own, or not any more.",
                "Go back to your agent and ask it again for what you wanted. If it sends you here again, ask whoever runs this \
                 gateway.",
            ),
            Self::InDoubt => heard(
                StatusCode::SERVICE_UNAVAILABLE,
                "This may have been done",
                "The gateway's disk has not said in time whether it keeps this.",
                "Wait a minute, open your connections, and look whether all is as you want it. If it stays like this, ask whoever runs \
                 this gateway, and give them the reference below.",
            ),
            Self::VaultUnavailable => heard(
                StatusCode::SERVICE_UNAVAILABLE,
                "Connections are not available at the moment",
                "The gateway cannot read or keep connections now, so nothing has been changed.",
                ASK_OPERATOR,
            ),
            Self::Unrecorded => heard(
                StatusCode::SERVICE_UNAVAILABLE,
                "This cannot be done at the moment",
                "The gateway keeps a record of all that is done here, and cannot write it now, so nothing has been changed.",
                ASK_OPERATOR,
            ),
            Self::NotRecordedYet => heard(
                StatusCode::SERVICE_UNAVAILABLE,
                "This may have been done",
                "The gateway keeps a record of all that is done here, and cannot say whether the record of this is safe.",
                "Wait a minute, open your connections, and look whether all is as you want it. If it stays like this, ask whoever runs \
                 this gateway, and give them the reference below.",
            ),
            Self::Broken => heard(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong here",
                "It is the gateway's own fault.",
                ASK_OPERATOR,
            ),
        }
    }

    /// What it is called in records.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Method(_) => "method_not_allowed",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Unread => "unread",
            Self::NotOurs => "not_ours",
            Self::SignedOut => "signed_out",
            Self::NotBegun => "not_begun",
            Self::WrongIssuer => "other_server",
            Self::Refused(_) => "declined_at_service",
            Self::NotLetIn(_) => "not_let_in",
            Self::ProviderFailed(_) => "service_error",
            Self::Unreachable => "unreachable",
            Self::TooSlow => "timed_out",
            Self::Distrusted => "distrusted",
            Self::UnusableAnswer => "unusable",
            Self::NotOffered => "not_offered",
            Self::Busy => "busy",
            Self::TooMany => "too_many",
            Self::Forgotten | Self::NotKept => "forgotten",
            Self::LinkGone => "link_gone",
            Self::QuestionOver => "question_over",
            Self::Answered => "answered_otherwise",
            Self::OtherPerson => "other_person",
            Self::NoConnection => "no_connection",
            Self::NoConnections => "not_configured",
            Self::VaultUnavailable | Self::InDoubt => "vault_unavailable",
            Self::Unrecorded | Self::NotRecordedYet => "audit_unavailable",
            Self::Broken => "internal_error",
        }
    }

    /// Who can do something about it.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NotFound
            | Self::Method(_)
            | Self::Malformed
            | Self::TooLarge
            | Self::Unread
            | Self::NotOurs
            | Self::SignedOut
            | Self::NotBegun
            | Self::Refused(_)
            | Self::NotLetIn(_)
            | Self::NotOffered
            | Self::TooMany
            | Self::Forgotten
            | Self::LinkGone
            | Self::QuestionOver
            | Self::Answered
            | Self::OtherPerson
            | Self::NoConnection
            | Self::NotKept => Fault::User,
            Self::WrongIssuer
            | Self::ProviderFailed(_)
            | Self::Unreachable
            | Self::TooSlow
            | Self::Distrusted
            | Self::UnusableAnswer => Fault::AuthorizationServer,
            Self::Busy
            | Self::NoConnections
            | Self::VaultUnavailable
            | Self::InDoubt
            | Self::Unrecorded
            | Self::NotRecordedYet
            | Self::Broken => Fault::Gateway,
        }
    }

    /// The seconds after which the same may go well, for programs.
    pub const fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooMany => Some(RETRY_AFTER_SECONDS),
            _ => None,
        }
    }

    /// What the other server said, for whoever helps.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Refused(detail) | Self::NotLetIn(detail) | Self::ProviderFailed(detail)
                if !detail.is_empty() =>
            {
                Some(text::shown(detail, DETAIL_CHARS_MAX))
            }
            _ => None,
        }
    }

    /// What an answer with an error comes down to. `error` and `description` are what the other server says.
    pub fn of_answer(error: &str, description: Option<&str>) -> Self {
        let said = match description {
            Some(description) => format!("{error}: {description}"),
            None => error.to_owned(),
        };
        if is_declined(error) { Self::Refused(said) } else { Self::ProviderFailed(said) }
    }
}

impl From<&SignInError> for Problem {
    fn from(error: &SignInError) -> Self {
        match error {
            SignInError::NotOffered(_) => Self::NotOffered,
            SignInError::EndpointUnknown(_) => Self::Unreachable,
            SignInError::NotAsked(_) => Self::Broken,
            SignInError::Outbound { source: OutboundError::TimedOut { .. }, .. } => Self::TooSlow,
            SignInError::Outbound { .. } => Self::Unreachable,
            // RFC 6749 section 5.2: the code is used, old, or another's.
            SignInError::Refused { error, .. } if error.as_str() == "invalid_grant" => Self::NotBegun,
            SignInError::Refused { error, .. } => Self::ProviderFailed(error.as_str().to_owned()),
            SignInError::NoIdToken(_) | SignInError::Token(_) | SignInError::IdToken(_) => Self::Distrusted,
        }
    }
}
