//! What can go wrong, how it is brought about, and which failures of calls it explains.

use std::sync::Arc;
use std::time::{Duration, Instant};

use obo_gateway::demo::authorization_server::Endpoint;
use obo_gateway::demo::script::Reply;

use crate::notes::Notes;
use crate::random::Random;
use crate::road::Condition;
use crate::stage::Stage;
use crate::{Outcome, agents, crowd};

/// How long a fault lasts at least and at most, and the longest pause after it, in milliseconds.
const LASTS_MIN: usize = 300;
const LASTS_MAX: usize = 2_500;
const PAUSE_MAX: usize = 1_500;
/// How long keys stay at least. Tokens with unknown keys have the gateway fetch them at most every 30 seconds, so whoever signs with
/// others sooner than that is not known for a while, as has to be.
const KEYS_STAY: Duration = Duration::from_secs(31);
/// Connections of a crowd that says half a sentence and then nothing.
const CROWD: usize = 150;
/// Calls at once, each on a connection of its own.
const BURST: usize = 120;
/// Calls whose agents go away.
const LEAVERS: usize = 60;
/// Calls whose agents read slowly.
const SLOW_READERS: usize = 20;

/// One thing that goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    ConnectorKilled,
    ConnectorSlow,
    ConnectorThrottles,
    ConnectorUnavailable,
    ConnectorBreaksOff,
    ConnectorClosesConnections,
    IssuerDown,
    IssuerSlow,
    IssuerFails,
    IssuerThrottles,
    IssuerChangesKeys,
    Reload,
    CertificateSwap,
    TrailMoved,
    TrailClosed,
    StalledCrowd,
    SlowReaders,
    AgentsLeave,
    Burst,
}

impl Fault {
    const ALL: [Self; 19] = [
        Self::ConnectorKilled,
        Self::ConnectorSlow,
        Self::ConnectorThrottles,
        Self::ConnectorUnavailable,
        Self::ConnectorBreaksOff,
        Self::ConnectorClosesConnections,
        Self::IssuerDown,
        Self::IssuerSlow,
        Self::IssuerFails,
        Self::IssuerThrottles,
        Self::IssuerChangesKeys,
        Self::Reload,
        Self::CertificateSwap,
        Self::TrailMoved,
        Self::TrailClosed,
        Self::StalledCrowd,
        Self::SlowReaders,
        Self::AgentsLeave,
        Self::Burst,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectorKilled => "connector killed",
            Self::ConnectorSlow => "connector slow",
            Self::ConnectorThrottles => "connector throttles",
            Self::ConnectorUnavailable => "connector unavailable",
            Self::ConnectorBreaksOff => "connector breaks off",
            Self::ConnectorClosesConnections => "connector closes connections",
            Self::IssuerDown => "authorization server down",
            Self::IssuerSlow => "authorization server slow",
            Self::IssuerFails => "authorization server fails",
            Self::IssuerThrottles => "authorization server throttles",
            Self::IssuerChangesKeys => "authorization server changes keys",
            Self::Reload => "reload",
            Self::CertificateSwap => "certificate swapped",
            Self::TrailMoved => "trail moved",
            Self::TrailClosed => "trail's file closed",
            Self::StalledCrowd => "stalled crowd",
            Self::SlowReaders => "slow readers",
            Self::AgentsLeave => "agents leave",
            Self::Burst => "burst",
        }
    }

    /// The failures of calls that it explains. What is on nobody's list should not happen at all.
    pub const fn causes(self) -> &'static [&'static str] {
        match self {
            Self::ConnectorKilled => &[
                "connector_unreachable",
                "connector_broke",
                "connector_unavailable",
                "answer_broken_off",
                "broken_off_before_its_head",
            ],
            Self::ConnectorThrottles => &["connector_throttled"],
            Self::ConnectorUnavailable => {
                &["connector_said_503", "connector_not_ready", "connector_unavailable"]
            }
            Self::ConnectorBreaksOff => &[
                "connector_broke",
                "connector_unavailable",
                "answer_broken_off",
                "broken_off_before_its_head",
            ],
            // What is under way when its connection is closed may have been done already.
            Self::ConnectorClosesConnections => {
                &["connector_broke", "answer_broken_off", "broken_off_before_its_head"]
            }
            Self::IssuerDown | Self::IssuerFails => &["issuer_unavailable"],
            Self::IssuerThrottles => &["issuer_throttled", "issuer_unavailable"],
            Self::ConnectorSlow
            | Self::IssuerSlow
            | Self::IssuerChangesKeys
            | Self::Reload
            | Self::CertificateSwap
            | Self::TrailMoved
            | Self::TrailClosed
            | Self::StalledCrowd
            | Self::SlowReaders
            | Self::AgentsLeave
            | Self::Burst => &[],
        }
    }
}

/// The faults in a random order, again and again: none is left out for long.
#[derive(Default)]
pub struct Deck {
    left: Vec<Fault>,
    keys_changed: Option<Instant>,
}

impl Deck {
    fn draw(&mut self, random: &mut Random) -> Fault {
        let is_too_soon = self.keys_changed.is_some_and(|at| at.elapsed() < KEYS_STAY);
        let can_be = |fault: &Fault| !(is_too_soon && *fault == Fault::IssuerChangesKeys);
        if !self.left.iter().any(can_be) {
            self.left.extend(Fault::ALL);
        }
        loop {
            let at = random.below(self.left.len());
            if can_be(&self.left[at]) {
                return self.left.swap_remove(at);
            }
        }
    }

    /// Draws one, brings it about, waits until it is over, and a moment longer.
    pub async fn inject(
        &mut self,
        stage: &Arc<Stage>,
        notes: &Arc<Notes>,
        random: &mut Random,
    ) -> Outcome<()> {
        let fault = self.draw(random);
        let number = notes.inject(fault);
        bring_about(fault, stage, notes, random).await?;
        if fault == Fault::IssuerChangesKeys {
            self.keys_changed = Some(Instant::now());
        }
        notes.over(number);
        tokio::time::sleep(Duration::from_millis(random.below(PAUSE_MAX) as u64)).await;
        Ok(())
    }
}

async fn bring_about(
    fault: Fault,
    stage: &Arc<Stage>,
    notes: &Arc<Notes>,
    random: &mut Random,
) -> Outcome<()> {
    let lasts = Duration::from_millis((LASTS_MIN + random.below(LASTS_MAX - LASTS_MIN)) as u64);
    let road = random.one_of(&stage.roads);
    let server = &random.one_of(&stage.world.tenants).server;
    let while_it = async |condition| {
        road.set(condition);
        tokio::time::sleep(lasts).await;
        road.set(Condition::Good);
    };
    let while_issuer = async |reply| {
        server.script(Endpoint::Token).always(reply);
        tokio::time::sleep(lasts).await;
        server.script(Endpoint::Token).clear();
    };
    match fault {
        Fault::ConnectorKilled => {
            road.close().await;
            tokio::time::sleep(lasts).await;
            road.open_again().await?;
        }
        Fault::ConnectorSlow => while_it(Condition::Slow(lasts / 4)).await,
        Fault::ConnectorThrottles => while_it(Condition::Answers(429)).await,
        Fault::ConnectorUnavailable => while_it(Condition::Answers(503)).await,
        Fault::ConnectorBreaksOff => while_it(Condition::Breaks).await,
        Fault::ConnectorClosesConnections => road.open_again().await?,
        Fault::IssuerDown => {
            server.stop_listening().await;
            tokio::time::sleep(lasts).await;
            server.listen_again().await?;
        }
        Fault::IssuerSlow => while_issuer(Reply::normal().after(lasts / 2)).await,
        Fault::IssuerFails => while_issuer(Reply::status(500)).await,
        Fault::IssuerThrottles => while_issuer(Reply::too_many_requests(1)).await,
        Fault::IssuerChangesKeys => {
            let server = server.clone();
            // Making an RSA key takes a while.
            tokio::task::spawn_blocking(move || server.rotate_keys(true)).await?;
        }
        Fault::Reload => stage.reload()?,
        Fault::CertificateSwap => stage.swap_certificates().await?,
        Fault::TrailMoved => stage.move_trail().await?,
        Fault::TrailClosed => stage.gateway.signal("USR1")?,
        Fault::StalledCrowd => crowd::stalls(stage, CROWD, lasts).await?,
        Fault::SlowReaders => crowd::reads_slowly(stage, notes, random, SLOW_READERS).await?,
        Fault::AgentsLeave => agents::leave(stage, notes, random, LEAVERS).await?,
        Fault::Burst => agents::burst(stage, notes, random, BURST).await?,
    }
    Ok(())
}
