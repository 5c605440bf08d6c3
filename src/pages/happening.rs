//! What people do on the pages themselves, for the log and the records: signing in and out, and what they are asked about single
//! calls. What they do about their connections is recorded where connections are.
//!
//! Whatever is done begins by taking a place for its record, and is not done without one. The record is handed over before
//! that of the request for the page, which the answer waits for.

use std::sync::Arc;

use http::header::USER_AGENT;

use super::Visit;
use super::problem::Problem;
use crate::audit::{
    Deed, DeedEnd, DeedKind, DeedRecording, DeedServer, Destination, Failure, KnownPerson, PageVisit,
};
use crate::error_chain::ErrorChain;
use crate::oauth::authorization_server::AuthorizationServer;
use crate::oauth::sign_in::SignedIn;

/// Something that somebody is doing. When it is dropped, its record says that it broke off.
pub struct Happening {
    kind: DeedKind,
    reference: String,
    recording: DeedRecording,
    detail: Option<String>,
}

impl Visit<'_> {
    /// Begins something that whoever is signed in does.
    ///
    /// # Errors
    ///
    /// [`Problem::Unrecorded`] while there is no place for the record; it must not be done then.
    pub(super) fn begins(&self, kind: DeedKind) -> Result<Happening, Problem> {
        let recording = self.pages.recorder.begin_deed(Deed::on_page(kind, &self.as_recorded()));
        let recording = recording.map_err(|_| Problem::Unrecorded)?;
        Ok(Happening { kind, reference: self.reference.clone(), recording, detail: None })
    }

    /// The request for the page, as it stands in records.
    pub(super) fn as_recorded(&self) -> PageVisit {
        PageVisit {
            request: self.visitor.request,
            person: self.session.as_ref().map(|session| self.known(session.person())),
            peer: self.visitor.peer,
            method: self.request.method().clone(),
            path: self.request.uri().path().into(),
            user_agent: self.request.headers().get(USER_AGENT).cloned(),
        }
    }

    /// A person, as records name people. What they are called is for those alone that are to say so.
    pub(super) fn known(&self, person: &SignedIn) -> KnownPerson {
        let server = self.pages.servers.get(&person.id().issuer);
        let is_named = server.is_some_and(|server| server.settings().keeps_display_names);
        KnownPerson {
            issuer_name: Some(person.issuer_name().clone()),
            id: person.id().clone(),
            name: person.name().filter(|_| is_named).map(Into::into),
        }
    }
}

impl Happening {
    /// Adds what is known by now.
    pub fn add(&mut self, add: impl FnOnce(&mut Deed)) {
        self.recording.add(add);
    }

    /// It is this person who does it; `None`: that is to be found out.
    pub fn by(&mut self, person: Option<KnownPerson>) {
        self.add(|deed| deed.person = person);
    }

    /// This issuer is asked.
    pub fn at(&mut self, server: &AuthorizationServer) {
        let settings = server.settings();
        let Some(sign_in) = &settings.sign_in else { return };
        let server = DeedServer {
            name: settings.name.clone(),
            issuer: Some(settings.issuer.clone()),
            endpoint: server.token_endpoint().as_ref().map(Destination::of),
            client_id: Arc::clone(&sign_in.client_id),
        };
        self.add(|deed| {
            deed.requested = Some(sign_in.scopes.clone());
            deed.server = Some(server);
        });
    }

    /// This is why it will come to nothing. Errors hold no tokens.
    pub fn because(&mut self, error: &(dyn std::error::Error + 'static)) {
        self.detail = Some(ErrorChain(error).to_string());
    }

    /// It is done.
    pub fn done(self) {
        tracing::info!(request_id = self.reference, deed = self.kind.as_str(), "Done on the pages");
        self.recording.end(DeedEnd::Done(None));
    }

    /// It is not, for this reason.
    pub fn failed(self, problem: &Problem) {
        let detail =
            self.detail.or_else(|| problem.detail()).unwrap_or_else(|| problem.heard().title.to_owned());
        let (deed, code) = (self.kind.as_str(), problem.code());
        tracing::warn!(request_id = self.reference, deed, code, detail, "Not done on the pages");
        self.recording.end(DeedEnd::Failed(Failure::of(code, problem.fault(), detail)));
    }
}
