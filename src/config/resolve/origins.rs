//! `allowed_origins`: the pages in browsers that may call.

use crate::config::at::At;
use crate::gateway::Origin;

/// Reads a list of origins. An empty one is that no page may.
pub fn origins(at: &At<'_>, origins: &[String]) -> Option<Vec<Origin>> {
    let read: Vec<Option<Origin>> =
        origins.iter().enumerate().map(|(index, text)| at.index(index).checked(text.parse())).collect();
    read.into_iter().collect()
}
