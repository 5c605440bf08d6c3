//! An authorization server's metadata, published anew by the gateway for clients that refuse the server's own: some
//! leave out that they do PKCE, some have none where MCP clients look.
//!
//! It is fetched before anybody asks and refreshed in the background, so that what strangers ask for costs the server
//! nothing. A failed refresh keeps what was there.
//!
//! Clients then know the server by another name than it knows itself, so they cannot tell by `iss` whether an authorization
//! response is from it (RFC 9207), which would guard them from a mix-up (RFC 9700 section 4.4). What is left is a redirect
//! address for each issuer. That is why it is published only where an operator says so.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::metadata::{self, MetadataError};
use super::outbound::OutboundClient;
use crate::checked_url::{CheckedUrl, PlainHttp};
use crate::error_chain::ErrorChain;
use crate::identity::{Issuer, IssuerName};

/// How often it is fetched when all is well. Endpoints are announced long before they move.
const REFRESH_INTERVAL: Duration = Duration::from_secs(600);
/// How soon a failed refresh is tried again while there is something to go on with.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// How soon it is tried again while there is nothing: people wait.
const RETRY_INTERVAL_AT_FIRST: Duration = Duration::from_secs(2);

/// What a client should wait before it asks again while there is nothing: by then it has been tried for twice.
pub const RETRY_AFTER_WITHOUT_METADATA: Duration = Duration::from_secs(5);

/// Members that hold for the server's own document alone, and say something wrong in ours.
///
/// `signed_metadata` would win over what stands beside it (RFC 8414 section 2.1), the server's own `issuer` with it. The
/// `iss` that the server puts into its authorization responses (RFC 9207) is not the issuer that the client knows by us.
const LEFT_OUT: [&str; 2] = ["signed_metadata", "authorization_response_iss_parameter_supported"];

/// What is published for one authorization server, and as what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publication {
    /// The issuer that clients know it by: an address of the gateway's.
    pub issuer: Issuer,
    /// Where the server's own metadata is.
    pub metadata: CheckedUrl,
}

/// The metadata of one authorization server, as it is published.
#[derive(Debug)]
pub struct PublishedMetadata {
    publication: Publication,
    current: ArcSwapOption<Bytes>,
}

impl PublishedMetadata {
    /// Metadata that is still to be fetched. Until then it is what `previous` has published under the same name.
    pub fn new(publication: Publication, previous: Option<&Self>) -> Self {
        let previous = previous.filter(|previous| previous.publication == publication);
        let current = ArcSwapOption::new(previous.and_then(|previous| previous.current.load_full()));
        Self { publication, current }
    }

    /// The issuer that clients know the server by.
    pub fn issuer(&self) -> &Issuer {
        &self.publication.issuer
    }

    /// The document, as JSON; `None` until the server's own has been fetched.
    pub fn document(&self) -> Option<Bytes> {
        self.current.load().as_deref().cloned()
    }

    /// Keeps it fresh until dropped. `issuer` is whose metadata it has to be.
    pub async fn keep_fresh(
        self: Arc<Self>,
        name: IssuerName,
        client: OutboundClient,
        issuer: Issuer,
        plain_http: PlainHttp,
    ) {
        loop {
            let own = metadata::members(&client, &self.publication.metadata, &issuer, plain_http).await;
            let pause = match own.and_then(|own| document(own, &self.publication.issuer)) {
                Ok(document) => {
                    self.current.store(Some(Arc::new(document)));
                    REFRESH_INTERVAL
                }
                Err(error) => {
                    let is_known = self.current.load().is_some();
                    tracing::warn!(issuer = %name, error = %ErrorChain(&error), has_metadata = is_known, "Metadata to publish could not be fetched");
                    if is_known { RETRY_INTERVAL } else { RETRY_INTERVAL_AT_FIRST }
                }
            };
            tokio::time::sleep(pause).await;
        }
    }
}

/// The server's own metadata, checked, as it is published for `issuer`.
fn document(mut members: Map<String, Value>, issuer: &Issuer) -> Result<Bytes, MetadataError> {
    for name in ["authorization_endpoint", "token_endpoint"] {
        if !members.contains_key(name) {
            return Err(MetadataError::Member { name, reason: None });
        }
    }
    for name in LEFT_OUT {
        members.remove(name);
    }
    members.insert("issuer".to_owned(), json!(issuer.as_str()));
    members.insert("code_challenge_methods_supported".to_owned(), json!(["S256"]));
    // RFC 8414 section 2 requires it, OpenID Connect Discovery as well; a code is what clients that do PKCE ask for.
    members.entry("response_types_supported").or_insert_with(|| json!(["code"]));
    Ok(Value::Object(members).to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(own: Value) -> Result<Value, MetadataError> {
        let Value::Object(members) = own else { panic!("an object") };
        let document = document(members, &Issuer::new("https://gateway.example/issuers/contoso"))?;
        Ok(serde_json::from_slice(&document).expect("JSON"))
    }

    #[test]
    fn what_clients_look_for_is_added_and_the_rest_is_the_servers() {
        let own = json!({
            "issuer": "https://issuer.example",
            "authorization_endpoint": "https://issuer.example/authorize",
            "token_endpoint": "https://issuer.example/token",
            "response_types_supported": ["code", "id_token"],
            "scopes_supported": ["openid"],
        });
        let mut expected = own.clone();
        expected["issuer"] = json!("https://gateway.example/issuers/contoso");
        expected["code_challenge_methods_supported"] = json!(["S256"]);
        assert_eq!(published(own).expect("a document"), expected);
    }

    #[test]
    fn what_would_be_wrong_under_another_name_is_left_out() {
        let document = published(json!({
            "issuer": "https://issuer.example",
            "authorization_endpoint": "https://issuer.example/authorize",
            "token_endpoint": "https://issuer.example/token",
            "code_challenge_methods_supported": ["plain"],
            "signed_metadata": "eyJ",
            "authorization_response_iss_parameter_supported": true,
        }))
        .expect("a document");
        assert_eq!(document.get("signed_metadata"), None);
        assert_eq!(document.get("authorization_response_iss_parameter_supported"), None);
        assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
        assert_eq!(document["response_types_supported"], json!(["code"]));
    }

    #[test]
    fn a_server_where_nobody_could_sign_in_is_not_published() {
        for missing in ["authorization_endpoint", "token_endpoint"] {
            let mut own = json!({ "authorization_endpoint": "a", "token_endpoint": "b" });
            own.as_object_mut().expect("an object").remove(missing);
            let error = published(own).expect_err(missing);
            assert!(matches!(error, MetadataError::Member { name, .. } if name == missing), "{error}");
        }
    }
}
