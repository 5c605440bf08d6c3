//! What people do on the pages, for the log and the records.

use crate::error_chain::ErrorChain;
use crate::oauth::sign_in::{SignInError, SignedIn};

/// Something that somebody did.
pub enum Happening<'a> {
    /// They signed in.
    SignedIn(&'a SignedIn),
    /// Nobody was signed in, though an issuer sent the browser back.
    NotSignedIn(&'a SignInError),
    /// They signed out.
    SignedOut(&'a SignedIn),
    /// They opened a link that is for somebody else.
    LinkOfAnother(&'a SignedIn),
}

impl Happening<'_> {
    /// Notes it. `request_id` names the record of the request that it came about by.
    pub fn note(&self, request_id: &str) {
        // THE PLACE OF THE RECORD: one of class 3002 for each, of the person, is made here and nowhere else. What people do
        // about their connections is recorded where connections are.
        match self {
            Self::SignedIn(person) => {
                tracing::info!(request_id, issuer = %person.issuer_name(), "Person signed in to the pages");
            }
            Self::NotSignedIn(error) => {
                let error = ErrorChain(*error);
                tracing::warn!(request_id, %error, "Sign-in to the pages not completed");
            }
            Self::SignedOut(person) => {
                tracing::info!(request_id, issuer = %person.issuer_name(), "Person signed out of the pages");
            }
            Self::LinkOfAnother(person) => {
                tracing::warn!(request_id, issuer = %person.issuer_name(), "Link opened by another person than it is for");
            }
        }
    }
}
