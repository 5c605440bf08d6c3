//! Sign-ins under way: what was asked, in which browser, and how far it got.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::scopes::Asked;
use crate::demo::{lock, random};

/// Most sign-ins under way at once. The oldest gives way.
const INTERACTIONS_MAX: usize = 1_000;

/// How long a page may stay open before its form is refused.
const INTERACTION_LIFESPAN: Duration = Duration::from_secs(600);

/// An authorization request that passed every check.
#[derive(Clone)]
pub(super) struct AuthorizationRequest {
    pub(super) client_id: String,
    pub(super) client_name: String,
    pub(super) asked: Asked,
    pub(super) nonce: Option<String>,
    pub(super) ask_consent: bool,
    /// Where a code goes. Without one the request is a consent link, and ends on a page.
    pub(super) code_to: Option<CodeTo>,
}

/// Where a code goes, and what goes with it.
#[derive(Clone)]
pub(super) struct CodeTo {
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    pub(super) code_challenge: String,
}

/// One page shown, and what its form continues.
#[derive(Clone)]
pub(super) struct Interaction {
    pub(super) request: AuthorizationRequest,
    /// The object id of who signed in, once somebody did.
    pub(super) person: Option<String>,
}

/// Pages waiting for their form.
#[derive(Default)]
pub(super) struct Interactions(Mutex<VecDeque<Waiting>>);

struct Waiting {
    form_token: String,
    browser: String,
    born: Instant,
    interaction: Interaction,
}

impl Interactions {
    /// Remembers a page, and gives the token that its form must bring back.
    pub(super) fn begin(&self, interaction: Interaction, browser: &str) -> String {
        let mut waiting = lock(&self.0);
        if waiting.len() == INTERACTIONS_MAX {
            waiting.pop_front();
        }
        let form_token = random::token();
        waiting.push_back(Waiting {
            form_token: form_token.clone(),
            browser: browser.to_owned(),
            born: Instant::now(),
            interaction,
        });
        form_token
    }

    /// What a form continues: once, in the browser that was shown it, and not for ever.
    pub(super) fn take(&self, form_token: &str, browser: &str) -> Option<Interaction> {
        let mut waiting = lock(&self.0);
        waiting.retain(|one| one.born.elapsed() < INTERACTION_LIFESPAN);
        let found = waiting.iter().position(|one| one.form_token == form_token && one.browser == browser)?;
        waiting.remove(found).map(|one| one.interaction)
    }
}
