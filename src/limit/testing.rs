//! What the tests of limits have in common.

use std::sync::Arc;
use std::time::Duration;

use super::settings::{Each, Level, Rate, RateLimit};
use super::who::Who;
use crate::identity::{Actor, Caller, SecretToken, VerifiedClaims};

/// So many calls in a minute, and at once.
pub fn limit(each: Each, calls: u32) -> Arc<RateLimit> {
    let rate = Rate::new(calls, Duration::from_secs(60), calls);
    let name = format!("connectors.crm.limits.{}", each.as_str()).into();
    Arc::new(RateLimit { name, level: Level::Connector, each, rate })
}

/// A person through an agent.
pub fn caller(person: &str, agent: &str) -> Caller {
    let claims = VerifiedClaims { actor: Some(Actor::new(agent)), ..VerifiedClaims::of(person) };
    Caller::verified(claims, SecretToken::new("token"))
}

/// A person and an agent.
pub fn who(person: &str, agent: &str) -> Who {
    Who::of(&caller(person, agent))
}
