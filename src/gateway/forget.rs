//! Forgetting a person: everything that is held for them is dropped, and that is recorded.

use std::sync::Arc;

use http::header::USER_AGENT;
use http::{HeaderValue, Method, Request};

use super::Gateway;
use crate::audit::{
    AuditUnavailable, Authentication, AuthenticationRecord, Failure, Fault, Forgotten, Receipt, Record,
    RequestId, Revocation, Slot,
};
use crate::clock::Now;
use crate::connections::DisconnectError;
use crate::error_chain::ErrorChain;
use crate::identity::{Issuer, Peer, Person, Realm};
use crate::oauth::authorization_server::AuthorizationServer;

/// Why nobody was forgotten.
#[derive(Debug, thiserror::Error)]
pub enum NotForgotten {
    /// It cannot be recorded.
    #[error(transparent)]
    Audit(#[from] AuditUnavailable),
    /// The task that was to do it ended without a result.
    #[error("forgetting the person broke off")]
    BrokeOff,
}

/// A person was forgotten in part: what they have connected may still be in the vault.
#[derive(Debug, thiserror::Error)]
#[error("the person's connections have not been taken away")]
pub struct PartlyForgotten {
    /// What was dropped.
    pub dropped: Forgotten,
    /// Why the rest was not.
    pub source: DisconnectError,
}

/// Who asks for somebody to be forgotten, and how.
struct Asked {
    peer: Peer,
    method: Method,
    path: Arc<str>,
    user_agent: Option<HeaderValue>,
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

    /// Drops all that is held for a person, and whatever is being obtained for them: what is in memory first, which always
    /// succeeds, and then what is in the vault. `request` is who asked for it. It is done and recorded also where they do not
    /// wait for it. What comes beside tells when the record of it is safe.
    ///
    /// # Errors
    ///
    /// When it cannot be recorded; then nothing is dropped. [`PartlyForgotten`] when the vault cannot be written.
    pub async fn forget<B>(
        self: &Arc<Self>,
        person: &Person,
        request: &Request<B>,
        peer: Peer,
    ) -> Result<(Result<Forgotten, PartlyForgotten>, Receipt), NotForgotten> {
        let slot = self.audit.reserve()?;
        let asked = Asked {
            peer,
            method: request.method().clone(),
            path: request.uri().path().into(),
            user_agent: request.headers().get(USER_AGENT).cloned(),
        };
        let (gateway, person) = (Arc::clone(self), person.clone());
        let work = async move { gateway.forget_in(slot, person, asked).await };
        tokio::spawn(work).await.map_err(|_| NotForgotten::BrokeOff)
    }

    async fn forget_in(
        &self,
        slot: Slot,
        person: Person,
        asked: Asked,
    ) -> (Result<Forgotten, PartlyForgotten>, Receipt) {
        let (now, id) = (Now::read(), RequestId::next());
        let mut dropped = Forgotten {
            connections: 0,
            credentials: self.cache.forget(&person, now),
            remembered_tokens: self.verifier.forget(&person),
        };
        self.handles.forget(&person);
        self.routes.connectors().for_each(|connector| connector.resilience.forget(&person));
        let issuers = self.servers.values().map(|server| server.settings());
        self.limits.forget(&person, issuers.map(|settings| (settings.issuer.clone(), settings.tenant())));
        let sessions = self.browsers.forget(&person);
        self.questions.forget(&person);
        let connectors = match &self.connections {
            Some(connections) => connections.forget(&person, id).await,
            None => Ok(Vec::new()),
        };
        let (connectors, failed) = match connectors {
            Ok(connectors) => (connectors, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        dropped.connections = connectors.len();
        match &failed {
            None => tracing::info!(?dropped, "Person forgotten"),
            Some(error) => {
                tracing::error!(?dropped, error = %ErrorChain(error), "Person forgotten in part, and not in the vault");
            }
        }
        let Asked { peer, method, path, user_agent } = asked;
        let revocation = Revocation {
            realms: self.realms(&person),
            person,
            dropped,
            connectors,
            sessions,
            failure: failed.as_ref().map(failure),
            peer,
            method,
            path,
            user_agent,
        };
        let record = AuthenticationRecord {
            id,
            privacy: Arc::clone(self.recorder.privacy()),
            began_at: now.wall,
            duration: now.monotonic.elapsed(),
            what: Authentication::Revocation(revocation),
        };
        let receipt = slot.write(&Record::Authentication(&record));
        let forgotten = match failed {
            None => Ok(dropped),
            Some(source) => Err(PartlyForgotten { dropped, source }),
        };
        (forgotten, receipt)
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

/// What records say of connections that were not taken away.
fn failure(error: &DisconnectError) -> Failure {
    let code = match error {
        DisconnectError::Vault(_) => "vault_unavailable",
        DisconnectError::NotRecorded(_) => "audit_unavailable",
    };
    Failure::of(code, Fault::Gateway, ErrorChain(error).to_string())
}
