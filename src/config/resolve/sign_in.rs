//! `sign_in`: how an issuer's people sign in to the pages.

use super::{Surroundings, exchange, values};
use crate::config::at::At;
use crate::config::file;
use crate::identity::Scopes;
use crate::oauth::ExchangeSettings;
use crate::oauth::sign_in::SignInSettings;

/// What is asked for: who it is, and what to call them.
const SCOPES: [&str; 2] = ["openid", "profile"];

/// Checks how an issuer's people sign in. `exchange` is what came of its exchange: the client there is that of sign-ins
/// unless `sign_in` names another. `at` is the issuer's place. `Some(None)`: they do not.
pub fn settings(
    issuer: &file::Issuer,
    exchange: Option<&Option<ExchangeSettings>>,
    at: &At<'_>,
    serves_pages: bool,
    surroundings: &Surroundings<'_>,
) -> Option<Option<SignInSettings>> {
    let at = at.key("sign_in");
    if at.is_written() && !serves_pages {
        at.fault(
            "goes with `pages`, a `vault` or `confirm`, for which people sign in: add one, or leave this out",
        );
        return None;
    }
    let sign_in = issuer.sign_in.as_ref();
    if !serves_pages || (sign_in.is_none() && at.is_written()) {
        return if at.is_written() { None } else { Some(None) };
    }
    let scopes = scopes(sign_in.and_then(|sign_in| sign_in.scopes.as_deref()), &at.key("scopes"));
    let (id_at, auth_at) = (at.key("client_id"), at.key("client_auth"));
    let client_id = sign_in.and_then(|sign_in| sign_in.client_id.as_deref());
    let (client_id, client_auth) = match (id_at.is_written(), auth_at.is_written()) {
        (true, true) => {
            let auth = sign_in.and_then(|sign_in| sign_in.client_auth.as_ref());
            let client_auth = exchange::client_auth(auth, &auth_at, surroundings);
            (client_id?.into(), client_auth?)
        }
        (true, false) => {
            id_at.fault("needs `client_auth`, by which the gateway proves to be that client: add it");
            return None;
        }
        (false, true) => {
            auth_at.fault(
                "needs `client_id`, the client that it proves: add it, or leave both out for that of `exchange`",
            );
            return None;
        }
        (false, false) => match exchange? {
            Some(exchange) => (std::sync::Arc::clone(&exchange.client_id), exchange.client_auth.clone()),
            None if sign_in.is_some() => {
                id_at.fault(
                    "is required: give the client ID for signing people in, since there is no `exchange` whose client \
                     it could be",
                );
                return None;
            }
            // Its people call, and have no pages.
            None => return Some(None),
        },
    };
    Some(Some(SignInSettings { client_id, client_auth, scopes: scopes? }))
}

fn scopes(scopes: Option<&[String]>, at: &At<'_>) -> Option<Scopes> {
    if scopes.is_none() {
        return if at.is_written() { None } else { Some(Scopes::new(SCOPES)) };
    }
    let scopes = values::scopes(at, scopes)?;
    if !scopes.contains("openid") {
        at.fault("lacks `openid`, without which no server says who signed in: add it");
        return None;
    }
    Some(scopes)
}
