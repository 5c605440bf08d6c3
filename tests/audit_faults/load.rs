//! Agents that call without a pause, and keep count of what they were answered.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::bed::{Bed, Heard, PATIENCE, call};

/// Agents at work. They go on when the gateway is gone, until it is there again.
pub struct Load {
    agents: JoinSet<()>,
    heard: Arc<Tally>,
}

#[derive(Default)]
struct Tally {
    over: AtomicBool,
    answered: Mutex<Vec<String>>,
    refused: AtomicUsize,
    nothing: AtomicUsize,
}

/// What agents heard.
pub struct Result {
    /// The calls whose answers came whole.
    pub answered: Vec<String>,
    /// How many were refused.
    pub refused: usize,
    /// How many had no answer, or no end of one.
    pub nothing: usize,
}

impl Load {
    /// So many agents, each with a connection of its own.
    pub fn start(bed: &Bed, agents_at: std::net::SocketAddr, count: usize) -> Self {
        let heard = Arc::<Tally>::default();
        let mut agents = JoinSet::new();
        for _ in 0..count {
            let (heard, token) = (Arc::clone(&heard), bed.token());
            agents.spawn(async move {
                let client =
                    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
                while !heard.over.load(Ordering::Relaxed) {
                    match call(&client, agents_at, &token).await {
                        Heard::Answered(id) => heard.answered.lock().expect("whole").push(id),
                        Heard::Refused(..) => {
                            heard.refused.fetch_add(1, Ordering::Relaxed);
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                        Heard::Nothing => {
                            heard.nothing.fetch_add(1, Ordering::Relaxed);
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    }
                }
            });
        }
        Self { agents, heard }
    }

    /// How many answers have come.
    pub fn answered(&self) -> usize {
        self.heard.answered.lock().expect("whole").len()
    }

    /// Ends them, and says what they heard.
    pub async fn end(mut self) -> Result {
        self.heard.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.agents.join_next().await {
            ended.expect("no panic");
        }
        Result {
            answered: std::mem::take(&mut *self.heard.answered.lock().expect("whole")),
            refused: self.heard.refused.load(Ordering::Relaxed),
            nothing: self.heard.nothing.load(Ordering::Relaxed),
        }
    }
}
