//! A call that is gone through and not made: the gateway's own stages, one by one, without a socket. What each says, is
//! for whoever asks why a call is refused; nothing is recorded, and nothing reaches a connector.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Map, Value};

use super::authenticate::{AuthenticateError, presented_token};
use super::forward::{ConnectorSockets, UpstreamError};
use super::gate::Gate;
use super::mcp::declared_arguments;
use super::path::CanonicalPath;
use super::refusal::Refusal;
use super::request::METHODS;
use super::rest::error::RestError;
use super::routes::{Connector, Routes};
use super::settings::{ConnectorSettings, MemoryBounds, PublicSettings};
use crate::audit::{Recorder, RequestId};
use crate::clock::Now;
use crate::credential::{CredentialCache, Credentials};
use crate::error_chain::ErrorChain;
use crate::identity::{Caller, IssuerName, RuleName, Scopes};
use crate::limit::Limits;
use crate::metrics::Metrics;
use crate::oauth::authorization_server::AuthorizationServers;
use crate::oauth::keys::Keys;
use crate::oauth::possession::Presented;
use crate::oauth::verifier::{Examination, Supposed, Verifier, VerifyError};
use crate::policy::{Circumstances, NearMiss, Permit, Policy};
use crate::tool::{ArgumentType, Arguments, Confirm, ConnectorName, Primitive, Tool};

/// The stages of a gateway that nobody calls.
pub struct Rehearsal {
    verifier: Verifier,
    routes: Routes,
    policy: Policy,
    credentials: Credentials,
}

/// What is to be called, as an operator writes it: `mail/send_message`, `notes/prompts/summary`,
/// `notes/resources/file:///shared/x`, or a request line such as `GET /mail/me/messages`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallName {
    /// Something by its name.
    Named {
        /// On which connector.
        connector: String,
        /// What goes by that name.
        primitive: Primitive,
        /// The name, or the URI of a resource.
        name: String,
    },
    /// A REST operation, by the request that an agent sends.
    Request {
        /// The method.
        method: Method,
        /// The path, the connector's own path included. A query is left out: it decides nothing.
        path: String,
    },
}

/// Why nobody knows what is to be called.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallNameError {
    /// It is none of the forms.
    #[error(
        "a call is named by connector and tool, like `mail/send_message`, `notes/prompts/NAME` or \
         `notes/resources/URI`, or by a request line, like `GET /mail/me/messages`"
    )]
    Form,
    /// There is no connector of this name.
    #[error("there is no connector {0:?}; `obo-gateway tools` shows what there is")]
    Connector(String),
    /// The connector has nothing that goes by this name, and no request could name it.
    #[error("connector {connector:?} has no {what} {name:?}; `obo-gateway tools` shows what there is")]
    Name {
        /// The connector.
        connector: String,
        /// What was looked for.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// An MCP server has one address, which tells nothing.
    #[error(
        "connector {0:?} is an MCP server, where the message tells what is called: name it, like `{0}/TOOL`"
    )]
    NotByAddress(String),
    /// An argument is given several times that is no list.
    #[error("the argument {0:?} is given more than once, and is no list")]
    Repeated(String),
}

/// Why there is nothing to decide about.
#[derive(Debug, thiserror::Error)]
pub enum Unidentified {
    /// It was not said what is to be called.
    #[error(transparent)]
    Name(#[from] CallNameError),
    /// Such a call is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What a call turned out to be about.
pub struct Identified {
    /// The tool.
    pub tool: Arc<Tool>,
    /// Whether it is on an MCP server.
    pub is_mcp: bool,
}

/// Who calls.
pub enum Who {
    /// Whoever the token speaks for, should what was not checked be good.
    Supposed(Supposed),
    /// The caller.
    Verified(Arc<Caller>),
}

/// What policy said yes with.
pub struct Allowed {
    /// The rules and policies.
    pub policies: Arc<[RuleName]>,
    /// Whether the person has to agree to the call before it runs.
    pub confirm: Confirm,
    /// Whoever is only supposed gets none.
    permit: Option<Permit>,
}

/// What is known of a credential that was obtained. The credential itself is dropped.
pub struct Obtained {
    /// The scopes that were granted, where the authorization server said so.
    pub granted: Option<Scopes>,
    /// How long it lives, where the authorization server said so.
    pub lifetime: Option<Duration>,
}

impl std::str::FromStr for CallName {
    type Err = CallNameError;

    fn from_str(text: &str) -> Result<Self, CallNameError> {
        if let Some((method, path)) = text.split_once(' ')
            && let Some(method) = METHODS.into_iter().find(|known| known.as_str() == method)
        {
            let path = path.trim().split(['?', '#']).next().unwrap_or_default().to_owned();
            return Ok(Self::Request { method, path });
        }
        let (connector, rest) = text.split_once('/').ok_or(CallNameError::Form)?;
        let (primitive, name) = match rest.split_once('/') {
            Some(("prompts", name)) => (Primitive::Prompt, name),
            Some(("resources", uri)) => (Primitive::Resource, uri),
            Some(_) | None => (Primitive::Tool, rest),
        };
        match connector.is_empty() || connector.contains(' ') || name.is_empty() {
            true => Err(CallNameError::Form),
            false => Ok(Self::Named { connector: connector.to_owned(), primitive, name: name.to_owned() }),
        }
    }
}

impl Rehearsal {
    /// The stages of a gateway for these connectors and this policy.
    ///
    /// # Errors
    ///
    /// The connector that cannot be reached as configured, and why.
    pub fn new(
        servers: AuthorizationServers,
        connectors: Vec<ConnectorSettings>,
        policy: Policy,
        public: &PublicSettings,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, (ConnectorName, UpstreamError)> {
        let gate = |connector: &ConnectorSettings| Gate::new(connector, &servers, public);
        let limited = connectors.iter().map(|connector| (&connector.name, &connector.limits));
        let limits = Limits::new(limited, None, metrics);
        // Nothing is connected to.
        let sockets = ConnectorSockets::new(0);
        let routes = Routes::new(connectors, gate, &limits, metrics, &sockets, None)?;
        let cache =
            Arc::new(CredentialCache::new(MemoryBounds::DEFAULT.delegated_bytes_max, Arc::clone(metrics)));
        let credentials =
            Credentials::new(Arc::clone(&servers), cache, Recorder::for_rehearsal(), Arc::clone(metrics));
        Ok(Self {
            verifier: Verifier::new(servers, None, MemoryBounds::DEFAULT.verified_bytes_max),
            routes,
            policy,
            credentials,
        })
    }

    /// Whether a token can be sent as one at all.
    ///
    /// # Errors
    ///
    /// The refusal of a call that is sent with it.
    pub fn present(&self, token: &str) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| AuthenticateError::Malformed("Authorization"))?;
        headers.insert(AUTHORIZATION, value);
        Ok(presented_token(&headers).map(drop)?)
    }

    /// Examines a token without asking anybody. `keys` are its issuer's, where they are at hand.
    pub fn examine(&self, token: &str, keys: Option<&Keys>, now: Now) -> Examination {
        self.verifier.examine(token, keys, now)
    }

    /// Fetches the keys of the token's issuer, and examines the token with them. Beside it, why they could not be fetched.
    pub async fn examine_online(&self, token: &str, now: Now) -> (Examination, Option<String>) {
        match self.verifier.fetch_keys_for(token).await {
            Some(Ok(server)) => {
                let snapshot = server.key_set().snapshot();
                (self.examine(token, snapshot.as_ref().map(|snapshot| &snapshot.keys), now), None)
            }
            Some(Err(error)) => (self.examine(token, None, now), Some(ErrorChain(&error).to_string())),
            None => (self.examine(token, None, now), None),
        }
    }

    /// Verifies a token as for a call, with whatever its issuer has to be asked for.
    ///
    /// # Errors
    ///
    /// The refusal of a call that is sent with it.
    pub async fn authenticate(&self, token: &str, now: Now) -> Result<Arc<Caller>, Refusal> {
        self.verifier.verify(&Presented::bearer(token), now).await.map_err(refused_token)
    }

    /// What a call is about.
    ///
    /// # Errors
    ///
    /// When it is refused, or no call could be meant.
    pub fn identify(&self, call: &CallName) -> Result<Identified, Unidentified> {
        match call {
            CallName::Request { method, path } => {
                let path = CanonicalPath::parse(path).map_err(Refusal::from)?;
                let connector = self.routes.connector(path).ok_or(Refusal::NoConnector)?;
                if connector.mcp().is_some() {
                    return Err(CallNameError::NotByAddress(connector.name.to_string()).into());
                }
                let operation = connector.operation(method, connector.path_within(path));
                let tool = Arc::clone(&operation.ok_or(Refusal::Rest(RestError::ToolUnlisted))?.tool);
                Ok(Identified { tool, is_mcp: false })
            }
            CallName::Named { connector, primitive, name } => {
                let known = self.routes.named(&ConnectorName::new(connector.as_str()));
                let known = known.ok_or_else(|| CallNameError::Connector(connector.clone()))?;
                self.named(known, *primitive, name)
            }
        }
    }

    fn named(
        &self,
        connector: &Connector,
        primitive: Primitive,
        name: &str,
    ) -> Result<Identified, Unidentified> {
        if let Some(served) = connector.mcp() {
            let found = served.find(primitive, name);
            let tool = found.ok_or(Refusal::Mcp(super::mcp::McpError::ToolUnlisted))?.tool;
            return Ok(Identified { tool, is_mcp: true });
        }
        let tools = connector.operations();
        let found = tools
            .iter()
            .map(|counted| &counted.tool)
            .find(|tool| primitive == Primitive::Tool && tool.name.as_str() == name);
        match found {
            Some(tool) => Ok(Identified { tool: Arc::clone(tool), is_mcp: false }),
            None => Err(Unidentified::Name(CallNameError::Name {
                connector: connector.name.to_string(),
                what: primitive.as_str(),
                name: name.to_owned(),
            })),
        }
    }

    /// What policy sees of these arguments. Beside it, those that the tool does not declare, which it does not see.
    ///
    /// # Errors
    ///
    /// When a call with them is refused, or one is given several times.
    pub fn arguments(
        &self,
        tool: &Tool,
        given: &[(String, String)],
    ) -> Result<(Arguments, Vec<String>), Unidentified> {
        let (mut declared, mut undeclared) = (Map::new(), Vec::new());
        for (name, value) in given {
            match tool.arguments.get(name.as_str()) {
                None => undeclared.push(name.clone()),
                Some(ArgumentType::Strings) => {
                    let list = declared.entry(name.as_str()).or_insert_with(|| Value::Array(Vec::new()));
                    if let Value::Array(list) = list {
                        list.push(value.as_str().into());
                    }
                }
                Some(ArgumentType::String) => {
                    once(&mut declared, name, value.as_str().into())?;
                }
                // What is no value of the type goes on as a text, and is refused as it is when an agent sends it.
                Some(ArgumentType::Integer | ArgumentType::Boolean) => {
                    let read = serde_json::from_str(value).unwrap_or_else(|_| value.as_str().into());
                    once(&mut declared, name, read)?;
                }
            }
        }
        let arguments = declared_arguments(tool, Some(&declared)).map_err(Refusal::from)?;
        undeclared.dedup();
        Ok((arguments, undeclared))
    }

    /// Whether policy allows the call.
    ///
    /// # Errors
    ///
    /// The refusal of such a call.
    pub fn decide(
        &self,
        who: &Who,
        identified: &Identified,
        arguments: &Arguments,
        client: IpAddr,
        now: Now,
    ) -> Result<Allowed, Refusal> {
        let (tool, circumstances) = (&identified.tool, Circumstances { arguments, client, now });
        let allowed = match who {
            Who::Supposed(supposed) => supposed
                .decide(&self.policy, tool, circumstances)
                .map(|(policies, confirm)| Allowed { policies, confirm, permit: None }),
            Who::Verified(caller) => {
                let permit = self.policy.decide(Arc::clone(caller), Arc::clone(tool), circumstances);
                permit.map(|permit| Allowed {
                    policies: Arc::clone(permit.policies()),
                    confirm: permit.confirm(),
                    permit: Some(permit),
                })
            }
        };
        allowed.map_err(|denial| {
            let is_shown = || !identified.is_mcp || self.policy.shows(who.caller(), tool, client, now);
            Refusal::denied(denial, is_shown)
        })
    }

    /// The rules that allow the tool to others, or through others.
    pub fn near_misses(&self, who: &Who, tool: &Tool) -> Vec<NearMiss<'_>> {
        self.policy.near_misses(who.caller(), tool)
    }

    /// By what the person has to agree to an allowed call, beside the tool itself.
    pub fn confirmed_by(&self, who: &Who, tool: &Tool, allowed: &Allowed) -> Vec<(RuleName, Confirm)> {
        self.policy.confirmed_by(who.caller(), tool, &allowed.policies)
    }

    /// Obtains the credential for an allowed call, and drops it. `None` for who is only supposed to call.
    ///
    /// # Errors
    ///
    /// The refusal of such a call.
    pub async fn obtain(&self, allowed: &Allowed, now: Now) -> Option<Result<Obtained, Refusal>> {
        let permit = allowed.permit.as_ref()?;
        let credential = self.credentials.obtain(permit, RequestId::next(), now).await;
        Some(credential.map_err(Refusal::from).map(|credential| Obtained {
            granted: credential.granted().cloned(),
            lifetime: credential.lifetime(),
        }))
    }
}

/// The refusal of a call whose token is refused.
pub fn refused_token(error: VerifyError) -> Refusal {
    AuthenticateError::from(error).into()
}

/// The refusal of a call while the issuer's keys are not known.
pub fn keys_unavailable(issuer: IssuerName) -> Refusal {
    refused_token(VerifyError::KeysUnavailable { issuer })
}

fn once(arguments: &mut Map<String, Value>, name: &str, value: Value) -> Result<(), CallNameError> {
    match arguments.insert(name.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(CallNameError::Repeated(name.to_owned())),
    }
}

impl Who {
    /// What is known of them.
    pub fn caller(&self) -> &Caller {
        match self {
            Self::Supposed(supposed) => supposed.caller(),
            Self::Verified(caller) => caller,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<CallName, CallNameError>) {
        assert_eq!(text.parse::<CallName>(), expected, "{text}");
    }

    fn named(connector: &str, primitive: Primitive, name: &str) -> Result<CallName, CallNameError> {
        Ok(CallName::Named { connector: connector.to_owned(), primitive, name: name.to_owned() })
    }

    #[test]
    fn a_call_is_named_by_connector_and_name_or_by_a_request_line() {
        check("mail/send_message", named("mail", Primitive::Tool, "send_message"));
        check("notes/prompts/summary", named("notes", Primitive::Prompt, "summary"));
        check("notes/resources/file:///a/b", named("notes", Primitive::Resource, "file:///a/b"));
        check("notes/a/b", named("notes", Primitive::Tool, "a/b"));
        check("notes/prompts", named("notes", Primitive::Tool, "prompts"));
        let request = |path: &str| Ok(CallName::Request { method: Method::GET, path: path.to_owned() });
        check("GET /mail/me/messages", request("/mail/me/messages"));
        check("GET /mail/me/messages?$top=5#x", request("/mail/me/messages"));
        for bad in ["", "mail", "/x", "mail/", "notes/prompts/", "get /mail", "/"] {
            check(bad, Err(CallNameError::Form));
        }
    }
}
