//! What the gateway says of itself to whoever asks: the metadata of its connectors (RFC 9728), and that of authorization
//! servers which it publishes in their stead (RFC 8414). It is read without a token, by GET and HEAD, and kept for a while.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response};

use super::call::Call;
use super::cors::{CorsAccess, answer_preflight, is_preflight};
use super::path::CanonicalPath;
use super::protected_resource::{self, resource_path};
use super::refusal::Refusal;
use super::request::RequestError;
use super::rewrite;
use super::routes::{Connector, Routes};
use crate::audit::RequestId;
use crate::oauth::authorization_server::{AuthorizationServer, AuthorizationServers};

/// All of this belongs to the gateway itself; no connector lies there.
const RESERVED: &str = "/.well-known";
/// How long whoever has read it may rely on it, in seconds: as long as a change of the configuration may take to get
/// around, and long enough to spare a client that signs in several reads of the same.
const CACHE: &str = "public, max-age=300";

/// Where a server's metadata is asked for, before the path of its issuer (RFC 8414 sections 3.1 and 5). The third form,
/// of OpenID Connect Discovery, comes after that path.
const BEFORE_ISSUER: [&str; 2] =
    ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];
const AFTER_ISSUER: &str = "/.well-known/openid-configuration";

/// All documents, by path.
pub struct WellKnown {
    documents: HashMap<String, Document>,
}

enum Document {
    /// A connector's.
    Resource(Arc<Connector>),
    /// An authorization server's.
    AuthorizationServer(Arc<AuthorizationServer>),
}

impl WellKnown {
    /// The documents about these connectors and servers.
    pub fn new(routes: &Routes, servers: &AuthorizationServers) -> Self {
        let mut documents = HashMap::new();
        let mut paths = Vec::new();
        for connector in routes.connectors() {
            if let Some(resource) = connector.gate.resource() {
                documents.insert(resource.path().to_owned(), Document::Resource(Arc::clone(connector)));
                paths.push(resource.path());
            }
        }
        if let [only] = paths.as_slice()
            && let Some(Document::Resource(connector)) = documents.get(*only)
        {
            // Where clients look that do not find the other.
            let connector = Arc::clone(connector);
            documents
                .entry(protected_resource::WELL_KNOWN.to_owned())
                .or_insert(Document::Resource(connector));
        }
        for server in servers.values() {
            let Some(published) = server.published() else { continue };
            let path = resource_path(published.issuer().as_str());
            let own_path = format!("/issuers/{}{AFTER_ISSUER}", server.settings().name);
            let before = BEFORE_ISSUER.map(|well_known| format!("{well_known}{path}"));
            for path in before.into_iter().chain([own_path]) {
                documents.insert(path, Document::AuthorizationServer(Arc::clone(server)));
            }
        }
        Self { documents }
    }

    /// The answer to a request for a document; `None` when it is for a connector.
    pub fn answer(
        &self,
        path: CanonicalPath<'_>,
        request: &Request<()>,
        call: &mut Call,
    ) -> Option<Result<Response<Bytes>, Refusal>> {
        let document = self.documents.get(path.as_str());
        let below = path.as_str().strip_prefix(RESERVED);
        if document.is_none() && !below.is_some_and(|below| below.is_empty() || below.starts_with('/')) {
            return None;
        }
        call.cors = CorsAccess::All;
        let Some(document) = document else { return Some(Err(Refusal::NoConnector)) };
        if let Document::Resource(connector) = document {
            call.record.connector = Some(connector.name.clone());
            call.counts_as(&connector.metrics);
        }
        Some(document.answer(request, call.request_id()))
    }
}

impl Document {
    fn answer(&self, request: &Request<()>, request_id: RequestId) -> Result<Response<Bytes>, Refusal> {
        if is_preflight(request) {
            return Ok(answer_preflight(request, request_id, |_| true));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(RequestError::NotRead.into());
        }
        let json = match self {
            Self::Resource(connector) => {
                connector.gate.resource().map(|resource| resource.document().clone())
            }
            Self::AuthorizationServer(server) => {
                server.published().and_then(|published| published.document())
            }
        };
        let mut response = Response::new(json.ok_or(Refusal::MetadataUnavailable)?);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(CACHE));
        rewrite::set_request_id(headers, request_id);
        rewrite::leave_out_body_for_head(&mut response, request.method());
        Ok(response)
    }
}
