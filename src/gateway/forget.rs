//! Forgetting a person: everything that is held for them is dropped, and that is recorded.

use std::sync::Arc;

use http::Request;
use http::header::USER_AGENT;

use super::Gateway;
use crate::audit::{
    AuditUnavailable, Authentication, AuthenticationRecord, Forgotten, Receipt, Record, RequestId, Revocation,
};
use crate::clock::Now;
use crate::connections::DisconnectError;
use crate::identity::{Issuer, Peer, Person, Realm};
use crate::oauth::authorization_server::AuthorizationServer;
use crate::vault::VaultError;

/// Why nobody was forgotten.
#[derive(Debug, thiserror::Error)]
pub enum NotForgotten {
    /// It cannot be recorded.
    #[error(transparent)]
    Audit(#[from] AuditUnavailable),
    /// The person's connections cannot be taken away.
    #[error("the vault cannot be written")]
    Vault(#[from] VaultError),
}

impl From<DisconnectError> for NotForgotten {
    fn from(error: DisconnectError) -> Self {
        match error {
            DisconnectError::Vault(error) => error.into(),
            DisconnectError::NotRecorded(error) => error.into(),
        }
    }
}

impl Gateway {
    /// The issuers that go by this name, or have this `iss`.
    pub fn issuers_called(&self, name: &str) -> Vec<Issuer> {
        let called = |server: &&Arc<AuthorizationServer>| {
            let settings = server.settings();
            settings.name.as_str() == name || settings.issuer.as_str() == name
        };
        self.servers.values().filter(called).map(|server| server.settings().issuer.clone()).collect()
    }

    /// Drops all that is held for a person, and whatever is being obtained for them. `request` is who asked for it. What comes
    /// beside tells when the record of it is safe.
    ///
    /// # Errors
    ///
    /// When it cannot be recorded, or the vault cannot be written; then nothing is dropped.
    pub async fn forget<B>(
        &self,
        person: &Person,
        request: &Request<B>,
        peer: Peer,
    ) -> Result<(Forgotten, Receipt), NotForgotten> {
        let (slot, now, id) = (self.audit.reserve()?, Now::read(), RequestId::next());
        let connectors = match &self.connections {
            Some(connections) => connections.forget(person, id).await?.connectors,
            None => Vec::new(),
        };
        let forgotten = Forgotten {
            connections: connectors.len(),
            credentials: self.cache.forget(person, now),
            remembered_tokens: self.verifier.forget(person),
        };
        self.handles.forget(person);
        let sessions = self.browsers.forget(person);
        self.questions.forget(person);
        tracing::info!(?forgotten, "Person forgotten");
        let revocation = Revocation {
            person: person.clone(),
            realms: self.realms(person),
            dropped: forgotten,
            connectors,
            sessions,
            peer,
            method: request.method().clone(),
            path: request.uri().path().into(),
            user_agent: request.headers().get(USER_AGENT).cloned(),
        };
        let record = AuthenticationRecord {
            id,
            privacy: Arc::clone(self.recorder.privacy()),
            began_at: now.wall,
            duration: now.monotonic.elapsed(),
            what: Authentication::Revocation(revocation),
        };
        Ok((forgotten, slot.write(Record::Authentication(Box::new(record)))))
    }

    /// Where a person's identifier means somebody, as records of their calls have it.
    fn realms(&self, person: &Person) -> Vec<Arc<str>> {
        match &person.realm {
            Realm::Tenant(tenant) => vec![Arc::clone(tenant)],
            Realm::Issuers(issuers) => {
                let settings = issuers.iter().filter_map(|issuer| self.servers.get(issuer));
                let mut realms: Vec<Arc<str>> =
                    settings.map(|server| server.settings().realm().into()).collect();
                realms.sort_unstable();
                realms.dedup();
                realms
            }
        }
    }
}
