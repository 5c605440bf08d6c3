//! `publish_metadata`: an authorization server's metadata, published anew for clients that refuse the server's own.

use url::Url;

use crate::config::at::At;
use crate::config::file;
use crate::identity::Issuer;

/// The issuer that clients know the server `name` by, where its metadata is published. `at` is the issuer's entry;
/// `public_url` is what could be read of the gateway's.
pub fn published_issuer(
    name: &str,
    issuer: &file::Issuer,
    at: &At<'_>,
    public_url: &PublicUrl<'_>,
) -> Option<Option<Issuer>> {
    if issuer.publish_metadata != Some(true) {
        return Some(None);
    }
    let at = at.key("publish_metadata");
    if issuer.tenants.as_ref().is_some_and(|tenants| tenants.len() > 1) {
        at.fault(
            "is for one tenant, whose endpoints clients find by it: give each of `tenants` an entry of its own, or leave \
             this out",
        );
        return None;
    }
    match public_url {
        PublicUrl::Given(url) => {
            let address = format!("{}/issuers/{name}", url.as_str().trim_end_matches('/'));
            Some(Some(Issuer::new(address)))
        }
        PublicUrl::Missing => {
            at.fault(
                "goes with `public_url`, under which clients find the metadata: add it, or leave this out",
            );
            None
        }
        PublicUrl::Unclear => None,
    }
}

/// The gateway's address for agents, as far as other settings need it.
pub enum PublicUrl<'a> {
    Given(&'a Url),
    Missing,
    /// It has faults of its own.
    Unclear,
}
