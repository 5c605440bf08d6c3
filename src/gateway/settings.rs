//! What the configuration says about a connector, checked.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use rustls::pki_types::CertificateDer;
use url::Url;

use super::origin::Origin;
use super::path::ConnectorPath;
use super::rest::ToolMatch;
use crate::checked_url::CheckedUrl;
use crate::credential::CACHE_BYTES_MAX;
use crate::limit::LimitSettings;
use crate::oauth::verifier::REMEMBERED_BYTES_MAX;
use crate::pages::PagesSettings;
use crate::tool::{ConnectorName, Target, Tool};

/// Everything the configuration says about one connector, checked.
#[derive(Clone, Debug)]
pub struct ConnectorSettings {
    /// Its name in the configuration.
    pub name: ConnectorName,
    /// The path under which agents call it.
    pub path: ConnectorPath,
    /// Where calls go. What follows the connector's path in a request is appended to this address's path.
    pub upstream: CheckedUrl,
    /// Certificate authorities trusted beside those of the system.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// What agents can call.
    pub tools: Tools,
    /// Request headers that are let through beside the standard ones.
    pub pass_headers: Vec<HeaderName>,
    /// The pages in browsers that may call it.
    pub allowed_origins: Vec<Origin>,
    /// How long to wait for it.
    pub timeouts: ConnectorTimeouts,
    /// Whether calls that may be repeated are, where it throttles or fails.
    pub repeats: bool,
    /// Between two pieces of an agent's body.
    pub body_timeout: Duration,
    /// How many calls there may be.
    pub limits: LimitSettings,
}

/// How agents reach the gateway, and what they can prove on the way.
#[derive(Clone, Debug, Default)]
pub struct PublicSettings {
    /// The address by which agents reach it, which DPoP proofs are for and metadata names. `None`: there is neither.
    pub public_url: Option<Url>,
    /// Whether a DPoP proof needs a nonce of the gateway's (RFC 9449 section 9).
    pub requires_dpop_nonce: bool,
    /// Whether agents are asked for certificates, which tokens can be bound to (RFC 8705).
    pub takes_certificates: bool,
    /// Whether it is reached from this machine alone, and by no other name than loopback's.
    pub is_loopback_alone: bool,
    /// The pages for people; `None`: there are none.
    pub pages: Option<PagesSettings>,
}

/// What agents can call on a connector.
#[derive(Clone, Debug)]
pub enum Tools {
    /// The connector lists no tools: all of it is one tool.
    Any(Arc<Tool>),
    /// These alone.
    Listed(Vec<(ToolMatch, Arc<Tool>)>),
    /// Those of an MCP server.
    Mcp(McpTools),
}

impl Tools {
    /// Every tool that is declared, and what stands for those that are not.
    pub fn declared(&self) -> Vec<&Arc<Tool>> {
        match self {
            Self::Any(tool) => vec![tool],
            Self::Listed(listed) => listed.iter().map(|(_, tool)| tool).collect(),
            Self::Mcp(mcp) => std::iter::once(&mcp.unlisted).chain(mcp.listed.iter().flatten()).collect(),
        }
    }
}

/// What agents can call on an MCP server.
#[derive(Clone, Debug)]
pub struct McpTools {
    /// What holds for everything that is not listed: prompts, resources, the protocol's own methods, and tools where
    /// none are listed. Its name stands for theirs.
    pub unlisted: Arc<Tool>,
    /// The tools that are served. `None`: those that policy allows by name.
    pub listed: Option<Vec<Arc<Tool>>>,
    /// What an agent gets that asks for a list without a person.
    pub list_without_person: ListWithoutPerson,
}

/// What an agent gets that asks for a list without a person, with a token of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListWithoutPerson {
    /// Nothing.
    Refuse,
    /// What the server lists for the application, whose token has to be good for this.
    AppOnly(Target),
    /// The tools that are listed in the configuration.
    Configured,
}

/// How much memory people's tokens may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryBounds {
    /// Most bytes of delegated tokens.
    pub delegated_bytes_max: usize,
    /// Most bytes of tokens that were verified.
    pub verified_bytes_max: usize,
}

impl MemoryBounds {
    /// What holds unless it is configured.
    pub const DEFAULT: Self =
        Self { delegated_bytes_max: CACHE_BYTES_MAX, verified_bytes_max: REMEMBERED_BYTES_MAX };
}

/// What a call may be at most, and how long it may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallBounds {
    /// Longest target: path and query.
    pub target_bytes_max: usize,
    /// Most header lines, also where they come in a form that HTTP itself does not count.
    pub headers_max: usize,
    /// From its arrival to the end of its answer.
    pub call_timeout: Duration,
}

impl CallBounds {
    /// What holds unless the configuration says otherwise.
    pub const DEFAULT: Self = Self {
        // Twice what common servers take, since queries of OData are long.
        target_bytes_max: 16_384,
        headers_max: 100,
        // As long as tokens commonly live.
        call_timeout: Duration::from_secs(3_600),
    };
}

/// How long to wait for a connector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectorTimeouts {
    /// To be connected, TLS included.
    pub connect: Duration,
    /// From the last byte of the request to the first of the answer.
    pub response: Duration,
    /// Between two pieces of the answer's body.
    pub idle: Duration,
}

impl Default for ConnectorTimeouts {
    fn default() -> Self {
        Self {
            // Several round trips across the world, TLS included.
            connect: Duration::from_secs(5),
            // What common servers allow themselves.
            response: Duration::from_secs(60),
            // Longer than the keep-alive comments that event streams send, commonly every 15 to 60 seconds.
            idle: Duration::from_secs(300),
        }
    }
}
