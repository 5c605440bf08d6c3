//! `reload`: when files are read again.

use std::time::Duration;

use super::values;
use crate::config::at::At;
use crate::config::file::Reload;

/// How often it is looked unless it is configured: soon enough for whoever waits for it, and reading some small files costs nothing.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Somebody who writes a file needs longer than this for some of it.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(100);

/// How often it is looked whether files have changed. `Some(None)`: never.
pub fn look_every(reload: Option<&Reload>, at: &At<'_>) -> Option<Option<Duration>> {
    let Some(reload) = reload else { return if at.is_written() { None } else { Some(Some(LOOK_EVERY)) } };
    let every_at = at.key("every");
    if reload.on_change == Some(false) {
        if reload.every.is_some() {
            every_at.fault("goes with `on_change: true`: without it nobody looks; leave out one of the two");
            return None;
        }
        return Some(None);
    }
    let every = values::duration(&every_at, reload.every.as_deref(), LOOK_EVERY)?;
    if every < LOOK_EVERY_MIN {
        every_at.fault_found("must be at least `100ms`");
        return None;
    }
    Some(Some(every))
}
