//! `pages`: where people sign in and see what they have connected.

use super::confirm;
use super::publication::PublicUrl;
use crate::config::at::At;
use crate::config::file::File;
use crate::gateway::ConnectorSettings;
use crate::gateway::path::{CanonicalPath, ConnectorPath};
use crate::identity::IssuerName;
use crate::oauth::IssuerSettings;
use crate::pages::PagesSettings;
use crate::tool::{IdentityMode, Tool};

/// Where the pages are, unless the configuration says otherwise.
const PATH: &str = "/account";

/// Whether people are to have pages: they are asked for, or there is something that is of no use without them.
pub fn are_wanted(file: &File, root: &At<'_>) -> bool {
    root.key("pages").is_written() || root.key("vault").is_written() || confirm::is_wanted(file)
}

/// Checks where the pages are. `Some(None)`: there are none.
pub fn settings(file: &File, root: &At<'_>, public_url: &PublicUrl<'_>) -> Option<Option<PagesSettings>> {
    if !are_wanted(file, root) {
        return Some(None);
    }
    let (at, path_at) = (root.key("pages"), root.key("pages").key("path"));
    let path = match file.pages.as_ref().and_then(|pages| pages.path.as_deref()) {
        Some(text) => path_at.checked(
            text.parse::<ConnectorPath>()
                .map_err(|error| format!("{error}: give a path under `public_url`, like `/account`")),
        )?,
        None if path_at.is_written() || (at.is_written() && file.pages.is_none()) => return None,
        None => PATH.parse::<ConnectorPath>().expect("it is the path of a connector"),
    };
    let path = path.as_str();
    if path == "/" {
        path_at.fault_found("is all of the gateway: give the pages a path of their own, like `/account`");
        return None;
    }
    if path == "/issuers" || path.starts_with("/issuers/") {
        path_at.fault_found("lies under /issuers, where `publish_metadata` publishes metadata");
        return None;
    }
    let sound = no_connector_is_under(path, file, root);
    match public_url {
        _ if !sound => None,
        PublicUrl::Given(url) => Some(Some(PagesSettings::new(path, url))),
        PublicUrl::Missing if at.is_written() => {
            at.fault(
                "goes with `public_url`, under which browsers find the pages: add it, or leave this out",
            );
            None
        }
        PublicUrl::Missing => Some(None),
        PublicUrl::Unclear => None,
    }
}

/// A connector there would never be called.
fn no_connector_is_under(path: &str, file: &File, root: &At<'_>) -> bool {
    let mut sound = true;
    for (name, connector) in file.connectors.iter().flat_map(|connectors| &connectors.0) {
        let own = connector.path.as_deref().filter(|own| CanonicalPath::parse(own).is_ok());
        let rest = own.and_then(|own| own.strip_prefix(path));
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            root.key("connectors").key(name).key("path").fault_found(format_args!(
                "lies under {path}, where people's pages are: choose another, or say where they are with `pages: {{ path: … }}`",
            ));
            sound = false;
        }
    }
    sound
}

/// Who could never sign in could never connect an account either, and each of their calls would be refused. Whether that is
/// so of nobody.
pub fn check_connections(
    connectors: &[ConnectorSettings],
    issuers: &[IssuerSettings],
    root: &At<'_>,
) -> bool {
    let mut sound = true;
    for connector in connectors {
        let tools = connector.tools.declared().into_iter();
        let mut of_people = tools.filter(|tool| tool.identity == IdentityMode::Connection);
        if let Some(issuer) = of_people.find_map(|tool| who_cannot_sign_in(tool, issuers)) {
            root.key("connectors").key(connector.name.as_str()).key("connection").fault(format_args!(
                "needs its people to sign in to the pages where they connect, and those of `{issuer}` cannot: give that issuer \
                 `sign_in`, or `exchange`"
            ));
            sound = false;
        }
    }
    sound
}

/// The first issuer of a tool's people who cannot sign in to pages. One with faults of its own is none.
pub fn who_cannot_sign_in<'a>(tool: &Tool, issuers: &'a [IssuerSettings]) -> Option<&'a IssuerName> {
    let mut of_tool = issuers.iter().filter(|issuer| tool.issuers.contains(&issuer.name));
    of_tool.find(|issuer| issuer.sign_in.is_none()).map(|issuer| &issuer.name)
}

/// Pages at which nobody can sign in are of no use.
pub fn check_sign_in(issuers: &[IssuerSettings], root: &At<'_>) {
    if issuers.is_empty() || issuers.iter().any(|issuer| issuer.sign_in.is_some()) {
        return;
    }
    let at = root.key("issuers");
    let message = "has no server that people could sign in at for their pages: give one of them `sign_in`, or `exchange`";
    match root.key("pages").is_written() {
        true => at.fault(message),
        false => at.warn(message),
    }
}
