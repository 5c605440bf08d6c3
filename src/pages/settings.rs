//! Where the pages are.

use std::sync::Arc;

use url::Url;

/// Where the pages are, as the gateway and as browsers see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PagesSettings {
    path: Arc<str>,
    base: Arc<str>,
    origin: Arc<str>,
    host: Arc<str>,
    is_secure: bool,
}

impl PagesSettings {
    /// Under `path` of the gateway, which browsers reach at `public_url`.
    pub fn new(path: &str, public_url: &Url) -> Self {
        Self {
            path: path.into(),
            base: format!("{}{path}", public_url.path().trim_end_matches('/')).into(),
            origin: public_url.origin().ascii_serialization().into(),
            host: public_url.host_str().unwrap_or_default().into(),
            is_secure: public_url.scheme() == "https",
        }
    }

    /// The path that requests have. It does not end with a slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path as browsers have it: something in front may have taken off what comes before.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The origin that browsers see.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The host that browsers see.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether browsers come by https. Otherwise it is loopback, for development.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// The whole address of a page. `rest` begins with a slash.
    pub fn address(&self, rest: &str) -> String {
        format!("{}{}{rest}", self.origin, self.base)
    }

    /// Where an issuer sends the browser back to.
    pub fn signed_in_address(&self) -> String {
        self.address("/signed-in")
    }
}
