//! The story of a tool call.
//!
//! One function tells it (`Gateway::tell`); each stage returns a value that only it can make, and the next one
//! asks for that value. Around it, `Gateway::handle` begins the record, turns a refusal into an answer, and lets
//! the record ride in the answer's body, so that it is written exactly once, even when the agent hangs up.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request, Response, Version};
use hyper::body::Incoming;
use tracing::Instrument as _;

use crate::audit::{AuditLog, Ending, Recorder, RequestId};
use crate::clock::Now;
use crate::confirmation::Questions;
use crate::connections::Connections;
use crate::credential::{Credential, CredentialCache, Credentials};
use crate::identity::{Caller, IssuerName, Peer};
use crate::limit::Limits;
use crate::metrics::{Metrics, ToolMetrics};
use crate::oauth::authorization_server::AuthorizationServers;

use crate::oauth::verifier::Verifier;
use crate::pages::{Browsers, Pages, Visitor};
use crate::policy::{Circumstances, Denial, Permit, Policy};
use crate::tool::{Arguments, Confirm, ConnectorName, Tool};

mod admission;
mod answer;
mod asking;
mod authenticate;
mod body;
mod call;
mod canonical;
pub mod catalog;
mod confirmation;
mod cors;
mod forget;
mod forward;
mod gate;
mod json_body;
mod mcp;
mod origin;
pub mod path;
mod protected_resource;
mod readers;
mod refusal;
pub mod rehearsal;
mod request;
mod resilience;
pub mod rest;
mod rewrite;
mod routes;
mod settings;
mod setup;
mod tool_call;
mod turned_away;
mod upload;
mod well_known;

#[cfg(any(fuzzing, test))]
pub(crate) use authenticate::presented_token;
pub use body::Body;
pub use call::Calls;
pub use catalog::Catalog;
pub use forget::{NotForgotten, PartlyForgotten};
#[cfg(any(fuzzing, test))]
pub(crate) use forward::read_connector_answer;
pub use forward::{ConnectorSockets, UpstreamError};
pub use mcp::handles::Handles;
pub use mcp::sealed_state::StateKey;
#[cfg(any(fuzzing, test))]
pub(crate) use mcp::{event_stream, message};
pub use origin::{Origin, OriginError};
pub use readers::Readers;
pub use refusal::Refusal;
pub use settings::{
    CallBounds, ConnectorSettings, ConnectorTimeouts, ListWithoutPerson, McpTools, MemoryBounds,
    PublicSettings, Tools,
};
pub use setup::{Setup, Shared};

use answer::DPOP_NONCE;
use authenticate::AuthenticateError;
use call::Call;

use mcp::{Answering, Arrival, Asking, McpCall};
use path::CanonicalPath;
use resilience::Attempts;
use rest::identify::RestArrival;
use routes::{Connector, ConnectorAnswer, ConnectorTools, Routes};
use tool_call::ToolCall;
pub(crate) use turned_away::TurnedAway;
use well_known::WellKnown;

/// Everything a call needs, made from one configuration. A reload makes a new one; a call keeps the one it began
/// with.
pub struct Gateway {
    verifier: Verifier,
    well_known: WellKnown,
    /// The pages for people, where there are any.
    pages: Option<Pages>,
    browsers: Arc<Browsers>,
    questions: Arc<Questions>,
    routes: Routes,
    limits: Limits,
    policy: Arc<Policy>,
    handles: Arc<Handles>,
    states: Arc<StateKey>,
    credentials: Credentials,
    connections: Option<Arc<Connections>>,
    cache: Arc<CredentialCache>,
    bounds: CallBounds,
    audit: AuditLog,
    recorder: Recorder,
    metrics: Arc<Metrics>,
    /// How calls are counted that reach no connector.
    no_connector: Arc<ToolMetrics>,
    catalog: Catalog,
    servers: AuthorizationServers,
    calls: Calls,
}

impl Gateway {
    /// The issuers, and whether the keys of each are known.
    pub fn issuers(&self) -> impl Iterator<Item = (&IssuerName, bool)> {
        self.servers.values().map(|server| (&server.settings().name, server.key_set().is_known()))
    }

    /// The authorization servers, by issuer.
    pub fn authorization_servers(&self) -> &AuthorizationServers {
        &self.servers
    }

    /// People's own connections, where there is a vault.
    pub fn connections(&self) -> Option<&Arc<Connections>> {
        self.connections.as_ref()
    }

    /// What people are asked before it runs.
    pub fn questions(&self) -> &Arc<Questions> {
        &self.questions
    }

    /// What it serves, and to whom.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The connectors that are not asked, or not by somebody, since they have failed again and again; in the order of their names.
    pub fn open_circuits(&self) -> Vec<&ConnectorName> {
        let open = self.routes.connectors().filter(|connector| connector.resilience.is_circuit_open());
        let mut names: Vec<_> = open.map(|connector| &connector.name).collect();
        names.sort();
        names
    }

    /// It serves from now on: how many calls there are at a time is as its configuration says.
    pub fn take_effect(&self) {
        self.limits.take_effect();
    }

    /// The calls under way.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Where calls are recorded.
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// Answers one request. It always answers, and what happened is recorded exactly once. `readers` are those of the
    /// connection that the request came on.
    pub async fn handle(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        readers: &Arc<Readers>,
    ) -> Response<Body> {
        let slot = match self.audit.reserve() {
            Ok(slot) => slot,
            Err(unavailable) => {
                return self.refuse_unrecorded(&unavailable.into(), request.uri().path(), false);
            }
        };
        let path = self.is_page(request.uri().path()).then(|| request.uri().path().to_owned());
        let (no_connector, metrics) = (Arc::clone(&self.no_connector), Arc::clone(&self.metrics));
        let privacy = Arc::clone(self.recorder.privacy());
        let mut call =
            Box::new(Call::begin(&request, peer, slot, privacy, no_connector, metrics, &self.calls));
        // Over HTTP/1 an agent that stops reading stops the connection's writes, and those have a deadline.
        let reader = (request.version() == Version::HTTP_2).then(|| readers.reader());
        let span = tracing::debug_span!("call", request_id = %call.request_id());
        let (head, body) = request.into_parts();
        let (request, mut body) = (Request::from_parts(head, ()), Some(body));
        let deadline = call.arrived().monotonic + self.bounds.call_timeout;
        // Boxed before all else, since it is as large as its largest branch, and is moved with each of these.
        let story = Box::pin(self.tell(&request, &mut body, &mut call));
        let story = contained(story.instrument(span));
        let told = tokio::time::timeout_at(deadline.into(), story).await;
        let told = told.unwrap_or(Err(Refusal::CallTimedOut(self.bounds.call_timeout)));
        if let Some(body) = body.filter(|_| is_to_be_read(&request)) {
            upload::read_rest(body).await;
        }
        let cors = call.cors.clone();
        let mut response = match told {
            Ok(answer) => answer.into_response(call, reader, deadline),
            Err(refusal) => self.refuse(&refusal, call),
        };
        cors.mark(response.headers_mut());
        match response.body_mut().settle().await {
            Ok(()) => response,
            Err(unavailable) => {
                self.refuse_unrecorded(&unavailable.into(), path.as_deref().unwrap_or_default(), true)
            }
        }
    }

    /// The story.
    ///
    /// Branches that are seldom taken are boxed where they are large: the future of every call is as large as its largest branch.
    async fn tell(
        &self,
        request: &Request<()>,
        body: &mut Option<Incoming>,
        call: &mut Call,
    ) -> Result<ConnectorAnswer, Refusal> {
        let now = call.arrived();
        request::check(request, &self.bounds)?;
        let path = CanonicalPath::parse(request.uri().path())?;
        if let Some(metadata) = self.well_known.answer(path, request, call) {
            return metadata.map(ConnectorAnswer::written);
        }
        if let Some((pages, rest)) = self.page(path) {
            let body = body.take().expect("a request's body is taken once: this one goes no further");
            call.record.is_page = true;
            let visitor = Visitor { request: call.request_id(), peer: call.peer() };
            let mut response = Box::pin(pages.answer(request, rest, body, visitor, now)).await;
            rewrite::set_request_id(response.headers_mut(), call.request_id());
            rewrite::leave_out_body_for_head(&mut response, request.method());
            return Ok(ConnectorAnswer::written(response));
        }
        let connector = self.routes.connector(path).ok_or(Refusal::NoConnector)?;
        call.record.connector = Some(connector.name.clone());
        call.record.destination = Some(Arc::clone(&connector.destination));
        call.counts_as(&connector.metrics);
        call.mcp = connector.mcp().map(|_| McpCall::unread(request));
        call.comes_to(&connector.gate);
        if let Some(preflight) = connector.gate.admit(request, call)? {
            return Ok(ConnectorAnswer::written(preflight));
        }

        let caller = self.authenticate(connector, request, call).await?;
        call.authenticated(&caller);

        let taken = body.take().expect("a request's body is taken here, and nowhere before");
        let mut tool_call = self.identify(connector, request, path, taken, &caller, call).await?;
        call.identified(&tool_call);
        if let Some(written) = self.answer_from_configuration(connector, &caller, call)? {
            return Ok(written);
        }

        let permit = self.decide(&caller, &tool_call, call)?;
        call.decided(&permit);
        connector.resilience.check(&permit, &tool_call.body)?;
        let now = self.heed(&permit, call).await?;
        let admitted = admission::admit(connector, &permit, call)?;

        let request_id = call.request_id();
        call.record.client_id = self.credentials.client_id(&permit).cloned();
        let mut credential = self.credentials.obtain(&permit, request_id, now).await?;
        call.obtained(&credential);

        let cleared = self.clear(permit, connector, request, &mut tool_call, call).await?;
        let permit = cleared.permit();
        let onward = tool_call.onward;
        let delegate = |credential: &Credential| {
            rewrite::delegate(request, &onward, &connector.pass_headers, &cleared, credential, request_id)
        };
        let attempts = Attempts::of(tool_call.is_idempotent, tool_call.outlives_agent);
        let mut answer = connector
            .forward(permit, &admitted, || delegate(&credential), tool_call.body, attempts, call)
            .await?;
        if let Some(turned_away) = TurnedAway::read(&answer.response) {
            let claims = turned_away.claims.as_deref();
            // Others have the place while an authorization server is asked.
            answer.response.body_mut().leave_place();
            let renewed = self.credentials.renew(permit, &credential, claims, request_id, Now::read());
            let renewed = Box::pin(renewed).await?;
            if let Some(renewed) = renewed {
                let body = answer.take_request_body().ok_or(Refusal::NotRepeated)?;
                let second_try = turned_away.second_try();
                self.metrics.connector_retried(connector.name.as_str(), second_try.as_str());
                call.record.second_try = Some(second_try);
                call.carries(&renewed);
                let (attempts, delegate) = (answer.attempts(), || delegate(&renewed));
                let again = connector.forward_again(permit, &admitted, delegate, body, attempts, call);
                answer = Box::pin(again).await?;
                credential = renewed;
            }
            if let Some(claims) = TurnedAway::read(&answer.response).and_then(|again| again.claims)
                && credential.identity().is_by_the_persons_issuer()
            {
                return Err(Refusal::ClaimsDemanded { claims });
            }
        }
        rewrite::answer_headers(&mut answer.response, credential.identity(), call.request_id());
        if permit.caller().confirmation().is_some_and(|confirmation| confirmation.key.is_some()) {
            let nonce = self.verifier.next_nonce(now).and_then(|nonce| HeaderValue::from_str(&nonce).ok());
            answer.response.headers_mut().extend(nonce.map(|nonce| (DPOP_NONCE, nonce)));
        }
        match (&call.mcp, connector.mcp()) {
            (Some(spoken), Some(served)) => {
                let answering = Answering {
                    spoken,
                    connector: &connector.name,
                    served,
                    policy: &self.policy,
                    handles: &self.handles,
                    caller: permit.caller(),
                    client: call.peer().address.ip(),
                    now,
                };
                Ok(answering.screen(answer).await?)
            }
            (Some(_), None) | (None, _) => Ok(answer),
        }
    }

    /// The pages that a path belongs to, and what of it they see. They come before any connector.
    fn page<'a>(&self, path: CanonicalPath<'a>) -> Option<(&Pages, &'a str)> {
        let pages = self.pages.as_ref()?;
        let rest = path.as_str().strip_prefix(pages.path())?;
        (rest.is_empty() || rest.starts_with('/')).then_some((pages, rest))
    }

    /// Whether a path belongs to the pages.
    fn is_page(&self, path: &str) -> bool {
        self.pages.is_some() && CanonicalPath::parse(path).is_ok_and(|path| self.page(path).is_some())
    }

    /// Who calls: a person through an agent, or where lists are for agents alone, an agent for itself.
    async fn authenticate(
        &self,
        connector: &Connector,
        request: &Request<()>,
        call: &Call,
    ) -> Result<Arc<Caller>, AuthenticateError> {
        let lists_without_person = connector.mcp().is_some_and(|served| served.lists_without_person());
        match authenticate::authenticate(&self.verifier, request, call.peer(), call.arrived()).await {
            Err(error) if lists_without_person && error.is_for_no_person() => {
                authenticate::authenticate_agent_alone(&self.verifier, request, call.arrived()).await
            }
            authenticated => authenticated,
        }
    }

    /// The list that an agent without a person gets from the configuration, where that is what the connector says.
    fn answer_from_configuration(
        &self,
        connector: &Connector,
        agent: &Caller,
        call: &Call,
    ) -> Result<Option<ConnectorAnswer>, Refusal> {
        let (Some(served), Some(spoken)) = (connector.mcp(), &call.mcp) else { return Ok(None) };
        if !agent.is_agent_alone() || served.list_without_person != ListWithoutPerson::Configured {
            return Ok(None);
        }
        let asking = Asking { agent, client: call.peer().address.ip(), now: call.arrived() };
        let mut response = mcp::answer_from_configuration(spoken, served, &self.policy, &asking)?;
        rewrite::set_request_id(response.headers_mut(), call.request_id());
        Ok(Some(ConnectorAnswer::written(response)))
    }

    /// What the request is about.
    async fn identify(
        &self,
        connector: &Connector,
        request: &Request<()>,
        path: CanonicalPath<'_>,
        body: Incoming,
        caller: &Caller,
        call: &mut Call,
    ) -> Result<ToolCall, Refusal> {
        let idle_timeout = connector.body_timeout();
        let served = match connector.tools() {
            ConnectorTools::Rest(tools) => {
                let path = connector.path_within(path);
                let arrival = RestArrival { request, path, caller, idle_timeout };
                return Ok(arrival.identify(tools, body).await?);
            }
            ConnectorTools::Mcp(served) => served,
        };
        let arrival = Arrival {
            request,
            caller,
            connector: &connector.name,
            endpoint: connector.path.as_str(),
            served,
            handles: &self.handles,
            states: &self.states,
            policy: &self.policy,
            client: call.peer().address.ip(),
            now: call.arrived(),
            idle_timeout,
        };
        let spoken = call.mcp.get_or_insert_with(|| McpCall::unread(request));
        Ok(arrival.identify(body, spoken).await?)
    }

    /// Whether policy allows the call, with everything that it is about.
    fn decide(&self, caller: &Arc<Caller>, tool_call: &ToolCall, call: &Call) -> Result<Permit, Refusal> {
        if caller.is_agent_alone() {
            return Ok(self.policy.decide_list(Arc::clone(caller), Arc::clone(&tool_call.tool.tool))?);
        }
        let (client, now) = (call.peer().address.ip(), call.arrived());
        let decide = |tool: &Arc<Tool>, arguments: &Arguments| {
            let circumstances = Circumstances { arguments, client, now };
            self.policy.decide(Arc::clone(caller), Arc::clone(tool), circumstances).map_err(|denial| {
                let is_shown = || call.mcp.is_none() || self.policy.shows(caller, tool, client, now);
                Refusal::denied(denial, is_shown)
            })
        };
        let mut confirm = Confirm::No;
        for tool in &tool_call.also {
            confirm = confirm.max(decide(tool, &Arguments::new())?.confirm());
        }
        Ok(decide(&tool_call.tool.tool, &tool_call.arguments)?.as_strict_as(confirm))
    }

    fn refuse(&self, refusal: &Refusal, mut call: Box<Call>) -> Response<Body> {
        let ending = if matches!(refusal, Refusal::Panicked) { Ending::Panicked } else { Ending::Refused };
        let caller = call.record.caller.as_deref();
        let answer = refusal.answer(caller);
        let answer = match call.gate() {
            Some(gate) => gate.direct(answer, caller),
            None => answer,
        };
        let note = refusal.note(&answer);
        if let Refusal::Unauthenticated(_) = refusal {
            self.metrics.authentication_failed(answer.code);
        }
        let request_id = call.request_id();
        if let Some(denial) = refusal.denial() {
            call.record.policies = denial.policies();
            if let Denial::PolicyError { policies, failure } = denial {
                self.metrics.policy_errors.inc();
                tracing::error!(%request_id, ?policies, %failure, "Policy not evaluated, call denied");
            }
        }
        let policies = &call.record.policies;
        tracing::debug!(%request_id, code = answer.code, detail = %note.detail, ?policies, "Call refused");
        let mut response = match &self.pages {
            Some(pages) if call.record.is_page => pages.broken(&request_id.to_string()),
            Some(_) | None => self.told(refusal, &answer, &note, &call),
        };
        rewrite::set_request_id(response.headers_mut(), request_id);
        if refusal.ends_connection() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        call.refused(note, response.status(), ending);
        rewrite::leave_out_body_for_head(&mut response, &call.record.method);
        response.map(|bytes| Body::whole(bytes, Some(call)))
    }

    /// The one answer without a record: that there can be none, or none as safe as it has to be. `was_done`: the latter.
    fn refuse_unrecorded(&self, refusal: &Refusal, path: &str, was_done: bool) -> Response<Body> {
        let answer = refusal.answer(None);
        self.no_connector.ended(answer.code, Duration::ZERO);
        let request_id = RequestId::next();
        let mut response = match self.pages.as_ref().filter(|_| self.is_page(path)) {
            Some(pages) => pages.unrecorded(&request_id.to_string(), was_done),
            None => answer.response(&refusal.note(&answer), request_id),
        };
        rewrite::set_request_id(response.headers_mut(), request_id);
        response.map(|bytes| Body::whole(bytes, None))
    }
}

/// Whether the body of a request that was answered without it is read all the same. Over HTTP/1 the connection would be closed
/// on it otherwise, and an agent that sends its next request on that one, signed in this time, would get no answer.
fn is_to_be_read<B>(request: &Request<B>) -> bool {
    // Who waits to be told to go on has sent nothing.
    request.version() < Version::HTTP_2 && !request.headers().contains_key(EXPECT)
}

/// What `work` comes to. A panic in it is a refusal, and ends nothing else.
fn contained<T>(work: impl Future<Output = Result<T, Refusal>>) -> impl Future<Output = Result<T, Refusal>> {
    // An `async fn` would hold the work twice, as its argument and as what it awaits.
    AssertUnwindSafe(work).catch_unwind().map(|ended| ended.unwrap_or(Err(Refusal::Panicked)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_refusal_that_tells_whom_to_ask() {
        let work = async {
            tokio::task::yield_now().await;
            panic!("as the test wants")
        };
        let refusal = contained::<()>(work).await.expect_err("a panic");
        let answer = refusal.answer(None);
        assert_eq!((answer.status.as_u16(), answer.code), (500, "internal_error"));
        assert!(contained(async { Ok(()) }).await.is_ok());
    }
}
