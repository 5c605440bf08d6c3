//! What an agent hears whose caller is not known: about the token, the proof that goes with it, and the agent's own.

use http::StatusCode;

use super::{RETRY_AFTER_DEFAULT, insufficient_scope, issuer_not_ready, unavailable};
use crate::audit::Fault;
use crate::gateway::answer::{Answer, Challenge, DpopError};
use crate::gateway::authenticate::AuthenticateError;
use crate::oauth::claims::ClaimsError;
use crate::oauth::dpop::ProofError;
use crate::oauth::jws::{JwsError, OtherToken};
use crate::oauth::key_set::RETRY_AFTER_WITHOUT_KEYS;
use crate::oauth::possession::PossessionError;
use crate::oauth::verifier::{AgentError, VerifyError};

/// What an agent hears whose caller is not known.
pub fn answer_to_authentication(error: &AuthenticateError) -> Answer {
    match error {
        AuthenticateError::NoCredentials | AuthenticateError::OtherScheme => Answer {
            challenge: Challenge::Bearer,
            ..Answer::new(
                StatusCode::UNAUTHORIZED,
                "no_credentials",
                Fault::Agent,
                "Sign in; the agent then has to send your access token in the Authorization header.",
            )
        },
        AuthenticateError::Repeated(_) | AuthenticateError::Malformed(_) => authorization_malformed(),
        AuthenticateError::NoProof => proof_invalid(),
        AuthenticateError::Token(error) => answer_to_token(error),
    }
}

fn authorization_malformed() -> Answer {
    Answer {
        challenge: Challenge::InvalidRequest,
        ..Answer::bad_request(
            "authorization_malformed",
            "The agent has to send each of its credentials once: one token in one Authorization header.",
        )
    }
}

fn answer_to_token(error: &VerifyError) -> Answer {
    match error {
        VerifyError::NotAToken => authorization_malformed(),
        VerifyError::Form(JwsError::TooLarge) => Answer::invalid_token(
            "token_too_large",
            Fault::Agent,
            "The agent has to send an access token of at most 16 KiB.",
        ),
        VerifyError::Form(JwsError::Malformed) => Answer::invalid_token(
            "token_malformed",
            Fault::Agent,
            "The agent has to send the access token unchanged.",
        ),
        VerifyError::Form(JwsError::Repeated) => Answer::invalid_token(
            "token_member_repeated",
            Fault::Agent,
            "The agent has to send the access token unchanged: this one says something twice.",
        ),
        VerifyError::Form(JwsError::Encrypted) => Answer::invalid_token(
            "token_encrypted",
            Fault::Agent,
            "The agent has to ask for a signed access token: this one is encrypted, and the gateway cannot read it.",
        ),
        VerifyError::Form(JwsError::Algorithm) => Answer::invalid_token(
            "token_algorithm_refused",
            Fault::Agent,
            "The agent has to send an access token that its issuer signed with an asymmetric key.",
        ),
        VerifyError::Form(JwsError::Header(_)) => Answer::invalid_token(
            "token_header_refused",
            Fault::Agent,
            "The agent has to send an access token as its issuer makes it, without `crit` and without keys of its own.",
        ),
        VerifyError::Form(JwsError::Type(other)) => not_an_access_token(*other),
        VerifyError::UnknownIssuer => Answer::invalid_token(
            "issuer_unknown",
            Fault::User,
            "Sign in with an account of an organisation that this gateway serves.",
        ),
        VerifyError::KeysUnavailable { .. } => issuer_not_ready(RETRY_AFTER_WITHOUT_KEYS),
        VerifyError::Inactive => Answer::invalid_token(
            "token_inactive",
            Fault::User,
            "Sign in again: your access token has expired or was revoked.",
        ),
        VerifyError::IntrospectionFailed { .. } => unavailable(None),
        VerifyError::UnknownKey => Answer::invalid_token(
            "signing_key_unknown",
            Fault::Agent,
            "Sign in again to get a newly signed token.",
        ),
        VerifyError::Signature => Answer::invalid_token(
            "signature_invalid",
            Fault::Agent,
            "The agent has to send the access token unchanged.",
        ),
        VerifyError::Claims(error) => answer_to_claims(error),
        VerifyError::Possession(error) => answer_to_possession(error),
        VerifyError::Agent(error) => answer_to_agent(error),
    }
}

fn answer_to_agent(error: &AgentError) -> Answer {
    match error {
        AgentError::NoToken => Answer::invalid_token(
            "actor_token_required",
            Fault::Agent,
            "The agent has to send an access token of its own in the Obo-Actor-Token header, beside yours.",
        ),
        AgentError::Token(error) => match &**error {
            VerifyError::KeysUnavailable { .. }
            | VerifyError::IntrospectionFailed { .. }
            | VerifyError::Claims(ClaimsError::Agent) => answer_to_token(error),
            VerifyError::NotAToken
            | VerifyError::Form(_)
            | VerifyError::UnknownIssuer
            | VerifyError::UnknownKey
            | VerifyError::Signature
            | VerifyError::Inactive
            | VerifyError::Claims(_)
            | VerifyError::Possession(_)
            | VerifyError::Agent(_) => actor_token_refused(),
        },
        AgentError::Another => Answer::forbidden(
            "actor_not_authorized",
            Fault::Agent,
            "Sign in through this agent: your access token was issued to another one, which does not let it act for you.",
        ),
    }
}

const fn actor_token_refused() -> Answer {
    Answer::invalid_token(
        "actor_token_refused",
        Fault::Agent,
        "The agent has to get itself a new access token of its own for this gateway and send it in the Obo-Actor-Token header.",
    )
}

fn answer_to_possession(error: &PossessionError) -> Answer {
    match error {
        PossessionError::CameAsBearer => Answer {
            challenge: Challenge::Dpop(DpopError::InvalidToken),
            ..Answer::invalid_token(
                "token_bound",
                Fault::Agent,
                "The agent has to send your access token with the DPoP scheme and a proof: it is bound to the agent's key.",
            )
        },
        PossessionError::ProofsNotServed => Answer::invalid_token(
            "token_bound",
            Fault::Agent,
            "The agent has to ask for an access token that is not bound to a key: this gateway does not check proofs.",
        ),
        PossessionError::NoCertificate => Answer::invalid_token(
            "token_bound",
            Fault::Agent,
            "The agent has to connect with its client certificate: your access token is bound to it.",
        ),
        PossessionError::OtherCertificate => Answer::invalid_token(
            "certificate_mismatch",
            Fault::Agent,
            "The agent has to connect with the client certificate that it got your access token with.",
        ),
        PossessionError::NotBound => Answer {
            challenge: Challenge::Dpop(DpopError::InvalidToken),
            ..Answer::invalid_token(
                "token_not_bound",
                Fault::Agent,
                "The agent has to send your access token with the Bearer scheme: it is not bound to a key.",
            )
        },
        PossessionError::Proof(ProofError::Nonce { next }) => Answer {
            challenge: Challenge::Dpop(DpopError::NonceNeeded),
            dpop_nonce: Some(next.clone()),
            ..Answer::invalid_token(
                "dpop_nonce_required",
                Fault::Agent,
                "The agent has to put the nonce of this answer into its DPoP proof and send the call again.",
            )
        },
        PossessionError::Proof(ProofError::Replayed) => Answer {
            challenge: Challenge::Dpop(DpopError::InvalidProof),
            ..Answer::invalid_token(
                "dpop_proof_replayed",
                Fault::Agent,
                "The agent has to make a new DPoP proof for every call.",
            )
        },
        PossessionError::Proof(ProofError::TooMany) => Answer::later(
            StatusCode::SERVICE_UNAVAILABLE,
            "dpop_proofs_exhausted",
            Fault::Gateway,
            "More calls with DPoP proofs came than the gateway can tell apart; try again in some minutes.",
            RETRY_AFTER_DEFAULT,
        ),
        PossessionError::Proof(
            ProofError::Malformed(_)
            | ProofError::Missing(_)
            | ProofError::Signature
            | ProofError::OtherKey
            | ProofError::OtherToken
            | ProofError::OtherRequest(_)
            | ProofError::OutOfTime,
        ) => proof_invalid(),
    }
}

fn proof_invalid() -> Answer {
    Answer {
        challenge: Challenge::Dpop(DpopError::InvalidProof),
        ..Answer::invalid_token(
            "dpop_proof_invalid",
            Fault::Agent,
            "The agent has to send a fresh DPoP proof for this very call, made with the key that your access token is bound to.",
        )
    }
}

pub fn answer_to_claims(error: &ClaimsError) -> Answer {
    match error {
        ClaimsError::Missing(_) => Answer::invalid_token(
            "claim_missing",
            Fault::Agent,
            "Ask an administrator to check how your sign-in service issues tokens: this one lacks a claim.",
        ),
        ClaimsError::WrongType(_) => Answer::invalid_token(
            "claim_invalid",
            Fault::Agent,
            "Ask an administrator to check how your sign-in service issues tokens: this one has a claim in the wrong form.",
        ),
        ClaimsError::ActorsDiffer => Answer::invalid_token(
            "agent_ambiguous",
            Fault::Agent,
            "Ask an administrator to check how your sign-in service issues tokens: this one names two agents.",
        ),
        ClaimsError::Audience { .. } => Answer::invalid_token(
            "audience_mismatch",
            Fault::Agent,
            "The agent has to ask for an access token for this gateway, not for another service.",
        ),
        ClaimsError::Expired => Answer::invalid_token(
            "token_expired",
            Fault::User,
            "Sign in again: your access token has expired.",
        ),
        ClaimsError::NotYetValid => Answer::invalid_token(
            "token_not_yet_valid",
            Fault::Agent,
            "Try again in a minute; if it still fails, ask an administrator to check the clocks.",
        ),
        ClaimsError::Tenant => Answer::invalid_token(
            "tenant_not_allowed",
            Fault::User,
            "Sign in with an account of the organisation that this gateway serves.",
        ),
        ClaimsError::NotAnAccessToken(other) => not_an_access_token(*other),
        ClaimsError::NoPerson => Answer::forbidden(
            "person_required",
            Fault::Agent,
            "Sign in first: the gateway acts for people, not for an application alone.",
        ),
        ClaimsError::NoApplication => actor_token_refused(),
        ClaimsError::ConfirmationUnsupported => Answer::invalid_token(
            "token_bound",
            Fault::Agent,
            "The agent has to ask for an access token that is bound by DPoP, by its client certificate, or not at all.",
        ),
        ClaimsError::Agent => Answer::forbidden(
            "agent_not_allowed",
            Fault::Agent,
            "This agent may not use the gateway; an administrator can let it in.",
        ),
        ClaimsError::Scopes { required, .. } => insufficient_scope(required),
    }
}

const fn not_an_access_token(other: OtherToken) -> Answer {
    let (code, remedy) = match other {
        OtherToken::Id => ("id_token_refused", "The agent has to send an access token, not an ID token."),
        OtherToken::Refresh => {
            ("refresh_token_refused", "The agent has to send an access token, and never a refresh token.")
        }
        OtherToken::Logout => {
            ("logout_token_refused", "The agent has to send an access token, not a logout token.")
        }
        OtherToken::Other => {
            ("not_an_access_token", "The agent has to send an access token, not a token for another purpose.")
        }
    };
    Answer::invalid_token(code, Fault::Agent, remedy)
}
