//! What happens around the agents while they call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use obo_gateway::demo::authorization_server::{Endpoint, Fault};
use obo_gateway::demo::script::Reply;

use crate::Outcome;
use crate::lane::{Lane, SignIn};
use crate::random::Random;
use crate::stage::{Stage, Variant};

/// Longest pause between two disturbances.
const PAUSE_MAX: Duration = Duration::from_millis(120);
/// Longest delay of an exchange.
const SLOW_MAX: Duration = Duration::from_millis(1_500);

/// How often each disturbance happened.
pub type Tally = BTreeMap<&'static str, usize>;

/// Disturbs until it is time to stop, and then puts everything right.
pub async fn disturb(stage: Arc<Stage>, mut random: Random, until: Instant) -> Outcome<Tally> {
    let mut tally = Tally::new();
    let mut variant = Variant::default();
    let mut held_up: Vec<(usize, String)> = Vec::new();
    while Instant::now() < until {
        let tenant = random.below(stage.world.tenants.len());
        let server = &stage.world.tenants[tenant].server;
        let person = random.one_of(&stage.world.people).oid.clone();
        let script = server.script(Endpoint::Token);
        let what = match random.below(24) {
            0..6 => {
                script.times(
                    1 + random.below(4),
                    &Reply::normal().after(SLOW_MAX.mul_f64(random.below(100) as f64 / 100.0)),
                );
                "slow exchanges"
            }
            6..8 => {
                script.times(1 + random.below(2), &Reply::status(503));
                "failing exchanges"
            }
            8 => {
                script.once(Reply::reset());
                "broken exchanges"
            }
            9 => {
                script.once(Reply::normal().cut_after(40));
                "cut exchanges"
            }
            10 => {
                script.once(Reply::too_many_requests(1));
                "throttling"
            }
            11..13 => {
                server.refuse_exchanges(&person, Fault::blocked());
                held_up.push((tenant, person));
                "people blocked"
            }
            13 => {
                server.require_step_up(&person, "c1");
                held_up.push((tenant, person));
                "people to step up"
            }
            14..16 => {
                let lane = Lane {
                    person: random.below(stage.world.people.len()),
                    agent: 0,
                    tenant,
                    sign_in: SignIn::Plain,
                    connector: 0,
                    tool: 0,
                };
                stage.forget(&stage.world.tenants[tenant].name, &stage.world.subject(&lane)).await?;
                "people forgotten"
            }
            16 => {
                let server = server.clone();
                // Making an RSA key takes a while.
                tokio::task::spawn_blocking(move || server.rotate_keys(true)).await?;
                "key rotations"
            }
            17..21 => {
                variant.patience = random.below(2);
                variant.exchange = if random.once_in(4) { 1 - variant.exchange } else { variant.exchange };
                stage.reload(variant).await?;
                "reloads"
            }
            _ => {
                for (tenant, person) in held_up.drain(..) {
                    stage.world.tenants[tenant].server.allow_exchanges(&person);
                }
                "releases"
            }
        };
        *tally.entry(what).or_default() += 1;
        tokio::time::sleep(PAUSE_MAX.mul_f64(random.below(100) as f64 / 100.0)).await;
    }
    for tenant in &stage.world.tenants {
        tenant.server.script(Endpoint::Token).clear();
    }
    Ok(tally)
}
