//! What Cedar policies can speak of: who and what a configuration knows.

use std::path::Path;
use std::sync::Arc;

use super::{Config, LoadError, Loaded};
use crate::gateway::{ConnectorSettings, McpTools, Tools};
use crate::identity::IssuerName;
use crate::oauth::{IssuerKind, IssuerSettings};
use crate::policy::cedar::{KnownConnector, Vocabulary};

/// The Cedar schema of what the policies of a configuration can speak of. Those themselves are left out: whoever mends them
/// needs it.
///
/// # Errors
///
/// [`LoadError`] holds every other fault of the file.
pub fn policy_schema(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, LoadError> {
    let Loaded { config: Config { issuers, connectors, .. }, .. } =
        super::load_with(path, environment, true).0?;
    Ok(vocabulary(&issuers, &connectors).schema())
}

/// What is known by these settings.
pub(super) fn vocabulary(issuers: &[IssuerSettings], connectors: &[ConnectorSettings]) -> Vocabulary {
    let mut known: Vec<(IssuerName, Vec<Arc<str>>)> = Vec::new();
    for issuer in issuers {
        let tenant = match &issuer.kind {
            IssuerKind::Entra { tenant } => tenant.id().map(Arc::from),
            IssuerKind::Oidc => None,
        };
        match known.iter_mut().find(|(name, _)| *name == issuer.name) {
            Some((_, tenants)) => tenants.extend(tenant),
            None => known.push((issuer.name.clone(), tenant.into_iter().collect())),
        }
    }
    Vocabulary { issuers: known, connectors: connectors.iter().map(connector).collect() }
}

fn connector(settings: &ConnectorSettings) -> KnownConnector {
    let (tools, has_prompts, has_others) = match &settings.tools {
        Tools::Any(tool) => (vec![Arc::clone(tool)], false, false),
        Tools::Listed(tools) => (tools.iter().map(|(_, tool)| Arc::clone(tool)).collect(), false, false),
        Tools::Mcp(McpTools { listed: Some(tools), .. }) => (tools.clone(), true, false),
        Tools::Mcp(McpTools { listed: None, .. }) => (Vec::new(), true, true),
    };
    KnownConnector { name: settings.name.clone(), has_prompts, tools, has_others }
}
