//! Renewals on bad days: callers that leave, panics, and clocks that are set.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

use super::*;

impl Bed {
    /// Waits until tokens have been asked for so often by a refresh token.
    async fn renewals(&self, count: usize) {
        while self.asked(GrantKind::RefreshToken) < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn whoever_began_a_renewal_may_leave_and_the_others_have_what_comes_of_it() {
    let mut bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    let (release, now) = (CancellationToken::new(), later());
    bed.server.script(Endpoint::Token).once(Reply::normal().held_until(release.clone()));
    {
        let first = std::pin::pin!(bed.call_at("ada", "planner", now));
        tokio::select! {
            ended = first => panic!("nobody has answered yet: {ended:?}"),
            () = bed.renewals(1) => {}
        }
    }
    // Both wait before anything is answered.
    let answered = async { release.cancel() };
    let (one, other, ()) =
        tokio::join!(bed.call_at("ada", "planner", now), bed.call_at("ada", "planner", now), answered);
    let token = one.expect("a token");
    assert_eq!(other.expect("a token"), token);
    assert_eq!(bed.server.last_issued(), Some(token.clone()));
    bed.restart().await;
    assert_eq!(bed.call("ada", "planner").await.expect("the vault has it"), token);
    bed.call_at("ada", "planner", later()).await.expect("the rotated refresh token was kept");
    assert_eq!((bed.asked(GrantKind::RefreshToken), bed.server.reused_refresh_tokens()), (2, 0));
}

#[tokio::test]
async fn what_comes_of_a_renewal_is_kept_when_everybody_has_left() {
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    let first = bed.call("ada", "planner").await.expect("a token");
    bed.server.script(Endpoint::Token).once(Reply::normal().after(Duration::from_millis(100)));
    let call = bed.call_at("ada", "planner", later());
    tokio::time::timeout(Duration::from_millis(30), call).await.expect_err("it leaves");
    bed.renewals(1).await;
    let owner = Owner::new(&holder("ada"), &ConnectorName::new("mail"));
    bed.connections.held.flights.wait_if_under_way(&owner).await;
    let renewed = bed.call("ada", "planner").await.expect("a token");
    assert_ne!(renewed, first);
    assert_eq!(bed.server.last_issued(), Some(renewed));
    bed.call_at("ada", "planner", later()).await.expect("the rotated refresh token was kept");
    assert_eq!((bed.asked(GrantKind::RefreshToken), bed.server.reused_refresh_tokens()), (2, 0));
}

/// Panics once, in the middle of what is told about a connection: there is no hook for it in the gateway.
struct Panics {
    at: &'static str,
    done: AtomicBool,
}

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "obo_gateway::connections::event"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut is_at = IsAt(self.at, false);
        event.record(&mut is_at);
        if is_at.1 && !self.done.swap(true, Ordering::Relaxed) {
            panic!("as the test wants");
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct IsAt(&'static str, bool);

impl Visit for IsAt {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.1 |= field.name() == "event" && value == self.0;
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

#[tokio::test]
async fn a_panic_in_a_renewal_ends_that_one_alone_and_its_record_stands() {
    for (at, reply, outcome) in [
        ("refreshed", Reply::normal(), "issued"),
        (
            "refresh_failed",
            Reply::json(400, &serde_json::json!({"error": "invalid_client"})),
            "misconfigured",
        ),
    ] {
        let bed = Bed::start().await;
        bed.connect("ada", "planner").await;
        bed.connect("bob", "planner").await;
        bed.server.script(Endpoint::Token).once(reply);
        let now = later();
        let (before, first) = (bed.records().await.len(), bed.call("ada", "planner").await.expect("a token"));
        let panics = tracing::subscriber::set_default(Panics { at, done: AtomicBool::new(false) });
        let (one, other) =
            tokio::join!(bed.call_at("ada", "planner", now), bed.call_at("ada", "planner", now));
        drop(panics);
        for ended in [one, other] {
            assert!(matches!(ended, Err(ConnectionError::BrokeOff)), "{at} {ended:?}");
        }
        assert_eq!(bed.recorded_from(before).await, [format!("exchange {outcome}")]);
        bed.call_at("bob", "planner", now).await.expect("nobody else is concerned");
        let token = bed.call("ada", "planner").await.expect("a token");
        assert_eq!(token != first, at == "refreshed", "what was rotated is in the vault");
        bed.call_at("ada", "planner", later()).await.expect("the next one goes well");
        assert_eq!(bed.server.reused_refresh_tokens(), 0);
    }
}

/// `seconds` from now by the monotonic clock, while the wall clock is where it was.
fn wall_clock_set_back_by(seconds: u64) -> Now {
    let now = Now::read();
    Now { wall: now.wall, ..now.after(Duration::from_secs(seconds)) }
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_keeps_no_access_token_alive() {
    // What happened: for as long as the clock had been set back by, agents were given an access token that was over, and the
    // connector's no to it brought no other one.
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    let wanted = wanted("ada", "planner");
    let (old, _) = bed.connections.credential(&wanted, Now::read()).await.expect("a grant");
    let hour = wall_clock_set_back_by(3_600);
    let (renewed, _) = bed.connections.credential(&wanted, hour).await.expect("a grant");
    assert_ne!(renewed.access_token().digest(), old.access_token().digest());
    let hour = wall_clock_set_back_by(120);
    let again = bed.connections.renew(&wanted, &renewed, hour).await.expect("no error").expect("another one");
    assert_ne!(again.access_token().digest(), renewed.access_token().digest());
    assert_eq!(bed.asked(GrantKind::RefreshToken), 2);
}

#[tokio::test]
async fn what_was_granted_while_the_wall_clock_was_ahead_is_renewed_once_and_not_again_and_again() {
    let mut bed = Bed::start().await;
    let ahead = Now { wall: Now::read().wall + Duration::from_secs(3_600), ..Now::read() };
    let answered = bed.sign_in(&bed.begin(&bed.ask("ada", "planner"), "ada").await, "ada").await;
    let (callback, ada, adas) = (answered.callback(), holder("ada"), visit("ada"));
    let connected = bed.connections.complete(&callback, &ada, BROWSER, &adas, ahead).await;
    connected.expect("a connection");
    // Here the clock is put right.
    bed.restart().await;
    let mut tokens = Vec::new();
    for _ in 0..5 {
        tokens.push(bed.call("ada", "planner").await.expect("a token"));
    }
    tokens.dedup();
    assert_eq!((tokens.len(), bed.asked(GrantKind::RefreshToken)), (1, 1));
    assert_eq!(bed.server.last_issued(), tokens.pop());
}

#[tokio::test]
async fn a_wall_clock_that_is_set_forward_has_a_token_renewed_that_may_be_over() {
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    let old = bed.call("ada", "planner").await.expect("a token");
    let ahead = Now { wall: Now::read().wall + Duration::from_secs(3_600), ..Now::read() };
    assert_ne!(bed.call_at("ada", "planner", ahead).await.expect("a token"), old);
    assert_eq!(bed.asked(GrantKind::RefreshToken), 1);
}
