//! What stands before a connector: which pages in browsers may call it, by which names the gateway may be reached, and
//! where a client without a token is sent.

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName, ORIGIN};
use http::{Request, Response};
use url::Host;

use super::answer::{Answer, Challenge};
use super::call::Call;
use super::cors::{CorsAccess, answer_preflight, is_preflight};
use super::origin::Origin;
use super::protected_resource::ProtectedResource;
use super::request::{self, RequestError};
use super::rewrite;
use super::settings::{ConnectorSettings, PublicSettings, Tools};
use crate::identity::Caller;
use crate::oauth::authorization_server::AuthorizationServers;

/// What stands before one connector.
pub struct Gate {
    resource: Option<ProtectedResource>,
    allowed_origins: Vec<Origin>,
    pass_headers: Vec<HeaderName>,
    wants_loopback_host: bool,
}

impl Gate {
    /// The gate of a connector.
    pub fn new(
        connector: &ConnectorSettings,
        servers: &AuthorizationServers,
        public: &PublicSettings,
    ) -> Self {
        // A browser can be made to take any name for this machine (DNS rebinding), and MCP servers on loopback are what
        // is looked for by it. REST connectors have long been served behind something that names them as it likes, and
        // nothing is open there without a token either.
        let wants_loopback_host = match connector.tools {
            Tools::Mcp(_) => public.is_loopback_alone,
            Tools::Any(_) | Tools::Listed(_) => false,
        };
        Self {
            resource: ProtectedResource::new(connector, servers, public),
            allowed_origins: connector.allowed_origins.clone(),
            pass_headers: connector.pass_headers.clone(),
            wants_loopback_host,
        }
    }

    /// Its metadata, when clients can reach it by a known address.
    pub fn resource(&self) -> Option<&ProtectedResource> {
        self.resource.as_ref()
    }

    /// Lets a request in, or refuses it for where it comes from; notes who may read the answer. A browser that
    /// asks whether a page may call is answered here: nobody behind has to know.
    ///
    /// # Errors
    ///
    /// [`RequestError::Origin`] and [`RequestError::ForeignHost`].
    pub fn admit(
        &self,
        request: &Request<()>,
        call: &mut Call,
    ) -> Result<Option<Response<Bytes>>, RequestError> {
        if self.wants_loopback_host && !request::host(request).is_some_and(|host| is_loopback(&host)) {
            return Err(RequestError::ForeignHost);
        }
        if !self.allowed_origins.is_empty() {
            call.cors = CorsAccess::Others;
        }
        let mut origins = request.headers().get_all(ORIGIN).iter();
        let origin = match (origins.next(), origins.next()) {
            (None, _) => return Ok(None),
            (Some(origin), None) if self.allowed_origins.iter().any(|allowed| allowed.is(origin)) => origin,
            (Some(_), _) => return Err(RequestError::Origin),
        };
        call.cors = CorsAccess::Of(origin.clone());
        Ok(is_preflight(request)
            .then(|| answer_preflight(request, call.request_id(), |name| self.may_send(name))))
    }

    /// Whether anything is done with a header of this name.
    fn may_send(&self, name: &HeaderName) -> bool {
        name == AUTHORIZATION
            || ["dpop", "obo-actor-token"].contains(&name.as_str())
            || name.as_str().starts_with("mcp-")
            || rewrite::passes(name, &self.pass_headers)
    }

    /// Adds to a challenge where the client finds out how the person signs in (RFC 9728 section 5.1), and for which
    /// scopes. `caller` is whom it is told, where that is known.
    pub fn direct(&self, mut answer: Answer, caller: Option<&Caller>) -> Answer {
        let Some(resource) = &self.resource else { return answer };
        let scopes = match answer.challenge {
            // What is malformed is not mended by signing in, and an account elsewhere is connected elsewhere.
            Challenge::None | Challenge::InvalidRequest | Challenge::Connect => return answer,
            Challenge::InsufficientScope => {
                let lacking = answer.scopes.take().unwrap_or_default();
                let scopes = resource.scopes_to_ask_for(&lacking, caller.map(Caller::issuer_name));
                answer.scopes = Some(lacking);
                Some(scopes)
            }
            Challenge::Bearer
            | Challenge::InvalidToken
            | Challenge::InsufficientClaims
            | Challenge::InsufficientUserAuthentication
            | Challenge::Dpop(_) => resource.scopes_to_begin_with().cloned(),
        };
        answer.scopes_to_ask_for = scopes;
        answer.resource_metadata = Some(resource.metadata_url().into());
        answer
    }
}

/// Whether a host, with or without a port, is this machine by any of its own names.
fn is_loopback(authority: &http::uri::Authority) -> bool {
    match Host::parse(authority.host()) {
        Ok(Host::Domain(name)) => name == "localhost",
        Ok(Host::Ipv4(address)) => address.is_loopback(),
        Ok(Host::Ipv6(address)) => address.is_loopback(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_goes_by_its_own_names_alone() {
        for own in
            ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:80", "127.1.2.3", "[::1]", "[::1]:80"]
        {
            assert!(is_loopback(&own.parse().expect("a host")), "{own}");
        }
        for foreign in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.localhost",
            "localhost.",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(!is_loopback(&foreign.parse().expect("a host")), "{foreign}");
        }
    }
}
