//! Ends that a fault of ours brings about. There is no hook for it in the gateway: what panics is the test's own subscriber to
//! what the gateway tells about a call, which runs in the middle of it.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use obo_gateway::demo::authorization_server::Endpoint;
use obo_gateway::demo::script::Reply;
use reqwest::Method;
use tokio_util::sync::CancellationToken;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Metadata, Subscriber};

use super::{Way, until};
use crate::bed::{assert_refused, refusal};

/// When to panic: never, when a call is gone on with, or when something is told about one.
const NEVER: u8 = 0;
pub const GOING_ON: u8 = 1;
const TOLD: u8 = 2;

/// Panics once, at the moment that it is told to.
#[derive(Clone, Default)]
pub struct Panics(Arc<AtomicU8>);

thread_local! {
    static HERE: RefCell<Panics> = RefCell::default();
}

impl Panics {
    /// Hears what the gateways tell that are started on this thread, from here on.
    pub fn here() -> (Self, DefaultGuard) {
        let panics = Self::default();
        HERE.set(panics.clone());
        (panics.clone(), tracing::subscriber::set_default(panics))
    }

    /// What hears the gateways that were started on this thread.
    fn of_this_thread() -> Self {
        HERE.with_borrow(Self::clone)
    }

    pub fn at(&self, moment: u8) {
        self.0.store(moment, Ordering::Relaxed);
    }

    fn comes(&self, moment: u8) {
        if self.0.compare_exchange(moment, NEVER, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            panic!("as the test wants");
        }
    }
}

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "obo_gateway::gateway"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.comes(TOLD);
    }

    fn enter(&self, _: &Id) {
        self.comes(GOING_ON);
    }

    fn exit(&self, _: &Id) {}
}

pub(super) const WAYS: &[Way] = &[
    Way::new("the gateway panics in the middle of its story", &["panicked"], |bed| {
        Box::pin(async {
            let panics = Panics::of_this_thread();
            let (server, release) = (&bed.bed.authorization_server, CancellationToken::new());
            server.script(Endpoint::Token).once(Reply::normal().held_until(release.clone()));
            let call = bed.bed.request(Method::GET, "/mail/me").bearer_auth(bed.bed.token("ada"));
            let call = tokio::spawn(call.send());
            until("an exchange", || server.fetches(Endpoint::Token) == 1).await;
            panics.at(GOING_ON);
            release.cancel();
            let refused = refusal(call.await.expect("no panic").expect("an answer")).await;
            assert_refused(&refused, 500, "internal_error");
            assert!(bed.bed.connector.requests().is_empty());
        })
    }),
    Way::new("the gateway panics while it refuses", &["panicked"], |bed| {
        Box::pin(async {
            let panics = Panics::of_this_thread();
            panics.at(TOLD);
            let call = bed.bed.request(Method::GET, "/mail/me");
            assert!(call.send().await.is_err(), "the connection goes with it");
            let next = bed.bed.admin("/healthz").await;
            assert_eq!(next.0, 200, "and nothing else");
        })
    }),
];
