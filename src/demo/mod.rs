//! The development authorization server, the demo connectors, and the story they tell together.
//!
//! These are counterparts: they sign, check and answer with code of their own and use nothing else of this
//! crate, so that a test which puts the gateway between them proves something about the gateway. The story alone
//! knows the gateway: it starts one between them.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub mod authorization_server;
pub mod browser;
pub mod certificates;
pub mod clock;
pub mod connector;
pub mod jws;
pub mod mail;
pub mod notes;
pub mod people;
pub mod script;

mod body;
mod host;
mod kept;
mod random;
mod story;

#[cfg(test)]
mod testing;

pub use story::run;

/// What a mutex guards. A panic while it was held leaves plain collections behind, never half a fact.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
