//! `limits`: how many calls there may be.

use schemars::JsonSchema;
use serde::Deserialize;

use super::DURATION;

/// How many calls there may be: in a time. Without a key there is no such limit.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Of all callers together.
    pub total: Option<Rate>,
    /// Of each person, through whichever agents.
    pub per_person: Option<Rate>,
    /// Of each agent, for whichever people.
    pub per_agent: Option<Rate>,
}

/// How many calls there may be: in a time, and at a time. Without a key of the first kind there is no such limit.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectorLimits {
    /// Of all callers together.
    pub total: Option<Rate>,
    /// Of each person, through whichever agents.
    pub per_person: Option<Rate>,
    /// Of each agent, for whichever people.
    pub per_agent: Option<Rate>,
    /// Calls that are under way at the connector at a time. One person has three quarters of these places at most, one agent eleven
    /// twelfths. Default: 1024.
    pub concurrent: Option<u32>,
    /// Calls that wait for one of these to end; beyond it they are refused at once. Agents take turns, and the people of each.
    /// `0`: none waits. Default: as many as `concurrent`.
    pub queue: Option<u32>,
    /// How long each of them waits. Default: `5s`.
    #[schemars(regex(pattern = DURATION))]
    pub queue_timeout: Option<String>,
}

/// So many calls in a time: a token bucket.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many calls.
    #[schemars(required)]
    pub calls: Option<u32>,
    /// In which time, such as `1s`, `1m` or `1h`: as the calls are spread over it evenly, `60` in `1m` is one each second.
    #[schemars(required, regex(pattern = DURATION))]
    pub per: Option<String>,
    /// How many calls at once, after a time without any. Default: `calls`.
    pub burst: Option<u32>,
}
