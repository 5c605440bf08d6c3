//! Two people, two agents, two tenants, two connectors, two sets of scopes: 32 identities that differ from one another
//! in as little as one part. Each gets a token of its own, once.

use std::collections::HashSet;

use futures_util::future;

use crate::lane::{Echo, Lane, SignIn};
use crate::report::{Faults, Lines};
use crate::stage::{Setup, Stage};
use crate::world::Grant;
use crate::{Options, Outcome};

/// RFC 8693: the delegated token says exactly the scopes that were asked for.
pub async fn by_token_exchange(_: Options) -> Outcome<Lines> {
    run(Grant::TokenExchange, [0, 1]).await
}

/// Entra's on-behalf-of: the same `oid` in both tenants, and connectors of one audience.
pub async fn on_behalf_of(_: Options) -> Outcome<Lines> {
    run(Grant::OnBehalfOf, [1, 2]).await
}

fn lanes(connectors: [usize; 2]) -> Vec<Lane> {
    let mut lanes = Vec::new();
    for number in 0..32 {
        let part = |place: usize| (number >> place) & 1;
        lanes.push(Lane {
            person: part(0),
            agent: part(1),
            tenant: part(2),
            sign_in: SignIn::Plain,
            connector: connectors[part(3)],
            tool: part(4),
        });
    }
    lanes
}

async fn run(grant: Grant, connectors: [usize; 2]) -> Outcome<Lines> {
    let stage = Stage::start(Setup { people: 2, grants: &[grant, grant], tls: false, manners: None }).await?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut faults = Faults::default();
    let mut calls = 0;
    for (round, (hits, misses)) in [(0, 32), (32, 32)].into_iter().enumerate() {
        let round_of_calls = lanes(connectors).into_iter().enumerate().map(|(number, lane)| {
            let (stage, client) = (&stage, &client);
            async move {
                let call = round * 32 + number;
                // The second time with another token of the same person: it is the identity that is kept.
                let token = stage.world.subject_token(&lane, round > 0);
                let answer =
                    client.get(stage.url(&stage.world.target(&lane, call))).bearer_auth(token).send().await?;
                let status = answer.status();
                let text = answer.text().await?;
                let echo: Echo = serde_json::from_str(&text).map_err(|_| format!("{status}: {text}"))?;
                let expected = stage.world.whom(&lane);
                let as_expected = echo.call == call && echo.whom == expected;
                Outcome::Ok((!as_expected).then(|| format!("a call for {expected:?} was answered {echo:?}")))
            }
        });
        for answered in future::join_all(round_of_calls).await {
            calls += 1;
            faults.extend(answered?);
        }
        faults.same("exchanges", stage.world.exchanges(), 32);
        let lookups = stage.metric("credential_cache_lookups_total", "hit").await?;
        faults.same("hits", lookups, hits);
        let lookups = stage.metric("credential_cache_lookups_total", "miss").await?;
        faults.same("misses", lookups, misses);
        for connector in connectors.map(|number| &stage.connectors[number]) {
            let requests = connector.seen.requests.load(std::sync::atomic::Ordering::Relaxed);
            faults.same("requests of a connector", requests, 16 * (round + 1));
        }
    }
    let issued: HashSet<String> = stage.world.issued().into_iter().collect();
    faults.same("distinct tokens issued", issued.len(), 32);
    faults.same("distinct tokens that connectors saw", stage.connector_tokens(), 32);
    let (crossings, described) = stage.crossings();
    faults.same("crossings", crossings, 0);
    faults.extend(described);
    let mut lines = Lines::default();
    lines.say(
        "matrix",
        format!(
            "{exchanges} exchanges, {tokens} tokens, {calls} calls, {crossings} crossings",
            exchanges = stage.world.exchanges(),
            tokens = issued.len(),
        ),
    );
    stage.stop().await;
    faults.or_report(lines)
}
