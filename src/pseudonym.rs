//! `obo-gateway audit pseudonym`: under which pseudonyms somebody stands in the trail, for an auditor who has the keys.

use std::path::Path;

use crate::config::{self, Config, LoadError, NamedPerson};

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub enum PseudonymError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// The configuration names no keys.
    #[error("the configuration has no `audit.keys`, so records have no pseudonyms")]
    NoKeys,
    /// There is no such issuer.
    #[error("no issuer goes by the name {0:?}")]
    UnknownIssuer(String),
    /// An issuer has several tenants, in each of which the identifier would be somebody else.
    #[error("the issuer {0:?} has several tenants: name the person's with --tenant")]
    SeveralTenants(String),
}

/// The pseudonyms of a person, one for each key of the configuration at `path`.
///
/// # Errors
///
/// [`PseudonymError`] when there are none.
pub fn pseudonyms(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    person: &NamedPerson,
) -> Result<Vec<String>, PseudonymError> {
    let config = config::load(path, environment)?.config;
    if !config.privacy.is_configured() {
        return Err(PseudonymError::NoKeys);
    }
    let realm = match (&person.tenant, &person.issuer) {
        (Some(tenant), _) => tenant.clone(),
        (None, issuer) => realm_of(&config, issuer.as_deref().unwrap_or_default())?,
    };
    Ok(config.privacy.keys().iter().map(|key| key.person(&realm, &person.subject)).collect())
}

/// Where identifiers of an issuer's people mean something.
fn realm_of(config: &Config, issuer: &str) -> Result<String, PseudonymError> {
    let called = config
        .issuers
        .iter()
        .filter(|settings| settings.name.as_str() == issuer || settings.issuer.as_str() == issuer);
    let mut realms: Vec<&str> = called.map(|settings| settings.realm()).collect();
    realms.sort_unstable();
    realms.dedup();
    match realms.as_slice() {
        [] => Err(PseudonymError::UnknownIssuer(issuer.to_owned())),
        [realm] => Ok((*realm).to_owned()),
        _ => Err(PseudonymError::SeveralTenants(issuer.to_owned())),
    }
}
