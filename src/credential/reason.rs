//! Why a token was obtained, and whether one that was obtained for a reason is good for another.

use std::sync::Arc;
use std::time::Duration;

use super::key::CacheKey;
use crate::audit::ExchangeReason;
use crate::metrics::CacheLookup;

/// How long a token that replaced one that the connector had turned away is not replaced in turn. It would not help,
/// and the authorization server would be asked for every call.
const RENEWAL_PAUSE: Duration = Duration::from_secs(60);

/// Why a token was obtained.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// There was none, or it was about to end.
    Needed,
    /// The connector had turned the one before it away, with this demand for claims, where it made one.
    TurnedAway {
        /// The demand, as JSON.
        claims: Option<Arc<str>>,
    },
}

impl Reason {
    /// That the connector turned one away, with this demand.
    pub fn turned_away(claims: Option<&str>) -> Self {
        Self::TurnedAway { claims: claims.map(Into::into) }
    }

    /// What the connector demands.
    pub fn claims(&self) -> Option<&str> {
        match self {
            Self::Needed => None,
            Self::TurnedAway { claims } => claims.as_deref(),
        }
    }

    /// As records say it; `refreshes` when a token that is in use is renewed before its end.
    pub fn recorded(&self, refreshes: bool) -> ExchangeReason {
        match self {
            Self::Needed if refreshes => ExchangeReason::RefreshAhead,
            Self::Needed => ExchangeReason::Needed,
            Self::TurnedAway { claims: None } => ExchangeReason::TurnedAway,
            Self::TurnedAway { claims: Some(_) } => ExchangeReason::ClaimsDemanded,
        }
    }

    /// Who wants the same token under `key` shares a flight, and a refusal.
    pub fn flight(&self, key: CacheKey) -> CacheKey {
        match self.claims() {
            None => key,
            Some(claims) => key.with(claims.as_bytes()),
        }
    }

    /// Whether a token that was obtained for `other` will do.
    pub fn is_met_by(&self, other: &Self) -> bool {
        match self {
            Self::Needed | Self::TurnedAway { claims: None } => true,
            Self::TurnedAway { claims: Some(_) } => other == self,
        }
    }

    /// Whether another token for this reason would help where one was turned away that was obtained `age` ago for
    /// `other`, and was found as `lookup` says: not when it has only just been obtained, or for this very demand.
    pub fn is_worth_another(&self, other: &Self, age: Duration, lookup: CacheLookup) -> bool {
        let claims = self.claims();
        let just_renewed = age < RENEWAL_PAUSE
            && match claims {
                Some(_) => other == self,
                None => *other != Self::Needed,
            };
        !just_renewed && (claims.is_some() || lookup == CacheLookup::Hit)
    }
}
